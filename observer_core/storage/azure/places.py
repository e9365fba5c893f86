"""Whole files in a container of their own, such as backups: a block blob each.

It is a good idea to keep the container in another account than the journals, or another region, and
to let the account keep deleted blobs for a while.
"""

from __future__ import annotations

from collections.abc import Iterator

from observer_core.storage.azure import AzureStorage
from observer_core.storage.azure.blobs import AzureBlobs
from observer_core.storage.azure.containers import Containers
from observer_core.storage.azure.edge import edge


class AzurePlace(AzureBlobs):
    """One container; it is made when it is missed."""

    def __init__(self, storage: AzureStorage, container: str) -> None:
        super().__init__(Containers(storage._blob_service, ""))
        self._storage, self._container = storage, container

    def __repr__(self) -> str:
        return f"container {self._container!r} of {self._storage.connection.account!r}"

    def _place(self, name: str) -> tuple[str, str]:
        return self._container, name

    def list(self, prefix: str = "") -> Iterator[str]:
        with edge(f"list {self!r}"):
            return iter(sorted(self._names(self._container, prefix)))

    def close(self) -> None:
        self._storage.close()
