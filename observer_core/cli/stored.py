"""Stored records with the place where their bytes lie, from the oldest on or from the newest back."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from observer_core.runtime.audit.stored import Stored, at, between, by_id
from observer_core.shared.records import AnyRecord
from observer_core.storage.journal import Journal

__all__ = ["Stored", "at", "between", "by_id"]
_STEPS = (64, 512)
POLL_SECONDS = 0.5

Match = Callable[[AnyRecord], bool]


def backwards(journal: Journal, first: int, last: int) -> Iterator[Stored]:
    """Records last..first, newest first, read in growing steps."""
    step = _STEPS[0]
    while last >= first:
        start = max(first, last - step + 1)
        yield from reversed(list(between(journal, start, last)))
        last, step = start - 1, _STEPS[1]


@dataclass(frozen=True, slots=True)
class Range:
    """Positions first..last of a journal."""

    journal: Journal
    first: int
    last: int


def newest(ranges: Iterable[Range], match: Match) -> Iterator[Stored]:
    """What matches, over all journals, from the newest back."""
    streams = [backwards(r.journal, r.first, r.last) for r in ranges]
    merged = heapq.merge(*streams, key=lambda s: (-s.record.time_ns, s.journal, -s.position))
    return (stored for stored in merged if match(stored.record))


def oldest(ranges: Iterable[Range], match: Match) -> Iterator[Stored]:
    """What matches, over all journals, from the oldest on."""
    streams = [between(r.journal, r.first, r.last) for r in ranges]
    merged = heapq.merge(*streams, key=lambda s: (s.record.time_ns, s.journal, s.position))
    return (stored for stored in merged if match(stored.record))


def last_of(ranges: Iterable[Range], match: Match, limit: int) -> Iterator[Stored]:
    """The newest `limit` that match (0: all), oldest first."""
    if not limit:
        return oldest(ranges, match)
    return iter(list(islice(newest(ranges, match), limit))[::-1])


def follow(
    journals: Callable[[], Iterable[Journal]], seen: dict[str, int], match: Match
) -> Iterator[Stored | None]:
    """What matches beyond the positions `seen`, as it is committed; None after each look. Never ends."""
    while True:
        ranges = []
        for journal in journals():
            position = journal.head().position
            # A journal that was cut after a power failure goes on from where it was cut.
            after = min(seen.get(journal.name, 0), position)
            seen[journal.name] = position
            ranges.append(Range(journal, after + 1, position))
        yield from oldest([r for r in ranges if r.first <= r.last], match)
        yield None
        time.sleep(POLL_SECONDS)
