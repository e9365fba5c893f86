"""Settings of sources that are asked, split or derived: what they are called, and what follows for each."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.settings import LEAST_MAX_AGE, Settings, load
from observer_core.runtime.source_kinds import DerivedSourceConfig, MarketSourceConfig
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError
from observer_core.shared.ids import shard_of

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
MARKET = {"name": "ex", "kind": "market", "exchange": "upbit", "symbols": ["BTC/KRW"]}
HTTP = {
    "name": "web", "kind": "http", "url": "https://api.example.com/t", "subject": "s",
    "fields": {"last": "l"},
}  # fmt: skip
PUSH = {"name": "desk", "kind": "push"}


def derived(name: str = "premium", *sources: str, **more: Any) -> dict[str, Any]:
    """A ratio of the first source's series to that of the last one."""
    first, last = (sources or ("web", "desk"))[0], (sources or ("web", "desk"))[-1]
    return {
        "name": name, "kind": "derived", **more,
        "series": [{
            "subject": "BTC", "kind": "ratio", "of": [first, "BTC/KRW", "last"],
            "against": [last, "BTC/USDT", "last"],
        }],
    }  # fmt: skip


Configured = Callable[..., Settings]


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    for name in list(os.environ):
        if name.startswith(("OBSERVER_", "QTS_OBSERVER")):
            monkeypatch.delenv(name)
    return lambda *sources: load(root=tmp_path, source=sources)


# ---------------------------------------------------------------------- market


def test_a_market_source_needs_an_exchange_and_symbols(configured: Configured) -> None:
    (item,) = configured(MARKET).source
    assert isinstance(item, MarketSourceConfig)
    assert (item.data, item.interval, item.deadline, item.shards) == (
        "tickers", 5 * SECOND, 10 * SECOND, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"symbols": []}, "symbols: Tuple should have at least 1 item"),
        ({"symbols": ["BTC/KRW", "BTC/KRW"]}, "each may stand there once only"),
        ({"symbols": ["BTCKRW"]}, "symbols.0: String should match pattern"),
        ({"data": "news"}, "data: Input should be 'tickers', 'books', 'candles' or 'trades'"),
        ({"timeframe": "0m"}, "timeframe: String should match"),
        ({"timeframe": "m"}, "timeframe: String should match"),
        ({"bar": "0s"}, "bar: Input should be greater than 0"),
        ({"fields": ["price"]}, "fields.0: Input should be 'last'"),
        ({"exchange": "../x"}, "exchange: String should match"),
        ({"shards": 0}, "shards: Input should be greater than or equal to 1"),
        ({"shards": 101}, "shards: Input should be less than or equal to 100"),
        ({"deadline": "0s"}, "deadline: Input should be greater than 0"),
        ({"breaker": {"pause": "2m"}}, "longest is shorter than pause"),
        ({"data": "candles", "timeframe": "1h", "normalise": {"max_delay": "1h"}}, "max_delay is not longer"),
        ({"data": "trades", "bar": "10s", "normalise": {"max_delay": "5s"}}, "max_delay is not longer"),
        ({"domain": "elsewhere"}, "cannot be in domain 'elsewhere'"),
        ({"apiKey": "x"}, "apiKey: unknown key"),
    ],
)
def test_one_that_cannot_be_is_told(configured: Configured, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configured({**MARKET, **changed})
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("timeframe", "length"),
    [("1s", SECOND), ("1m", MINUTE), ("15m", 15 * MINUTE), ("4h", 4 * HOUR), ("1d", DAY), ("1w", 7 * DAY),
     ("1M", 31 * DAY), ("1y", 366 * DAY)],
)  # fmt: skip
def test_candles_are_bars_of_their_timeframe(configured: Configured, timeframe: str, length: int) -> None:
    found = configured({**MARKET, "data": "candles", "timeframe": timeframe})
    assert found.normaliser("ex").bar == length


def test_trades_are_bars_of_their_bar_and_others_are_none(configured: Configured) -> None:
    assert configured({**MARKET, "data": "trades", "bar": "10s"}).normaliser("ex").bar == 10 * SECOND
    for data in ("tickers", "books"):
        assert configured({**MARKET, "data": data, "bar": "10s"}).normaliser("ex").bar is None


def test_a_bar_that_is_given_stays(configured: Configured) -> None:
    found = configured({**MARKET, "data": "candles", "normalise": {"bar": "90s", "max_jump": 1.2}})
    assert (found.normaliser("ex").bar, found.normaliser("ex").max_jump) == (90 * SECOND, 1.2)


def test_everything_else_of_the_normaliser_stays(configured: Configured) -> None:
    given = {"units": {"change": "percent"}, "max_clock_skew": "1s", "expected_interval": "2m"}
    found = configured({**MARKET, "data": "candles", "normalise": given}).normaliser("ex")
    assert (found.units, found.max_clock_skew, found.expected_interval) == (
        {"change": "percent"}, SECOND, 2 * MINUTE,
    )  # fmt: skip


def test_a_delay_that_is_longer_than_a_bar_or_of_no_bars_may_be_given(configured: Configured) -> None:
    hourly = {**MARKET, "data": "candles", "timeframe": "1h", "normalise": {"max_delay": "61m"}}
    assert configured(hourly).normaliser("ex").max_delay == 61 * MINUTE
    assert configured({**MARKET, "normalise": {"max_delay": "1ms"}}).normaliser("ex").max_delay == 1_000_000


def test_every_shard_has_the_bar(configured: Configured) -> None:
    found = configured({**MARKET, "data": "candles", "shards": 3})
    assert [found.normaliser(f"ex-{n}").bar for n in range(3)] == [MINUTE] * 3
    assert found.normaliser("ex").bar is None, "the whole is no name that anything is recorded under"


# ---------------------------------------------------------------------- shards


def test_a_source_in_shards_is_recorded_under_their_names(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 3}, PUSH)
    assert found.parts_of("web") == ("web-0", "web-1", "web-2")
    assert found.parts_of("desk") == ("desk",)
    assert found.parts_of("nix") == ("nix",)
    for name in found.parts_of("web"):
        item = found.source_of(name)
        assert item is not None
        assert item.name == "web"
    assert found.source_of("web") is None
    assert found.source_of("web-3") is None


def test_a_subject_is_recorded_in_one_part(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 3}, PUSH)
    for number in range(50):
        subject = f"S{number}"
        assert found.part_of("web", subject) == f"web-{shard_of(subject, 3)}"
        assert found.part_of("desk", subject) == "desk"


def test_a_name_says_which_part_it_is(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 3}, PUSH)
    assert [found.shard(name) for name in ("web-0", "web-2", "web-3", "web", "desk", "nix")] == [
        (0, 3), (2, 3), None, None, None, None,
    ]  # fmt: skip
    assert configured({**HTTP, "shards": 1}).shard("web") is None


def test_parts_are_set_as_their_source_is(configured: Configured) -> None:
    found = configured({
        **HTTP, "shards": 2, "interval": "10s", "normalise": {"max_fields": 3},
        "recognise": {"spike": {"threshold": 4.0}},
    })  # fmt: skip
    for name in ("web-0", "web-1"):
        assert found.max_age_ns(name) == 30 * SECOND
        assert found.normaliser(name).max_fields == 3
        assert found.recogniser(name).spike.threshold == 4.0
    assert found.max_age_ns("web-2") is None


@pytest.mark.parametrize("name", ["web-0", "web-2"])
@pytest.mark.parametrize("first", [True, False])
def test_another_source_cannot_have_the_name_of_a_shard(
    configured: Configured, name: str, first: bool
) -> None:
    two: list[dict[str, Any]] = [{**HTTP, "shards": 3}, {**PUSH, "name": name}]
    with pytest.raises(ConfigError, match=f"source '{name}' has the name of a shard of 'web'; rename it"):
        configured(*(two if first else reversed(two)))


def test_a_name_that_looks_like_a_shard_and_is_none_may_be_used(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 3}, {**PUSH, "name": "web-3"}, {**PUSH, "name": "web-x"})
    assert [found.shard(name) for name in ("web-3", "web-x")] == [None, None]
    assert configured(HTTP, {**PUSH, "name": "web-0"}).shard("web-0") is None


@pytest.mark.parametrize("name", ["web-0-0", "web-1-1"])
def test_a_shard_of_a_shard_is_no_shard(configured: Configured, name: str) -> None:
    found = configured({**HTTP, "shards": 2})
    assert found.source_of(name) is None
    assert found.retired_from(name) is None


@pytest.mark.parametrize(
    ("shards", "retired"),
    [(1, ["web-0", "web-1", "web-9"]), (2, ["web", "web-2", "web-9"]), (10, ["web", "web-10"])],
)
def test_what_a_source_may_have_been_recorded_under_before(
    configured: Configured, shards: int, retired: list[str]
) -> None:
    found = configured({**HTTP, "shards": shards}, PUSH)
    names = ["web", *(f"web-{n}" for n in (0, 1, 2, 9, 10))]
    old = [name for name in names if found.retired_from(name) is not None]
    assert set(retired) <= set(old)
    assert not set(old) & set(found.parts_of("web"))
    assert {found.retired_from(name) for name in old} <= {"web"}


def test_nothing_else_is_taken_for_a_shard_of_before(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 2}, PUSH, {**PUSH, "name": "web-7"})
    for name in ("desk", "desk-0", "web-7", "web-x", "webx-1", "nix-0", "web-", "-1"):
        assert found.retired_from(name) is None, name


# ---------------------------------------------------------------------- derived


def test_a_derived_source_reads_sources_that_stand_before_it(configured: Configured) -> None:
    found = configured(HTTP, PUSH, derived())
    item = found.source[2]
    assert isinstance(item, DerivedSourceConfig)
    assert found.inputs_of("premium") == ["desk", "web"]
    assert found.inputs_of("web") == []
    assert item.derived().tolerance == item.tolerance == 5 * SECOND


def test_it_may_read_another_derived_one(configured: Configured) -> None:
    found = configured(HTTP, PUSH, derived("one"), derived("two", "one", "desk"))
    assert found.inputs_of("two") == ["desk", "one"]


def test_of_a_source_in_shards_it_reads_the_shards_of_its_subjects(configured: Configured) -> None:
    found = configured({**HTTP, "shards": 50}, PUSH, derived())
    assert found.inputs_of("premium") == sorted(["desk", f"web-{shard_of('BTC/KRW', 50)}"])


@pytest.mark.parametrize(
    ("order", "missing"),
    [
        ([HTTP, derived()], "desk"), ([derived(), HTTP, PUSH], "desk"), ([HTTP, derived(), PUSH], "desk"),
        ([HTTP, PUSH, derived("one", "two", "desk"), derived("two")], "two"),
        ([HTTP, PUSH, derived("one", "one", "desk")], "one"),
        ([{**HTTP, "shards": 2}, PUSH, derived("one", "web-0", "desk")], "web-0"),
    ],
)  # fmt: skip
def test_one_that_reads_what_is_not_there_or_comes_later_is_refused(
    configured: Configured, order: list[dict[str, Any]], missing: str
) -> None:
    with pytest.raises(ConfigError, match=f"derives from '{missing}', which is no source .*before it"):
        configured(*order)


def test_what_there_is_before_it_is_named(configured: Configured) -> None:
    with pytest.raises(ConfigError, match=r"there are: desk$"):
        configured(PUSH, derived())
    with pytest.raises(ConfigError, match="there are: none"):
        configured(derived())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"series": []}, "series: Tuple should have at least 1 item"),
        ({"tolerance": "0s"}, "tolerance: Input should be greater than 0"),
        ({"shards": 2}, "shards: unknown key"),
        ({"interval": "5s"}, "interval: unknown key"),
        ({"normalise": {"max_jump": 1.5}}, "a derived source has no normalise"),
    ],
)
def test_a_derived_one_that_cannot_be_is_told(
    configured: Configured, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(HTTP, PUSH, {**derived(), **changed})
    assert message in str(refused.value)


# ---------------------------------------------------------------------- how old data may be


def test_a_market_source_may_be_three_intervals_old(configured: Configured) -> None:
    assert configured(MARKET).max_age_ns("ex") == 15 * SECOND
    assert configured({**MARKET, "interval": "1s"}).max_age_ns("ex") == LEAST_MAX_AGE
    assert configured({**MARKET, "interval": "1m", "max_age": "7s"}).max_age_ns("ex") == 7 * SECOND


def test_a_derived_one_may_be_as_old_as_its_oldest_input_and_its_tolerance(configured: Configured) -> None:
    found = configured(
        {**HTTP, "interval": "20s"}, {**PUSH, "max_age": "10s"}, derived("one", tolerance="3s"),
        derived("two", "one", "desk", tolerance="2s"),
    )  # fmt: skip
    assert found.max_age_ns("one") == 63 * SECOND
    assert found.max_age_ns("two") == 65 * SECOND
    assert configured(HTTP, PUSH, derived(max_age="9s")).max_age_ns("premium") == 9 * SECOND


def test_a_derived_one_of_a_source_in_shards_may_be_as_old_as_of_a_whole_one(configured: Configured) -> None:
    ages = [
        configured({**HTTP, "interval": "90s", "shards": shards}, PUSH, derived()).max_age_ns("premium")
        for shards in (1, 4)
    ]
    assert ages == [275 * SECOND] * 2
