"""Ways to an Azure storage on which something goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from azure.core.exceptions import ServiceResponseError
from azure.core.pipeline.transport import RequestsTransport

Send = Callable[[], Any]


class FaultyWire(RequestsTransport):
    """Goes to the network, but the next request whose URL holds `match` is given to `fault` instead.

    `fault` gets the way to send it, and gives its answer or raises.
    """

    def __init__(self) -> None:
        super().__init__(connection_timeout=2, read_timeout=10)
        self._armed: list[tuple[str, Callable[[Send], Any]]] = []
        self.sent: list[str] = []

    def arm(self, match: str, fault: Callable[[Send], Any]) -> None:
        self._armed.append((match, fault))

    def send(self, request: Any, **options: Any) -> Any:
        self.sent.append(f"{request.method} {request.url}")

        def send() -> Any:
            return super(FaultyWire, self).send(request, **options)

        if self._armed and self._armed[0][0] in request.url:
            return self._armed.pop(0)[1](send)
        return send()


def lost_answer(send: Send) -> Any:
    """It is done, and nobody hears of it."""
    send()
    raise ServiceResponseError("connection reset")


def never_sent(send: Send) -> Any:
    raise ServiceResponseError("connection reset")


def answered(status: int, code: str) -> Callable[[Send], Any]:
    """It is done, and the answer denies it."""

    def fault(send: Send) -> Any:
        answer = send()
        answer.status_code, answer.headers["x-ms-error-code"] = status, code
        return answer

    return fault


@contextmanager
def service(status: int | None, code: str = "") -> Iterator[str]:
    """The URL of a service that answers everything with `status`, or never (None)."""
    silent = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            if status is None:
                silent.wait()
                return
            self.send_response(status)
            self.send_header("x-ms-error-code", code)
            self.send_header("content-length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _answer

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        silent.set()
        server.shutdown()
        server.server_close()
        thread.join()
