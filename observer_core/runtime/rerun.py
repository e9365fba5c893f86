"""Entries to a stage: taken in one order from several inputs, and taken again as they were recorded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from typing import TypeVar

from observer_core.shared.records import Record
from observer_core.shared.stage import Entry, Stage
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import CommitRow, Head, InputRange, StateRow

S = TypeVar("S")


class Reader:
    """The inputs of many commits, each read through once: not a read, or two, for every commit."""

    def __init__(self, journals: Journals, rows: Sequence[CommitRow]) -> None:
        self._journals = journals
        self._spans: dict[str, tuple[int, int]] = {}
        self._open: dict[str, Iterator[Entry]] = {}
        for item in (item for row in rows for item in row.inputs):
            first, _ = self._spans.get(item.journal, (item.first, 0))
            self._spans[item.journal] = first, item.last

    def __call__(self, item: InputRange) -> Iterator[Entry]:
        """The entries of a range, which must come in the order of the commits."""
        entries = self._open.get(item.journal)
        if entries is None:
            first, last = self._spans[item.journal]
            entries = self._open[item.journal] = self._journals.open(item.journal).scan(first, last)
        return islice(entries, item.last - item.first + 1)


Read = Callable[[InputRange], Iterable[Entry]]


def beginning(journals: Journals, journal: Journal) -> StateRow | None:
    """The first state behind which all that a stage has consumed is kept; None where nothing was removed.

    Without such a state that of the head, with no blob: nothing can be computed.
    """
    bases: dict[str, int] = {}
    needed = journal.base().seq
    for row in journal.rows():
        for item in row.inputs:
            if item.journal not in bases:
                bases[item.journal] = journals.open(item.journal).base().position
            if item.first <= bases[item.journal]:
                needed = row.seq
    if not needed:
        return None
    head = journal.head()
    none = StateRow(head.seq, "", head.epoch, head.through_ns, {}, head.position)
    return next((row for row in journal.states() if row.seq >= needed), none)


def rerun_row(
    journals: Journals, stage: Stage[S], state: S, row: CommitRow,
    seen: Callable[[Entry], None] | None = None, read: Read | None = None,
) -> list[Record]:  # fmt: skip
    """What a stage gives for the inputs of one commit, in their recorded order, then for its time."""
    records = [
        record for item in row.inputs for record in rerun_range(journals, stage, state, item, seen, read)
    ]  # fmt: skip
    return [*records, *stage.advance(state, row.through_ns)]


def rerun_range(
    journals: Journals, stage: Stage[S], state: S, item: InputRange,
    seen: Callable[[Entry], None] | None = None, read: Read | None = None,
) -> Iterator[Record]:  # fmt: skip
    """What a stage gives for one range of an input, as it is asked for."""
    entries = read(item) if read else journals.open(item.journal).scan(item.first, item.last)
    expected = item.first
    for entry in entries:
        if entry.position != expected:
            break
        expected += 1
        if seen is not None:
            seen(entry)
        # Of an entry that was set aside only its time is left.
        yield from stage.advance(state, entry.time_ns) if item.skipped else stage.transition(state, entry)
    if expected <= item.last:
        raise journals.open(item.journal).missing(expected)


def merge(batches: Sequence[Sequence[Entry]], heads: Mapping[str, Head]) -> list[Entry]:
    """By time, as far as every input has been read: what an input still holds may come earlier."""
    merged = heapq.merge(*batches, key=_known)
    ends = [batch[-1] for batch in batches if batch[-1].position < heads[batch[-1].journal].position]
    if not ends:
        return list(merged)
    limit = min(map(_known, ends))
    return list(takewhile(lambda entry: _known(entry) <= limit, merged))


def _known(entry: Entry) -> tuple[int, str]:
    return entry.time_ns, entry.journal
