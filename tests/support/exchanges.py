"""Four exchanges on a local port: enough of their public APIs for ccxt, with values made up here.

Each answer can be replaced by another one, by a fault, or by a function of the query.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW_MS = 1_700_000_120_000
"""The moment of the recordings, twenty seconds into a minute."""
MINUTE_MS = 60_000
THIS_MINUTE_MS = NOW_MS - NOW_MS % MINUTE_MS

Query = Mapping[str, str]
Content = Any
"""JSON, bytes as they are, or a function of the query that gives one of them."""


class Exchanges(ThreadingHTTPServer):
    """Answers by path; what no path is known for is 404 with a page of HTML."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.pages: dict[str, tuple[int, dict[str, str], Content]] = {}
        self.faults: dict[str, str] = {}
        """By path, `*` for every path. `hold`: no answer; `cut`: closed within the body; `gzip`: packed;
        `trickle`: a byte now and then, without end."""
        self.asked: list[str] = []
        self.released = threading.Event()
        for path, content in {**BINANCE, **KRAKEN, **UPBIT, **COINBASE}.items():
            self.put(path, content)

    def put(self, path: str, content: Content, status: int = 200, **headers: str) -> None:
        self.pages[path] = (status, {name.replace("_", "-"): text for name, text in headers.items()}, content)

    def paths(self) -> list[str]:
        return [urlsplit(target).path for target in self.asked]


class _Handler(BaseHTTPRequestHandler):
    server: Exchanges

    def do_GET(self) -> None:
        server, parts = self.server, urlsplit(self.path)
        server.asked.append(self.path)
        fault = server.faults.get(parts.path) or server.faults.get("*")
        if fault == "hold":
            server.released.wait(20)
            return
        page = b"<html><body>nothing here</body></html>"
        status, headers, content = server.pages.get(parts.path, (404, {"Content-Type": "text/html"}, page))
        if callable(content):
            content = content({key: values[0] for key, values in parse_qs(parts.query).items()})
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        body = gzip.compress(body) if fault == "gzip" else body
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, text)
        if fault == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(10**6 if fault == "trickle" else len(body)))
        self.end_headers()
        while fault == "trickle" and not server.released.wait(0.02):
            self.wfile.write(b" ")
        self.wfile.write(body[: len(body) // 2] if fault == "cut" else body)

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever asked has left
            super().handle()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def exchanges() -> Iterator[Exchanges]:
    with Exchanges() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


def candle_starts(count: int) -> list[int]:
    """Of the minutes up to the one that is not over."""
    return [THIS_MINUTE_MS - MINUTE_MS * back for back in reversed(range(count))]


def _binance_market(base: str, quote: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": base + quote, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "baseAssetPrecision": 8, "quotePrecision": 8, "permissions": ["SPOT"],
        "filters": [{"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.01"}],
        **more,
    }  # fmt: skip


BINANCE_SPOT = {
    "serverTime": NOW_MS,
    "symbols": [_binance_market("BTC", "USDT"), _binance_market("ETH", "USDT")],
}
_SWAP = {"contractType": "PERPETUAL", "deliveryDate": 4133404800000, "marginAsset": "USDT"}
BINANCE_LINEAR = {"serverTime": NOW_MS, "symbols": [_binance_market("BTC", "USDT", **_SWAP)]}
_BINANCE_TICKERS = {
    "BTCUSDT": {
        "symbol": "BTCUSDT", "priceChange": "200.50", "priceChangePercent": "0.558",
        "weightedAvgPrice": "36010.25", "prevClosePrice": "35922.75", "lastPrice": "36123.25",
        "bidPrice": "36123.00", "bidQty": "1.5", "askPrice": "36123.50", "askQty": "0.75",
        "openPrice": "35922.75", "highPrice": "36500.00", "lowPrice": "35800.00",
        "volume": "12345.67890123456789", "quoteVolume": "444570000.5", "closeTime": NOW_MS - 400,
    },
    "ETHUSDT": {
        "symbol": "ETHUSDT", "lastPrice": "1999.25", "bidPrice": "1999.20", "bidQty": "10",
        "askPrice": "1999.30", "askQty": "20", "openPrice": "1980", "volume": "5000",
        "quoteVolume": "9990000", "closeTime": NOW_MS - 1_400,
    },
}  # fmt: skip


def _binance_tickers(query: Query) -> Any:
    if "symbol" in query:
        return _BINANCE_TICKERS[query["symbol"]]
    return [_BINANCE_TICKERS[name] for name in json.loads(query["symbols"])]


def binance_candle(start_ms: int, close: str = "101") -> list[Any]:
    return [start_ms, "100.5", "102", "99", close, "7.25", start_ms + 59_999, "730", 12, "3", "300", "0"]


def binance_trade(
    number: int, time_ms: int, price: str, amount: str, *, sold: bool = False
) -> dict[str, Any]:
    return {
        "a": number,
        "p": price,
        "q": amount,
        "f": number,
        "l": number,
        "T": time_ms,
        "m": sold,
        "M": True,
    }


BINANCE: dict[str, Content] = {
    "/api/v3/exchangeInfo": BINANCE_SPOT,
    "/fapi/v1/exchangeInfo": BINANCE_LINEAR,
    "/api/v3/ticker/24hr": _binance_tickers,
    "/fapi/v1/ticker/24hr": [
        {"symbol": "BTCUSDT", "lastPrice": "36120.1", "volume": "9", "closeTime": NOW_MS - 900}
    ],
    "/api/v3/depth": {
        "lastUpdateId": 7,
        "bids": [["99.5", "1.1"], ["100.5", "0.5"], ["98", "2"]],
        "asks": [["101", "0.25"], ["102", "4"]],
    },
    "/api/v3/klines": lambda query: [binance_candle(start) for start in candle_starts(int(query["limit"]))],
    "/api/v3/aggTrades": [
        binance_trade(9, NOW_MS - 4_000, "100", "1"),
        binance_trade(10, NOW_MS - 4_000, "103", "0.5", sold=True),
        binance_trade(11, NOW_MS - 2_500, "102", "2"),
        binance_trade(12, NOW_MS + 100, "104", "1"),
    ],
}  # fmt: skip

_KRAKEN_PAIR = {
    "altname": "XBTUSDT", "wsname": "XBT/USDT", "base": "XXBT", "quote": "USDT", "pair_decimals": 5,
    "lot_decimals": 8, "leverage_buy": [2, 3], "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]],
    "ordermin": "0.0001", "status": "online",
}  # fmt: skip
KRAKEN: dict[str, Content] = {
    "/0/public/AssetPairs": {
        "error": [],
        "result": {
            "XBTUSDT": _KRAKEN_PAIR,
            "XXBTZUSD": {**_KRAKEN_PAIR, "altname": "XBTUSD", "wsname": "XBT/USD", "quote": "ZUSD"},
        },
    },
    "/0/public/Ticker": {
        "error": [],
        "result": {
            "XBTUSDT": {
                "a": ["36124.10000", "1", "1.000"], "b": ["36124.00000", "1", "2.500"],
                "c": ["36124.10000", "0.01"], "v": ["90.5", "410.12345678"], "p": ["36050", "36020.5"],
                "t": [100, 300], "l": ["35850", "35800"], "h": ["36480", "36490"], "o": "36000.00000",
            }
        },
    },
    "/0/public/Depth": {
        "error": [],
        "result": {"XBTUSDT": {"asks": [["36125", "0.4", NOW_MS]], "bids": [["36124", "0.6", NOW_MS]]}},
    },
    "/0/public/OHLC": {
        "error": [],
        "result": {
            "XBTUSDT": [
                [ms // 1000, "100.5", "102", "99", "101", "100", "7.25", 3] for ms in candle_starts(5)
            ],
            "last": 1,
        },
    },
    "/0/public/Trades": {
        "error": [],
        "result": {
            "XBTUSDT": [
                ["100.0", "1.0", NOW_MS / 1000 - 4, "b", "m", "", 1],
                ["103.0", "0.5", NOW_MS / 1000 - 3.9, "s", "l", "", 2],
            ],
            "last": "2",
        },
    },
}  # fmt: skip

UPBIT: dict[str, Content] = {
    "/v1/market/all": [{"market": "USDT-BTC", "korean_name": "비트코인", "english_name": "Bitcoin"}],
    "/v1/ticker": (
        b'[{"market": "USDT-BTC", "trade_timestamp": 1700000119000, "opening_price": 36000.5,'
        b' "high_price": 36500, "low_price": 35800, "trade_price": 36123.12345678901234,'
        b' "prev_closing_price": 36000.5, "signed_change_price": 360.005, "signed_change_rate": 0.01,'
        b' "acc_trade_volume_24h": 7.0393, "acc_trade_price_24h": 254000.25}]'
    ),
    "/v1/orderbook": [
        {
            "market": "USDT-BTC", "timestamp": NOW_MS - 700,
            "orderbook_units": [
                {"ask_price": 36124.5, "bid_price": 36123.5, "ask_size": 0.5, "bid_size": 0.25},
                {"ask_price": 36125.5, "bid_price": 36122.5, "ask_size": 1.5, "bid_size": 2.25},
            ],
        }
    ],
    "/v1/candles/minutes/1": [
        {
            "market": "USDT-BTC", "candle_date_time_utc": "2023-11-14T22:14:00", "opening_price": 100.5,
            "high_price": 102, "low_price": 99, "trade_price": 101, "candle_acc_trade_volume": 7.25,
        }
    ],
    "/v1/trades/ticks": [
        {"market": "USDT-BTC", "timestamp": NOW_MS - 3_000, "trade_price": 103.0, "trade_volume": 0.5,
         "ask_bid": "ASK", "sequential_id": 17000001170000001},
        {"market": "USDT-BTC", "timestamp": NOW_MS - 3_200, "trade_price": 100.0, "trade_volume": 1.0,
         "ask_bid": "BID", "sequential_id": 17000001168000000},
    ],
}  # fmt: skip

_COINBASE_PRODUCT = {
    "product_id": "BTC-USDC", "price": "36123.03", "volume_24h": "1096.5", "base_increment": "0.00000001",
    "quote_increment": "0.01", "price_increment": "0.01", "quote_min_size": "1", "quote_max_size": "1000000",
    "base_min_size": "0.00000001", "base_max_size": "3400", "status": "online", "trading_disabled": False,
    "product_type": "SPOT", "quote_currency_id": "USDC", "base_currency_id": "BTC", "alias_to": [],
}  # fmt: skip
_COINBASE = "/api/v3/brokerage/market"


def _coinbase_products(query: Query) -> Any:
    return {"products": [] if query.get("product_type") == "FUTURE" else [_COINBASE_PRODUCT]}


COINBASE: dict[str, Content] = {
    f"{_COINBASE}/products": _coinbase_products,
    f"{_COINBASE}/products/BTC-USDC/ticker": {
        "trades": [
            {"trade_id": "635541194", "product_id": "BTC-USDC", "price": "36123.03", "size": "0.5",
             "time": "2023-11-14T22:15:18.063595Z", "side": "BUY", "bid": "", "ask": ""},
            {"trade_id": "635541193", "product_id": "BTC-USDC", "price": "36120.03", "size": "1.5",
             "time": "2023-11-14T22:15:18.001Z", "side": "SELL", "bid": "", "ask": ""},
        ],
        "best_bid": "36122.58", "best_ask": "36123.59",
    },
    f"{_COINBASE}/products/BTC-USDC/candles": {
        "candles": [
            {"start": str(ms // 1000), "low": "99", "high": "102", "open": "100.5", "close": "101",
             "volume": "7.25"}
            for ms in reversed(candle_starts(3))
        ]
    },
    f"{_COINBASE}/product_book": {
        "pricebook": {
            "product_id": "BTC-USDC", "time": "2023-11-14T22:15:19.662782Z",
            "bids": [{"price": "36122.5", "size": "0.17"}], "asks": [{"price": "36123.5", "size": "0.2"}],
        }
    },
}  # fmt: skip
