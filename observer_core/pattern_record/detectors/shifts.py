"""The likelihood ratio test of `change_point`: a segment as means of growing size, and its best split.

See `change_point` for the statistics, their guarantee and their sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

import numpy as np

from observer_core.pattern_record.detectors.screen import Segments, grid_of, may_shift
from observer_core.pattern_record.window import Floats, constant

Kind = Literal["level", "trend", "variance", "shape"]

LEFT, RIGHT = 8, 5
"""Points that a side of a split has at least."""
RESOLUTION = 1e-13
_WIDTH, _SIZES = 64, 8
_LARGEST_FIRST = np.array([float(1 << size) for size in reversed(range(_SIZES))])
_TREND_SIDE = 8
_NOTHING = 1e-9
_LEAST_SPREAD = 0.02
_GLANCE = 16
_INTERVALS, _SOON = ((3072, 64), (640, 32), (320, 16), (160, 8), (128, 4)), 16
"""Points between two looks, for segments of so many or more, and at most where one is to confirm another.

Powers of two, so that series look at the same points whose segments began at different ones.
"""
_FEW = 3
"""So few are looked at one by one sooner than all at once."""
_WALK, _WALKING = 0.15, 2.0
"""Residuals worth less than this share of the points are a random walk's: limits are so much higher then."""
_HALF = constant(0.5)
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


@dataclass(frozen=True, slots=True)
class Shift:
    """A split of a segment: so many points since the onset, and its statistic.

    `limit`: what the statistic must reach to be told. `slow`: it is no step that was seen at a glance.
    `before` and `after`: the means on both sides, or of a trend the slopes a point.
    """

    kind: Kind
    points: int
    statistic: float
    limit: float
    slow: bool
    before: float
    after: float


class Limits(NamedTuple):
    """What a level (or variance) and a trend of a series must reach now.

    `rise`: the factor by which those to be told are higher, but for a step at a glance. `side`: points
    that both sides of a split have at least.
    """

    level: float
    trend: float
    rise: float
    side: int


class ShiftTest:
    """The current segments of series that are in step, as means of growing size, and their best splits.

    In step: as many points in the segment, so that all arrays have a column a series. `means` of size k:
    those of 2^k points, oldest first. `held`: looks running that found a shift. `taken` is the caller's.
    """

    __slots__ = ("_stride", "count", "held", "means", "taken", "trends")

    def __init__(self, trends: bool, width: int, taken: int) -> None:
        self.trends, self.taken = trends, taken
        self._stride = 1 if trends else 4
        self.means: list[Floats] = [np.empty((0, width)) for _ in range(_SIZES)]
        self.held = [0] * width
        self.count = 0

    def observe(self, values: Floats) -> None:
        """Takes points in, a row each."""
        self.count += len(values)
        for size, known in enumerate(self.means):
            means = np.concatenate((known, values))
            if len(means) <= _WIDTH:
                self.means[size] = means
                return
            merged = (len(means) - _WIDTH + 1) // 2 * 2
            self.means[size] = means[merged:]
            values = means[0:merged:2] + means[1:merged:2]
            values *= _HALF

    def due(self, points: int, more: int) -> Sequence[int]:
        """Of which series the point that is so many further, the series' own so many-th, is one to look at.

        All of them, ever more rarely; sooner those in which the last look found a shift.
        """
        count = self.count + more
        if count < LEFT + RIGHT:
            return ()
        every = self._every(count)
        if points % every == 0:
            return range(len(self.held))
        if points % self._sooner(every) == 0:
            return [place for place, held in enumerate(self.held) if held]
        return ()

    def wait(self, points: int, more: int) -> int:
        """Points from there to the next that is one to look at."""
        shifted, count = any(self.held), self.count + more
        wait = max(1, LEFT + RIGHT - count)
        while True:
            every = self._every(count + wait)
            if shifted:
                every = self._sooner(every)
            missing = -(points + wait) % every
            if not missing:
                return wait
            wait += missing

    def _sooner(self, every: int) -> int:
        return max(self._stride, min(_SOON, every // 2))

    def _every(self, count: int) -> int:
        return next((points for least, points in _INTERVALS if count >= least), self._stride)

    def keep(self, points: int) -> None:
        """Forgets all but the newest `points` (or a little more, where only means are left)."""
        left = points
        for size, means in enumerate(self.means):
            whole = min(len(means), -(-left // (1 << size)))
            self.means[size] = means[len(means) - whole :]
            left = max(0, left - whole * (1 << size))
        self.count, self.held = points - left, [0] * len(self.held)

    def part(self, columns: list[int]) -> ShiftTest:
        """Some of the series, by themselves."""
        found = ShiftTest(self.trends, 0, self.taken)
        found.means = [means[:, columns] for means in self.means]
        found.held, found.count = [self.held[column] for column in columns], self.count
        return found

    @staticmethod
    def joined(tests: Sequence[ShiftTest]) -> ShiftTest:
        """Several of equally many points as one."""
        found = ShiftTest(tests[0].trends, 0, tests[0].taken)
        found.means = [np.concatenate(means, axis=1) for means in zip(*(test.means for test in tests))]
        found.held, found.count = [held for test in tests for held in test.held], tests[0].count
        return found

    def best(self, place: int, limits: Limits) -> Shift | None:
        """The best split of the series at that place, if it is a shift."""
        lengths = tuple(map(len, self.means))
        grid = _grid(lengths, limits.side)
        if not grid.splits:
            return None
        y = np.concatenate([some[:, place] for some in reversed(self.means)])
        share, walking = RESOLUTION if self.trends else _LEAST_SPREAD, _WALKING if limits.side == 1 else 1.0
        every = self._every(self.count)
        glance = _GLANCE + every + 2 * self._sooner(every)
        split = _Split(_without_outliers(y), grid, share, limits.rise, walking, glance)
        if split.flat:
            return None
        found = split.level(limits.level)
        if self.trends and (not found or split.prefers_lines()):
            found = split.trend(limits.trend) or found
        return found


class Look(NamedTuple):
    """A look at the series at these `places` of a test, by the limits of each."""

    test: ShiftTest
    places: Sequence[int]
    limits: Sequence[Limits]

    def segments(self) -> Segments:
        means = [some for some in reversed(self.test.means) if len(some)]
        if len(self.places) < len(self.test.held):
            means = [some[:, self.places] for some in means]
        return Segments.of(means, grid_of(tuple(map(len, self.test.means)), LEFT, RIGHT, _TREND_SIDE))


def best(looks: Sequence[Look]) -> list[dict[int, Shift]]:
    """The shifts there are, of every look by place: it is said of each series if it is held.

    Tests are all for levels and trends, or all for variances.
    """
    limits = [one for look in looks for one in look.limits]
    may = None
    if len(limits) > _FEW:
        level, trend = _row([one.level for one in limits]), _row([one.trend for one in limits])
        trends = trend if looks[0].test.trends else None
        may = may_shift([look.segments() for look in looks], level, trends)
    found, begin = [], 0
    for test, places, own in looks:
        end = begin + len(places)
        at = range(len(places)) if may is None else np.flatnonzero(may[begin:end]).tolist()
        shifts = {places[one]: shift for one in at if (shift := test.best(places[one], own[one]))}
        held = test.held
        if len(places) == len(held):
            test.held = [0] * len(held)
        for place in places if len(places) < len(held) else shifts:
            test.held[place] = held[place] + 1 if place in shifts else 0
        found.append(shifts)
        begin = end
    return found


def _row(numbers: list[float]) -> float | Floats:
    """One number if all are equal."""
    return numbers[0] if numbers.count(numbers[0]) == len(numbers) else np.array(numbers)


def _without_outliers(y: Floats) -> Floats:
    """Means far off the median of five, by the median of such distances, replaced by that median.

    Where most do not differ from it at all, rare ones that do are the rule and not in error.
    """
    m = len(y)
    padded = np.concatenate((y[:1], y[:1], y, y[-1:], y[-1:]))
    lower, upper = np.minimum(padded[:-1], padded[1:]), np.maximum(padded[:-1], padded[1:])
    low = np.maximum(lower[:m], lower[3:])
    high = np.minimum(upper[:m], upper[3:])
    middle = np.minimum(low, high)
    np.maximum(low, high, out=high)
    np.minimum(high, y, out=high)
    np.maximum(middle, high, out=middle)
    distance = np.abs(y - middle)
    ordered = distance.copy()
    ordered.sort()
    usual = ordered[m // 2]
    return np.where(distance > 8.0 * usual, middle, y) if usual > 0.0 else y


class _Grid:
    """What does not depend on the values: for means of these sizes, every split p = 1 … m − 1.

    `share` is 1/n left and 1/n right, added. `splits` are those to choose from, as indices p − 1; `far` those
    with sides long enough for lines.
    """

    def __init__(self, lengths: tuple[int, ...], side: int) -> None:
        self.n = n = np.repeat(_LARGEST_FIRST, lengths[::-1])
        self.m = m = len(n)
        ends = np.add.accumulate(n)
        self.total = total = float(ends[-1])
        self.weight = n / total
        self.t = (ends - n / 2.0) / total - 0.5
        self.timed = n * self.t
        self.left, self.right = ends[:-1], total - ends[:-1]
        self.share = 1.0 / self.left + 1.0 / self.right
        first, second = float(np.add.reduce(self.timed)), float(np.add.reduce(self.timed * self.t))
        self.whole = 1.0 / max(second - first * first / total, 1e-15)
        low, high = LEFT, m - RIGHT + 1
        if side > 1:
            low = max(low, int(np.searchsorted(ends, side)) + 1)
            high = min(high, m - int(np.searchsorted(np.cumsum(n[::-1]), side)))
        self.splits = range(low - 1, max(low, high) - 1)
        low, high = max(low, _TREND_SIDE), min(high, m - _TREND_SIDE + 1)
        self.far = range(low - 1, max(low, high) - 1)

    @cached_property
    def root(self) -> Floats:
        found: Floats = np.sqrt(self.n)
        return found

    @cached_property
    def sides(self) -> tuple[Floats, Floats]:
        """Left and right of every split: the mean times, and 1/Σ(t − t̄)²."""
        first, second = np.add.accumulate(self.timed), np.add.accumulate(self.timed * self.t)
        middle, squares = np.empty((2, self.m - 1)), np.empty((2, self.m - 1))
        np.divide(first[:-1], self.left, out=middle[0])
        np.divide(first[-1] - first[:-1], self.right, out=middle[1])
        np.subtract(second[:-1], first[:-1] * middle[0], out=squares[0])
        np.subtract(second[-1] - second[:-1], (first[-1] - first[:-1]) * middle[1], out=squares[1])
        return middle, 1.0 / np.maximum(squares, 1e-15)


@lru_cache(maxsize=512)
def _grid(lengths: tuple[int, ...], side: int) -> _Grid:
    return _Grid(lengths, side)


class _Split:
    """The squares that constants (and lines) leave on both sides of every split of weighted means y.

    No residuals are smaller than `share` of the largest mean. Limits of what is told are higher by `rise`,
    and by `walking` for a random walk, but for levels that began not more than `glance` points ago.
    """

    def __init__(
        self, y: Floats, grid: _Grid, share: float, rise: float, walking: float, glance: int
    ) -> None:
        self._grid, self._m, self._rise, self._walking, self._glance = grid, grid.m, rise, walking, glance
        floor = share * float(np.maximum.reduce(np.abs(y)))
        self._mean = float(np.add.reduce(grid.weight * y))
        y = y - self._mean
        self._largest = largest = float(np.maximum.reduce(np.abs(y)))
        self.flat = not largest > 0.0
        if self.flat:
            return
        self._y = y = y / largest
        floor = floor / largest
        weighted = grid.n * y
        sums = np.add.accumulate(weighted)
        self._sums, self._rest = sums[:-1], float(sums[-1])
        self._timed = weighted * grid.t
        self._constant = float(np.add.reduce(weighted * y))
        slope = float(np.add.reduce(self._timed))
        self._line = max(self._constant - slope * slope * grid.whole, 0.0)
        self._least = max(_NOTHING * self._constant, grid.total * floor * floor)
        constants = self._sums * self._sums
        constants *= grid.share
        self._constants = np.subtract(self._constant, constants, out=constants)
        self._bent: tuple[Floats, Floats] | None = None

    def level(self, limit: float) -> Shift | None:
        at = _least(self._constants, self._grid.splits)
        rest = float(self._constants[at])
        if not self._may_reach(limit, self._constant, rest):
            return None
        worth, agrees = self._judge(at, None)
        rest = max(rest, self._least)
        statistic = worth * ln(self._constant / rest)
        against_line = worth * ln(max(self._line / rest, _NOTHING))
        if statistic < limit or against_line < limit / 3.0 or not agrees:
            return None
        before, after = (self._mean + self._largest * mean for mean in self._means(at))
        points = int(self._grid.right[at])
        slow = points > self._glance
        told = self._asked(limit, worth) if slow else limit
        return Shift("level", points, statistic, told, slow, before, after)

    def trend(self, limit: float) -> Shift | None:
        grid = self._grid
        if not grid.far:
            return None
        lines, slopes = self._lines()
        at = _least(lines, grid.far)
        rest = float(lines[at])
        fresh_step = float(self._constants[self._m - RIGHT :].min())
        if not self._may_reach(limit, self._line, rest) or fresh_step < rest:
            return None
        slope = slopes[:, at].tolist()
        worth, agrees = self._judge(at, slope)
        statistic = worth * ln(max(self._line / max(rest, self._least), _NOTHING))
        if statistic < limit or not agrees:
            return None
        before, after = (self._largest * (one / grid.total) for one in slope)
        points = int(grid.right[at])
        told = self._asked(limit, worth)
        return Shift("trend", points, statistic, told, points > self._glance, before, after)

    def prefers_lines(self) -> bool:
        """Whether the best two lines leave less than the best two constants, by 10 residuals' worth."""
        grid = self._grid
        if not grid.far:
            return False
        lines, _ = self._lines()
        fit = max(float(lines[_least(lines, grid.far)]), self._least)
        best = float(self._constants[_least(self._constants, grid.splits)])
        return (best - fit) * self._m > 10.0 * fit

    def _lines(self) -> tuple[Floats, Floats]:
        """Squares that two lines leave, and their slopes."""
        if self._bent is None:
            (middle, lever), timed = self._grid.sides, np.add.accumulate(self._timed)
            off = np.empty((2, self._m - 1))
            np.multiply(middle[0], self._sums, out=off[0])
            np.subtract(timed[:-1], off[0], out=off[0])
            np.subtract(self._rest, self._sums, out=off[1])
            off[1] *= middle[1]
            off[1] += timed[:-1]
            np.subtract(timed[-1], off[1], out=off[1])
            slopes = off * lever
            off *= slopes
            lines = self._constants - off[0]
            lines -= off[1]
            self._bent = lines, slopes
        return self._bent

    def _may_reach(self, limit: float, whole: float, rest: float) -> bool:
        """Whether the statistic could be as high if the residuals were worth all points."""
        return whole > self._least and self._m * ln(whole / max(rest, self._least)) >= limit

    def _asked(self, limit: float, worth: float) -> float:
        """What the statistic must reach to be told."""
        return limit * self._rise * (self._walking if worth < _WALK * self._m else 1.0)

    def _means(self, at: int) -> tuple[float, float]:
        left = float(self._sums[at])
        return left / float(self._grid.left[at]), (self._rest - left) / float(self._grid.right[at])

    def _judge(self, at: int, slopes: list[float] | None) -> tuple[float, bool]:
        """Independent points that the residuals are worth, and if the right side agrees."""
        grid, p, m = self._grid, at + 1, self._m
        y, (before, after) = self._y, self._means(at)
        if slopes is None:
            left, right = y - before, y - after
        else:
            middle = grid.sides[0][:, at].tolist()
            left = y - (grid.t - middle[0]) * slopes[0] - before
            right = y - (grid.t - middle[1]) * slopes[1] - after
        e = np.concatenate((left[:p], right[p:]))
        e *= grid.root
        squares = max(float(np.add.reduce(e * e)), self._least)
        rho = float(np.add.reduce(e[1:] * e[:-1])) / squares
        bias = 1.5 * (1.0 + 3.0 * max(rho, 0.0)) / m
        phi = rho
        if rho > 0.0 and rho * rho > 4.0 / m:
            phi = max(rho, float(np.add.reduce(e[2:] * e[:-2])) / squares / rho)
        rho, phi = min(max(rho + bias, 0.0), 0.999), min(max(phi + bias, 0.0), 0.999)
        worth = (m - (2 if slopes is None else 4)) / (1.0 + 2.0 * rho / (1.0 - phi))
        nearer = int(np.count_nonzero(np.abs(right[p:]) < np.abs(left[p:])))
        return worth, nearer >= 0.6 * (m - p)


def _least(values: Floats, splits: range) -> int:
    """Which of the splits leaves least."""
    return splits.start + int(values[splits.start : splits.stop].argmin())
