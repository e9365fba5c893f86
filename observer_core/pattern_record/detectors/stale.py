"""Feeds that fall silent, come back, or stand still: each series by its own habits.

**Silence.** Time is the source's *observed time*: it advances by the interval between its
snapshots, at most `floor` cadences a step, and not across an outage of the source, so that
a weekend or a stopped Observer is not a silence of its series. For every series, in
nanoseconds of observed time:

    longest = max(longest · 1023/1024, gap)         at every arrival
    allowed = max(multiple · longest, floor · cadence)
    feed_stale    when silence > allowed, after `min_arrivals` arrivals
    feed_resumed  at the next arrival; the silence then counts as a gap of `allowed` at most

A series that goes silent for half an hour as a matter of course has a `longest` of that.
The memory of a gap halves in 710 arrivals. `cadence` is the source's learnt interval
between snapshots, in force for 16 snapshots at a time.

A series that went silent with its venue is part of a halt (see `halt`), and not stale beside it.

False alarms: a silence must be `multiple` (default 3) times longer than any that the series
still remembers; after a false alarm it must be three times longer again.

**Standing still** (`Flat`). A value that changes in a share p of its observations, as
learnt (g = max(1/slow_span, 1/observations)), has usual runs of 1/p equal values. Along a
run the expected number of changes grows; `feed_flat` when it exceeds `runs`:

    p += g·(changed − p)          expected = expected + p, or 0 at a change

For independent changes such a run has a chance of exp(−runs), 1e-13 by default. A series
that changes in less than runs/slow_span (default: 6 %) of its observations is never
flat: p itself decays during the run. Zero-volume bars are such observations.

Source: the decayed maximum is the peak-hold of Welford-style online estimates; the phi
accrual failure detector of Hayashibara et al., SRDS 2004, learns intervals likewise. The
run test is the geometric distribution's.

>>> times = np.zeros((3, 1))
>>> stale = np.zeros(1, np.uint8)
>>> for minute in (0, 1, 2, 9, 10):
...     arrive(times, slice(0, 1), minute * 60, Stale(min_arrivals=5))
>>> [silent(times, stale, minute * 60, 300, Stale(min_arrivals=5))[0].tolist() for minute in (30, 31)]
[[], [0]]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import Stale
from observer_core.pattern_record.window import Bytes, Floats, Window

LAST, LONGEST, ARRIVALS = range(3)
TIME_ROWS = 3
NEVER = 1e300
FADE = 1023.0 / 1024.0
STALE, HALTED, BACK = 1, 2, 4
"""Flags of a series: stale by itself; part of a halt; part of one, but back (then without HALTED)."""


def arrive(times: Floats, at: Any, now: float, config: Stale, *, familiar: bool = False) -> None:
    """Learns the gaps that end now, in the columns `at` of `times` (3, n): last, longest, arrivals.

    Arrivals are counted up to `min_arrivals`; `familiar`: all of them are there already.
    """
    last, longest = times[LAST, at], times[LONGEST, at]
    gap = np.subtract(now, last)
    if not familiar:
        arrivals = times[ARRIVALS, at]
        gap[arrivals == 0.0] = 0.0
        times[ARRIVALS, at] = np.minimum(arrivals + 1.0, config.min_arrivals)
    faded = np.multiply(longest, FADE)
    if familiar:  # the cells lie side by side: `longest` shows them in place
        np.maximum(faded, gap, out=longest)
    else:
        times[LONGEST, at] = np.maximum(faded, gap)
    times[LAST, at] = now


def allowed(times: Floats, at: Any, floor_ns: float, config: Stale) -> Floats:
    """How long these series may be silent."""
    patience: Floats = np.maximum(times[LONGEST, at] * config.multiple, floor_ns)
    return patience


def silent(
    times: Floats, stale: Bytes, now: float, floor_ns: float, config: Stale
) -> tuple[NDArray[np.intp], float]:
    """Series that became stale by `now`, and the moment after which another one can."""
    due = times[LAST] + allowed(times, slice(None), floor_ns, config)
    due[(times[ARRIVALS] < config.min_arrivals) | (stale != 0)] = NEVER
    late = due < now
    if not late.any():
        return _NONE, float(due.min(initial=NEVER))
    found = np.flatnonzero(late)
    due[found] = NEVER
    return found, float(due.min())


_NONE = np.empty(0, np.intp)


def observe_run(w: Window) -> None:
    """Counts the changes that were to be expected since the value last changed (`feed_flat`)."""
    np.not_equal(w.x, w.previous, w.same)
    np.subtract(w.same, w.change_rate, w.work)
    np.multiply(w.work, w.gain_slow, w.work)
    np.add(w.change_rate, w.work, w.change_rate)
    np.add(w.expected_changes, w.change_rate, w.expected_changes)
    np.logical_not(w.same, w.same)
    np.multiply(w.expected_changes, w.same, w.expected_changes)
    w.previous[:] = w.x


def restart(w: Window, at: int) -> None:
    """Says no more about series `at` until its value changes."""
    w.expected_changes[at] = -1e300
