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

Cost: a look is some 45 NumPy calls on at most 512 means, at every point of a segment of less than 128 (of
the variance: every fourth), then some 32 times while its length doubles, at every 32nd point from 640 and
every 64th from 3,072 on; at least twice as often where the last look found something: 20–50 µs a point in
segments of a hundred, 3 µs in those of thousands; a periodic series some 45 µs more. Many series (`March`)
look at the same points, and are looked at together first (see `screen`), which most of them need no more
than: below 0.5 µs a point for 64 of white noise. Those that wander are still looked at one by one.
State: 8.4 KB, and up to 104 KB for a period (see `segments`).

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
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from observer_core.pattern_record.detectors.segments import ShapeConfig, ShapeTest
from observer_core.pattern_record.detectors.shifts import (
    RESOLUTION,
    RIGHT,
    Kind,
    Limits,
    Look,
    Shift,
    ShiftTest,
    best,
    ln,
)
from observer_core.pattern_record.window import Floats, constant
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError

_FORMAT = 2
_SEASONAL = 2.0
_FAR = 1 << 40
_SHORT = 500.0
_GAPS = 64
_PAST, _ROWS = 2, 66
_LARGEST = 1e290
_LEAST, _MOST = constant(-_LARGEST), constant(_LARGEST)
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


class Lane:
    """What a series has for itself: gaps, its last onset, how often limits were raised, its shapes."""

    __slots__ = ("gaps", "last_onset", "raised", "release", "shapes", "skipped")

    def __init__(self, shape: ShapeConfig | None) -> None:
        self.gaps: list[list[int]] = []
        self.last_onset, self.skipped = -_FAR, 0
        self.raised = self.release = 0
        self.shapes = ShapeTest(shape) if shape else None

    @property
    def period(self) -> int:
        return self.shapes.period if self.shapes else 0

    def lower(self, points: int) -> None:
        """Limits that were raised come down again, one step after so many points."""
        while self.raised and points >= self.release:
            self.raised, self.release = self.raised - 1, self.release + _SUSTAINED

    def skip(self, points: int) -> None:
        """A row that is no point, after so many that are."""
        self.skipped += 1
        if not self.gaps or self.gaps[-1][0] != points:
            self.gaps.append([points, self.skipped - 1])
            del self.gaps[:-_GAPS]
        self.gaps[-1][1] += 1

    def row(self, point: int) -> int:
        earliest = self.gaps[0][1] if len(self.gaps) == _GAPS else 0
        return point + next((skipped for start, skipped in reversed(self.gaps) if start <= point), earliest)


class _Step:
    """Series of a `March` whose segments have as many points: its two tests, and when the next look is."""

    __slots__ = ("columns", "levels", "next", "scales")

    def __init__(self, columns: list[int], levels: ShiftTest, scales: ShiftTest, following: int = 0) -> None:
        self.columns, self.levels, self.scales, self.next = columns, levels, scales, following

    def part(self, places: list[int], columns: list[int] | None = None) -> _Step:
        columns = [self.columns[place] for place in places] if columns is None else columns
        return _Step(columns, self.levels.part(places), self.scales.part(places), self.next)

    @staticmethod
    def joined(steps: Sequence[_Step]) -> _Step:
        if len(steps) == 1:
            return steps[0]
        columns = [column for step in steps for column in step.columns]
        levels = ShiftTest.joined([step.levels for step in steps])
        return _Step(columns, levels, ShiftTest.joined([step.scales for step in steps]))


class March:
    """Series that have had all their points at the same times. A column each.

    `points`: how many. Rows of `recent` wait until a look is due, for one array operation costs as much as
    sixteen; two that are known already stand before them.
    """

    __slots__ = (
        "_at",
        "_bent",
        "_config",
        "_more",
        "_next",
        "_recent",
        "_roots",
        "_steps",
        "lanes",
        "points",
    )

    def __init__(self, config: ChangeConfig, lanes: list[Lane], points: int = 0) -> None:
        self._config, self.lanes, self.points = config, lanes, points
        self._recent, self._roots = np.zeros((2, _ROWS, len(lanes)))
        self._at = self._bent = _PAST
        self._more = 0.0
        width, self._next = len(lanes), config.warm_up + 1
        levels, scales = ShiftTest(True, width, _PAST), ShiftTest(False, width, _PAST)
        self._steps = [_Step(list(range(width)), levels, scales)]

    def observe(self, values: Floats) -> list[tuple[int, Change]]:
        """Takes the next point of every series in; the changes that are known by it, with their columns."""
        at = self._at
        self._recent[at] = values
        self._at, self.points = at + 1, self.points + 1
        found: list[tuple[int, Change]] = []
        if self.points >= self._next:
            with np.errstate(all="ignore"):
                self._look(found)
        if self._at == _ROWS:
            self._settle()
        if self._config.shape:
            for column, value in enumerate(values.tolist()):
                self._shape(column, value, found)
        return found

    def _shape(self, column: int, value: float, found: list[tuple[int, Change]]) -> None:
        lane = self.lanes[column]
        assert lane.shapes
        limit = lane.shapes.limit
        for one in lane.shapes.observe(min(max(value, -_LARGEST), _LARGEST)):
            self._declare(column, one.onset, "shape", one.evidence, limit, one.before, one.after, found)

    def _look(self, found: list[tuple[int, Change]]) -> None:
        self._more = 2.0 * ln(max(1.0, self.points / _SHORT))
        steps = [step for step in self._steps if self.points < step.next]
        due = [step for step in self._steps if self.points >= step.next]
        for levels in (True, False):
            due = self._moved(due, levels, found)
        for step in due:
            waits = [test.wait(self.points, self._waiting(test)) for test in (step.levels, step.scales)]
            step.next = self.points + min(waits)
        self._steps = steps + due
        self._next = min(step.next for step in self._steps)

    def _waiting(self, test: ShiftTest) -> int:
        """Points that are for a test, but which it has not seen yet."""
        rows = self._at - test.taken
        return rows if test.trends else rows - max(0, min(rows, rows + _PAST - self.points))

    def _take(self, step: _Step, test: ShiftTest) -> None:
        """Brings a test up to the newest row."""
        waiting, at = self._waiting(test), self._at
        test.taken = at
        if not waiting:
            return
        if self._bent < at:
            rows = self._recent[self._bent : at]
            np.minimum(np.maximum(rows, _LEAST), _MOST, out=rows)
            first = max(self._bent, at - self.points + _PAST)
            if first < at:
                self._roots[first:at] = _roots(self._recent[first - _PAST : at])
            self._bent = at
        rows = (self._recent if test.trends else self._roots)[at - waiting : at]
        columns = step.columns
        if len(columns) == 1:
            rows = rows[:, columns[0] : columns[0] + 1]
        elif len(columns) < len(self.lanes):
            rows = rows[:, columns]
        test.observe(rows)

    def _moved(self, steps: list[_Step], levels: bool, found: list[tuple[int, Change]]) -> list[_Step]:
        """The steps after a look of one test of theirs: series that begin a segment go on by themselves."""
        moved, looking, looks = [], [], []
        for step in steps:
            test = step.levels if levels else step.scales
            places = test.due(self.points, self._waiting(test))
            if places:
                self._take(step, test)
                limits = self._limits([step.columns[place] for place in places], levels)
                looking.append(step)
                looks.append(Look(test, places, limits))
            else:
                moved.append(step)
        for step, look, shifts in zip(looking, looks, best(looks), strict=True):
            held = look.test.held
            begun = [place for place in shifts if held[place] >= self._config.confirmations]
            if not begun:
                moved.append(step)
                continue
            for place in begun:
                part = step.part([place])
                self._begin(part, levels, shifts[place], found)
                moved.append(part)
            if rest := [place for place in range(len(held)) if place not in begun]:
                moved.append(step.part(rest))
        return moved

    def _begin(self, step: _Step, levels: bool, shift: Shift, found: list[tuple[int, Change]]) -> None:
        (column,) = step.columns
        lane, kind, before, after = self.lanes[column], shift.kind, shift.before, shift.after
        if levels:
            lane.lower(self.points)
            self._take(step, step.scales)
            step.levels.keep(shift.points)
            step.scales.keep(min(shift.points, step.scales.count))
            if shift.slow and not lane.period:
                lane.raised, lane.release = min(lane.raised + 1, _HIGHEST), self.points + _SUSTAINED
        else:
            step.scales.keep(shift.points)
            kind, before, after = "variance", _deviation(before), _deviation(after)
        if shift.statistic >= shift.limit:
            onset = self.points - shift.points
            self._declare(column, onset, kind, shift.statistic, shift.limit, before, after, found)

    def _limits(self, columns: list[int], levels: bool) -> list[Limits]:
        """What a level (or variance) and a trend must reach now, and the factor by which both have risen."""
        config = self._config
        more = self._more
        kind = (config.level + more, config.trend + more) if levels else (config.variance + more, 0.0)
        plain = Limits(*kind, 1.0, 1)

        def own(lane: Lane) -> Limits:
            period = lane.period
            if not levels:
                return plain._replace(side=max(1, 2 * period))
            if period:
                seasonal = config.level * _SEASONAL + more, config.trend * _SEASONAL + more
                return Limits(*seasonal, 1.0, 2 * period)
            lane.lower(self.points)
            return plain._replace(rise=_RISES[lane.raised])

        lanes = [self.lanes[column] for column in columns]
        return [own(lane) if lane.raised or lane.shapes else plain for lane in lanes]

    def _declare(
        self, column: int, point: int, kind: Kind, statistic: float, limit: float, before: float,
        after: float, found: list[tuple[int, Change]],
    ) -> None:  # fmt: skip
        """The change, unless it is one that was declared already, by another of its marks."""
        lane = self.lanes[column]
        onset, row = lane.row(point), self.points - 1 + lane.skipped
        if onset - lane.last_onset >= max(RIGHT, lane.period if kind == "shape" else 0):
            lane.last_onset = onset
            found.append((column, Change(onset, row, kind, statistic, limit, before, after)))

    def _settle(self) -> None:
        """Every step knows all rows; the newest two stay."""
        for step in self._steps:
            for test in (step.levels, step.scales):
                self._take(step, test)
                test.taken = _PAST
        self._recent[:_PAST] = self._recent[self._at - _PAST : self._at]
        self._at = self._bent = _PAST

    def leave(self, columns: list[int]) -> March:
        """Takes series out, into a march of their own."""
        self._settle()
        gone = self._part(columns)
        rest = self._part([column for column in range(len(self.lanes)) if column not in set(columns)])
        self.lanes, self._steps = rest.lanes, rest._steps
        self._recent, self._roots = rest._recent, rest._roots
        return gone

    def _part(self, columns: list[int]) -> March:
        found = March(self._config, [self.lanes[column] for column in columns], self.points)
        found._recent = np.ascontiguousarray(self._recent[:, columns])
        found._steps = []
        place = {column: at for at, column in enumerate(columns)}
        for step in self._steps:
            kept = [at for at, column in enumerate(step.columns) if column in place]
            if kept:
                found._steps.append(step.part(kept, [place[step.columns[at]] for at in kept]))
        found._next = self._next
        return found

    def dump(self) -> list[bytes]:
        """Of every series its state: equal ones give equal bytes, alone or among others.

        A line of JSON, then little-endian float64 of the two tests, then the window for shapes.
        """
        self._settle()
        found = [b""] * len(self.lanes)
        for step in self._steps:
            for place, column in enumerate(step.columns):
                found[column] = self._dump(step, place, column)
        return found

    def _dump(self, step: _Step, place: int, column: int) -> bytes:
        lane, tests = self.lanes[column], (step.levels, step.scales)
        lane.lower(self.points)
        previous = self._recent[_PAST - min(_PAST, self.points) : _PAST, column]
        header = {
            "format": _FORMAT,
            "row": self.points - 1 + lane.skipped,
            "points": self.points,
            "gaps": lane.gaps,
            "onset": lane.last_onset,
            "raised": [lane.raised, lane.release],
            "previous": previous.tolist(),
            "tests": [[test.count, test.held[place], *map(len, test.means)] for test in tests],
            "shapes": lane.shapes.header() if lane.shapes else None,
        }
        floats = [means[:, place].astype("<f8").tobytes() for test in tests for means in test.means]
        body = lane.shapes.body() if lane.shapes else b""
        return b"".join((encode(header), b"\n", *floats, body))

    @staticmethod
    def load(blob: bytes, config: ChangeConfig) -> March:
        """One series by itself: the inverse of `dump`; `RecordError` for other bytes."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise RecordError(f"expected a change-point state of format {_FORMAT}, found {head[:60]!r}")
        lane = Lane(config.shape)
        found = March(config, [lane], header["points"])
        lane.skipped = header["row"] + 1 - found.points
        lane.last_onset, lane.gaps = header["onset"], header["gaps"]
        lane.raised, lane.release = header["raised"]
        previous = header["previous"]
        found._recent[_PAST - len(previous) : _PAST, 0] = previous
        count = sum(sum(lengths[2:]) for lengths in header["tests"])
        if len(body) < 8 * count:
            raise RecordError(f"change-point state: expected {8 * count} bytes or more, found {len(body)}")
        floats, offset = np.frombuffer(body, "<f8", count).astype(np.float64), 0
        (step,) = found._steps
        for test, (points, held, *lengths) in zip((step.levels, step.scales), header["tests"], strict=True):
            test.count, test.held = points, [held]
            ends = [offset, *itertools.accumulate(lengths, initial=offset)][1:]
            test.means = [floats[a:b].reshape(-1, 1) for a, b in itertools.pairwise(ends)]
            offset = ends[-1]
        if header["shapes"] is not None and config.shape:
            lane.shapes = ShapeTest.load(header["shapes"], body[8 * count :], config.shape)
        return found

    @staticmethod
    def joined(marches: Sequence[March]) -> March:
        """Series that have had all their points at the same times, as one; those in step look together."""
        first = marches[0]
        found = March(first._config, [lane for one in marches for lane in one.lanes], first.points)
        for one in marches:
            one._settle()
        found._recent = np.concatenate([one._recent for one in marches], axis=1)
        begin = itertools.accumulate((len(one.lanes) for one in marches), initial=0)
        steps: dict[tuple[int, int], list[_Step]] = {}
        for start, one in zip(begin, marches, strict=False):
            for step in one._steps:
                step.columns = [start + column for column in step.columns]
                steps.setdefault((step.levels.count, step.scales.count), []).append(step)
        found._steps = [_Step.joined(same) for same in steps.values()]
        return found


class ChangePoints:
    """All changes of one series. Mutable; `dump` and `load` carry it over, to the byte."""

    def __init__(self, config: ChangeConfig | None = None) -> None:
        self.config = config or ChangeConfig()
        self._lane = Lane(self.config.shape)
        self._march = March(self.config, [self._lane])

    @property
    def period(self) -> int:
        """The period of the series in points, once it is known to have one; 0 until then."""
        return self._lane.period

    @property
    def shape_bytes(self) -> int:
        """What the window for shapes (or what its length is learnt from) adds to the state."""
        return len(self._lane.shapes.body()) if self._lane.shapes else 0

    def observe(self, value: float) -> list[Change]:
        """Takes the next point in; the changes that are known by it, mostly none."""
        if not math.isfinite(value):
            self._lane.skip(self._march.points)
            return []
        return [change for _, change in self._march.observe(np.array((value,)))]

    def dump(self) -> bytes:
        return self._march.dump()[0]

    @staticmethod
    def load(blob: bytes, config: ChangeConfig | None = None) -> ChangePoints:
        """The inverse of `dump`; `RecordError` for other bytes. Shapes go on where both have them."""
        points = ChangePoints(config)
        points._march = March.load(blob, points.config)
        (points._lane,) = points._march.lanes
        return points


def _roots(rows: Floats) -> Floats:
    """The roots of the bends between three points, in all rows but the first two."""
    now, last, first = rows[2:], rows[1:-1], rows[:-2]
    bends = np.abs(now / 4.0 - last / 2.0 + first / 4.0)
    sizes = np.abs(rows)
    rounding = RESOLUTION * (sizes[2:] + sizes[1:-1] + sizes[:-2])
    found: Floats = np.where(bends > rounding, np.sqrt(bends), 0.0)
    return found


def _deviation(root: float) -> float:
    """That of the noise whose bends |x_t − 2x_{t−1} + x_{t−2}|/4 have roots of this mean."""
    return _NORMAL * max(root, 0.0) * max(root, 0.0)
