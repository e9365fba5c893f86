"""Stored records with the place where their bytes lie, from the oldest on or from the newest back."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from observer_core.shared.canonical import decode
from observer_core.shared.errors import InputError, NotFound
from observer_core.shared.ids import ref
from observer_core.shared.records import AnyRecord, decode_record
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

_STEPS = (64, 512)
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Stored:
    """A record, its exact bytes, and where they are: `segment` from byte `offset` on."""

    journal: str
    position: int
    raw: bytes
    segment: str
    offset: int
    record: AnyRecord

    @property
    def ref(self) -> str:
        return ref(self.journal, self.position)


Match = Callable[[AnyRecord], bool]


def between(journal: Journal, first: int, last: int) -> Iterator[Stored]:
    """Records first..last in order."""
    for row, lines in journal.raw(first, last):
        offset = row.offset
        for position, line in enumerate(lines, row.first):
            if first <= position <= last:
                yield Stored(journal.name, position, line, row.segment, offset, decode_record(line))
            offset += len(line) + 1


def at(journal: Journal, position: int) -> Stored:
    """The record at `position`; `NotFound` when there is none."""
    for stored in between(journal, position, position):
        return stored
    raise NotFound("entry", ref(journal.name, position))


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


def by_id(journals: Journals, prefix: str, kinds: Sequence[str]) -> tuple[str, int]:
    """Journal and position of the one record of these kinds whose id begins so; `InputError` otherwise."""
    mark = b'"id":"' + prefix.lower().encode()
    found = [
        (name, position, decode(line)["id"])
        for kind in kinds
        for name in journals.names(kind)
        for row, lines in journals.open(name).raw()
        for position, line in enumerate(lines, row.first)
        if mark in line and str(decode(line).get("id", "")).startswith(prefix.lower())
    ]
    what = " or ".join(kind.removesuffix("s") for kind in kinds)
    if not found:
        raise InputError(f"there is no {what} whose id begins with {prefix!r}; see `observer {kinds[0]} ls`")
    if len({item[2] for item in found}) > 1:
        some = ", ".join(item[2] for item in found[:5])
        raise InputError(f"{len(found)} {what}s begin with {prefix!r} ({some}, …); give more of the id")
    return found[0][:2]
