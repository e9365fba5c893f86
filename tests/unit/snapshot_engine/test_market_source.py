"""Market data through ccxt's real code, against four exchanges on a local port, and all their faults."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError, InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.source import Collected, History, collect_safely
from observer_core.snapshot_engine.sources import market_exchange
from observer_core.snapshot_engine.sources.market import MarketConfig, MarketSource
from observer_core.snapshot_engine.sources.market_bars import candle_bars, trade_bars
from tests.support.exchanges import (
    BINANCE,
    BINANCE_SPOT,
    KRAKEN,
    MINUTE_MS,
    NOW_MS,
    THIS_MINUTE_MS,
    Exchanges,
    binance_candle,
    binance_trade,
    candle_starts,
    exchanges,
)

ccxt = pytest.importorskip("ccxt.base.errors")

MS = 1_000_000
NOW = NOW_MS * MS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
HTML = b"<html><body>We are busy</body></html>"
JUNK = (
    HTML, b"", b"{", b'{"a": ', b"[[[", b"[" * 100_000, b"\xff\xfe\x00", b"null", b"3", b'"text"', b"[null]",
    b"[3]", b"{}", b'{"code": 0}', b'{"bids": 3, "asks": 4}', b'{"symbol": [1]}', b"[[]]",
    b"[[null]]", b'[["x"]]',
)  # fmt: skip
RECORDINGS = Path(__file__).parents[4] / "shared" / "data" / "rest"
TICKER, BOOK = "/api/v3/ticker/24hr", "/api/v3/depth"
CANDLES, TRADES, MARKETS = "/api/v3/klines", "/api/v3/aggTrades", "/api/v3/exchangeInfo"
PATHS = {"tickers": TICKER, "books": BOOK, "candles": CANDLES, "trades": TRADES}


@pytest.fixture
def server() -> Iterator[Exchanges]:
    with exchanges() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """ccxt sleeps between requests (a second for kraken); nobody here minds being asked at once."""
    base = sys.modules.get("ccxt.base.exchange")
    if base is None:
        market_exchange._class("binance")
        base = sys.modules["ccxt.base.exchange"]
    monkeypatch.setattr(base.Exchange, "throttle", lambda self, cost=None: None)  # type: ignore[attr-defined]


def market(server: Exchanges, exchange: str = "binance", *symbols: str, **changes: Any) -> MarketSource:
    given = {"symbols": symbols or ("BTC/USDT",), "url": server.url, "allow_private": True, **changes}
    return MarketSource("venue", MarketConfig(exchange=exchange, **given))


def one(collected: Collected) -> Snapshot:
    assert isinstance(collected, Snapshot)
    return collected


def many(collected: Collected) -> tuple[Snapshot, ...]:
    assert isinstance(collected, History)
    return collected.snapshots


def failure(source: MarketSource, now_ns: int = NOW) -> str:
    """The whole error; what was raised is an InputError, and short."""
    snapshot = one(collect_safely(source, now_ns))
    assert snapshot.status == "unavailable"
    error = str(snapshot.error)
    assert error.startswith("InputError: ")
    assert "<" not in error
    assert len(error) <= 500
    return error.removeprefix("InputError: ")


def values(snapshot: Snapshot) -> dict[str, list[float]]:
    return {field: column.tolist() for field, column in snapshot.fields.items()}


class TestConfig:
    @pytest.mark.parametrize(
        ("changes", "what"),
        [
            ({"exchange": "Binance"}, "pattern"),
            ({"exchange": "../x"}, "pattern"),
            ({"symbols": ()}, "at least 1"),
            ({"symbols": ("BTCUSDT",)}, "pattern"),
            ({"symbols": ("BTC/USDT", "BTC/USDT")}, "once only"),
            ({"symbols": ("BTC/\u202eUSDT",)}, "cannot be shown"),
            ({"fields": ("price",)}, "last"),
            ({"fields": ()}, "at least 1"),
            ({"timeframe": "soon"}, "pattern"),
            ({"bars": 0}, "greater"),
            ({"interval": "0s"}, "greater"),
            ({"url": "https://user:pass@proxy"}, "pattern"),
            ({"url": "https://proxy/path"}, "pattern"),
            ({"apiKey": "x"}, "Extra inputs"),
        ],
    )
    def test_what_is_no_market_is_refused(self, changes: dict[str, Any], what: str) -> None:
        with pytest.raises(ValidationError, match=what):
            MarketConfig.model_validate({"exchange": "binance", "symbols": ("BTC/USDT",), **changes})

    def test_symbols_are_ccxts(self) -> None:
        config = MarketConfig(exchange="binance", symbols=("BTC/USDT", "BTC/USDT:USDT", "BTC/USD:BTC-241227"))
        assert MarketConfig.model_validate(config.canonical()) == config

    def test_an_exchange_that_ccxt_does_not_have_is_named_with_close_ones(self) -> None:
        source = MarketSource("x", MarketConfig(exchange="binanc", symbols=("BTC/USDT",)))
        with pytest.raises(ConfigError, match="no exchange 'binanc'; did you mean: binance"):
            source.collect(NOW)

    def test_without_ccxt_it_says_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ccxt", None)
        source = MarketSource("x", MarketConfig(exchange="binance", symbols=("BTC/USDT",)))
        with pytest.raises(ConfigError, match=r"install qts-observer\[market\]"):
            source.collect(NOW)

    def test_a_timeframe_that_the_exchange_lacks_is_refused_with_those_it_has(
        self, server: Exchanges
    ) -> None:
        with pytest.raises(ConfigError, match="kraken has no candles of '7m'; it has 1m, 5m"):
            market(server, "kraken", data="candles", timeframe="7m").collect(NOW)
        assert not server.asked

    def test_requests_are_paced_and_bounded_in_time(self, server: Exchanges) -> None:
        source = market(server, timeout="2s")
        source.collect(NOW)
        assert (source._exchange.enableRateLimit, source._exchange.timeout) == (True, 2000)
        assert (source._exchange.apiKey, source._exchange.secret) == (None, None)


class TestImport:
    def test_only_the_exchange_itself_is_imported_and_ccxt_can_still_be(self) -> None:
        """In a process of its own: collects, looks at what is imported, then imports all of ccxt."""
        program = """
import sys
from observer_core.snapshot_engine.sources.market import MarketConfig, MarketSource
from tests.support.exchanges import NOW_MS, exchanges
assert not any(name.startswith("ccxt") for name in sys.modules)
with exchanges() as server:
    config = dict(symbols=("BTC/USDT",), url=server.url, allow_private=True)
    source = MarketSource("a", MarketConfig(exchange="binance", **config))
    assert source.collect(NOW_MS * 10**6).status == "ok"
top = {name for name in sys.modules if name.startswith("ccxt") and name.count(".") < 2}
assert top == {"ccxt.base", "ccxt.binance", "ccxt.abstract", "ccxt.static_dependencies"}, top
import ccxt
assert type(source._exchange) is ccxt.binance
assert ccxt.kraken().id == "kraken" and ccxt.BadSymbol is sys.modules["ccxt.base.errors"].BadSymbol
assert len(ccxt.exchanges) > 90
"""
        root = Path(__file__).parents[3]
        subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=30)

    def test_ccxt_that_is_there_already_is_used(self) -> None:
        program = """
import ccxt
from observer_core.snapshot_engine.sources import market_exchange
assert market_exchange._class("kraken") is ccxt.kraken
import sys
assert sys.modules["ccxt"] is ccxt
"""
        root = Path(__file__).parents[3]
        subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=30)


class TestTickers:
    def test_one_request_gives_a_row_a_symbol(self, server: Exchanges) -> None:
        snapshot = one(market(server, "binance", "BTC/USDT", "ETH/USDT").collect(NOW))
        assert snapshot.subjects == ("BTC/USDT", "ETH/USDT")
        assert values(snapshot) == {
            "ask": [36123.5, 1999.3], "ask_size": [0.75, 20], "bid": [36123.0, 1999.2], "bid_size": [1.5, 10],
            "last": [36123.25, 1999.25], "volume": [12345.678901234567, 5000],
        }  # fmt: skip
        assert (snapshot.status, snapshot.error, snapshot.quality) == ("ok", None, {})
        assert (snapshot.event_ns, snapshot.ingest_ns) == ((NOW_MS - 400) * MS, NOW)
        assert server.paths() == [MARKETS, TICKER]

    def test_decimals_that_no_double_holds_are_kept(self, server: Exchanges) -> None:
        """Whether they come as text, as a number, or in a book."""
        snapshot = one(market(server).collect(NOW))
        assert snapshot.decimals == {"volume": {"BTC/USDT": "12345.67890123456789"}}
        snapshot = one(market(server, "upbit").collect(NOW))
        assert snapshot.decimals == {"last": {"BTC/USDT": "36123.12345678901234"}}
        server.put(BOOK, {"bids": [["0.12345678901234567890", "3"]], "asks": []})
        snapshot = one(market(server, data="books").collect(NOW))
        assert snapshot.decimals == {"bid": {"BTC/USDT": "0.12345678901234567890"}}
        snapshot.encode(0)

    def test_all_fields_that_can_be_asked_for(self, server: Exchanges) -> None:
        fields = ("quote_volume", "vwap", "open", "high", "low", "previous_close", "mark", "index", "change")
        found = {field: value[0] for field, value in values(
            one(market(server, fields=fields).collect(NOW))).items()}  # fmt: skip
        assert math.isnan(found.pop("mark"))
        assert math.isnan(found.pop("index"))
        assert found == {
            "quote_volume": 444570000.5, "vwap": 36010.25, "open": 35922.75, "high": 36500.0, "low": 35800.0,
            "previous_close": 35922.75, "change": 0.00558,
        }  # fmt: skip

    def test_change_is_a_share_of_1_also_where_ccxt_gives_a_share_for_a_percentage(
        self, server: Exchanges
    ) -> None:
        for exchange, share in (("binance", 0.00558), ("upbit", 0.01), ("kraken", 124.1 / 36000)):
            snapshot = one(market(server, exchange, fields=("change",)).collect(NOW))
            assert snapshot.fields["change"][0] == pytest.approx(share, rel=1e-12), exchange

    def test_kraken_gives_no_time_so_a_ticker_is_of_the_moment_it_came(self, server: Exchanges) -> None:
        snapshot = one(market(server, "kraken").collect(NOW))
        assert (snapshot.event_ns, snapshot.quality, snapshot.status) == (NOW, {}, "ok")
        assert values(snapshot)["last"] == [36124.1]

    def test_upbit_gives_no_bid_and_no_ask_and_that_is_no_fault(self, server: Exchanges) -> None:
        snapshot = one(market(server, "upbit").collect(NOW))
        assert snapshot.status == "ok"
        assert all(math.isnan(snapshot.fields[field][0]) for field in ("bid", "ask", "bid_size", "ask_size"))

    def test_coinbases_list_has_no_bid_and_ask_so_each_ticker_is_asked_for(self, server: Exchanges) -> None:
        snapshot = one(market(server, "coinbase", "BTC/USDC").collect(NOW))
        assert (values(snapshot)["bid"], values(snapshot)["ask"]) == ([36122.58], [36123.59])
        assert snapshot.event_ns == (NOW_MS - 1_937) * MS
        snapshot = one(market(server, "coinbase", "BTC/USDC", fields=("last", "volume")).collect(NOW))
        assert values(snapshot) == {"last": [36123.03], "volume": [1096.5]}

    def test_a_ticker_from_long_ago_is_stale_and_one_from_the_future_is_kept_as_it_comes(
        self, server: Exchanges
    ) -> None:
        source = market(server, "binance", "BTC/USDT", "ETH/USDT", stale_after="60s")
        snapshot = one(source.collect(NOW + 59 * SECOND))
        assert snapshot.quality == {"ETH/USDT": ("stale",)}
        tickers = BINANCE[TICKER]({"symbols": '["BTCUSDT", "ETHUSDT"]'})
        server.put(TICKER, [{**tickers[0], "closeTime": NOW_MS + 86_400_000}, tickers[1]])
        assert one(source.collect(NOW)).event_ns == NOW + 86_400 * SECOND
        server.put(TICKER, [{**tickers[0], "closeTime": 10**30}, tickers[1]])
        assert one(source.collect(NOW)).event_ns == (NOW_MS - 1_400) * MS

    def test_kinds_of_markets_are_asked_for_apart_and_only_those_lists_that_are_needed(
        self, server: Exchanges
    ) -> None:
        snapshot = one(market(server, "binance", "BTC/USDT", "BTC/USDT:USDT").collect(NOW))
        assert snapshot.subjects == ("BTC/USDT", "BTC/USDT:USDT")
        assert values(snapshot)["last"] == [36123.25, 36120.1]
        assert math.isnan(snapshot.fields["bid"][1])
        mixed = market(server, "binance", "BTC/USDT", "BTC/USDT:USDT", "ETH/USDT", fields=("last",))
        assert values(one(mixed.collect(NOW))) == {"last": [36123.25, 36120.1, 1999.25]}
        assert server.paths()[:4] == [MARKETS, "/fapi/v1/exchangeInfo", TICKER, "/fapi/v1/ticker/24hr"]

    def test_a_kind_that_fails_leaves_the_other(self, server: Exchanges) -> None:
        server.put("/fapi/v1/ticker/24hr", HTML, 503)
        snapshot = one(market(server, "binance", "BTC/USDT", "BTC/USDT:USDT").collect(NOW))
        assert (snapshot.subjects, snapshot.status) == (("BTC/USDT",), "partial")
        assert "tickers of BTC/USDT:USDT: ExchangeNotAvailable" in str(snapshot.error)

    def test_a_symbol_that_the_exchange_refuses_alone_does_not_blind_the_others(
        self, server: Exchanges
    ) -> None:
        known = BINANCE[TICKER]

        def answer(query: Any) -> Any:
            return (
                known(query)
                if query.get("symbol") == "BTCUSDT"
                else {"code": -1121, "msg": "Invalid symbol."}
            )

        server.put(TICKER, answer)
        source = market(server, "binance", "BTC/USDT", "ETH/USDT")
        snapshot = one(source.collect(NOW))
        assert (snapshot.subjects, snapshot.status) == (("BTC/USDT",), "partial")
        assert "binance: ticker of ETH/USDT: BadSymbol" in str(snapshot.error)
        source.collect(NOW + MINUTE)
        assert server.paths().count(MARKETS) == 2  # for what it lists may have changed

    def test_a_ticker_without_any_price_is_no_row(self, server: Exchanges) -> None:
        tickers = BINANCE[TICKER]({"symbols": '["BTCUSDT"]'})
        server.put(TICKER, [*tickers, {"symbol": "ETHUSDT", "lastPrice": "soon", "volume": "1"}])
        snapshot = one(market(server, "binance", "BTC/USDT", "ETH/USDT").collect(NOW))
        assert snapshot.subjects == ("BTC/USDT",)
        assert snapshot.error == (
            "binance: ticker of ETH/USDT: neither last, bid nor ask came "
            "(the answer: 200, 'application/json')"
        )

    def test_a_number_that_is_none_is_missing_and_said(self, server: Exchanges) -> None:
        server.put(TICKER, [{"symbol": "BTCUSDT", "lastPrice": "1", "volume": "much"}])
        snapshot = one(market(server).collect(NOW))
        assert math.isnan(snapshot.fields["volume"][0])
        assert (snapshot.status, snapshot.error) == (
            "partial", "BTC/USDT: volume is 'much', a number was expected",
        )  # fmt: skip


class TestBooks:
    @pytest.mark.parametrize(
        ("exchange", "symbol", "row", "event_ns"),
        [
            ("binance", "BTC/USDT", [100.5, 0.5, 101.0, 0.25, 1.6, 4.25], NOW),
            ("kraken", "BTC/USDT", [36124.0, 0.6, 36125.0, 0.4, 0.6, 0.4], NOW),
            ("upbit", "BTC/USDT", [36123.5, 0.25, 36124.5, 0.5, 2.5, 2.0], (NOW_MS - 700) * MS),
            ("coinbase", "BTC/USDC", [36122.5, 0.17, 36123.5, 0.2, 0.17, 0.2], (NOW_MS - 338) * MS),
        ],
    )
    def test_the_best_levels_and_the_depth(
        self, server: Exchanges, exchange: str, symbol: str, row: list[float], event_ns: int
    ) -> None:
        snapshot = one(market(server, exchange, symbol, data="books", depth=2).collect(NOW))
        fields = ("bid", "bid_size", "ask", "ask_size", "bid_depth", "ask_depth")
        assert [snapshot.fields[field][0] for field in fields] == row
        assert (snapshot.status, snapshot.decimals) == ("ok", {})
        assert snapshot.event_ns == event_ns

    def test_prices_are_ordered_as_numbers(self, server: Exchanges) -> None:
        server.put(BOOK, {"bids": [["9.5", "1"], ["10.5", "2"]], "asks": [["100", "1"], ["11", "2"]]})
        snapshot = one(market(server, data="books").collect(NOW))
        assert (values(snapshot)["bid"], values(snapshot)["ask"]) == ([10.5], [11.0])

    def test_an_empty_side_is_missing_and_an_empty_book_is_no_row(self, server: Exchanges) -> None:
        books = {"BTCUSDT": {"bids": [["1", "2"]], "asks": []}, "ETHUSDT": {"bids": [], "asks": []}}
        server.put(BOOK, lambda query: books[query["symbol"]])
        snapshot = one(market(server, "binance", "BTC/USDT", "ETH/USDT", data="books").collect(NOW))
        assert (snapshot.subjects, snapshot.status) == (("BTC/USDT",), "partial")
        assert math.isnan(snapshot.fields["ask"][0])
        assert "binance: book of ETH/USDT: the book is empty" in str(snapshot.error)

    def test_an_exchange_that_takes_no_such_limit_is_asked_without_one(self, server: Exchanges) -> None:
        known = BINANCE[BOOK]
        server.put(BOOK, lambda query: {"code": -1100, "msg": "Illegal limit"} if "limit" in query else known)
        source = market(server, data="books")
        assert one(source.collect(NOW)).status == one(source.collect(NOW + SECOND)).status == "ok"
        assert server.paths().count(BOOK) == 3


class TestCandles:
    @pytest.mark.parametrize(
        ("exchange", "symbol", "count"),
        [
            ("binance", "BTC/USDT", 3),
            ("kraken", "BTC/USDT", 3),
            ("upbit", "BTC/USDT", 1),
            ("coinbase", "BTC/USDC", 2),
        ],
    )
    def test_the_closed_candles_are_bars_and_the_last_one_is_not_over(
        self, server: Exchanges, exchange: str, symbol: str, count: int
    ) -> None:
        bars = many(market(server, exchange, symbol, data="candles", bars=3).collect(NOW))
        starts = [(THIS_MINUTE_MS - MINUTE_MS * back) * MS for back in reversed(range(1, count + 1))]
        assert [bar.event_ns for bar in bars] == starts
        assert {bar.ingest_ns for bar in bars} == {NOW}
        row = {"close": [101], "high": [102], "low": [99], "open": [100.5], "volume": [7.25]}
        assert all(values(bar) == row and bar.status == "ok" for bar in bars)

    def test_a_candle_counts_from_the_moment_it_is_over(self, server: Exchanges) -> None:
        source = market(server, data="candles", bars=1)
        end = (THIS_MINUTE_MS + MINUTE_MS) * MS
        assert many(source.collect(end - 1))[-1].event_ns == (THIS_MINUTE_MS - MINUTE_MS) * MS
        assert many(source.collect(end))[-1].event_ns == THIS_MINUTE_MS * MS

    def test_missing_unordered_doubled_and_future_candles(self, server: Exchanges) -> None:
        first, _, third, fourth, running = candle_starts(5)
        answer = [
            binance_candle(fourth), binance_candle(first), binance_candle(third, "1"),
            binance_candle(running + MINUTE_MS), binance_candle(running), binance_candle(third, "2"),
            [None, *binance_candle(0)[1:]],
        ]  # fmt: skip
        server.put(CANDLES, answer)
        bars = many(market(server, data="candles").collect(NOW))
        assert [bar.event_ns // MS for bar in bars] == [first, third, fourth]
        assert [values(bar)["close"] for bar in bars] == [[101], [2], [101]]

    def test_symbols_share_the_bars_they_have(self, server: Exchanges) -> None:
        starts = candle_starts(4)
        answers = {"BTCUSDT": starts[:1] + starts[2:3], "ETHUSDT": starts[:3]}
        server.put(CANDLES, lambda query: [binance_candle(start) for start in answers[query["symbol"]]])
        bars = many(market(server, "binance", "BTC/USDT", "ETH/USDT", data="candles").collect(NOW))
        both = ("BTC/USDT", "ETH/USDT")
        assert [bar.subjects for bar in bars] == [both, ("ETH/USDT",), both]

    def test_a_symbol_that_fails_is_named_in_the_newest_bar(self, server: Exchanges) -> None:
        server.put(CANDLES, lambda query: HTML if query["symbol"] == "ETHUSDT" else [
            binance_candle(start) for start in candle_starts(3)])  # fmt: skip
        bars = many(market(server, "binance", "BTC/USDT", "ETH/USDT", data="candles").collect(NOW))
        assert [bar.status for bar in bars] == ["ok", "partial"]
        assert "binance: candles of ETH/USDT: " in str(bars[-1].error)

    def test_no_candles_are_an_empty_history_and_a_fault_without_any_is_an_error(
        self, server: Exchanges
    ) -> None:
        server.put(CANDLES, [])
        assert many(market(server, data="candles").collect(NOW)) == ()
        server.put(CANDLES, lambda query: [] if query["symbol"] == "BTCUSDT" else HTML)
        assert "candles of ETH/USDT" in failure(
            market(server, "binance", "BTC/USDT", "ETH/USDT", data="candles")
        )

    def test_a_month_is_over_after_the_longest_one(self, server: Exchanges) -> None:
        february, march = 1_706_745_600_000, 1_709_251_200_000
        server.put(CANDLES, [binance_candle(february), binance_candle(march)])
        source = market(server, data="candles", timeframe="1M")
        assert many(source.collect((march + 30 * 86_400_000) * MS))[-1].event_ns == february * MS
        assert many(source.collect((march + 31 * 86_400_000) * MS))[-1].event_ns == march * MS

    @given(st.lists(st.integers(0, 30)), st.integers(0, 40))
    def test_bars_are_closed_ordered_and_single_whatever_comes(self, minutes: list[int], now: int) -> None:
        candles = [
            [1 + minute * MINUTE_MS, "1", "1", "1", str(place), "1"] for place, minute in enumerate(minutes)
        ]
        bars = candle_bars(candles, MINUTE, now * MINUTE)
        assert list(bars) == sorted(bars)
        assert set(bars) == {(1 + m * MINUTE_MS) * MS for m in minutes if m + 1 < now}
        last = {(1 + minute * MINUTE_MS) * MS: str(place) for place, minute in enumerate(minutes)}
        assert all(row["close"] == last[start] for start, row in bars.items())


class TestTrades:
    def test_trades_are_summed_over_closed_bars(self, server: Exchanges) -> None:
        bars = many(market(server, data="trades", bar="1s").collect(NOW))
        assert [bar.event_ns for bar in bars] == [NOW - 4 * SECOND, NOW - 3 * SECOND]
        assert values(bars[0]) == {
            "buy_volume": [1.0], "count": [2], "price": [103.0], "volume": [1.5], "vwap": [101.0],
        }  # fmt: skip
        assert values(bars[1]) == {
            "buy_volume": [2.0], "count": [1], "price": [102.0], "volume": [2.0], "vwap": [102.0],
        }  # fmt: skip

    def test_the_bar_that_is_not_over_waits(self, server: Exchanges) -> None:
        server.put(TRADES, [binance_trade(1, NOW_MS - 1_000, "1", "1")])
        source = market(server, data="trades", bar="1s")
        assert many(source.collect(NOW - 1)) == ()
        assert len(many(source.collect(NOW))) == 1

    @pytest.mark.parametrize(
        ("exchange", "symbol", "price"),
        [("kraken", "BTC/USDT", 103), ("upbit", "BTC/USDT", 103), ("coinbase", "BTC/USDC", 36123.03)],
    )
    def test_other_exchanges_tell_the_same(
        self, server: Exchanges, exchange: str, symbol: str, price: float
    ) -> None:
        (bar,) = many(market(server, exchange, symbol, data="trades", bar="10s").collect(NOW))
        assert values(bar)["price"] == [price]
        assert values(bar)["count"] == [2]
        assert 0 < bar.fields["buy_volume"][0] < bar.fields["volume"][0]

    def test_a_trade_that_came_twice_counts_once(self, server: Exchanges) -> None:
        trade = binance_trade(7, NOW_MS - 4_000, "100", "1")
        server.put(TRADES, [trade, trade])
        (bar,) = many(market(server, data="trades").collect(NOW))
        assert values(bar)["count"] == [1]

    def test_the_oldest_bar_of_a_full_answer_may_be_cut_and_is_left_out(self, server: Exchanges) -> None:
        """Full is as long as the limit, or a round number: exchanges have limits of their own."""
        for count, bars in ((1000, 1), (500, 1), (499, 2)):
            trades = [
                binance_trade(n, NOW_MS - (4_000 if n < 100 else 3_000), "100", "1") for n in range(count)
            ]
            server.put(TRADES, trades)
            assert len(many(market(server, data="trades").collect(NOW))) == bars, count

    def test_no_trades_are_an_empty_history(self, server: Exchanges) -> None:
        server.put(TRADES, [])
        assert many(market(server, data="trades").collect(NOW)) == ()

    def test_unknown_sides_make_the_bought_volume_unknown(self) -> None:
        trades = [{"timestamp": 1_000, "price": "2", "amount": "3", "side": None, "id": None}]
        ((_, row),) = trade_bars(trades, SECOND, NOW, 1000).items()
        assert row == {"price": "2", "vwap": 2.0, "volume": "3", "count": 1, "buy_volume": None}

    def test_sums_are_exact(self) -> None:
        trades = [{"timestamp": 1_000 + n, "price": "0.1", "amount": "0.1", "side": "buy"} for n in range(3)]
        ((_, row),) = trade_bars(trades, SECOND, NOW, 1000).items()
        assert (row["volume"], row["buy_volume"]) == ("0.3", "0.3")


class TestFaults:
    @pytest.mark.parametrize("data", PATHS)
    def test_what_is_no_such_data_is_an_input_error(self, server: Exchanges, data: str) -> None:
        source = market(server, data=data)
        for content in JUNK:
            server.put(PATHS[data], content, Content_Type="text/html")
            assert failure(source).startswith(f"binance: {data.rstrip('s')}"), content
        server.put(PATHS[data], BINANCE[PATHS[data]])
        found = source.collect(NOW)
        assert found.status == "ok" if isinstance(found, Snapshot) else found.snapshots

    @pytest.mark.parametrize("exchange", ["kraken", "upbit", "coinbase"])
    @pytest.mark.parametrize("data", PATHS)
    def test_other_exchanges_fail_no_other_way(self, server: Exchanges, exchange: str, data: str) -> None:
        symbol = "BTC/USDC" if exchange == "coinbase" else "BTC/USDT"
        source = market(server, exchange, symbol, data=data)
        source.collect(NOW)
        for content in (HTML, b"{", b"[1]", b'{"result": [7], "error": []}', b"{}"):
            for path in server.pages:
                server.put(path, content, Content_Type="text/html")
            assert failure(source, NOW + SECOND).startswith(f"{exchange}: {data.rstrip('s')}"), content

    @pytest.mark.parametrize("content", [HTML, b"{}", b'{"symbols": []}', b'{"symbols": [{}]}', b"[7]", b"{"])
    def test_a_list_of_markets_that_is_none(self, server: Exchanges, content: bytes) -> None:
        server.put(MARKETS, content)
        source = market(server)
        assert failure(source).startswith("binance: the list of markets: ")
        server.put(MARKETS, BINANCE_SPOT)
        assert one(source.collect(NOW + 1)).status == "ok"

    def test_after_429_nothing_is_asked_before_retry_after(self, server: Exchanges) -> None:
        source = market(server, "binance", "BTC/USDT", "ETH/USDT", data="books")
        source.collect(NOW)
        server.put(BOOK, {"code": -1003}, 429, Retry_After="30")
        before = len(server.asked)
        assert "DDoSProtection: binance 429 Too Many Requests" in failure(source)
        assert len(server.asked) == before + 1
        server.put(BOOK, BINANCE[BOOK])
        assert "asked to be left alone until 2023-11-14T22:15:50Z" in failure(source, NOW + 29 * SECOND)
        assert len(server.asked) == before + 1
        assert one(source.collect(NOW + 30 * SECOND)).status == "ok"

    @pytest.mark.parametrize(("text", "seconds"), [("3000", 300), ("Wed, 15 Nov 2023 07:28:00 GMT", 300)])
    def test_no_wait_is_longer_than_300_seconds(self, server: Exchanges, text: str, seconds: int) -> None:
        source = market(server)
        server.put(MARKETS, HTML, 503, Retry_After=text)
        failure(source)
        server.put(MARKETS, BINANCE_SPOT)
        assert "left alone" in failure(source, NOW + seconds * SECOND - 1)
        assert one(source.collect(NOW + seconds * SECOND)).status == "ok"

    def test_after_429_without_a_time_the_next_collection_asks_again(self, server: Exchanges) -> None:
        source = market(server)
        source.collect(NOW)
        server.put(TICKER, HTML, 429)
        assert "429" in failure(source)
        server.put(TICKER, BINANCE[TICKER])
        assert one(source.collect(NOW + SECOND)).status == "ok"

    @pytest.mark.parametrize("status", [400, 404, 418, 429, 451, 500, 502, 503, 520])
    def test_a_status_that_is_none_of_success_is_named_without_its_page(
        self, server: Exchanges, status: int
    ) -> None:
        server.put(TICKER, HTML * 100, status)
        error = failure(market(server))
        assert error.startswith("binance: tickers of BTC/USDT: ")
        assert "We are busy" not in error
        assert len(error) <= 300

    def test_redirects_are_not_followed(self, server: Exchanges) -> None:
        server.put(TICKER, HTML, 302, Location="http://127.0.0.1:1/")
        assert "answered 302; redirects are not followed" in failure(market(server))

    @pytest.mark.parametrize("fault", ["hold", "trickle"])
    def test_a_server_that_holds_its_answer_is_left(self, server: Exchanges, fault: str) -> None:
        source = market(server, timeout="300ms")
        source.collect(NOW)
        server.faults[TICKER] = fault
        assert failure(source) == (f"binance: tickers of BTC/USDT: {server.url} did not answer within 0.3 s")
        del server.faults[TICKER]
        assert one(source.collect(NOW + SECOND)).status == "ok"

    def test_one_symbol_that_gets_no_answer_leaves_the_others_two_end_the_collection(
        self, server: Exchanges
    ) -> None:
        symbols = [f"S{number}/USDT" for number in range(5)]
        listed = [
            {**BINANCE_SPOT["symbols"][0], "symbol": f"S{n}USDT", "baseAsset": f"S{n}"} for n in range(5)
        ]  # type: ignore[index]
        server.put(MARKETS, {"symbols": listed})
        source = market(server, "binance", *symbols, data="books", timeout="200ms")
        assert len(one(source.collect(NOW)).subjects) == 5
        server.faults[BOOK] = "hold"
        before = len(server.asked)
        assert "not asked, for 2 requests before it had no answer" in failure(source, NOW + SECOND)
        assert len(server.asked) == before + 2

    def test_a_connection_that_stays_half_open_ends_by_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            url = f"http://127.0.0.1:{mute.getsockname()[1]}"
            config = MarketConfig(
                exchange="kraken", symbols=("BTC/USDT",), url=url, allow_private=True, timeout="300ms"
            )
            assert "kraken: the list of markets: " in failure(MarketSource("venue", config))
        assert "cannot be reached" in failure(MarketSource("venue", config))

    @pytest.mark.parametrize("data", PATHS)
    def test_an_answer_that_ends_early_is_none(self, server: Exchanges, data: str) -> None:
        server.faults[PATHS[data]] = "cut"
        assert "the answer ended after" in failure(market(server, data=data))

    def test_packed_answers_are_unpacked(self, server: Exchanges) -> None:
        server.faults["*"] = "gzip"
        assert one(market(server).collect(NOW)).status == "ok"
        server.faults.clear()
        server.put(TICKER, HTML, Content_Encoding="gzip")
        assert "said to be gzip and is not" in failure(market(server))

    def test_private_networks_are_closed_unless_opened(self, server: Exchanges) -> None:
        error = failure(market(server, allow_private=False))
        assert "is at 127.0.0.1, which is not a public address; set allow_private = true" in error
        assert not server.asked

    def test_no_place_but_url_is_asked(self, server: Exchanges) -> None:
        source = market(server)
        source.collect(NOW)
        source._exchange.urls["api"]["public"] = "https://elsewhere.example/api/v3"
        assert "ccxt would ask https://elsewhere.example" in failure(source)

    def test_every_address_of_an_exchange_is_moved_and_keeps_its_path(self) -> None:
        urls = {"a": "https://{hostname}/v5", "b": {"c": ["wss://x/y", "http://z"]}, "d": 3}
        assert market_exchange._moved(urls, "http://here:1/") == {
            "a": "http://here:1/v5", "b": {"c": ["wss://x/y", "http://here:1"]}, "d": 3,
        }  # fmt: skip


class TestMarkets:
    def test_the_list_is_asked_for_once_an_hour(self, server: Exchanges) -> None:
        source = market(server)
        for moment in (NOW, NOW + SECOND, NOW + HOUR - 1, NOW + HOUR, NOW + HOUR + MINUTE):
            source.collect(moment)
        assert server.paths().count(MARKETS) == 2

    def test_a_symbol_that_vanishes_is_named_and_comes_back(self, server: Exchanges) -> None:
        source = market(server, "binance", "BTC/USDT", "ETH/USDT")
        source.collect(NOW)
        server.put(MARKETS, {"symbols": BINANCE_SPOT["symbols"][:1]})  # type: ignore[index]
        gone = one(source.collect(NOW + HOUR))
        assert (gone.subjects, gone.status) == (("BTC/USDT",), "partial")
        assert gone.error == "binance lists no market ETH/USDT; check symbols"
        server.put(MARKETS, BINANCE_SPOT)
        assert one(source.collect(NOW + HOUR + MINUTE - 1)).subjects == ("BTC/USDT",)
        back = one(source.collect(NOW + HOUR + MINUTE))
        assert (back.subjects, back.status) == (("BTC/USDT", "ETH/USDT"), "ok")

    def test_none_left_is_an_error(self, server: Exchanges) -> None:
        error = failure(market(server, "binance", "X/USDT", "Y/USDT"))
        assert error == "binance lists no market X/USDT, Y/USDT; check symbols"
        assert server.paths() == [MARKETS]

    @pytest.mark.parametrize(
        "content", [HTML, b'{"symbols": []}', b'{"symbols": [{"symbol": "BTCUSDT"}, 7]}']
    )
    def test_the_list_before_it_serves_while_a_new_one_cannot_be_had(
        self, server: Exchanges, content: bytes
    ) -> None:
        source = market(server)
        source.collect(NOW)
        server.put(MARKETS, content)
        for moment in (NOW + HOUR, NOW + HOUR + SECOND):
            snapshot = one(source.collect(moment))
            assert values(snapshot)["last"] == [36123.25]
            assert (snapshot.status == "partial") == (moment == NOW + HOUR)
        assert server.paths().count(MARKETS) == 2

    @pytest.mark.parametrize(
        ("types", "symbols", "left"),
        [
            (["spot", "linear", "inverse"], ("BTC/USDT",), ["spot"]),
            (["spot", "linear", "inverse"], ("BTC/USDT:USDT",), ["linear"]),
            (["spot", "linear", "inverse"], ("BTC/USD:BTC", "A/B"), ["spot", "inverse"]),
            (["spot", "linear", "inverse"], ("BTC/USD:USDC",), ["linear", "inverse"]),
            (["spot", "swap", "future", "option"], ("BTC/USDT:USDT-241227",), ["future"]),
            (["spot", "swap", "future", "option"], ("BTC/USD:BTC-241227-9000-C",), ["option"]),
            (["spot"], ("BTC/USDT:USDT",), ["spot"]),
            ({"spot": True, "swap": {"linear": True, "inverse": False}}, ("A/B",),
             {"spot": True, "swap": {"linear": False, "inverse": False}}),
        ],
    )  # fmt: skip
    def test_only_the_kinds_of_markets_that_the_symbols_need(
        self, types: Any, symbols: tuple[str, ...], left: Any
    ) -> None:
        needed = {kind for symbol in symbols for kind in market_exchange._kinds(symbol)}
        assert market_exchange._only(types, needed) == left

    def test_krakens_symbols_are_known_without_its_currencies(self, server: Exchanges) -> None:
        source = market(server, "kraken", "BTC/USDT", "BTC/USD")
        source.collect(NOW)
        assert set(source._exchange.markets) == {"BTC/USDT", "BTC/USD"}
        assert server.paths()[0] in KRAKEN

    def test_closed_it_opens_again(self, server: Exchanges) -> None:
        source = market(server)
        source.collect(NOW)
        source.close()
        assert one(source.collect(NOW + SECOND)).status == "ok"


FULL_PATHS = {
    "binance": {"/api/v3/ticker/24hr": TICKER, "/api/v3/klines": CANDLES},
    "kraken": {"/0/public/Ticker": "/0/public/Ticker", "/0/public/OHLC": "/0/public/OHLC"},
    "upbit": {"/v1/ticker": "/v1/ticker", "/v1/candles/": "/v1/candles/minutes/60"},
    "coinbase": {
        "/ticker": "/api/v3/brokerage/market/products/BTC-USDC/ticker",
        "/candles": "/api/v3/brokerage/market/products/BTC-USDC/candles",
    },
}
NAMES = {
    "last": "last", "bid": "bid", "ask": "ask", "bid_size": "bidVolume", "ask_size": "askVolume",
    "volume": "baseVolume", "quote_volume": "quoteVolume", "vwap": "vwap", "open": "open", "high": "high",
    "low": "low", "previous_close": "previousClose",
}  # fmt: skip


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside this checkout")
@pytest.mark.parametrize("exchange", FULL_PATHS)
class TestRecordings:
    def recording(self, server: Exchanges, exchange: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((RECORDINGS / f"{exchange}.json").read_bytes())
        for route, path in FULL_PATHS[exchange].items():
            content = document["routes"][route]
            server.put(path, [content] if route == TICKER else content)
        return document

    def test_the_ticker_is_what_is_expected(self, server: Exchanges, exchange: str) -> None:
        document = self.recording(server, exchange)
        expected = document["expect_ticker"]
        moment = expected["timestamp"]
        now_ns = (moment or NOW_MS) * MS
        fields = tuple(name for name, theirs in NAMES.items() if theirs in expected)
        snapshot = one(market(server, exchange, document["symbol"], fields=fields).collect(now_ns))
        assert (snapshot.status, snapshot.event_ns, snapshot.subjects) == (
            "ok",
            now_ns,
            (document["symbol"],),
        )
        for field in fields:
            theirs = expected[NAMES[field]]
            assert snapshot.fields[field][0] == pytest.approx(
                math.nan if theirs is None else theirs, nan_ok=True
            )

    def test_the_candles_are_what_is_expected(self, server: Exchanges, exchange: str) -> None:
        document = self.recording(server, exchange)
        timeframe = "1m" if exchange == "kraken" else "1h"
        source = market(server, exchange, document["symbol"], data="candles", timeframe=timeframe, bars=999)
        bars = many(source.collect(2_000_000_000 * SECOND))
        found = [
            [
                bar.event_ns // MS,
                *(bar.fields[name][0] for name in ("open", "high", "low", "close", "volume")),
            ]
            for bar in bars
        ]
        if exchange == "coinbase":
            assert [row[0] for row in found] == [1712188800000, 1712192400000]
            assert found[0][4] == 66314.59
        elif "expect_ohlcv" in document:
            assert found == document["expect_ohlcv"]
        else:
            assert len(found) == len(document["routes"]["/0/public/OHLC"]["result"]["XBTUSDT"])


def test_whatever_goes_wrong_inside_ccxt_is_short(server: Exchanges) -> None:
    source = market(server)
    source.collect(NOW)

    def explode(*_: Any) -> None:
        raise RuntimeError("x" * 5_000 + "\x00\ud800")

    source._exchange.fetch_tickers = explode
    with pytest.raises(InputError) as caught:
        source.collect(NOW)
    assert str(caught.value).startswith("binance: tickers of BTC/USDT: RuntimeError: xxx")
    assert len(str(caught.value)) == 300
