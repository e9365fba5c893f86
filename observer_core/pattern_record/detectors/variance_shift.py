"""Variance shifts: the scale of now against the scale of before.

Both are exponentially weighted, winsorised deviations (see `ewma_spike`), one over
`baseline.span` and one over `baseline.slow_span` observations:

    up = scale / slow scale                down = slow scale / scale

An alarm when one exceeds `ratio`. After it the slow scale starts anew at the scale of now:
a regime that lasts alarms once, and the way back needs the whole ratio again (hysteresis).
The onset is the time of the last observation after which the ratio was below 1.25: an estimate that
trails the shift, in the median by 6 observations at k = 3 (the alarm: 57) and by 22 (87) on the way back.

Sensitivity: while the scale grows to k times itself the slow one follows, so the ratio peaks
at 2.0 for k = 3 and 2.8 for k = 6, some 100 observations after the shift.

False alarms: the scale over 50 observations of a normal series varies by 8 %, so a ratio of
2 is out of reach; what reaches it is volatility that clusters, which is what it is for
(about one alarm a day in a series of one-minute market data). One observation moves the
ratio by the factor 1.2/1.02 at most (see `ewma_spike`): five wild ones must agree.

Source: MacGregor & Harris, "The exponentially weighted moving variance", Journal of Quality
Technology 25 (1993), with absolute instead of squared deviations.

>>> window = Window.fresh(1)
>>> window.scale[0], window.slow_scale[0] = 6.0, 2.0
>>> observe(window, now=9.0)
>>> float(window.variance_up[0]), round(float(window.variance_down[0]), 3)
(3.0, 0.333)
>>> window.calm[:, 0].tolist()
[0.0, 9.0]
"""

from __future__ import annotations

import numpy as np

from observer_core.pattern_record.window import Window, constant

_CALM = constant(1.25)


def observe(w: Window, now: float) -> None:
    """Compares the scales as they stand after the observation; keeps when they were last alike."""
    np.divide(w.scale, w.slow_scale, w.variance_up)
    np.divide(w.slow_scale, w.scale, w.variance_down)
    np.less(w.ratios, _CALM, w.is_calm)
    np.copyto(w.calm, now, where=w.is_calm)


def restart(w: Window, at: int) -> None:
    """Takes the scale of now for the new normal of series `at`."""
    w.slow_scale[at] = w.scale[at]
