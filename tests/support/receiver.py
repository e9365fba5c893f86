"""Somebody who is posted to: keeps what comes, and answers as the path, or the test, says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver(BaseHTTPRequestHandler):
    """Answers with what `answers` has for the path, one after the other, else the status that it asks for."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))  # type: ignore[attr-defined]
        kind = self.path.strip("/").partition("?")[0]
        scripted = self.server.answers.get(self.path)  # type: ignore[attr-defined]
        if scripted:
            self._answer(*scripted.pop(0))
            return
        if kind == "silent":
            self.server.released.wait(5)  # type: ignore[attr-defined]
            return
        if kind == "trickle":
            self._trickle(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000)
            return
        self.send_response(200 if kind == "slow-body" else int(kind))
        if kind == "302":
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "1000" if kind == "slow-body" else "0")
        self.end_headers()
        if kind == "slow-body":
            self._trickle(b"x" * 1000)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _trickle(self, data: bytes) -> None:
        for byte in data:
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            if self.server.released.wait(0.02):  # type: ignore[attr-defined]
                return

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, list[tuple[int, dict[str, str], bytes]]] = {}
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def receiving() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()
