"""The four storage ports, and the limits that every backend keeps.

The limits are Azure's, kept by the local backends too, so that what works on a laptop
works in the cloud. Nothing above this folder knows which backend it talks to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from observer_core.shared.errors import LimitExceeded

ROWS_PER_TRANSACTION: Final = 100
TRANSACTION_BYTES: Final = 4 * 1024 * 1024
"""As it is sent: base64, and the keys and headers of every row."""
ROW_BYTES: Final = 750 * 1024
"""Azure: 1 MiB an entity, keys and names included; the emulator counts it as it is sent, in base64."""
MESSAGE_BYTES: Final = 48 * 1024
APPEND_BYTES: Final = 4 * 1024 * 1024
_KEY_LENGTH: Final = 512
_FORBIDDEN = re.compile(r"[/\\#?\x00-\x1f\x7f-\x9f]")
_QUEUE = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61})[a-z0-9]")


class Row(NamedTuple):
    key: str
    value: bytes
    etag: str


class Op(NamedTuple):
    """One row's part in a transaction.

    `insert` wants the key absent, `replace` wants it at `etag`, `upsert` and `delete`
    take whatever is there (`delete` of a missing row does nothing).
    """

    action: Literal["insert", "replace", "upsert", "delete"]
    key: str
    value: bytes = b""
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    body: bytes
    dequeue_count: int
    receipt: str


class Segments(Protocol):
    """Append-only byte sequences with `/`-separated names."""

    def append(self, name: str, data: bytes) -> int:
        """Appends all of `data` (or raises) and gives its offset; makes the segment when missing.

        As durable when it returns as the backend promises. A crash may leave part of the
        bytes: they are garbage that no row points to. `SegmentFull` asks for another name.
        """

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; `StorageCorrupt` when there are fewer, `NotFound` without the segment."""

    def size(self, name: str) -> int: ...

    def list(self, prefix: str = "") -> Iterator[str]:
        """Names in ascending order."""

    def delete(self, name: str) -> None: ...

    def sync(self, also: Iterable[str] = ()) -> None:
        """What this process appended before, and all of the segments `also`, survives a power failure."""


class Blobs(Protocol):
    """Whole values under names that are never written twice with other content."""

    def put(self, name: str, data: bytes) -> None:
        """Readers see nothing or all of it."""

    def get(self, name: str) -> bytes: ...

    def list(self, prefix: str = "") -> Iterator[str]: ...

    def delete(self, name: str) -> None: ...

    def tidy(self) -> None:
        """Removes what a `put` that was broken off has left, where something can be left."""


class Tables(Protocol):
    """Rows in partitions. A transaction within one partition happens whole or not at all."""

    def get(self, partition: str, key: str) -> Row | None: ...

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        """Rows with low <= key < high in ascending (code point) order of keys."""

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        """Does all `ops`, or none and raises `Conflict` (naming the key). Gives each op's new etag.

        A key may occur once. `LimitExceeded` beyond 100 rows, 4 MiB, or 750 KiB a value.
        """


class Queues(Protocol):
    """Messages at least once, in no promised order."""

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None: ...

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        """Up to `count` visible messages, hidden for `visibility_ns`, each with its dequeue count."""

    def delete(self, queue: str, message: Message) -> None:
        """Done with it. A receipt that is no longer the newest deletes nothing."""

    def length(self, queue: str) -> int:
        """Messages in the queue, hidden ones included."""


class Storage(Protocol):
    """One backend: its four ports, and what all of them share."""

    @property
    def segments(self) -> Segments: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def archives(self) -> Blobs:
        """Files beside the segments, under names like theirs: what segments were packed into."""

    @property
    def tables(self) -> Tables: ...
    @property
    def queues(self) -> Queues: ...
    @property
    def volatile(self) -> bool:
        """True when a commit may be known before its bytes are durable (`Journals.recover` is needed)."""

    def group(self) -> AbstractContextManager[None]:
        """Commits made inside by this thread may become durable together, at the end.

        Each is still conditional and whole; the etag of an `upsert` may be unknown (empty).
        When leaving raises, none of them may have happened: drop what is known of the
        storage and read it again. Inside another group it is a part of that one.
        """

    def settle(self) -> None:
        """Makes durable now what this thread's group has committed; the group goes on."""

    def checkpoint(self) -> None:
        """Housekeeping that must not run in the hot path; safe from another thread."""

    def close(self) -> None: ...


def check_transaction(partition: str, ops: Sequence[Op]) -> None:
    """Raises `LimitExceeded` for what some backend could not do."""
    if not 1 <= len(ops) <= ROWS_PER_TRANSACTION:
        raise LimitExceeded(
            f"a transaction on {partition!r} has {len(ops)} rows; 1 to {ROWS_PER_TRANSACTION} are possible"
        )
    keys = [op.key for op in ops]
    _check_keys(partition, keys)
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise LimitExceeded(f"row {twice!r} of {partition!r} occurs twice in one transaction")
    sizes = [len(op.value) for op in ops]
    if sum(sizes) <= ROW_BYTES:  # then none is too large, and with their keys they are far from too many
        return
    if max(sizes) > ROW_BYTES:
        largest = keys[sizes.index(max(sizes))]
        raise LimitExceeded(
            f"row {largest!r} of {partition!r} has {max(sizes)} bytes; {ROW_BYTES} are possible"
        )
    total = 4 * sum(sizes) // 3 + 4 * sum(map(len, keys)) + 1024 * len(ops)
    if total > TRANSACTION_BYTES:
        raise LimitExceeded(
            f"a transaction on {partition!r} has {total} bytes; {TRANSACTION_BYTES} are possible"
        )


def check_message(queue: str, body: bytes) -> None:
    if not _QUEUE.fullmatch(queue) or "--" in queue:
        raise LimitExceeded(
            f"queue name {queue!r} is not possible: 3 to 63 of a-z, 0-9 and single inner hyphens"
        )
    if len(body) > MESSAGE_BYTES:
        raise LimitExceeded(
            f"a message of {len(body)} bytes for queue {queue!r}; {MESSAGE_BYTES} are possible: "
            "put the content in a blob and send its name"
        )


def _check_keys(partition: str, keys: list[str]) -> None:
    together = partition + "".join(keys)
    if partition and all(keys) and len(together) <= _KEY_LENGTH and not _FORBIDDEN.search(together):
        return
    for index, key in enumerate((partition, *keys)):
        if _FORBIDDEN.search(key) or not 0 < len(key) <= _KEY_LENGTH:
            what = "row key" if index else "partition"
            raise LimitExceeded(
                f"{what} {key!r} is not possible: 1 to {_KEY_LENGTH} characters "
                "without / \\ # ? and control characters"
            )
