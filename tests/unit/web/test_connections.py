"""Whoever connects holds nothing against others: on real sockets, without a token."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from observer_core.web.connections import BoundedConnection
from observer_core.web.server import WebServer

MOST = 5


async def short(_: Request) -> Response:
    return PlainTextResponse("done")


async def long(_: Request) -> Response:
    return Response(b"x" * 32_000_000)


async def echo(request: Request) -> Response:
    return Response(await request.body())


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(BoundedConnection, "most", MOST)
    routes = [Route("/", short), Route("/long", long), Route("/echo", echo, methods=["POST"])]
    server = WebServer(Starlette(routes=routes), port=0)
    yield server.start()
    server.stop()


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(sent)
    return connection


def until(connection: socket.socket, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        part = connection.recv(65_536)
        assert part, found
        found += part
    return found


def asked(connection: socket.socket) -> bytes:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return until(connection, b"done")


def is_open(connection: socket.socket, patience: float = 0.2) -> bool:
    connection.settimeout(patience)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: "])
def test_a_crowd_that_says_nothing_keeps_nobody_out(port: int, sent: bytes) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(port, sent)) for _ in range(3 * MOST)]
        assert b"200 OK" in asked(stack.enter_context(connect(port)))
        assert sum(is_open(one, 0.05) for one in silent) < MOST


def test_who_is_being_answered_stays(port: int) -> None:
    begun = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab"
    with ExitStack() as stack:
        busy = [stack.enter_context(connect(port, begun)) for _ in range(MOST - 1)]
        time.sleep(0.1)
        silent = [stack.enter_context(connect(port)) for _ in range(3)]
        assert [is_open(one) for one in silent] == [False, False, True]
        for one in busy:
            one.sendall(b"cd")
            assert b"200 OK" in until(one, b"abcd")


def test_headers_that_do_not_come_are_waited_for_no_longer(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.3)
    with connect(port) as silent, connect(port) as kept:
        assert b"200 OK" in asked(kept)
        kept.sendall(b"G")
        assert not is_open(silent, 5)
        assert not is_open(kept, 5)


def test_an_answer_that_nobody_takes_does_not_stay(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "taken_s", 0.1)
    monkeypatch.setattr(
        BoundedConnection, "timeout_keep_alive", property(lambda _: 0.1, lambda _, s: None), raising=False
    )
    with connect(port) as slow:
        slow.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)
        slow.settimeout(5)
        taken = 0
        try:
            while part := slow.recv(1_000_000):
                taken += len(part)
        except ConnectionError:
            pass
        assert taken < 32_000_000
