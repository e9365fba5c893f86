"""`[backup]`: how often the store is backed up, where to, what is kept, and for whom it is encrypted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs

_DAY_NS = 86_400 * SECOND


class FolderTarget(Config):
    """A folder on another disk or machine than the data."""

    kind: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]


class ContainerTarget(Config):
    """A blob container, of this account or (better) of another.

    `connection` names the settings of the environment that say where the account is, as for `[storage]`.
    """

    kind: Literal["container"]
    container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:-?[a-z0-9]){2,62}$")] = "backups"
    connection: Annotated[str, Field(min_length=1)] = "AzureWebJobsStorage"


class KeepConfig(Config):
    """The newest `last` backups stay, and the newest of each of so many days, weeks, months, years (UTC)."""

    last: Annotated[int, Field(ge=1)] = 24
    daily: Annotated[int, Field(ge=0)] = 7
    weekly: Annotated[int, Field(ge=0)] = 5
    monthly: Annotated[int, Field(ge=0)] = 12
    yearly: Annotated[int, Field(ge=0)] = 0


class EncryptConfig(Config):
    """Who can read the backups: age recipients. Their identities are needed to restore, and never here."""

    recipients: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^age1[a-z0-9]+$")], ...], Field(min_length=1)
    ]

    @model_validator(mode="before")
    @classmethod
    def _are_public(cls, values: Any) -> Any:
        # Here, because of a whole table it is not shown what was given.
        if "AGE-SECRET-KEY" in str(values).upper():
            raise ValueError("recipients holds the secret key of an identity; recipients begin with age1")
        return values


class BackupConfig(Config):
    """`every`: a backup is made so often; without it only `observer backup create` makes one.

    `keep`: without it nothing is ever removed. `verify`: so often the newest backup is read back whole
    (`0s`: never by itself); what a backup adds is read back when it is made. `grace`: what no backup names
    is removed when it has been so for that long.
    """

    every: Annotated[DurationNs, Field(ge=60 * SECOND)] | None = None
    to: Annotated[FolderTarget | ContainerTarget, Field(discriminator="kind")] | None = None
    keep: KeepConfig | None = None
    verify: Annotated[DurationNs, Field(ge=0)] = 7 * _DAY_NS
    grace: Annotated[DurationNs, Field(ge=0)] = _DAY_NS
    encrypt: EncryptConfig | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> BackupConfig:
        if self.every is not None and self.to is None:
            raise ValueError(
                'every needs to = { kind = "folder" | "container", … }: it says where backups go'
            )
        return self
