"""Change points of one series, online: level, trend, variance and shape, with the estimated onset.

**Level and trend** (`ShiftTest`). The current segment is kept as means of 1, 2, 4, … points, 64
of each size, the newest finest. Every split of them is a candidate onset; running sums give
the squared residuals R of a constant or a line on the whole and on both sides (R₀, R₁). For
the best split, with m means, ρ and ρ₂ the autocorrelations of its residuals at lags 1 and 2 (ρ
raised by its bias, 1.5·(1 + 3ρ)/m):

    statistic = m′ · ln(R₀/R₁),    m′ = (m − parameters) / (1 + 2ρ/(1 − φ)),   φ = max(ρ, ρ₂/ρ)

which is the generalised likelihood ratio of unknown variance for as many *independent* points
as the residuals are worth. *Level*: two constants against one ≥ `level` and against one line ≥
`level`/3. *Trend*: two lines against one ≥ `trend`, unless they fit worse than a step among the
newest four means would; it comes before a level that fits worse by ten residuals' worth. And 60 % of
the means right of the split must be nearer to that side's fit than to the left one's prolonged.
Declared when three looks running agree that there is one; the onset is the best split.

**Variance**. The same test for constants on √|x_t − 2x_{t−1} + x_{t−2}|, against `variance`.

**Shape** of a periodic signal: see `segments`. Once a period is known, the others need two periods on
both sides of a split, level and trend twice the statistic: what repeats is not noise.

After 500 points all these limits rise by 2·ln(points/500), as the chances of an accident do: so a
series has as many false alarms in its second 10,000 points as in the next 20,000. Where residuals are
worth less than 0.15 of the points they are a random walk's, which has shifts without a cause: the
limit is double. And of the levels and trends that took more than 16 points and three looks to be seen,
each but the first raises both limits by the factor 1.35 (four times at most), until 1,000 points without
another lower them. What does not reach a limit that is raised so begins a new segment, but is not
declared: a series that is always shifting is said to only where that is plain. All this is not asked
of a level that is seen sooner, for a plain step is always one, nor once a period is known.

Guarantee: a change is declared from the points so far and never taken back. x and a·x + b (a > 0)
have the same changes, but for rounding. A single print however wild, or two, is none: means
that are 8 median distances off the median of five are replaced by it. Values that are not
finite count as points but are not looked at.

False alarms: a smooth curve has residuals worth almost no points, so drifts and growth are no
change. In 10,000 points (four series each) of white noise (normal, Student's t₃) and of an
autoregression of 0.9 there is none, nor in less of noise with a line, counts and quantised noise; of
random walks there are 0–5, of an autoregression of 0.99 0–2: judge prices by their return. Before its
period is known a noisy season of 24 points has 0–3, one of 200 5–9. One of 1,440, whose period is never
learnt, looks like trends that change: 3–4; a step of its own height is then found no more, one of twice
that as ever.

Cost: a look is some 45 NumPy calls on at most 512 means, every point at first (of the variance: every
fourth), every 16th once a segment has 1,024: 35–50 µs a point in segments of a hundred, 10 µs in those
of thousands; a periodic series some 45 µs more. State: 8.4 KB, and up to 104 KB for a period
(see `segments`).

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

from observer_core.pattern_record.detectors.segments import ShapeConfig, ShapeTest
from observer_core.pattern_record.detectors.shifts import LEFT, RESOLUTION, RIGHT, Kind, ShiftTest, ln
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

_FORMAT = 2
_SEASONAL = 2.0
_FAR = 1 << 40
_SHORT = 500.0
_GAPS = 64
_LARGEST = 1e290
_SUSTAINED = 1000
_RISE, _HIGHEST = 1.35, 5
_RISES = (1.0, 1.0, *itertools.accumulate([_RISE] * (_HIGHEST - 1), lambda a, b: a * b))
_NORMAL = 2.4158
"""The deviation of normal noise by the square of the mean root of its bends (see `_deviation`)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A new segment: its first point, the point at which that was known, and how clear it was.

    `limit`: what the statistic had to reach. `before` and `after`: the mean of the points on both sides
    of the onset (level, shape), their slope a point (trend) or the deviation of their noise (variance).
    """

    onset: int
    declared: int
    kind: Kind
    statistic: float
    limit: float
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ChangeConfig:
    """Statistics from which on a shift is declared, and points before which none is."""

    level: float = 20.0
    trend: float = 30.0
    variance: float = 30.0
    warm_up: int = 20
    confirmations: int = 3
    shape: ShapeConfig | None = field(default_factory=ShapeConfig)


class ChangePoints:
    """All changes of one series. Mutable; `dump` and `load` carry it over, to the byte."""

    def __init__(self, config: ChangeConfig | None = None) -> None:
        self.config = config or ChangeConfig()
        self._row = -1
        self._last_onset = -_FAR
        self._points = self._raised = self._release = 0
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
            for shape in self._shapes.observe(value):
                limit = self._shapes.limit
                found += self._declare(shape.onset, "shape", shape.evidence, limit, shape.before, shape.after)
        return found

    def _shifts(self, value: float) -> list[Change]:
        config, past = self.config, self._previous
        self._points += 1
        self._levels.observe(value)
        if len(past) == 2:
            bend = value / 4.0 - past[1] / 2.0 + past[0] / 4.0
            rounding = RESOLUTION * (abs(value) + abs(past[1]) + abs(past[0]))
            self._scales.observe(math.sqrt(abs(bend)) if abs(bend) > rounding else 0.0)
            del past[0]
        past.append(value)
        if self._points <= config.warm_up:
            return []
        if self._raised and self._points >= self._release:
            self._raised, self._release = self._raised - 1, self._points + _SUSTAINED
        found = []
        for test in self._tests():
            if test.count < LEFT + RIGHT or not test.due():
                continue
            shift = test.best(*self._limits(test), side=max(1, 2 * self.period))
            test.held = test.held + 1 if shift else 0
            if shift is None or test.held < config.confirmations:
                continue
            test.keep(shift.points)
            kind, before, after = shift.kind, shift.before, shift.after
            if test is self._levels:
                self._scales.keep(min(shift.points, self._scales.count))
            else:
                kind, before, after = "variance", _deviation(before), _deviation(after)
            if test is self._levels and shift.slow and not self.period:
                self._raised, self._release = min(self._raised + 1, _HIGHEST), self._points + _SUSTAINED
            if shift.statistic >= shift.limit:
                onset = self._points - shift.points
                found += self._declare(onset, kind, shift.statistic, shift.limit, before, after)
        return found

    def _limits(self, test: ShiftTest) -> tuple[float, float, float]:
        """What a level (or variance) and a trend must reach now, and the factor by which both have risen."""
        config = self.config
        more = 2.0 * ln(max(1.0, self._points / _SHORT))
        if test is not self._levels:
            return config.variance + more, 0.0, 1.0
        if self.period:
            return config.level * _SEASONAL + more, config.trend * _SEASONAL + more, 1.0
        return config.level + more, config.trend + more, _RISES[self._raised]

    def _declare(
        self, point: int, kind: Kind, statistic: float, limit: float, before: float, after: float
    ) -> list[Change]:
        """The change, unless it is one that was declared already, by another of its marks."""
        earliest = self._gaps[0][1] if len(self._gaps) == _GAPS else 0
        onset = point + next((skipped for start, skipped in reversed(self._gaps) if start <= point), earliest)
        if onset - self._last_onset < max(RIGHT, self.period if kind == "shape" else 0):
            return []
        self._last_onset = onset
        return [Change(onset, self._row, kind, statistic, limit, before, after)]

    def dump(self) -> bytes:
        """Equal states give equal bytes: a line of JSON, then little-endian float64 of the two tests,
        then the window for shapes."""
        header = {
            "format": _FORMAT,
            "row": self._row,
            "points": self._points,
            "gaps": self._gaps,
            "onset": self._last_onset,
            "raised": [self._raised, self._release],
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
        """The inverse of `dump`; `RecordError` for other bytes. Shapes go on where both have them."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected a change-point state of format {_FORMAT}, found {head[:60]!r}")
        points = ChangePoints(config)
        points._row, points._points = header["row"], header["points"]
        points._last_onset = header["onset"]
        points._raised, points._release = header["raised"]
        points._previous, points._gaps = header["previous"], header["gaps"]
        count = sum(sum(lengths[2:]) for lengths in header["tests"])
        if len(body) < 8 * count:
            raise RecordError(f"change-point state: expected {8 * count} bytes or more, found {len(body)}")
        floats = iter(struct.unpack_from(f"<{count}d", body))
        for test, lengths in zip(points._tests(), header["tests"], strict=True):
            test.count, test.held = lengths[:2]
            test.means = [array("d", itertools.islice(floats, length)) for length in lengths[2:]]
        if header["shapes"] is not None and points.config.shape:
            points._shapes = ShapeTest.load(header["shapes"], body[8 * count :], points.config.shape)
        return points


def _deviation(root: float) -> float:
    """That of the noise whose bends |x_t − 2x_{t−1} + x_{t−2}|/4 have roots of this mean."""
    return _NORMAL * max(root, 0.0) * max(root, 0.0)
