"""The rows of a journal's partition, and the chain over its records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, NamedTuple

from observer_core.shared.canonical import decode, encode
from observer_core.storage.ports import Row

GENESIS: Final = bytes(32)
"""What the first record's hash is chained to."""


class InputRange(NamedTuple):
    """Entries first..last of `journal`, consumed in this order.

    `skipped`: quarantined, not given to the stage; only their time counts.
    """

    journal: str
    first: int
    last: int
    skipped: bool = False

    @property
    def entries(self) -> int:
        return self.last - self.first + 1

    def continues(self, other: InputRange) -> bool:
        """Whether it begins where `other` ends, so that both are one range."""
        return (self.journal, self.skipped, self.first) == (other.journal, other.skipped, other.last + 1)

    def to_json(self) -> list[Any]:
        return [self.journal, self.first, self.last, *([1] if self.skipped else [])]

    @staticmethod
    def from_json(value: list[Any]) -> InputRange:
        return InputRange(value[0], value[1], value[2], len(value) > 3)


def joined(ranges: Iterable[InputRange]) -> list[InputRange]:
    """The same entries in the same order, in as few ranges as possible."""
    found: list[InputRange] = []
    for item in ranges:
        if found and item.continues(found[-1]):
            found[-1] = found[-1]._replace(last=item.last)
        else:
            found.append(item)
    return found


def beyond(ranges: Sequence[InputRange], start: Sequence[InputRange]) -> list[InputRange] | None:
    """What `ranges` hold after `start`, which they begin with; None when they do not. Both `joined`."""
    rest = list(ranges[len(start) :])
    if list(ranges[: len(start)]) == list(start):
        return rest
    *before, end = start
    if len(ranges) < len(start) or list(ranges[: len(before)]) != before:
        return None
    longer = ranges[len(before)]
    left = longer._replace(first=end.last + 1)
    return [left, *rest] if left.entries > 0 and longer._replace(last=end.last) == end else None


class Head(NamedTuple):
    """Where a journal stands: everything that the next commit builds on."""

    position: int = 0
    hash: bytes = GENESIS
    time_ns: int = 0
    through_ns: int = 0
    epoch: int = 0
    seq: int = 0
    state: int = 0
    commit: str = ""
    etag: str = ""

    def value(self) -> bytes:
        return encode(
            {"position": self.position, "hash": self.hash.hex(), "time_ns": self.time_ns,
             "through_ns": self.through_ns, "epoch": self.epoch, "seq": self.seq, "state": self.state,
             "commit": self.commit}
        )  # fmt: skip

    def at(self, etag: str) -> Head:
        """The same head as the storage knows it under `etag`."""
        return Head(*self[:-1], etag)

    @staticmethod
    def of(row: Row) -> Head:
        value = decode(row.value)
        value["hash"] = bytes.fromhex(value["hash"])
        return Head(**value, etag=row.etag)


class CommitRow(NamedTuple):
    """One `r` row: records first..last (none when last < first) and what they were made from."""

    first: int
    last: int
    seq: int
    segment: str
    offset: int
    length: int
    first_ns: int
    last_ns: int
    previous: bytes
    hash: bytes
    epoch: int
    through_ns: int
    commit: str
    inputs: tuple[InputRange, ...] = ()

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    @property
    def key(self) -> str:
        return f"r.{self.last:020d}.{self.seq:012d}"

    def value(self) -> bytes:
        return encode(
            {"first": self.first, "last": self.last, "seq": self.seq, "segment": self.segment,
             "offset": self.offset, "length": self.length, "first_ns": self.first_ns,
             "last_ns": self.last_ns, "previous": self.previous.hex(), "hash": self.hash.hex(),
             "epoch": self.epoch, "through_ns": self.through_ns, "commit": self.commit,
             "inputs": [item.to_json() for item in self.inputs]}
        )  # fmt: skip

    @staticmethod
    def of(row: Row) -> CommitRow:
        value = decode(row.value)
        value["previous"] = bytes.fromhex(value["previous"])
        value["hash"] = bytes.fromhex(value["hash"])
        value["inputs"] = tuple(InputRange.from_json(item) for item in value["inputs"])
        return CommitRow(**value)


@dataclass(frozen=True, slots=True)
class StateRow:
    """One `s` row: the stage's state after commit `seq`, when the journal had `position` records."""

    seq: int
    blob: str
    epoch: int
    through_ns: int
    consumed: Mapping[str, int]
    position: int = 0

    @property
    def key(self) -> str:
        return f"s.{self.seq:012d}"

    def value(self) -> bytes:
        return encode(
            {"seq": self.seq, "blob": self.blob, "epoch": self.epoch, "through_ns": self.through_ns,
             "consumed": dict(self.consumed), "position": self.position}
        )  # fmt: skip

    @staticmethod
    def of(row: Row) -> StateRow:
        return StateRow(**decode(row.value))


@dataclass(frozen=True, slots=True)
class Base:
    """Row `b`: records 1..position, which commits 1..seq had made, were removed by retention.

    `hash`, `time_ns`, `through_ns` and `epoch` are those of the last of these commits, `began_ns` the time
    of the journal's first record, `length` the bytes of all that went. `pruned_ns`, `policy` and `record`:
    when, by which rule and by which record (the newest). `standing`: what readers of a condition that
    still held must know; excerpts have these records.
    """

    KEY: ClassVar = "b"
    position: int = 0
    seq: int = 0
    hash: bytes = GENESIS
    time_ns: int = 0
    through_ns: int = 0
    epoch: int = 0
    began_ns: int = 0
    length: int = 0
    pruned_ns: int = 0
    policy: str = ""
    record: str = ""
    standing: tuple[int, ...] = ()

    def value(self) -> bytes:
        return encode({**asdict(self), "hash": self.hash.hex(), "standing": list(self.standing)})

    @staticmethod
    def of(row: Row | None) -> Base:
        if row is None:
            return Base()
        value = decode(row.value)
        value["hash"], value["standing"] = bytes.fromhex(value["hash"]), tuple(value["standing"])
        return Base(**value)


def chain(previous: bytes, records: Iterable[bytes]) -> bytes:
    """The hash after `records`: sha256(previous hash ‖ record bytes), record by record."""
    sha256 = hashlib.sha256
    for data in records:
        digest = sha256(previous)
        digest.update(data)
        previous = digest.digest()
    return previous


def segment_name(journal: str, hour: int) -> str:
    """`snapshots/source=binance/date=2018-04-05/00.ndjson` for an hour since the epoch."""
    kind, _, name = journal.partition(".")
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    return f"{kind}/source={name}/date={moment:%Y-%m-%d}/{moment:%H}.ndjson"
