"""Robust exponentially weighted level and scale, and spikes: how many sigmas from expected.

Guarantee: one observation, however wild, moves the level by at most clip/span sigmas and
the scale by at most the factor 1 + 1.2533·clip/span (default: 0.16 sigmas, 20 %), so the
detector sees again at once after a bad print.

With g = max(1/span, 1/observations so far), before the observation u is learnt:

    r = u − level                 z = |r| / scale         (the statistic; unit: sigmas)
    c = min(|r|, clip·scale)                              (|r| itself while warming up)
    level += g·sign(r)·c          scale += g·(1.2533·c − scale)
    scale = max(scale, floor·|level|)

1.2533 = √(π/2) makes the mean absolute deviation the standard deviation of a normal series.
`floor` is what a series that stood still is measured by: a move smaller than
threshold·floor of its level (default 8e-5) is never a spike. Returns are judged as growth
x / |previous|, whose level is about 1, so there `floor` is a return (0.1 basis points).

False alarms: a normal series exceeds 8 sigmas practically never; heavy tails do, and are
kept apart by `limits`. Nothing alarms in the warm-up.

Sources: Roberts, "Control chart tests based on geometric moving averages", Technometrics 1
(1959); Gelper, Fried & Croux, "Robust forecasting with exponential and Holt-Winters
smoothing", Journal of Forecasting 29 (2010).

>>> from observer_core.pattern_record.config import Baseline
>>> window, detector = Window.fresh(1), EwmaSpike(Baseline(span=10, slow_span=20, warm_up=10))
>>> for step in range(40):
...     window.u[0] = 5.0 + step % 2
...     detector.begin(window)
...     detector.observe(window)
>>> window.u[0] = 17.5
>>> detector.begin(window); detector.observe(window)
>>> print(f"{window.z[0]:.1f} sigmas")
18.1 sigmas
"""

from __future__ import annotations

import numpy as np

from observer_core.pattern_record.config import Baseline
from observer_core.pattern_record.window import SMALLEST, Window, constant

SIGMA_OF_ABSOLUTE = 1.2533141373155001
"""√(π/2): the standard deviation of a normal variable over its mean absolute deviation."""
ENDLESS = 1e9
"""More sigmas than this are reported as this."""
_SIGMA, _TINY = constant(SIGMA_OF_ABSOLUTE), constant(SMALLEST)


class EwmaSpike:
    """`begin`, then `observe`, at every observation. `maturity`: observations until gains stand still."""

    __slots__ = ("_clip", "_floor", "_gain", "_gain_slow", "_warm_up", "maturity")

    def __init__(self, config: Baseline) -> None:
        self._clip, self._floor, self._warm_up = constant(config.clip), constant(config.floor), config.warm_up
        self._gain, self._gain_slow = constant(1.0 / config.span), constant(1.0 / config.slow_span)
        self.maturity = max(config.warm_up + 1, config.slow_span)

    def begin(self, w: Window) -> None:
        """Counts the observation and sets the gains. The first observation of a series is its level."""
        if w.mature:
            if w.gain is not self._gain:
                w.gain, w.gain_slow = self._gain, self._gain_slow
                w.gains[0], w.gains[1] = w.gain, w.gain_slow
            return
        np.copyto(w.level, w.u, where=w.count == 0.0)
        np.minimum(np.add(w.count, 1.0, out=w.count), float(self.maturity), out=w.count)
        gain = 1.0 / w.count
        w.gain = np.maximum(gain, self._gain, out=w.gains[0])
        w.gain_slow = np.maximum(gain, self._gain_slow, out=w.gains[1])

    def observe(self, w: Window) -> None:
        """Scores `u` against what was learnt before it, then learns from it."""
        residual, distance, clipped, work = w.residual, w.distance, w.clipped, w.work
        np.subtract(w.u, w.level, residual)
        np.abs(residual, distance)
        np.divide(distance, w.scale, w.z)
        np.multiply(w.scale, self._clip, clipped)
        np.minimum(distance, clipped, out=clipped)
        if not w.mature:
            np.copyto(clipped, distance, where=w.count <= self._warm_up)
        np.copysign(clipped, residual, work)
        np.multiply(work, w.gain, work)
        np.add(w.level, work, w.level)
        np.multiply(clipped, _SIGMA, clipped)
        np.subtract(clipped, w.scales, w.work2)
        np.multiply(w.work2, w.gains, w.work2)
        np.add(w.scales, w.work2, w.scales)
        np.abs(w.level, work)
        np.multiply(work, self._floor, work)
        np.add(work, _TINY, work)
        np.maximum(w.scales, work, out=w.scales)
