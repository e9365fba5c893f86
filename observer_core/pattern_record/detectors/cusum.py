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
>>> window, config = Window.fresh(1), LevelShift()
>>> for minute, z in enumerate([0.3, -0.2, 3.0, 2.5, 9.0]):
...     window.residual[0], window.z[0] = z, abs(z)
...     observe(window, config, now_ns=minute)
>>> float(window.shift_up[0]), int(window.onsets[0, 0]), int(window.steps[0, 0])
(6.5, 2, 3)
"""

from __future__ import annotations

import numpy as np

from observer_core.pattern_record.config import LevelShift
from observer_core.pattern_record.window import SHIFT_UP, Window


def observe(w: Window, config: LevelShift, now_ns: int) -> None:
    """Adds the step's residual (`residual`, `z`) to both sums; keeps when and how long ago they left zero."""
    signed, sums, work = w.signed, w.shifts, w.work2
    np.minimum(w.z, config.clip, out=signed)
    np.copysign(signed, w.residual, out=signed)
    np.equal(sums, 0.0, out=w.zero)
    np.positive(np.int64(now_ns), out=w.onsets, where=w.zero)
    np.multiply(w.steps, 0.0, out=w.steps, where=w.zero)
    np.add(w.steps, 1.0, out=w.steps)
    np.subtract(signed, config.drift, out=work[0])
    np.subtract(-config.drift, signed, out=work[1])
    np.add(sums, work, out=sums)
    np.maximum(sums, 0.0, out=sums)


def restart(w: Window, config: LevelShift, row: int, at: int) -> None:
    """Begins anew after the alarm of statistic `row` in series `at`."""
    sign = 1.0 if row == SHIFT_UP else -1.0
    side = row - SHIFT_UP
    if w.z[at] > config.clip:
        w.level[at] = w.u[at]
    else:
        excess = w.shifts[side, at] / w.steps[side, at] + config.drift
        w.level[at] += sign * excess * w.scale[at]
    w.shifts[:, at] = 0.0
    w.steps[:, at] = 0.0
