"""What a recogniser remembers: n series as columns of arrays, and where its source stands.

Series are ordered by first appearance. Within a snapshot, fields that are judged by their
return come first, then the others, each by name, and subjects as the snapshot names them:
so the cells of a source that always reports the same lie side by side, field by field.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from observer_core.pattern_record import frequency, limits, window
from observer_core.pattern_record.detectors import halt, stale
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

_FORMAT = 4
_ARRAYS: tuple[tuple[str, int, DTypeLike], ...] = (
    ("values", window.FLOAT_ROWS, "<f8"),
    ("times", stale.TIME_ROWS, "<f8"),
    ("release", window.STATISTICS, "<i8"),
    ("raised", window.STATISTICS, "u1"),
    ("stale", 1, "u1"),
    ("owner", 1, "<i8"),
    ("begun", 1, "<i8"),
)
_SCALARS = (
    "tick", "clock", "cadence", "intervals", "last_ingest", "origin_ns", "floor_ns", "next_silence",
    "gap_tick", "next_release", "status", "since_ns", "error", "reachable", "closed", "views_version",
)  # fmt: skip


class RecogniserState:
    """Mutable. Arrays have room for more than `size` series; columns beyond it mean nothing.

    `tick`: snapshots that had rows to give. `clock`: observed time in ns (see `detectors.stale`);
    like all times in the arrays a float, exact for 104 days, then to a few ns.
    `owner`: each series' subject, as an index into `subjects`. `begun`: when each was first named.
    `stale`: who is silent, and how (see `detectors.stale`). `channels`: see `detectors.halt`; `gap_tick`:
    the last snapshot after a gap in observed time. `stale_subjects` and `stale_channels` are what readers
    are told (see `silence`, whose cache `lanes` is), `silent_series` the number that is flagged.
    `alarms`: those that each series had (see `frequency`). `families`: the state of each family
    of detectors (see `families`), by its name. `plans` and `allocations` are a cache and its key
    (see `plan`), no part of the state.
    """

    def __init__(self) -> None:
        self.tick = self.intervals = self.gap_tick = 0
        self.clock = self.floor_ns = self.cadence = 0.0
        self.next_silence, self.next_release = stale.NEVER, limits.NEVER
        self.origin_ns: int | None = None
        self.last_ingest: int | None = None
        self.status, self.since_ns, self.reachable, self.closed = "none", 0, False, False
        self.error: str | None = None
        self.views_version = 0
        self.alarms: frequency.Memory = {}
        self.families: dict[str, Any] = {}
        self.size = 0
        self.subjects: dict[str, int] = {}
        self.fields: list[str] = []
        self.blocks: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.positions: dict[str, dict[str, int]] = {}
        self.stale_subjects: tuple[str, ...] = ()
        self.stale_channels: dict[str, tuple[str, ...]] = {}
        self.closed_subjects: tuple[str, ...] = ()
        self.channels: dict[str, halt.Channel] = {}
        self.lanes: Any = None
        self.silent_series = 0
        self.plans: dict[Any, Any] = {}
        self.allocations = 0
        self._names: list[str] = []
        self._allocate(0)

    def _allocate(self, capacity: int) -> None:
        old = {name: getattr(self, name) for name, _, _ in _ARRAYS} if self.size else {}
        for name, rows, dtype in _ARRAYS:
            array = np.zeros((rows, capacity), dtype)
            if old:
                array[:, : self.size] = old[name][:, : self.size]
            setattr(self, name, array)
        self.values: window.Floats
        self.times: window.Floats
        self.release: window.Ints
        self.raised: window.Bytes
        self.stale: window.Bytes
        self.owner: window.Ints
        self.begun: window.Ints
        self.capacity = capacity
        self.allocations += 1

    def name(self, at: int) -> tuple[str, str]:
        """(subject, field) of the series in column `at`."""
        return self._subject_names[int(self.owner[0, at])], self.fields[at]

    @property
    def _subject_names(self) -> list[str]:
        if len(self._names) != len(self.subjects):
            self._names = list(self.subjects)
        return self._names

    def append(self, fields: tuple[str, ...], subjects: tuple[str, ...]) -> None:
        """Adds the series of every field (outer) and subject (inner), none of which may exist."""
        count = len(fields) * len(subjects)
        start, end = self.size, self.size + count
        if end > self.capacity:
            self._allocate(max(end, min(2 * self.capacity, self.capacity + 65_536)))
        owners = [self.subjects.setdefault(subject, len(self.subjects)) for subject in subjects]
        for offset, field in enumerate(fields):
            first = start + offset * len(subjects)
            row = self.positions.setdefault(field, {})
            row.update(zip(subjects, range(first, first + len(subjects)), strict=True))
            self.owner[0, first : first + len(subjects)] = owners
            self.fields.extend([field] * len(subjects))
        window.reset(self.values[:, start:end])
        self.release[:, start:end] = limits.NEVER
        self.begun[:, start:end] = self.last_ingest or 0
        for array in (self.times, self.raised, self.stale):
            array[:, start:end] = 0
        self.blocks.append((fields, subjects))
        self.size = end

    def begun_ns(self, subject: str, field: str) -> int:
        """When the series began; what is of no series of the snapshots began with the source."""
        column = self.positions.get(field, {}).get(subject)
        return self.origin_ns or 0 if column is None else int(self.begun[0, column])

    def heard(self) -> set[str]:
        """Subjects of which anything has arrived and is remembered."""
        arrived = self.times[stale.ARRIVALS, : self.size] > 0
        return {self._subject_names[at] for at in np.unique(self.owner[0, : self.size][arrived])}

    def forget(self, subjects: Collection[str]) -> None:
        """Series of these subjects never were; they begin anew should they come again."""
        numbers = [self.subjects[subject] for subject in subjects]
        columns = np.flatnonzero(np.isin(self.owner[0, : self.size], numbers))
        values = self.values[:, columns]
        window.reset(values)
        self.values[:, columns] = values
        self.release[:, columns] = limits.NEVER
        self.begun[:, columns] = self.last_ingest or 0
        frequency.forget(self.alarms, subjects)
        for array in (self.times, self.raised, self.stale):
            array[:, columns] = 0

    def dump(self, families: Mapping[str, bytes]) -> bytes:
        """`families`: the bytes of each family's state."""
        header: dict[str, Any] = {name: getattr(self, name) for name in _SCALARS}
        header |= {"format": _FORMAT, "size": self.size, "subjects": list(self.subjects)}
        header["closed_subjects"] = list(self.closed_subjects)
        header["stale_subjects"] = list(self.stale_subjects)
        header["stale_channels"] = {name: list(found) for name, found in self.stale_channels.items()}
        header["channels"] = {name: channel.dump() for name, channel in self.channels.items()}
        header["blocks"] = self._blocks()
        alarms = frequency.dump(self.alarms)
        header["alarms"] = len(alarms)
        header["families"] = [[name, len(blob)] for name, blob in families.items()]
        arrays = [np.ascontiguousarray(getattr(self, name)[:, : self.size]) for name, _, _ in _ARRAYS]
        parts = (*(array.tobytes() for array in arrays), alarms, *families.values())
        return b"".join((encode(header), b"\n", *parts))

    def _blocks(self) -> list[list[Any]]:
        """Fields and subjects (as numbers) of each block; null: the subjects of the block before."""
        blocks: list[list[Any]] = []
        before: tuple[str, ...] | None = None
        for fields, subjects in self.blocks:
            numbers = None if subjects == before else [self.subjects[subject] for subject in subjects]
            blocks.append([list(fields), numbers])
            before = subjects
        return blocks

    @staticmethod
    def load(blob: bytes) -> tuple[RecogniserState, dict[str, bytes]]:
        """The inverse of `dump`: the state without its families, and their bytes; `RecordError` otherwise."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected a recogniser state of format {_FORMAT}, found {head[:60]!r}")
        state = RecogniserState()
        names: list[str] = header["subjects"]
        state.subjects = {name: number for number, name in enumerate(names)}
        state._allocate(header["size"])
        subjects: tuple[str, ...] = ()
        for fields, numbers in header["blocks"]:
            if numbers is not None:
                subjects = tuple(names[number] for number in numbers)
            state.append(tuple(fields), subjects)
        own = sum(rows * np.dtype(dtype).itemsize for _, rows, dtype in _ARRAYS) * state.size
        expected = own + header["alarms"] + sum(length for _, length in header["families"])
        if len(body) != expected or state.size != header["size"]:
            raise RecordError(
                f"recogniser state of {state.size} series: expected {expected} bytes, found {len(body)}"
            )
        offset = 0
        for name, rows, dtype in _ARRAYS:
            count = rows * state.size
            stored = np.frombuffer(body, dtype, count, offset).reshape(rows, -1)
            getattr(state, name)[:, : state.size] = stored
            offset += count * np.dtype(dtype).itemsize
        state.alarms = frequency.load(body[offset : offset + header["alarms"]])
        offset += header["alarms"]
        families = {}
        for name, length in header["families"]:
            families[name] = body[offset : offset + length]
            offset += length
        state.closed_subjects = tuple(header["closed_subjects"])
        state.stale_subjects = tuple(header["stale_subjects"])
        state.stale_channels = {name: tuple(there) for name, there in header["stale_channels"].items()}
        state.channels = {name: halt.Channel(*values) for name, values in header["channels"].items()}
        for name in _SCALARS:
            setattr(state, name, header[name])
        return state, families
