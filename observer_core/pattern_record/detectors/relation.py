"""Relations: a value that keeps near a target, stated or learnt, and breaks away from it.

Guarantee: fewer than `hold` observations in a row, on one side, never break a relation, however far
off; a break is told once, then only when the distance has doubled since; it ends with a record:
restored, or (a learnt target) accepted as the new one. An observation beyond what is allowed
moves the learnt target and scale as if it stood at the edge of that; during a break nothing moves.

With g = max(1/span, 1/observations so far), before the observation x is learnt:

    d = x − target          allowed = max(tolerance, sigmas·scale, raised)
    broken    when |d| > allowed, `hold` times in a row on one side, and for `lasting`
    worse     when |d| > 2 × the |d| last told, `hold` times in a row
    restored  when |d| ≤ leave·allowed, `hold` times in a row
    accepted  after `accept` observations of a break, at the mean of its observations

    c = min(|d|, allowed)   target += g·sign(d)·c     scale += g·(1.2533·c − scale)

A relation that was learnt, broke and was restored is allowed half as much again (`raised`, which
halves in 3,500 observations): one that breaks away as a matter of course is soon measured by that.

The scale is that of the distance to a *slow* target: a series that wanders is measured by
how far it wanders in `span` observations, one that returns at once by its noise.

False alarms: noise that suddenly grows eightfold; a drift that begins after a long calm; one bad print
of a slow feed that is held against a fast one (it stands until the slow feed speaks again:
`lasting`). A break that changes sides at every observation is not found: it is noise.

Sources: Roberts, Technometrics 1 (1959), for the level; Winsorised at the limit as in Gelper, Fried
& Croux, Journal of Forecasting 29 (2010); runs of `hold` beyond the limit are the runs rules of
the Western Electric Statistical Quality Control Handbook (1956).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from observer_core.pattern_record.window import Flags, Floats, constant

LEVEL, SCALE, RAISED, COUNT, RUN, ONSET, TOLD, BROKEN, NEW, NEW_SCALE = range(10)
ROWS = 10
"""What is kept of a series. `TOLD`: the distance last told, 0 while the relation holds. `RUN`: of
observations beyond the limit, by side; of a broken one, worse (up) or back (down). `BROKEN`: observations
since the break; `NEW`, `NEW_SCALE`: their mean and scale."""
TARGET, SHARE, ABSOLUTE, SIGMAS, GAIN, WARM_UP, MATURE, HOLD, LASTING, LEAVE, ACCEPT = range(11)
PARAMETERS = 11
"""What a rule says. `TARGET` is NaN, and `ACCEPT` finite, where the target is learnt."""

_SIGMA = constant(1.2533141373155001)
_FADE = constant(1.0 - 1.0 / 5000.0)
_TINY = constant(1e-300)
_LARGEST = 1e300
RISE = 1.5


class Found(NamedTuple):
    """What came of a step: masks over the series, and the numbers that they were judged by."""

    begun: Flags
    worse: Flags
    restored: Flags
    accepted: Flags
    expected: Floats
    allowed: Floats
    distance: Floats
    before: Floats
    told: Floats
    lasted: Floats


def fresh() -> Floats:
    """A series that was never observed."""
    return np.zeros(ROWS)


def busy(values: Floats) -> bool:
    """Whether any series is beyond its limit, or broken."""
    return bool(values[[RUN, TOLD]].any())


def observe(v: Floats, p: Floats, x: Floats, now: float, *, mature: bool, busy: bool) -> Found | None:
    """One observation `x` of each series, at `now` (ns), into `v` (ROWS, n); None: nothing to tell.

    `p` (PARAMETERS, n). `mature`: all have been observed often enough that gains stand still.
    `busy`: some may be beyond their limits, or broken, since before.
    """
    level, scale, raised, count = v[LEVEL], v[SCALE], v[RAISED], v[COUNT]
    gain = p[GAIN]
    stated = ~np.isnan(p[TARGET])
    if not mature:
        np.copyto(level, x, where=count == 0.0)
        np.minimum(count + 1.0, p[MATURE], out=count)
        gain = np.maximum(1.0 / count, gain)
    np.copyto(level, p[TARGET], where=stated)
    d = x - level
    distance = np.abs(d)
    tolerance = np.abs(level)
    tolerance *= p[SHARE]
    tolerance += p[ABSOLUTE]
    allowed = scale * p[SIGMAS]
    np.maximum(allowed, tolerance, out=allowed)
    np.maximum(allowed, raised, out=allowed)
    if not mature:
        np.copyto(allowed, np.inf, where=count <= p[WARM_UP])
    outside = distance > allowed
    found = None
    if busy or np.count_nonzero(outside):
        found = _judge(v, p, x, now, d, distance, allowed, outside)
        gain = gain * ((v[TOLD] == 0.0) & ~found.restored & ~found.accepted)
    c = np.minimum(distance, allowed)
    step = np.copysign(c, d)
    step *= gain
    level += step
    c *= _SIGMA
    c -= scale
    c *= gain
    scale += c
    raised *= _FADE
    raised -= _TINY
    np.maximum(raised, 0.0, out=raised)
    return found


def _judge(
    v: Floats, p: Floats, x: Floats, now: float, d: Floats, distance: Floats, allowed: Floats, outside: Flags
) -> Found:
    level, scale, raised, run, onset, told, broken = v[[LEVEL, SCALE, RAISED, RUN, ONSET, TOLD, BROKEN]]
    standing = told > 0.0
    side = np.where(outside, np.copysign(1.0, d), 0.0)
    goes_on = run * side > 0.0
    worse, back = distance > 2.0 * told, distance <= allowed * p[LEAVE]
    run = np.where(
        standing,
        np.where(worse, np.maximum(run, 0.0) + 1.0, np.where(back, np.minimum(run, 0.0) - 1.0, 0.0)),
        np.where(goes_on, run + side, side),
    )
    onset = np.where(~standing & outside & ~goes_on, now, onset)
    broken = broken + standing
    _follow(v, p, x, broken)

    begun = ~standing & (np.abs(run) >= p[HOLD]) & (now - onset >= p[LASTING])
    restored = standing & (run <= -p[HOLD])
    accepted = standing & ~restored & (broken >= p[ACCEPT])
    worse = standing & ~accepted & (run >= p[HOLD])
    found = Found(begun, worse, restored, accepted, level, allowed, distance, told, told, now - onset)

    learnt = restored & (p[ACCEPT] < np.inf)
    wider = RISE * np.where(allowed > 0.0, np.minimum(allowed, told), told)
    v[RAISED] = np.where(learnt, np.minimum(np.maximum(raised, wider), _LARGEST), raised)
    v[LEVEL] = np.where(accepted, v[NEW], level)
    v[SCALE] = np.where(accepted, np.maximum(scale, v[NEW_SCALE]), scale)
    over = restored | accepted
    v[TOLD] = np.where(begun | worse, distance, np.where(over, 0.0, told))
    v[BROKEN] = np.where(over, 0.0, broken)
    v[RUN] = np.where(begun | worse | over, 0.0, run)
    v[ONSET] = onset
    return found._replace(told=v[TOLD].copy())


def _follow(v: Floats, p: Floats, x: Floats, broken: Floats) -> None:
    """Where broken relations stand now, in case that is to be accepted."""
    new, new_scale = v[NEW], v[NEW_SCALE]
    np.copyto(new, x, where=broken == 1.0)
    np.copyto(new_scale, 0.0, where=broken == 1.0)
    gain = (broken > 0.0) * np.maximum(1.0 / np.maximum(broken, 1.0), p[GAIN])
    step = x - new
    new += gain * step
    new_scale += gain * (_SIGMA * np.abs(step) - new_scale)
