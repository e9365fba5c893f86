"""Level shifts: Page's two-sided cumulative sum of standardised residuals.

With z the signed residual in sigmas (see `ewma_spike`), clipped to ±clip:

    up   = max(0, up + z − drift)          down = max(0, down − z − drift)

An alarm when one exceeds `threshold` (unit: sigmas, summed). `drift` is half the shift to be
found. The onset is the time of the observation at which the sum last left zero; it is an
estimate, and the alarm keeps its own time. After an alarm both sums restart from zero and
the level starts anew at its new place: the mean excess over the steps since the onset, or
the observation itself where that is further out than `clip`.

False alarms: one observation adds at most clip − drift, so at least
threshold / (clip − drift) of them must agree (default: 6): a bad print and its reversal are
no level shift. For independent normal residuals Siegmund's approximation gives a mean time
of about exp(2·drift·(threshold + 1.166))/(2·drift²) between alarms, 1e13 by default; series
with long memory alarm more often, and `limits` keeps them apart. The level adapts with
`baseline.span`, so the slowest shift that is found is about two sigmas.

Source: Page, "Continuous inspection schemes", Biometrika 41 (1954).

>>> from observer_core.pattern_record.config import LevelShift
>>> window, detector = Window.fresh(1), Cusum(LevelShift())
>>> for minute, z in enumerate([0.3, -0.2, 3.0, 2.5, 9.0]):
...     window.residual[0], window.z[0] = z, abs(z)
...     detector.observe(window, now=float(minute))
>>> float(window.shift_up[0]), int(window.onsets[0, 0]), int(window.steps[0, 0])
(6.5, 2, 3)
"""

from __future__ import annotations

import numpy as np

from observer_core.pattern_record.config import LevelShift
from observer_core.pattern_record.window import SHIFT_UP, Window, constant

_FAR, _ONE, _ZERO = constant(1e300), constant(1.0), constant(0.0)


class Cusum:
    """`observe` at every observation, `restart` after an alarm."""

    __slots__ = ("_back", "_clip", "_drift", "_now")

    def __init__(self, config: LevelShift) -> None:
        self._clip, self._drift = constant(config.clip), constant(config.drift)
        self._back, self._now = constant(-config.drift), constant(0.0)

    def observe(self, w: Window, now: float) -> None:
        """Adds `residual` (in sigmas: `z`) to both sums; keeps when they left zero, and the steps since."""
        self._now[()] = now
        signed, sums, work = w.signed, w.shifts, w.work2
        np.minimum(w.z, self._clip, out=signed)
        np.copysign(signed, w.residual, signed)
        # Where a sum is zero, onset = now and steps = 0, else both stay: in arithmetic, because a
        # masked copy costs ten times as much where the mask cannot be foretold.
        np.multiply(sums, _FAR, work)
        np.minimum(w.steps, work, out=w.steps)
        np.add(w.steps, _ONE, w.steps)
        np.subtract(self._now, work, work)
        np.maximum(w.onsets, work, out=w.onsets)
        np.subtract(signed, self._drift, work[0])
        np.subtract(self._back, signed, work[1])
        np.add(sums, work, sums)
        np.maximum(sums, _ZERO, out=sums)

    def restart(self, w: Window, row: int, at: int) -> None:
        """Begins anew after the alarm of statistic `row` in series `at`."""
        sign = 1.0 if row == SHIFT_UP else -1.0
        side = row - SHIFT_UP
        if w.z[at] > self._clip:
            w.level[at] = w.u[at]
        else:
            excess = w.shifts[side, at] / w.steps[side, at] + self._drift
            w.level[at] += sign * excess * w.scale[at]
        w.shifts[:, at] = 0.0
        w.steps[:, at] = 0.0
