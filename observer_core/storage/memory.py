"""Everything in memory, for tests: the same answers as the other adapters, nothing survives."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from observer_core.shared.clock import Clock, SystemClock
from observer_core.shared.errors import Conflict, LimitExceeded, NotFound, StorageCorrupt
from observer_core.storage.ports import APPEND_BYTES, Message, Op, Row, check_message, check_transaction


class MemorySegments:
    def __init__(self) -> None:
        self.data: dict[str, bytearray] = {}
        self._lock = threading.Lock()

    def append(self, name: str, data: bytes) -> int:
        if len(data) > APPEND_BYTES:
            raise LimitExceeded(f"an append of {len(data)} bytes to {name!r}; {APPEND_BYTES} are possible")
        with self._lock:
            segment = self.data.setdefault(name, bytearray())
            offset = len(segment)
            segment += data
            return offset

    def read(self, name: str, offset: int, length: int) -> bytes:
        if name not in self.data:
            raise NotFound("segment", name)
        found = bytes(self.data[name][offset : offset + length])
        if len(found) < length:
            raise StorageCorrupt(
                f"segment {name!r} ends at {len(self.data[name])}, {offset + length} expected"
            )
        return found

    def size(self, name: str) -> int:
        if name not in self.data:
            raise NotFound("segment", name)
        return len(self.data[name])

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self.data if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        self.data.pop(name, None)

    def sync(self, also: Iterable[str] = ()) -> None:
        pass


class MemoryBlobs:
    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}

    def put(self, name: str, data: bytes) -> None:
        self.data[name] = bytes(data)

    def get(self, name: str) -> bytes:
        try:
            return self.data[name]
        except KeyError:
            raise NotFound("blob", name) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self.data if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        self.data.pop(name, None)

    def tidy(self) -> None:
        pass


class MemoryTables:
    def __init__(self) -> None:
        self.data: dict[str, dict[str, Row]] = {}
        self._keys: dict[str, list[str]] = {}
        self._version = 0
        self._lock = threading.Lock()

    def get(self, partition: str, key: str) -> Row | None:
        return self.data.get(partition, {}).get(key)

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        with self._lock:
            keys = self._keys.get(partition, [])
            start, stop = bisect.bisect_left(keys, low), bisect.bisect_left(keys, high)
            if limit is not None:
                stop = min(stop, start + limit)
            rows = self.data.get(partition, {})
            return [rows[key] for key in keys[start:stop]]

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        check_transaction(partition, ops)
        with self._lock:
            rows = self.data.setdefault(partition, {})
            for op in ops:
                found = rows.get(op.key)
                if op.action == "insert" and found is not None:
                    raise Conflict(partition, op.key, "a row")
                if op.action == "replace" and (found is None or found.etag != op.etag):
                    raise Conflict(partition, op.key, "none" if found is None else "another version")
            self._version += 1
            etag = str(self._version)
            keys = self._keys.setdefault(partition, [])
            for op in ops:
                if op.action == "delete":
                    if rows.pop(op.key, None) is not None:
                        keys.remove(op.key)
                    continue
                if op.key not in rows:
                    bisect.insort(keys, op.key)
                rows[op.key] = Row(op.key, bytes(op.value), etag)
            return [etag] * len(ops)


class MemoryQueues:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queues: dict[str, list[tuple[int, Message]]] = {}
        self._next = 0
        self._lock = threading.Lock()

    def _ticket(self) -> str:
        self._next += 1
        return str(self._next)

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None:
        check_message(queue, body)
        with self._lock:
            message = Message(self._ticket(), bytes(body), 0, "")
            self._queues.setdefault(queue, []).append((self._clock.now_ns() + delay_ns, message))

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        now = self._clock.now_ns()
        found: list[Message] = []
        with self._lock:
            held = self._queues.get(queue, [])
            for index, (visible, message) in enumerate(held):
                if len(found) == count:
                    break
                if visible <= now:
                    taken = Message(message.id, message.body, message.dequeue_count + 1, self._ticket())
                    held[index] = (now + visibility_ns, taken)
                    found.append(taken)
        return found

    def delete(self, queue: str, message: Message) -> None:
        with self._lock:
            held = self._queues.get(queue, [])
            self._queues[queue] = [
                pair for pair in held if (pair[1].id, pair[1].receipt) != (message.id, message.receipt)
            ]

    def length(self, queue: str) -> int:
        return len(self._queues.get(queue, []))


class MemoryStorage:
    volatile = False

    def __init__(self, clock: Clock | None = None) -> None:
        self.segments = MemorySegments()
        self.blobs = MemoryBlobs()
        self.archives = MemoryBlobs()
        self.tables = MemoryTables()
        self.queues = MemoryQueues(clock or SystemClock())

    def group(self) -> AbstractContextManager[None]:
        return nullcontext()

    def settle(self) -> None:
        pass

    def checkpoint(self) -> None:
        pass

    def close(self) -> None:
        pass
