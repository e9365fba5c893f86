"""Packed stretches of a journal: the `p` rows that name them, and their records as they were.

A `p` row supersedes the `r` rows of its stretch, which may go, as may the segments that only they
point into. Stretches follow one another from the journal's first commit on; the newest commit is in
none of them, so whoever reads on from the head never meets one.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import format_time
from observer_core.shared.errors import ChainBroken, NotFound, Pruned, StorageCorrupt
from observer_core.storage.archive.pack import EXTENSION, unpack
from observer_core.storage.ports import Op, Row, Storage
from observer_core.storage.rows import Base, CommitRow

MARK: Final = "m.packed"
"""The row that whoever changes what is packed of a journal replaces: two cannot at once."""
_KEPT_BYTES: Final = 96 * 1024 * 1024
"""Of unpacked stretches, in a process: reading on meets the same one again and again."""


class PackedFile(NamedTuple):
    """A file of a stretch among the archives."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Pack:
    """One `p` row: commits first_seq..seq, records first..last, packed into `files`.

    `length`: of the lines as they stood in segments. `previous` and `hash`: the chain before and after.
    """

    first: int
    last: int
    first_seq: int
    seq: int
    first_ns: int
    last_ns: int
    through_ns: int
    epoch: int
    previous: bytes
    hash: bytes
    length: int
    files: Mapping[str, PackedFile]

    @property
    def key(self) -> str:
        return f"p.{self.last:020d}.{self.seq:012d}"

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    @property
    def segment(self) -> str:
        """What stands for a segment in the rows of the stretch: the file that holds its records."""
        return self.files["records"].name

    def value(self) -> bytes:
        return encode(
            {"first": self.first, "last": self.last, "first_seq": self.first_seq, "seq": self.seq,
             "first_ns": self.first_ns, "last_ns": self.last_ns, "through_ns": self.through_ns,
             "epoch": self.epoch, "previous": self.previous.hex(), "hash": self.hash.hex(),
             "length": self.length, "files": {name: list(file) for name, file in self.files.items()}}
        )  # fmt: skip

    @staticmethod
    def of(row: Row) -> Pack:
        value: dict[str, Any] = decode(row.value)
        value["previous"], value["hash"] = bytes.fromhex(value["previous"]), bytes.fromhex(value["hash"])
        value["files"] = {name: PackedFile(*file) for name, file in value["files"].items()}
        return Pack(**value)


def marked(mark: Row | None, seq: int | None = None) -> Op:
    """Says that somebody was here; whoever read the mark before can commit nothing any more.

    `seq`: up to where it is packed, if that has changed.
    """
    known = 0 if mark is None else int(decode(mark.value)["seq"])
    value = encode({"seq": known if seq is None else seq})
    return Op("insert", MARK, value) if mark is None else Op("replace", MARK, value, mark.etag)


class Unpacked(NamedTuple):
    """A stretch as it stood: its text, a line a record, and its commits."""

    text: bytes
    rows: list[CommitRow]


class Packs:
    """The packed stretches of one journal. For any thread."""

    def __init__(self, storage: Storage, journal: str) -> None:
        self._storage, self._journal = storage, journal

    def all(self, from_position: int = 1, after_seq: int = 0) -> list[Pack]:
        """Those that hold a record from `from_position` on, or a commit after `after_seq`, in order."""
        low = f"p.{from_position:020d}." if from_position > 1 else "p."
        found: list[Pack] = []
        while True:
            page = self._storage.tables.query(self._journal, low, "p.~", 1000)
            found += map(Pack.of, page)
            if len(page) < 1000:
                return [pack for pack in found if pack.seq > after_seq]
            low = page[-1].key + " "

    def newest(self) -> Pack | None:
        """The last stretch."""
        packs = self.all()
        return packs[-1] if packs else None

    def unpacked(self, pack: Pack) -> Unpacked:
        """Its text and rows; `ChainBroken` when the files are not those that were packed."""
        return _cache.get(pack.segment) or _cache.put(pack.segment, self.read(pack))

    def rows_of(self, pack: Pack) -> list[CommitRow]:
        """The commits of a stretch, also when it has become a part of another one since it was read."""
        try:
            return self.unpacked(pack).rows
        except ChainBroken as error:
            for again in self.all(pack.first, pack.first_seq - 1):
                if again.first_seq <= pack.first_seq and pack.seq <= again.seq and again.files != pack.files:
                    start = pack.first_seq - again.first_seq
                    return self.rows_of(again)[start : start + pack.seq - pack.first_seq + 1]
            base = Base.of(self._storage.tables.get(self._journal, Base.KEY))
            if pack.seq <= base.seq:
                when = format_time(base.pruned_ns)[:10]
                raise Pruned(self._journal, pack.first, base.position + 1, when, base.policy) from error
            raise error from None

    def rows(self, from_position: int = 1, after_seq: int = 0) -> Iterator[CommitRow]:
        """The commits of all stretches, from the one that holds `from_position` on."""
        low = f"p.{from_position:020d}." if from_position > 1 else "p."
        page = 1  # whoever wants one record looks at one stretch
        while found := self._storage.tables.query(self._journal, low, "p.~", page):
            for pack in map(Pack.of, found):
                if pack.seq <= after_seq:
                    continue
                for row in self.rows_of(pack):
                    # Stretches may have been merged since the page before.
                    if row.seq > after_seq and (from_position <= 1 or row.last >= from_position):
                        yield row
                        after_seq = row.seq
            if len(found) < page:
                return
            low, page = found[-1].key + " ", min(1000, 8 * page)

    def holding(self, position: int) -> Pack | None:
        """The stretch that holds the record at `position`."""
        for row in self._storage.tables.query(self._journal, f"p.{position:020d}.", "p.~", 1):
            pack = Pack.of(row)
            return pack if pack.first <= position else None
        return None

    def row(self, superseded: CommitRow) -> CommitRow | None:
        """What a row became that was packed; None when it was not."""
        pack = self.holding(superseded.first)
        if pack is None or not pack.first_seq <= superseded.seq <= pack.seq:
            return None
        return self.rows_of(pack)[superseded.seq - pack.first_seq]

    def read(self, pack: Pack) -> Unpacked:
        """`unpacked`, of which nothing stays in memory."""
        files = {name: self._file(pack, file) for name, file in pack.files.items()}
        try:
            lines, rows = unpack(files, pack.previous, pack.segment)
        except StorageCorrupt as error:
            raise ChainBroken(self._journal, pack.first, "hash", str(error)) from error
        if rows[-1].hash != pack.hash:
            detail = f"{pack.segment} hashes to {rows[-1].hash.hex()[:16]}, packed was {pack.hash.hex()[:16]}"
            raise ChainBroken(self._journal, pack.first, "hash", detail)
        return Unpacked(b"".join(line + b"\n" for line in lines), rows)

    def check(self, pack: Pack) -> None:
        """`ChainBroken` unless its files are those that were packed."""
        for file in pack.files.values():
            self._file(pack, file)

    def _file(self, pack: Pack, file: PackedFile) -> bytes:
        try:
            data = self._storage.archives.get(file.name)
        except NotFound as error:
            raise ChainBroken(self._journal, pack.first, "gap", str(error)) from error
        if hashlib.sha256(data).hexdigest() != file.sha256:
            detail = f"{file.name} is not the file of {file.size} bytes that was packed"
            raise ChainBroken(self._journal, pack.first, "hash", detail)
        return data


def is_packed(segment: str) -> bool:
    return segment.endswith(EXTENSION)


class _Cache:
    """The stretches that were unpacked last, of all journals of the process: their names never mean two."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: OrderedDict[str, Unpacked] = OrderedDict()
        self._bytes = 0

    def get(self, name: str) -> Unpacked | None:
        with self._lock:
            found = self._found.get(name)
            if found is not None:
                self._found.move_to_end(name)
            return found

    def put(self, name: str, unpacked: Unpacked) -> Unpacked:
        with self._lock:
            if name not in self._found:
                self._found[name] = unpacked
                self._bytes += _size(unpacked)
            while self._bytes > _KEPT_BYTES and len(self._found) > 1:
                self._bytes -= _size(self._found.popitem(last=False)[1])
        return unpacked

    def clear(self) -> None:
        with self._lock:
            self._found.clear()
            self._bytes = 0


def _size(unpacked: Unpacked) -> int:
    return len(unpacked.text) + 600 * len(unpacked.rows)


_cache = _Cache()


def forget_unpacked() -> None:
    """Lets go of what was unpacked."""
    _cache.clear()
