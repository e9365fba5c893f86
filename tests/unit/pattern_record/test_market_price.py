"""Shocks, bad ticks, drawdowns and regimes of prices: found where they are, and nowhere else."""

from __future__ import annotations

import math

import pytest

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.market.config import Market as MarketConfig
from observer_core.pattern_record.market.config import PriceShock
from observer_core.shared.records import RECOVERIES
from tests.support.market_feed import MINUTE, START, Market, noise, walk

DAY = 1440 * MINUTE


def after(prices: list[float], *more: float) -> list[float]:
    """`prices`, and then such returns of the last one in basis points."""
    grown = list(prices)
    for step in more:
        grown.append(grown[-1] * (1.0 + step * 1e-4))
    return grown


def warm(
    market: Market, length: int = 400, *, seed: int = 1, subjects: tuple[str, ...] = ("A",)
) -> list[float]:
    """Gives every subject its own walk; their last prices."""
    walks = [walk(length, seed=seed + n) for n in range(len(subjects))]
    for row in zip(*walks, strict=True):
        assert market.give({"close": row}, subjects) == []
    return [prices[-1] for prices in walks]


class TestPriceShock:
    def test_a_jump_that_stays_is_a_shock_at_the_next_observation_with_its_onset(self) -> None:
        market = Market()
        (price,) = warm(market)
        before = market.now
        assert market.give({"close": price * 0.98}) == []
        (shock,) = market.give({"close": price * 0.9801})
        assert (shock.pattern, shock.direction, shock.series) == (
            "price_shock", "down", (("venue", "A", "close"),),
        )  # fmt: skip
        assert shock.evidence["onset_ns"] <= before < shock.time_ns
        assert shock.evidence["onset_ns"] >= before - 5 * MINUTE
        assert shock.evidence["waited"] == 1
        assert shock.evidence["move_bp"] == pytest.approx(-202, abs=10)
        assert shock.evidence["value"] == price * 0.98
        assert shock.evidence["expected"] == price
        assert shock.evidence["sigmas"] > shock.evidence["limit"] > 14
        assert 0.5 < shock.score < 1

    @pytest.mark.parametrize("factor", [1.02, 0.98])
    def test_its_direction_is_that_of_the_move(self, factor: float) -> None:
        market = Market()
        (price,) = warm(market)
        market.prices([price * factor, price * factor])
        assert market.said() == [("price_shock", "up" if factor > 1 else "down", "A")]

    def test_a_price_that_only_moves_as_usual_is_none(self) -> None:
        market = Market()
        market.prices(walk(4000, seed=5))
        assert market.records == []

    def test_a_move_over_many_observations_is_one_of_a_longer_horizon(self) -> None:
        market = Market()
        (price,) = warm(market, 1500)
        drift = after([price], *[16.0] * 20)[1:]
        market.prices(drift)
        first = next(r for r in market.records if r.pattern == "price_shock")
        assert first.evidence["horizon"] > 1
        assert first.evidence["waited"] == 0

    def test_a_storm_is_a_few_records(self) -> None:
        market = Market()
        (price,) = warm(market)
        draws = noise(11)
        for _ in range(300):
            price *= 1.0 + 60e-4 * next(draws)
            market.give({"close": price})
        shocks = [r for r in market.records if r.pattern == "price_shock"]
        assert 1 <= len(shocks) <= 4

    def test_moves_below_the_floor_are_none_however_calm_the_price(self) -> None:
        market = Market()
        market.prices(walk(600, step_bp=0.1))
        price = walk(600, step_bp=0.1)[-1]
        market.prices(after([price], 12.0, 0.0, 0.0)[1:])
        assert market.records == []
        market.prices(after([price], 12.0, 20.0, 0.0, 0.0)[2:])
        assert [r.pattern for r in market.records] == ["price_shock"]

    def test_nothing_is_said_at_the_start_of_a_series(self) -> None:
        for start in range(2, 50, 7):
            market = Market()
            prices = after(walk(start, seed=start), 300.0, 0.0, -300.0, 500.0, 0.0)
            market.prices(prices)
            assert market.records == []

    def test_a_daily_close_waits_for_no_other(self) -> None:
        market = Market(every=DAY)
        prices = walk(300, step_bp=80.0)
        market.prices(prices)
        (shock,) = market.give({"close": prices[-1] * 0.85})
        assert (shock.pattern, shock.evidence["waited"]) == ("price_shock", 0)

    def test_the_price_may_be_the_middle_of_quotes(self) -> None:
        market = Market()
        prices = walk(400)
        for price in [*prices, prices[-1] * 0.98, prices[-1] * 0.98]:
            market.give({"bid_close": price * 0.9999, "ask_close": price * 1.0001})
        assert market.said() == [("price_shock", "down", "A")]
        assert market.records[0].series == (("venue", "A", "bid_close"),)

    def test_one_subject_has_one_finding_whatever_fields_a_bar_has(self) -> None:
        market = Market()
        prices = walk(400)
        for price in [*prices, prices[-1] * 0.98, prices[-1] * 0.98]:
            bar = {"open": price, "high": price * 1.0002, "low": price * 0.9998, "close": price}
            market.give({**bar, "bid_size": 5.0, "volume": 3.0})
        assert market.said() == [("price_shock", "down", "A")]


class TestBadTick:
    def test_a_print_that_is_undone_at_once_is_one_and_no_shock(self) -> None:
        market = Market()
        (price,) = warm(market)
        assert market.give({"close": price * 1.3}) == []
        (tick,) = market.give({"close": price * 1.0002})
        assert (tick.pattern, tick.direction) == ("bad_tick", "up")
        assert tick.evidence["value"] == price * 1.3
        assert tick.evidence["after"] == price * 1.0002
        assert tick.evidence["print_ns"] == tick.time_ns - MINUTE
        assert tick.evidence["undone"] > 0.99

    def test_it_changes_nothing_that_is_usual(self) -> None:
        with_tick, without = Market(), Market()
        (price,) = warm(with_tick)
        warm(without)
        with_tick.prices([price * 100.0, price])
        without.prices([price, price])
        for market in (with_tick, without):
            market.prices([price * 0.99, price * 0.99])
        shocks = [[r for r in m.records if r.pattern == "price_shock"] for m in (with_tick, without)]
        assert [len(found) for found in shocks] == [1, 1]
        scales = [found[0].evidence["scale_bp"] for found in shocks]
        assert scales[0] == pytest.approx(scales[1], rel=0.03)

    def test_a_move_that_is_only_half_undone_is_a_shock(self) -> None:
        market = Market()
        (price,) = warm(market)
        market.prices([price * 1.04, price * 1.02])
        assert market.said() == [("price_shock", "up", "A")]

    def test_bad_ticks_one_after_the_other_are_not_all_told_and_never_shocks(self) -> None:
        market = Market()
        (price,) = warm(market)
        for _ in range(40):
            market.prices([price * 1.3, price * 1.0001, price, price * 1.0001])
        assert {r.pattern for r in market.records} == {"bad_tick"}
        assert len(market.records) <= 3

    def test_the_print_after_a_bad_tick_can_be_another_one(self) -> None:
        market = Market()
        (price,) = warm(market)
        market.prices([price * 1.2, price * 0.6, price])
        assert [(p, d) for p, d, _ in market.said()] == [("bad_tick", "up"), ("bad_tick", "down")]


class TestConfirmation:
    def test_others_that_move_too_confirm_at_once(self) -> None:
        market = Market()
        one, two, three = warm(market, subjects=("A", "B", "C"))
        found = market.give({"close": [one * 0.98, two * 1.015, three]}, ("A", "B", "C"))
        assert {(r.pattern, r.series[0][1], r.evidence["waited"]) for r in found} == {
            ("price_shock", "A", 0), ("price_shock", "B", 0),
        }  # fmt: skip
        assert {r.evidence["others"] for r in found} == {1}

    def test_one_of_many_others_is_not_enough(self) -> None:
        names = tuple(f"S{n}" for n in range(40))
        market = Market()
        prices = warm(market, 100, subjects=names)
        moved = [price * (0.97 if n < 2 else 1.0) for n, price in enumerate(prices)]
        assert market.give({"close": moved}, names) == []
        moved = [price * (0.97 if n < 5 else 1.0) for n, price in enumerate(prices)]
        assert len(market.give({"close": moved}, names)) >= 2

    def test_quotes_that_moved_along_confirm_at_once(self) -> None:
        market = Market()
        prices = walk(400)
        for price in prices:
            market.give({"last": price, "bid": price * 0.9999, "ask": price * 1.0001})
        new = prices[-1] * 0.98
        (shock,) = market.give({"last": new, "bid": new * 0.9999, "ask": new * 1.0001})
        assert (shock.pattern, shock.evidence["waited"]) == ("price_shock", 0)

    def test_quotes_that_stayed_do_not(self) -> None:
        market = Market()
        prices = walk(400)
        for price in prices:
            market.give({"last": price, "bid": price * 0.9999, "ask": price * 1.0001})
        old = prices[-1]
        quotes = {"bid": old * 0.9999, "ask": old * 1.0001}
        assert market.give({"last": old * 0.98, **quotes}) == []
        (tick,) = market.give({"last": old, **quotes})
        assert tick.pattern == "bad_tick"

    def test_prints_from_side_to_side_of_wide_quotes_are_nothing(self) -> None:
        market = Market()
        for n, price in enumerate(walk(400, step_bp=0.5)):
            print_ = {} if n % 40 else {"last": price * (1.01 if n % 80 else 0.99)}
            market.give({**print_, "bid": price * 0.99, "ask": price * 1.01})
        assert market.records == []

    def test_quotes_that_open_wide_around_the_price_are_no_shock(self) -> None:
        market = Market()
        prices = walk(400)
        for price in prices:
            market.give({"bid": price * 0.9999, "ask": price * 1.0001})
        price = prices[-1]
        for _ in range(3):
            market.give({"bid": price * 0.99, "ask": price * 1.3})
        for _ in range(3):
            market.give({"bid": price * 0.9999, "ask": price * 1.0001})
        assert [r.pattern for r in market.records] == ["spread_blowout", "spread_normal"]

    def test_who_waits_too_long_is_told_as_a_shock(self) -> None:
        market = Market()
        one, two = warm(market, subjects=("A", "B"))
        market.give({"close": [one * 0.985, two]}, ("A", "B"))
        told = [market.give({"close": two}, ("B",)) for _ in range(5)]
        (shock,) = [record for records in told for record in records]
        assert (shock.pattern, shock.series[0][1]) == ("price_shock", "A")
        assert told.index([shock]) == 3
        assert market.give({"close": [one * 0.985, two]}, ("A", "B")) == []

    def test_it_can_be_told_not_to_wait(self) -> None:
        config = RecogniserConfig(market=MarketConfig(price_shock=PriceShock(confirm_within=0)))
        market = Market(config)
        (price,) = warm(market)
        (shock,) = market.give({"close": price * 0.985})
        assert shock.pattern == "price_shock"


class TestSilence:
    @pytest.mark.parametrize("minutes", [30, 17 * 60, 65 * 60])
    def test_a_price_that_comes_back_unmoved_is_nothing(self, minutes: int) -> None:
        market = Market()
        (price,) = warm(market)
        market.give({"close": price}, after=minutes * MINUTE)
        market.prices(walk(200, seed=3, start=price))
        assert market.records == []

    def test_a_move_over_a_silence_is_judged_by_its_length(self) -> None:
        for minutes, patterns in ((1, ["price_shock"]), (65 * 60, [])):
            market = Market()
            (price,) = warm(market)
            market.give({"close": price * 1.01}, after=minutes * MINUTE)
            market.prices(walk(100, seed=3, start=price * 1.01))
            assert [r.pattern for r in market.records] == patterns

    def test_a_crash_over_a_silence_is_a_shock_all_the_same(self) -> None:
        market = Market()
        (price,) = warm(market)
        market.give({"close": price * 0.6}, after=65 * 60 * MINUTE)
        market.give({"close": price * 0.6})
        assert market.said()[0] == ("price_shock", "down", "A")

    def test_a_closed_market_whose_price_is_repeated_is_a_silence(self) -> None:
        market = Market()
        (price,) = warm(market)
        market.prices([price] * 2880)
        market.prices(walk(300, seed=3, start=price * 1.01))
        assert market.records == []

    def test_a_flagged_closed_session_is_one_too(self) -> None:
        market = Market()
        (price,) = warm(market)
        for _ in range(600):
            market.give({"close": price * 1.5}, quality={"*": ("closed_session",)})
        market.prices(walk(300, seed=3, start=price * 1.005))
        assert market.records == []

    def test_a_scale_does_not_collapse_where_moves_are_tiny_for_hours(self) -> None:
        market = Market()
        prices = walk(1500)
        prices += walk(600, step_bp=0.02, start=prices[-1])
        prices += walk(300, seed=8, start=prices[-1])
        market.prices(prices)
        assert [r.pattern for r in market.records if r.pattern == "price_shock"] == []

    def test_rows_that_are_no_news_are_not_judged(self) -> None:
        market = Market()
        (price,) = warm(market)
        for flag in ("stale", "duplicate", "out_of_order", "non_positive"):
            market.give({"close": price * 0.9}, quality={"A": (flag,)})
        market.prices(walk(50, seed=3, start=price))
        assert market.records == []


class TestDrawdown:
    def slide(self, *per_cents: float) -> list[float]:
        """A price that falls so far from 100 and back, slowly: 5 basis points an observation."""
        prices, price = [], 100.0
        for target in per_cents:
            goal = 100.0 * (1.0 - target / 100.0)
            while abs(price - goal) > 0.05:
                price += 0.05 if goal > price else -0.05
                prices.append(price)
        return prices

    def test_a_fall_is_told_deeper_and_over(self) -> None:
        market = Market()
        market.prices(walk(1500, step_bp=1.0, start=100.0))
        market.prices(self.slide(9.0, 0.0))
        told = [r for r in market.records if r.pattern.startswith("drawdown")]
        assert [r.pattern for r in told] == ["drawdown", "drawdown", "drawdown_over"]
        first, second, over = told
        assert (first.direction, over.direction, over.score) == ("down", "up", 0.0)
        assert first.evidence["fall_bp"] > 200
        assert second.evidence["fall_bp"] >= 2 * first.evidence["fall_bp"]
        assert over.series == first.series
        assert RECOVERIES["drawdown"] == "drawdown_over"

    def test_a_wild_price_falls_so_far_as_a_matter_of_course(self) -> None:
        market = Market()
        market.prices(walk(4000, seed=9, step_bp=15.0))
        assert [r.pattern for r in market.records if r.pattern.startswith("drawdown")] == []

    def test_a_fall_to_a_new_level_is_over_when_the_peak_is_forgotten(self) -> None:
        market = Market()
        market.prices(walk(1500, step_bp=1.0, start=100.0))
        prices = self.slide(4.0)
        market.prices(prices)
        market.prices(walk(800, seed=3, step_bp=1.0, start=prices[-1]))
        assert [r.pattern for r in market.records if "drawdown" in r.pattern] == ["drawdown", "drawdown_over"]


class TestRegime:
    def test_elevated_storm_and_back_to_calm(self) -> None:
        market = Market()
        prices = walk(1500)
        for n, (length, step) in enumerate(((150, 12.0), (100, 40.0), (900, 3.0))):
            prices += walk(length, seed=20 + n, step_bp=step, start=prices[-1])
        market.prices(prices)
        told = [r for r in market.records if r.pattern == "volatility_regime"]
        assert [(r.direction, r.evidence["before"], r.evidence["regime"]) for r in told] == [
            ("up", 0, 1), ("up", 1, 2), ("down", 2, 1), ("down", 1, 0),
        ]  # fmt: skip
        up = told[0].evidence
        assert up["ratio"] == pytest.approx(up["fast_bp"] / up["slow_bp"])
        assert up["ratio"] > up["limit"]

    def test_a_single_jump_is_no_regime(self) -> None:
        market = Market()
        prices = walk(1500)
        market.prices(prices + walk(500, seed=3, start=prices[-1] * 0.9))
        assert [r.pattern for r in market.records if r.pattern == "volatility_regime"] == []


def test_the_source_is_free_of_it_where_there_is_no_price() -> None:
    market = Market()
    for value in walk(60):
        market.give({"cpu_utilization": value})
    assert market.state.families["market"].subjects == {}


def test_records_say_finite_things_of_any_prices() -> None:
    market = Market()
    values = [1e-300, 1e300, 5e-324, 1.0, 1e308, math.inf, -math.inf, math.nan, 0.0, -0.0, -5.0, 1e299]
    for n in range(300):
        value = values[n * 7 % len(values)]
        market.give({"close": value, "volume": abs(value), "bid": value, "ask": values[n * 5 % len(values)]})
    for record in market.records:
        assert 0.0 <= record.score <= 1.0
        numbers = [v for v in record.evidence.values() if isinstance(v, int | float)]
        assert all(math.isfinite(v) for v in numbers)
    assert market.now > START
