"""Whether the Observer itself was there: pauses between the ticks of its live clock.

A pause of more than `[heartbeat] gap` is downtime, from the tick before it to the tick behind it. What a
start or stop said of it stands in the operations journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from observer_core.runtime.gaps import BACK, KIND, gap_of
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.ids import ref
from observer_core.shared.records import Note
from observer_core.storage.journal import Journal
from observer_core.storage.recovery import OPERATIONS

SHOWN = 200
"""So many spans are named, the longest; all are counted."""
How = Literal["first", "clean", "unclean", "stalled", "full", "unknown"]


@dataclass(frozen=True, slots=True)
class Down:
    """No tick between these two moments, as far as they lie in the period. `record`: what tells of it."""

    from_ns: int
    to_ns: int
    how: How
    record: str

    @property
    def length_ns(self) -> int:
        return self.to_ns - self.from_ns


@dataclass(slots=True)
class Uptime:
    """`watched_ns`: of the period, from the first tick there ever was on. `down`: the spans, in order."""

    limit_ns: int
    watched_from_ns: int
    watched_ns: int
    ticks: int = 0
    down: list[Down] = field(default_factory=list)
    count: int = 0
    down_ns: int = 0
    longest_ns: int = 0

    @property
    def share(self) -> float | None:
        return None if self.watched_ns <= 0 else 1 - self.down_ns / self.watched_ns


def uptime(stretches: Stretches, domain: str, gap_ns: int) -> Uptime | None:
    """None for a domain whose time is that of a recording, or that has no clock yet."""
    name, period = f"clock.{domain}", stretches.period
    journal = stretches.journals.open(name)
    if not journal.head().position:
        return None
    base = journal.base()
    began_ns = base.began_ns if base.position else journal.entry(1).time_ns
    volume = stretches.volume(name)
    # Of what retention has removed nobody can say whether it was there.
    start_ns = max(period.start_ns, volume.gone_ns or began_ns)
    found = Uptime(gap_ns, start_ns, max(0, period.until_ns - start_ns))
    if not found.watched_ns:
        return found
    last_ns = volume.gone_ns or began_ns
    if not volume.gone_ns and volume.first > base.position + 1:
        last_ns = journal.entry(volume.first - 1).time_ns
    pauses: list[tuple[int, int]] = []
    for line in stretches.lines(name):
        if line.time_ns - last_ns > gap_ns:
            pauses.append((last_ns, line.time_ns))
        last_ns = line.time_ns
        found.ticks += 1
    if period.until_ns - 1 - last_ns > gap_ns:
        pauses.append((last_ns, period.until_ns))
    _tell(found, stretches, pauses)
    return found


def _tell(found: Uptime, stretches: Stretches, pauses: list[tuple[int, int]]) -> None:
    period, told = stretches.period, _told(stretches)
    for from_ns, to_ns in pauses:
        length_ns = period.clip(from_ns, to_ns)
        found.count += 1
        found.down_ns += length_ns
        found.longest_ns = max(found.longest_ns, length_ns)
        how, record = next(
            ((how, place) for at_ns, end_ns, how, place in told if at_ns < to_ns and from_ns < end_ns),
            ("unknown", ""),
        )
        clipped = max(from_ns, period.start_ns), min(to_ns, period.until_ns)
        found.down.append(Down(*clipped, how, record))  # type: ignore[arg-type]
    longest = sorted(found.down, key=lambda down: (-down.length_ns, down.from_ns))[:SHOWN]
    found.down = sorted(longest, key=lambda down: down.from_ns)


def _told(stretches: Stretches) -> list[tuple[int, int, str, str]]:
    """The gaps that starts, and clocks that stood still, have recorded; then the stops: of a pause that is
    not over when the period is, no more is known.
    """
    journal, gaps, stops = stretches.journals.open(OPERATIONS), [], []
    first = journal.position_at(stretches.period.start_ns - 1) + 1
    last = journal.position_at(stretches.period.until_ns - 1)
    before = _stop_before(journal, first)
    for entry in journal.scan(first, last) if last >= first else ():
        gap, place = gap_of(entry.record), ref(OPERATIONS, entry.position)
        if gap is not None:
            gaps.append((gap.from_ns, gap.to_ns, str(gap.ended), place))
        elif _is_stop(entry.record):
            stops.append((entry.time_ns - 1, entry.time_ns + 1, "clean", place))
    return gaps + before + stops


def _is_stop(record: object) -> bool:
    return isinstance(record, Note) and record.kind == KIND and record.body.get("event") == "stop"


def _stop_before(journal: Journal, first: int) -> list[tuple[int, int, str, str]]:
    """The stop that a pause at the begin of the period may go back to."""
    for position in range(first - 1, max(journal.base().position, first - 1 - BACK), -1):
        entry = journal.entry(position)
        if isinstance(entry.record, Note) and entry.record.kind == KIND:
            at_ns = entry.time_ns
            found = (at_ns - 1, at_ns + 1, "clean", ref(OPERATIONS, position))
            return [found] if _is_stop(entry.record) else []
    return []
