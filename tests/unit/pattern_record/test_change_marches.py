"""Change points of many series at once: what each would have by itself, whoever stands beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.pattern_record.change_points import ChangePointFamily
from observer_core.pattern_record.config import ChangePointPattern, RecogniserConfig
from observer_core.pattern_record.detectors import screen
from observer_core.pattern_record.detectors.change_point import (
    Change,
    ChangeConfig,
    ChangePoints,
    Lane,
    March,
)
from observer_core.pattern_record.detectors.screen import may_shift
from observer_core.pattern_record.detectors.shifts import Limits, Look, ShiftTest
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.clock import SECOND
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry

PLAIN = ChangeConfig(shape=None)
STEP = 60 * SECOND
LIMITS = Limits(20.0, 30.0, 1.0, 1)


def signals(rows: int, width: int, seed: int = 1) -> np.ndarray:
    """A column a series: noise, steps, slopes, scales, walks, counts, constants, huge and tiny numbers."""
    random = np.random.default_rng(seed)
    time = np.arange(rows)[:, np.newaxis]
    values = random.normal(size=(rows, width))
    onset = random.integers(rows // 4, rows - 40, width)
    kind = np.arange(width) % 12
    late = time >= onset
    values[:, kind == 1] += 4.0 * late[:, kind == 1]
    values[:, kind == 2] += (0.1 * np.maximum(time - onset, 0))[:, kind == 2]
    values *= np.where((kind == 3) & late, 4.0, 1.0)
    values[:, kind == 4] = np.cumsum(values[:, kind == 4], axis=0)
    values[:, kind == 5] = np.round(values[:, kind == 5])
    values[:, kind == 6] = 7.25
    values[:, kind == 7] = values[:, kind == 7] * 1e280 + 1e283 * late[:, kind == 7]
    values[:, kind == 8] *= 1e-300
    values[:, kind == 9] = values[:, kind == 9] * 1e-7 + 1e6
    values[:, kind == 10] += 0.5 * time
    values[rows // 2, kind == 11] = 1e9
    return values


def alone(values: np.ndarray) -> tuple[list[Change], bytes]:
    points = ChangePoints(PLAIN)
    return [change for value in values.tolist() for change in points.observe(value)], points.dump()


@pytest.mark.parametrize("width", [1, 3, 24, 131])
def test_a_series_has_the_changes_and_the_state_that_it_has_alone(width: int) -> None:
    values = signals(700, width)
    march = March(PLAIN, [Lane(None) for _ in range(width)])
    found: list[list[Change]] = [[] for _ in range(width)]
    for row in values:
        for column, change in march.observe(row):
            found[column].append(change)
    states = march.dump()
    for column in range(0, width, max(1, width // 24)):
        assert (found[column], states[column]) == alone(values[:, column])
    assert sum(map(len, found)) > 0 or width < 12


def test_series_that_leave_and_join_go_on_as_they_are() -> None:
    values = signals(600, 24, seed=2)
    march = March(PLAIN, [Lane(None) for _ in range(24)])
    found: list[list[Change]] = [[] for _ in range(24)]
    groups = [(march, list(range(24)))]
    for n, row in enumerate(values):
        if n in (1, 35, 222, 430):
            old, columns = groups.pop(0)
            places = list(range(1, len(columns), 3))
            gone = [columns[place] for place in places]
            groups += [(old.leave(places), gone), (old, [c for c in columns if c not in gone])]
        if n == 500:
            marches = [March.load(blob, PLAIN) for one, _ in groups for blob in one.dump()]
            groups = [(March.joined(marches), [column for _, columns in groups for column in columns])]
        for one, columns in groups:
            for place, change in one.observe(row[columns]):
                found[columns[place]].append(change)
    (last, columns) = groups[0]
    for place, blob in enumerate(last.dump()):
        assert (found[columns[place]], blob) == alone(values[:, columns[place]])


@pytest.mark.parametrize("rows", [15, 40, 64, 200, 500, 2000])
def test_the_screen_lets_every_shift_through(rows: int) -> None:
    for seed in range(6):
        values = signals(rows + 160, 60, seed)[:rows]
        roots = np.sqrt(np.abs(np.diff(values, 2, axis=0)) / 4.0)
        for data in (values, roots, values * 1e-17, values * 1e-21):
            _check(data)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e290, 1e290), min_size=13, max_size=90),
    st.integers(0, 2**32 - 1),
    st.floats(-3.0, 3.0),
)
def test_the_screen_lets_through_whatever_numbers_can_be(base: list[float], seed: int, size: float) -> None:
    random = np.random.default_rng(seed)
    values = np.array(base)[:, np.newaxis] + random.normal(size=(len(base), 5)) * 10.0**size
    _check(np.clip(values, -1e290, 1e290))


def _check(values: np.ndarray) -> None:
    """Alone, and beside segments that have fewer means or more."""
    width = values.shape[1]
    for trends in (True, False):
        looks = []
        for rows in {len(values), max(13, len(values) // 2), max(13, len(values) - 3)}:
            test = ShiftTest(trends, width, 0)
            test.observe(values[-rows:])
            looks.append(Look(test, range(width), [LIMITS] * width))
        trend = LIMITS.trend if trends else None
        with np.errstate(all="ignore"):
            together = may_shift([look.segments() for look in looks], LIMITS.level, trend)
            each = [may_shift([look.segments()], LIMITS.level, trend) for look in looks]
            for look, may, among in zip(looks, each, together.reshape(len(looks), width), strict=True):
                for column in range(width):
                    if not (may[column] and among[column]):
                        assert look.test.best(column, LIMITS) is None


def test_the_screen_is_one() -> None:
    values = np.random.default_rng(3).normal(size=(3000, 200))
    test, later = ShiftTest(True, 200, 0), ShiftTest(True, 200, 0)
    test.observe(values)
    later.observe(values[1200:])
    segments = [Look(one, range(200), [LIMITS] * 200).segments() for one in (test, later)]
    assert np.count_nonzero(may_shift(segments, 23.6, 33.6)) < 40
    limits = np.full(400, 23.6)
    limits[[7, 290]] = 0.0
    may = may_shift(segments, limits, limits + 10.0)
    assert may[[7, 290]].all()
    assert screen._AT_ONCE < 200


@pytest.mark.parametrize("trends", [True, False])
def test_the_next_look_is_the_next_point_that_is_due(trends: bool) -> None:
    test = ShiftTest(trends, 3, 0)
    for count in range(1, 1300):
        for points, held in ((count, [0, 0, 0]), (count + 7, [0, 2, 0])):
            test.held, test.count = held, count
            wait = next(more for more in range(1, 40) if test.due(points + more, more))
            assert test.wait(points, 0) == wait
            test.count = 0
            assert test.wait(points, count) == wait


@pytest.mark.parametrize("trends", [True, False])
def test_a_series_with_a_shift_is_looked_at_again_sooner_and_by_itself(trends: bool) -> None:
    test = ShiftTest(trends, 3, 0)
    for test.count in (130, 300, 500, 1100, 5000):
        test.held = [0, 0, 0]
        rare = test.wait(0, 0)
        test.held = [0, 1, 0]
        soon = test.wait(0, 0)
        assert list(test.due(rare, rare)) == [0, 1, 2]
        if trends or test.count > 130:
            assert soon == min(16, rare // 2)
            assert list(test.due(soon, soon)) == [1]


class Run:
    def __init__(self, config: RecogniserConfig) -> None:
        self.recogniser = Recogniser("host", config)
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []

    def give(self, n: int, values: dict[str, float]) -> None:
        snapshot = Snapshot(
            source="host", event_ns=n * STEP, ingest_ns=n * STEP, subjects=tuple(values),
            fields={"load": np.array(list(values.values()))},
        )  # fmt: skip
        self.records += self.recogniser.transition(self.state, Entry("snapshots.host", n + 1, snapshot))

    def carry(self) -> None:
        self.state = self.recogniser.load(self.recogniser.dump(self.state))

    def of(self, subject: str) -> list[tuple[object, ...]]:
        return [
            (record.time_ns, record.pattern, record.score, record.evidence)
            for record in self.records
            if record.series[0][1] == subject
        ]


def test_series_that_appear_late_miss_some_and_vanish_are_as_by_themselves() -> None:
    config = RecogniserConfig(change_points=ChangePointPattern(most=100))
    width, rows = 40, 500
    values = signals(rows, width, seed=5)
    values = np.where(np.abs(values) < 1e280, values, np.nan)
    random = np.random.default_rng(7)
    begins, misses = random.integers(0, 120, width), np.arange(width) % 4 == 3
    for column in np.flatnonzero(misses).tolist():
        values[random.integers(0, rows, 9), column] = np.nan
    together = Run(config)
    for n in range(1, rows):
        given = {f"s{c:02}": float(values[n, c]) for c in range(width) if n >= begins[c] or n % 97 == 0}
        together.give(n, given)
        if n in (60, 61, 300):
            together.carry()
    changes = 0
    for column in range(width):
        points = ChangePoints(PLAIN)
        expected = []
        for n in range(1, rows):
            value = float(values[n, column])
            if (n >= begins[column] or n % 97 == 0) and not math.isnan(value):
                expected += [(n * STEP, c.kind, c.statistic) for c in points.observe(value)]
        found = [
            (time, evidence["kind"], evidence["statistic"])  # type: ignore[index]
            for time, pattern, _, evidence in together.of(f"s{column:02}")
            if pattern == "change_point"
        ]
        assert found == expected
        changes += len(found)
    assert changes > 5
    family = ChangePointFamily(ChangePointPattern(most=100))
    blob = family.dump(together.state.families["change_points"])
    assert family.dump(family.load(blob)) == blob


def test_whatever_is_found_of_a_series_alone_is_found_of_it_among_others() -> None:
    """A single series is worked in another way (`Observation`): to the same bits."""
    values = signals(600, 12, seed=9)
    values[300:306, 0] = 40.0
    together = Run(RecogniserConfig())
    for n in range(1, 600):
        together.give(n, {f"s{c:02}": float(values[n, c]) for c in range(12)})
    patterns = set()
    for column in range(12):
        single = Run(RecogniserConfig())
        for n in range(1, 600):
            single.give(n, {f"s{column:02}": float(values[n, column])})
        assert single.of(f"s{column:02}") == together.of(f"s{column:02}")
        patterns |= {pattern for _, pattern, _, _ in single.of(f"s{column:02}")}
    assert {"spike", "level_shift", "variance_shift"} <= patterns
