"""The series that one step works on, as rows of numbers.

A step is the same arithmetic whether it runs over all series in place or over some of
them gathered: a `Window` hides which. Rows are contiguous; nothing is allocated in a step. Where a
NumPy function writes is its last argument: named `out` it costs 40 ns more a call, of which one series
has a hundred (`minimum` and `maximum` want the name).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Bytes = NDArray[np.uint8]

SPIKE, SHIFT_UP, SHIFT_DOWN, VARIANCE_UP, VARIANCE_DOWN, FLAT = range(6)
STATISTICS = 6
"""Statistics that alarm when they exceed their limit, in the order of their rows."""

PREVIOUS, LEVEL, SCALE, SLOW_SCALE, COUNT, CHANGE_RATE, STEPS = range(7)
ONSETS = STEPS + 2
CALM = ONSETS + 2
STATISTIC = CALM + 2
LIMIT = STATISTIC + STATISTICS
FLOAT_ROWS = LIMIT + STATISTICS
SMALLEST = 1e-300
"""No scale is smaller: a constant zero series has one too."""


class Window:
    """Rows of m series: the state they carry, and room to compute in.

    `values` (FLOAT_ROWS, m) is the state; the rest is scratch, and holds the last step's numbers
    until the next one: `x` what was observed, `u` what is judged (the value, or the growth
    x / |previous|), `residual`, `distance` and `z`. `gain` and `gain_slow` are
    numbers where all series are `mature`; `gains` has them for each.
    """

    __slots__ = (
        "calm", "change_rate", "clipped", "count", "distance", "expected_changes", "fire", "gain",
        "gain_slow", "gains", "is_calm", "level", "limits", "mature", "onsets", "previous", "ratios",
        "residual", "same", "scale", "scales", "shift_down", "shift_up", "shifts", "signed", "slow_scale",
        "statistics", "steps", "twin", "u", "valid", "values", "variance_down", "variance_up", "work",
        "work2", "x", "z",
    )  # fmt: skip

    def __init__(self, values: Floats) -> None:
        m = values.shape[1]
        self.values = values
        self.previous, self.level = values[PREVIOUS], values[LEVEL]
        self.scale, self.slow_scale = self.scales = values[SCALE : SLOW_SCALE + 1]
        self.count, self.change_rate = values[COUNT], values[CHANGE_RATE]
        self.steps, self.onsets = values[STEPS : STEPS + 2], values[ONSETS : ONSETS + 2]
        self.calm = values[CALM:STATISTIC]
        self.statistics = values[STATISTIC:LIMIT]
        self.limits = values[LIMIT:]
        self.z = self.statistics[SPIKE]
        self.shift_up, self.shift_down = self.statistics[SHIFT_UP], self.statistics[SHIFT_DOWN]
        self.shifts = self.statistics[SHIFT_UP : SHIFT_DOWN + 1]
        self.ratios = self.statistics[VARIANCE_UP : VARIANCE_DOWN + 1]
        self.variance_up, self.variance_down = self.ratios
        self.expected_changes = self.statistics[FLAT]
        self.x, self.u, self.residual, self.distance, self.clipped, self.signed, self.work = np.empty((7, m))
        self.work2, self.gains = np.empty((2, 2, m))
        self.is_calm = np.empty((2, m), np.bool_)
        self.valid, self.same = np.empty((2, m), np.bool_)
        self.fire = np.empty((STATISTICS, m), np.bool_)
        self.mature = False
        self.twin: Window | None = None
        self.gain: Any = 1.0
        self.gain_slow: Any = 1.0

    @staticmethod
    def fresh(m: int) -> Window:
        """A window of m series that were never observed."""
        values = np.empty((FLOAT_ROWS, m))
        reset(values)
        return Window(values)

    @property
    def size(self) -> int:
        return len(self.x)


def constant(value: float) -> Floats:
    """A number for arithmetic with rows: an array without dimensions costs NumPy less than a float."""
    return np.array(value, np.float64)


def reset(values: Floats) -> None:
    """Makes these columns series that were never observed: no past, and muted."""
    values[:] = 0.0
    values[PREVIOUS] = np.nan
    values[SCALE] = values[SLOW_SCALE] = SMALLEST
    values[LIMIT:] = np.inf
