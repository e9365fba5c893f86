"""The rows of all files as a sequence of snapshots, by the moment they were knowable.

1. A row is knowable at its stamp (+ bar), and not before the row above it in the same
   file of the same subject: a backward stamp keeps its own time of the event, and the
   moment of its predecessor.
2. Rows that were knowable at one moment stand in one snapshot, the subjects by name.
   Where a subject has several rows at that moment, the first stands in the first
   snapshot of the moment, the second in the next, and so on.
3. Two files with no field in common (trades and quotes) fill one row together.

So the order of rows within a subject is kept, the order of subjects within a file does
not matter, and no row is lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.records import Column, Snapshot
from observer_core.snapshot_engine.recorded.table import Table

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
_REMEMBERED_SUBJECT_SETS = 256
_EMPTY, _NOWHERE = np.empty(0, np.int64), np.empty(0, np.int32)


@dataclass(slots=True, eq=False)
class Timeline:
    """Snapshots by number. `rows` are all rows in snapshot order, `slots` their places in the columns.

    Snapshot i is rows `row_starts[i]:row_starts[i + 1]`, and `slot_starts` likewise cut
    the columns and `ranks`, which point into `names`.
    """

    names: list[str]
    event_ns: Ints
    knowable_ns: Ints
    row_starts: Ints
    slot_starts: Ints
    rows: Places
    ranks: Places
    columns: dict[str, Column]
    present: dict[str, NDArray[np.bool_]]
    exact: dict[int, dict[str, str]]
    """By slot and field: the decimals that came exactly and that the columns are not."""

    def __len__(self) -> int:
        return len(self.event_ns)

    def snapshots(self, source: str, load: str, start: int = 0) -> Iterator[Snapshot]:
        sets: dict[bytes, tuple[str, ...]] = {}
        for number in range(start, len(self)):
            first, end = int(self.slot_starts[number]), int(self.slot_starts[number + 1])
            ranks = self.ranks[first:end]
            key = ranks.tobytes()
            subjects = sets.get(key)
            if subjects is None:
                if len(sets) >= _REMEMBERED_SUBJECT_SETS:
                    sets.clear()
                subjects = sets[key] = tuple(self.names[rank] for rank in ranks.tolist())
            rows = self.rows[self.row_starts[number] : self.row_starts[number + 1]].tolist()
            yield Snapshot(
                source=source, event_ns=int(self.event_ns[number]), ingest_ns=int(self.knowable_ns[number]),
                subjects=subjects,
                fields={
                    name: column[first:end]
                    for name, column in self.columns.items()
                    if self.present[name][number]
                },
                decimals=self._decimals(first, end, subjects) if self.exact else {},
                origin={"load": load, "rows": rows},
            )  # fmt: skip

    def _decimals(self, first: int, end: int, subjects: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for slot in range(first, end):
            for name, text in self.exact.get(slot, {}).items():
                found.setdefault(name, {})[subjects[slot - first]] = text
        return found


def arrange(tables: Sequence[Table], names: Sequence[str], delay_ns: int) -> Timeline:
    """All rows of all tables, in order. Takes the tables' columns apart: they are empty afterwards.

    A month of 100 subjects by minutes is four million rows: a column of them is 35 MB, so each goes as
    soon as it can.
    """
    counts = [len(table) for table in tables]
    stamps = np.concatenate([_EMPTY, *(np.frombuffer(table.stamps, np.int64) for table in tables)])
    places = np.concatenate([_NOWHERE, *(np.frombuffer(table.subjects, np.int32) for table in tables)])
    for table in tables:
        table.stamps, table.subjects = array("q"), array("i")
    owner = np.repeat(np.arange(len(tables), dtype=np.int32), counts)
    sorted_names = sorted(names)
    rank_of = {name: rank for rank, name in enumerate(sorted_names)}
    ranks = np.array([rank_of[name] for name in names], np.int32)[places]
    del places

    knowable = _never_backward(stamps + delay_ns, owner, ranks, len(sorted_names))
    turn = _turns(knowable, np.array(_lanes(tables), np.int32)[owner], ranks)
    del owner
    order = np.lexsort((ranks, stamps, turn, knowable)).astype(np.int32)
    turn = turn[order]
    stamps = stamps[order]
    knowable = knowable[order]
    ranks = ranks[order]

    new = _changes(knowable, turn, stamps)
    del turn
    new_slot = new | _changes(ranks)
    row_starts = np.flatnonzero(new)
    slots = np.flatnonzero(new_slot)
    stamps, knowable, ranks = stamps[row_starts], knowable[row_starts], ranks[slots]
    columns, present, exact = _columns(
        tables, counts, order, np.cumsum(new_slot, dtype=np.int32) - np.int32(1),
        np.cumsum(new[slots], dtype=np.int32) - np.int32(1),
    )  # fmt: skip
    return Timeline(
        names=sorted_names, event_ns=stamps, knowable_ns=knowable,
        row_starts=np.append(row_starts, len(order)),
        slot_starts=np.append(np.flatnonzero(new[slots]), len(slots)),
        rows=order, ranks=ranks, columns=columns, present=present, exact=exact,
    )  # fmt: skip


def _never_backward(knowable: Ints, owner: Places, ranks: Places, subjects: int) -> Ints:
    """Per subject of a file, the running maximum."""
    if not ((knowable[1:] < knowable[:-1]) & (owner[1:] == owner[:-1])).any():
        return knowable
    series = owner.astype(np.int64) * subjects + ranks
    order = np.argsort(series, kind="stable")
    series = series[order]
    sorted_times = knowable[order]
    first = np.flatnonzero(_changes(series))
    backward = np.flatnonzero((sorted_times[1:] < sorted_times[:-1]) & (series[1:] == series[:-1])) + 1
    ends = np.append(first[1:], len(series))
    for which in np.unique(np.searchsorted(first, backward, side="right") - 1).tolist():
        part = sorted_times[first[which] : ends[which]]
        np.maximum.accumulate(part, out=part)
    knowable[order] = sorted_times
    return knowable


def _turns(knowable: Ints, lane: Places, ranks: Places) -> Places:
    """Which one a row is among the rows that its subject has, in its lane, at its moment: 0, 1, …"""
    order = np.lexsort((lane, ranks, knowable)).astype(np.int32)
    first = np.zeros(len(order), np.bool_)
    for key in (knowable, ranks, lane):
        first |= _changes(key[order])
    number = np.arange(len(order), dtype=np.int32)
    begun = np.where(first, number, np.int32(0))
    np.maximum.accumulate(begun, out=begun)
    turns = np.empty_like(begun)
    turns[order] = number - begun
    return turns


def _lanes(tables: Sequence[Table]) -> list[int]:
    """Tables that have a field in common, directly or through others, share a lane."""
    lanes = list(range(len(tables)))
    owner: dict[str, int] = {}
    for place, table in enumerate(tables):
        for name in table.fields:
            other = lanes[owner.setdefault(name, place)]
            mine = lanes[place]
            if other != mine:
                lanes = [min(mine, other) if lane in (mine, other) else lane for lane in lanes]
    return lanes


def _columns(
    tables: Sequence[Table], counts: Sequence[int], order: Places, slot_of: Places, snapshot_of_slot: Places
) -> tuple[dict[str, Column], dict[str, NDArray[np.bool_]], dict[int, dict[str, str]]]:
    slots = len(snapshot_of_slot)
    snapshots = int(snapshot_of_slot[-1]) + 1 if slots else 0
    slot_of_row = np.empty_like(slot_of)
    slot_of_row[order] = slot_of
    columns: dict[str, Column] = {}
    exact: dict[int, dict[str, str]] = {}
    start = 0
    for table, count in zip(tables, counts, strict=True):
        for name in list(table.fields):
            column = columns.setdefault(name, np.full(slots, np.nan))
            column[slot_of_row[start : start + count]] = np.frombuffer(table.fields.pop(name), np.float64)
        for name, texts in table.exact.items():
            for row, text in texts.items():
                exact.setdefault(int(slot_of_row[start + row]), {})[name] = text
        start += count
    present = {}
    for name, column in columns.items():
        column.flags.writeable = False
        present[name] = np.zeros(snapshots, np.bool_)
        present[name][snapshot_of_slot[~np.isnan(column)]] = True
    return columns, present, exact


def _changes(*keys: Ints | Places) -> NDArray[np.bool_]:
    """Where some key differs from its predecessor; the first always does."""
    new = np.zeros(len(keys[0]), np.bool_)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return new
