"""Volumes, spreads and crossed books: found where they are, and nowhere else."""

from __future__ import annotations

import pytest

from observer_core.shared.records import RECOVERIES
from tests.support.market_feed import Market, noise, walk


def volumes(length: int, *, seed: int = 1, usual: float = 20.0, idle: int = 0) -> list[float]:
    """Volumes that vary by a third or so; every `idle` observations but one have none."""
    draws = noise(seed)
    values = [usual * (1.0 + 0.3 * max(-2.0, next(draws))) for _ in range(length)]
    return [value if not idle or n % idle == 0 else 0.0 for n, value in enumerate(values)]


class TestVolumeSurge:
    def test_many_times_the_usual_volume_is_one(self) -> None:
        market = Market()
        for value in volumes(300):
            assert market.give({"volume": value}) == []
        (surge,) = market.give({"volume": 400.0})
        assert (surge.pattern, surge.direction) == ("volume_surge", "up")
        assert surge.series == (("venue", "A", "volume"),)
        assert surge.evidence["value"] == 400.0
        assert 10 < surge.evidence["expected"] < 40 < surge.evidence["high"] < 400
        assert surge.evidence["sigmas"] > surge.evidence["limit"]
        assert market.give({"volume": 400.0}) == []

    def test_three_times_the_usual_volume_is_none(self) -> None:
        market = Market()
        for value in [*volumes(300), 60.0, *volumes(100, seed=2), 60.0]:
            market.give({"volume": value})
        assert market.records == []

    def test_observations_without_volume_are_normal(self) -> None:
        market = Market()
        for value in volumes(3000, idle=20):
            market.give({"volume": value})
        assert market.records == []
        (surge,) = market.give({"volume": 700.0})
        assert surge.pattern == "volume_surge"

    def test_the_first_volumes_after_none_at_all_are_no_surge(self) -> None:
        market = Market()
        for value in [0.0] * 500 + volumes(45):
            market.give({"volume": value})
        assert market.records == []

    def test_a_volume_that_stays_high_is_told_once_and_becomes_usual(self) -> None:
        market = Market()
        for value in volumes(300) + volumes(700, seed=2, usual=300.0):
            market.give({"volume": value})
        assert [r.pattern for r in market.records] == ["volume_surge"]


def quotes(price: float, spread_bp: float) -> dict[str, float]:
    half = spread_bp * 0.5e-4
    return {"bid": price * (1.0 - half), "ask": price * (1.0 + half)}


class TestSpreadBlowout:
    def run(self, market: Market, spreads: list[float], *, seed: int = 1) -> None:
        for price, spread in zip(walk(len(spreads), seed=seed), spreads, strict=True):
            market.give(quotes(price, spread))

    def test_it_is_told_with_its_end(self) -> None:
        market = Market()
        self.run(market, [2.0] * 300 + [60.0] * 5 + [2.0] * 20)
        wide, normal = market.records
        assert (wide.pattern, wide.direction, normal.pattern) == ("spread_blowout", "up", "spread_normal")
        assert wide.series == normal.series == (("venue", "A", "bid"),)
        assert wide.evidence["spread_bp"] == pytest.approx(60.0)
        assert wide.evidence["usual_bp"] < wide.evidence["limit_bp"] < 60.0
        assert wide.time_ns - wide.evidence["since_ns"] == market.every
        assert (normal.score, normal.evidence["since_ns"]) == (0.0, wide.evidence["since_ns"])
        assert RECOVERIES["spread_blowout"] == "spread_normal"

    def test_one_wide_observation_is_noise(self) -> None:
        market = Market()
        self.run(market, ([2.0] * 30 + [60.0]) * 10)
        assert market.records == []

    def test_below_the_floor_no_spread_is_wide(self) -> None:
        market = Market()
        self.run(market, [0.02] * 300 + [10.0] * 30)
        assert market.records == []

    def test_books_that_are_wide_now_and_then_are_known_for_it(self) -> None:
        market = Market()
        self.run(market, ([2.0] * 8 + [25.0] * 2) * 100)
        assert [r.pattern for r in market.records] == []

    def test_a_spread_that_stays_wide_becomes_usual(self) -> None:
        market = Market()
        self.run(market, [2.0] * 300 + [60.0] * 1000)
        assert [r.pattern for r in market.records] == ["spread_blowout", "spread_normal"]


class TestCrossedBook:
    def run(self, spreads: list[float]) -> Market:
        market = Market()
        for spread in spreads:
            market.give({"bid": 100.0, "ask": 100.0 + spread})
        return market

    def test_it_is_told_when_it_persists_and_when_it_ends(self) -> None:
        market = self.run([0.01] * 60 + [-0.01] * 8 + [0.01] * 3)
        crossed, over = market.records
        assert (crossed.pattern, over.pattern) == ("crossed_book", "book_uncrossed")
        assert crossed.evidence["observations"] == 5
        assert crossed.evidence["spread_bp"] < 0
        assert crossed.severity == "warning"
        assert over.series == crossed.series
        assert RECOVERIES["crossed_book"] == "book_uncrossed"

    @pytest.mark.parametrize(
        "spreads", [[0.01, -0.01] * 50, [-0.01, -0.01, -0.01, -0.01, 0.0] * 20, [0.0] * 50]
    )
    def test_short_crosses_and_locked_books_are_none(self, spreads: list[float]) -> None:
        assert self.run(spreads).records == []

    def test_its_end_is_of_the_same_series_though_other_fields_come(self) -> None:
        market = Market()
        for ask in [1.01] * 3 + [0.99] * 6:
            market.give({"bid": 1.0, "ask": ask})
        market.give({"bid_close": 1.0, "ask_close": 1.01})
        assert [r.series for r in market.records] == [(("venue", "A", "bid"),)] * 2


def test_a_quote_of_which_one_side_is_missing_says_nothing() -> None:
    market = Market()
    for n, price in enumerate(walk(400)):
        bid_ask = quotes(price, 2.0)
        if n % 3 == 0:
            bid_ask["ask"] = 0.0
        market.give(bid_ask)
    assert market.records == []
