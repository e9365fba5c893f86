"""What may take long keeps nobody from seeing how things stand, nor from commanding the gate."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading.finding import Finder
from observer_core.web.server import WebServer
from tests.support.web import Site

SLOW = 12


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    server = WebServer(site.app, port=0)
    yield server.start()
    server.stop()


def ask(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("/v1/decisions/0123456789abcdef", Finder, "find"),
        ("/v1/decisions/0123456789abcdef/lineage", Finder, "find"),
        ("/v1/gate/BTC/USDT?at=2023-11-14T22:13:20Z", Gate, "check"),
    ],
)
def test_a_crowd_of_searches_holds_up_neither_the_status_nor_the_kill_switch(
    port: int, monkeypatch: pytest.MonkeyPatch, path: str, kind: type, name: str
) -> None:
    leave, began, answers = threading.Event(), threading.Semaphore(0), list[int]()
    real = getattr(kind, name)

    def slow(*given: Any, **named: Any) -> Any:
        began.release()
        assert leave.wait(20)
        return real(*given, **named)

    monkeypatch.setattr(kind, name, slow)
    searches = [
        threading.Thread(target=lambda: answers.append(ask(port, "GET", path)[0])) for _ in range(SLOW)
    ]
    for search in searches:
        search.start()
    try:
        assert began.acquire(timeout=10)
        for fast in ("/v1/status", "/v1/board", "/health", "/v1/changes"):
            assert ask(port, "GET", fast)[0] == 200
        kill = {"command": "kill", "author": "anna", "reason": "an exercise", "domain": "live"}
        assert ask(port, "POST", "/v1/commands", kill)[0] == 202
    finally:
        leave.set()
        for search in searches:
            search.join(20)
    assert len(answers) == SLOW
