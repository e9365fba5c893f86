"""What can be told to the market patterns, what is refused, and which fields they take over."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.market.config import Market as MarketConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.config import explain
from observer_core.shared.errors import RecordError
from tests.support.market_feed import PATTERNS, Market, noise, walk


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("volatility", {"span": 60, "slow_span": 60}, "slow_span (60) must be longer than span (60)"),
        ("volatility.floor", 0, "floor must be above 0 basis points"),
        ("volatility", {"warm_up": 1440}, "warm_up (1440) must be shorter than slow_span (1440)"),
        ("volatility.longest_gap", 0.5, "must be between 1 and 1e+06 intervals; found 0.5"),
        ("price_shock.horizons", [], "horizons must be 1 to 16, each longer than the one before"),
        (
            "price_shock.horizons",
            [{"span": 5, "sigmas": 9, "floor": 10}, {"span": 1, "sigmas": 9, "floor": 10}],
            "each longer than the one before; found spans [5, 1]",
        ),
        ("price_shock.confirm_within", "soon", "confirm_within"),
        ("price_shock.share", 1.5, "must be between 0 and 1 (a share); found 1.5"),
        ("price_shock.rise", 0.5, "must be between 1 and 1000 (a factor); found 0.5"),
        ("bad_tick.undone", -1, "must be between 0 and 1 (a share); found -1"),
        ("volatility_regime.elevated", {"enter": 2, "leave": 2}, "leave (2) must be below enter (2)"),
        ("volatility_regime.storm", {"enter": 2, "leave": 1.8}, "must be above elevated"),
        ("drawdown.floor", -1, "must be between 0 and 10000 basis points; found -1"),
        ("volume_surge.warm_up", 500, "warm_up (500) must be shorter than span (240)"),
        ("spread_blowout.warm_up", 240, "warm_up (240) must be shorter than span (240)"),
        ("spread_blowout.ratio", 1, "must be between 1.1 and 1e+06 (a ratio of spreads); found 1"),
        ("crossed_book.persist", 0, "must be between 1 and 1e+06 observations; found 0"),
        ("prices", ["close", "bid"], "a field has one role, and a name; found ['bid']"),
        ("shocks", {}, "unknown key"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_must_hold(key: str, value: object, message: str) -> None:
    given = value
    for part in reversed(f"market.{key}".split(".")):
        given = {part: given}
    with pytest.raises(ValidationError) as caught:
        RecogniserConfig.model_validate(given)
    assert message in str(explain(caught.value, "observer.toml"))


@pytest.mark.parametrize(
    ("field", "covered"),
    [
        *(
            (name, True)
            for name in ("close", "open", "high", "last", "bid", "ask_close", "volume", "bid_size")
        ),
        *((name, False) for name in ("cpu_utilization", "quote_volume", "ask_depth")),
    ],
)
def test_fields_that_are_judged_here_have_no_spikes_and_shifts(field: str, covered: bool) -> None:
    assert RecogniserConfig().covered(field) is covered
    assert not RecogniserConfig(market=MarketConfig(prices=())).covered(field)


def test_spikes_of_a_price_are_shocks_instead_and_without_price_fields_spikes_again() -> None:
    for config, expected in (
        (RecogniserConfig(), {"price_shock"}),
        (RecogniserConfig(market=MarketConfig(prices=())), {"spike"}),
    ):
        market = Market(config)
        prices = walk(300)
        told: set[str] = set()
        for price in [*prices, prices[-1] * 0.985, prices[-1] * 0.985]:
            market.give({"close": price})
        told = {record.pattern for record in market.records} or {"spike"}
        assert told == expected
        assert ("market" in market.state.families) is (expected == {"price_shock"})


def test_other_fields_can_have_the_roles() -> None:
    config = RecogniserConfig(
        market=MarketConfig(prices=("mark",), quotes=(("b", "a"),), volumes=("turnover",))
    )
    market = Market(config)
    prices, draws = walk(400), noise(2)
    for price in [*prices, prices[-1] * 0.985]:
        market.give({
            "mark": price, "b": price * 0.9999, "a": price * 1.0001, "turnover": 50.0 + 5.0 * next(draws),
        })  # fmt: skip
    market.give({"mark": price, "b": price * 0.9999, "a": price * 1.0001, "turnover": 5000.0})
    assert {(r.pattern, r.series[0][2]) for r in market.records} == {
        ("price_shock", "mark"), ("volume_surge", "turnover"),
    }  # fmt: skip


def test_the_first_field_that_is_there_is_the_price_of_each_subject() -> None:
    market = Market()
    one, two, three = (walk(400, seed=seed) for seed in (1, 2, 3))
    names = ("A", "B", "C")
    for rows in zip(one, two, three, strict=True):
        market.give({
            "close": [rows[0], None, None], "price": [None, rows[1], None],
            "bid": [None, None, rows[2] * 0.9999], "ask": [None, None, rows[2] * 1.0001],
        }, names)  # fmt: skip
    found = market.give({
        "close": [one[-1] * 0.985, None, None], "price": [None, two[-1] * 0.985, None],
        "bid": [None, None, three[-1] * 0.985], "ask": [None, None, three[-1] * 0.9852],
    }, names)  # fmt: skip
    assert {(r.pattern, r.series[0][1]) for r in found} == {("price_shock", name) for name in names}


def test_every_pattern_has_a_detector_and_a_severity() -> None:
    recogniser = Recogniser("venue", RecogniserConfig())
    (family,) = [family for family in recogniser._families if family.name == "market"]
    assert set(family.detectors) == set(family.severities) == PATTERNS


def test_other_horizons_keep_what_is_known_otherwise() -> None:
    market = Market()
    prices = walk(400)
    market.prices(prices)
    for ask in [1.01] * 3 + [0.99] * 6:
        market.give({"bid": 1.0, "ask": ask}, ("B",))
    blob = market.recogniser.dump(market.state)
    shorter = {"horizons": [{"span": 1, "sigmas": 14, "floor": 15}]}
    config = RecogniserConfig.model_validate({"market": {"price_shock": shorter}})
    market.recogniser = Recogniser("venue", config)
    market.state = market.recogniser.load(blob)
    market.records.clear()
    market.prices([prices[-1] * 0.985, prices[-1] * 0.985])
    market.give({"bid": 1.0, "ask": 1.01}, ("B",))
    assert [r.pattern for r in market.records] == ["price_shock", "book_uncrossed"]


@pytest.mark.parametrize(
    "harm", [lambda blob: blob[:-8], lambda blob: b"{}\n" + blob, lambda blob: blob + b"12345678"]
)
def test_bytes_that_are_no_state_are_refused(harm) -> None:
    market = Market()
    market.prices(walk(60))
    (family,) = [family for family in market.recogniser._families if family.name == "market"]
    blob = family.dump(market.state.families["market"])
    assert family.dump(family.load(blob)) == blob
    with pytest.raises(RecordError, match="expected market patterns"):
        family.load(harm(blob))


def test_subjects_that_went_to_another_shard_are_forgotten() -> None:
    market = Market()
    for ask in [1.01] * 3 + [0.99] * 6:
        market.give({"bid": [1.0, 1.0], "ask": [ask, ask]}, ("A", "B"))
    own = market.state.families["market"]
    (family,) = [family for family in market.recogniser._families if family.name == "market"]
    family.forget(own, ["A", "unknown"])
    market.records.clear()
    market.give({"bid": [1.0, 1.0], "ask": [1.01, 1.01]}, ("A", "B"))
    assert market.said() == [("book_uncrossed", "none", "B")]
    fresh, known = family.initial(), own
    fresh.columns(["A"])
    family.forget(known, ["A"])
    assert (known.prices[:, :1] == fresh.prices[:, :1]).all()
