"""Events as they come, oldest first, from a cursor that misses none: a position in each domain's journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.runtime.reading.lines import Budget, Line
from observer_core.runtime.reading.listing import Range, no_cursor, oldest_lines, opened, sealed
from observer_core.shared.ids import ref
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

NOW: Final = "now"
"""The cursor of what has not come yet."""
_PREFIX: Final = "events."
_LOOKED: Final = 2_000
"""A look reads so many records of a journal at most."""
_ANSWERED: Final = 1024 * 1024
_DIGITS: Final = 18


@dataclass(frozen=True, slots=True)
class After:
    """How far each journal was read; one that is not named, not at all."""

    positions: Mapping[str, int]

    def text(self) -> str:
        return sealed(" ".join(ref(name, position) for name, position in sorted(self.positions.items())))

    @staticmethod
    def of(text: str) -> After:
        """`InputError` for what is no cursor. One that was made up only names other places."""
        found: dict[str, int] = {}
        for part in opened(text).split(" "):
            name, _, position = part.rpartition("@")
            if not (name.startswith(_PREFIX) and position.isdecimal() and position.isascii()):
                raise no_cursor(text)
            if len(position) > _DIGITS:
                raise no_cursor(text)
            found[name] = int(position)
        return After(found)

    def past(self, line: Line) -> After:
        return After({**self.positions, line.journal: line.position})


@dataclass(frozen=True, slots=True)
class Fed:
    """What matched, each with the cursor behind it, and the cursor behind all that was looked at."""

    lines: list[tuple[Line, After]]
    after: After
    journals: list[Journal]

    def moved(self) -> bool:
        """Whether this process knows of more; asks nothing of the storage."""
        return any(
            journal.head(refresh=False).position > self.after.positions.get(journal.name, 0)
            for journal in self.journals
        )


class Feed:
    """The events of all domains that match. For any thread."""

    def __init__(self, journals: Journals, wanted: Filter) -> None:
        self._journals, self._wanted = journals, wanted
        self._sieve = KINDS["events"].sieve(wanted)

    def start(self, text: str | None) -> After:
        """The cursor of a text; None and `now`: of what comes next."""
        if text is not None and text != NOW:
            return After.of(text)
        names = self._journals.names("events")
        return After({name: self._journals.open(name).head().position for name in names})

    def since(self, after: After, limit: int) -> Fed:
        """What comes behind the cursor, at most `limit` of it and of a bounded number of records."""
        journals = [self._journals.open(name) for name in self._journals.names("events", self._wanted.domain)]
        ranges = []
        for journal in journals:
            last = journal.head().position
            # A journal that was cut after a power failure goes on from where it was cut.
            start = min(after.positions.get(journal.name, 0), last)
            if start < after.positions.get(journal.name, 0):
                after = After({**after.positions, journal.name: start})
            ranges.append(Range(journal, start + 1, min(last, start + _LOOKED)))
        budget = Budget(_LOOKED, _ANSWERED)
        found: list[tuple[Line, After]] = []
        for line in oldest_lines(ranges):
            if len(found) >= limit or budget.spent:
                break
            budget.take(1, len(line.raw))
            after = after.past(line)
            if self._sieve.maybe(line.raw) and self._sieve.match(line.record):
                found.append((line, after))
        return Fed(found, after, journals)
