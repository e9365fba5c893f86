"""Stored records with the place where their bytes lie: from the newest back, from the oldest on, in pages.

The newest comes first over all journals, by (-time, journal, -position). A cursor names the last record
that was looked at, so a page goes on exactly there: under equal times, and while records are committed.
What was there when the first page was read comes once; what is committed later is newer, or comes in
its place behind the cursor. A page looks at a bounded number of records and bytes.
"""

from __future__ import annotations

import base64
import binascii
import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from observer_core.runtime.acts.ground import Ground, Unknown
from observer_core.runtime.audit.stored import Stored
from observer_core.runtime.reading.filters import Filter, Kind, Sieve
from observer_core.runtime.reading.lines import Budget, Line, Maybe, backwards, everything, forwards
from observer_core.shared.clock import moment
from observer_core.shared.errors import InputError
from observer_core.shared.records import Json
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

LOOKED: Final = 20_000
"""A page looks at so many records at most."""
SCANNED: Final = 32 * 1024 * 1024
"""And reads so many bytes of them, or one record more."""
ANSWERED: Final = 4 * 1024 * 1024
"""And gives so many, or one record more."""
POLL_SECONDS = 0.5
_DECODED: Final = 4
"""One that was decoded in vain counts as so many more."""
_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Range:
    """Positions first..last of a journal."""

    journal: Journal
    first: int
    last: int


class Cursor(NamedTuple):
    """The record that was looked at last."""

    time_ns: int
    journal: str
    position: int

    def text(self) -> str:
        return sealed(f"{self.time_ns} {self.journal} {self.position}")

    @staticmethod
    def of(text: str) -> Cursor:
        """`InputError` for what is no cursor. One that was made up only names another place."""
        time_ns, _, rest = opened(text).partition(" ")
        journal, _, position = rest.partition(" ")
        if not (_whole(time_ns) and journal and _whole(position)):
            raise no_cursor(text)
        return Cursor(int(time_ns), journal, int(position))


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, newest first, and where to go on (None: there is nothing more)."""

    lines: list[Line]
    next: Cursor | None

    def to_json(self) -> Json:
        """`models.Page[RecordItem]`."""
        return {
            "items": [line.item() for line in self.lines],
            "next": None if self.next is None else self.next.text(),
        }


def sealed(text: str) -> str:
    """Text as a cursor: nothing to be read or made by others."""
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def opened(cursor: str) -> str:
    """What `sealed` was given; `InputError` for anything else."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError):
        raise no_cursor(cursor) from None
    if sealed(text) != cursor:
        raise no_cursor(cursor)
    return text


def no_cursor(text: str) -> InputError:
    """What is said of such a text."""
    return InputError(f"{text[:50]!r} is no cursor; `next` of an earlier answer was expected")


def _whole(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= _DIGITS


def newest_lines(
    ranges: Iterable[Range], maybe: Maybe = everything, budget: Budget | None = None
) -> Iterator[Line]:
    """The records for which `maybe` holds, from the newest back, and a few others (see `backwards`)."""
    streams = [backwards(r.journal, r.first, r.last, maybe, budget) for r in ranges if r.first <= r.last]
    if len(streams) == 1:
        return streams[0]
    return heapq.merge(*streams, key=lambda line: (-line.time_ns, line.journal, -line.position))


def newest(ranges: Iterable[Range], sieve: Sieve) -> Iterator[Stored]:
    """What matches, over all journals, from the newest back."""
    return _taken(newest_lines(ranges, sieve.maybe), sieve)


def oldest_lines(ranges: Iterable[Range]) -> Iterator[Line]:
    """All records of the ranges, from the oldest on."""
    streams = [forwards(r.journal, r.first, r.last) for r in ranges if r.first <= r.last]
    return heapq.merge(*streams, key=lambda line: (line.time_ns, line.journal, line.position))


def oldest(ranges: Iterable[Range], sieve: Sieve) -> Iterator[Stored]:
    """What matches, over all journals, from the oldest on."""
    return _taken(oldest_lines(ranges), sieve)


def _taken(lines: Iterable[Line], sieve: Sieve) -> Iterator[Stored]:
    for line in lines:
        if sieve.maybe(line.raw) and sieve.match(record := line.record):
            yield Stored(*line[1:], record)


def last_of(ranges: Iterable[Range], sieve: Sieve, limit: int) -> Iterator[Stored]:
    """The newest `limit` that match (0: all), oldest first."""
    if not limit:
        return oldest(ranges, sieve)
    return iter(list(islice(newest(ranges, sieve), limit))[::-1])


def page(ranges: Iterable[Range], sieve: Sieve, limit: int, budget: Budget | None = None) -> Page:
    """The newest `limit` that match, or fewer when much had to be looked at for them."""
    budget = budget or Budget(LOOKED, SCANNED)
    found: list[Line] = []
    size, last = 0, None
    for line in newest_lines(ranges, sieve.maybe, budget):
        if last is not None and (line.is_end or len(found) >= limit or size >= ANSWERED):
            return Page(found, Cursor(last.time_ns, last.journal, last.position))
        last = line
        if sieve.maybe(line.raw):
            if sieve.match(line.record):
                found.append(line)
                size += len(line.raw)
            else:
                budget.take(_DECODED, 0)
    return Page(found, None)


def journals_of(journals: Journals, kind: Kind, wanted: Filter) -> list[Journal]:
    """The journals that hold what may be meant."""
    names = journals.names(kind.journals, wanted.domain)
    if kind.per_source and wanted.source is not None:
        names = [name for name in names if name == f"{kind.journals}.{wanted.source}"]
    return [journals.open(name) for name in names]


def ranges(
    ground: Ground, kind: Kind, wanted: Filter, since: str | None = None, until: str | None = None,
    after: Cursor | None = None,
) -> list[Range]:  # fmt: skip
    """The positions of each journal that the times leave, behind the cursor if there is one.

    `InputError` for a domain or a source that there is none of, and for what is not a time.
    """
    check(ground, wanted)
    journals = ground.journals
    found = []
    for journal in journals_of(journals, kind, wanted):

        def newest(name: str = journal.name) -> int:
            return ground.newest_ns(journals.domain_of(name) or "")

        first = 1 if since is None else journal.position_at(moment(since, newest) - 1) + 1
        last = journal.head().position if until is None else journal.position_at(moment(until, newest))
        if after is not None:
            last = min(last, _behind(journal, after, last))
        found.append(Range(journal, first, last))
    return found


def check(ground: Ground, wanted: Filter) -> None:
    """`Unknown` for a domain or a source that is neither recorded nor configured."""
    configured = ground.settings.source
    if wanted.domain not in {item.domain for item in configured}:
        ground.domains(wanted.domain)
    if wanted.source is None or wanted.source in {item.name for item in configured}:
        return
    if ground.journals.domain_of(f"snapshots.{wanted.source}") is None:
        known = ", ".join(name.partition(".")[2] for name in ground.journals.names("snapshots"))
        raise Unknown(f"there is no source {wanted.source!r}; known are {known or 'none yet'}")


def _behind(journal: Journal, cursor: Cursor, last: int) -> int:
    """The newest position that comes after the cursor, newest first."""
    if not last:
        return 0
    if journal.name == cursor.journal:
        return cursor.position - 1
    return journal.position_at(cursor.time_ns - (journal.name < cursor.journal))


def follow(
    journals: Callable[[], Sequence[Journal]], seen: dict[str, int], sieve: Sieve
) -> Iterator[Stored | None]:
    """What matches beyond the positions `seen`, as it is committed; None after each look. Never ends."""
    while True:
        yield from oldest(unseen(journals(), seen), sieve)
        yield None
        time.sleep(POLL_SECONDS)


def unseen(journals: Iterable[Journal], seen: dict[str, int]) -> list[Range]:
    """What was committed beyond the positions `seen`, which are moved on."""
    found = []
    for journal in journals:
        position = journal.head().position
        # A journal that was cut after a power failure goes on from where it was cut.
        after = min(seen.get(journal.name, 0), position)
        seen[journal.name] = position
        found.append(Range(journal, after + 1, position))
    return [item for item in found if item.first <= item.last]
