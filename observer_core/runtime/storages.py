"""Opens the storage that the settings name."""

from __future__ import annotations

from typing import Final

from observer_core.runtime.settings import Settings, connection_values
from observer_core.shared.errors import ConfigError
from observer_core.storage.local import LocalStorage
from observer_core.storage.ports import Storage

RESTORING: Final = ".restoring"
"""A file of a data folder that a backup is being restored into."""


def open_storage(settings: Settings) -> Storage:
    """Files and SQLite, or a storage account; `ConfigError` when it is not said how to enter that.

    The SDKs are loaded only for an account, and it is not asked anything yet.
    """
    if settings.storage.kind == "local":
        if (settings.paths.data / RESTORING).exists():
            raise ConfigError(
                f"{settings.paths.data} is not a whole store yet: a backup is being restored into it, or "
                "that was broken off; finish it with `observer backup restore`"
            )
        return LocalStorage(settings.paths.data, durability=settings.durability)
    from observer_core.storage.azure import AzureStorage

    return AzureStorage.connect(
        connection_values(settings.storage.connection),
        name=settings.storage.connection,
        prefix=settings.storage.prefix,
        queues_as_named=True,  # triggers and subscribers go by the names that the settings say
    )


def where(settings: Settings) -> str:
    """The storage in words that may be shown: no secret."""
    if settings.storage.kind == "local":
        return str(settings.paths.data)
    from observer_core.storage.azure.connection import Connection

    account = Connection.of(
        connection_values(settings.storage.connection), settings.storage.connection
    ).account
    prefix = f", prefix {settings.storage.prefix!r}" if settings.storage.prefix else ""
    return f"storage account {account!r}{prefix}"
