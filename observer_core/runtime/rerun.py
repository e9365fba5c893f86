"""Entries to a stage: taken in one order from several inputs, and taken again as they were recorded."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import TypeVar

from observer_core.shared.records import Record
from observer_core.shared.stage import Entry, Stage
from observer_core.storage.journals import Journals
from observer_core.storage.rows import CommitRow, Head, InputRange

S = TypeVar("S")


def rerun_row(
    journals: Journals, stage: Stage[S], state: S, row: CommitRow, seen: Callable[[Entry], None] | None = None
) -> list[Record]:
    """What a stage gives for the inputs of one commit, in their recorded order, then for its time."""
    records = [
        record for item in row.inputs for record in rerun_range(journals, stage, state, item, seen)
    ]  # fmt: skip
    return [*records, *stage.advance(state, row.through_ns)]


def rerun_range(
    journals: Journals, stage: Stage[S], state: S, item: InputRange,
    seen: Callable[[Entry], None] | None = None,
) -> Iterator[Record]:  # fmt: skip
    """What a stage gives for one range of an input, as it is asked for."""
    for entry in journals.open(item.journal).scan(item.first, item.last):
        if seen is not None:
            seen(entry)
        # Of an entry that was set aside only its time is left.
        yield from stage.advance(state, entry.time_ns) if item.skipped else stage.transition(state, entry)


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
