"""The records of one journal in a period, each read once and counted; and what stood before them.

Nothing that was read is kept. What retention has removed is not there: where it reaches into the period,
`Volume.gone_ns` says up to when.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observer_core.runtime.reading.lines import Line, Maybe, forwards
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reports.period import Period
from observer_core.shared.ids import ref
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

EARLIER: Final = 200_000
"""So many records before a period are looked at for what stood when it began."""


@dataclass(slots=True)
class Volume:
    """What a journal has been given in the period. `first`..`last`: its positions; last < first: none.

    `gone_ns`: the records up to then were removed by retention; None where none of the period was.
    """

    journal: str
    first: int
    last: int
    total: int
    records: int = 0
    size: int = 0
    gone_ns: int | None = None

    @property
    def refs(self) -> str:
        """The first and the last record, as they are cited."""
        if self.last < self.first:
            return ""
        first, last = ref(self.journal, self.first), ref(self.journal, self.last)
        return first if first == last else f"{first} … {last}"


class Stretches:
    """All journals over one period. `pace`: rests now and then, where others wait for the interpreter."""

    def __init__(self, journals: Journals, period: Period, pace: Pace | None = None) -> None:
        self.journals, self.period, self._pace = journals, period, pace
        self.volumes: dict[str, Volume] = {}

    def volume(self, name: str) -> Volume:
        """Where a journal's records of the period stand."""
        found = self.volumes.get(name)
        if found is None:
            journal, period = self.journals.open(name), self.period
            base = journal.base()
            first = max(journal.position_at(period.start_ns - 1), base.position) + 1
            last = journal.position_at(period.until_ns - 1)
            found = self.volumes[name] = Volume(name, first, last, last)
            if base.position and base.time_ns >= period.start_ns and base.began_ns < period.until_ns:
                found.gone_ns = base.time_ns
        return found

    def lines(self, name: str) -> Iterator[Line]:
        """The records of the period, in order. For reading once: they are counted."""
        volume = self.volume(name)
        for line in self._paced(self.journals.open(name), volume.first, volume.last):
            volume.records += 1
            volume.size += len(line.raw) + 1
            yield line

    def earlier(self, name: str, maybe: Maybe) -> Iterator[Line]:
        """What may matter of the records before the period, in order; of removed ones what still stood."""
        journal, first = self.journals.open(name), self.volume(name).first
        base = journal.base()
        for entry in journal.standing() if base.position else ():
            if entry.position < first:
                raw = entry.record.encode(entry.record.epoch)
                if maybe(raw):
                    yield Line(entry.time_ns, name, entry.position, raw, "", 0)
        low = max(base.position + 1, first - EARLIER)
        for line in self._paced(journal, low, first - 1):
            if maybe(line.raw):
                yield line

    def reaches(self, name: str) -> bool:
        """Whether `earlier` looks at all there is."""
        return self.volume(name).first - EARLIER <= self.journals.open(name).base().position + 1

    def count(self, name: str) -> Volume:
        """The volume of a journal that nobody reads otherwise."""
        for _ in self.lines(name):
            pass
        return self.volume(name)

    def _paced(self, journal: Journal, first: int, last: int) -> Iterator[Line]:
        if last < first:
            return
        if self._pace is not None:
            self._pace.begin()  # what was before was not work of this
        for number, line in enumerate(forwards(journal, first, last)):
            if self._pace is not None and not number % 64:
                self._pace.rest()
            yield line
