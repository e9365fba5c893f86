"""The general anomaly score: what it answers to, what it does not, and that nothing else moves it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.pattern_record.detectors.anomaly import (
    CHANNELS,
    CHUNK,
    EXTREMES,
    ROWS,
    SLOTS,
    Anomaly,
    AnomalyScore,
    contributions,
    reset,
)

QUICK = Anomaly(forget=400, settle=100, threshold=0.1, cap=0.3)


def normal(seed: int, length: int, n: int = 1) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).standard_normal((length, n))


def run(values: np.ndarray, config: Anomaly | None = None, period: int = 0, start: int = 0) -> np.ndarray:
    detector = AnomalyScore.fresh(values.shape[1], config or Anomaly(), period)
    return np.array([detector.observe(row, start + at).copy() for at, row in enumerate(values)])


def alarms(values: np.ndarray, config: Anomaly | None = None, period: int = 0) -> list[list[int]]:
    return [np.flatnonzero(column >= 0.5).tolist() for column in run(values, config, period).T]


def same(a: AnomalyScore, b: AnomalyScore) -> bool:
    return a.values.tobytes() == b.values.tobytes() and a.season.tobytes() == b.season.tobytes()


def test_scores_of_a_prefix_are_the_prefix_of_the_scores():
    values = normal(1, 700, 3)
    values[500] += 30.0
    whole = run(values, period=96)
    for length in (1, 3, 250, 501):
        assert run(values[:length], period=96).tobytes() == whole[:length].tobytes()


def test_neither_the_number_of_series_nor_their_place_changes_a_bit():
    n = CHUNK + 37
    values = normal(2, 350, n)
    values[::7, 5] = np.nan
    values[300] += 20.0
    together = run(values, period=48)
    for column in (0, 5, CHUNK - 1, CHUNK, n - 1):
        assert run(values[:, [column]], period=48).tobytes() == together[:, [column]].tobytes()


def test_units_do_not_matter():
    values = normal(3, 1500, 4)
    values[900:] += 8.0
    values[1300] -= 25.0
    found = alarms(values, period=96)
    assert all(any(900 <= at < 960 for at in column) for column in found)
    for a, b in ((1000.0, -3e5), (0.001, 7.0), (2.0**-20, 0.0), (1e12, 0.0)):
        assert alarms(a * values + b, period=96) == found


def test_a_power_of_two_changes_no_bit_of_the_scores():
    values = normal(4, 800, 2)
    assert run(values * 2.0**40, period=48).tobytes() == run(values, period=48).tobytes()


@pytest.mark.parametrize("change", ["spike", "shift", "noise", "still", "season"])
def test_what_is_new_in_a_series_alarms(change):
    values = normal(5, 2500) * 0.3 + np.sin(np.arange(2500) * 2 * np.pi / 100)[:, np.newaxis] * 2.0
    if change == "spike":
        values[2000] += 10.0
    elif change == "shift":
        values[2000:] += 5.0
    elif change == "noise":
        values[2000:] += normal(6, 500) * 3.0
    elif change == "still":
        values[2000:] = values[2000]
    else:
        values[2000:2100] = -values[2000:2100]
    [found] = alarms(values, period=100)
    assert any(2000 <= at < 2100 for at in found), found


def test_an_alarm_is_followed_by_quiet():
    values = normal(7, 3000, 20)
    values[1000::40] *= 1.5
    config = Anomaly(refractory=77)
    for column in alarms(values, config):
        assert np.all(np.diff(column) > 77)
    assert sum(map(len, alarms(values, config)))


def spans(detector: AnomalyScore) -> np.ndarray:
    largest, of_negated = detector.values[EXTREMES].reshape(2, len(CHANNELS), -1)
    return largest + of_negated


def test_after_a_bad_print_normal_sensitivity_returns():
    """The statement of the docstring: after `forget` observations no range remembers it."""
    usual = normal(8, 1600, 8) + 10.0
    bad = usual.copy()
    bad[700] *= 100.0
    ranges = []
    for values in (usual, bad):
        detector = AnomalyScore.fresh(8, QUICK)
        for at, row in enumerate(values[: 700 + QUICK.forget]):
            detector.observe(row, at)
        remembered = spans(detector)
        detector.observe(values[700 + QUICK.forget], 700 + QUICK.forget)
        ranges.append((remembered, spans(detector)))
    assert np.all(ranges[1][0][0] > 100.0 * ranges[0][0][0])
    assert np.all(ranges[1][1] <= 1.35 * ranges[0][1])
    for values in (usual, bad):
        values[700 + QUICK.forget + 30 :] += 6.0
        for column in alarms(values, QUICK):
            assert any(0 <= at - 700 - QUICK.forget - 30 < 40 for at in column)


def test_the_number_of_points_until_sensitivity_returns_is_a_thousand_by_default():
    values = normal(19, 2300, 8) + 10.0
    values[1200] *= 100.0
    again = 1200 + Anomaly().forget
    assert again == 2200
    values[again + 1 :] += 6.0
    for column in alarms(values):
        assert any(again < at < again + 40 for at in column)


@pytest.mark.parametrize("at", [0, 1, 2, 5, 40])
def test_a_bad_print_at_the_start_is_forgotten_too(at):
    values = normal(9, 1200)
    values[at] = 1e6
    values[800:] += 6.0
    assert any(800 <= found < 840 for found in alarms(values, QUICK)[0])


def test_what_came_again_is_remembered():
    values = normal(10, 1400)
    values[600] = values[750] = values[900] = 60.0
    values[1200] = 60.0
    [found] = alarms(values, QUICK)
    assert 600 in found
    assert 1200 not in found


def test_no_alarm_from_a_mere_start():
    n = 60
    values = np.concatenate([normal(11, 400, n // 3), normal(12, 400, n // 3).cumsum(axis=0)], axis=1)
    values = np.concatenate([values, np.arange(400.0)[:, np.newaxis] * np.ones(n // 3)], axis=1)
    found = alarms(values, period=96)
    assert not any(at < Anomaly().warm_up for column in found for at in column)
    assert not any(found[2 * n // 3 :])


@pytest.mark.parametrize(("slope", "period"), [(1.0, 0), (-3e-7, 24), (1e9, 600)])
def test_a_channel_that_trends_silences_itself(slope, period):
    values = 1000.0 + slope * np.arange(3500.0)[:, np.newaxis]
    assert alarms(values, period=period) == [[]]
    values[3000:] += 40.0 * slope
    assert any(3000 <= at < 3012 for at in alarms(values, period=period)[0])


def limit(detector: AnomalyScore, score: float) -> float:
    """What the total had to reach, from the explanation and the score."""
    return float(contributions(detector.values, detector.config).sum()) * (1.0 - score) / score


def test_what_alarms_in_the_warm_up_is_not_told_but_raises_the_limit():
    calm = np.arange(401.0)[:, np.newaxis] * 7 % 11
    restless = calm.copy()
    restless[[40, 80, 120]] = [[20.0], [-80.0], [400.0]]
    limits = []
    for values in (calm, restless):
        values[400] = 2000.0
        detector = AnomalyScore.fresh(1, Anomaly(threshold=0.1))
        scores = [float(detector.observe(row, at)[0]) for at, row in enumerate(values)]
        assert not any(scores[:150])
        limits.append(limit(detector, scores[-1]))
    assert limits[1] > 1.5 * limits[0]


def test_series_may_begin_at_any_time_and_miss_values():
    values = normal(13, 1000)
    values[800] = 15.0
    alone = run(values)
    late = np.full((1500, 2), np.nan)
    shown = np.flatnonzero(np.arange(1500) % 3 != 1)
    late[shown, 0] = values[:, 0]
    late[:, 1] = 5.0
    scores = run(late)
    assert scores[shown, 0].tobytes() == alone[:, 0].tobytes()
    assert not scores[np.arange(1500) % 3 == 1, 0].any()


@pytest.mark.parametrize("missing", [1, 7, 9, 10])
def test_a_missing_value_teaches_nothing(missing):
    values = normal(14, 200, 10)
    detector, other = AnomalyScore.fresh(10, Anomaly(), 24), AnomalyScore.fresh(10, Anomaly(), 24)
    for at, row in enumerate(values):
        detector.observe(row, at)
        other.observe(row, at)
    for value in (np.nan, np.inf, -np.inf, 1e301):
        row = values[0].copy()
        row[:missing] = value
        scores = detector.observe(row, 200)
        assert not scores[:missing].any()
        assert detector.values[:, :missing].tobytes() == other.values[:, :missing].tobytes()
        assert detector.season[:, :missing].tobytes() == other.season[:, :missing].tobytes()


def test_columns_can_be_dumped_taken_out_and_put_back():
    values, config, period = normal(15, 600, 9), Anomaly(), 600
    values[400] += 9.0
    whole, parts = AnomalyScore.fresh(9, config, period), AnomalyScore.fresh(9, config, period)
    assert whole.values.shape == (ROWS, 9)
    assert whole.season.shape == (SLOTS, 9)
    for at, row in enumerate(values):
        scores = whole.observe(row, at).copy()
        if at % 50 == 0:
            state, season = (
                np.frombuffer(a.tobytes()).reshape(a.shape).copy() for a in (parts.values, parts.season)
            )
            parts = AnomalyScore(state, season, config, period)
        for columns in ([1, 8, 3], [0, 2, 4, 5, 6, 7]):
            part = AnomalyScore(parts.values[:, columns], parts.season[:, columns], config, period)
            assert part.observe(row[columns], at).tobytes() == scores[columns].tobytes()
            parts.values[:, columns], parts.season[:, columns] = part.values, part.season
        assert same(whole, parts)


def test_columns_can_be_made_new():
    detector = AnomalyScore.fresh(2, Anomaly(), 24)
    for at, row in enumerate(normal(16, 150, 2)):
        detector.observe(row, at)
    reset(detector.values, detector.season, Anomaly())
    assert same(detector, AnomalyScore.fresh(2, Anomaly(), 24))


@pytest.mark.parametrize("value", [0.0, -0.0, 5.0, 0.1, -1e300, 1e300, 1e-300, 5e-324, 2.0**53])
def test_a_constant_series_never_alarms(value):
    assert not run(np.full((400, 2), value), period=24).any()


def test_negative_zero_is_zero():
    values = np.round(normal(17, 300, 2))
    detector, other = AnomalyScore.fresh(2, Anomaly(), 24), AnomalyScore.fresh(2, Anomaly(), 24)
    for at, row in enumerate(values):
        detector.observe(np.abs(row) * np.sign(row), at)
        other.observe(row + 0.0, at)
    assert same(detector, other)


def test_what_decays_to_nothing_becomes_nothing():
    """Many processors take a hundred times as long for numbers just above zero."""
    values = np.zeros((20_000, 2))
    values[:400] = normal(21, 400, 2)
    detector = AnomalyScore.fresh(2, Anomaly(), 24)
    for at, row in enumerate(values):
        detector.observe(row, at)
    assert np.all((np.abs(detector.values) > 1e-300) | (detector.values == 0.0))


STRANGE = st.one_of(
    st.sampled_from([0.0, -0.0, 1e300, -1e300, 1e-300, 5e-324, 2.0**53, np.nan, np.inf, 1.0]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(2**62), 2**62).map(float),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STRANGE, min_size=1, max_size=120), st.sampled_from([0, 7, 300]))
def test_scores_are_finite_whatever_comes(column, period):
    config = Anomaly(warm_up=3, settle=2, forget=20, refractory=2, memory=50)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        detector = AnomalyScore.fresh(1, config, period)
        for at, value in enumerate(column):
            [score] = detector.observe(np.array([value]), at)
            assert 0.0 <= score <= 1.0
            assert np.all(np.isfinite(detector.values))


MISSING = st.one_of(st.just(np.nan), st.sampled_from([0.0, 1.0, -1.0, 50.0]), st.floats(-1e6, 1e6))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(MISSING, min_size=3, max_size=3), min_size=1, max_size=90), st.sampled_from([0, 5, 60])
)
def test_each_series_goes_its_own_way(rows, period):
    config = Anomaly(warm_up=3, settle=2, forget=7, refractory=2, memory=4)
    values = np.array(rows)
    together = run(values, config, period)
    for column in range(3):
        assert run(values[:, [column]], config, period).tobytes() == together[:, [column]].tobytes()


def test_the_explanation_adds_up_to_the_score():
    values, config = normal(18, 1501), Anomaly(threshold=0.2)
    values[1500] = 12.0
    detector = AnomalyScore.fresh(1, config)
    for at, row in enumerate(values):
        [score] = detector.observe(row, at)
    told = contributions(detector.values, config)[:, 0]
    named = dict(zip(CHANNELS, told.tolist(), strict=True))
    assert named["value"] == named["from_mean_288"] == config.cap
    assert named["season"] == 0.0
    assert config.threshold <= limit(detector, score) < 5.0 * config.threshold
    assert detector.observe(np.array([0.0]), 1501)[0] < 0.5


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="forget"):
        Anomaly(settle=500, forget=400)
