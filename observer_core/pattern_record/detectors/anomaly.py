"""The general anomaly score: a series leaves, in several of its aspects at once, what it ever was.

Sixteen channels of a series are watched. x is the value, m_s an exponentially weighted mean of
span s, r the same with steps clipped to three usual deviations, v_s a mean of |x − m_24|, u_s a
mean of the clipped |x − r|, p a seasonal profile, floor and ceiling the leaky extremes of two hours:

    x     x − m_24   x − m_96   x − m_288   m_6 − m_24   m_24 − m_96   m_96 − m_288   m_288
    r     v_12       floor      −ceiling    floor − ceiling       x − p
    v_12 / (v_12 + v_48)        u_48 / (u_48 + u_192)

For a channel c with the range [low, high] of **all its earlier values**, R = high − low:

    excess = max(c − high, low − c, 0)                (at most R)
    growth = growth · (1 − 1/window) + excess / (R · (1 + silence · h))
    h      = h + g · (record − h)                     record: 1 where excess > 0; at first h = 1
    total  = Σ min(growth, cap)
    score  = total / (total + threshold · (1 + rise · alarms + (youth / observations)²))

h is the channel's own rate of records, g = max(1/memory, 1/(observations + 50)). A channel
that trends, or is young, makes records all the time and so silences itself; one that has
been quiet for long is believed at once. Growth adds up what the range gained of late: a slow
channel leaves its range in many small steps, a fast one in a jump, and both count alike. The
sum, and not the largest, because a real change shows in several aspects and a freak in one.
`alarms` counts the series' own alarms, forgotten with `alarm_memory`: the next must say more.
An alarm is a score of 0.5 or more. For `refractory` observations after it the score is a tenth, and
growth stays zero: what has been told is not told again.

Guarantee, bad prints: what is learnt from is clipped to 3·R beyond the range, and a value more
than 3·R beyond it begins an episode, as the start of a series does. The `settle` observations
from there on are left out of a second range; `forget` observations after the last such value
the second takes the place of the first. So `forget` observations after a single bad print of any
size no range remembers it, unless it came again; a print that is less far out widens R to
4·R at most. Ranges begin at the median of the first three observations.

Guarantee, units: a·x + b (a > 0) gives equal alarms, up to rounding: every R is measured by the
series itself, and is at least 1 % of the value's own R (0.01 for the two ratios).

False alarms: nothing in the `warm_up`, little before `youth`. Independent observations set records
at a rate of 2/t a channel, each by a few percent of R, which the default threshold (0.02, for
few series whose every oddity matters) does not wait out: normal noise and its moving averages
alarm once in 600 observations at first, in 1,000 from the 4,000th on. With a threshold of 0.2
it is once in 5,000 and more.

Numerics: + − × ÷, minimum and maximum, elementwise; sums over channels as a tree of row sums.
Neither the number of series, nor their order, nor how they are cut into blocks changes a bit.

Source: record statistics (Glick, "Breaking records and breaking boards", American Mathematical
Monthly 85, 1978); the range as a scale is Grubbs' and Dixon's (1950). Refractory times and
many weak channels: the Numenta Anomaly Benchmark (Lavin & Ahmad, ICMLA 2015) rewards both.

>>> scores = AnomalyScore.fresh(1, Anomaly())
>>> usual = [scores.observe(np.array([5.0 + step * 7 % 11]), step)[0] for step in range(400)]
>>> bool(max(usual) < 0.5 < scores.observe(np.array([60.0]), 400)[0])
True
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from observer_core.pattern_record.window import Floats, constant
from observer_core.shared.config import Config

CHANNELS = (
    "value", "from_mean_24", "from_mean_96", "from_mean_288", "shift_6_24", "shift_24_96", "shift_96_288",
    "mean_288", "robust_level", "deviation", "floor", "ceiling", "range", "season",
    "deviation_ratio", "robust_ratio",
)  # fmt: skip
"""What each row of channels is about; the explanation of an alarm names the largest of `GROWTH`."""
_K = len(CHANNELS)
_VALUE, _DEVIATION, _SEASON, _RATIOS = 0, 9, 13, 14
_SPANS = (6.0, 24.0, 96.0, 288.0, 24.0, 12.0, 48.0, 48.0, 192.0)
_MEANS, _LEVELS = 5, len(_SPANS)
HIGH, LOW, SEEN_HIGH, SEEN_LOW, SILENCE, GROWTH = (slice(start, start + _K) for start in range(0, 6 * _K, _K))
RANGES, SEEN = slice(0, 2 * _K), slice(2 * _K, 4 * _K)
LEVEL = slice(6 * _K, 6 * _K + _LEVELS)
BOUNDS = slice(LEVEL.stop, LEVEL.stop + 2)
RECENT = slice(BOUNDS.stop, BOUNDS.stop + 2)
COUNT, SEASONS, AGE, QUIET, ALARMS = range(RECENT.stop, RECENT.stop + 5)
ROWS = ALARMS + 1
SLOTS = 288
"""Of the seasonal profile, at most; a longer period shares them."""
CHUNK = 2048
"""Series that are computed together: their numbers stay in the cache."""
LARGEST = 1e300
"""Values beyond this are no measurements."""
_YOUNG = 3.0
_FAR, _NONE = 8e300, -8e300


class Anomaly(Config):
    """Windows are in observations of a series.

    `threshold`: total growth, in ranges, that is an alarm; by the share `rise` more for each alarm
    of late (`alarm_memory`), and by (youth / observations)² more in a young series. `window`: over
    which growth adds up; `cap`: what one channel can add. `silence`: k, of channels with records;
    `memory`: of these. `settle`, `forget`: see the guarantee on bad prints.
    """

    threshold: Annotated[float, Field(gt=0.0, le=100.0)] = 0.02
    refractory: Annotated[int, Field(ge=0, le=1_000_000)] = 30
    warm_up: Annotated[int, Field(ge=3, le=1_000_000)] = 100
    window: Annotated[int, Field(ge=1, le=1_000_000)] = 24
    memory: Annotated[int, Field(ge=50, le=10_000_000)] = 1000
    alarm_memory: Annotated[int, Field(ge=50, le=10_000_000)] = 2000
    silence: Annotated[float, Field(ge=0.0, le=1e6)] = 60.0
    rise: Annotated[float, Field(ge=0.0, le=1e3)] = 0.5
    cap: Annotated[float, Field(gt=0.0, le=1e3)] = 0.1
    youth: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    settle: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    forget: Annotated[int, Field(ge=2, le=10_000_000)] = 2000

    @model_validator(mode="after")
    def _ordered(self) -> Anomaly:
        if self.forget <= self.settle:
            raise ValueError(
                f"forget ({self.forget}) must be above settle ({self.settle}): "
                "the second range would have seen nothing"
            )
        return self


class _Numbers:
    """A configuration as what arithmetic with rows wants."""

    def __init__(self, c: Anomaly) -> None:
        self.threshold, self.rise = constant(c.threshold), constant(c.threshold * c.rise)
        self.keep, self.keep_alarms = constant(1.0 - 1.0 / c.window), constant(1.0 - 1.0 / c.alarm_memory)
        self.gain, self.k, self.cap = constant(1.0 / c.memory), constant(c.silence), constant(c.cap)
        self.youth = constant(c.threshold * c.youth * c.youth)
        self.refractory, self.warm_up = constant(c.refractory), constant(c.warm_up)
        self.settle, self.forget = constant(c.settle), constant(c.forget)
        self.mature = max(float(c.warm_up), 24.0, _YOUNG)


_GAINS = 1.0 / np.array(_SPANS)[:, np.newaxis]
_SHARE, _MUTE, _HALF, _ONE, _ZERO, _THREE = map(constant, (0.01, 0.9, 0.5, 1.0, 0.0, 3.0))
_LEAK, _EARLY, _SMALLEST, _SMALL, _HUGE = map(constant, (1 / 24, 50.0, 1e-300, 5e-301, 1e300))


class _Block:
    """Columns of the state side by side, and room to compute in."""

    def __init__(self, values: Floats) -> None:
        m = values.shape[1]
        self.values = values
        self.high, self.low, self.silence = values[HIGH], values[LOW], values[SILENCE]
        self.growth, self.level, self.bounds = values[GROWTH], values[LEVEL], values[BOUNDS]
        self.recent, self.count, self.seasons, self.age = (
            values[RECENT],
            values[COUNT],
            values[SEASONS],
            values[AGE],
        )
        self.quiet, self.alarms = values[QUIET], values[ALARMS]
        self.seen_high, self.seen_low = values[SEEN_HIGH], values[SEEN_LOW]
        self.channels, self.excess, self.span, self.work = np.empty((4, _K, m))
        self.delta, self.level_gain = np.empty((2, _LEVELS, m))
        self.target, self.step = np.empty((2, 2, m))
        self.x, self.w, self.range, self.a, self.b, self.score, self.gain = np.empty((7, m))
        self.flag = np.empty(m, np.bool_)
        self.old = self.seasoned = False


class AnomalyScore:
    """The scores of n series, over arrays that somebody keeps: `values` (ROWS, n), `season` (slots, n).

    Together they are the whole state: columns may be taken out and put back, dumped and loaded.
    Whoever resets columns or replaces the arrays makes a new `AnomalyScore` over them.
    `period`: observations a day or another season of the source's time line; 0: none is known.
    """

    def __init__(self, values: Floats, season: Floats, config: Anomaly, period: int = 0) -> None:
        self.values, self.season, self.config, self.period = values, season, config, period
        self._c = _Numbers(config)
        self._alpha = constant(0.3 * min(1.0, SLOTS / period) if period else 0.0)
        n = values.shape[1]
        self._score = np.zeros(n)
        self._chunks = [
            (slice(a, min(a + CHUNK, n)), _Block(values[:, a : a + CHUNK])) for a in range(0, n, CHUNK)
        ]

    @staticmethod
    def fresh(n: int, config: Anomaly, period: int = 0) -> AnomalyScore:
        values, season = np.empty((ROWS, n)), np.empty((min(period, SLOTS), n))
        reset(values, season, config)
        return AnomalyScore(values, season, config, period)

    def observe(self, x: Floats, at: int) -> Floats:
        """The scores of `x` (n,), observed at step `at` of the time line; NaN, no value, scores 0.

        The answer is overwritten by the next call.
        """
        row = self.season[at % self.period * len(self.season) // self.period] if self.period else None
        for columns, block in self._chunks:
            np.add(x[columns], _ZERO, out=block.x)  # makes −0 a 0
            np.abs(block.x, out=block.a)
            np.less(block.a, LARGEST, out=block.flag)
            present, size = int(np.count_nonzero(block.flag)), len(block.x)
            season = None if row is None else row[columns]
            score = self._score[columns]
            if present == size:
                self._step(block, season)
                score[:] = block.score
            elif 2 * present > size:
                self._all_but(block, season, np.flatnonzero(~block.flag))
                score[:] = block.score
            else:
                score[:] = 0.0
                if present:
                    self._only(block, season, np.flatnonzero(block.flag), score)
        return self._score

    def _all_but(self, block: _Block, season: Floats | None, missing: NDArray[np.intp]) -> None:
        values = block.values[:, missing]
        profile = None if season is None else season[missing]
        block.x[missing], old, seasoned = values[HIGH.start], block.old, block.seasoned
        self._step(block, season)
        block.values[:, missing], block.old, block.seasoned = values, old, seasoned
        if season is not None:
            season[missing] = profile
        block.score[missing] = 0.0

    def _only(self, block: _Block, season: Floats | None, present: NDArray[np.intp], score: Floats) -> None:
        part = _Block(block.values[:, present])
        part.x[:] = block.x[present]
        profile = None if season is None else season[present]
        self._step(part, profile)
        block.values[:, present] = part.values
        if season is not None:
            season[present] = profile
        score[present] = part.score

    def _step(self, s: _Block, season: Floats | None) -> None:
        c = self._c
        np.add(s.count, _ONE, out=s.count)
        young: Any = None
        if not s.old:
            s.old = bool(s.count.min() > c.mature)
            young = s.count <= _YOUNG
            young = young if young.any() else None
        np.subtract(s.high[_VALUE], s.low[_VALUE], out=s.range)
        self._watch(s, season, young)
        if young is not None:
            _begin(s, young)
        self._judge(s)
        self._learn(s)

    def _watch(self, s: _Block, season: Floats | None, young: Any) -> None:
        """Brings levels, bounds and profile up to date, and the channels with them."""
        channels, level, delta, x, w = s.channels, s.level, s.delta, s.x, s.w
        np.multiply(s.range, _THREE, out=s.a)
        np.subtract(s.low[_VALUE], s.a, out=w)
        np.maximum(w, x, out=w)
        np.add(s.high[_VALUE], s.a, out=s.b)
        np.minimum(w, s.b, out=w)
        if young is not None:
            np.copyto(w, x, where=young)
        channels[_VALUE] = x
        np.subtract(x, level[1:4], out=channels[1:4])
        np.subtract(w, level[:_MEANS], out=delta[:_MEANS])
        np.multiply(level[8], _THREE, out=s.a)
        np.multiply(s.range, _SHARE, out=s.b)
        np.add(s.a, s.b, out=s.a)
        if not s.old:
            np.copyto(s.a, _FAR, where=s.count <= 24.0)
        np.minimum(delta[4], s.a, out=delta[4])
        np.subtract(_ZERO, s.a, out=s.a)
        np.maximum(delta[4], s.a, out=delta[4])
        np.abs(delta[1], out=s.a)
        np.subtract(s.a, level[5:7], out=delta[5:7])
        np.abs(delta[4], out=s.a)
        np.subtract(s.a, level[7:9], out=delta[7:9])
        np.divide(_ONE, s.count, out=s.a)
        np.maximum(_GAINS, s.a, out=s.level_gain)
        np.multiply(delta, s.level_gain, out=delta)
        np.add(level, delta, out=level)
        s.target[0] = w
        np.subtract(_ZERO, w, out=s.target[1])
        if young is not None:
            _seed(s, young)
        np.subtract(s.target, s.bounds, out=s.step)
        np.multiply(s.step, _LEAK, out=s.step)
        np.add(s.bounds, s.step, out=s.step)
        np.minimum(s.target, s.step, out=s.bounds)
        np.subtract(level[0:3], level[1:4], out=channels[4:7])
        channels[7:10] = level[3:6]
        channels[10:12] = s.bounds
        np.add(s.bounds[0], s.bounds[1], out=channels[12])
        np.add(level[5:9:2], level[6:9:2], out=s.step)
        np.add(s.step, _SMALLEST, out=s.step)
        np.add(level[5:9:2], _SMALL, out=channels[_RATIOS:])
        np.divide(channels[_RATIOS:], s.step, out=channels[_RATIOS:])
        self._compare_season(s, season)

    def _compare_season(self, s: _Block, season: Floats | None) -> None:
        if season is None:
            s.channels[_SEASON] = 0.0
            return
        np.subtract(s.x, season, out=s.channels[_SEASON])
        np.subtract(s.w, season, out=s.a)
        np.multiply(s.a, self._alpha, out=s.a)
        np.add(season, s.a, out=s.a)
        np.add(s.seasons, _ONE, out=s.seasons)
        np.isnan(season, out=s.flag)
        if np.count_nonzero(s.flag):
            np.copyto(s.a, s.w, where=s.flag)
            np.copyto(s.a, np.nan, where=s.flag & (s.w != s.x))
        season[:] = s.a
        np.logical_or(s.flag, np.less_equal(s.seasons, self.period), out=s.flag)
        if np.count_nonzero(s.flag):
            np.copyto(s.channels[_SEASON], _ZERO, where=s.flag)
            np.copyto(s.silence[_SEASON], self._c.k + 1.0, where=s.flag)

    def _judge(self, s: _Block) -> None:
        """Growth of the ranges, and the score. `silence` holds 1 + k·h, `excess` ends as growth gained."""
        c, excess, span, work = self._c, s.excess, s.span, s.work
        np.subtract(s.channels, s.high, out=excess)
        np.subtract(s.low, s.channels, out=work)
        np.maximum(excess, work, out=excess)
        np.maximum(excess, _ZERO, out=excess)
        np.subtract(s.high, s.low, out=span)
        np.multiply(s.range, _SHARE, out=s.a)
        np.maximum(s.a, _SMALLEST, out=s.a)
        np.maximum(span[:_RATIOS], s.a, out=span[:_RATIOS])
        np.maximum(span[_RATIOS:], _SHARE, out=span[_RATIOS:])
        np.minimum(excess, span, out=excess)
        np.multiply(span, s.silence, out=span)
        np.divide(excess, span, out=excess)
        np.multiply(s.growth, c.keep, out=s.growth)
        np.add(s.growth, excess, out=s.growth)
        if self.period and not s.seasoned:
            np.copyto(s.growth[_SEASON], _ZERO, where=s.seasons <= 2 * self.period)
            s.seasoned = bool(s.seasons.min() > 2 * self.period)
        np.minimum(s.growth, c.cap, out=work)
        width = _K
        while width > 1:
            width //= 2
            np.add(work[:width], work[width : 2 * width], out=work[:width])
        total = work[0]
        np.multiply(s.alarms, c.keep_alarms, out=s.alarms)
        np.multiply(s.alarms, c.rise, out=s.a)
        np.add(s.a, c.threshold, out=s.a)
        np.divide(c.youth, s.count, out=s.b)
        np.divide(s.b, s.count, out=s.b)
        np.add(s.a, s.b, out=s.a)
        np.add(s.a, total, out=s.a)
        np.divide(total, s.a, out=s.score)
        if not s.old:
            np.copyto(s.score, _ZERO, where=s.count <= c.warm_up)
        # Where quiet: a tenth of the score, and growth begins anew.
        np.minimum(s.quiet, _ONE, out=s.a)
        np.subtract(s.quiet, s.a, out=s.quiet)
        np.multiply(s.a, _MUTE, out=s.b)
        np.subtract(_ONE, s.b, out=s.b)
        np.multiply(s.score, s.b, out=s.score)
        np.subtract(_ONE, s.a, out=s.a)
        np.multiply(s.growth, s.a, out=s.growth)
        np.greater_equal(s.score, _HALF, out=s.flag)
        if np.count_nonzero(s.flag):
            np.add(s.alarms, s.flag, out=s.alarms)
            np.copyto(s.quiet, c.refractory, where=s.flag)

    def _learn(self, s: _Block) -> None:
        """Silence and ranges take the observation in; ranges that are due forget."""
        c, work = self._c, s.work
        np.add(s.count, _EARLY, out=s.a)
        np.divide(_ONE, s.a, out=s.gain)
        np.maximum(s.gain, c.gain, out=s.gain)
        np.multiply(s.excess, _HUGE, out=work)
        np.minimum(work, c.k, out=work)
        np.add(work, _ONE, out=work)
        np.subtract(work, s.silence, out=work)
        np.multiply(work, s.gain, out=work)
        np.add(s.silence, work, out=s.silence)
        np.subtract(s.channels[_VALUE], s.high[_VALUE], out=s.a)
        np.subtract(s.low[_VALUE], s.channels[_VALUE], out=s.b)
        np.maximum(s.a, s.b, out=s.a)
        np.multiply(s.range, _THREE, out=s.b)
        np.greater(s.a, s.b, out=s.flag)
        np.add(s.age, _ONE, out=s.age)
        np.copyto(s.age, _ZERO, where=s.flag)
        np.maximum(s.high, s.channels, out=s.high)
        np.minimum(s.low, s.channels, out=s.low)
        np.less_equal(s.age, c.settle, out=s.flag)
        settling = int(np.count_nonzero(s.flag))
        if settling < len(s.flag):
            seen = s.values[SEEN]
            kept = seen[:, s.flag] if settling else None
            np.maximum(s.seen_high, s.channels, out=s.seen_high)
            np.minimum(s.seen_low, s.channels, out=s.seen_low)
            if kept is not None:
                seen[:, s.flag] = kept
            np.equal(s.age, c.forget, out=s.flag)
            if np.count_nonzero(s.flag):
                s.values[RANGES][:, s.flag] = seen[:, s.flag]


def _seed(s: _Block, young: Any) -> None:
    """Levels of series of at most three observations: the median of these."""
    first = young & (s.count == 1.0)
    for row in s.recent:
        np.copyto(row, s.x, where=first)
    one, two = s.recent
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), s.x))
    np.copyto(one, two, where=young)
    np.copyto(two, s.x, where=young)
    np.copyto(s.level[:_MEANS], median, where=young)
    np.copyto(s.level[_MEANS:], _ZERO, where=young)
    np.copyto(s.bounds[0], median, where=young)
    np.copyto(s.bounds[1], -median, where=young)
    np.copyto(s.target, s.bounds, where=young)
    for row in range(_VALUE, 4):
        np.copyto(s.channels[row], median if row == _VALUE else _ZERO, where=young)


def _begin(s: _Block, young: Any) -> None:
    """Ranges of series of at most three observations: nothing but this one."""
    np.copyto(s.high, s.channels, where=young)
    np.copyto(s.low, s.channels, where=young)
    np.copyto(s.range, _ZERO, where=young)


def reset(values: Floats, season: Floats, config: Anomaly) -> None:
    """Makes these columns series that were never observed."""
    values[:] = 0.0
    values[SEEN_HIGH], values[SEEN_LOW] = _NONE, _FAR
    values[SILENCE] = 1.0 + config.silence
    season[:] = np.nan
