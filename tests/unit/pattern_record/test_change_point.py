"""Change points: found with their onset, from the past alone, and not where there are none."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.pattern_record.detectors import shifts
from observer_core.pattern_record.detectors.change_point import Change, ChangeConfig, ChangePoints
from observer_core.pattern_record.detectors.segments import ShapeConfig, learn_period
from observer_core.shared.errors import RecordError

NO_SHAPES = ChangeConfig(shape=None)


def changes(values: np.ndarray, config: ChangeConfig | None = None) -> list[Change]:
    points = ChangePoints(config)
    return [change for value in values.tolist() for change in points.observe(value)]


def noise(n: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def beats(first: int, second: int, seed: int = 3) -> np.ndarray:
    """So many periods of 25 of one shape, then of another of the same mean and deviation."""
    phase = np.arange(25) / 25
    hump = np.exp(-((phase - 0.5) ** 2) / 0.01)
    saw = (phase * 2) % 1.0
    shapes = [(shape - shape.mean()) / shape.std() for shape in (hump, saw)]
    signal = np.concatenate((np.tile(shapes[0], first), np.tile(shapes[1], second)))
    return signal + 0.1 * noise(len(signal), seed)


SHIFTED = {
    "level": noise(400) + 3.0 * (np.arange(400) >= 250),
    "trend": noise(400) + 0.3 * np.maximum(np.arange(400) - 250, 0),
    "variance": noise(700) * np.where(np.arange(700) >= 250, 4.0, 1.0),
    "shape": beats(24, 16),
}
ONSETS = {"level": 250, "trend": 250, "variance": 250, "shape": 600}
REACH = {"level": 3, "trend": 20, "variance": 15, "shape": 25}


@pytest.mark.parametrize("kind", SHIFTED)
def test_a_change_is_found_with_its_onset(kind: str) -> None:
    found = changes(SHIFTED[kind])

    assert kind in [change.kind for change in found]
    first = found[0]
    assert abs(first.onset - ONSETS[kind]) <= REACH[kind]
    assert first.onset < first.declared < ONSETS[kind] + 150
    assert math.isfinite(first.statistic)


def test_each_of_several_levels_is_found() -> None:
    values = noise(400) + np.repeat([0.0, 5.0, -2.0, 4.0], 100)

    assert [change.onset for change in changes(values, NO_SHAPES)] == pytest.approx([100, 200, 300], abs=2)


def test_a_small_shift_in_a_long_series_is_found() -> None:
    values = noise(20_000) + 0.8 * (np.arange(20_000) >= 15_000)

    (found,) = changes(values, NO_SHAPES)

    assert found.kind == "level"
    assert abs(found.onset - 15_000) < 150
    assert found.declared < 15_300


def test_both_the_way_there_and_the_way_back_are_found() -> None:
    values = beats(20, 20)
    values = np.concatenate((values, beats(20, 0, seed=9)))

    assert [change.onset for change in changes(values)] == pytest.approx([500, 1000], abs=25)


QUIET = {
    "noise": noise(2000),
    "heavy tails": np.random.default_rng(5).standard_t(3, size=2000),
    "constant": np.full(2000, 7.25),
    "line": np.arange(2000) * 0.37 - 5,
    "noisy line": np.arange(2000) * 0.02 + noise(2000),
    "growth": (1 + np.arange(2000) / 300.0) ** 2,
    "season": np.sin(np.arange(2000) / 24 * 2 * np.pi) * 3,
    "noisy season": np.sin(np.arange(2000) / 24 * 2 * np.pi) * 3 + noise(2000),
    "one shape": beats(80, 0),
    "autoregressive": np.convolve(noise(2040), 0.6 ** np.arange(40), "valid")[:2000],
    "two values": (noise(2000) > 1.0).astype(float),
    "counts": np.random.default_rng(6).poisson(0.2, 2000).astype(float),
    "quantised": np.round(noise(2000)),
    "one bad print": np.where(np.arange(2000) == 1000, 1e6, noise(2000)),
}


@pytest.mark.parametrize("name", QUIET)
def test_there_is_no_change_where_there_is_none(name: str) -> None:
    assert changes(QUIET[name]) == []


def walk(n: int, share: float = 1.0, seed: int = 1) -> np.ndarray:
    values = itertools.accumulate(noise(n, seed).tolist(), lambda before, own: share * before + own)
    return np.array(list(values))


def season(n: int, period: int) -> np.ndarray:
    return 3 * np.sin(np.arange(n) / period * 2 * np.pi) + noise(n)


@pytest.mark.parametrize(
    ("values", "most"),
    [
        (walk(4000, 0.9), 0),
        (walk(4000, 0.99, seed=3), 2),
        (walk(4000), 1),
        (walk(4000, seed=2), 5),
        (season(3000, 200), 9),
        (season(4000, 1440), 4),
    ],
    ids=["0.9", "0.99", "walk", "another walk", "season of 200", "season of 1440"],
)
def test_what_always_wanders_has_few_changes(values: np.ndarray, most: int) -> None:
    assert len(changes(values)) <= most


def test_both_sides_of_a_change_are_told() -> None:
    (level,), (trend,), (variance,) = (
        changes(SHIFTED[kind], NO_SHAPES) for kind in ("level", "trend", "variance")
    )

    assert (level.before, level.after) == pytest.approx((0.0, 3.0), abs=0.5)
    assert (trend.before, trend.after) == pytest.approx((0.0, 0.3), abs=0.1)
    assert variance.before == pytest.approx(1.0, rel=0.2)
    assert 2.5 < variance.after < 8.0
    assert all(change.statistic >= change.limit for change in (level, trend, variance))


@pytest.mark.parametrize("values", [season(4000, 1440), walk(4000, 0.9)], ids=["season", "0.9"])
def test_a_plain_step_is_found_in_a_series_that_always_wanders(values: np.ndarray) -> None:
    values = values + 12.0 * (np.arange(4000) >= 3000)

    assert any(abs(change.onset - 3000) <= 2 and change.declared < 3080 for change in changes(values))


@pytest.mark.parametrize("kind", SHIFTED)
def test_changes_of_a_prefix_are_those_of_the_whole_up_to_there(kind: str) -> None:
    values = SHIFTED[kind]
    whole = changes(values)

    for end in (1, 99, 100, 251, 258, 300, whole[0].declared, whole[0].declared + 1, len(values) - 1):
        assert changes(values[:end]) == [change for change in whole if change.declared < end]


@pytest.mark.parametrize("kind", SHIFTED)
@pytest.mark.parametrize(("scale", "offset"), [(4.0, 0.0), (0.001, -3.0), (1e6, 1e7)])
def test_scale_and_offset_do_not_matter(kind: str, scale: float, offset: float) -> None:
    expected = [(change.kind, change.onset, change.declared) for change in changes(SHIFTED[kind])]

    found = [
        (change.kind, change.onset, change.declared) for change in changes(SHIFTED[kind] * scale + offset)
    ]

    assert found == expected


@pytest.mark.parametrize("kind", SHIFTED)
def test_the_state_carries_over_in_mid_run(kind: str) -> None:
    values = SHIFTED[kind].tolist()
    points = ChangePoints()
    expected, found = [], []
    carried = ChangePoints()

    for row, value in enumerate(values):
        expected += points.observe(value)
        found += carried.observe(value)
        if row % 37 == 0:
            blob = carried.dump()
            assert blob == points.dump()
            carried = ChangePoints.load(blob)
            assert carried.dump() == blob

    assert found == expected != []


def test_the_state_carries_over_a_full_window() -> None:
    config = ChangeConfig(shape=ShapeConfig(window=256))
    values = beats(40, 40).tolist()
    points, carried = ChangePoints(config), ChangePoints(config)

    for row, value in enumerate(values):
        assert points.observe(value) == carried.observe(value)
        if row % 111 == 0:
            carried = ChangePoints.load(carried.dump(), config)

    assert points.dump() == carried.dump()


def test_other_bytes_are_refused() -> None:
    with pytest.raises(RecordError, match="format 2"):
        ChangePoints.load(b'{"format":0}\n')
    points = ChangePoints()
    points.observe(1.0)
    with pytest.raises(RecordError, match="expected"):
        ChangePoints.load(points.dump()[:-1])


def test_memory_is_bounded() -> None:
    points = ChangePoints()
    for value in np.tile(beats(40, 0), 5).tolist():
        points.observe(value)
    assert len(points.dump()) - points.shape_bytes < 10_000
    assert points.shape_bytes < 2048 * 62

    plain = ChangePoints(NO_SHAPES)
    for value in noise(30_000).tolist():
        plain.observe(value)
    assert plain.shape_bytes == 0
    assert len(plain.dump()) < 10_000


def test_missing_values_count_as_rows() -> None:
    values = SHIFTED["level"].copy()
    gaps = np.insert(values, 100, np.full(50, np.nan))
    (without,), (found,) = changes(values, NO_SHAPES), changes(gaps, NO_SHAPES)

    assert (found.onset, found.declared) == (without.onset + 50, without.declared + 50)
    assert changes(np.full(300, np.nan)) == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=12),
    st.integers(min_value=10, max_value=40),
)
def test_no_input_breaks_it(pattern: list[float], times: int) -> None:
    points = ChangePoints()
    with np.errstate(all="raise", under="ignore"):
        found = [change for value in pattern * times for change in points.observe(value)]

    assert all(math.isfinite(change.statistic) for change in found)
    assert all(0 <= change.onset <= change.declared for change in found)
    assert ChangePoints.load(points.dump()).dump() == points.dump()


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_the_logarithm_is_one(x: float) -> None:
    assert shifts.ln(x) == pytest.approx(math.log(x), rel=1e-14, abs=1e-14)


def test_a_period_is_learnt_under_a_trend() -> None:
    season = np.sin(np.arange(240) / 12 * 2 * np.pi) + 0.1 * np.arange(240) + 0.1 * noise(240)

    assert learn_period(season)[0] == 12
    assert learn_period(np.zeros(100)) == (0, 0.0)


def test_the_period_is_told() -> None:
    points = ChangePoints()
    for value in beats(10, 0).tolist():
        points.observe(value)

    assert points.period == 25


def test_a_window_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="between 256 and 32767"):
        ShapeConfig(window=10)
