"""Captures of exchanges' messages, as cryptofeed records them, into rows that `ingest` takes.

| a line of a capture | what it is |
|---|---|
| `TIME: MESSAGE` | what the venue sent; TIME is when it was received, in epoch seconds |
| `URL <-> TIME` | a connection was opened |
| `URL <- TIME: TEXT` | what was sent to the venue |
| `URL -> TIME: TEXT` | the answer to a REST request |
| `configuration: TEXT` | what was asked to be recorded |

A row stands at the moment of receipt, for it was not knowable before. Numbers keep the
digits that came, and times every decimal: nothing passes through a float.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from observer_core.shared.clock import SECOND, format_time
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.recorded.content import Content, RecordingError

Venue = Literal["binance", "kraken", "upbit"]

_MILLISECOND = 1_000_000
_END_NS = 2**63
_MAX_DIGITS = 100
_MESSAGE = re.compile(rb"([\d.]+): (.*)", re.DOTALL)
_OTHER = re.compile(rb"(?:\S+ (<->|<-|->) \d+(?:\.\d+)?(?::.*)?|(configuration): .*)", re.DOTALL)
_OTHER_KINDS = {b"<->": "connection", b"<-": "sent", b"->": "REST", b"configuration": "configuration"}
_SECONDS = re.compile(r"(\d{1,10})(?:\.(\d{1,9})0*)?", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_BYTES_LITERAL = re.compile(rb"""b(?:'((?:[^\\']++|\\.)*+)'|"((?:[^\\"]++|\\.)*+)")""", re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {b"\\": b"\\", b"'": b"'", b'"': b'"', b"n": b"\n", b"r": b"\r", b"t": b"\t"}

_BINANCE_QUOTES = sorted(
    ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDP", "USD1", "UST", "PAX", "DAI", "VAI", "EURI", "IDRT",
     "BIDR", "BKRW", "BVND", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE", "DOT", "SOL", "EUR", "GBP", "AUD",
     "BRL", "TRY", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "JPY", "MXN", "COP", "CZK"),
    key=len, reverse=True,
)  # fmt: skip
_BINANCE_SKIPPED = (
    "depthUpdate", "trade", "24hrTicker", "24hrMiniTicker", "avgPrice", "markPriceUpdate", "forceOrder",
)  # fmt: skip
_KRAKEN_EVENTS = ("heartbeat", "systemStatus", "subscriptionStatus", "pong", "error")
_KRAKEN_SKIPPED = ("book", "ohlc", "spread")
_KRAKEN_NAMES = {"XBT": "BTC", "XDG": "DOGE"}


class Digits(str):
    """A JSON number, as it was written."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Row:
    """What a venue told of one subject, received at `time_ns`; at `event_ns` by the venue's own clock."""

    time_ns: int
    subject: str
    numbers: Mapping[str, Digits]
    event_ns: int | None = None

    def encode(self) -> bytes:
        """The row as a line of NDJSON, without its newline; numbers with exactly their digits."""
        event = {} if self.event_ns is None else {"event_time": format_time(self.event_ns)}
        numbers = {name: orjson.Fragment(digits.encode()) for name, digits in self.numbers.items()}
        return orjson.dumps({"time": format_time(self.time_ns), "subject": self.subject, **event, **numbers})


def rows(
    lines: Iterable[bytes], venue: Venue, skipped: Counter[str] | None = None, path: str = "the capture"
) -> Iterator[Row]:
    """Every row that `lines` hold, in their order, each as soon as its line is read.

    No two rows of a subject have one time (see `Apart`). What makes no row is counted
    in `skipped` by its kind; a line that cannot be understood is a `RecordingError`.
    """
    return Apart()(_rows(lines, venue, Counter() if skipped is None else skipped, path))


class Captures:
    """The rows of several captures of one venue by time of receipt; the rows of each keep their order.

    `skipped`, `moved` and `notes` tell about what has been given out so far.
    """

    def __init__(self, paths: Sequence[str], venue: Venue) -> None:
        self._paths, self._venue = paths, venue
        self._apart = Apart()
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []

    @property
    def moved(self) -> int:
        return self._apart.moved

    def __iter__(self) -> Iterator[Row]:
        return self._apart(heapq.merge(*map(self._read, self._paths), key=lambda row: row.time_ns))

    def _read(self, path: str) -> Iterator[Row]:
        with Content(path) as content:
            lines = (line for _, block in content.blocks() for line in block.removesuffix(b"\n").split(b"\n"))
            yield from _rows(lines, self._venue, self.skipped, path)
            self.notes += content.notes


class Apart:
    """Gives each row of a subject a time of its own, by a nanosecond after the one before where they agree.

    Equal rows at one time (two trades in one message) would be taken for one row that
    came twice. Where the recorder's clock stepped back, times stay as they are.
    `moved` counts the rows whose time was changed.
    """

    def __init__(self) -> None:
        self.moved = 0
        self._newest: dict[str, tuple[int, int]] = {}

    def __call__(self, found: Iterable[Row]) -> Iterator[Row]:
        for row in found:
            received, given = self._newest.get(row.subject, (-1, -1))
            time_ns = max(row.time_ns, given + 1) if row.time_ns >= received else row.time_ns
            self._newest[row.subject] = (row.time_ns, time_ns)
            if time_ns != row.time_ns:
                self.moved += 1
                row = replace(row, time_ns=time_ns)
            yield row


class _Unclear(Exception):
    """What is wrong with a line: what was found, what was expected."""


Told = list[Row] | str
"""The rows of a message, or the kind of one that makes none."""


def _rows(lines: Iterable[bytes], venue: Venue, skipped: Counter[str], path: str) -> Iterator[Row]:
    take = _VENUES[venue]
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        try:
            told = _line(text, take)
        except _Unclear as error:
            raise RecordingError(
                path, f"{error}; mend the line or cut it out (this was read as a capture of {venue})",
                line=number,
            ) from None  # fmt: skip
        if isinstance(told, str):
            skipped[told] += 1
        else:
            yield from told


def _line(line: bytes, take: Callable[[int, Any], Told]) -> Told:
    if message := _MESSAGE.fullmatch(line):
        received, body = message.groups()
        return take(_seconds(received.decode(), "the time of receipt"), _json(body))
    if other := _OTHER.fullmatch(line):
        return _OTHER_KINDS[other[1] or other[2]]
    raise _Unclear(f"found {_start(line)}, expected a line such as 1633998512.0633569: {{...}}")


def _json(body: bytes) -> Any:
    if literal := _BYTES_LITERAL.fullmatch(body):
        body = _ESCAPE.sub(_unescaped, literal[1] or literal[2] or b"")
    try:
        return json.loads(
            body.decode(), parse_float=Digits, parse_int=Digits, parse_constant=_no_json_constant
        )
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise _Unclear(f"found {_start(body)}, expected a message in JSON: {reason}") from None


def _unescaped(escape: re.Match[bytes]) -> bytes:
    code = escape[1]
    if len(code) == 3:
        return bytes([int(code[1:], 16)])
    try:
        return _ESCAPED[code]
    except KeyError:
        raise _Unclear(f"found {_start(escape[0])} in a bytes literal, expected \\\\, \\' or \\x2f") from None


def _no_json_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _binance(received: int, message: Any) -> Told:
    outer = _object(message, "the message")
    if "e" not in outer and "data" not in outer and "id" in outer:
        return "subscription answer"
    data = _object(outer["data"], "'data'") if "data" in outer else outer
    kind = data.get("e", "bookTicker" if {"s", "b", "a"} <= data.keys() else None)
    if kind == "bookTicker":
        numbers = _numbers(data, bid="b", bid_size="B", ask="a", ask_size="A")
        clock = data.get("T")
    elif kind == "aggTrade":
        numbers = _numbers(data, price="p", amount="q")
        clock = data.get("T")
    elif kind == "kline":
        bar = _object(data.get("k"), "'k'")
        if not isinstance(closed := bar.get("x"), bool):
            raise _Unclear(f"found {_found(closed)} as 'x' of a kline, expected true or false")
        if not closed:
            return "kline (open)"
        numbers = _numbers(bar, open="o", high="h", low="l", close="c", volume="v")
        clock = data.get("E")
    elif kind in _BINANCE_SKIPPED:
        return str(kind)
    else:
        taken = ("bookTicker", "aggTrade", "kline", *_BINANCE_SKIPPED)
        raise _Unclear(f"found the event {_found(kind)}, expected one of {', '.join(taken)}")
    return [Row(received, _binance_subject(data.get("s")), numbers, _milliseconds(clock))]


def _binance_subject(symbol: Any) -> str:
    if isinstance(symbol, str):
        for quote in _BINANCE_QUOTES:
            if symbol.endswith(quote) and symbol != quote:
                return _subject(symbol.removesuffix(quote), quote)
    raise _Unclear(
        f"found the symbol {_found(symbol)}, expected one such as NKNUSDT, whose end is a known quote asset"
    )


def _kraken(received: int, message: Any) -> Told:
    if isinstance(message, dict):
        return _known(message.get("event"), "the event", _KRAKEN_EVENTS)
    if not isinstance(message, list) or len(message) < 4 or not isinstance(message[-2], str):
        raise _Unclear(f"found {_found(message)}, expected [channel, data, name of the channel, pair]")
    data, channel = message[1], message[-2].partition("-")[0]
    if channel == "ticker":
        numbers = _kraken_ticker(_object(data, "the ticker"))
        return [Row(received, _kraken_subject(message[-1]), numbers)]
    if channel == "trade":
        subject = _kraken_subject(message[-1])
        trades = data if isinstance(data, list) else [data]
        return [_kraken_trade(received, subject, trade) for trade in trades]
    return _known(channel, "the channel", _KRAKEN_SKIPPED, ("ticker", "trade"))


def _kraken_ticker(ticker: Mapping[str, Any]) -> dict[str, Digits]:
    """Of two periods, today and the last 24 hours, the second."""
    places = {
        "bid": ("b", 0), "bid_size": ("b", 2), "ask": ("a", 0), "ask_size": ("a", 2), "last": ("c", 0),
        "last_size": ("c", 1), "volume": ("v", 1), "vwap": ("p", 1), "trades": ("t", 1), "low": ("l", 1),
        "high": ("h", 1), "open": ("o", 1),
    }  # fmt: skip
    return {
        name: _number(_at(ticker.get(key), place, f"{key!r}"), name) for name, (key, place) in places.items()
    }


def _kraken_trade(received: int, subject: str, trade: Any) -> Row:
    price, amount, at = (_at(trade, place, "a trade") for place in range(3))
    numbers = {"price": _number(price, "a trade's price"), "amount": _number(amount, "a trade's amount")}
    return Row(received, subject, numbers, _seconds(at, "a trade's time"))


def _kraken_subject(pair: Any) -> str:
    names = pair.split("/") if isinstance(pair, str) else []
    if len(names) != 2:
        raise _Unclear(f"found the pair {_found(pair)}, expected one such as XBT/USD")
    return _subject(*(_KRAKEN_NAMES.get(name, name) for name in names))


def _upbit(received: int, message: Any) -> Told:
    data = _object(message, "the message")
    kind = data.get("ty")
    if kind == "trade":
        numbers, clock = _numbers(data, price="tp", amount="tv"), data.get("ttms")
    elif kind == "orderbook":
        book = data.get("obu")
        if book == []:
            return "orderbook (empty)"
        best = _object(_at(book, 0, "'obu'"), "the first of 'obu'")
        numbers, clock = _numbers(best, bid="bp", bid_size="bs", ask="ap", ask_size="as"), data.get("tms")
    elif kind is None and isinstance(data.get("status"), str):
        return "status"
    else:
        return _known(kind, "the type", ("ticker",), ("trade", "orderbook"))
    return [Row(received, _upbit_subject(data.get("cd")), numbers, _milliseconds(clock))]


def _upbit_subject(code: Any) -> str:
    names = code.split("-") if isinstance(code, str) else []
    if len(names) != 2:
        raise _Unclear(f"found the code {_found(code)}, expected one such as KRW-BTC")
    quote, base = names
    return _subject(base, quote)


_VENUES: Mapping[Venue, Callable[[int, Any], Told]] = {
    "binance": _binance, "kraken": _kraken, "upbit": _upbit,
}  # fmt: skip


def _known(kind: Any, what: str, skipped: tuple[str, ...], taken: tuple[str, ...] = ()) -> str:
    """`kind`, which must be one that is known to make no row."""
    if not isinstance(kind, str) or kind not in skipped:
        raise _Unclear(f"found {_found(kind)} as {what}, expected one of {', '.join((*taken, *skipped))}")
    return kind


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Unclear(f"found {_found(value)} as {what}, expected an object")
    return value


def _at(value: Any, place: int, what: str) -> Any:
    if not isinstance(value, list) or len(value) <= place:
        raise _Unclear(f"found {_found(value)} as {what}, expected a list of at least {place + 1}")
    return value[place]


def _subject(base: str, quote: str) -> str:
    name = f"{base}/{quote}"
    if not base or not quote or name.count("/") != 1 or " " in name or fault(name):
        raise _Unclear(f"found {shown(base)} traded against {shown(quote)}, expected two names of assets")
    return name


def _numbers(message: Mapping[str, Any], **keys: str) -> dict[str, Digits]:
    return {name: _number(message.get(key), f"{key!r}, the {name}") for name, key in keys.items()}


def _number(value: Any, what: str) -> Digits:
    short = isinstance(value, str) and len(value) <= _MAX_DIGITS
    if short and _NUMBER.fullmatch(value) and math.isfinite(float(value)):
        return Digits(value)
    raise _Unclear(f"found {_found(value)} as {what}, expected a number such as 0.35130000")


def _seconds(text: Any, what: str) -> int:
    match = _SECONDS.fullmatch(text) if isinstance(text, str) else None
    if match:
        ns = int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))
        if ns < _END_NS:
            return ns
    raise _Unclear(
        f"found {_found(text)} as {what}, expected epoch seconds with at most nine decimals, before 2262"
    )


def _milliseconds(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, Digits) and re.fullmatch(r"\d{1,13}", value, re.ASCII):
        ns = int(value) * _MILLISECOND
        if ns < _END_NS:
            return ns
    raise _Unclear(f"found {_found(value)} as the venue's time, expected epoch milliseconds, before 2262")


def _found(value: Any) -> str:
    """A value as an error quotes it; what is in a list or an object is not looked at."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing"
    return shown(value)


def _start(data: bytes) -> str:
    return shown(data[:80])
