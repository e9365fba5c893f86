"""The general anomaly score: a series leaves, in several of its aspects at once, what it ever was.

Ten channels of a series are watched. x is the value, m_s an exponentially weighted mean of span s,
r_s the same with steps clipped to three usual deviations, d_s a mean (of span s) of the steps of
r_24 after clipping, p a profile of the day, floor and ceiling the leaky extremes of some 24 values:

    x     x − m_288     m_288     r_24     floor     −ceiling
    m_96 − m_288        r_96 − r_24        x − p     d_48 / (d_48 + d_192)

For a channel c with the range [low, high] of **all its earlier values**, R = high − low:

    excess = max(c − high, low − c, 0)                                      (at most R)
    growth = growth · (1 − 1/window) + excess / R
    calm   = calm + ([excess = 0] − calm) / memory                          (at first 0)
    total  = Σ min(growth · calm, cap)
    limit  = threshold · (1 + rise · alarms)
    score  = total / (total + limit)

Growth adds up what the range gained of late: a slow channel leaves its range in many small steps, a
fast one in a jump, and both count alike. `calm` is the share of late observations in which the channel
set no record: one that trends, or is young, sets them all the time and so silences itself. (The season
counts by the calm of m_288 as well: against the day before, a trend goes up in stairs.) The sum, and
not the largest, because a real change shows in several aspects and a freak in one. `alarms` counts
the series' own alarms, forgotten with `alarm_memory`: the next must say more, and a restless series
finds its own limit. An alarm is a score of 0.5 or more. For `refractory` observations after it the
score is a tenth, and growth stays zero: what has been told is not told again.

Guarantee, mere start: no score in the first `warm_up` observations. Alarms from the 24th on
are counted there, and not told: they raise the limit to what the series does by itself.

Guarantee, bad prints: what levels learn from is clipped to 3·R beyond the range, and a value more
than 3·R beyond it begins an episode, as the start of a series does. The `settle` observations
from there on are left out of a second range; `forget` observations after the last such value
the second takes the place of the first. So `forget` observations after a single bad print of any
size no range remembers it, unless it came again; a print that is less far out widens R to
4·R at most. Ranges begin at the median of the first three observations. (As an alarm the print
raises the limit, as any other.)

Guarantee, units: a·x + b (a > 0) gives equal alarms, up to rounding: every R is measured by the
series itself, and is at least 1 % of the value's own R (0.01 for the ratio).

False alarms: independent observations set records at a rate of 2/t a channel, each by a few percent
of R, which the default threshold (0.028, for few series whose every oddity matters) does not wait
out: normal noise alarms once in 100 observations up to the 500th, in 400 up to the 1,000th, in 1,200
and more from there on; the limit that rises with each is what ends it. With the settings of the
recogniser (threshold and cap 0.3, `warm_up` 300) one series in ten has an alarm by the 1,000th, then
one observation in 15,000 (random walks 7,000; t with 3 degrees of freedom 2,000). In the refractory
time nothing is told, however large.

Numerics: + − × ÷, minimum and maximum, elementwise; the sum over channels in a fixed order.
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
    "value", "from_mean_288", "mean_288", "robust_level", "floor", "ceiling", "shift_96_288", "robust_shift",
    "season", "deviation_ratio",
)  # fmt: skip
"""What each row of channels is about; the explanation of an alarm names what each contributed."""
_K = len(CHANNELS)
_VALUE, _FROM_MEAN, _MEAN, _SEASON, _RATIO = 0, 1, 2, 8, 9
_COPIED, _SHIFTS = slice(2, 6), slice(6, 8)
_SPANS = (96.0, 96.0, 288.0, 24.0, 24.0, 24.0, 192.0, 48.0)
"""Of the levels m_96, r_96, m_288, r_24, floor, −ceiling, d_192 and d_48."""
_LEVELS = len(_SPANS)
EXTREMES, SEEN = slice(0, 2 * _K), slice(2 * _K, 4 * _K)
"""The largest of each channel, then of each with its sign changed: in the first range, in the second."""
GROWTH, CALM = slice(4 * _K, 5 * _K), slice(5 * _K, 6 * _K)
LEVEL = slice(6 * _K, 6 * _K + _LEVELS)
ROBUST_LEVEL = LEVEL.start + 3
_RECENT = slice(LEVEL.stop, LEVEL.stop + 2)
_COUNT, _EPISODE, _QUIET, _LIMIT = range(_RECENT.stop, _RECENT.stop + 4)
ROWS = _LIMIT + 1
SLOTS = 48
"""Of the seasonal profile, at most; a longer period shares them."""
CHUNK = 2048
"""Series that are computed together: their numbers stay in the cache."""
LARGEST = 1e300
"""Values beyond this are no measurements."""
_YOUNG, _UNCLIPPED = 3.0, 24.0
_FAR, _NONE, _NEVER = 8e300, -8e300, 1 << 62
_TURN, _DUST = 4096.0, 1e-150
_SLACK = 0.005
"""The ratio's first range is one half, and as much to either side."""


class Anomaly(Config):
    """Windows are in observations of a series.

    `threshold`: total growth, in ranges, that is an alarm; by the share `rise` more for each alarm
    of late (`alarm_memory`). `window`: over which growth adds up; `cap`: what one channel can add;
    `memory`: of how often channels set records. `settle`, `forget`: see the guarantee on bad prints.
    """

    threshold: Annotated[float, Field(gt=0.0, le=100.0)] = 0.028
    refractory: Annotated[int, Field(ge=0, le=1_000_000)] = 24
    warm_up: Annotated[int, Field(ge=3, le=1_000_000)] = 150
    window: Annotated[int, Field(ge=1, le=1_000_000)] = 24
    memory: Annotated[int, Field(ge=1, le=10_000_000)] = 96
    alarm_memory: Annotated[int, Field(ge=50, le=10_000_000)] = 2000
    rise: Annotated[float, Field(ge=0.0, le=1e3)] = 1.0
    cap: Annotated[float, Field(gt=0.0, le=1e3)] = 0.1
    settle: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    forget: Annotated[int, Field(ge=2, le=10_000_000)] = 1000

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
        self.rise, self.recovery = constant(c.threshold * c.rise), constant(c.threshold / c.alarm_memory)
        self.keep, self.keep_alarms = constant(1.0 - 1.0 / c.window), constant(1.0 - 1.0 / c.alarm_memory)
        self.keep_calm, self.gain_calm = constant(1.0 - 1.0 / c.memory), constant(1.0 / c.memory)
        self.cap, self.refractory, self.warm_up = constant(c.cap), constant(c.refractory), constant(c.warm_up)
        self.settle, self.forget = float(c.settle), float(c.forget)
        self.mature = max(float(c.warm_up), *_SPANS)


_GAINS = 1.0 / np.array(_SPANS)[:, np.newaxis]
_SHARE, _TENTH, _HALF, _ONE, _ZERO, _THREE = map(constant, (0.01, 0.1, 0.5, 1.0, 0.0, 3.0))
_SMALLEST, _SMALL = constant(1e-300), constant(1e-280)


class _Block:
    """Columns of the state side by side, and room to compute in; rows that calls want, cut out once.

    `old`: no series is young; `filled`: the profile has no gaps; `muted`: a series may be in its
    refractory time; `measured`: `range`, `limits` and `floor` are those of the ranges as they stand;
    `idle`: for so many steps no second range begins or takes the place of the first, and nothing is swept.
    """

    def __init__(self, values: Floats, season: Floats, score: Floats | None = None) -> None:
        m = values.shape[1]
        self.values, self.season = values, season
        self.extremes, self.seen, self.growth, self.calm = (
            values[rows] for rows in (EXTREMES, SEEN, GROWTH, CALM)
        )
        self.ends = self.extremes[::_K]
        self.top, self.bottom = self.ends
        self.highest, self.lowest = self.extremes[:_K], self.extremes[_K:]
        self.level, self.recent = values[LEVEL], values[_RECENT]
        self.count, self.episode, self.quiet, self.limit = values[_COUNT : _LIMIT + 1]
        level = self.level
        self.means, self.bounds, self.scales = level[:5], level[4:6], level[6:8]
        self.fast, self.slow, self.copied, self.ceiling = level[0:2], level[2:4], level[2:6], level[5]
        self.channels = np.empty((2 * _K, m))
        self.c, self.negated = self.channels[:_K], self.channels[_K:]
        self.excess, self.span = np.empty((2, _K, m))
        self.spans = self.span[:_RATIO]
        self.work, self.none = np.empty((2 * _K, m)), np.empty((_K, m), np.bool_)
        self.up, self.down = self.work[:_K], self.work[_K:]
        five, self.grown_season, self.calm_mean = self.down[:5], self.up[_SEASON], self.calm[_MEAN]
        self.half, self.other_half, self.five = self.up[:5], self.up[5:], five
        self.pair, self.other_pair = five[:2], five[2:4]
        self.total, self.second, self.fifth = five[0], five[1], five[4]
        self.delta, self.gains = np.empty((2, _LEVELS, m))
        delta = self.delta
        self.to_means, self.to_ceiling, self.to_scales = delta[:5], delta[5], delta[6:8]
        self.robust, self.deviation = delta[1:4:2], delta[3]
        self.mean, self.d_slow, self.d_fast = level[2], level[6], level[7]
        self.value, self.from_mean, self.of_season = (self.c[row] for row in (_VALUE, _FROM_MEAN, _SEASON))
        self.same, self.shifts, self.ratio = self.c[_COPIED], self.c[_SHIFTS], self.c[_RATIO]
        self.both, self.clipped, self.limits, self.steps = np.empty((4, 2, m))
        self.x, self.minus_x = self.both
        self.range, self.reach, self.floor, self.a = np.empty((4, m))
        self.score = np.empty(m) if score is None else score
        self.flag, self.far = np.empty(m, np.bool_), np.empty((2, m), np.bool_)
        self.old = self.seasoned = self.filled = self.fired = self.measured = False
        self.muted, self.idle = True, 0


class AnomalyScore:
    """The scores of n series, over arrays that somebody keeps: `values` (ROWS, n), `season` (slots, n).

    Together they are the whole state: columns may be taken out and put back, dumped and loaded.
    Whoever observed with others over the same arrays says so (`resume`); whoever resets columns or
    replaces the arrays makes a new `AnomalyScore` over them.
    `period`: observations a day or another season of the source's time line; 0: none is known.
    """

    def __init__(self, values: Floats, season: Floats, config: Anomaly, period: int = 0) -> None:
        self.values, self.season, self.config, self.period = values, season, config, period
        self._c = _Numbers(config)
        self._alpha = constant(0.3 * min(1.0, SLOTS / period) if period else 0.0)
        n = values.shape[1]
        # One series is computed twice, side by side: NumPy takes 0.7 µs to change a single number in place,
        # and 0.3 µs for two.
        self._single = n == 1
        if self._single:
            values, season, n = np.repeat(values, 2, axis=1), np.repeat(season, 2, axis=1), 2
        self._twin_values, self._twin_season = values, season
        self._score = np.zeros(n)
        self.fired = False
        """Whether a score of the last observation may be an alarm; False: none is."""
        cuts = [slice(a, min(a + CHUNK, n)) for a in range(0, n, CHUNK)]
        self._chunks = [(cut, _Block(values[:, cut], season[:, cut], self._score[cut])) for cut in cuts]

    @staticmethod
    def fresh(n: int, config: Anomaly, period: int = 0) -> AnomalyScore:
        values, season = np.empty((ROWS, n)), np.empty((min(period, SLOTS), n))
        reset(values, season, config)
        return AnomalyScore(values, season, config, period)

    def resume(self) -> None:
        """Others have observed: nothing is known of these columns but that they are no younger."""
        if self._single:
            self._twin_values[:], self._twin_season[:] = self.values, self.season
        for _, block in self._chunks:
            block.muted, block.measured, block.idle = True, False, 0

    def observe(self, x: Floats, at: int) -> Floats:
        """The scores of `x` (n,), observed at step `at` of the time line; NaN, no value, scores 0.

        The answer is overwritten by the next call.
        """
        slot = at % self.period * len(self.season) // self.period if self.period else -1
        self.fired = False
        for columns, block in self._chunks:
            np.add(x if len(self._chunks) == 1 else x[columns], _ZERO, block.x)  # makes −0 a 0
            np.abs(block.x, block.a)
            np.less(block.a, LARGEST, block.flag)
            present, size = np.count_nonzero(block.flag), len(block.flag)
            if present == size:
                self._step(block, slot)
                self.fired = self.fired or block.fired
            elif 2 * present > size:
                self._all_but(block, slot, np.flatnonzero(~block.flag))
                self.fired = True
            elif present:
                self._only(block, slot, np.flatnonzero(block.flag))
                self.fired = True
            else:
                block.score[:] = 0.0
        if not self._single:
            return self._score
        self.values[:] = self._twin_values[:, :1]
        if slot >= 0:
            self.season[slot] = self._twin_season[slot, 0]
        return self._score[:1]

    def _all_but(self, block: _Block, slot: int, missing: NDArray[np.intp]) -> None:
        values = block.values[:, missing]
        profile = block.season[slot, missing] if slot >= 0 else None
        block.x[missing], old, seasoned = values[_VALUE], block.old, block.seasoned
        self._step(block, slot)
        block.values[:, missing], block.old, block.seasoned = values, old, seasoned
        block.muted, block.idle, block.filled = True, 0, False
        if profile is not None:
            block.season[slot, missing] = profile
        block.score[missing] = 0.0

    def _only(self, block: _Block, slot: int, present: NDArray[np.intp]) -> None:
        part = _Block(block.values[:, present], block.season[:, present])
        part.x[:] = block.x[present]
        self._step(part, slot)
        block.values[:, present], block.muted, block.measured, block.idle = part.values, True, False, 0
        if slot >= 0:
            block.season[slot, present] = part.season[slot]
        block.score[:] = 0.0
        block.score[present] = part.score

    def _step(self, s: _Block, slot: int) -> None:
        c = self._c
        np.add(s.count, _ONE, s.count)
        young: Any = None
        if not s.old:
            s.old = bool(s.count.min() > c.mature)
            s.gains[:] = _GAINS
            young = s.count <= _YOUNG
            young = young if young.any() else None
        unknown = self._watch(s, slot, young)
        if young is not None:
            _begin(s, young)
        self._judge(s, unknown)
        self._learn(s)

    def _watch(self, s: _Block, slot: int, young: Any) -> Any:
        """Brings levels and profile up to date, and the channels with them; says whose slot was empty."""
        delta = s.delta
        if not s.measured:
            np.add(s.top, s.bottom, s.range)
            np.multiply(s.range, _THREE, s.reach)
            np.add(s.ends, s.reach, s.limits)
            np.multiply(s.range, _SHARE, s.floor)
            np.maximum(s.floor, _SMALLEST, out=s.floor)
        np.negative(s.x, s.minus_x)
        np.greater(s.both, s.limits, s.far)
        learnt, w = s.both, s.x
        if np.count_nonzero(s.far):
            learnt = _clip(s, young)
            w = learnt[0]
        s.value[:] = s.x
        np.subtract(s.x, s.mean, s.from_mean)
        np.subtract(w, s.means, s.to_means)
        np.subtract(learnt[1], s.ceiling, s.to_ceiling)
        np.multiply(s.scales, _THREE, s.steps)
        np.add(s.steps, s.floor, s.steps)
        if not s.old:
            np.copyto(s.steps, _FAR, where=s.count <= _UNCLIPPED)
        np.minimum(s.robust, s.steps, out=s.robust)
        np.negative(s.steps, s.steps)
        np.maximum(s.robust, s.steps, out=s.robust)
        np.abs(s.deviation, s.a)
        np.add(s.a, _SMALL, s.a)
        np.subtract(s.a, s.scales, s.to_scales)
        if not s.old:
            np.divide(_ONE, s.count, s.a)
            np.maximum(_GAINS, s.a, out=s.gains)
        np.multiply(delta, s.gains, delta)
        np.add(s.level, delta, s.level)
        np.minimum(learnt, s.bounds, out=s.bounds)
        if young is not None:
            _seed(s, young)
        s.same[:] = s.copied
        np.subtract(s.fast, s.slow, s.shifts)
        np.add(s.d_slow, s.d_fast, s.a)
        np.divide(s.d_fast, s.a, s.ratio)
        unknown = self._compare_season(s, slot, w)
        if young is not None:
            np.copyto(s.value, s.mean, where=young)
            np.copyto(s.from_mean, _ZERO, where=young)
        np.negative(s.c, s.negated)
        return unknown

    def _compare_season(self, s: _Block, slot: int, w: Floats) -> Any:
        channel = s.of_season
        if slot < 0:
            channel[:] = 0.0
            return None
        profile = s.season[slot]
        np.subtract(s.x, profile, channel)
        step = channel if w is s.x else np.subtract(w, profile, s.a)
        np.multiply(step, self._alpha, s.a)
        if s.filled:
            np.add(profile, s.a, profile)
            return None
        unknown = np.isnan(profile)
        np.add(profile, s.a, profile)
        if not unknown.any():
            s.filled = bool(slot == 0 and not np.isnan(s.season).any())
            return None
        np.copyto(channel, _ZERO, where=unknown)
        np.copyto(profile, w, where=unknown & (w == s.x))
        return unknown

    def _judge(self, s: _Block, unknown: Any) -> None:
        """Growth of the ranges, and the score."""
        c, excess, span = self._c, s.excess, s.span
        np.subtract(s.channels, s.extremes, s.work)
        np.maximum(s.up, s.down, out=excess)
        np.less_equal(excess, _ZERO, s.none)
        records = np.count_nonzero(s.none) < s.none.size
        s.measured = s.old and not records
        np.multiply(s.growth, c.keep, s.growth)
        np.multiply(s.calm, c.keep_calm, s.calm)
        if records:
            np.maximum(excess, _ZERO, out=excess)
            np.add(s.highest, s.lowest, span)
            np.maximum(s.spans, s.floor, out=s.spans)
            np.minimum(excess, span, out=excess)
            np.divide(excess, span, excess)
            np.add(s.growth, excess, s.growth)
            np.equal(excess, _ZERO, s.none)
            np.add(s.calm, c.gain_calm, out=s.calm, where=s.none)
        else:
            np.add(s.calm, c.gain_calm, s.calm)
        if unknown is not None:
            np.copyto(s.calm[_SEASON], _ZERO, where=unknown)
        if self.period and not s.seasoned:
            np.copyto(s.growth[_SEASON], _ZERO, where=s.count <= 2 * self.period)
            s.seasoned = bool(s.count.min() > 2 * self.period)
        np.multiply(s.growth, s.calm, s.up)
        np.multiply(s.grown_season, s.calm_mean, s.grown_season)
        np.minimum(s.up, c.cap, out=s.up)
        np.add(s.half, s.other_half, s.five)
        np.add(s.pair, s.other_pair, s.pair)
        total = s.total
        np.add(total, s.second, total)
        np.add(total, s.fifth, total)
        np.multiply(s.limit, c.keep_alarms, s.limit)
        np.add(s.limit, c.recovery, s.limit)
        np.add(s.limit, total, s.a)
        np.divide(total, s.a, s.score)
        if not s.old:
            np.copyto(s.score, _ZERO, where=s.count <= _UNCLIPPED)
        if s.muted:
            np.greater(s.quiet, _ZERO, s.flag)
            np.multiply(s.score, _TENTH, out=s.score, where=s.flag)
            np.copyto(s.growth, _ZERO, where=s.flag)
            np.subtract(s.quiet, _ONE, out=s.quiet, where=s.flag)
            s.muted = bool(np.count_nonzero(s.flag))
        np.greater_equal(s.score, _HALF, s.flag)
        s.fired = bool(np.count_nonzero(s.flag))
        if s.fired:
            np.add(s.limit, c.rise, out=s.limit, where=s.flag)
            np.copyto(s.quiet, c.refractory, where=s.flag)
            s.muted = True
        if not s.old:
            np.copyto(s.score, _ZERO, where=s.count <= c.warm_up)

    def _learn(self, s: _Block) -> None:
        """The ranges take the observation in; those that are due forget."""
        np.maximum(s.extremes, s.channels, out=s.extremes)
        if s.idle:
            s.idle -= 1
            np.maximum(s.seen, s.channels, out=s.seen)
            return
        c = self._c
        age = s.count - s.episode
        np.maximum(s.seen, s.channels, out=s.seen, where=age > c.settle)
        due = age == c.forget
        if due.any():
            np.copyto(s.extremes, s.seen, where=due)
            s.measured = False
        turn = s.count - np.floor(s.count / _TURN) * _TURN
        if not turn.all():
            _sweep(s, turn == 0.0)
        until = np.where(age < c.settle, 0.0, np.where(age < c.forget, c.forget - 1.0 - age, _NEVER))
        s.idle = int(np.minimum(until, _TURN - 1.0 - turn).min())


def _clip(s: _Block, young: Any) -> Floats:
    """What is learnt where a value is far out: no more than the limits. An episode begins."""
    if young is not None:
        np.copyto(s.far, False, where=young)
    far = s.far[0] | s.far[1]
    w, minus_w = s.clipped
    np.negative(s.limits[1], minus_w)
    np.minimum(s.x, s.limits[0], out=w)
    np.maximum(w, minus_w, out=w)
    if young is not None:
        np.copyto(w, s.x, where=young)
    np.negative(w, minus_w)
    np.copyto(s.episode, s.count, where=far)
    if far.any():
        s.idle = 0
    return s.clipped


def _sweep(s: _Block, due: Any) -> None:
    """What has decayed to nothing becomes nothing: many processors are slow with numbers just above it."""
    for rows in (s.growth, s.calm):
        np.copyto(rows, _ZERO, where=due & (rows < _DUST))
    rows = s.level[:6]
    np.copyto(rows, _ZERO, where=due & (s.x == 0.0) & (np.abs(rows) < _DUST))


def _seed(s: _Block, young: Any) -> None:
    """Levels of series of at most three observations: the median of these."""
    first = young & (s.count == 1.0)
    for row in s.recent:
        np.copyto(row, s.x, where=first)
    one, two = s.recent
    median = np.maximum(np.minimum(one, two), np.minimum(np.maximum(one, two), s.x))
    np.copyto(one, two, where=young)
    np.copyto(two, s.x, where=young)
    np.copyto(s.means, median, where=young)
    np.copyto(s.ceiling, -median, where=young)
    np.copyto(s.scales, _SMALL, where=young)


def _begin(s: _Block, young: Any) -> None:
    """Ranges of series of at most three observations: nothing but this one."""
    np.copyto(s.extremes, s.channels, where=young)
    np.add(s.extremes[_RATIO::_K], _SLACK, out=s.extremes[_RATIO::_K], where=young)
    np.copyto(s.range, _ZERO, where=young)
    np.copyto(s.floor, _SMALLEST, where=young)


def contributions(values: Floats, config: Anomaly) -> Floats:
    """What each channel (a row) adds to the total of the last observation, from `values` after it."""
    told = values[GROWTH] * values[CALM]
    told[_SEASON] *= values[CALM][_MEAN]
    return np.minimum(told, config.cap)


def reset(values: Floats, season: Floats, config: Anomaly) -> None:
    """Makes these columns series that were never observed."""
    values[:] = 0.0
    values[SEEN], values[_LIMIT] = _NONE, config.threshold
    values[SEEN.start + _RATIO], values[SEEN.start + _K + _RATIO] = _HALF + _SLACK, _SLACK - _HALF
    season[:] = np.nan
