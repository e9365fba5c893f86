"""Correlations of changes: two series that moved together, and no longer do.

Guarantee: a pair of changes, however wild, moves the correlation's products by at most 9/span of a
usual one; a break is told once, and ends with a record: restored, or accepted as usual.

A sample is taken when both have been observed since the last one (and `every` has passed), of the newest
value of each; where neither changed there is none. So both feeds may tick as they like. With Δ the
changes since the sample before, s their scales (mean absolute, Winsorised at 3, times 1.2533):

    u = min(|Δ|/s, 3)·sign(Δ)        products of u_a·u_b, u_a², u_b², exponentially weighted
    r = Σ u_a·u_b / √(Σ u_a² · Σ u_b²)           over `span` samples, and over `slow_span`
    q = r·sign(r_slow)                           how much of the usual correlation there is now
    lowest = |r_slow| − max(drop, sigmas·(1 − r_slow²)·√(1/n + 1/n_slow)),  n = 2·span − 1
    broken    when q < lowest (or `floor`), `hold` samples in a row, where |r_slow| ≥ `at_least`
    restored  when q ≥ |r_slow| − leave·(|r_slow| − lowest), `hold` in a row
    accepted  after `accept` samples of a break: what is usual is then what is now

(1 − r²)/√n is the standard error of a correlation; 2·span − 1 is how many equally weighted samples the
exponential window is worth. The usual correlation stands still during a break.

False alarms: four bad prints of one series within `span`; volatility that rises many times over within
a few samples (both series stand at the clip, and a correlation of signs is lower). Samples of series
that tick at different moments correlate less the shorter they are (Epps): when feeds
slow down alike r moves by itself, which `every` prevents. Two series with a correlation by chance
below `at_least` are not watched.

Sources: Fisher, Biometrika 10 (1915) for the standard error; refresh times are those of
Barndorff-Nielsen, Hansen, Lunde & Shephard, Journal of Econometrics 162 (2011); exponentially
weighted products, RiskMetrics Technical Document (1996).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from observer_core.pattern_record.window import Flags, Floats, constant

LAST, PREVIOUS, SCALE = slice(0, 2), slice(2, 4), slice(4, 6)
FAST, SLOW = slice(6, 9), slice(9, 12)
TAKEN, COUNT, RUN, ONSET, BROKEN = range(12, 17)
ROWS = 17
"""What is kept of a pair. `LAST`: what was observed since the last sample, NaN if nothing; `PREVIOUS`: the
last sample; `FAST`, `SLOW`: the products. `RUN`: of samples below the lowest; of a broken pair, back
(down). `BROKEN`: samples since the break, 0 while there is none."""
(
    EVERY, GAIN, SLOW_GAIN, WORTH, SLOW_WORTH, WARM_UP, MATURE, AT_LEAST, DROP, SIGMAS, NOISE, FLOOR, HOLD,
    LEAVE, ACCEPT,
) = range(15)  # fmt: skip
PARAMETERS = 15
"""What a rule says. `WORTH`: how many samples a window is worth; `NOISE`: the allowed standard errors of two
such windows without correlation. `FLOOR`: NaN where there is none."""

CLIP = 3.0
_SETTLED = 20.0
_CLIP, _LOW, _SIGMA = constant(CLIP), constant(-CLIP), constant(1.2533141373155001)
_SMALLEST, _LEAST_PRODUCT = constant(1e-300), constant(1e-140)


class Found(NamedTuple):
    """What came of a step, over the pairs that were sampled, `at`: masks, and what they were judged by."""

    at: Flags
    begun: Flags
    restored: Flags
    accepted: Flags
    now: Floats
    usual: Floats
    lowest: Floats
    score: Floats
    worth: Floats
    slow_worth: Floats
    onset: Floats


def fresh() -> Floats:
    """A pair that was never observed."""
    values = np.zeros(ROWS)
    values[LAST] = values[PREVIOUS] = np.nan
    values[TAKEN] = -1e300
    return values


def busy(values: Floats) -> bool:
    """Whether any pair is below its lowest, or broken."""
    return bool(values[[RUN, BROKEN]].any())


def observe(
    v: Floats, p: Floats, x: Floats, good: Flags, clock: float, now: float, *, mature: bool, busy: bool
) -> Found | None:
    """What of `x` (2, n) is `good`, into `v` (ROWS, n); None: nothing to tell.

    `clock` is the observed time, `now` that of the domain (ns); `p` (PARAMETERS, n). `mature` and
    `busy` as in `relation.observe`.
    """
    last, previous = v[LAST], v[PREVIOUS]
    np.copyto(last, x, where=good)
    ready = clock - v[TAKEN] >= p[EVERY]
    ready &= np.isfinite(last[0] + last[1])
    if not np.count_nonzero(ready):
        return None
    change = last - previous
    size = np.abs(change)
    sampled = ready & (np.maximum(size[0], size[1]) > 0.0)
    np.copyto(previous, last, where=ready)
    np.copyto(last, np.nan, where=ready)
    np.copyto(v[TAKEN], clock, where=ready)
    count = int(np.count_nonzero(sampled))
    if count == len(sampled):
        return _sample(v, p, change, size, sampled, now, mature=mature, busy=busy)
    if not count:
        return None
    part = v[:, sampled]
    found = _sample(
        part, p[:, sampled], change[:, sampled], size[:, sampled], sampled, now, mature=mature, busy=busy
    )
    v[:, sampled] = part
    return found


def _sample(
    v: Floats, p: Floats, change: Floats, size: Floats, at: Flags, now: float, *, mature: bool, busy: bool
) -> Found | None:
    scale, fast, slow, count = v[SCALE], v[FAST], v[SLOW], v[COUNT]
    gain, slow_gain, worth, slow_worth = p[GAIN], p[SLOW_GAIN], p[WORTH], p[SLOW_WORTH]
    noise = p[NOISE]
    edge = scale * _CLIP
    if not mature:
        np.minimum(count + 1.0, p[MATURE], out=count)
        gain, slow_gain = np.maximum(1.0 / count, gain), np.maximum(1.0 / count, slow_gain)
        worth, slow_worth = np.minimum(count, worth), np.minimum(count, slow_worth)
        noise = p[SIGMAS] * np.sqrt(1.0 / worth + 1.0 / slow_worth)
        np.copyto(edge, np.inf, where=count <= _SETTLED)
    if busy:
        slow_gain = slow_gain * (v[BROKEN] == 0.0)
    change /= np.maximum(scale, _SMALLEST)
    u = np.clip(change, _LOW, _CLIP, out=change)
    np.minimum(size, edge, out=size)
    size *= _SIGMA
    size -= scale
    size *= gain
    scale += size
    products = np.empty_like(fast)
    np.multiply(u[0], u[1], out=products[0])
    np.multiply(u, u, out=products[1:])
    step = products - fast
    step *= gain
    fast += step
    products -= slow
    products *= slow_gain
    slow += products

    r, usual = _correlation(fast), _correlation(slow)
    floor = p[FLOOR]
    stated = ~np.isnan(floor)
    sign = np.copysign(1.0, usual)
    np.copyto(sign, 1.0, where=stated)
    expected, held = usual * sign, r * sign
    lowest = np.multiply(expected, expected)
    np.subtract(1.0, lowest, out=lowest)
    lowest *= noise
    np.maximum(lowest, p[DROP], out=lowest)
    np.subtract(expected, lowest, out=lowest)
    np.copyto(lowest, floor, where=stated)
    below = held < lowest
    below &= stated | (expected >= p[AT_LEAST])
    if not mature:
        below &= count > p[WARM_UP]
    if not busy and not np.count_nonzero(below):
        return None
    begun, restored, accepted, score = _judge(v, p, now, held, expected, lowest, below, stated)
    return Found(at, begun, restored, accepted, r, usual, lowest * sign, score, worth, slow_worth, v[ONSET])


def _judge(
    v: Floats, p: Floats, now: float, held: Floats, expected: Floats, lowest: Floats, below: Flags,
    stated: Flags,
) -> tuple[Flags, Flags, Flags, Floats]:  # fmt: skip
    run, onset, broken = v[[RUN, ONSET, BROKEN]]
    standing = broken > 0.0
    above = np.where(stated, np.maximum(expected, lowest + 0.1 * (1.0 - lowest)), expected)
    allowed = above - lowest
    back = held >= above - p[LEAVE] * allowed
    run = np.where(standing, np.where(back, run - 1.0, 0.0), np.where(below, run + 1.0, 0.0))
    onset = np.where(~standing & (run == 1.0), now, onset)
    broken = broken + standing

    begun = ~standing & (run >= p[HOLD])
    restored = standing & (run <= -p[HOLD])
    accepted = standing & ~restored & (broken >= p[ACCEPT])
    over = restored | accepted
    v[BROKEN] = np.where(begun, 1.0, np.where(over, 0.0, broken))
    v[RUN] = np.where(begun | over, 0.0, run)
    v[ONSET] = onset
    v[SLOW] = np.where(accepted, v[FAST], v[SLOW])
    fall = np.maximum(above - held, 0.0)
    return begun, restored, accepted, fall / (fall + allowed)


def _correlation(products: Floats) -> Floats:
    scale: Floats = products[1] * products[2]
    np.sqrt(scale, out=scale)
    np.maximum(scale, _LEAST_PRODUCT, out=scale)
    np.divide(products[0], scale, out=scale)
    return scale
