"""A storage account that answers badly: between an SDK and Azurite, seeded.

What may go wrong with a request: 503 before it was done, 503 after it was done, no answer after it
was done, an answer that comes late, and one that never comes.
"""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import urlsplit

Fault = Literal["", "busy", "busy after", "silent after", "late", "hang"]
_HANGS_AFTER, _HANG_S = 300, 120.0
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


@dataclass
class Faults:
    """How often each fault happens, as shares of 1; `on` switches all of them."""

    shares: dict[Fault, float] = field(
        default_factory=lambda: {"busy": 0.04, "busy after": 0.02, "silent after": 0.02, "late": 0.05}
    )
    hangs: int = 1
    """So many requests are done and then never answered: the client has to run into its own timeout."""
    seed: int = 1
    on: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random, self._lock = random.Random(self.seed), threading.Lock()
        self.ended = threading.Event()

    def next(self) -> Fault:
        with self._lock:
            draw = self._random.random() if self.on else 1.0
            for fault, share in self.shares.items():
                if draw < share:
                    self.counts[fault] += 1
                    return fault
                draw -= share
            self.counts["passed"] += 1
            if self.on and self.counts["hang"] < self.hangs and self.counts["passed"] > _HANGS_AFTER:
                self.counts["hang"] += 1
                return "hang"
        return ""


def _handler(target: str, faults: Faults) -> type[BaseHTTPRequestHandler]:
    place = urlsplit(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = faults.next()
            if fault == "busy":
                self._busy()
                return
            status, headers, answer = self._forward(body)
            if fault == "busy after":
                self._busy()
            elif fault == "silent after":
                self.close_connection = True
            elif fault == "hang":
                faults.ended.wait(_HANG_S)
                self.close_connection = True
            else:
                if fault == "late":
                    time.sleep(0.3)
                self._answer(status, headers, answer)

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
                headers["Host"] = place.netloc
                connection.request(self.command, self.path, body=body or None, headers={
                    **headers, "Content-Length": str(len(body)),
                })  # fmt: skip
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _busy(self) -> None:
            code = "ServerBusy"
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>busy</Message></Error>".encode()
            self._answer(503, [("x-ms-error-code", code), ("Content-Type", "application/xml")], body)

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in _HOP:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_MERGE = do_PATCH = _serve

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no error here."""


@contextmanager
def between(connection: str, faults: Faults) -> Iterator[str]:
    """A connection string for the same account, through the faults."""
    servers = []

    def through(found: re.Match[str]) -> str:
        place = urlsplit(found[2])
        server = _Server(("127.0.0.1", 0), _handler(found[2], faults))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"{found[1]}=http://127.0.0.1:{server.server_address[1]}{place.path}"

    try:
        yield re.sub(r"(\w+Endpoint)=([^;]+)", through, connection)
    finally:
        faults.ended.set()
        for server in servers:
            server.shutdown()
            server.server_close()
