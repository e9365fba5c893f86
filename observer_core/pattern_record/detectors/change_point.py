"""Change points of one series, online: level, trend, variance and shape, with the estimated onset.

**Level and trend** (`ShiftTest`). The current segment is kept as means of 1, 2, 4, … points, 64
of each size, the newest finest. Every split of them is a candidate onset; running sums give
the squared residuals R of a constant or a line on the whole and on both sides (R₀, R₁). For
the best split, with m means, ρ and ρ₂ the autocorrelations of its residuals at lags 1 and 2 (ρ
raised by its bias, 1.5·(1 + 3ρ)/m):

    statistic = m′ · ln(R₀/R₁),    m′ = (m − parameters) / (1 + 2ρ/(1 − φ)),   φ = max(ρ, ρ₂/ρ)

which is the generalised likelihood ratio of unknown variance for as many *independent* points
as the residuals are worth. *Level*: two constants against one ≥ `level` and against one line ≥
`level`/3. *Trend*: two lines against one ≥ `trend`, unless they fit worse than
a step among the newest four would. And on the right of the split at least
60 % of the means must be nearer to the right side's fit than to the left one's prolonged.
Declared when three looks running agree that there is one; the onset is the best split.

**Variance**. The same test for constants on √|x_t − 2x_{t−1} + x_{t−2}|, against `variance`.

**Shape** of a periodic signal: see `segments`. Once a period is known, level, trend and variance need
two periods on both sides of a split.

After 500 points all these limits rise by 2·ln(points/500), as the chances of an accident do: so a
series has as many false alarms in its second 10,000 points as in the next 20,000.

Guarantee: a change is declared from the points so far and never taken back. x and a·x + b (a > 0)
have the same changes, but for rounding. A single print however wild, or two, is none: means
that are 8 median distances off the median of five are replaced by it. Values that are not
finite count as points but are not looked at.

False alarms: a smooth curve has residuals worth almost no points, so drifts and growth are no
change. In 1,500 points of white noise (normal, Student's t₃), noise with a line, noise with a
season of 24, counts and quantised noise there is none; random walks and autoregressions near
them get some (0–3 in 1,500 points): judge prices by their return. A season longer than a
quarter of what has been seen looks like trends that change.

Source: the likelihood ratio is Siegmund & Venkatraman, Annals of Statistics 23 (1995); the
means in geometric sizes are ADWIN's (Bifet & Gavaldà, SDM 2007); the worth of autocorrelated
points is Bartlett's; filtering by the median of five, Hampel's.

>>> points = ChangePoints()
>>> values = [math.sin(1.9 * t * t) + 6.0 * (t >= 60) for t in range(100)]
>>> [(change.kind, change.onset, change.declared) for value in values for change in points.observe(value)]
[('level', 60, 65)]
"""

from __future__ import annotations

import itertools
import math
import struct
from array import array
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from observer_core.pattern_record.detectors.segments import ShapeConfig, ShapeTest
from observer_core.pattern_record.window import Floats
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

Kind = Literal["level", "trend", "variance", "shape"]

_FORMAT = 1
_WIDTH, _SIZES = 64, 8
_LEFT, _RIGHT, _TREND_SIDE = 8, 5, 8
_SEASONAL = 2.0
_FAR = 1 << 40
_SHORT = 500.0
_GAPS = 64
_LARGEST = 1e290
_NOTHING = 1e-9
_RESOLUTION, _LEAST_SPREAD = 1e-13, 0.02
_LN2 = 0.6931471805599453


@dataclass(frozen=True, slots=True)
class Change:
    """A new segment: its first point, the point at which that was known, and how clear it was."""

    onset: int
    declared: int
    kind: Kind
    statistic: float


@dataclass(frozen=True, slots=True)
class ChangeConfig:
    """Statistics from which on a shift is declared, and points before which none is."""

    level: float = 20.0
    trend: float = 30.0
    variance: float = 30.0
    warm_up: int = 20
    confirmations: int = 3
    shape: ShapeConfig | None = field(default_factory=ShapeConfig)


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
        split = _Split(_without_outliers(y), n, side, _RESOLUTION if self._trends else _LEAST_SPREAD)
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
        self.at = np.arange(max(_LEFT, int(first)), min(m - _RIGHT, last) + 1)
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
        left, whole = self.sums[:, self.m - _RIGHT : -1], self.sums[:, -1:]
        constants, _ = _residuals(np.concatenate((left, whole - left), axis=1))
        return float((constants[: _RIGHT - 1] + constants[_RIGHT - 1 :]).min())

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


class ChangePoints:
    """All changes of one series. Mutable; `dump` and `load` carry it over, to the byte."""

    def __init__(self, config: ChangeConfig | None = None) -> None:
        self.config = config or ChangeConfig()
        self._row = -1
        self._last_onset = -_FAR
        self._points = 0
        self._gaps: list[list[int]] = []
        self._previous: list[float] = []
        self._levels, self._scales = ShiftTest(True), ShiftTest(False)
        self._shapes = ShapeTest(self.config.shape) if self.config.shape else None

    @property
    def period(self) -> int:
        """The period of the series in points, once it is known to have one; 0 until then."""
        return self._shapes.period if self._shapes else 0

    @property
    def shape_bytes(self) -> int:
        """What the window for shapes (or what its length is learnt from) adds to the state."""
        return len(self._shapes.body()) if self._shapes else 0

    def observe(self, value: float) -> list[Change]:
        """Takes the next point in; the changes that are known by it, mostly none."""
        self._row += 1
        if not math.isfinite(value):
            if not self._gaps or self._gaps[-1][0] != self._points:
                self._gaps.append([self._points, self._row - self._points])
                del self._gaps[:-_GAPS]
            self._gaps[-1][1] += 1
            return []
        value = min(max(value, -_LARGEST), _LARGEST)
        found = self._shifts(value)
        if self._shapes:
            for point, statistic in self._shapes.observe(value):
                found += self._declare(point, "shape", statistic)
        return found

    def _shifts(self, value: float) -> list[Change]:
        config, past = self.config, self._previous
        self._points += 1
        self._levels.observe(value)
        if len(past) == 2:
            bend = value / 4.0 - past[1] / 2.0 + past[0] / 4.0
            rounding = _RESOLUTION * (abs(value) + abs(past[1]) + abs(past[0]))
            self._scales.observe(math.sqrt(abs(bend)) if abs(bend) > rounding else 0.0)
            del past[0]
        past.append(value)
        if self._points <= config.warm_up:
            return []
        found = []
        stricter = _SEASONAL if self.period else 1.0
        side = max(1, 2 * self.period)
        more = 2.0 * ln(max(1.0, self._points / _SHORT))
        limits = (config.level * stricter + more, config.variance + more)
        for test, level in zip(self._tests(), limits, strict=True):
            if test.count < _LEFT + _RIGHT or not test.due():
                continue
            shift = test.best(level, config.trend * stricter + more, side)
            test.held = test.held + 1 if shift else 0
            if shift is None:
                continue
            kind, points, statistic = shift
            if test.held < config.confirmations:
                continue
            test.keep(points)
            if test is self._levels:
                self._scales.keep(min(points, self._scales.count))
            else:
                kind = "variance"
            found += self._declare(self._points - points, kind, statistic)
        return found

    def _declare(self, point: int, kind: Kind, statistic: float) -> list[Change]:
        """The change, unless it is one that was declared already, by another of its marks."""
        earliest = self._gaps[0][1] if len(self._gaps) == _GAPS else 0
        onset = point + next((skipped for start, skipped in reversed(self._gaps) if start <= point), earliest)
        if onset - self._last_onset < max(_RIGHT, self.period if kind == "shape" else 0):
            return []
        self._last_onset = onset
        return [Change(onset, self._row, kind, statistic)]

    def dump(self) -> bytes:
        """Equal states give equal bytes: a line of JSON, then little-endian float64 of the two tests,
        then the window for shapes."""
        header = {
            "format": _FORMAT,
            "row": self._row,
            "points": self._points,
            "gaps": self._gaps,
            "onset": self._last_onset,
            "previous": self._previous,
            "tests": [[test.count, test.held, *map(len, test.means)] for test in self._tests()],
            "shapes": self._shapes.header() if self._shapes else None,
        }
        floats = [mean for test in self._tests() for means in test.means for mean in means]
        body = self._shapes.body() if self._shapes else b""
        return b"".join((encode(header), b"\n", struct.pack(f"<{len(floats)}d", *floats), body))

    def _tests(self) -> tuple[ShiftTest, ShiftTest]:
        return self._levels, self._scales

    @staticmethod
    def load(blob: bytes, config: ChangeConfig | None = None) -> ChangePoints:
        """The inverse of `dump`, under the same configuration; `RecordError` for other bytes."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected a change-point state of format {_FORMAT}, found {head[:60]!r}")
        points = ChangePoints(config)
        points._row, points._points = header["row"], header["points"]
        points._last_onset = header["onset"]
        points._previous, points._gaps = header["previous"], header["gaps"]
        count = sum(sum(lengths[2:]) for lengths in header["tests"])
        if len(body) < 8 * count:
            raise RecordError(f"change-point state: expected {8 * count} bytes or more, found {len(body)}")
        floats = iter(struct.unpack_from(f"<{count}d", body))
        for test, lengths in zip(points._tests(), header["tests"], strict=True):
            test.count, test.held = lengths[:2]
            test.means = [array("d", itertools.islice(floats, length)) for length in lengths[2:]]
        if header["shapes"] is not None:
            shape = points.config.shape or ShapeConfig()
            points._shapes = ShapeTest.load(header["shapes"], body[8 * count :], shape)
        return points
