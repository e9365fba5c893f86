"""Public market data of one exchange through ccxt: tickers, order books, candles, trades. No keys."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt, StringConstraints

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.errors import ConfigError, InputError, ObserverError
from observer_core.snapshot_engine.exact import column
from observer_core.snapshot_engine.names import fault
from observer_core.snapshot_engine.source import Collected
from observer_core.snapshot_engine.sources.market_bars import (
    CANDLE,
    TRADE_BAR,
    Bars,
    Row,
    as_snapshot,
    candle_bars,
    history,
    listed,
    nanoseconds,
    trade_bars,
)
from observer_core.snapshot_engine.sources.market_exchange import Http, cause, ccxt_errors, make, named, short

T = TypeVar("T")
_MINUTE, _HOUR = 60 * SECOND, 3600 * SECOND
_MOST_TRADES: Final = 1000
_NEEDS: Final = {
    "tickers": ("fetchTickers", "fetchTicker"), "books": ("fetchOrderBook",), "candles": ("fetchOHLCV",),
    "trades": ("fetchTrades",),
}  # fmt: skip
_LIST_WITHOUT_QUOTES: Final = frozenset(("coinbase",))
"""Exchanges whose list of tickers has neither bid nor ask nor time, while each ticker has."""
_TICKER: Final = {
    "last": "last", "bid": "bid", "ask": "ask", "bid_size": "bidVolume", "ask_size": "askVolume",
    "volume": "baseVolume", "quote_volume": "quoteVolume", "vwap": "vwap", "open": "open", "high": "high",
    "low": "low", "previous_close": "previousClose", "mark": "markPrice", "index": "indexPrice",
}  # fmt: skip
TickerField = Literal[
    "last", "bid", "ask", "bid_size", "ask_size", "volume", "quote_volume", "vwap", "open", "high", "low",
    "previous_close", "mark", "index", "change",
]  # fmt: skip
_BOOK: Final = ("bid", "bid_size", "ask", "ask_size", "bid_depth", "ask_depth")


def _symbol(text: str) -> str:
    if problem := fault(text):
        raise ValueError(problem)
    return text


def _unique(items: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(items)) < len(items):
        raise ValueError("each may stand there once only")
    return items


Symbol = Annotated[
    str, StringConstraints(pattern=r"^[^\s/:]+/[^\s/:]+(:[^\s/:]+)?$"), AfterValidator(_symbol)
]
Positive = Annotated[DurationNs, Field(gt=0)]


class MarketConfig(Config):
    """What is asked of which exchange. Symbols are ccxt's: BTC/USDT, BTC/USDT:USDT for a swap."""

    exchange: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")]
    symbols: Annotated[tuple[Symbol, ...], Field(min_length=1), AfterValidator(_unique)]
    data: Literal["tickers", "books", "candles", "trades"] = "tickers"
    interval: Positive = 5 * SECOND
    timeout: Positive = 5 * SECOND
    """How long one request may take in all."""
    timeframe: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,3}[smhdwMy]$")] = "1m"
    """Of candles, as ccxt writes it."""
    bar: Positive = SECOND
    """Trades are summed over bars of this length."""
    bars: Annotated[int, Field(ge=1, lt=1000)] = 60
    """How many past candles are asked for at most."""
    depth: PositiveInt = 5
    fields: Annotated[tuple[TickerField, ...], Field(min_length=1), AfterValidator(_unique)] = (
        "last", "bid", "ask", "bid_size", "ask_size", "volume",
    )  # fmt: skip
    """Of tickers. `change` is a share of 1."""
    stale_after: Positive = 60 * SECOND
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+/?$")] | None = None
    """Instead of the exchange's own hosts: a proxy, a recording. The paths stay the exchange's."""
    allow_private: bool = False
    """Whether the host may be at a loopback or private address."""


class MarketSource:
    """Tickers and books as one snapshot, candles and trades as bars gone by; closed ones only.

    A symbol that the exchange does not list, or that fails alone, is named in the error and makes
    the snapshot partial; when nothing is left, that is an error. Each request is bounded by `timeout`
    in all, and nothing is asked before a `Retry-After` has passed.
    """

    def __init__(self, name: str, config: MarketConfig) -> None:
        self.name = name
        self._config = config
        self._http = Http(f"source {name!r}", config.timeout, config.url, config.allow_private)
        self._exchange: Any = None
        self._loaded_ns: int | None = None
        self._tried_ns = 0
        self._doubt = False
        self._takes_limit = True

    @property
    def interval_ns(self) -> int:
        return self._config.interval

    def close(self) -> None:
        self._exchange = self._loaded_ns = None

    def collect(self, now_ns: int) -> Collected:
        config = self._config
        if self._exchange is None:
            self._exchange = self._make()
        self._http.begin(now_ns)
        notes: list[str] = []
        symbols = self._listed_symbols(now_ns, notes)
        if config.data == "candles":
            bars = self._each("candles", symbols, notes, partial(self._candles, now_ns))
            return history(self.name, now_ns, bars, CANDLE, notes)
        if config.data == "trades":
            bars = self._each("trades", symbols, notes, partial(self._trades, now_ns))
            return history(self.name, now_ns, bars, TRADE_BAR, notes)
        if config.data == "books":
            found = self._each("book", symbols, notes, self._book)
        else:
            found = self._tickers(symbols, notes)
        rows = {symbol: row for symbol, (_, row) in found.items()}
        times = {symbol: moment for symbol, (moment, _) in found.items() if moment is not None}
        stale = {
            symbol: ("stale",) for symbol, moment in times.items() if moment < now_ns - config.stale_after
        }
        event_ns = max(times.values(), default=now_ns)
        fields = _BOOK if config.data == "books" else config.fields
        return as_snapshot(self.name, event_ns, now_ns, rows, fields, notes, stale)

    def _make(self) -> Any:
        config = self._config
        exchange = make(config.exchange, config.symbols, self._http, config.timeout)
        if not any(exchange.has.get(method) for method in _NEEDS[config.data]):
            raise ConfigError(f"{config.exchange} has no {config.data}; choose another data or exchange")
        timeframes = exchange.timeframes or (config.timeframe,)
        if config.data == "candles" and config.timeframe not in timeframes:
            known = ", ".join(timeframes)
            raise ConfigError(f"{config.exchange} has no candles of {config.timeframe!r}; it has {known}")
        return exchange

    def _listed_symbols(self, now_ns: int, notes: list[str]) -> list[str]:
        """The symbols that the exchange lists, by a list of this hour."""
        loaded, since_ns = self._loaded_ns, now_ns - self._tried_ns
        if loaded is None or (since_ns >= _MINUTE and (self._doubt or now_ns - loaded >= _HOUR)):
            self._tried_ns = now_ns
            try:
                self._ask("the list of markets", self._load)
                self._loaded_ns, self._doubt = now_ns, False
            except InputError as error:
                if loaded is None:
                    raise
                notes.append(str(error))
        markets = self._exchange.markets
        unknown = [symbol for symbol in self._config.symbols if symbol not in markets]
        if unknown:
            self._doubt = True
            notes.append(f"{self._config.exchange} lists no market {named(unknown)}; check symbols")
        if len(unknown) == len(self._config.symbols):
            raise InputError(listed(notes))
        return [symbol for symbol in self._config.symbols if symbol in markets]

    def _load(self) -> None:
        """The list of markets; the one before it stays when none can be had."""
        exchange, before = self._exchange, self._exchange.markets
        try:
            exchange.number = float  # ccxt's parsers of markets compare numbers
            exchange.load_markets(True)
            if not exchange.markets:
                raise InputError(f"no market came{self._http.seen}")
        except Exception:
            if before:
                exchange.set_markets(list(before.values()))
            raise
        finally:
            exchange.number = str

    def _tickers(self, symbols: list[str], notes: list[str]) -> dict[str, tuple[int | None, Row]]:
        config, exchange = self._config, self._exchange
        alone = exchange.id in _LIST_WITHOUT_QUOTES and not {"bid", "ask"}.isdisjoint(config.fields)
        if alone or not exchange.has.get("fetchTickers"):
            tickers = self._each("ticker", symbols, notes, exchange.fetch_ticker)
        else:
            tickers = {}
            for group in self._groups(symbols):
                tickers |= self._group(group, notes)
        found: dict[str, tuple[int | None, Row]] = {}
        for symbol in filter(tickers.__contains__, symbols):
            ticker = tickers[symbol]
            if isinstance(ticker, dict) and _has_price(ticker):
                row: dict[str, Any] = {field: ticker.get(_TICKER.get(field)) for field in config.fields}
                if "change" in row:
                    row["change"] = _share(ticker)
                found[symbol] = (nanoseconds(ticker.get("timestamp")), row)
            else:
                notes.append(
                    f"{config.exchange}: ticker of {symbol}: neither last, bid nor ask came{self._http.seen}"
                )
        if not found:
            raise InputError(listed(notes))
        return found

    def _groups(self, symbols: list[str]) -> list[list[str]]:
        """Symbols that one request may ask for: of one kind of market."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        for symbol in symbols:
            market = self._exchange.markets[symbol]
            kind = tuple(market.get(key) for key in ("type", "linear", "settle"))
            groups.setdefault(kind, []).append(symbol)
        return list(groups.values())

    def _group(self, symbols: list[str], notes: list[str]) -> dict[str, Any]:
        """The tickers of one request; each alone when the exchange does not know one of them."""

        def fetch() -> dict[str, Any]:
            tickers = self._exchange.fetch_tickers(symbols)
            return {symbol: tickers.get(symbol) for symbol in symbols}

        try:
            return self._ask(f"tickers of {named(symbols)}", fetch)
        except _UnknownSymbol as error:
            if len(symbols) > 1:
                return self._each("ticker", symbols, notes, self._exchange.fetch_ticker, some=False)
            notes.append(str(error))
        except InputError as error:
            notes.append(str(error))
        return {}

    def _book(self, symbol: str) -> tuple[int | None, Row]:
        depth = self._config.depth
        book = self._limited(partial(self._exchange.fetch_order_book, symbol), depth)
        row: dict[str, Any] = {}
        for side, levels in (("bid", book["bids"]), ("ask", book["asks"])):
            found = [(Decimal(str(level[0])), level) for level in levels if None not in level[:2]]
            best = [level for _, level in sorted(found, key=lambda item: item[0], reverse=side == "bid")]
            if best:
                row[side], row[f"{side}_size"] = best[0][:2]
                row[f"{side}_depth"] = f"{sum(Decimal(str(level[1])) for level in best[:depth]):f}"
        if not row:
            raise InputError(f"the book is empty{self._http.seen}")
        return nanoseconds(book.get("timestamp")), row

    def _candles(self, now_ns: int, symbol: str) -> Bars:
        timeframe = self._config.timeframe
        length = self._exchange.parse_timeframe(timeframe)
        if timeframe[-1] in "My":  # ccxt counts 30 and 365 days; the longest end later
            length += 86_400 * int(timeframe[:-1])
        fetch = partial(self._exchange.fetch_ohlcv, symbol, timeframe)
        candles = self._several(self._limited(fetch, self._config.bars + 1))
        bars = candle_bars(candles, length * SECOND, now_ns)
        return dict(list(bars.items())[-self._config.bars :])

    def _trades(self, now_ns: int, symbol: str) -> Bars:
        trades = self._several(self._limited(partial(self._exchange.fetch_trades, symbol), _MOST_TRADES))
        return trade_bars(trades, self._config.bar, now_ns, _MOST_TRADES)

    def _several(self, found: Any) -> list[Any]:
        if not isinstance(found, list) or not (found or self._http.says_none()):
            raise InputError(f"a list was expected and none came{self._http.seen}")
        return found

    def _limited(self, fetch: Callable[..., Any], limit: int) -> Any:
        """What `fetch` gives for `limit`; as many as the exchange likes when it takes no such limit."""
        errors = ccxt_errors()
        try:
            return fetch(limit=limit if self._takes_limit else None)
        except errors.ExchangeError as error:
            if isinstance(error, errors.BadSymbol) or not self._takes_limit:
                raise
            found = fetch(limit=None)
            self._takes_limit = False
            return found

    def _each(
        self, what: str, symbols: list[str], notes: list[str], read: Callable[[str], T], *, some: bool = True
    ) -> dict[str, T]:
        """What can be read, symbol by symbol; what cannot joins the notes. `InputError` without `some`."""
        found = {}
        for symbol in symbols:
            try:
                found[symbol] = self._ask(f"{what} of {symbol}", partial(read, symbol))
            except InputError as error:
                notes.append(str(error))
        if some and not found:
            raise InputError(listed(notes))
        return found

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """The answer of a call into ccxt; whatever goes wrong in there is an `InputError`, and short."""
        kind = InputError
        try:
            return call()
        except ObserverError as error:
            why = str(error)
        except Exception as error:
            why = cause(error, self._http.seen)
            if isinstance(error, ccxt_errors().BadSymbol):
                kind, self._doubt = _UnknownSymbol, True
        raise kind(short(f"{self._config.exchange}: {what}: {why}"))


class _UnknownSymbol(InputError):
    """The exchange does not know a symbol that it listed."""


def _has_price(ticker: dict[str, Any]) -> bool:
    prices, _, _ = column([ticker.get(key) for key in ("last", "bid", "ask")])
    return bool(np.isfinite(prices).any())


def _share(ticker: dict[str, Any]) -> Any:
    """ccxt's `percentage` as a share of 1; of some exchanges it is one already, as `change` tells."""
    try:
        given = Decimal(ticker["percentage"])
        share = given / 100
        if ticker.get("change") and ticker.get("open"):
            exact = Decimal(ticker["change"]) / Decimal(ticker["open"])
            share = given if abs(given - exact) < abs(share - exact) else share
        return f"{share:f}"
    except (ArithmeticError, TypeError, ValueError, KeyError):
        return ticker.get("percentage")
