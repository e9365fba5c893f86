"""Whether the Observer itself was there: pauses between the ticks of its live clock.

A pause of more than `[heartbeat] gap` is downtime, from the tick before it to the tick behind it. What a
start or stop said of it stands in the operations journal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from observer_core.runtime.gaps import gap_of
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.ids import ref
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
    """The gaps that starts, and clocks that stood still, have recorded: also soon after the period."""
    journal, found = stretches.journals.open(OPERATIONS), []
    last = journal.head().position
    first = journal.position_at(stretches.period.start_ns - 1) + 1
    for entry in journal.scan(first, last) if last >= first else ():
        gap = gap_of(entry.record)
        if gap is not None:
            found.append((gap.from_ns, gap.to_ns, str(gap.ended), ref(OPERATIONS, entry.position)))
    return found
