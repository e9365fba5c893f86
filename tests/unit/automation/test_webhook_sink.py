from __future__ import annotations

import hashlib
import hmac
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from observer_core.automation.sinks.webhook import WebhookSink
from observer_core.shared.errors import ConfigError, DeliveryError
from tests.support.receiver import Server, receiving

BODY = b'{"id":"a1","type":"io.qts.observer.decision.block"}'
EVENTS = "application/cloudevents+json"


@pytest.fixture
def server() -> Iterator[Server]:
    with receiving() as running:
        yield running


def post(sink: WebhookSink, *, record_id: str = "a1", replay: bool = False) -> int:
    return sink.send(record_id, BODY, content_type=EVENTS, replay=replay)


def failure(sink: WebhookSink) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        post(sink)
    return caught.value


def taking(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_the_record_arrives_byte_for_byte_with_its_id_and_signature(server: Server) -> None:
    sink = WebhookSink(f"{server.url}/204?desk=7", secret="s3cret", allow_private=True)
    assert post(sink) == 204
    (path, headers, body) = server.requests[0]
    assert path == "/204?desk=7"
    assert body == BODY
    assert headers["Content-Type"] == EVENTS
    assert headers["Idempotency-Key"] == "a1"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    expected = hmac.new(b"s3cret", b"a1." + BODY, hashlib.sha256).hexdigest()
    assert headers["X-QTS-Signature"] == f"v1={expected}"
    assert "X-QTS-Replay" not in headers
    assert not sink.already_has("a1")


def test_a_replay_is_marked_and_no_secret_means_no_signature(server: Server) -> None:
    post(WebhookSink(f"{server.url}/200", allow_private=True), replay=True)
    headers = server.requests[0][1]
    assert headers["X-QTS-Replay"] == "true"
    assert "X-QTS-Signature" not in headers


@pytest.mark.parametrize(
    ("status", "retry"),
    [
        (400, False),
        (401, False),
        (404, False),
        (410, False),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
    ],
)
def test_another_attempt_is_made_only_where_it_may_help(server: Server, status: int, retry: bool) -> None:
    error = failure(WebhookSink(f"{server.url}/{status}", allow_private=True))
    assert (error.code, error.retry) == (status, retry)
    assert f"answered {status}; 2xx was expected" in str(error)


def test_when_to_come_back_is_heeded(server: Server) -> None:
    server.answers = {"/busy": [(429, {"Retry-After": "120"}, b"")]}
    error = failure(WebhookSink(server.url + "/busy", allow_private=True))
    assert (error.retry, error.wait_ns) == (True, 120 * 10**9)


def test_a_redirect_is_not_followed_and_not_tried_again(server: Server) -> None:
    error = failure(WebhookSink(f"{server.url}/302", allow_private=True))
    assert (error.code, error.retry) == (302, False)
    assert "redirects are not followed: give the final address" in str(error)
    assert [path for path, _, _ in server.requests] == ["/302"]


@pytest.mark.parametrize("kind", ["silent", "trickle"])
def test_an_answer_that_does_not_come_in_time_is_a_failure_to_be_tried_again(
    server: Server, kind: str
) -> None:
    sink = WebhookSink(f"{server.url}/{kind}", timeout=0.2, allow_private=True)
    error = failure(sink)
    assert error.retry
    assert error.code is None
    assert "within 0.2 s" in str(error) or "timed out" in str(error)
    assert taking(lambda: failure(sink)) < 1


def test_an_abandoned_request_leaves_no_thread_behind(server: Server) -> None:
    failure(WebhookSink(f"{server.url}/trickle", timeout=0.1, allow_private=True))
    deadline = time.monotonic() + 2
    while any(thread.name == "post to 127.0.0.1" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)


def test_the_status_counts_however_slow_the_body_is(server: Server) -> None:
    sink = WebhookSink(f"{server.url}/slow-body", timeout=2, allow_private=True)
    assert taking(lambda: post(sink)) < 1


def test_a_name_look_up_that_hangs_is_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hanging.wait(5) and [])
    sink = WebhookSink("http://hooks.example/x", timeout=0.1)
    assert taking(lambda: failure(sink)) < 1
    hanging.set()


def test_a_dead_server_is_a_failure_to_be_tried_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = failure(WebhookSink(f"http://127.0.0.1:{port}/", allow_private=True))
    assert error.retry
    assert f"http://127.0.0.1:{port} cannot be reached" in str(error)


def test_a_server_that_speaks_no_tls_is_an_error_not_a_plain_text_delivery(server: Server) -> None:
    error = failure(WebhookSink(server.url.replace("http:", "https:") + "/200", allow_private=True))
    assert "cannot be reached" in str(error)
    assert server.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "::1", "fe80::1", "fd00::1", "::ffff:127.0.0.1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_a_name_that_leads_to_a_place_that_is_not_public_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443)),
             (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]  # fmt: skip
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was spoken to"))
    error = failure(WebhookSink("https://hooks.example/x"))
    assert not error.retry
    assert f"is at {address}, which is not a public address; set allow_private = true" in str(error)


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        socket, "getaddrinfo",
        lambda *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 80))],
    )  # fmt: skip
    asked = []

    def refuse(address: tuple[str, int], timeout: float) -> socket.socket:
        asked.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "create_connection", refuse)
    failure(WebhookSink("http://hooks.example/x"))
    assert asked == [("93.184.215.14", 80)]


def test_secret_and_path_appear_in_no_error_and_no_repr(server: Server) -> None:
    sink = WebhookSink(f"{server.url}/404?token=t0ken", secret="s3cret", allow_private=True)
    for text in (repr(sink), str(failure(sink))):
        assert "t0ken" not in text
        assert "s3cret" not in text


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hooks.example/x", "must begin with https://host"),
        ("ftp://hooks.example/x", "must begin with https://host"),
        ("https:///x", "must begin with https://host"),
        ("https://hooks.example:port/x", "cannot be read"),
        ("https://user:pa55@hooks.example/x", "no user and password"),
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_at_once(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"webhook 'desk': .*{says}") as caught:
        WebhookSink(url, name="desk")
    assert "pa55" not in str(caught.value)


def test_a_record_id_that_would_forge_a_header_is_refused_for_good(server: Server) -> None:
    sink = WebhookSink(f"{server.url}/200", allow_private=True)
    with pytest.raises(DeliveryError, match="not a request") as caught:
        post(sink, record_id="a1\r\nX-Admin: yes")
    assert not caught.value.retry
    assert server.requests == []


def test_a_timeout_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="timeout must be more than 0 seconds; found 0"):
        WebhookSink("https://hooks.example/x", timeout=0)
