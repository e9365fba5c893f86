"""What is left of a stretch that retention has removed: the records that something kept cites.

An `x` row names the file, its sha256 and the stretch. Of each record the file has the position, the
chain's hash before and after it, and the line; of a place that was only rested on, the hash alone. That
the line is the one that had this hash can be computed from the two; that this was the journal's hash there
says the record of the removal, which names the file's sha256, and any anchor of that position.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import ChainBroken, NotFound, StorageCorrupt
from observer_core.storage.archive.packs import PackedFile
from observer_core.storage.archive.parquet import DELTA, arrow, read, write
from observer_core.storage.ports import Row, Storage
from observer_core.storage.rows import chain

EXTENSION: Final = ".excerpt.parquet"
_LOADED: Final = 4
"""Files that a process keeps in memory."""


class Kept(NamedTuple):
    """The record at `position` as it was; `line` is None where only the hash was kept.

    `offset`: where its line stands in the text of all lines of its `file`.
    """

    position: int
    previous: bytes
    hash: bytes
    line: bytes | None
    file: str = ""
    offset: int = 0

    @property
    def is_sound(self) -> bool:
        """Whether the line is the one that had this hash; true where there is none."""
        return self.line is None or chain(self.previous, [self.line]) == self.hash


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One `x` row: of positions first..last, `records` are in `file`."""

    first: int
    last: int
    records: int
    file: PackedFile

    @property
    def key(self) -> str:
        return f"x.{self.last:020d}"

    def value(self) -> bytes:
        return encode(
            {"first": self.first, "last": self.last, "records": self.records, "file": list(self.file)}
        )

    @staticmethod
    def of(row: Row) -> Excerpt:
        value: dict[str, Any] = decode(row.value)
        return Excerpt(**{**value, "file": PackedFile(*value["file"])})


class Excerpts:
    """The excerpts of one journal. For any thread."""

    def __init__(self, storage: Storage, journal: str) -> None:
        self._storage, self._journal = storage, journal

    def all(self, from_position: int = 1) -> Iterator[Excerpt]:
        """Those of stretches that hold `from_position` or come after it, in order."""
        low = f"x.{from_position:020d}"
        while True:
            page = self._storage.tables.query(self._journal, low, "x.~", 1000)
            yield from map(Excerpt.of, page)
            if len(page) < 1000:
                return
            low = page[-1].key + " "

    def find(self, position: int) -> Kept | None:
        """What is kept of a position; None when nothing is."""
        for row in self._storage.tables.query(self._journal, f"x.{position:020d}", "x.~", 1):
            excerpt = Excerpt.of(row)
            return self.records(excerpt).get(position) if excerpt.first <= position else None
        return None

    def check(self, position: int) -> None:
        """`ChainBroken` unless the file with what is kept of a position, if there is one, is as written."""
        for row in self._storage.tables.query(self._journal, f"x.{position:020d}", "x.~", 1):
            excerpt = Excerpt.of(row)
            if excerpt.first <= position:
                self._load(excerpt)

    def between(self, first: int, last: int) -> Iterator[Kept]:
        """What is kept of first..last, in order."""
        for excerpt in self.all(first):
            if excerpt.first > last:
                return
            yield from (kept for kept in self.records(excerpt).values() if first <= kept.position <= last)

    def backwards(self, first: int, last: int) -> Iterator[Kept]:
        """`between`, the last one first; one file after the other."""
        for excerpt in reversed([one for one in self.all(first) if one.first <= last]):
            records = list(self.records(excerpt).values())
            yield from (kept for kept in reversed(records) if first <= kept.position <= last)

    def records(self, excerpt: Excerpt) -> dict[int, Kept]:
        """By position, in order; `ChainBroken` when the file is not the one that was written."""
        name = excerpt.file.name
        return _loaded.get(name) or _loaded.put(name, self._load(excerpt))

    def _load(self, excerpt: Excerpt) -> dict[int, Kept]:
        name = excerpt.file.name
        try:
            data = self._storage.archives.get(name)
        except NotFound as error:
            raise ChainBroken(self._journal, excerpt.first, "gap", str(error)) from error
        if hashlib.sha256(data).hexdigest() != excerpt.file.sha256:
            detail = f"{name} is not the file of {excerpt.file.size} bytes that was written"
            raise ChainBroken(self._journal, excerpt.first, "hash", detail)
        try:
            return {kept.position: kept for kept in unpack(data, name)}
        except StorageCorrupt as error:
            raise ChainBroken(self._journal, excerpt.first, "hash", str(error)) from error


def pack(records: Iterable[Kept]) -> bytes:
    """The file of these records, which come in order."""
    pa = arrow()
    found = list(records)
    columns = {
        "position": pa.array([kept.position for kept in found], pa.int64()),
        "previous": pa.array([kept.previous or None for kept in found], pa.binary()),
        "hash": pa.array([kept.hash for kept in found], pa.binary()),
        "line": pa.array([None if kept.line is None else kept.line.decode() for kept in found], pa.string()),
    }
    encodings = {"position": DELTA, "previous": "PLAIN", "hash": "PLAIN", "line": "PLAIN"}
    return write(columns, encodings, {"observer": "excerpt 1"})


def unpack(data: bytes, name: str) -> Iterator[Kept]:
    """The records of a file; `StorageCorrupt` when it is none."""
    found = read(data, name).to_pydict()
    offset = 0
    columns = (found[name] for name in ("position", "previous", "hash", "line"))
    for position, previous, after, text in zip(*columns):
        line = None if text is None else text.encode()
        yield Kept(position, previous or b"", after, line, name, offset)
        offset += 0 if line is None else len(line) + 1


def is_excerpt(segment: str) -> bool:
    return segment.endswith(EXTENSION)


class _Loaded:
    """The files that were read last, of all journals of the process: their names never mean two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, dict[int, Kept]] = OrderedDict()

    def get(self, name: str) -> dict[int, Kept] | None:
        with self._lock:
            found = self._found.get(name)
            if found is not None:
                self._found.move_to_end(name)
            return found

    def put(self, name: str, records: dict[int, Kept]) -> dict[int, Kept]:
        with self._lock:
            self._found[name] = records
            while len(self._found) > _LOADED:
                self._found.popitem(last=False)
        return records

    def clear(self) -> None:
        with self._lock:
            self._found.clear()


_loaded = _Loaded()


def forget_excerpts() -> None:
    """Lets go of what was read."""
    _loaded.clear()
