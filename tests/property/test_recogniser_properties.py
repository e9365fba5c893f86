"""The recogniser against a slow, obvious one, and what must hold for any input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from observer_core.pattern_record import window as rows
from observer_core.pattern_record.config import Baseline, Flat, LevelShift, Limits, RecogniserConfig, Stale
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.records import Snapshot
from observer_core.shared.stage import Entry

SECOND = 1_000_000_000
SMALL = RecogniserConfig(
    baseline=Baseline(span=4, slow_span=8, warm_up=5),
    limits=Limits(refractory=4, sustained=9),
    stale=Stale(min_arrivals=4),
    level_shift=LevelShift(threshold=6.0),
    flat=Flat(runs=5.0),
    market=Market(prices=()),
)


@dataclass
class Scalar:
    """One series, one number at a time, as the detectors' docstrings say."""

    config: RecogniserConfig
    is_return: bool
    previous: float = math.nan
    level: float = 0.0
    scale: float = 1e-300
    slow: float = 1e-300
    count: int = 0
    rate: float = 0.0
    expected: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])
    steps: list[int] = field(default_factory=lambda: [0, 0])
    onsets: list[int] = field(default_factory=lambda: [0, 0])
    calm: list[int] = field(default_factory=lambda: [0, 0])
    limit: list[float] = field(default_factory=lambda: [math.inf] * 6)
    raised: list[int] = field(default_factory=lambda: [0] * 6)
    release: list[int | None] = field(default_factory=lambda: [None] * 6)

    def thresholds(self) -> list[float]:
        c = self.config
        return (
            [c.spike.threshold] + [c.level_shift.threshold] * 2 + [c.variance_shift.ratio] * 2 + [c.flat.runs]
        )

    def ladder(self, row: int) -> float:
        factor = 1.0
        for _ in range(self.raised[row]):
            factor = min(factor * self.config.limits.rise, 1e9)
        return self.thresholds()[row] * factor

    def lower(self, tick: int) -> None:
        for row in range(6):
            due = self.release[row]
            if due is not None and due <= tick:
                if self.limit[row] != math.inf:
                    self.raised[row] -= 1
                self.limit[row] = self.ladder(row)
                self.release[row] = tick + self.config.limits.sustained if self.raised[row] else None

    def observe(self, x: float | None, now: int, tick: int) -> list[int]:
        """The statistics that alarm."""
        self.lower(tick)
        if x is None:
            return []
        u = x
        if self.is_return:
            if math.isnan(self.previous) or self.previous == 0.0:
                self.previous = x
                return []
            u = x / abs(self.previous)
        if not abs(u) < 1e300:
            self.previous = x
            return []
        base, shift = self.config.baseline, self.config.level_shift
        mature = max(base.warm_up + 1, base.slow_span)
        if self.count == 0:
            self.level = u
        self.count = min(self.count + 1, mature)
        if self.count == base.warm_up:
            self.limit = self.thresholds()
        gain, slow_gain = max(1 / self.count, 1 / base.span), max(1 / self.count, 1 / base.slow_span)

        changed = x != self.previous
        self.rate += ((1.0 if changed else 0.0) - self.rate) * slow_gain
        self.expected = 0.0 if changed else self.expected + self.rate
        self.previous = x

        residual = u - self.level
        distance = abs(residual)
        z = distance / self.scale
        used = distance if self.count <= base.warm_up else min(distance, self.scale * base.clip)
        self.level += math.copysign(used, residual) * gain
        self.scale += (used * 1.2533141373155001 - self.scale) * gain
        self.slow += (used * 1.2533141373155001 - self.slow) * slow_gain
        floor = abs(self.level) * base.floor + 1e-300
        self.scale, self.slow = max(self.scale, floor), max(self.slow, floor)

        signed = math.copysign(min(z, shift.clip), residual)
        for side, value in enumerate((signed, -signed)):
            if self.sums[side] == 0.0:
                self.onsets[side], self.steps[side] = now, 0
            self.steps[side] += 1
            self.sums[side] = max(0.0, self.sums[side] + (value - shift.drift))
        statistics = [z, *self.sums, self.scale / self.slow, self.slow / self.scale, self.expected]
        self.calm = [
            now if ratio < 1.25 else last for ratio, last in zip(statistics[3:5], self.calm, strict=True)
        ]
        alarms = [row for row in range(6) if statistics[row] > self.limit[row]]
        for row in alarms:
            self.limit[row] = math.inf
            self.raised[row] += 1
            self.release[row] = tick + self.config.limits.refractory
        for row in alarms:
            if row in (1, 2):
                excess = self.sums[row - 1] / self.steps[row - 1] + shift.drift
                self.level = (
                    u if z > shift.clip else self.level + (excess if row == 1 else -excess) * self.scale
                )
                self.sums, self.steps = [0.0, 0.0], [0, 0]
            if row in (3, 4):
                self.slow = self.scale
            if row == 5:
                self.expected = -1e300
        return alarms


@dataclass
class Silence:
    """One series' arrivals, and whether it is stale."""

    last: float = 0.0
    longest: float = 0.0
    arrivals: int = 0
    stale: bool = False


class SlowFeed:
    """Observed time and silence, recomputed at every snapshot."""

    def __init__(self, config: RecogniserConfig, series: int) -> None:
        self.config, self.series = config.stale, [Silence() for _ in range(series)]
        self.clock = self.cadence = self.floor = 0.0
        self.intervals = self.tick = 0
        self.last: int | None = None

    def snapshot(self, now: int, arrived: list[bool]) -> tuple[list[int], list[int]]:
        """(went stale, resumed)."""
        step = float(0 if self.last is None else max(0, now - self.last))
        if step:
            if self.intervals >= 8:
                step = min(step, self.config.floor * max(1, round(self.cadence)))
            self.intervals = min(self.intervals + 1, 16)
            self.cadence += (step - self.cadence) / self.intervals
            self.clock += step
        self.last = max(now, self.last or now)
        self.tick += 1
        if self.tick < 16 or self.tick % 16 == 0:
            self.floor = self.config.floor * self.cadence
        stale, resumed = [], []
        for at, s in enumerate(self.series):
            allowed = max(s.longest * self.config.multiple, self.floor)
            if arrived[at]:
                gap = self.clock - s.last if s.arrivals else 0.0
                s.longest = max(s.longest * (1023.0 / 1024.0), gap)
                s.last, s.arrivals = self.clock, s.arrivals + 1
                if s.stale:
                    s.stale, s.longest = False, min(s.longest, allowed)
                    resumed.append(at)
            elif not s.stale and s.arrivals >= self.config.min_arrivals and self.clock - s.last > allowed:
                s.stale = True
                stale.append(at)
        return stale, resumed


def snapshot(now: int, columns: dict[str, list[float | None]], **more: object) -> Snapshot:
    n = len(next(iter(columns.values())))
    return Snapshot(
        source="x", event_ns=now, ingest_ns=now, subjects=tuple(f"s{i}" for i in range(n)),
        fields={k: np.array([math.nan if v is None else v for v in c]) for k, c in columns.items()}, **more,
    )  # fmt: skip


levels = st.sampled_from([None, 0.0, -0.0, 1.0, 1.0, 1.0, 1.00001, 1.5, 2.0, 2.5, 3.0, 10.0, 1e4, -5.0])
wild = st.one_of(
    levels, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e308, -1e308, 1e300, 5e-324])
)
PATTERNS = [("spike", None), ("level_shift", "up"), ("level_shift", "down"), ("variance_shift", "up"),
            ("variance_shift", "down"), ("feed_flat", None)]  # fmt: skip


@st.composite
def streams(
    draw: st.DrawFn, values: st.SearchStrategy[float | None]
) -> list[tuple[int, list[list[float | None]]]]:
    """Snapshots: seconds since the one before, and two fields of three subjects."""
    cell = draw(st.sampled_from([values, st.one_of(st.floats(0.9, 1.1), st.none()), st.floats(0.9, 1.1)]))
    gaps = st.sampled_from([1, 1, 1, 1, 2, 0, 30])
    some = st.lists(st.tuples(gaps, st.lists(st.lists(cell, min_size=3, max_size=3), min_size=2, max_size=2)),
                    min_size=20, max_size=60)  # fmt: skip
    stream = draw(some)
    quiet = draw(st.integers(0, 15))
    return stream + [(1, [[None, 1.0, 2.0], [1.0, None, 3.0]])] * quiet + stream[:5]


@settings(max_examples=40, deadline=None)
@given(streams(wild))
def test_every_statistic_and_alarm_equals_the_slow_obvious_one(stream):
    recogniser = Recogniser("x", SMALL)
    state = recogniser.initial()
    scalars = [Scalar(SMALL, is_return) for is_return in (True, False) for _ in range(3)]
    feed, now = SlowFeed(SMALL, 6), 0
    for tick, (gap, (price, volume)) in enumerate(stream, start=1):
        now += gap * SECOND
        records = recogniser.transition(
            state, Entry("j", tick, snapshot(now, {"price": price, "volume": volume}))
        )
        cells = price + volume
        expected = set()
        for at, (scalar, x) in enumerate(zip(scalars, cells, strict=True)):
            for row in scalar.observe(x, now, tick):
                expected.add((PATTERNS[row], at))
        stale, resumed = feed.snapshot(now, [x is not None for x in cells])
        expected |= {(("feed_stale", None), at) for at in stale}
        expected |= {(("feed_resumed", None), at) for at in resumed}
        found = set()
        for record in records:
            direction = (
                None
                if record.pattern in ("spike", "feed_flat", "feed_stale", "feed_resumed")
                else record.direction
            )
            for _, subject, name in record.series:
                found.add(((record.pattern, direction), int(subject[1:]) + 3 * (name == "volume")))
        assert found == expected
        for at, s in enumerate(scalars):
            column = state.values[:, at]
            numbers = [s.level, s.scale, s.slow, s.count, s.rate, *s.steps]
            assert column[rows.LEVEL : rows.ONSETS].tolist() == numbers
            if s.count:
                origin = state.origin_ns or 0
                assert (column[rows.CALM : rows.STATISTIC] + origin).tolist() == s.calm
                assert column[[rows.STATISTIC + 1, rows.STATISTIC + 2, rows.STATISTIC + 5]].tolist() == [
                    *s.sums,
                    s.expected,
                ]
            assert column[rows.LIMIT :].tolist() == s.limit
            assert state.times[:2, at].tolist() == [feed.series[at].last, feed.series[at].longest]


@settings(max_examples=40, deadline=None)
@given(streams(wild))
def test_scores_and_evidence_are_finite_and_encodable_for_any_numbers(stream):
    recogniser = Recogniser("x", SMALL)
    state, now = recogniser.initial(), 0
    for tick, (gap, (price, volume)) in enumerate(stream, start=1):
        now += gap * SECOND
        for record in recogniser.transition(
            state, Entry("j", tick, snapshot(now, {"price": price, "v": volume}))
        ):
            assert 0.0 <= record.score <= 1.0
            record.encode(1)
    assert np.isfinite(state.values[rows.LEVEL : rows.STATISTIC]).all()
    assert (state.values[[rows.SCALE, rows.SLOW_SCALE]] > 0.0).all()


@settings(max_examples=20, deadline=None)
@given(streams(levels), st.data())
def test_a_state_dumped_and_loaded_in_mid_stream_goes_on_undisturbed(stream, data):
    at = data.draw(st.integers(0, len(stream)))
    recogniser = Recogniser("x", SMALL)
    straight, resumed = recogniser.initial(), recogniser.initial()
    now = 0
    for tick, (gap, (price, volume)) in enumerate(stream, start=1):
        now += gap * SECOND
        if tick == at:
            blob = recogniser.dump(resumed)
            resumed = recogniser.load(blob)
            assert recogniser.dump(resumed) == blob
        entry = Entry("j", tick, snapshot(now, {"price": price, "v": volume}))
        assert recogniser.transition(straight, entry) == recogniser.transition(resumed, entry)
        assert recogniser.views(straight) == recogniser.views(resumed)
        assert recogniser.views_version(straight) == recogniser.views_version(resumed)
    assert recogniser.dump(straight) == recogniser.dump(resumed)


@settings(max_examples=20, deadline=None)
@given(streams(levels), st.integers(0, 5))
@example([(1, [[1.0, 1.0, 1.0], [2.0, 2.0, None]])] * 3, 2)
def test_views_version_grows_exactly_when_views_change(stream, unavailable_every):
    recogniser = Recogniser("x", SMALL)
    state, now = recogniser.initial(), 0
    views, version = recogniser.views(state), recogniser.views_version(state)
    for tick, (gap, (price, volume)) in enumerate(stream, start=1):
        now += gap * SECOND
        if unavailable_every and tick % (3 * unavailable_every) == 0:
            error = f"timeout {tick % 2}"
            taken = Snapshot(
                source="x",
                event_ns=now,
                ingest_ns=now,
                subjects=(),
                fields={},
                status="unavailable",
                error=error,
            )
        else:
            taken = snapshot(now, {"price": price, "v": volume})
        recogniser.transition(state, Entry("j", tick, taken))
        after = recogniser.views(state)
        assert (recogniser.views_version(state) > version) == (after != views)
        views, version = after, recogniser.views_version(state)


@settings(max_examples=20, deadline=None)
@given(streams(levels))
def test_what_a_series_shows_does_not_depend_on_its_neighbours(stream):
    """Dense, nearly dense and sparse snapshots go different ways to the same numbers."""
    recogniser = Recogniser("x", SMALL)
    together, alone, now = recogniser.initial(), recogniser.initial(), 0
    for tick, (gap, (price, volume)) in enumerate(stream, start=1):
        now += gap * SECOND
        recogniser.transition(together, Entry("j", tick, snapshot(now, {"price": price, "v": volume})))
        recogniser.transition(alone, Entry("j", tick, snapshot(now, {"price": price[:1]})))
    assert together.values[:, 0].tobytes() == alone.values[:, 0].tobytes()
    assert together.times[:, 0].tobytes() == alone.times[:, 0].tobytes()
