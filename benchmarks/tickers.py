"""`make bench`: one bulk answer of an exchange, read, normalised and flagged, beside plain JSON parsers.

The answer is as an exchange gives it: every ticker with 21 fields, numbers as decimal texts. With
`--answer FILE` a recorded ticker of that shape is repeated instead of the built-in one.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from observer_core.safety.outbound import Answer
from observer_core.shared.clock import SECOND
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.snapshot_engine.sources.http_api import HttpApiConfig, HttpApiSource

FIELDS = {
    "last": "lastPrice", "bid": "bidPrice", "ask": "askPrice", "bid_size": "bidQty", "ask_size": "askQty",
    "volume": "volume",
}  # fmt: skip
_NOW = 1_700_000_000 * SECOND


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--answer", type=Path, help="a JSON file whose first object with lastPrice is repeated"
    )
    parser.add_argument("--tickers", type=int, default=5_000)
    parser.add_argument("--turns", type=int, default=40)
    options = parser.parse_args()
    body = bulk(options.tickers, _recorded(options.answer))
    config = HttpApiConfig(url="https://exchange.example/", subject="symbol", fields=FIELDS)
    source, normaliser = HttpApiSource("bench", config, str), Normaliser()
    state = normaliser.initial()

    def whole(turn: int) -> None:
        snapshot = source._snapshot(Answer(200, {}, body), _NOW + turn * SECOND)
        assert len(normaliser.apply(state, snapshot).subjects) == options.tickers

    ways: dict[str, Callable[[int], Any]] = {
        "json.loads alone": lambda _: json.loads(body), "orjson.loads alone": lambda _: orjson.loads(body),
        f"read, normalised, flagged ({len(FIELDS)} fields)": whole,
    }  # fmt: skip
    print(
        f"{f'{options.tickers:,} tickers, {len(body) / 1e6:.2f} MB':44} "
        f"{'p50, ms':>8} {'least':>8} {'/json':>6}"
    )
    seconds = compare(ways, options.turns)
    plain = statistics.median(seconds["json.loads alone"])
    for name, found in seconds.items():
        median = statistics.median(found)
        print(f"{name:44} {median * 1e3:8.2f} {min(found) * 1e3:8.2f} {median / plain:5.2f}x", flush=True)


def compare(ways: dict[str, Callable[[int], Any]], turns: int) -> dict[str, list[float]]:
    """Seconds of each, in turns, so that all meet the same machine."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # as the standalone runtime does
    for turn in range(turns):
        for name, work in ways.items():
            started = time.perf_counter()
            work(turn)
            seconds[name].append(time.perf_counter() - started)
    return seconds


def bulk(count: int, ticker: dict[str, Any]) -> bytes:
    return orjson.dumps([{**ticker, "symbol": f"S{number:04d}USDT"} for number in range(count)])


def _recorded(path: Path | None) -> dict[str, Any]:
    if path is None:
        return _TICKER
    found = _ticker_in(json.loads(path.read_text("utf-8")))
    if found is None:
        raise SystemExit(f"{path}: holds no object with lastPrice")
    return found


def _ticker_in(value: Any) -> dict[str, Any] | None:
    if isinstance(value, dict):
        if "lastPrice" in value:
            return value
        value = list(value.values())
    found = map(_ticker_in, value) if isinstance(value, list) else ()
    return next((ticker for ticker in found if ticker is not None), None)


_TICKER = {
    "symbol": "", "priceChange": "-94.99999800", "priceChangePercent": "-95.960",
    "weightedAvgPrice": "29628.48000000", "prevClosePrice": "10002.10000000", "lastPrice": "40000.20000000",
    "lastQty": "200.00000000", "bidPrice": "40000.00000000", "bidQty": "100.00000000",
    "askPrice": "40000.40000000", "askQty": "100.00000000", "openPrice": "99000.00000000",
    "highPrice": "100000.0000000", "lowPrice": "10000.10000000", "volume": "8913.30000000",
    "quoteVolume": "153000000.30000000", "openTime": 1499783499040, "closeTime": 1499869899040,
    "firstId": 28385, "lastId": 28460, "count": 76,
}  # fmt: skip

if __name__ == "__main__":
    main()
