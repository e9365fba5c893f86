"""Limits that learn: how alarms of one statistic of one series are kept apart.

Guarantee, for any distribution: after an alarm a statistic of a series is mute for
`refractory` snapshots, and in the long run it alarms at most once in
(nearly) `sustained` snapshots. Each alarm raises its limit by the factor `rise`, and every
`sustained` snapshots without one lower it by that factor again, never below the
detector's threshold. One alarm thus costs little sensitivity, and for a limited time;
a series that is wild by nature learns its own threshold.

This is the online quantile rule of Gibbs & Candès, "Adaptive conformal inference under
distribution shift", NeurIPS 2021, in steps, so that a quiet snapshot costs nothing.
Limits of a series in its warm-up are infinite.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import Limits, RecogniserConfig
from observer_core.pattern_record.window import (
    FLAT,
    SHIFT_DOWN,
    SHIFT_UP,
    SPIKE,
    STATISTICS,
    VARIANCE_DOWN,
    VARIANCE_UP,
    Bytes,
    Floats,
    Ints,
)  # fmt: skip

NEVER = 2**62
_HIGHEST = 60


class LimitRule:
    """The ladder of limits of every statistic, and the moves on it.

    Arrays are (STATISTICS, n): `limits` (inf = mute), `raised` (steps above the threshold)
    and `release` (the snapshot number at which the next move down happens).
    """

    __slots__ = ("_limits", "ladder", "thresholds")

    def __init__(self, config: RecogniserConfig) -> None:
        self._limits: Limits = config.limits
        self.thresholds = np.empty((STATISTICS, 1))
        self.thresholds[SPIKE] = config.spike.threshold
        self.thresholds[[SHIFT_UP, SHIFT_DOWN]] = config.level_shift.threshold
        self.thresholds[[VARIANCE_UP, VARIANCE_DOWN]] = config.variance_shift.ratio
        self.thresholds[FLAT] = config.flat.runs
        factors = [1.0]
        for _ in range(_HIGHEST):
            factors.append(min(factors[-1] * config.limits.rise, 1e9))
        self.ladder: Floats = self.thresholds * np.array(factors)

    def alarmed(
        self,
        limits: Floats,
        raised: Bytes,
        release: Ints,
        rows: NDArray[np.intp],
        at: NDArray[np.intp],
        tick: int,
    ) -> int:
        """Mutes what alarmed in snapshot `tick`; gives the snapshot at which it is heard again."""
        raised[rows, at] = np.minimum(raised[rows, at] + 1, _HIGHEST)
        limits[rows, at] = np.inf
        release[rows, at] = tick + self._limits.refractory
        return tick + self._limits.refractory

    def lower(self, limits: Floats, raised: Bytes, release: Ints, tick: int) -> int:
        """Moves down whatever is due at snapshot `tick`; gives the next snapshot with something due."""
        # Over a flat array NumPy looks for what is set five times faster than over rows.
        rows, at = np.divmod(np.flatnonzero(release <= tick), release.shape[1])
        muted = np.isinf(limits[rows, at])
        steps = raised[rows, at] - np.where(muted, 0, 1).astype(np.uint8)
        raised[rows, at] = steps
        limits[rows, at] = self.ladder[rows, steps]
        release[rows, at] = np.where(steps > 0, tick + self._limits.sustained, NEVER)
        return int(release.min(initial=NEVER))
