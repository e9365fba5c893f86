"""Captures of exchanges' messages: which rows they make, digit for digit, and what refuses them."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.recorded.captures import Captures, Row, Venue, rows
from observer_core.snapshot_engine.recorded.content import RecordingError

VENUES: tuple[Venue, ...] = get_args(Venue)


def exact(row: Row) -> dict[str, Any]:
    """The row as it is written, its numbers with the digits that stand there."""
    found = json.loads(row.encode(), parse_float=Decimal, parse_int=Decimal)
    assert isinstance(found, dict)
    return {name: str(value) for name, value in found.items()}


def converted(venue: Venue, *lines: str) -> tuple[list[dict[str, Any]], Counter[str]]:
    skipped: Counter[str] = Counter()
    return [exact(row) for row in rows([line.encode() for line in lines], venue, skipped)], skipped


def binance(stream: str, data: dict[str, Any], time: str = "1700000000.1234567") -> str:
    return f"{time}: {json.dumps({'stream': stream, 'data': data})}"


def kline(closed: bool) -> str:
    bar = {"t": 1, "T": 2, "s": "SOLFDUSD", "i": "1m", "o": "1.10", "c": "1.30", "h": "1.40", "l": "1.00",
           "v": "5.50", "x": closed}  # fmt: skip
    return binance("solfdusd@kline_1m", {"e": "kline", "E": 1700000000050, "s": "SOLFDUSD", "k": bar})


def upbit(data: str, time: str = "1700000000.5") -> str:
    return f"{time}: {data.encode()!r}"


BOOK_TICKER = binance(
    "foobtc@bookTicker", {"u": 7, "s": "FOOBTC", "b": "0.10000000", "B": "2.50", "a": "0.20", "A": "3"}
)
AGG_TRADE = binance(
    "foousdt@aggTrade",
    {"e": "aggTrade", "E": 1700000000009, "s": "FOOUSDT", "p": "12.3400", "q": "0.00000001",
     "T": 1700000000008},
)  # fmt: skip
DEPTH = binance(
    "foousdt@depth", {"e": "depthUpdate", "E": 1, "s": "FOOUSDT", "U": 1, "u": 2, "b": [], "a": []}
)
KRAKEN_TRADES = (
    '1700000000.25: [9,[["2.50","1.00","1700000000.2","s","l",""],'
    '["2.50","1.00","1700000000.201234","s","l",""]],"trade","XBT/EUR"]'
)
KRAKEN_TICKER = (
    '1700000000.5: [8,{"a":["2.60",3,"3.5"],"b":["2.40",1,"1.25"],"c":["2.50","0.10"],"v":["10.0","20.0"],'
    '"p":["2.1","2.2"],"t":[5,6],"l":["1.0","0.9"],"h":["3.0","3.1"],"o":["1.5","1.6"]},"ticker","XDG/USD"]'
)
UPBIT_TRADE = upbit(
    '{"ty":"trade","cd":"KRW-FOO","tms":1700000000400,"ttms":1700000000000,"tp":12.50,"tv":3E-7}'
)
UPBIT_BOOK = upbit(
    '{"ty":"orderbook","cd":"BTC-FOO","tms":1700000000410,"obu":[{"ap":2.0,"bp":1.0,"as":30.0,"bs":4},'
    '{"ap":3.0,"bp":0.5,"as":1,"bs":1}]}'
)
CONTROL = [
    "wss://venue.example/ws <-> 1700000000.1",
    'wss://venue.example/ws <- 1700000000.2: {"event":"subscribe"}',
    "https://venue.example/markets -> 1700000000.3: <html>not even JSON",
    'configuration: {"trades":["FOO-BAR"]}',
    "",
]


def test_binance_gives_a_row_for_quotes_trades_and_closed_bars() -> None:
    found, skipped = converted("binance", BOOK_TICKER, AGG_TRADE, kline(False), kline(True), DEPTH)
    assert found == [
        {"time": "2023-11-14T22:13:20.1234567Z", "subject": "FOO/BTC",
         "bid": "0.10000000", "bid_size": "2.50", "ask": "0.20", "ask_size": "3"},
        {"time": "2023-11-14T22:13:20.1234567Z", "subject": "FOO/USDT",
         "event_time": "2023-11-14T22:13:20.008Z", "price": "12.3400", "amount": "1E-8"},
        {"time": "2023-11-14T22:13:20.1234567Z", "subject": "SOL/FDUSD",
         "event_time": "2023-11-14T22:13:20.05Z",
         "open": "1.10", "high": "1.40", "low": "1.00", "close": "1.30", "volume": "5.50"},
    ]  # fmt: skip
    assert skipped == {"kline (open)": 1, "depthUpdate": 1}


def test_binance_is_understood_without_the_name_of_the_stream_too() -> None:
    found, skipped = converted(
        "binance",
        '1700000000.1: {"s":"FOOBNB","b":"1","B":"2","a":"3","A":"4"}',
        '1700000000.2: {"e":"bookTicker","s":"FOOETH","b":"1","B":"2","a":"3","A":"4","T":1700000000001}',
        '1700000000.3: {"result":null,"id":1}',
    )
    assert [row["subject"] for row in found] == ["FOO/BNB", "FOO/ETH"]
    assert ["event_time" in row for row in found] == [False, True]
    assert skipped == {"subscription answer": 1}


def test_a_symbol_of_binance_is_split_at_the_longest_quote_that_it_ends_with() -> None:
    names = {"NKNUSDT": "NKN/USDT", "BTCTUSD": "BTC/TUSD", "BTCFDUSD": "BTC/FDUSD", "ADAEUR": "ADA/EUR",
             "USDTBIDR": "USDT/BIDR", "USDCUSDT": "USDC/USDT", "WBTCETH": "WBTC/ETH", "币USDT": "币/USDT",
             }  # fmt: skip
    lines = [BOOK_TICKER.replace("FOOBTC", symbol) for symbol in names]
    assert [row["subject"] for row in converted("binance", *lines)[0]] == list(names.values())


def test_kraken_gives_a_row_a_trade_and_the_ticker_of_a_day() -> None:
    events = [f'1700000000.1: {{"event":"{kind}"}}' for kind in ("systemStatus", "subscriptionStatus")]
    beats = ['1700000000.2: {"event":"heartbeat"}'] * 3
    book = '1700000000.6: [1,{"a":[]},{"b":[]},"book-10","XBT/EUR"]'
    found, skipped = converted("kraken", *events, *beats, KRAKEN_TRADES, KRAKEN_TICKER, book)
    assert found == [
        {"time": "2023-11-14T22:13:20.25Z", "subject": "BTC/EUR", "event_time": "2023-11-14T22:13:20.2Z",
         "price": "2.50", "amount": "1.00"},
        {"time": "2023-11-14T22:13:20.250000001Z", "subject": "BTC/EUR",
         "event_time": "2023-11-14T22:13:20.201234Z", "price": "2.50", "amount": "1.00"},
        {"time": "2023-11-14T22:13:20.5Z", "subject": "DOGE/USD", "bid": "2.40", "bid_size": "1.25",
         "ask": "2.60", "ask_size": "3.5", "last": "2.50", "last_size": "0.10", "volume": "20.0",
         "vwap": "2.2", "trades": "6", "low": "0.9", "high": "3.1", "open": "1.6"},
    ]  # fmt: skip
    assert skipped == {"systemStatus": 1, "subscriptionStatus": 1, "heartbeat": 3, "book": 1}


def test_upbit_gives_a_row_for_trades_and_for_the_best_of_a_book() -> None:
    empty = upbit('{"ty":"orderbook","cd":"BTC-FOO","tms":1,"obu":[]}')
    plain = '1700000000.6: {"ty":"trade","cd":"KRW-FOO","ttms":1700000000000,"tp":1,"tv":2}'
    found, skipped = converted(
        "upbit", UPBIT_TRADE, UPBIT_BOOK, empty, plain, upbit('{"ty":"ticker"}'), upbit('{"status":"UP"}')
    )
    assert found == [
        {"time": "2023-11-14T22:13:20.5Z", "subject": "FOO/KRW", "event_time": "2023-11-14T22:13:20Z",
         "price": "12.50", "amount": "3E-7"},
        {"time": "2023-11-14T22:13:20.5Z", "subject": "FOO/BTC", "event_time": "2023-11-14T22:13:20.41Z",
         "bid": "1.0", "bid_size": "4", "ask": "2.0", "ask_size": "30.0"},
        {"time": "2023-11-14T22:13:20.6Z", "subject": "FOO/KRW", "event_time": "2023-11-14T22:13:20Z",
         "price": "1", "amount": "2"},
    ]  # fmt: skip
    assert skipped == {"orderbook (empty)": 1, "ticker": 1, "status": 1}


def test_a_bytes_literal_is_read_as_python_writes_it() -> None:
    text = '{"status":"it\'s \\"\\u00fc\\" ü"}'
    assert converted("upbit", upbit(text), upbit('{"status":"it\'s"}'))[1] == {"status": 2}


@pytest.mark.parametrize("venue", VENUES)
def test_what_is_no_message_of_the_venue_is_counted_by_its_kind(venue: Venue) -> None:
    found, skipped = converted(venue, *CONTROL)
    assert found == []
    assert skipped == {"connection": 1, "sent": 1, "REST": 1, "configuration": 1}


@pytest.mark.parametrize("venue", VENUES)
def test_nothing_gives_nothing(venue: Venue) -> None:
    assert converted(venue) == ([], Counter())


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000.0", 1_700_000_000_000_000_000),
        ("1633998512.0633569", 1_633_998_512_063_356_900),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000.10000000000", 1_700_000_000_100_000_000),
        ("0.000000001", 1),
        ("9223372036.854775807", 2**63 - 1),
    ],
)
def test_a_time_is_exact_to_the_nanosecond(text: str, ns: int) -> None:
    (row,) = rows([BOOK_TICKER.replace("1700000000.1234567", text).encode()], "binance")
    assert row.time_ns == ns
    assert parse_time(orjson.loads(row.encode())["time"]) == ns


@pytest.mark.parametrize(
    "digits", ["0.35130000", "0", "-0.0", "1e-8", "1E+5", "123456789012345678901234567890"]
)
def test_a_number_keeps_its_digits(digits: str) -> None:
    (row,) = rows([BOOK_TICKER.replace("0.10000000", digits).encode()], "binance")
    assert row.numbers["bid"] == digits
    assert f'"bid":{digits},'.encode() in row.encode()
    assert orjson.loads(row.encode())["bid"] == float(digits)


@pytest.mark.parametrize(
    ("venue", "line", "message"),
    [
        ("binance", "garbage", "found b'garbage', expected a line such as 1633998512.0633569: {...}"),
        ("binance", "\x00\x01", "found b'\\x00\\x01', expected a line such as"),
        ("binance", "1.2.3: {}", "found '1.2.3' as the time of receipt, expected epoch seconds"),
        ("binance", "1700000000.1234567891: {}", "expected epoch seconds with at most nine decimals"),
        ("binance", "9223372036.854775808: {}", "as the time of receipt, expected epoch seconds"),
        ("binance", '1700000000.1: {"torn', "found b'{\"torn', expected a message in JSON: Unterminated"),
        ("binance", '1700000000.1: {"a":NaN}', "NaN is no number of JSON"),
        ("binance", "1700000000.1: " + "[" * 100_000, "expected a message in JSON: it is nested too deeply"),
        ("binance", "1700000000.1: []", "found a list of 0 as the message, expected an object"),
        ("binance", "1700000000.1: {}", "found the event nothing, expected one of bookTicker, aggTrade"),
        ("binance", '1700000000.1: {"e":[],"s":{}}', "found the event a list of 0, expected one of"),
        ("binance", BOOK_TICKER.replace("FOOBTC", "FOOXYZ"), "found the symbol 'FOOXYZ', expected one"),
        ("binance", BOOK_TICKER.replace("FOOBTC", "USDT"), "found the symbol 'USDT', expected one such as"),
        ("binance", BOOK_TICKER.replace("FOO", "\\ud800"), "found '\\ud800' traded against 'BTC', expected"),
        ("binance", BOOK_TICKER.replace("FOO", "F O"), "found 'F O' traded against 'BTC', expected"),
        ("binance", BOOK_TICKER.replace("0.10000000", "1,5"), "found '1,5' as 'b', the bid, expected"),
        ("binance", BOOK_TICKER.replace("0.10000000", "1_0"), "found '1_0' as 'b', the bid, expected"),
        ("binance", BOOK_TICKER.replace("0.10000000", "1e999"), "found '1e999' as 'b', the bid, expected"),
        ("binance", BOOK_TICKER.replace("0.10000000", "1" * 101), "as 'b', the bid, expected"),
        ("binance", BOOK_TICKER.replace('"B"', '"C"'), "found nothing as 'B', the bid_size, expected"),
        ("binance", AGG_TRADE.replace("1700000000008", "17000000000080000"), "expected epoch milliseconds"),
        ("binance", AGG_TRADE.replace("1700000000008", '"soon"'), "found 'soon' as the venue's time"),
        ("binance", kline(True).replace("true", "1"), "found '1' as 'x' of a kline, expected true or false"),
        ("kraken", '1700000000.1: {"event":"party"}', "found 'party' as the event, expected one of"),
        ("kraken", "1700000000.1: [1,2,3]", "found a list of 3, expected [channel, data, name of"),
        ("kraken", KRAKEN_TRADES.replace("trade", "tread"), "found 'tread' as the channel, expected"),
        ("kraken", KRAKEN_TRADES.replace("XBT/EUR", "XBTEUR"), "found the pair 'XBTEUR', expected one"),
        ("kraken", KRAKEN_TRADES.replace('"1700000000.2"', "null"), "found nothing as a trade's time"),
        ("kraken", KRAKEN_TICKER.replace('"1.25"', "[]"), "found a list of 0 as bid_size, expected a number"),
        ("kraken", KRAKEN_TICKER.replace('"b"', '"B"'), "found nothing as 'b', expected a list of"),
        ("upbit", UPBIT_TRADE.replace("KRW-FOO", "KRWFOO"), "found the code 'KRWFOO', expected one"),
        ("upbit", UPBIT_TRADE.replace('"ty"', '"type"'), "found nothing as the type, expected one of"),
        ("upbit", UPBIT_BOOK.replace("obu", "obo"), "found nothing as 'obu', expected a list of at least 1"),
        ("upbit", "1700000000.1: b'\\q'", "in a bytes literal, expected"),
        ("upbit", "1700000000.1: b'\\xff'", "expected a message in JSON: 'utf-8' codec"),
        ("upbit", "1700000000.1: b'{}", "found b\"b'{}\", expected a message in JSON"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_understood_is_refused_with_its_number(
    venue: Venue, line: str, message: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        list(rows([*(text.encode() for text in CONTROL), line.encode()], venue, path="some.gz"))
    text = str(caught.value)
    assert text.startswith("some.gz, line 6: found ")
    assert message in text
    assert text.endswith(f"mend the line or cut it out (this was read as a capture of {venue})")
    assert len(text) < 500


def test_rows_come_before_the_line_that_is_refused() -> None:
    found = rows([BOOK_TICKER.encode(), b"garbage"], "binance")
    assert next(found).subject == "FOO/BTC"
    with pytest.raises(RecordingError, match="line 2"):
        next(found)


def test_each_row_of_a_subject_has_a_time_of_its_own_and_no_other_is_moved() -> None:
    times = ["1700000000.1", "1700000000.1", "1700000000.100000001", "1700000000.2", "1700000000.15"]
    lines = [BOOK_TICKER.replace("1700000000.1234567", time).encode() for time in times]
    other = BOOK_TICKER.replace("1700000000.1234567", times[0]).replace("FOO", "BAR").encode()
    found = [row.time_ns - 1_700_000_000_000_000_000 for row in rows([*lines, other], "binance")]
    assert found == [100_000_000, 100_000_001, 100_000_002, 200_000_000, 150_000_000, 100_000_000]


def test_captures_are_merged_by_time_and_unpacked_by_content(tmp_path: Path) -> None:
    first, second = tmp_path / "trades", tmp_path / "ticker"
    first.write_bytes(b"\n".join([KRAKEN_TRADES.encode(), KRAKEN_TRADES.replace("0.25:", "1.25:").encode()]))
    ticker = KRAKEN_TICKER.replace("XDG/USD", "XBT/EUR")
    second.write_bytes(
        gzip.compress("\n".join([CONTROL[0], ticker.replace("0.5:", "0.25:"), ticker]).encode())
    )
    captures = Captures([str(first), str(second)], "kraken")
    found = list(captures)
    assert ["price" in row.numbers for row in found] == [True, True, False, False, True, True]
    times = [row.time_ns for row in found]
    assert times == sorted(set(times))
    assert (captures.moved, captures.skipped, captures.notes) == (3, {"connection": 1}, [])


def test_an_error_names_the_capture_that_it_is_in(tmp_path: Path) -> None:
    (tmp_path / "good").write_text(BOOK_TICKER)
    (tmp_path / "bad").write_text(f"{BOOK_TICKER}\nx")
    with pytest.raises(RecordingError, match=r"bad, line 2: found b'x'"):
        list(Captures([str(tmp_path / "good"), str(tmp_path / "bad")], "binance"))


SAMPLES = [
    BOOK_TICKER,
    AGG_TRADE,
    DEPTH,
    kline(True),
    KRAKEN_TRADES,
    KRAKEN_TICKER,
    UPBIT_TRADE,
    UPBIT_BOOK,
    *CONTROL,
]
KEYS = st.sampled_from(
    [*"abcehlopstuvxksEBAT", "ty", "cd", "obu", "ttms", "tp", "tv", "event", "data", "stream"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
    | st.sampled_from(["trade", "orderbook", "ticker", "kline", "aggTrade"])
    | st.sampled_from(["FOOUSDT", "XBT/EUR", "KRW-FOO", "1.5"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    line = draw(st.sampled_from(SAMPLES)).encode()
    start = draw(st.integers(0, len(line)))
    end = draw(st.integers(start, min(len(line), start + 8)))
    return line[:start] + draw(st.binary(max_size=4)) + line[end:]


LINES = (
    st.binary(max_size=40)
    | damaged()
    | VALUES.map(lambda value: b"1700000000.5: " + json.dumps(value).encode())
)


@given(lines=st.lists(LINES, max_size=6), venue=st.sampled_from(VENUES))
def test_any_lines_give_rows_that_ingest_can_read_or_an_input_error(lines: list[bytes], venue: Venue) -> None:
    found: list[Row] = []
    with suppress(InputError):
        found.extend(rows(lines, venue))
    for row in found:
        read = orjson.loads(row.encode())
        assert parse_time(read["time"]) == row.time_ns
        assert read["subject"] == row.subject
        assert {name: read[name] for name in row.numbers} == {n: float(d) for n, d in row.numbers.items()}
