"""Lines keep their ends, their extremes and their gaps; LTTB is the one of the thesis; candles add up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.runtime.reading.downsample import (
    LENGTHS,
    candle_length,
    candles,
    line,
    lttb,
    milliseconds,
    min_max_lttb,
    silence_ns,
)
from observer_core.shared.clock import SECOND, parse_time

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
START = parse_time("2024-01-01T00:00:00Z")
NEVER = int(np.iinfo(np.int64).max)
_values = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e308])


def minutes(count: int) -> np.ndarray:
    return START + np.arange(count, dtype=np.int64) * MINUTE


def obvious_lttb(x: list[float], y: list[float], points: int) -> list[int]:
    """As in the thesis: a bucket after the other, every triangle."""
    count = len(x)
    size = (count - 2) / (points - 2)
    bounds = [1 + (i * (count - 2)) // (points - 2) for i in range(points - 1)]
    assert abs(bounds[1] - bounds[0] - size) < 1
    kept = [0]
    for i in range(points - 2):
        following = range(bounds[i + 1], bounds[i + 2]) if i + 2 < len(bounds) else [count - 1]
        mean_x = sum(x[k] for k in following) / len(following)
        mean_y = sum(y[k] for k in following) / len(following)
        a = kept[-1]
        areas = {
            k: abs((x[a] - mean_x) * (y[k] - y[a]) - (x[a] - x[k]) * (mean_y - y[a])) / 2
            for k in range(bounds[i], bounds[i + 1])
        }
        kept.append(max(areas, key=lambda k: areas[k]))
    return [*kept, count - 1]


@pytest.mark.parametrize(("count", "points"), [(50, 10), (1000, 100), (997, 61), (12, 11), (5, 3)])
def test_lttb_is_the_one_of_the_thesis(count: int, points: int) -> None:
    rng = np.random.default_rng(count)
    x = np.cumsum(rng.integers(1, 5, count)).astype(float)
    y = np.cumsum(rng.normal(0, 1, count))
    assert lttb(x, y, points).tolist() == obvious_lttb(x.tolist(), y.tolist(), points)


def test_a_spike_of_one_print_is_kept() -> None:
    values = np.sin(np.arange(100_000) / 5000)
    values[[31_337, 77_777]] = 40.0, -40.0
    found = line(minutes(100_000), values, NEVER, 500)
    assert {40.0, -40.0} <= set(found.value.tolist())
    assert len(found.value) <= 500


def test_many_spikes_are_all_seen_when_they_are_far_enough_apart() -> None:
    values = np.zeros(40_000)
    spikes = np.arange(50) * 800 + 13
    values[spikes] = np.linspace(1, 2, 50)
    found = line(minutes(40_000), values, NEVER, 1000)
    assert set(values[spikes].tolist()) <= set(found.value.tolist())


@given(st.lists(_values, min_size=1, max_size=200), st.integers(10, 60))
def test_a_line_keeps_its_ends_and_extremes_within_the_points(values: list[float], points: int) -> None:
    column = np.array(values)
    times = minutes(len(values))
    found = line(times, column, NEVER, points)
    assert len(found.value) <= points
    assert (found.time_ms[0], found.value[0]) == (times[0] / 1e6, values[0])
    assert found.time_ms[-1] == times[-1] / 1e6 or values[-1] in found.value
    assert (found.value.min(), found.value.max()) == (column.min(), column.max())
    assert (np.diff(found.time_ms) >= 0).all()
    at = dict(zip(milliseconds(times).tolist(), values))
    assert all(at[t] == v for t, v in zip(found.time_ms.tolist(), found.value.tolist()))


@given(
    st.lists(st.floats(-10, 10) | st.just(math.nan), min_size=1, max_size=120),
    st.lists(st.integers(0, 3) | st.just(100), min_size=120, max_size=120),
    st.integers(10, 60),
)
def test_a_line_never_bridges_a_gap(values: list[float], steps: list[int], points: int) -> None:
    column = np.array(values)
    times = START + np.cumsum(np.array(steps[: len(values)], np.int64)) * MINUTE
    found = line(times, column, 50 * MINUTE, points)
    assert len(found.value) <= points
    seen = np.flatnonzero(~np.isnan(column))
    if not len(seen):
        assert not len(found.value)
        return
    time_ms, shown = found.time_ms.tolist(), found.value.tolist()
    assert not math.isnan(shown[0])
    assert not math.isnan(shown[-1])
    places = {}
    for place in seen.tolist():
        places.setdefault((int(times[place]) / 1_000_000, column[place]), []).append(place)
    for before, after in zip(range(len(shown)), range(1, len(shown))):
        if math.isnan(shown[before]) or math.isnan(shown[after]):
            assert not (math.isnan(shown[before]) and math.isnan(shown[after]))
            continue
        left = max(places[time_ms[before], shown[before]])
        right = min(places[time_ms[after], shown[after]])
        if left < right and len({times[p] for p in range(left, right + 1)}) == right - left + 1:
            assert not np.isnan(column[left : right + 1]).any()
            assert (np.diff(times[left : right + 1]) <= 50 * MINUTE).all()


def test_an_outage_is_a_null_between_its_ends() -> None:
    times = np.delete(minutes(500), np.arange(200, 230))
    found = line(times, np.arange(470.0), silence_ns(times), 100)
    nulls = np.flatnonzero(np.isnan(found.value))
    assert len(nulls) == 1
    assert times[199] / 1e6 < found.time_ms[nulls[0]] < times[200] / 1e6


def test_what_was_seen_alone_is_shown_alone() -> None:
    values = np.full(30, np.nan)
    values[[3, 10, 20]] = 1.0, 2.0, 3.0
    found = line(minutes(30), values, NEVER, 10)
    assert found.value[::2].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(found.value[1::2]).all()


def test_more_gaps_than_points_leave_the_extremes_and_the_ends() -> None:
    values = np.where(np.arange(40_000) % 2 == 0, 1.0, np.nan)
    values[20_002], values[30_004] = 9.0, -9.0
    found = line(minutes(40_000), values, NEVER, 200)
    assert len(found.value) <= 200
    assert {9.0, -9.0} <= set(found.value.tolist())
    assert found.time_ms[0] == START / 1e6
    assert found.time_ms[-1] == (START + 39_998 * MINUTE) / 1e6


def test_a_report_that_came_twice_is_one_point() -> None:
    times = np.repeat(minutes(3), 2)
    found = line(times, np.array([1.0, 1.0, 2.0, 3.0, 4.0, 4.0]), NEVER, 100)
    assert found.value.tolist() == [1.0, 2.0, 3.0, 4.0]


def test_few_points_stay_as_they_are() -> None:
    found = line(minutes(9), np.arange(9.0), NEVER, 10)
    assert found.value.tolist() == list(range(9))
    assert min_max_lttb(np.arange(3.0), np.arange(3.0), 4).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("apart", "limit"),
    [
        ([60] * 99, 180),
        ([60] * 98 + [7200], 180),
        ([86_400] * 4 + [3 * 86_400], 9 * 86_400),
    ],
    ids=["on the clock", "with one outage", "days without weekends"],
)
def test_silence_is_three_times_what_is_usual(apart: list[int], limit: int) -> None:
    times = START + np.concatenate([[0], np.cumsum(apart * 10)]) * SECOND
    assert silence_ns(times.astype(np.int64)) == limit * SECOND


def test_one_moment_alone_has_no_silence() -> None:
    assert silence_ns(minutes(1)) == NEVER
    assert silence_ns(np.repeat(minutes(1), 5)) == NEVER


# ---------------------------------------------------------------------- candles


def test_candles_are_first_highest_lowest_last_and_the_sum() -> None:
    times = START + np.array([0, 20, 40, 60, 80, 200], np.int64) * SECOND
    price = np.array([5.0, 9.0, 4.0, 7.0, 8.0, 6.0])
    found = candles(times, (price, price + 1, price - 1, price), np.arange(6.0), 5)
    assert found is not None
    assert found.length_ns == MINUTE
    nan = math.nan
    np.testing.assert_array_equal(found.time_ms, (START + np.arange(4) * MINUTE) / 1e6)
    np.testing.assert_array_equal(found.open, [5.0, 7.0, nan, 6.0])
    np.testing.assert_array_equal(found.high, [10.0, 9.0, nan, 7.0])
    np.testing.assert_array_equal(found.low, [3.0, 6.0, nan, 5.0])
    np.testing.assert_array_equal(found.close, [4.0, 8.0, nan, 6.0])
    np.testing.assert_array_equal(found.volume, [3.0, 7.0, nan, 5.0])


def test_a_candle_needs_all_four_prices_and_none_is_made_of_nothing() -> None:
    nan = np.array([math.nan])
    assert candles(minutes(1), (nan, nan, nan, nan), None, 10) is None
    price = np.array([1.0, math.nan])
    found = candles(minutes(2), (np.array([1.0, 2.0]), price, price, price), None, 10)
    assert found is not None
    assert found.close.tolist() == [1.0]
    assert np.isnan(found.volume).all()


@given(st.integers(0, 400 * DAY), st.integers(2, 3000), st.integers(10, 5000), st.integers(1, DAY))
def test_candles_are_never_more_than_asked_for(first: int, count: int, points: int, apart: int) -> None:
    times = START + first + np.arange(count, dtype=np.int64) * apart
    price = np.arange(float(count))
    found = candles(times, (price, price, price, price), None, points)
    assert found is not None
    assert len(found.close) <= points
    assert found.length_ns >= min(apart, LENGTHS[-1])
    np.testing.assert_allclose(np.diff(found.time_ms), found.length_ns / 1e6, atol=1e-3)
    assert (found.open[0], found.close[-1]) == (0.0, count - 1.0)


@pytest.mark.parametrize(
    ("span", "apart", "points", "length"),
    [(30 * DAY, MINUTE, 1000, HOUR), (10 * MINUTE, MINUTE, 1000, MINUTE), (5 * SECOND, 0, 10, SECOND)],
)
def test_candles_have_the_shortest_round_length(span: int, apart: int, points: int, length: int) -> None:
    assert candle_length(START, START + span, apart, points) == length


def test_days_begin_at_midnight_and_weeks_on_monday() -> None:
    times = parse_time("2024-01-03T12:00:00Z") + np.arange(40, dtype=np.int64) * DAY
    price = np.ones(40)
    daily, weekly = (candles(times, (price, price, price, price), None, points) for points in (100, 10))
    assert daily is not None
    assert weekly is not None
    assert daily.time_ms[0] == parse_time("2024-01-03T00:00:00Z") / 1e6
    assert weekly.time_ms[0] == parse_time("2024-01-01T00:00:00Z") / 1e6
    assert weekly.length_ns == 7 * DAY
