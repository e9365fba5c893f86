"""Whether each source was there: collections that came, spans without data, subjects, and how late it was.

A source is out from its first failed collection on, or from when its newest data became older than the
gate takes, until the next collection that gave data. The values themselves are not read.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading.lines import Line, forwards
from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.settings import Settings
from observer_core.runtime.source_kinds import DerivedSourceConfig, RecordingSourceConfig
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND
from observer_core.snapshot_engine.sessions import Sessions, sessions_of

SHOWN: Final = 200
_WORST: Final = 10
_BACK: Final = 50
_NAMED_AT_ONCE: Final = 5_000
_STEP_NS: Final = 900 * SECOND
_SUBJECTS: Final = b'"subjects":['
_EVENT_NS: Final = re.compile(rb'"event_ns":(\d+),"fields":')
_STATUS: Final = re.compile(rb'"status":"(ok|partial|unavailable)",$')
_QUALITY: Final = b',"quality":{'
_SOURCE: Final = b'},"source":"'
Why = Literal["failed", "silent"]


@dataclass(frozen=True, slots=True)
class Outage:
    """Without data in between, as far as it lies in the period. `error`: what the source said, if it did."""

    from_ns: int
    to_ns: int
    why: Why
    error: str
    record: str

    @property
    def length_ns(self) -> int:
        return self.to_ns - self.from_ns


@dataclass(slots=True)
class Feed:
    """One source. `interval_ns`: as configured now (None: it has none); `limit_ns`: what the gate takes.

    `came`: collections with data, `failed` without. `subjects`: those named at least once, `named`: how often
    in all, `worst`: those named most rarely. `late_ns`: median and 95 % of how long after it happened a
    snapshot was known.
    """

    source: str
    kind: str
    interval_ns: int | None
    limit_ns: int
    watched_from_ns: int
    watched_ns: int
    came: int = 0
    failed: int = 0
    expected: int | None = None
    outages: list[Outage] = field(default_factory=list)
    count: int = 0
    out_ns: int = 0
    longest_ns: int = 0
    subjects: int = 0
    with_subjects: int = 0
    named: int = 0
    worst: list[tuple[str, float]] = field(default_factory=list)
    late_ns: tuple[int, int] | None = None
    flags: dict[str, int] = field(default_factory=dict)
    refs: str = ""

    @property
    def available(self) -> float | None:
        return None if self.watched_ns <= 0 else 1 - self.out_ns / self.watched_ns

    @property
    def share(self) -> float | None:
        """Of the expected collections those that came; never more than all of them."""
        return None if not self.expected else min(1.0, self.came / self.expected)

    @property
    def coverage(self) -> float | None:
        """Of the subjects of the period those that a collection with data named, on average."""
        whole = self.subjects * self.with_subjects
        return self.named / whole if whole else None


def feeds(stretches: Stretches, settings: Settings, gate: Gate, domain: str) -> Iterator[Feed]:
    """Every source with records in the period, by name, and all that are configured."""
    recorded = [name.partition(".")[2] for name in stretches.journals.names("snapshots", domain)]
    configured = [
        name for item in settings.source if item.domain == domain for name in settings.parts_of(item.name)
    ]
    for source in sorted({*recorded, *configured}):
        volume = stretches.volume(f"snapshots.{source}")
        if source in configured or volume.last >= volume.first:
            yield _Reading(stretches, settings, gate, source, source in recorded).feed()


class _Reading:
    def __init__(
        self, stretches: Stretches, settings: Settings, gate: Gate, source: str, recorded: bool
    ) -> None:  # fmt: skip
        self._stretches, self._name = stretches, f"snapshots.{source}"
        item, period = settings.source_of(source), stretches.period
        self._journal = stretches.journals.open(self._name)
        began_ns = period.start_ns
        if recorded and self._journal.head().position:
            base = self._journal.base()
            began_ns = base.began_ns if base.position else self._journal.entry(1).time_ns
        gone_ns = stretches.volume(self._name).gone_ns if recorded else None
        start_ns = max(period.start_ns, gone_ns or began_ns)
        interval_ns = None
        if item is not None and not isinstance(item, DerivedSourceConfig | RecordingSourceConfig):
            interval_ns = item.interval
        self._sessions: Sessions | None = None
        if item is not None and item.normalise.session is not None:
            self._sessions = sessions_of(item.normalise.session)
        self._feed = Feed(
            source=source, kind="?" if item is None else item.kind,
            interval_ns=interval_ns, limit_ns=gate.max_age_ns(source),
            watched_from_ns=start_ns, watched_ns=max(0, period.until_ns - start_ns),
        )  # fmt: skip
        self._good_ns: int | None = None
        self._out: tuple[int, Why, str, str] | None = None
        self._late = array("q")
        self._sets: Counter[bytes] = Counter()
        self._named: Counter[str] = Counter()

    def feed(self) -> Feed:
        found, period = self._feed, self._stretches.period
        if not found.watched_ns:
            return found
        volume = self._stretches.volume(self._name)
        self._before(volume.first)
        flags: Counter[str] = Counter()
        for line in self._stretches.lines(self._name):
            self._take(line, flags)
        self._until(period.until_ns)
        if self._out is not None:
            self._end(period.until_ns)
        spans = open_spans(self._sessions, found.watched_from_ns, period.until_ns)
        found.watched_ns = sum(end_ns - start_ns for start_ns, end_ns in spans)
        if found.interval_ns and self._sessions is None:
            found.expected = -(-found.watched_ns // found.interval_ns)
        self._finish(flags)
        found.refs = volume.refs
        return found

    def _before(self, first: int) -> None:
        """How it stood when the period began."""
        least = self._journal.base().position
        for position in range(first - 1, max(least, first - 1 - _BACK), -1):
            line = next(forwards(self._journal, position, position), None)
            status = None if line is None else _status(line.raw)
            if line is not None and status is not None:
                if status == "unavailable":
                    self._out = self._stretches.period.start_ns, "failed", _error(line.raw), line.ref
                else:
                    self._good_ns = line.time_ns
                return
        if self._feed.watched_from_ns == self._stretches.period.start_ns:  # nobody knows: that is not there
            self._out = self._feed.watched_from_ns, "silent", "", ""

    def _take(self, line: Line, flags: Counter[str]) -> None:
        raw, found = line.raw, self._feed
        place = raw.rfind(_SUBJECTS)
        status = _status(raw, place)
        if status is None:
            return  # a note of the journal itself
        self._until(line.time_ns)
        quality = _quality(raw)
        for flag in {flag for names in quality.values() for flag in names}:
            flags[flag] += 1
        if status == "unavailable":
            found.failed += 1
            if self._out is None:
                self._out = line.time_ns, "failed", _error(raw), line.ref
            return
        found.came += 1
        if self._out is not None:
            self._end(line.time_ns)
        self._good_ns = line.time_ns
        self._name_subjects(raw[place + len(_SUBJECTS) - 1 : -1])
        happened = _EVENT_NS.search(raw)
        if happened is not None:
            self._late.append(line.time_ns - int(happened[1]))

    def _until(self, time_ns: int) -> None:
        """Time has come this far: what was there may have become too old."""
        if self._out is not None or self._good_ns is None:
            return
        late_ns = self._good_ns + self._feed.limit_ns
        if time_ns > late_ns:
            self._out = late_ns, "silent", "", ""

    def _end(self, time_ns: int) -> None:
        assert self._out is not None
        from_ns, why, error, record = self._out
        self._out = None
        found, period = self._feed, self._stretches.period
        from_ns, to_ns = max(from_ns, found.watched_from_ns), min(time_ns, period.until_ns)
        for start_ns, end_ns in open_spans(self._sessions, from_ns, to_ns):
            found.count += 1
            found.out_ns += end_ns - start_ns
            found.longest_ns = max(found.longest_ns, end_ns - start_ns)
            found.outages.append(Outage(start_ns, end_ns, why, error, record))
        if len(found.outages) > 4 * SHOWN:
            found.outages = _longest(found.outages)

    def _name_subjects(self, names: bytes) -> None:
        if names == b"[]":
            return
        self._feed.with_subjects += 1
        self._sets[names] += 1
        if len(self._sets) > _NAMED_AT_ONCE:
            self._count_subjects()

    def _count_subjects(self) -> None:
        for names, count in self._sets.items():
            for subject in decode(names):
                self._named[subject] += count
        self._sets.clear()

    def _finish(self, flags: Counter[str]) -> None:
        self._count_subjects()
        found = self._feed
        found.outages = _longest(found.outages)
        found.subjects, found.named = len(self._named), self._named.total()
        rarest = sorted(self._named.items(), key=lambda item: (item[1], item[0]))[:_WORST]
        found.worst = [
            (name, count / found.with_subjects) for name, count in rarest if count < found.with_subjects
        ]
        found.flags = dict(sorted(flags.items()))
        if self._late:
            late = sorted(self._late)
            found.late_ns = late[len(late) // 2], late[(len(late) * 95 - 1) // 100]


def open_spans(sessions: Sessions | None, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
    """When a market is open within a span, to the second; sessions, and breaks, under a quarter of an hour
    may be overlooked. The whole span where there are no sessions.
    """
    if to_ns <= from_ns:
        return []
    if sessions is None:
        return [(from_ns, to_ns)]
    found: list[tuple[int, int]] = []
    at_ns, is_open = from_ns, sessions.opened_ns(from_ns) is not None
    since_ns = from_ns
    while at_ns < to_ns:
        next_ns = min(at_ns + _STEP_NS, to_ns)
        if (sessions.opened_ns(next_ns) is not None) != is_open:
            low, high = at_ns, next_ns
            while high - low > SECOND:
                middle = low + (high - low) // 2
                same = (sessions.opened_ns(middle) is not None) == is_open
                low, high = (middle, high) if same else (low, middle)
            whole = high // SECOND * SECOND  # sessions begin and end with a second
            edge = whole if whole > low else high
            if is_open:
                found.append((since_ns, edge))
            since_ns, is_open = edge, not is_open
        at_ns = next_ns
    if is_open and since_ns < to_ns:
        found.append((since_ns, to_ns))
    return found


def _longest(outages: list[Outage]) -> list[Outage]:
    kept = sorted(outages, key=lambda one: (-one.length_ns, one.from_ns))[:SHOWN]
    return sorted(kept, key=lambda one: one.from_ns)


def _status(raw: bytes, place: int | None = None) -> str | None:
    """What a snapshot says of its collection; None for any other record."""
    place = raw.rfind(_SUBJECTS) if place is None else place
    found = _STATUS.search(raw, max(0, place - 32), place) if place > 0 else None
    return None if found is None else found[1].decode()


def _error(raw: bytes) -> str:
    return str(decode(raw).get("error") or "")


def _quality(raw: bytes) -> dict[str, list[str]]:
    start = raw.rfind(_QUALITY)
    if start < 0:
        return {}
    end = raw.find(_SOURCE, start)
    found: dict[str, list[str]] = decode(raw[start + len(_QUALITY) - 1 : end + 1])
    return found
