"""What to say about statistics that exceeded their limits, and how their detectors go on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.detectors import stale, variance_shift
from observer_core.pattern_record.detectors.cusum import Cusum
from observer_core.pattern_record.detectors.ewma_spike import ENDLESS
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.window import (
    FLAT,
    SHIFT_DOWN,
    SHIFT_UP,
    SPIKE,
    VARIANCE_DOWN,
    VARIANCE_UP,
    Window,
)  # fmt: skip
from observer_core.shared.records import Direction, Series

_PATTERNS = {
    SPIKE: "spike", SHIFT_UP: "level_shift", SHIFT_DOWN: "level_shift",
    VARIANCE_UP: "variance_shift", VARIANCE_DOWN: "variance_shift", FLAT: "feed_flat",
}  # fmt: skip
_DIRECTIONS: dict[int, Direction] = {
    SHIFT_UP: "up", SHIFT_DOWN: "down", VARIANCE_UP: "up", VARIANCE_DOWN: "down", FLAT: "none",
}  # fmt: skip


def alarms(
    w: Window,
    cusum: Cusum,
    origin_ns: int,
    series: Callable[[int], Series],
    is_return: Callable[[int], bool],
) -> tuple[list[Finding], NDArray[np.intp], NDArray[np.intp]]:
    """Findings of every alarm in `w.fire`, and the statistics and series (of the window) that they are of.

    The detectors are then as they go on after their alarms.
    """
    rows, at = np.divmod(np.flatnonzero(w.fire), w.fire.shape[1])
    findings = [
        _finding(w, origin_ns, row, i, series(i), is_return(i))
        for row, i in zip(rows.tolist(), at.tolist(), strict=True)
    ]
    for row, i in zip(rows.tolist(), at.tolist(), strict=True):
        if row in (SHIFT_UP, SHIFT_DOWN):
            cusum.restart(w, row, i)
        elif row in (VARIANCE_UP, VARIANCE_DOWN):
            variance_shift.restart(w, i)
        elif row == FLAT:
            stale.restart(w, i)
    return findings, rows, at


def _finding(w: Window, origin_ns: int, row: int, i: int, series: Series, is_return: bool) -> Finding:
    statistic, limit = min(number(w.statistics[row, i]), ENDLESS), number(w.limits[row, i])
    shown = 1.0 if is_return else 0.0
    z = number(w.z[i])
    expected = number(w.u[i] - w.residual[i])
    scale = number(w.distance[i] / z) if z > 0.0 else number(w.scale[i])
    evidence: dict[str, float | int] = {
        "value": number(w.u[i] - shown), "observed": number(w.x[i]), "expected": number(expected - shown),
        "scale": scale, "limit": limit,
    }  # fmt: skip
    direction = _DIRECTIONS.get(row) or ("up" if w.residual[i] > 0.0 else "down")
    if row == SPIKE:
        evidence |= {
            "sigmas": statistic, "low": number(expected - limit * scale - shown),
            "high": number(expected + limit * scale - shown),
        }  # fmt: skip
    elif row in (SHIFT_UP, SHIFT_DOWN):
        side = row - SHIFT_UP
        onset_ns = origin_ns + round(w.onsets[side, i])
        evidence |= {"sum": statistic, "onset_ns": onset_ns, "steps": int(w.steps[side, i])}
    elif row in (VARIANCE_UP, VARIANCE_DOWN):
        onset_ns = origin_ns + round(w.calm[row - VARIANCE_UP, i])
        # What the ratio compares is the scale after this observation, not the one it was judged by.
        evidence |= {
            "ratio": statistic, "scale": number(w.scale[i]), "slow_scale": number(w.slow_scale[i]),
            "onset_ns": onset_ns,
        }  # fmt: skip
    else:
        evidence = {
            "value": number(w.x[i]), "expected_changes": statistic, "change_rate": number(w.change_rate[i]),
            "limit": limit,
        }  # fmt: skip
    return Finding(_PATTERNS[row], direction, series, statistic / (statistic + limit), evidence)
