"""Azure Storage, or its emulator Azurite: append blobs, block blobs, one table and queues.

The only package that knows the Azure SDKs. Importing it loads them, so it is imported when
a storage account is to be used, and not before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any, Final

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential, TokenCredential
from azure.core.pipeline.transport import HttpTransport, RequestsTransport
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient, LinearRetry
from azure.storage.queue import LinearRetry as QueueRetry
from azure.storage.queue import QueueServiceClient

from observer_core.shared.errors import ConfigError
from observer_core.storage.azure.blobs import AzureArchives, AzureBlobs
from observer_core.storage.azure.connection import SETTING, Connection
from observer_core.storage.azure.containers import Containers
from observer_core.storage.azure.queues import AzureQueues
from observer_core.storage.azure.segments import BLOCKS, AzureSegments
from observer_core.storage.azure.tables import AzureTables
from observer_core.storage.azure.wire import Wire, blob_kind, queue_kind, table_kind
from observer_core.storage.operations import Operations

TABLE: Final = "observer"
API_VERSION: Final = "2024-11-04"
"""Of blobs and queues: all that is used here is older, and Azurite knows it as well as Azure does."""
CONNECT_S: Final = 5
READ_S: Final = 20
RETRIES: Final = 2
_PREFIX = re.compile(r"(?:[a-z][a-z0-9]{0,19})?")


class AzureStorage:
    """Containers by kind (`snapshots`, `patterns`, …; `state` for blobs), one table, queues.

    What `append`, `put` and `commit` return from is durable. Nothing is asked of the
    account before the first operation; containers, table and queues are made when they
    are first missed. Several storages share an account under different prefixes;
    `queues_as_named` leaves the prefix out of the names of queues, which others go by too.

    Retries are the SDK's: `retries` of them, each within two seconds unless the service
    asks for more time. A commit's own first attempt is never taken for somebody else's.
    """

    volatile = False

    def __init__(
        self,
        connection: Connection,
        *,
        prefix: str = "",
        queues_as_named: bool = False,
        retries: int = RETRIES,
        blocks_per_segment: int = BLOCKS,
        transport: HttpTransport[Any, Any] | None = None,
    ) -> None:
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                f"storage prefix {prefix!r} is not possible: a letter, then up to 19 of a-z and 0-9"
            )
        self.connection, self.prefix = connection, prefix
        self.operations = Operations()
        self._retries = retries
        self._transport = transport or RequestsTransport(connection_timeout=CONNECT_S, read_timeout=READ_S)
        before = f"{prefix}-" if prefix else ""
        containers = Containers(self._blob_service, before)
        self.segments = AzureSegments(containers, blocks_per_segment)
        self.blobs = AzureBlobs(containers)
        self.archives = AzureArchives(containers)
        self.tables = AzureTables(lambda: self._table_service().get_table_client(prefix + TABLE))
        self.queues = AzureQueues(self._queue_service, "" if queues_as_named else before)

    @classmethod
    def connect(cls, values: Mapping[str, str], *, name: str = SETTING, **options: Any) -> AzureStorage:
        """On the account that `values` give under `name`; `ConfigError` when they do not."""
        return cls(Connection.of(values, name), **options)

    def __repr__(self) -> str:
        return f"AzureStorage({self.connection.account!r}, prefix={self.prefix!r})"

    def group(self) -> AbstractContextManager[None]:
        return nullcontext()

    def settle(self) -> None:
        pass

    def checkpoint(self) -> None:
        pass

    def close(self) -> None:
        self._transport.close()
        credential = vars(self).get("_credential")
        if credential is not None and hasattr(credential, "close"):
            credential.close()

    @cached_property
    def _credential(self) -> AzureNamedKeyCredential | AzureSasCredential | TokenCredential:
        connection = self.connection
        if connection.key:
            return AzureNamedKeyCredential(connection.account, connection.key)
        if connection.signature:
            return AzureSasCredential(connection.signature)
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

        if connection.managed:
            return ManagedIdentityCredential(client_id=connection.client_id)
        return DefaultAzureCredential(managed_identity_client_id=connection.client_id)

    def _blob_service(self) -> BlobServiceClient:
        return BlobServiceClient(
            self.connection.blob, self._credential, api_version=API_VERSION,
            transport=Wire(self._transport, self.operations, blob_kind),
            retry_policy=LinearRetry(backoff=1, retry_total=self._retries, random_jitter_range=1),
        )  # fmt: skip

    def _queue_service(self) -> QueueServiceClient:
        return QueueServiceClient(
            self.connection.queue, self._credential, api_version=API_VERSION,
            transport=Wire(self._transport, self.operations, queue_kind),
            retry_policy=QueueRetry(backoff=1, retry_total=self._retries, random_jitter_range=1),
        )  # fmt: skip

    def _table_service(self) -> TableServiceClient:
        return TableServiceClient(
            self.connection.table, credential=self._credential,
            transport=Wire(self._transport, self.operations, table_kind),
            retry_total=self._retries, retry_backoff_factor=0.5, retry_backoff_max=2,
        )  # fmt: skip
