"""The likelihood ratio test of `change_point`: a segment as means of growing size, and its best split.

See `change_point` for the statistics, their guarantee and their sources.
"""

from __future__ import annotations

import math
from array import array
from typing import Any, Literal

import numpy as np

from observer_core.pattern_record.window import Floats

Kind = Literal["level", "trend", "variance", "shape"]

LEFT, RIGHT = 8, 5
"""Points that a side of a split has at least."""
RESOLUTION = 1e-13
_WIDTH, _SIZES = 64, 8
_TREND_SIDE = 8
_NOTHING = 1e-9
_LEAST_SPREAD = 0.02
_LN2 = 0.6931471805599453


def ln(x: float) -> float:
    """The natural logarithm, from basic operations: equal on every machine (error below 1e-15).

    >>> ln(10.0), ln(0.5)
    (2.3025850929940455, -0.6931471805599453)
    """
    mantissa, exponent = math.frexp(x)
    if mantissa < 0.7071067811865476:
        mantissa, exponent = 2.0 * mantissa, exponent - 1
    z = (mantissa - 1.0) / (mantissa + 1.0)
    square = z * z
    total = 0.0
    for odd in range(25, 0, -2):
        total = total * square + 1.0 / odd
    return exponent * _LN2 + 2.0 * z * total


class ShiftTest:
    """The current segment of one sequence, as means of growing size, and its best split."""

    def __init__(self, trends: bool) -> None:
        self._trends = trends
        self.means = [array("d") for _ in range(_SIZES)]
        self.count = self.held = 0

    def observe(self, value: float) -> None:
        self.count += 1
        for means in self.means:
            means.append(value)
            if len(means) <= _WIDTH:
                return
            value = means[0] / 2.0 + means[1] / 2.0
            del means[:2]

    def due(self) -> bool:
        """Whether this is a point to look at: every one, and ever fewer in a long segment."""
        return self.count % max(1, min(16, self.count // 64)) == 0

    def keep(self, points: int) -> None:
        """Forgets all but the newest `points` (or a little more, where only means are left)."""
        left = points
        for size, means in enumerate(self.means):
            whole = min(len(means), -(-left // (1 << size)))
            del means[: len(means) - whole]
            left = max(0, left - whole * (1 << size))
        self.count, self.held = points - left, 0

    def best(self, level: float, trend: float, side: int) -> tuple[Kind, int, float] | None:
        """(kind, points since the onset, statistic) if there is a shift.

        `side`: points that both sides of a split have at least.
        """
        y = np.concatenate([np.array(means) for means in reversed(self.means)])
        n = np.repeat(_SIZE_OF, [len(means) for means in reversed(self.means)])
        split = _Split(_without_outliers(y), n, side, RESOLUTION if self._trends else _LEAST_SPREAD)
        found = split.level(level)
        if self._trends and (not found or split.prefers_lines()):
            found = split.trend(trend) or found
        return found


_SIZE_OF = np.array([float(1 << size) for size in reversed(range(_SIZES))])


def _without_outliers(y: Floats) -> Floats:
    """Means far off the median of five, by the median of such distances, replaced by that median.

    Where most do not differ from it at all, rare ones that do are the rule and not in error.
    """
    m = len(y)
    padded = np.concatenate((y[:1], y[:1], y, y[-1:], y[-1:]))
    a, b, c, d, e = (padded[i : i + m] for i in range(5))
    low = np.maximum(np.minimum(a, b), np.minimum(d, e))
    high = np.minimum(np.maximum(a, b), np.maximum(d, e))
    middle = np.maximum(np.minimum(low, high), np.minimum(np.maximum(low, high), c))
    distance = np.abs(y - middle)
    usual = np.sort(distance)[m // 2]
    return np.where(distance > 8.0 * usual, middle, y) if usual > 0.0 else y


class _Split:
    """Sums over both sides of every split of weighted means y (n points each).

    No residuals are smaller than `share` of the largest mean.
    """

    def __init__(self, y: Floats, n: Floats, side: int, share: float) -> None:
        self.m = m = len(y)
        ends = np.cumsum(n)
        total = float(ends[-1])
        floor = share * float(np.abs(y).max())
        y = y - float(np.add.reduce(n / total * y))
        largest = float(np.abs(y).max())
        self.flat = not largest > 0.0
        if self.flat:
            return
        self.y = y = y / largest
        floor = floor / largest
        self.n, self.t = n, (ends - n / 2.0) / total - 0.5
        first = np.searchsorted(ends, side) + 1
        last = m - (int(np.searchsorted(np.cumsum(n[::-1]), side)) + 1)
        self.at = np.arange(max(LEFT, int(first)), min(m - RIGHT, last) + 1)
        self.flat = not len(self.at)
        if self.flat:
            return
        nt, ny = n * self.t, n * y
        self.sums = np.cumsum(np.stack((n, ny, ny * y, nt, nt * self.t, nt * y)), axis=1)
        left, whole, splits = self.sums[:, self.at - 1], self.sums[:, -1:], len(self.at)
        constants, lines = _residuals(np.concatenate((left, whole - left, whole), axis=1))
        self.constant, self.line = float(constants[-1]), float(lines[-1])
        self.least = max(_NOTHING * self.constant, total * floor * floor)
        self.constants = constants[:splits] + constants[splits:-1]
        self.lines = lines[:splits] + lines[splits:-1]

    def level(self, limit: float) -> tuple[Kind, int, float] | None:
        if self.flat:
            return None
        best = int(self.constants.argmin())
        if not self._may_reach(limit, self.constant, self.constants[best]):
            return None
        worth, rest, agrees = self._judge(best, self.constants[best], line=False)
        statistic = worth * ln(self.constant / rest)
        against_line = worth * ln(max(self.line / rest, _NOTHING))
        if statistic < limit or against_line < limit / 3.0 or not agrees:
            return None
        return "level", self._points(best), statistic

    def prefers_lines(self) -> bool:
        """Whether the best two lines leave less than the best two constants, by 10 residuals' worth."""
        fit = max(float(self._lines_far_off().min()), self.least)
        return (float(self.constants.min()) - fit) * self.m > 10.0 * fit

    def _fresh_step(self) -> float:
        """What two constants leave, if the second has but the newest means, too few for a level yet."""
        left, whole = self.sums[:, self.m - RIGHT : -1], self.sums[:, -1:]
        constants, _ = _residuals(np.concatenate((left, whole - left), axis=1))
        return float((constants[: RIGHT - 1] + constants[RIGHT - 1 :]).min())

    def _lines_far_off(self) -> Floats:
        """What two lines leave, where both have enough means to be told from steps."""
        far = (self.at >= _TREND_SIDE) & (self.at <= self.m - _TREND_SIDE)
        return np.where(far, self.lines, np.inf)

    def trend(self, limit: float) -> tuple[Kind, int, float] | None:
        if self.flat:
            return None
        fit = self._lines_far_off()
        best = int(fit.argmin())
        if not self._may_reach(limit, self.line, fit[best]) or self._fresh_step() < fit[best]:
            return None
        worth, rest, agrees = self._judge(best, fit[best], line=True)
        statistic = worth * ln(max(self.line / rest, _NOTHING))
        if statistic < limit or not agrees:
            return None
        return "trend", self._points(best), statistic

    def _may_reach(self, limit: float, whole: float, rest: float) -> bool:
        """Whether the statistic could be as high if the residuals were worth all points."""
        return whole > self.least and self.m * ln(whole / max(rest, self.least)) >= limit

    def _points(self, best: int) -> int:
        return int(self.sums[0, -1] - self.sums[0, self.at[best] - 1])

    def _judge(self, best: int, rest: float, *, line: bool) -> tuple[float, float, bool]:
        """Independent points that the residuals are worth, their squares, and if the right side agrees."""
        p = int(self.at[best])
        root = np.sqrt(self.n)
        left = self.y - self._fit(slice(0, p), line)
        right = self.y - self._fit(slice(p, None), line)
        e = np.concatenate((left[:p], right[p:])) * root
        squares = max(float(np.add.reduce(e * e)), self.least)
        rho = float(np.add.reduce(e[1:] * e[:-1])) / squares
        bias = 1.5 * (1.0 + 3.0 * max(rho, 0.0)) / self.m
        phi = rho
        if rho > 0.0 and rho * rho > 4.0 / self.m:
            phi = max(rho, float(np.add.reduce(e[2:] * e[:-2])) / squares / rho)
        rho, phi = min(max(rho + bias, 0.0), 0.999), min(max(phi + bias, 0.0), 0.999)
        worth = (self.m - (4 if line else 2)) / (1.0 + 2.0 * rho / (1.0 - phi))
        nearer = int(np.count_nonzero(np.abs(right[p:]) < np.abs(left[p:])))
        return worth, max(rest, self.least), nearer >= 0.6 * (self.m - p)

    def _fit(self, side: slice, line: bool) -> Any:
        n, y, t = self.n[side], self.y[side], self.t[side]
        total = float(np.add.reduce(n))
        mean = float(np.add.reduce(n * y)) / total
        if not line:
            return mean
        middle = float(np.add.reduce(n * t)) / total
        off = t - middle
        slope = float(np.add.reduce(n * off * y)) / float(np.add.reduce(n * off * off))
        return mean + (self.t - middle) * slope


def _residuals(sums: Floats) -> tuple[Floats, Floats]:
    """Squares that a constant and a line leave."""
    n, y, yy, t, tt, ty = sums
    mean = y / n
    constant = yy - y * mean
    slope = ty - t * mean
    spread = np.maximum(tt - t * t / n, 1e-15)
    line = constant - slope * slope / spread
    return np.maximum(constant, 0.0, out=constant), np.maximum(line, 0.0, out=line)
