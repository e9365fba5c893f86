"""The trading side of the gate: what cannot be had in time, in full and in order is a denial.

Standard library only, and nothing of this package: copy this one file if you like. `may_trade` never
raises and never answers later than `timeout` (name resolution apart: give an address, or cache it). It
denies on silence, errors, redirects, answers that are malformed, late, somebody else's or no longer
valid, and on clocks that disagree.

    gate = Gate("http://127.0.0.1:8000", caller="alpha")
    if gate.may_trade("BTC/USDT", context={"side": "buy", "quantity": 2, "price": 64000}):
        ...

An allow holds for one act, at once. `cache=True` keeps one until its `valid_until` for questions
without a context; run `changes` beside it then, so that a block ends what is kept. From the command
line, `python -m observer_core.client drill [URL]` proves that all this is so.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

MAX_BYTES = 1_000_000
"""A longer answer is none."""
_STREAM_S = 2.0
"""What an answer of the change stream may take beyond what it waits for."""
_LOCAL = ("localhost", "127.0.0.1", "::1")
_Until = tuple[float, float]
"""The end of an allow by the monotonic clock, and by the clock of the day."""


@dataclass(frozen=True)
class Answer:
    """`if answer:` asks whether it was allowed.

    `reasons` are `{"code": …, "text": …}`; those of this client begin with `client_`. `id` is the record
    of the answer at the Observer, `permit` its receipt where receipts are given. `cached`: it is an
    earlier answer that still holds.
    """

    allowed: bool
    reasons: tuple[Mapping[str, Any], ...] = ()
    valid_until: str | None = None
    as_of: str | None = None
    domain: str | None = None
    risk: str | None = None
    id: str | None = None
    permit: str | None = None
    cached: bool = False

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class Change:
    """A block or its end. `verdict` is `block`, `release`, or `lost`: what stands is not known any more."""

    verdict: str
    scope: str
    policy: str
    reason: str
    time: str | None = None
    until: str | None = None


class Denied(Exception):
    """Why there is no allow: a code and a sentence."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Gate:
    """Asks one Observer. For any thread; each thread keeps a connection of its own.

    `timeout`: seconds that an answer may take in all. `max_skew`: seconds that the clocks may differ by
    (None: not looked at, for recorded domains, which keep a time of their own). `domain`: where the
    instrument is to be looked for. `token`: what the Observer asks callers for (`qts_…`). `headers`: sent
    along, for example a function key. Both are sent over TLS or to this machine only.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 0.25, caller: str = "anonymous", *,
        caller_type: str = "strategy", domain: str | None = None, max_skew: float | None = 2.0,
        cache: bool = False, headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url: an address like http://127.0.0.1:8000 was expected")
        secret = token is not None or bool(headers)
        if parts.scheme == "http" and secret and parts.hostname not in _LOCAL:
            raise ValueError(f"a token would go to {parts.hostname} in the clear; use https")
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; more than 0 seconds were expected")
        if token is not None and not (token.isascii() and token.isprintable() and token and " " not in token):
            raise ValueError(
                "token: printable ASCII characters without spaces were expected"
            )  # and not shown
        for name, value in (headers or {}).items():
            if not all(text.isascii() and text.isprintable() for text in (name, value)):
                raise ValueError(f"headers: printable ASCII characters were expected in {name!r}")
        self._host, self._path = parts.hostname, parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None
        self._netloc = parts.netloc.rpartition("@")[2]
        self._timeout, self._max_skew, self._domain = timeout, max_skew, domain
        self._caller = {"type": caller_type, "id": caller}
        self._headers = {"Accept": "application/json", **(headers or {})}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._local = threading.local()
        self._cache, self._lost, self._drops = cache, False, 0
        self._kept: dict[tuple[str, str], tuple[_Until, Answer]] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Gate({self._netloc!r}, caller={self._caller['id']!r})"

    def may_trade(
        self, subject: str, action: str = "trade", context: Mapping[str, Any] | None = None
    ) -> Answer:
        """May the caller do `action` with the instrument `subject` now? Never raises.

        `context` is what is meant to be done, for intent checks: side, quantity, price.
        """
        started, asked_at, drops = time.monotonic(), time.time(), self._drops
        try:
            kept = self._cached(subject, action) if context is None else None
            if kept is not None:
                return kept
            answer, holds = self._ask(subject, action, context, started)
        except Denied as denied:
            self.close()
            return _denial(denied.code, denied.text)
        except Exception as error:  # whatever it is, it is no allow
            self.close()
            return _denial("client_error", f"{type(error).__name__} while the gate was asked")
        if context is None and answer.allowed:
            self._keep(subject, action, (started + holds, asked_at + holds), answer, drops)
        return answer

    def changes(self, wait: float = 25.0, stop: Callable[[], bool] = lambda: False) -> Iterator[Change]:
        """Blocks and their ends, as they come; those that stand already first. Never ends by itself.

        Whatever comes, kept allows are dropped. When the stream is lost, that is a change too (`lost`,
        scope `*`): nothing may be taken as open until the blocks that stand are told anew. Once it is
        ended (`stop`, or its iterator is closed), nothing is kept until it is begun again.
        """
        after: int | None = None
        pause = 0.05
        try:
            while not stop():
                try:
                    if after is None:
                        found = self._changes({}, _STREAM_S)
                        told = [{"verdict": "block", **block} for block in found["blocks"]]
                    else:
                        found = self._changes({"after": after, "wait": wait}, wait + _STREAM_S)
                        told = list(found["changes"])
                        if found.get("reset"):
                            raise Denied("client_changes", "the Observer's journal was cut")
                    changes = [_change(item) for item in told]
                    if changes or after is None:
                        self.drop()
                    after, pause, self._lost = int(found["after"]), 0.05, False
                except Exception as error:
                    after, self._lost = None, True
                    self.drop()
                    self.close()
                    yield Change("lost", "*", "client", f"the stream of changes is lost: {error}")
                    time.sleep(pause)
                    pause = min(2 * pause, 1.0)
                    continue
                yield from changes
        finally:  # nobody listens any more
            self._lost = True
            self.drop()

    def drop(self) -> None:
        """Forgets the allows that were kept."""
        with self._lock:
            self._drops += 1
            self._kept.clear()

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "socket", None)
        self._local.socket = None
        if connection is not None:
            connection.close()

    # ------------------------------------------------------------------ one question

    def _cached(self, subject: str, action: str) -> Answer | None:
        with self._lock:
            (until, until_at), answer = self._kept.get((subject, action), ((0.0, 0.0), None))
            # By both clocks: the monotonic one stands still while the machine sleeps.
            if answer is None or time.monotonic() >= until or time.time() >= until_at:
                self._kept.pop((subject, action), None)
                return None
        return replace(answer, cached=True)

    def _keep(self, subject: str, action: str, until: _Until, answer: Answer, drops: int) -> None:
        """Keeps an allow, unless something changed since it was asked for, or nobody would hear of it."""
        with self._lock:
            if self._cache and not self._lost and drops == self._drops:
                self._kept[subject, action] = until, answer

    def _ask(
        self, subject: str, action: str, context: Mapping[str, Any] | None, started: float
    ) -> tuple[Answer, float]:
        identity = secrets.token_hex(16)
        resource: dict[str, Any] = {"type": "instrument", "id": subject}
        if self._domain is not None:
            resource["properties"] = {"domain": self._domain}
        question = {"subject": self._caller, "action": {"name": action}, "resource": resource}
        if context is not None:
            question["context"] = dict(context)
        body = json.dumps(question, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "X-Request-ID": identity}
        end = started + self._timeout
        status, found, data = self._exchange("POST", f"{self._path}/v1/evaluation", body, headers, end)
        if time.monotonic() > end:
            raise Denied("client_timeout", f"no answer within {self._timeout:g} s")
        _check(status)
        if found.get("x-request-id") != identity:
            raise Denied("client_malformed", "the answer is not the one to this question")
        return self._read(status, found, data, started)

    def _read(
        self, status: int, headers: Mapping[str, str], data: bytes, started: float
    ) -> tuple[Answer, float]:
        """The answer, and for how many seconds from `started` on an allow holds."""
        value = _value(status, headers, data)
        decision, context = value.get("decision"), value.get("context")
        if not isinstance(decision, bool) or not isinstance(context, dict):
            raise Denied(
                "client_malformed", "the answer has no decision that is true or false, or no context"
            )
        reasons = context.get("reasons", [])
        if not isinstance(reasons, list) or not all(isinstance(reason, dict) for reason in reasons):
            raise Denied("client_malformed", "the answer's reasons are no list of objects")
        answer = Answer(
            decision, tuple(reasons), _text(context, "valid_until"), _text(context, "as_of"),
            _text(context, "domain"), _text(context, "risk"), _text(context, "id"), _text(context, "permit"),
        )  # fmt: skip
        if not decision:
            return answer, 0.0
        if not answer.id:
            raise Denied("client_malformed", "the answer allows, and names no record of that")
        now = _moment(context, "evaluated_at")
        if self._max_skew is not None and not abs(time.time() - now) <= self._max_skew:
            text = f"the Observer's clock differs from this one by more than {self._max_skew:g} s"
            raise Denied("client_clock_skew", text)
        # Counted on this machine's monotonic clock from before it was asked: never longer than it holds.
        holds = _moment(context, "valid_until") - now
        if started + holds <= time.monotonic():
            raise Denied("client_expired", f"the answer was valid until {answer.valid_until}")
        return answer, holds

    def _changes(self, query: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        words = {"domain": self._domain or "live", **query}
        path = f"{self._path}/v1/changes?{urlencode(words)}"
        found = _value(*self._exchange("GET", path, b"", {}, time.monotonic() + seconds))
        if not isinstance(found.get("after"), int):
            raise Denied("client_malformed", "the answer names no cursor")
        return found

    # ------------------------------------------------------------------ HTTP with one deadline

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], end: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers (lower case) and body. A kept connection that has died is opened anew, once."""
        lines = {"Host": self._netloc, **self._headers, **headers, "Content-Length": str(len(body))}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
        request = head.encode("latin-1") + body
        kept = getattr(self._local, "socket", None)
        try:
            if kept is not None:
                try:
                    return self._answer_over(kept, request, end)
                except (http.client.RemoteDisconnected, ConnectionError, BrokenPipeError):
                    self.close()
            return self._answer_over(self._connect(end), request, end)
        except TimeoutError:
            self.close()
            raise Denied("client_timeout", "no answer in time") from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            name = type(error).__name__
            raise Denied("client_unreachable", f"the gate cannot be asked ({name})") from None
        except BaseException:
            self.close()
            raise

    def _connect(self, end: float) -> socket.socket:
        connection = self._connect_to_any(end)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            connection.settimeout(_left(end))
            connection = self._tls.wrap_socket(connection, server_hostname=self._host)
        self._local.socket = connection
        return connection

    def _connect_to_any(self, end: float) -> socket.socket:
        """As `socket.create_connection`, which would wait `timeout` for each address of a name."""
        failed: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            self._host, self._port, type=socket.SOCK_STREAM
        ):
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(_left(end))
                connection.connect(address)
            except OSError as error:
                connection.close()
                failed = error
            else:
                return connection
        raise failed or OSError("the name has no address")

    def _answer_over(
        self, connection: socket.socket, request: bytes, end: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        connection.settimeout(_left(end))
        connection.sendall(request)
        response = http.client.HTTPResponse(_Deadlined(connection, end))  # type: ignore[arg-type]
        response.begin()
        data = response.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise Denied("client_malformed", f"the answer is longer than {MAX_BYTES} bytes")
        if response.length:
            raise Denied("client_malformed", "the answer ends too early")
        if response.will_close:
            self.close()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, data


class _Deadlined(io.RawIOBase):
    """A socket as `http.client` reads it, with one deadline for all reads together."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._connection, self._end = connection, end

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._end))
        return self._connection.recv_into(buffer)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _check(status: int) -> None:
    """What refuses may stand before the Observer, and then does not know which question it is."""
    if status == 401:
        text = "the Observer does not know who asks (401): the token is missing, wrong, or has ended"
        raise Denied("client_unauthenticated", text)
    if status == 403:
        text = "the Observer knows who asks (403): the token may not ask this, or not as this caller"
        raise Denied("client_forbidden", text)
    if status != 200:
        raise Denied("client_status", f"the answer's status is {status}, 200 was expected")


def _value(status: int, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    _check(status)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Denied("client_malformed", "the answer is not application/json")
    if "content-length" not in headers and headers.get("transfer-encoding", "").lower() != "chunked":
        raise Denied("client_malformed", "the answer does not say where it ends")
    try:
        value = json.loads(data)
    except ValueError:
        raise Denied("client_malformed", "the answer is not JSON") from None
    if not isinstance(value, dict):
        raise Denied("client_malformed", "the answer is no JSON object")
    return value


def _text(context: Mapping[str, Any], key: str) -> str | None:
    value = context.get(key)
    if value is not None and not isinstance(value, str):
        raise Denied("client_malformed", f"{key} is no text")
    return value


def _moment(context: Mapping[str, Any], key: str) -> float:
    """Seconds since the epoch of an RFC 3339 time in UTC; nanoseconds are cut to microseconds."""
    text = _text(context, key) or ""
    whole, point, fraction = text.removesuffix("Z").partition(".")
    try:
        if not text.endswith("Z") or (point and not fraction.isdecimal()):
            raise ValueError
        micros = fraction[:6].ljust(6, "0") if point else "0"
        return datetime.fromisoformat(f"{whole}+00:00").timestamp() + int(micros) / 1e6
    except ValueError:
        raise Denied("client_malformed", f"{key} is no time") from None


def _change(item: Mapping[str, Any]) -> Change:
    until = item.get("until")
    return Change(
        str(item["verdict"]), str(item["scope"]), str(item["policy"]), str(item["reason"]), item.get("time"),
        until if isinstance(until, str) else None,
    )  # fmt: skip


def _denial(code: str, text: str) -> Answer:
    return Answer(False, ({"code": code, "text": text},))


# ---------------------------------------------------------------------- the drill


@dataclass(frozen=True)
class Drilled:
    """One case: what the server did, what was answered, in how many seconds, and whether that is right."""

    name: str
    answer: Answer
    seconds: float
    passed: bool


def drill(url: str | None = None, timeout: float = 0.25, token: str | None = None) -> Iterator[Drilled]:
    """Asks a server on this machine that misbehaves in every way known; all but the first case must deny.

    The first answers as it should, so that a client that always denies fails too. With `url` the
    real gate is asked, with `token`, about an instrument that cannot exist.
    """
    for name, behave in _cases().items():
        with _Server(behave) as port:
            gate = Gate(f"http://127.0.0.1:{port}", timeout=timeout, caller="drill")
            # The second question is over the connection of the first, if that still stands.
            for turn in ("", ", again"):
                yield _drilled(f"{name}{turn}", gate, timeout, expected=name == _ALLOWED)
            gate.close()
    with _Server(_silent) as port:
        pass
    gone = Gate(f"http://127.0.0.1:{port}", timeout=timeout, caller="drill")
    yield _drilled("nothing listens", gone, timeout, expected=False)
    with _Server(_answers()) as port:
        killed = Gate(f"http://127.0.0.1:{port}", timeout=timeout, caller="drill", cache=True)
        yield _drilled(f"{_ALLOWED}, before the server is killed", killed, timeout, expected=True)
    killed.drop()
    yield _drilled("killed between two questions", killed, timeout, expected=False)
    if url is not None:
        real = Gate(url, token, timeout=max(timeout, 2.0), caller="drill")
        yield _drilled(f"{url}: an instrument that cannot exist", real, max(timeout, 2.0), expected=False)


_ALLOWED = "answers as it should"
_MARGIN = 0.25
"""Seconds over the timeout that the drill grants a busy machine."""
_JSON = "Content-Type: application/json"
_Behaviour = Callable[[socket.socket, str], None]


def _drilled(name: str, gate: Gate, timeout: float, *, expected: bool) -> Drilled:
    started = time.monotonic()
    answer = gate.may_trade(f"drill-{secrets.token_hex(4)}")
    seconds = time.monotonic() - started
    return Drilled(name, answer, seconds, answer.allowed is expected and seconds <= timeout + _MARGIN)


def _cases() -> dict[str, _Behaviour]:
    def told(decision: Any, valid: float = 30.0, ahead: float = 0.0, **other: Any) -> _Behaviour:
        return _answers(lambda: {"decision": decision, "context": {**_context(valid, ahead), **other}})

    return {
        _ALLOWED: _answers(),
        "says nothing": _silent,
        "hangs up": lambda connection, _: connection.close(),
        "resets the connection": _reset,
        "sends its headers byte by byte": _dripping(0),
        "sends its body byte by byte": _dripping(1),
        "stops in the middle of the body": _answers(cut=20),
        "status 500": _answers(status="500 Internal Server Error"),
        "status 503": _answers(status="503 Service Unavailable"),
        "status 401": _answers(status="401 Unauthorized"),
        "status 403": _answers(status="403 Forbidden"),
        "does not know the token": _refusal("401 Unauthorized"),
        "forbids what is asked": _refusal("403 Forbidden"),
        "looks into no more tokens": _refusal("429 Too Many Requests"),
        "status 204": _answers(status="204 No Content", body=b""),
        "redirects": _answers(status="302 Found", more="Location: http://127.0.0.1:1/"),
        "a page in HTML": _answers(content_type="text/html", body=b"<h1>welcome</h1>"),
        "HTML that says it is JSON": _answers(body=b"<h1>welcome</h1>"),
        "an empty body": _answers(body=b""),
        "no HTTP": lambda connection, _: connection.sendall(b"\x16\x03\x01 hello\r\n\r\n"),
        "a list": _answers(body=b"[true]"),
        "a decision without a context": _answers(lambda: {"decision": True}),
        "the decision as a text": told("true"),
        "the decision as a number": told(1),
        "no decision": _answers(lambda: {"context": _context()}),
        "valid until is past": told(True, valid=-1.0),
        "no valid until": told(True, valid_until=None),
        "valid until is no time": told(True, valid_until="soon"),
        "a clock an hour ahead": told(True, ahead=3600.0),
        "a clock an hour behind": told(True, ahead=-3600.0),
        "an allow without a record": told(True, id=None),
        "the answer to another question": _answers(identity="0" * 32),
        "no request id": _answers(identity=None),
        "an endless body": _endless,
        "denies": told(False),
    }


def _context(valid: float = 30.0, ahead: float = 0.0) -> dict[str, Any]:
    now = time.time() + ahead
    names = {"evaluated_at": now, "as_of": now - 1, "valid_until": now + valid}
    times = {key: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z" for key, at in names.items()}
    return {"id": "gate.live@1", "reasons": [], "domain": "live", "risk": "calm", **times}


def _answers(
    value: Callable[[], Any] | None = None, *, status: str = "200 OK", content_type: str = "application/json",
    body: bytes | None = None, more: str = "", identity: str | None = "", cut: int | None = None,
) -> _Behaviour:  # fmt: skip
    def behave(connection: socket.socket, asked: str) -> None:
        found = {"decision": True, "context": _context()} if value is None else value()
        data = json.dumps(found).encode() if body is None else body
        named = asked if identity == "" else identity
        head = _head(status, f"Content-Type: {content_type}", f"Content-Length: {len(data)}", named, more)
        connection.sendall(head + data[:cut])
        if cut is not None:
            connection.close()

    return behave


def _refusal(status: str) -> _Behaviour:
    """As whatever stands before the gate refuses: it has not seen which question it is."""
    body = b'{"type": "about:blank", "status": 0, "detail": "no"}'
    return _answers(status=status, content_type="application/problem+json", body=body, identity=None)


def _head(status: str, kind: str, size: str, asked: str | None, more: str = "") -> bytes:
    named = "" if asked is None else f"X-Request-ID: {asked}"
    lines = [line for line in (f"HTTP/1.1 {status}", kind, size, named, more) if line]
    return "\r\n".join([*lines, "", ""]).encode()


def _silent(connection: socket.socket, _: str) -> None:
    connection.settimeout(10)
    connection.recv(1)


def _reset(connection: socket.socket, _: str) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def _dripping(part: int) -> _Behaviour:
    def behave(connection: socket.socket, asked: str) -> None:
        data = json.dumps({"decision": True, "context": _context()}).encode()
        head = _head("200 OK", _JSON, f"Content-Length: {len(data)}", asked)
        parts = (b"", head + data) if part == 0 else (head, data)
        connection.sendall(parts[0])
        for byte in parts[1]:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    return behave


def _endless(connection: socket.socket, asked: str) -> None:
    connection.sendall(_head("200 OK", _JSON, "Transfer-Encoding: chunked", asked))
    while True:
        connection.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")


class _Server:
    """Accepts connections on this machine and does with each request what `behave` does."""

    def __init__(self, behave: _Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []

    def __enter__(self) -> int:
        threading.Thread(target=self._accept, daemon=True).start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # wakes who waits for a connection
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    part = connection.recv(65536)
                    if not part:
                        return
                    data += part
                head, _, data = data.partition(b"\r\n\r\n")
                lines = [line.partition(":") for line in head.decode("latin-1").split("\r\n")]
                found = {name.strip().lower(): value.strip() for name, _, value in lines}
                length = int(found.get("content-length", "0"))
                while len(data) < length:
                    data += connection.recv(65536)
                data = data[length:]
                self._behave(connection, found.get("x-request-id", ""))
        except OSError:
            connection.close()


def main(words: list[str]) -> int:
    """`drill [URL]`: 0 when every case was denied that has to be, and the good one allowed."""
    if not words or words[0] != "drill" or len(words) > 2:
        print("usage: python -m observer_core.client drill [URL]", file=sys.stderr)
        return 2
    failed = count = 0
    for case in drill(words[1] if len(words) == 2 else None):
        count, failed = count + 1, failed + (not case.passed)
        reasons = ", ".join(str(reason.get("code")) for reason in case.answer.reasons)
        said = "allow" if case.answer.allowed else f"deny ({reasons})"
        print(f"{'pass' if case.passed else 'FAIL'}  {case.seconds * 1e3:6.0f} ms  {case.name}: {said}")
    print(f"{count - failed} of {count} cases passed" + ("" if not failed else ": it does NOT fail closed"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
