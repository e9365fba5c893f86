"""`[ledger]`: how often all journals are anchored, and where outside the store."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, EnvSecret


class FilePlace(Config):
    """A file that only grows, on another disk or machine than the data."""

    kind: Literal["file"]
    path: Annotated[str, Field(min_length=1)]


class BlobPlace(Config):
    """Append blobs in a container of their own, of this account or (better) of another.

    `connection` names the settings of the environment that say where the account is, as for `[storage]`.
    """

    kind: Literal["blob"]
    container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:-?[a-z0-9]){2,62}$")] = "anchors"
    connection: Annotated[str, Field(min_length=1)] = "AzureWebJobsStorage"


class WebhookPlace(Config):
    """Posts each anchor to somebody who keeps it; `secret` signs it as a webhook subscription's does."""

    kind: Literal["webhook"]
    url: EnvSecret
    secret: EnvSecret | None = None
    timeout: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    allow_private: bool = False


class LedgerConfig(Config):
    """`every`: an anchor is made and sent so often; without it only `observer ledger anchor` makes one."""

    every: Annotated[DurationNs, Field(ge=10 * SECOND)] | None = None
    to: Annotated[FilePlace | BlobPlace | WebhookPlace, Field(discriminator="kind")] | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> LedgerConfig:
        if self.every is not None and self.to is None:
            raise ValueError(
                'every needs to = { kind = "file" | "blob" | "webhook", … }: an anchor that stays in the '
                "store shows nothing"
            )
        return self
