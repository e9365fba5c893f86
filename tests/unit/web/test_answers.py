"""What holds for every answer under /v1: tags, compression, HEAD, and what may stand behind the ?."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from observer_core.web import bodies, crowd, etags
from observer_core.web.access import Caller
from observer_core.web.bodies import BoundedBodies
from observer_core.web.crowd import Crowd
from observer_core.web.etags import Etags
from observer_core.web.heads import Heads
from observer_core.web.server import WebServer
from tests.support.web import Site, assert_problem

WHO = "/v1/whoami"
LONG = "/v1/openapi.json"


def ask(app: Any, method: str = "GET", parts: list[bytes] | None = None) -> Any:
    """What an ASGI application sends: status, headers, body."""
    sent: list[Message] = []
    waiting = [b""] if parts is None else list(parts)

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(60)
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting) or parts is not None}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http", "asgi": {"spec_version": "2.4"}, "method": method, "path": "/v1/x",
        "query_string": b"", "headers": [],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], found, b"".join(part.get("body", b"") for part in rest)


# ---------------------------------------------------------------------- tags


def test_an_answer_that_the_client_has_is_304(reading: Site) -> None:
    first = reading.get(WHO)
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (first.headers["etag"], f'"other", W/{first.headers["etag"]}', "*"):
        again = reading.get(WHO, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers["cache-control"] == "private, no-cache"
        assert "content-type" not in again.headers
    assert reading.get(WHO, headers={"if-none-match": '"other"'}).content == first.content


def test_a_compressed_answer_has_another_tag_and_is_known_by_it(reading: Site) -> None:
    tags = set()
    for coding in ("identity", "gzip", "br", "zstd"):
        accepted = {"accept-encoding": coding}
        response = reading.client.get(LONG, headers=accepted)
        assert response.headers.get("content-encoding", "identity") == coding
        if coding != "zstd":  # which the client cannot read
            assert response.json()["openapi"] == "3.1.0"
        tags.add(response.headers["etag"])
        again = reading.get(LONG, headers={**accepted, "if-none-match": response.headers["etag"]})
        assert (again.status_code, again.headers["etag"]) == (304, response.headers["etag"])
    assert len(tags) == 4


def test_a_short_answer_is_not_compressed(reading: Site) -> None:
    response = reading.get(WHO, headers={"accept-encoding": "br, gzip, zstd"})
    assert "content-encoding" not in response.headers


@pytest.mark.parametrize("path", ["/v1/gate/A", "/v1/changes", "/health", "/v1/health", "/v1/whoami?x=1"])
def test_what_is_not_to_be_kept_says_so_and_has_no_tag(reading: Site, path: str) -> None:
    response = reading.get(path)
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers


def test_a_stream_and_a_large_answer_pass_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etags, "_MOST", 10)

    async def parts() -> AsyncIterator[bytes]:
        yield b"[1,"
        yield b"2]"

    for response, body in (
        (StreamingResponse(parts(), media_type="application/json"), b"[1,2]"),
        (Response(b"[1,2,3,4,5]", media_type="application/json"), b"[1,2,3,4,5]"),
    ):
        status, headers, sent = ask(Etags(response))
        assert (status, sent) == (200, body)
        assert "etag" not in headers


# ---------------------------------------------------------------------- HEAD


def test_head_is_get_without_a_body(reading: Site) -> None:
    for path in (WHO, LONG, "/health", "/livez", "/metrics", "/nothing", "/v1/gate/A?domain=live"):
        head = reading.client.head(path)
        assert (head.status_code, head.content) == (reading.get(path).status_code, b"")


def test_head_ends_a_stream_at_once() -> None:
    given = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal given
        while True:
            given += 1
            yield b"data: x\n\n"

    status, headers, body = ask(Heads(StreamingResponse(endless(), media_type="text/event-stream")), "HEAD")
    assert (status, body) == (200, b"")
    assert headers["content-type"].startswith("text/event-stream")
    assert given == 1


def test_an_accident_before_the_answer_to_a_head_is_not_hidden() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(Heads(broken), "HEAD")


def test_over_the_wire_a_connection_goes_on_after_an_answer_without_a_body(empty: Site) -> None:
    server = WebServer(empty.app, port=0)
    connection = http.client.HTTPConnection("127.0.0.1", server.start(), timeout=20)
    try:
        connection.request("GET", WHO)
        first = connection.getresponse()
        first.read()
        etag = first.headers["etag"]
        for method, headers, status in (
            ("HEAD", {}, 200), ("GET", {"If-None-Match": etag}, 304), ("HEAD", {"If-None-Match": etag}, 304),
            ("GET", {"Accept-Encoding": "gzip"}, 200),
        ):  # fmt: skip
            connection.request(method, WHO, headers=headers)
            response = connection.getresponse()
            assert (response.status, response.headers["etag"]) == (status, etag)
            assert bool(response.read()) == (method == "GET" and status == 200)
    finally:
        connection.close()
        server.stop()


# ---------------------------------------------------------------------- what is asked


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/whoami?x=1", "parameter 'x' is unknown; there are none here"),
        ("/v1/whoami?" + "x" * 900, "parameter 'xxxxx"),
        ("/v1/gate/A?at=1&domian=live", "parameter 'domian' is unknown; there are domain, at and on_unknown"),
        ("/v1/gate/A?domain=live&domain=live", "parameter domain is given more than once"),
        ("/v1/changes?domain=", "parameter domain is empty; give it a value or leave it out"),
    ],
)
def test_a_parameter_that_is_not_understood_is_refused(reading: Site, path: str, detail: str) -> None:
    body = assert_problem(reading.get(path), 400, detail)
    assert len(body["detail"]) < 300


def test_probes_may_be_asked_with_anything(reading: Site) -> None:
    reading.health.beat()  # other tests may have taken long
    for path in ("/health", "/livez", "/readyz", "/metrics", "/"):
        assert reading.get(f"{path}?cache=buster").status_code == 200


def test_what_answers_get_allows_head(reading: Site) -> None:
    assert reading.client.delete(WHO).headers["allow"] == "GET, HEAD"
    assert reading.get("/v1/evaluation").headers["allow"] == "POST"


# ---------------------------------------------------------------------- limits


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body, as FastAPI's own reading would."""
    from starlette.exceptions import HTTPException

    try:
        body = await Request(scope, receive).body()
    except HTTPException as error:
        await Response(error.detail, error.status_code)(scope, receive, send)
    else:
        await Response(str(len(body)))(scope, receive, send)


def test_a_body_is_bounded_in_size_and_time_whoever_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "MOST", 10)
    assert ask(BoundedBodies(reads), "POST", parts=None)[::2] == (200, b"0")
    status, _, text = ask(BoundedBodies(reads), "POST", parts=[b"123456", b"789012"])
    assert (status, text) == (413, b"the body has more than 10 bytes; send it in smaller parts")
    monkeypatch.setattr(bodies, "_SECONDS", 0.01)
    status, _, text = ask(BoundedBodies(reads), "POST", parts=[b"1"])
    assert (status, text[:24]) == (408, b"the body did not arrive ")


def test_a_crowd_is_told_to_come_back_and_probes_are_answered() -> None:
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/v1/slow":
            entered.set()
            await leave.wait()
        await Response("done")(scope, receive, send)

    async def main() -> list[tuple[int, bytes]]:
        app, found = Crowd(slow, most=1), []

        async def one(path: str) -> None:
            sent: list[Message] = []

            async def send(message: Message) -> None:
                sent.append(message)

            async def receive() -> Message:
                return {"type": "http.request", "body": b"", "more_body": False}

            await app({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
            found.append((sent[0]["status"], sent[1]["body"]))

        first = asyncio.create_task(one("/v1/slow"))
        await entered.wait()
        await one("/v1/other")
        await one("/livez")
        leave.set()
        await first
        await one("/v1/other")
        return found

    refused, probe, first, after = asyncio.run(main())
    assert refused[0] == 503
    assert json.loads(refused[1])["detail"] == "1 requests are under way already"
    assert [probe, first, after] == [(200, b"done")] * 3
    assert crowd.MOST > 100


def test_who_may_operate_commands_the_gate_in_any_crowd() -> None:
    leave = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "GET":
            await leave.wait()
        await Response("done")(scope, receive, send)

    async def main() -> list[int]:
        app, found = Crowd(slow, most=1), []

        async def one(method: str, path: str, *scopes: str) -> None:
            async def send(message: Message) -> None:
                found.append(message.get("status", 0))

            async def receive() -> Message:
                return {"type": "http.request", "body": b"", "more_body": False}

            caller = Caller("anna", "token:anna", frozenset(scopes), "token")  # type: ignore[arg-type]
            scope = {
                "type": "http",
                "method": method,
                "path": path,
                "headers": [],
                "state": {"caller": caller},
            }
            await app(scope, receive, send)

        waiting = asyncio.create_task(one("GET", "/v1/events", "read"))
        await asyncio.sleep(0)
        for asked in (
            ("POST", "/v1/commands", "read", "operate"), ("POST", "/v1/commands", "read"),
            ("POST", "/v1/evaluation", "read", "operate"),
        ):  # fmt: skip
            await one(*asked)
        leave.set()
        await waiting
        return [status for status in found if status]

    assert asyncio.run(main()) == [200, 503, 503, 200]
