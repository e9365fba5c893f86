"""All rows in one table. A commit is one entity-group transaction, whatever it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.data.tables import TableClient, UpdateMode

from observer_core.shared.errors import Conflict, StorageUnavailable
from observer_core.storage.azure.edge import code, edge
from observer_core.storage.ports import Op, Row, check_transaction

_PROPERTY_BYTES: Final = 60 * 1024
"""The service's limit is written as 64 KiB, but 64,000 bytes have been met as well."""
_PAGE: Final = 1000
_FOUND: Final = {
    "EntityAlreadyExists": "a row",
    "ResourceNotFound": "none",
    "EntityNotFound": "none",
    "UpdateConditionNotSatisfied": "another version",
    "ConditionNotMet": "another version",
}
"""What stood there, by the service's word for a condition that did not hold."""


class AzureTables:
    """Partitions and rows are those of the port; a value lies in the binary properties v0, v1, …"""

    def __init__(self, table: Callable[[], TableClient]) -> None:
        self._connect = table

    @cached_property
    def _table(self) -> TableClient:
        return self._connect()

    def get(self, partition: str, key: str) -> Row | None:
        with edge(f"read row {key!r} of {partition!r}"):
            try:
                return _row(self._table.get_entity(partition, key))
            except ResourceNotFoundError:
                return None

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        if limit == 0:
            return []
        with edge(f"read rows {low!r} to {high!r} of {partition!r}"):
            try:
                found: Iterable[Mapping[str, Any]] = self._table.query_entities(
                    "PartitionKey eq @partition and RowKey ge @low and RowKey lt @high",
                    parameters={"partition": partition, "low": low, "high": high},
                    results_per_page=None if limit is None else min(limit, _PAGE),
                )
                rows = [_row(entity) for entity in islice(found, limit)]
            except ResourceNotFoundError:
                return []
        # The service compares UTF-16 units, the port code points.
        return sorted(rows, key=lambda row: row.key)

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        check_transaction(partition, ops)
        with edge(f"commit of {len(ops)} rows to {partition!r}"):
            etags = self._commit(partition, ops)
        return [etags.get(op.key, "") for op in ops]

    def _commit(self, partition: str, ops: Sequence[Op]) -> dict[str, str]:
        statuses: list[int] = []
        try:
            answers = self._table.submit_transaction(
                [_operation(partition, op) for op in ops],
                raw_response_hook=lambda answer: statuses.append(answer.http_response.status_code),
            )
        except HttpResponseError as error:
            op, found = ops[min(getattr(error, "index", 0), len(ops) - 1)], _FOUND.get(code(error))
            if code(error) == "TableNotFound":
                self._create()
                return self._commit(partition, ops)
            if found is None:
                raise
            if len(statuses) > 1:
                raise StorageUnavailable(
                    f"commit of {len(ops)} rows to {partition!r}: Azure Storage answered {statuses[0]}, and "
                    f"when asked again that row {op.key!r} has changed: perhaps by this very commit"
                ) from None
            if op.action == "delete" and found == "none":
                others = [other for other in ops if other is not op]
                return self._commit(partition, others) if others else {}
            raise Conflict(partition, op.key, found) from None
        return {op.key: answer.get("etag", "") for op, answer in zip(ops, answers)}

    def _create(self) -> None:
        try:
            self._table.create_table()
        except HttpResponseError as error:
            if code(error) != "TableAlreadyExists":
                raise


def _operation(partition: str, op: Op) -> tuple[str, dict[str, Any], dict[str, Any]]:
    entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": op.key}
    if op.action == "delete":
        return "delete", entity, {}
    for number, start in enumerate(range(0, len(op.value), _PROPERTY_BYTES)):
        entity[f"v{number}"] = bytes(op.value[start : start + _PROPERTY_BYTES])
    if op.action == "insert":
        return "create", entity, {"response_preference": "return-no-content"}
    if op.action == "upsert":
        return "upsert", entity, {"mode": UpdateMode.REPLACE}
    condition = {"etag": op.etag, "match_condition": MatchConditions.IfNotModified}
    return "update", entity, {"mode": UpdateMode.REPLACE, **condition}


def _row(entity: Any) -> Row:
    parts: list[bytes] = []
    while (part := entity.get(f"v{len(parts)}")) is not None:
        parts.append(part)
    return Row(entity["RowKey"], b"".join(parts), entity.metadata["etag"])
