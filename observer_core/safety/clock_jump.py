"""Notices that the machine's clock was set, or that the machine slept.

The wall clock is held against the one that only runs (monotonic): what the first has gained or lost against
the second since the look before is a jump when it is more than `limit_ns`. Slow corrections, as NTP makes
them, never add up to one. Where the system has a clock that counts sleep too (Linux), a jump of as much as
the machine slept is told apart from one by hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from observer_core.shared.clock import format_duration, format_time

WARN_SECONDS: Final = 600.0
_MS: Final = 1_000_000
_APART_NS: Final = 10 * _MS
_TRIES: Final = 5


def awake_or_asleep_ns() -> int | None:
    """The clock that only runs, sleep included; None where there is none."""
    kind = getattr(time, "CLOCK_BOOTTIME", None)
    return None if kind is None else time.clock_gettime_ns(kind)


@dataclass(frozen=True, slots=True)
class Jump:
    """`at_ns`: the wall clock's time behind it; `by_ns`: by how much it went forward, or back (negative).

    `asleep`: because the machine slept.
    """

    at_ns: int
    by_ns: int
    asleep: bool = False

    @property
    def forward(self) -> bool:
        return self.by_ns > 0

    def __str__(self) -> str:
        span = format_duration(abs(self.by_ns) // _MS * _MS)
        at = format_time(self.at_ns // _MS * _MS)
        if self.asleep:
            return f"the machine slept for {span} up to {at}"
        return f"the clock was set {'forward' if self.forward else 'back'} by {span} at {at}"


class ClockJumps:
    """Of this machine. `look` from one thread, `newest` from any."""

    def __init__(
        self, limit_ns: int, wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
        running: Callable[[], int | None] = awake_or_asleep_ns,
    ) -> None:  # fmt: skip
        self._limit_ns = limit_ns
        self._wall, self._monotonic, self._running = wall, monotonic, running
        self._newest: tuple[Jump, int] | None = None
        self._ahead_ns, self._slept_ns = self._read()[1:]

    def look(self) -> Jump | None:
        """The jump since the look before, if there was one."""
        now_ns, ahead_ns, slept_ns = self._read()
        by_ns, slept = ahead_ns - self._ahead_ns, slept_ns - self._slept_ns
        self._ahead_ns, self._slept_ns = ahead_ns, slept_ns
        if abs(by_ns) <= self._limit_ns:
            return None
        jump = Jump(now_ns, by_ns, asleep=abs(by_ns - slept) <= self._limit_ns)
        self._newest = jump, self._monotonic()
        return jump

    def newest(self) -> Jump | None:
        """The last one, if it was in the last ten minutes."""
        found = self._newest
        if found is None or self._monotonic() - found[1] > WARN_SECONDS * 1e9:
            return None
        return found[0]

    def _read(self) -> tuple[int, int, int]:
        """The wall clock, what it is ahead of the one that only runs, and what that one has slept.

        Read at one moment: a process that is stopped in between would see a jump.
        """
        for _ in range(_TRIES):
            before = self._monotonic()
            wall, running = self._wall(), self._running()
            if self._monotonic() - before <= _APART_NS:
                break
        return wall, wall - before, 0 if running is None else running - before
