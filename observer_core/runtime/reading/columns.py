"""A source's snapshots turned on their side: rows go in, one series comes out in one read.

`Columns` are rows in memory, a `Block` is the same in a file. A block file is a cache: it can be deleted
at any time and is never truth. It names its journal, the positions it was made from and the chain hashes
before and after them, so one of a journal that was cut or replaced is known for what it is; every part
that is read has a checksum, so a torn or foreign one is `Lost`, never wrong.

    QTSCOL1\\n, length and crc32 of the header, the header (JSON)
    event_ns, ingest_ns (int64) and flags (uint8) of all rows, their crc32
    for every field, for every subject: its values (float64) of all rows, their crc32

A value is NaN where a snapshot says that there is none, and infinite (`ABSENT`: no record holds an infinity)
where a snapshot does not speak of the series at all.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from observer_core.runtime.reading.pace import Pace
from observer_core.shared.records import ALL, Column, Snapshot
from observer_core.storage.rows import CommitRow

SUFFIX: Final = ".columns"
ABSENT: Final = np.inf
_MAGIC: Final = b"QTSCOL1\n"
_PREFIX: Final = struct.Struct("<8sII")
_CRC: Final = 4
_UNOBSERVED: Final = 1
_CLOSED: Final = "closed_session"
_ROWS_AT_FIRST: Final = 32
_WRITTEN: Final = 256 << 10
Times = NDArray[np.int64]


class Lost(Exception):
    """A block file that is gone, torn, or not what it should be."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Of one series: when rows happened and were learnt, and the values of each field that was asked for."""

    event_ns: Times
    ingest_ns: Times
    values: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which series a block has: every subject with every field."""

    subjects: tuple[str, ...]
    fields: tuple[str, ...]
    place: dict[str, int]


class Columns:
    """Rows of one source in the order of its journal, from the commit after position `first` - 1 on."""

    def __init__(self, first: int, previous: bytes, expected: int = _ROWS_AT_FIRST) -> None:
        self.first, self.last = first, first - 1
        self.previous = self.hash = previous
        self.rows = self.raw_bytes = 0
        self._ends: list[tuple[int, int, bytes, int]] = []
        """Of each commit: the rows, the position, the hash and the bytes with which it ends."""
        self._place: dict[str, int] = {}
        self._fields: dict[str, NDArray[np.float64]] = {}
        self._layout: Layout | None = None
        self._width = 0
        """Room for so many subjects."""
        self._newest: tuple[tuple[str, ...], NDArray[np.intp] | None] = ((), None)
        self._event, self._ingest = np.empty(expected, np.int64), np.empty(expected, np.int64)
        self._flags = np.empty(expected, np.uint8)

    @property
    def nbytes(self) -> int:
        """Of the values, as they stand in a file."""
        return self.rows * (17 + 8 * len(self._place) * len(self._fields))

    def layout(self) -> Layout:
        """As it is now."""
        if self._layout is None or len(self._layout.fields) < len(self._fields):
            self._layout = Layout(tuple(self._place), tuple(self._fields), dict(self._place))
        return self._layout

    def span(self) -> tuple[int, int] | None:
        """First and last `event_ns`."""
        event = self._event[: self.rows]
        return (int(event.min()), int(event.max())) if self.rows else None

    def add(self, snapshot: Snapshot) -> None:
        """One row more."""
        row = self.rows
        if row == len(self._event):
            self._reserve(max(_ROWS_AT_FIRST, 2 * row), self._width)
        places = self._places(snapshot.subjects)
        width = len(self._place)
        for name in snapshot.fields:
            if name not in self._fields:
                matrix = self._fields[name] = np.empty((len(self._event), self._width))
                matrix[:row, :width] = ABSENT
        for name, matrix in self._fields.items():
            column = snapshot.fields.get(name)
            if column is not None and places is None:
                matrix[row, :width] = column
                continue
            matrix[row, :width] = ABSENT
            if column is not None:
                matrix[row, places] = column
        self._event[row], self._ingest[row], self._flags[row] = snapshot.event_ns, snapshot.ingest_ns, 0
        if snapshot.status == "unavailable":
            self._flags[row] = _UNOBSERVED
        for subject, flags in snapshot.quality.items():
            if _CLOSED in flags:
                self._close(row, subject)
        self.rows += 1

    def end(self, row: CommitRow) -> None:
        """All records of the commit have been added."""
        self.last, self.hash = row.last, row.hash
        self.raw_bytes += row.length
        self._ends.append((self.rows, self.last, self.hash, self.raw_bytes))

    def forget_half(self) -> None:
        """The older half of its commits, at least one."""
        gone = (len(self._ends) + 1) // 2
        rows, last, self.previous, raw_bytes = self._ends[gone - 1]
        self._ends = [(end[0] - rows, end[1], end[2], end[3] - raw_bytes) for end in self._ends[gone:]]
        left = self.rows - rows
        parts: list[NDArray[Any]] = [self._event, self._ingest, self._flags, *self._fields.values()]
        for part in parts:
            part[:left] = part[rows : self.rows].copy()
        self.first, self.rows, self.raw_bytes = last + 1, left, self.raw_bytes - raw_bytes

    def read(self, subject: str, fields: Sequence[str]) -> Rows:
        """A copy of the series."""
        place = self._place.get(subject)
        values = [
            None if place is None or name not in self._fields
            else self._fields[name][: self.rows, place].copy()
            for name in fields
        ]  # fmt: skip
        stop = self.rows
        return _rows(self._event[:stop].copy(), self._ingest[:stop].copy(), self._flags[:stop], values)

    def write(self, folder: Path, journal: str, known: dict[bytes, Layout], pace: Pace) -> Block:
        """The file, whole or not at all; `OSError` when it cannot be written. Not synced: it is a cache."""
        header = orjson.dumps(
            {"journal": journal, "first": self.first, "last": self.last, "rows": self.rows,
             "previous": self.previous.hex(), "hash": self.hash.hex(),
             "event": self.span(), "fields": list(self._fields), "subjects": list(self._place)}
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.first:012d}-{self.last:012d}{SUFFIX}"
        draft = folder / f".{path.name}.{os.getpid()}.{threading.get_ident()}"
        try:
            with draft.open("wb") as file:
                file.write(_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)))
                file.write(header)
                for part in self._parts():
                    file.write(part)
                    pace.rest()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return Block.open(path, known)

    def _parts(self) -> Iterable[Any]:
        stop = self.rows
        rows = b"".join(part[:stop].tobytes() for part in (self._event, self._ingest, self._flags))
        yield rows
        yield zlib.crc32(rows).to_bytes(_CRC, "little")
        size, width = 8 * stop, len(self._place)
        step = max(1, _WRITTEN // max(1, size))
        for matrix in self._fields.values():
            for place in range(0, width, step):
                columns = np.ascontiguousarray(matrix[:stop, place : min(width, place + step)].T)
                part = np.empty((len(columns), size + _CRC), np.uint8)
                part[:, :size] = columns.view(np.uint8).reshape(len(columns), size)
                crcs = np.array([zlib.crc32(column.data) for column in columns], "<u4")
                part[:, size:] = crcs.view(np.uint8).reshape(len(columns), _CRC)
                yield part

    def _places(self, subjects: tuple[str, ...]) -> NDArray[np.intp] | None:
        """Where the subjects' values go; None: everywhere, in this order."""
        known, places = self._newest
        if subjects is known or subjects == known:
            return places
        before = len(self._place)
        for subject in subjects:
            self._place.setdefault(subject, len(self._place))
        if len(self._place) > before:
            self._layout = None
            if len(self._place) > self._width:
                self._reserve(len(self._event), max(len(self._place), 2 * before))
            for matrix in self._fields.values():
                matrix[: self.rows, before : len(self._place)] = ABSENT
        found = np.array([self._place[subject] for subject in subjects], np.intp)
        whole = len(found) == len(self._place) and bool((found == np.arange(len(found))).all())
        self._newest = subjects, None if whole else found
        return self._newest[1]

    def _close(self, row: int, subject: str) -> None:
        if subject == ALL:
            self._flags[row] = _UNOBSERVED
        elif subject in self._place:
            for matrix in self._fields.values():
                matrix[row, self._place[subject]] = np.nan

    def _reserve(self, rows: int, width: int) -> None:
        kept, used = self.rows, min(width, self._width)
        for name, matrix in self._fields.items():
            grown = np.empty((rows, width))
            grown[:kept, :used] = matrix[:kept, :used]
            self._fields[name] = grown
        if rows != len(self._event):
            self._event, self._ingest, self._flags = (
                np.concatenate([part[:kept], np.empty(rows - kept, part.dtype)])
                for part in (self._event, self._ingest, self._flags)
            )
        self._width = width


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A file with the rows of the commits that hold positions first..last."""

    path: Path
    journal: str
    first: int
    last: int
    rows: int
    previous: bytes
    hash: bytes
    span: tuple[int, int] | None
    layout: Layout
    rows_at: int
    size: int

    @staticmethod
    def open(path: Path, known: dict[bytes, Layout]) -> Block:
        """From its header; `Lost` when it is not such a file. `known` layouts are kept once."""
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                magic, length, crc = _PREFIX.unpack(file.read(_PREFIX.size))
                if magic != _MAGIC or length > size:
                    raise Lost(f"{path.name} is no block of columns")
                header = file.read(length)
            if zlib.crc32(header) != crc:
                raise Lost(f"the header of {path.name} is damaged")
            value = orjson.loads(header)
            layout = _layout(header, value, known)
            span = value["event"]
            block = Block(
                path, value["journal"], value["first"], value["last"], value["rows"],
                bytes.fromhex(value["previous"]), bytes.fromhex(value["hash"]),
                None if span is None else (span[0], span[1]), layout, _PREFIX.size + length, size,
            )  # fmt: skip
        except (OSError, struct.error, ValueError, KeyError, TypeError) as error:
            raise Lost(f"{path.name} cannot be read: {error}") from None
        columns = len(layout.subjects) * len(layout.fields)
        if size != block.rows_at + 17 * block.rows + _CRC + columns * (8 * block.rows + _CRC):
            raise Lost(f"{path.name} is not as long as its header says")
        return block

    def may_hold(self, since_ns: int, until_ns: int) -> bool:
        """Whether any row happened between the two, both included."""
        return self.span is not None and self.span[0] <= until_ns and self.span[1] >= since_ns

    def read(self, subject: str, fields: Sequence[str]) -> Rows:
        """The series; `Lost` when the file is gone or damaged."""
        place, layout, n = self.layout.place.get(subject), self.layout, self.rows
        values: list[NDArray[np.float64] | None] = []
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                rows = self._checked(descriptor, self.rows_at, 17 * n)
                columns_at = self.rows_at + 17 * n + _CRC
                for name in fields:
                    if place is None or name not in layout.fields:
                        values.append(None)
                        continue
                    column = layout.fields.index(name) * len(layout.subjects) + place
                    data = self._checked(descriptor, columns_at + column * (8 * n + _CRC), 8 * n)
                    values.append(np.frombuffer(data, np.float64))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise Lost(f"{self.path.name} cannot be read: {error}") from None
        return _rows(
            np.frombuffer(rows, np.int64, n), np.frombuffer(rows, np.int64, n, 8 * n),
            np.frombuffer(rows, np.uint8, n, 16 * n), values,
        )  # fmt: skip

    def _checked(self, descriptor: int, offset: int, length: int) -> memoryview:
        data = memoryview(os.pread(descriptor, length + _CRC, offset))
        if len(data) != length + _CRC or zlib.crc32(data[:length]) != int.from_bytes(data[length:], "little"):
            raise Lost(f"{self.path.name} is damaged at byte {offset}")
        return data[:length]


def _layout(header: bytes, value: dict[str, Any], known: dict[bytes, Layout]) -> Layout:
    key = header[header.index(b',"fields":') :]
    layout = known.get(key)
    if layout is None:
        subjects = tuple(value["subjects"])
        place = {subject: index for index, subject in enumerate(subjects)}
        layout = known[key] = Layout(subjects, tuple(value["fields"]), place)
    return layout


def _rows(
    event: Times, ingest: Times, flags: NDArray[np.uint8], values: Sequence[NDArray[np.float64] | None]
) -> Rows:
    unobserved = flags == _UNOBSERVED
    columns = []
    for column in values:
        found = np.full(len(event), ABSENT) if column is None else column
        columns.append(np.where(unobserved, np.nan, found) if unobserved.any() else found)
    return Rows(event, ingest, tuple(columns))
