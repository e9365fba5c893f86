"""deploy/image/healthcheck.py, against servers that answer well, badly, never, or not at all."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NO_REPORT = "no health report on port PORT"
SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "image" / "healthcheck.py"


@contextmanager
def answering(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def check(*words: str) -> tuple[int, str]:
    # A proxy in the environment must not be asked instead.
    env = {"http_proxy": "http://127.0.0.1:1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *words],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def report(**checks: str) -> bytes:
    status = max(checks.values(), key=["pass", "warn", "fail"].index)
    found = {name: [{"status": value}] for name, value in checks.items()}
    return json.dumps({"status": status, "checks": found}).encode()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, report(a="pass"), (0, "200 pass")),
        (200, report(a="pass", b="warn"), (0, "200 warn")),
        (503, report(a="pass", b="fail"), (1, "503 fail b")),
        # What says one thing and means another is not well.
        (200, report(a="fail"), (1, "200 fail a")),
        (503, report(a="pass"), (1, "503 pass")),
        (200, b"<html>", (1, f"{NO_REPORT} (status 200): JSONDecodeError")),
        (401, b'{"title": "no token"}', (1, f"{NO_REPORT} (status 401): KeyError: 'status'")),
        (200, b'{"status": "pass", "checks": []}', (1, f"{NO_REPORT} (status 200): AttributeError")),
    ],
)  # fmt: skip
def test_only_an_answer_that_is_well_is_well(status: int, body: bytes, expected: tuple[int, str]) -> None:
    with answering(status, body) as port:
        code, told = check(str(port))
        assert (code, told.startswith(expected[1].replace("PORT", str(port)))) == (expected[0], True), told


def test_nobody_there_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, told = check(str(port))
    assert (code, told.startswith(f"no answer on port {port}: ConnectionRefusedError")) == (1, True)


def test_something_that_speaks_no_http_is_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        threading.Thread(target=speak, daemon=True).start()
        code, told = check(str(server.getsockname()[1]))
    assert (code, "BadStatusLine" in told) == (1, True)


def test_one_that_never_answers_is_a_failure() -> None:
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as server:  # the kernel takes the connection, nobody else does
        code, told = check(str(server.getsockname()[1]))
    assert (code, "TimeoutError" in told) == (1, True)


@pytest.mark.parametrize("words", [[], ["http://127.0.0.1"], ["1", "2"]])
def test_it_needs_a_port(words: list[str]) -> None:
    code, told = check(*words)
    assert (code, told.startswith("healthcheck: expected a port")) == (1, True)
