"""Segments of one series by the shape of its repetitions (a class-score segmentation).

A signal that repeats is cut into all its subsequences of one length w. Each knows its three
nearest neighbours (Pearson correlation, at least w/2 away in time) within the segment it
belongs to, earlier or later. For a split p, a subsequence is told to be *left* if two of its
three neighbours start before p, which is to say: if the median m_i of their starts does.
So for all p at once, with two cumulative counts:

    A(p) = |{i: max(i, m_i) < p}|     left ones told so
    B(p) = |{i: min(i, m_i) ≥ p}|     right ones told so
    score(p)    = ½·[2A/(2A + e) + 2B/(2B + e)],   e = n − A − B     (macro F1)
    evidence(p) = φ²·n/w                                             (chi square of a 2×2 table)

A *shape* change is declared when, in `confirmations` looks (a quarter of w apart) running, some
split has evidence ≥ `evidence` and its score ≥ `score`; the onset is the best such split plus
half a subsequence, for those that straddle the change are told to be right. Two of three neighbours
can be right only when the new shape has been seen three times; so the nearest alone is asked too,
and believed if the score is ≥ `nearest`. A split a third of the shorter side away must be worse by
0.03: where a shape drifts, none is. What came before the onset is then forgotten.

The length is learnt from the signal (`learn_period`): half its period, but no less than the smaller
of 20 points and the period. Subsequences longer than 36 points are taken from means of q points,
so that work and memory have a bound.

False alarms: neighbours of a stationary signal lie anywhere, the best split of n of them reaches
a score of about ½ by chance; n/w subsequences that do not overlap are counted as independent, so
`evidence` 15 is a chi square of 15 in favour of the very split that also reaches `score`. None
in white noise, autoregressions and noisy sines of 2,000 points (see the tests). A signal whose
repetitions drift, or whose regimes are made of several shapes by turns, gets more segments than
a person would draw.

Cost: O(window) elementwise operations a sample; dot products by recurrence. State: at most
`window` samples of 50 bytes (104 KB by default). When a length is learnt, or a change is declared,
the samples so far, or since the onset, are taken in again: at most 4 by one point, so that no
point costs more than that; until they are caught up with, what is declared is declared later.

Source: Schäfer, Ermshaus & Leser, "ClaSP – Time Series Segmentation", CIKM 2021, and "ClaSS",
VLDB 2024, for the score and its online form; Gharghabi et al., "FLOSS", ICDM 2017, for arcs.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from observer_core.pattern_record.window import Floats, Ints
from observer_core.shared.errors import RecordError

LEARN_AT = (100, 150, 225, 340, 510, 760, 1000)
"""After so many points a period is looked for; after the last, a hint will do, or all begins anew."""

_SHORTEST_PERIOD = 8
_TARGET = 24
_CLIP = 50.0
_LEAST_HEIGHT = 0.2
_PEAK = 0.03
"""By so much the score falls to both sides of a change; of a drift, every split is as good."""
_STEPS = float(1 << 24)
"""Correlations are whole numbers of so-manieths: equal shapes are equal in spite of rounding."""
_NO_MATCH = -2.0 * _STEPS
_AT_ONCE = 4
"""Samples that are looked at by one point, where many wait: for a length is known now, or a change."""


@dataclass(frozen=True, slots=True)
class ShapeConfig:
    """`window`: samples kept. `evidence` and `score`: what a split needs, in `confirmations` looks.

    `nearest`: the score that it needs where only the nearest neighbours are asked.
    """

    window: int = 2048
    score: float = 0.70
    nearest: float = 0.80
    evidence: float = 15.0
    confirmations: int = 2

    def __post_init__(self) -> None:
        if not 256 <= self.window <= 32_767:
            raise ValueError(f"window ({self.window}) must be between 256 and 32767 samples")


def learn_period(values: Floats) -> tuple[int, float]:
    """The period and its autocorrelation, (0, 0) if there is none: the first peak near the highest.

    Peaks count after the autocorrelation has fallen below 0.2, with the series' line taken off.

    >>> learn_period(np.tile(np.array([0.0, 1.0, 3.0, 2.0, 1.0, 1.0, 0.0, -1.0, -1.0]), 12))
    (9, 0.999572858)
    """
    n = len(values)
    x = values - np.add.reduce(values) / n
    time = np.arange(n) - (n - 1) / 2.0
    x = x - time * (np.add.reduce(time * x) / np.add.reduce(time * time))
    largest = float(np.max(np.abs(x)))
    if not largest > 0.0:
        return 0, 0.0
    x = x / largest
    power = float(np.add.reduce(x * x)) / n
    lags = n // 3
    later = np.lib.stride_tricks.sliding_window_view(np.concatenate((x, np.zeros(lags))), n)
    r = (np.add.reduce(later * x, axis=1) / np.arange(n, n - lags - 1, -1) / power).tolist()
    fallen = next((lag for lag in range(lags) if r[lag] < 0.2), lags)
    first = max(fallen + 1, _SHORTEST_PERIOD)
    peaks = [lag for lag in range(first, lags) if r[lag - 1] <= r[lag] > r[lag + 1]]
    if not peaks:
        return 0, 0.0
    highest = max(r[lag] for lag in peaks)
    if highest <= 0.0:
        return 0, 0.0
    period = next(lag for lag in peaks if r[lag] >= 0.85 * highest)
    return period, min(round(r[period], 9), 1.0)


@dataclass(frozen=True, slots=True)
class Shape:
    """A new shape since point `onset`, with its evidence; `before` and `after`: the means of the points."""

    onset: int
    evidence: float
    before: float
    after: float


class ShapeTest:
    """Learns a series' period, and then has it segmented. `period`: 0 where there is none (yet)."""

    def __init__(self, config: ShapeConfig) -> None:
        self._config = config
        self.period = self._first = 0
        self._learning: list[float] = []
        self._segments: ShapeSegments | None = None

    @property
    def limit(self) -> float:
        return self._config.evidence

    def observe(self, value: float) -> list[Shape]:
        """The segments that are known to have begun."""
        if self._segments is None:
            self._learning.append(value)
            if len(self._learning) not in LEARN_AT or not self._settle(np.array(self._learning)):
                return []
            known, self._learning = self._learning, []
            assert self._segments
            for earlier in known[:-1]:
                self._segments.take(earlier)
        found = self._segments.observe(value)
        return [replace(one, onset=self._first + one.onset) for one in found]

    def _settle(self, values: Floats) -> bool:
        """Whether a length could be learnt from the points so far."""
        period, height = learn_period(values)
        if height > 0.4 and len(values) >= (3 if height > 0.7 else 4) * period:
            self.period = period
        elif len(values) < LEARN_AT[-1]:
            return False
        elif height < _LEAST_HEIGHT:
            self._first += len(values)
            self._learning = []
            return False
        centre = float(np.add.reduce(values / len(values)))
        scale = float(np.add.reduce(np.abs(values - centre) / len(values)))
        if not (scale > 0.0 and math.isfinite(1.0 / scale)):
            scale = 1.0
        self._segments = ShapeSegments(period, centre, scale, self._config)
        return True

    def header(self) -> list[Any]:
        """What, with `body`, is the state."""
        segments = self._segments.header() if self._segments else None
        return [self.period, self._first, len(self._learning), segments]

    def body(self) -> bytes:
        return self._segments.body() if self._segments else np.array(self._learning, "<f8").tobytes()

    @staticmethod
    def load(header: list[Any], body: bytes, config: ShapeConfig) -> ShapeTest:
        """The inverse of `header` and `body`; `RecordError` for other bytes."""
        found = ShapeTest(config)
        found.period, found._first, learning, segments = header
        if segments is not None:
            found._segments = ShapeSegments.load(segments, body, config)
        elif len(body) != 8 * learning:
            raise RecordError(f"shape state: expected {8 * learning} bytes, found {len(body)}")
        else:
            found._learning = np.frombuffer(body, "<f8").tolist()
        return found


class ShapeSegments:
    """The current segment of one series. `observe` returns (onset, statistic) when a new one began.

    Onsets are numbers of points since the first one given to it. `centre` and `scale` bring values
    near 1; what lies 50 scales off is taken to lie there.
    """

    def __init__(self, period: int, centre: float, scale: float, config: ShapeConfig) -> None:
        length = max(period / 2.0, min(period, 20), 10.0)
        self.every = max(1, math.floor(length / _TARGET + 0.5))
        self.width = max(4, math.floor(length / self.every + 0.5))
        self.period, self.centre, self.scale = period, centre, scale
        self._config = config
        self._apart = max(1, self.width // 2)
        self._stride = max(1, self.width // 4)
        room = config.window
        self._x = np.zeros(room)
        self._rows = np.zeros((6, room))
        self._mean, self._inverse, self._dots = self._rows[:3]
        self._near = self._rows[3:]
        self._where = np.zeros((3, room), np.int64)
        self._base = self._looks = self._held = self._filled = 0
        self._sum = 0.0
        self._waiting: deque[float] = deque()
        self._clear()

    def _clear(self) -> None:
        self._samples = self._starts = 0
        self._near[:] = _NO_MATCH
        self._where[:] = -1

    def take(self, value: float) -> None:
        """Takes a point in; what it says is for the next `observe`."""
        self._sum += min(max((value - self.centre) / self.scale, -_CLIP), _CLIP)
        self._filled += 1
        if self._filled == self.every:
            self._waiting.append(self._sum / self.every)
            self._sum, self._filled = 0.0, 0

    def observe(self, value: float) -> list[Shape]:
        """Takes a point in, and looks at some of the samples that wait."""
        self.take(value)
        found: list[Shape] = []
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            shape = self._look(self._waiting.popleft())
            found += [shape] if shape else []
        return found

    def _look(self, sample: float) -> Shape | None:
        if self._samples == self._config.window:
            self._trim(self._config.window // 4)
        self._push(sample)
        self._looks += 1
        if self._looks % self._stride or self._starts < 5 * self.width:
            return None
        found = self._best_split()
        self._held = self._held + 1 if found else 0
        if not found or self._held < self._config.confirmations:
            return None
        split, evidence = found
        split += self.width // 2
        self._held = 0
        self._base += split
        left, right = self._x[:split], self._x[split : self._samples]
        before, after = (
            self.centre + self.scale * (float(np.add.reduce(side)) / len(side)) for side in (left, right)
        )
        self._waiting.extendleft(reversed(right.tolist()))
        self._clear()
        return Shape(self._base * self.every, evidence, before, after)

    def _push(self, sample: float) -> None:
        """Takes a sample in; the subsequence that it completes finds its neighbours, and they it."""
        w, x, n = self.width, self._x, self._samples
        x[n] = sample
        self._samples = n + 1
        if n + 1 < w:
            return
        i = n + 1 - w
        self._starts = i + 1
        own = x[i : n + 1]
        mean = float(np.add.reduce(own)) / w
        off = own - mean
        deviation = math.sqrt(float(np.add.reduce(off * off)) / w)
        inverse = 1.0 / deviation if deviation > 1e-8 else 0.0
        self._mean[i], self._inverse[i] = mean, inverse
        dots = self._dots
        if i:
            new = x[w : w + i] * x[n]
            new += dots[:i]
            new -= x[:i] * x[i - 1]
            dots[1 : i + 1] = new
        dots[0] = np.add.reduce(x[:w] * own)
        earlier = i - self._apart + 1
        if earlier <= 0:
            return
        r = dots[:earlier] / w
        r -= self._mean[:earlier] * mean
        r *= self._inverse[:earlier]
        r *= inverse * _STEPS
        np.rint(r, out=r)
        self._improve(r, i)
        near, where = self._near[:, i], self._where[:, i]
        for rank in range(min(3, earlier)):
            best = int(r.argmax())
            near[rank], where[rank] = r[best], best
            r[best] = _NO_MATCH

    def _improve(self, r: Floats, i: int) -> None:
        """Enters subsequence i among the neighbours of the earlier ones that it is nearer to."""
        near, where = self._near, self._where
        at = np.flatnonzero(r > near[2, : len(r)])
        if not len(at):
            return
        r = r[at]
        first, second = near[0, at], near[1, at]
        beats_first, beats_second = r > first, r > second
        where_first, where_second = where[0, at], where[1, at]
        near[2, at] = np.where(beats_second, second, r)
        where[2, at] = np.where(beats_second, where_second, i)
        near[1, at] = np.where(beats_first, first, np.where(beats_second, r, second))
        where[1, at] = np.where(beats_first, where_first, np.where(beats_second, i, where_second))
        near[0, at] = np.where(beats_first, r, first)
        where[0, at] = np.where(beats_first, i, where_first)

    def _trim(self, count: int) -> None:
        """Forgets the oldest samples; a neighbour that was among them stays *left* for ever."""
        kept, starts = self._samples - count, self._starts - count
        self._x[:kept] = self._x[count : self._samples].copy()
        for rows in (self._rows, self._where):
            rows[:, :starts] = rows[:, count : self._starts].copy()
        self._near[:, starts:] = _NO_MATCH
        self._where[:, starts:] = -1
        moved = self._where[:, :starts]
        np.maximum(moved - count, -1, out=moved)
        self._samples, self._starts = kept, starts
        self._base += count

    def _best_split(self) -> tuple[int, float] | None:
        """The split of the best score among those with evidence, if it is good enough."""
        config = self._config
        a, b, c = self._where[:, : self._starts]
        median = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
        return self._split(median, config.score) or self._split(a, config.nearest)

    def _split(self, told_by: Ints, least: float) -> tuple[int, float] | None:
        """The best split by one neighbour of each subsequence, with a score of `least` or more."""
        n, w, need = self._starts, self.width, self._config.evidence
        low, high = 2 * w, n - 2 * w
        if high <= low:
            return None
        own = np.arange(n)
        later = _counts(np.maximum(own, told_by), n)
        earlier = _counts(np.minimum(own, told_by), n)
        told_left = np.cumsum(later)[low - 1 : high - 1].astype(np.float64)
        told_right = np.cumsum(earlier[::-1])[::-1][low:high].astype(np.float64)
        left = own[low:high].astype(np.float64)
        right = n - left
        errors = n - told_left - told_right
        score = told_left / (2.0 * told_left + errors) + told_right / (2.0 * told_right + errors + 1e-9)
        if not float(score.max()) >= least:
            return None
        all_left = told_left + right - told_right
        product = left * right * all_left * (n - all_left)
        excess = told_left * told_right - (left - told_left) * (right - told_right)
        evidence = np.maximum(excess, 0.0) * excess / np.maximum(product, 1.0) * (n / w)
        best = int(np.where(evidence < need, 0.0, score).argmax())
        if score[best] < least or evidence[best] < need:
            return None
        away = max(w, min(low + best, n - low - best) // 3)
        beside = [score[at] for at in (best - away, best + away) if 0 <= at < len(score)]
        if score[best] - max(beside, default=0.0) < _PEAK:
            return None
        return low + best, float(evidence[best])

    _COUNTERS = ("every", "width", "period", "_base", "_looks", "_held", "_filled", "_samples", "_starts")

    def header(self) -> list[float | int]:
        """What, with `body`, is the state."""
        counters = [getattr(self, name) for name in self._COUNTERS]
        return [*counters, len(self._waiting), self.centre, self.scale, self._sum]

    def body(self) -> bytes:
        x, rows = self._x[: self._samples], self._rows[:3, : self._starts]
        near = self._near[:, : self._starts].astype("<i4")
        where = self._where[:, : self._starts].astype("<i2")
        waiting = np.array(self._waiting, "<f8")
        return b"".join(part.tobytes() for part in (waiting, x, rows, near, where))

    @staticmethod
    def load(header: list[float | int], body: bytes, config: ShapeConfig) -> ShapeSegments:
        """The inverse of `header` and `body`; `RecordError` for other bytes."""
        *counters, waiting = [int(number) for number in header[:-3]]
        centre, scale, total = header[-3:]
        found = ShapeSegments(counters[2], centre, scale, config)
        for name, number in zip(ShapeSegments._COUNTERS, counters, strict=True):
            setattr(found, name, number)
        found._sum = float(total)
        n, m = found._samples, found._starts
        if len(body) != 8 * (waiting + n) + 42 * m or n > config.window:
            raise RecordError(f"shape state of {n} samples: found {len(body)} bytes")
        numbers = np.frombuffer(body, "<f8", waiting + n + 3 * m)
        found._waiting.extend(numbers[:waiting].tolist())
        found._x[:n] = numbers[waiting : waiting + n]
        found._rows[:3, :m] = numbers[waiting + n :].reshape(3, m)
        offset = 8 * len(numbers)
        found._near[:, :m] = np.frombuffer(body, "<i4", 3 * m, offset).reshape(3, m)
        found._where[:, :m] = np.frombuffer(body, "<i2", 3 * m, offset + 12 * m).reshape(3, m)
        return found


def _counts(values: Ints, n: int) -> Ints:
    """How often each of 0 … n − 1 occurs; the negative ones are not counted."""
    found: Ints = np.bincount(values + 1, minlength=n + 1)[1:]
    return found
