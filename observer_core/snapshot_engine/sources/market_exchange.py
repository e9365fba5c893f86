"""One exchange of ccxt: only its own module is imported, and all it asks goes through one bounded door."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import io
import json
import re
import sys
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from observer_core import __version__
from observer_core.safety.outbound import Answer, OutboundError, Target
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import ConfigError, InputError
from observer_core.snapshot_engine.names import shown
from observer_core.snapshot_engine.sources.web_address import wait_ns

if TYPE_CHECKING:
    import requests

_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_TEXT: Final = 300
_MAX_SILENT: Final = 2
_BUSY: Final = (418, 429, 503)
_SYMBOLS_NEED_NO_CURRENCIES: Final = frozenset(("binance", "coinbase", "kraken"))
_MARKET_TYPES: Final = frozenset(
    ("spot", "swap", "linear", "inverse", "future", "option", "contract", "hip3")
)
_importing = threading.Lock()


class Http:
    """What ccxt takes for its `requests` session.

    A request ends within `timeout`, whatever the other side does; goes to no private address unless
    allowed, to no host but `url` when that is given, and follows no redirect. After 418, 429 and 503
    nothing is asked before `Retry-After`, and nothing more in a collection after 418 and 429, or
    after two requests in a row that had no answer.
    """

    def __init__(self, where: str, timeout_ns: int, url: str | None, allow_private: bool) -> None:
        self.headers = {"User-Agent": f"qts-observer/{__version__}", "Connection": "close"}
        self.cookies: dict[str, str] = {}
        self.url = url
        self.seen = ""
        """The kind of the newest answer, for errors."""
        self._document: Any = None
        self._parse = partial(
            Target.parse, timeout=timeout_ns / SECOND, allow_private=allow_private, where=where
        )
        self._targets: dict[str, Target] = {}
        self._now_ns = self._not_before_ns = 0
        self._silent = 0

    def begin(self, now_ns: int) -> None:
        """Another collection."""
        self._now_ns, self._silent, self.seen = now_ns, 0, ""

    def close(self) -> None:
        pass

    def read(self, text: str) -> Any:
        """JSON whose numbers stay texts, as in ccxt without orjson; with it, ccxt gives doubles."""
        self._document = json.loads(text, parse_float=str, parse_int=str)
        return self._document

    def says_none(self) -> bool:
        """Whether the newest answer holds an empty list: ccxt makes one of whatever it cannot read, too."""
        return _holds_empty_list(self._document)

    def request(
        self, method: str, url: str, *, data: bytes | None, headers: Mapping[str, str], **_: Any
    ) -> requests.Response:
        from requests.utils import requote_uri

        self._document = None
        target = self._target(requote_uri(url))
        if self._now_ns < self._not_before_ns:
            raise InputError(f"{target} asked to be left alone until {format_time(self._not_before_ns)}")
        if self._silent >= _MAX_SILENT:
            raise InputError(f"not asked, for {self._silent} requests before it had no answer")
        try:
            given = {**self.headers, **headers, "Accept-Encoding": "gzip"}
            answer = target.ask(method, given, data or None, max_bytes=_MAX_BYTES)
        except OutboundError:
            self._silent += 1
            raise
        self._silent = 0
        self._judge(target, answer)
        return _response(answer, url)

    def _target(self, url: str) -> Target:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
        if self.url is not None and place != self.url.rstrip("/"):
            raise InputError(f"ccxt would ask {place}; with url = {self.url!r} no other place is asked")
        if place not in self._targets:
            self._targets[place] = self._parse(place)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        return replace(self._targets[place], path=path)

    def _judge(self, target: Target, answer: Answer) -> None:
        kind = answer.headers.get("content-type", "no content type")
        self.seen = f" (the answer: {answer.status}, {shown(kind)})"
        if answer.status in _BUSY:
            pause_ns = wait_ns(answer.headers.get("retry-after", ""))
            self._not_before_ns = self._now_ns + (pause_ns if answer.status == 503 else max(pause_ns, 1))
        if 300 <= answer.status < 400:
            raise InputError(f"{target} answered {answer.status}; redirects are not followed")


def _holds_empty_list(document: Any) -> bool:
    if isinstance(document, dict):
        return any(_holds_empty_list(value) for key, value in document.items() if key != "error")
    return bool(document == [])


def _response(answer: Answer, url: str) -> requests.Response:
    import requests

    response = requests.Response()
    response.status_code, response.url = answer.status, url
    response.reason = responses.get(answer.status, "")
    response.headers.update(answer.headers)
    response.raw = io.BytesIO(_unpacked(answer))
    return response


def _unpacked(answer: Answer) -> bytes:
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length) != len(answer.body):
        raise InputError(f"the answer ended after {len(answer.body):,} of {int(length):,} bytes")
    if answer.headers.get("content-encoding", "") != "gzip":
        return answer.body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        body = unpacker.decompress(answer.body, _MAX_BYTES)
    except zlib.error as error:
        raise InputError(f"the answer is said to be gzip and is not: {error}") from None
    if unpacker.unconsumed_tail:
        raise InputError(f"the answer unpacks to more than {_MAX_BYTES:,} bytes")
    if not unpacker.eof:
        raise InputError("the answer ends in the middle of its gzip")
    return body


def make(name: str, symbols: Sequence[str], http: Http, timeout_ns: int) -> Any:
    """ccxt's exchange, all of whose requests go through `http`. Its numbers are the texts that came."""
    exchange = _class(name)(
        {"enableRateLimit": True, "timeout": max(timeout_ns // 1_000_000, 1), "session": http}
    )
    exchange.on_json_response = http.read
    exchange.number = str
    exchange.safe_float = exchange.safe_string  # of nothing but the levels of order books
    if name in _SYMBOLS_NEED_NO_CURRENCIES:
        exchange.has["fetchCurrencies"] = False
    if http.url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], http.url)
    needed = {kind for symbol in symbols for kind in _kinds(symbol)}
    wanted = exchange.options.get("fetchMarkets")
    if isinstance(wanted, list):
        exchange.options["fetchMarkets"] = _only(wanted, needed)
    elif isinstance(wanted, dict) and "types" in wanted:
        wanted["types"] = _only(wanted["types"], needed)
    return exchange


def check_exchange(name: str) -> None:
    """`ConfigError` when ccxt is not installed or has no such exchange; imports nothing of it."""
    _spec(name)


def _spec(name: str) -> Any:
    spec = importlib.util.find_spec("ccxt")
    if spec is None or spec.submodule_search_locations is None:
        raise ConfigError("a market source needs ccxt, which is not installed; install qts-observer[market]")
    files = (file for place in spec.submodule_search_locations for file in Path(place).glob("[a-z]*.py"))
    known = sorted(file.stem for file in files)
    if name not in known:
        close = ", ".join(difflib.get_close_matches(name, known, 3)) or "see ccxt's list of exchanges"
        raise ConfigError(f"ccxt has no exchange {name!r}; did you mean: {close}")
    return spec


def _class(name: str) -> Any:
    spec = _spec(name)
    with _importing:
        return getattr(_module(spec, name), name)


def _module(spec: Any, name: str) -> Any:
    """`ccxt.<name>` without running `ccxt/__init__.py`, which imports every exchange.

    An empty package stands in for ccxt meanwhile; whoever imports ccxt later gets the real one.
    """
    if "ccxt" in sys.modules:
        return importlib.import_module(f"ccxt.{name}")
    sys.modules["ccxt"] = importlib.util.module_from_spec(spec)
    try:
        return importlib.import_module(f"ccxt.{name}")
    finally:
        del sys.modules["ccxt"]


def ccxt_errors() -> Any:
    """ccxt's module of errors; there once an exchange was made."""
    return sys.modules["ccxt.base.errors"]


def _moved(urls: Any, place: str) -> Any:
    """Each http(s) address in `urls`, at any depth, with its path at another place."""
    if isinstance(urls, Mapping):
        return {key: _moved(value, place) for key, value in urls.items()}
    if isinstance(urls, list):
        return [_moved(value, place) for value in urls]
    if isinstance(urls, str) and re.match("https?://", urls):
        to, parts = urlsplit(place), urlsplit(urls)
        return urlunsplit((to.scheme, to.netloc, *parts[2:]))
    return urls


def _kinds(symbol: str) -> set[str]:
    """The types of markets, as ccxt's options call them, among which a symbol may be."""
    pair, _, settle = symbol.partition(":")
    if not settle:
        return {"spot"}
    currency, _, expiry = settle.partition("-")
    inverse, linear = pair.startswith(f"{currency}/"), pair.endswith(f"/{currency}")
    directions = {"inverse"} if inverse else {"linear"} if linear else {"inverse", "linear"}
    dated = {"option"} if expiry.endswith(("-C", "-P")) else {"future"}
    return {"contract", *directions, *(dated if expiry else {"swap", "hip3"})}


def _only(types: Any, needed: set[str]) -> Any:
    """The market types without those that are not needed; all of them when none would be left."""
    if isinstance(types, dict):
        return {
            kind: _only(value, needed) if isinstance(value, dict) else value and kind in needed
            for kind, value in types.items()
        }
    return [kind for kind in types if kind in needed or kind not in _MARKET_TYPES] or types


def named(symbols: Sequence[str]) -> str:
    more = f" and {len(symbols) - 3} more" if len(symbols) > 3 else ""
    return ", ".join(symbols[:3]) + more


def cause(error: Exception, seen: str) -> str:
    """Why a call into ccxt failed: its kind and words, without the page that came for an answer."""
    text = re.split(r"<[a-zA-Z!/]", str(error))[0]
    text = "".join(character if character.isprintable() else " " for character in text)
    expected = isinstance(error, ccxt_errors().BaseError)
    return f"{type(error).__name__}: {' '.join(text.split())}" + ("" if expected else seen)


def short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
