"""A local HTTP server of tickers whose paths fall ill, and are healed, while it runs."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, get_args

Illness = Literal["hanging", "garbage", "slow", "flapping"]
ILLNESSES: tuple[Illness, ...] = get_args(Illness)
GOOD, BAD = 3, 5
"""How many answers of a flapping path are good in a row, and how many are bad then."""
ROWS = {"rows": "data", "subject": "symbol", "fields": {"price": "last", "volume": "vol"}}
"""How a source of kind `http` reads an answer."""
_HTML = b"<html><title>Down for maintenance</title></html>"
_OTHER_SHAPE = b'{"error": {"code": 17, "message": "maintenance"}}'
_RESET = struct.pack("ii", 1, 0)


class SickServer(ThreadingHTTPServer):
    """`/name` gives moving tickers of `subjects(name)` until it falls ill; healing takes effect at once.

    hanging   the request is taken and nothing is said; what waits is answered when it is healed
    slow      the answer comes after `slow_seconds`, or when it is healed
    garbage   in turn HTML, JSON that ends too early and JSON of another shape, each with status 200
    flapping  `GOOD` answers, then `BAD` ones (503 and a reset connection in turn), and so on

    Nobody waits for it when it is closed. What a path answers depends on the seed and on how often it
    has been asked, never on time.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *, seed: int = 7, slow_seconds: float = 10.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.slow_seconds = slow_seconds
        self.asked: Counter[str] = Counter()
        """Requests that have come, by name."""
        self._seed = seed
        self._paths: dict[str, _Path] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"

    def sicken(self, name: str, illness: Illness) -> None:
        self.path(name).illness = _Ill(illness)

    def heal(self, name: str) -> None:
        path = self.path(name)
        ill, path.illness = path.illness, None
        if ill is not None:
            ill.over.set()

    def path(self, name: str) -> _Path:
        with self._lock:
            return self._paths.setdefault(name, _Path(name, self._seed))

    def __enter__(self) -> SickServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._paths):
            self.heal(name)
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that have hung up are no news here."""


def subjects(name: str) -> tuple[str, str]:
    """What the path `name` tells of."""
    return f"{name}-A/USD", f"{name}-B/USD"


class _Ill:
    """One illness, from its beginning to its end."""

    def __init__(self, kind: Illness) -> None:
        self.kind = kind
        self.over = threading.Event()
        self.asked = 0


class _Path:
    """The tickers of one path: prices that walk by at most one in two thousand."""

    def __init__(self, name: str, seed: int) -> None:
        self.illness: _Ill | None = None
        self._random = random.Random(f"{seed} {name}")
        self._prices = {subject: self._random.uniform(50, 200) for subject in subjects(name)}
        self._lock = threading.Lock()

    def tickers(self) -> bytes:
        with self._lock:
            walk = self._random.uniform
            self._prices = {name: price * (1 + walk(-5e-4, 5e-4)) for name, price in self._prices.items()}
            rows = [
                {"symbol": name, "last": round(price, 4), "vol": round(walk(1, 9), 3)}
                for name, price in self._prices.items()
            ]
        return json.dumps({"data": rows}).encode()

    def count(self, ill: _Ill) -> int:
        """Which request of the illness this is, from 0."""
        with self._lock:
            ill.asked += 1
            return ill.asked - 1


class _Handler(BaseHTTPRequestHandler):
    server: SickServer

    def do_GET(self) -> None:
        name = self.path[1:]
        self.server.asked[name] += 1
        path = self.server.path(name)
        match path.illness:
            case _Ill(kind="hanging") as ill:
                ill.over.wait()
            case _Ill(kind="slow") as ill:
                ill.over.wait(self.server.slow_seconds)
            case _Ill(kind="garbage") as ill:
                return self._garbage(path, path.count(ill))
            case _Ill(kind="flapping") as ill if (turn := path.count(ill) % (GOOD + BAD)) >= GOOD:
                return self._fail(turn)
        return self._answer(path.tickers())

    def _garbage(self, path: _Path, turn: int) -> None:
        if turn % 3 == 0:
            self._answer(_HTML, content_type="text/html")
        elif turn % 3 == 1:
            self._answer(path.tickers()[:-20])
        else:
            self._answer(_OTHER_SHAPE)

    def _fail(self, turn: int) -> None:
        if turn % 2:
            self._answer(b"busy", status=503, content_type="text/plain")
        else:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            os.close(self.connection.detach())

    def _answer(self, body: bytes, *, status: int = 200, content_type: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
