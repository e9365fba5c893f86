"""Any storage, with its operations counted as a storage account would bill them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from observer_core.storage.operations import Operations
from observer_core.storage.ports import Blobs, Message, Op, Queues, Row, Segments, Storage, Tables


class CountingStorage:
    """Passes everything on to `storage`, and counts in `operations` what Azure would be asked for it.

    Making containers, tables and queues is not counted: it happens once.
    """

    def __init__(self, storage: Storage) -> None:
        self.operations = Operations()
        self._storage = storage
        self.segments: Segments = _Segments(storage.segments, self.operations)
        self.blobs: Blobs = _Blobs(storage.blobs, self.operations)
        self.archives: Blobs = _Blobs(storage.archives, self.operations)
        self.tables: Tables = _Tables(storage.tables, self.operations)
        self.queues: Queues = _Queues(storage.queues, self.operations)
        self.volatile = storage.volatile

    def group(self) -> AbstractContextManager[None]:
        return self._storage.group()

    def settle(self) -> None:
        self._storage.settle()

    def checkpoint(self) -> None:
        self._storage.checkpoint()

    def close(self) -> None:
        self._storage.close()


@dataclass(frozen=True, slots=True)
class _Segments:
    inner: Segments
    operations: Operations

    def append(self, name: str, data: bytes) -> int:
        self.operations.add("blob.append")
        return self.inner.append(name, data)

    def read(self, name: str, offset: int, length: int) -> bytes:
        self.operations.add("blob.read")
        return self.inner.read(name, offset, length)

    def size(self, name: str) -> int:
        self.operations.add("blob.read")
        return self.inner.size(name)

    def list(self, prefix: str = "") -> Iterator[str]:
        self.operations.add("blob.list")
        return self.inner.list(prefix)

    def delete(self, name: str) -> None:
        self.operations.add("blob.delete")
        self.inner.delete(name)

    def sync(self, also: Iterable[str] = ()) -> None:
        self.inner.sync(also)


@dataclass(frozen=True, slots=True)
class _Blobs:
    inner: Blobs
    operations: Operations

    def put(self, name: str, data: bytes) -> None:
        self.operations.add("blob.write")
        self.inner.put(name, data)

    def get(self, name: str) -> bytes:
        self.operations.add("blob.read")
        return self.inner.get(name)

    def list(self, prefix: str = "") -> Iterator[str]:
        self.operations.add("blob.list")
        return self.inner.list(prefix)

    def delete(self, name: str) -> None:
        self.operations.add("blob.delete")
        self.inner.delete(name)

    def tidy(self) -> None:
        self.inner.tidy()


@dataclass(frozen=True, slots=True)
class _Tables:
    inner: Tables
    operations: Operations

    def get(self, partition: str, key: str) -> Row | None:
        self.operations.add("table.read")
        return self.inner.get(partition, key)

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        found = self.inner.query(partition, low, high, limit)
        for _ in range(1 + max(0, len(found) - 1) // 1000):
            self.operations.add("table.query")
        return found

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        self.operations.add("table.transaction")
        return self.inner.commit(partition, ops)


@dataclass(frozen=True, slots=True)
class _Queues:
    inner: Queues
    operations: Operations

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None:
        self.operations.add("queue.send")
        self.inner.send(queue, body, delay_ns=delay_ns)

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        self.operations.add("queue.receive")
        return self.inner.receive(queue, count=count, visibility_ns=visibility_ns)

    def delete(self, queue: str, message: Message) -> None:
        self.operations.add("queue.delete")
        self.inner.delete(queue, message)

    def length(self, queue: str) -> int:
        self.operations.add("queue.length")
        return self.inner.length(queue)
