"""The server on a real socket."""

from __future__ import annotations

import errno
import http.client
import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.safety.tokens import digest_of, new_token
from observer_core.shared.errors import ConfigError
from observer_core.web.app import create_app
from observer_core.web.server import WebServer


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Observer]:
    made = Observer.local(load(root=tmp_path, source=[{"name": "feed", "kind": "push"}]))
    yield made
    made.close()


@pytest.fixture
def app(observer: Observer) -> Starlette:
    gate = Gate(observer.journals, observer.settings, observer.clock)
    return create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)


@pytest.fixture
def port(app: Starlette) -> Iterator[int]:
    server = WebServer(app, port=0)
    yield server.start()
    server.stop()


def test_a_push_is_seen_by_the_gate_over_the_wire(port: int, observer: Observer) -> None:
    base = f"http://127.0.0.1:{port}"
    body = json.dumps({"subject": "BTC/USDT", "price": 1.5}).encode()
    request = urllib.request.Request(
        f"{base}/v1/snapshots/feed", body, {"Content-Type": "application/json", "Idempotency-Key": "1"}
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        assert response.status == 202
    domain = observer.domain("live")
    domain.tick()
    domain.work(refresh=True, flush=True)
    for path in ("BTC%2FUSDT", "BTC/USDT"):
        with urllib.request.urlopen(f"{base}/v1/gate/{path}", timeout=5) as response:
            assert response.status == 200
            assert "server" not in response.headers
            assert json.load(response)["decision"] == "allow"


def test_many_pushes_at_once_are_all_committed_and_each_key_once(port: int, observer: Observer) -> None:
    answers: list[tuple[int, bool]] = []

    def push(number: int) -> None:
        body = json.dumps({"subject": "a", "price": number % 5}).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"key {number % 5}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/snapshots/feed", body, headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            answer = json.load(response)
            answers.append((answer["position"], answer["duplicate"]))

    threads = [threading.Thread(target=push, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(position for position, duplicate in answers if not duplicate) == [2, 3, 4, 5, 6]
    assert len(answers) == 20
    assert observer.journals.open("snapshots.feed").head().position == 6


def test_an_answer_does_not_wait_for_a_delayed_acknowledgement(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        connection.request("GET", "/livez")
        connection.getresponse().read()
        seconds.append(time.perf_counter() - started)
    connection.close()
    assert min(seconds[1:]) < 0.03


def test_a_name_that_resolves_here_is_not_this_machine(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/livez", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    assert caught.value.code == 421


def test_a_port_that_is_taken_is_named_with_a_remedy(app: Starlette) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"port {taken} on 127.0.0.1 is taken .* OBSERVER_WEB__PORT.*\(0 takes a free"
        ):
            WebServer(app, port=taken).start()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, "port 80 on 127.0.0.1 needs more rights than this user has: choose another one"),
        (errno.EADDRNOTAVAIL, "port 80 on 127.0.0.1 cannot be opened (not here): choose another one"),
    ],
)
def test_a_port_that_cannot_be_opened_is_named_with_a_remedy(
    app: Starlette, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, "not here")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigError, match=re.escape(message)):
        WebServer(app, port=80).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_beyond_loopback_is_refused_without_tokens(app: Starlette, host: str) -> None:
    with pytest.raises(
        ConfigError, match="beyond loopback needs tokens.*`observer token new.*bind to 127.0.0.1"
    ):
        WebServer(app, host)


def test_beyond_loopback_only_who_has_a_token_is_answered(tmp_path: Path) -> None:
    token = new_token()
    kept = {"name": "kim", "sha256": digest_of(token).hex(), "scopes": ["read"]}
    observer = Observer.local(load(root=tmp_path, web={"host": "0.0.0.0", "token": [kept]}))
    gate = Gate(observer.journals, observer.settings, observer.clock)
    app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
    with capture_logs() as lines:
        server = WebServer(app, "0.0.0.0", 0, tokens=True)
    assert "without TLS" in lines[0]["event"]
    url = f"http://127.0.0.1:{server.start()}/v1/whoami"
    try:
        for headers in ({}, {"Authorization": "Bearer qts_x"}, {"X-Forwarded-For": "127.0.0.1"}):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5)
            assert caught.value.code == 401
        known = {"Authorization": f"Bearer {token}", "Host": "any.example"}
        with urllib.request.urlopen(urllib.request.Request(url, headers=known), timeout=5) as response:
            assert json.load(response)["principal"] == "token:kim"
    finally:
        server.stop()
        observer.close()


def test_where_a_client_says_that_it_is_does_not_count(tmp_path: Path) -> None:
    """Else every wrong token would come from somewhere else."""
    kept = {"name": "kim", "sha256": "0" * 64, "scopes": ["read"]}
    observer = Observer.local(load(root=tmp_path, web={"token": [kept]}))
    gate = Gate(observer.journals, observer.settings, observer.clock)
    app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
    server = WebServer(app, port=0)
    connection = http.client.HTTPConnection("127.0.0.1", server.start(), timeout=5)
    statuses = []
    for number in range(11):
        headers = {"Authorization": "Bearer qts_x", "X-Forwarded-For": f"203.0.113.{number}"}
        connection.request("GET", "/v1/whoami", headers=headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    server.stop()
    observer.close()
    assert statuses == [401] * 10 + [429]


def test_whoever_reaches_an_application_that_listens_wider_without_tokens_is_nobody(tmp_path: Path) -> None:
    """The server refuses to start with it; the application does not rely on that."""
    observer = Observer.local(load(root=tmp_path, web={"host": "0.0.0.0"}))
    gate = Gate(observer.journals, observer.settings, observer.clock)
    app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
    assert TestClient(app, base_url="http://localhost").get("/v1/whoami").status_code == 401
    observer.close()


def test_stop_is_quick_with_idle_and_half_open_connections(app: Starlette) -> None:
    server = WebServer(app, port=0)
    port = server.start()
    idle = socket.create_connection(("127.0.0.1", port))
    half = socket.create_connection(("127.0.0.1", port))
    half.sendall(b"POST /v1/snapshots/feed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 b"Content-Length: 100\r\n\r\n{")  # fmt: skip
    time.sleep(0.05)
    started = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 5.5
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    idle.close()
    half.close()


def test_a_server_that_never_started_can_be_stopped(app: Starlette) -> None:
    WebServer(app).stop()


def test_signals_stay_with_the_main_thread(app: Starlette) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    server = WebServer(app, port=0)
    server.start()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    server.stop()


def test_the_same_port_can_be_opened_again_at_once(observer: Observer) -> None:
    gate = Gate(observer.journals, observer.settings, observer.clock)
    port = 0
    for _ in range(2):
        app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
        server = WebServer(app, "localhost", port)
        port = server.start()
        with urllib.request.urlopen(f"http://localhost:{port}/livez", timeout=5) as response:
            assert response.status == 200
        server.stop()
