"""Server-Sent Events on a real socket: what comes, exactly once, whatever is cut in between."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from observer_core.runtime import operate
from observer_core.safety.tokens import digest_of, new_token
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.records import Note
from observer_core.web.access import KEY_SHOWN
from observer_core.web.api import models, stream
from observer_core.web.server import WebServer
from tests.support.web import NOW, Site, assert_problem


@pytest.fixture
def server(site: Site) -> Iterator[WebServer]:
    made = WebServer(site.app, port=0)
    site.port = made.start()  # type: ignore[attr-defined]
    yield made
    made.stop()


def commit(site: Site, *numbers: int) -> None:
    """Events of `live`, each with its number."""
    for number in numbers:
        body = {"input": "snapshots.feed", "position": number, "scopes": ["source:feed"], "error": "x"}
        journal = site.observer.journals.open("patterns.feed")
        operate.append(journal, [Note(kind="quarantine", time_ns=NOW, body=body)])
        site.work()


class Client:
    """Reads a stream as a browser does."""

    def __init__(self, site: Site, query: str = "", last: str | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)  # type: ignore[attr-defined]
        headers = {} if last is None else {"Last-Event-ID": last}
        self.connection.request("GET", f"/v1/events/stream{query}", headers=headers)
        self.response = self.connection.getresponse()
        self.last = last

    def block(self) -> dict[str, str]:
        """The next block's fields; a comment under the key of an empty name."""
        found: dict[str, str] = {}
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if not line:
                if not found:
                    raise EOFError
                self.last = found.get("id", self.last)
                return found
            name, _, value = line.partition(":")
            found[name] = value.removeprefix(" ")

    def numbers(self, count: int) -> list[int]:
        found: list[int] = []
        while len(found) < count:
            block = self.block()
            if "data" in block:
                item = orjson.loads(block["data"])
                models.RecordItem.model_validate(item)
                found.append(item["record"]["data"]["position"])
        return found

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextmanager
def connected(site: Site, query: str = "", last: str | None = None) -> Iterator[Client]:
    with closing(Client(site, query, last)) as client:
        assert client.response.status == 200
        assert client.response.headers["content-type"].startswith("text/event-stream")
        assert client.response.headers["cache-control"] == "no-store"
        yield client


@pytest.mark.usefixtures("server")
def test_what_is_committed_is_sent_and_what_was_before_is_not(site: Site) -> None:
    commit(site, 1)
    with connected(site) as client:
        assert client.block()["retry"] == "2000"
        commit(site, 2, 3)
        assert client.numbers(2) == [2, 3]


@pytest.mark.usefixtures("server")
def test_who_was_cut_off_goes_on_exactly_where_he_was(site: Site) -> None:
    with connected(site) as client:
        client.block()
        commit(site, 1, 2, 3)
        assert client.numbers(1) == [1]
        last = client.last
    commit(site, 4)
    with connected(site, last=last) as client:
        assert client.numbers(3) == [2, 3, 4]
        commit(site, 5)
        assert client.numbers(1) == [5]
        last = client.last
    with connected(site, f"?after={last}") as client:
        commit(site, 6)
        assert client.numbers(1) == [6]


@pytest.mark.usefixtures("server")
def test_the_long_poll_and_the_stream_share_their_cursors(site: Site) -> None:
    start = site.get("/v1/events?after=now&wait=0").json()["next"]
    commit(site, 1, 2)
    with connected(site, f"?after={start}") as client:
        assert client.numbers(1) == [1]
        polled = site.get(f"/v1/events?wait=0&after={client.last}").json()["items"]
    assert [item["record"]["data"]["position"] for item in polled] == [2]


@pytest.mark.usefixtures("server")
def test_what_is_not_meant_is_not_sent_but_moves_the_cursor(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.3)
    with connected(site, "?type=feed.*&domain=live") as client:
        first = client.block()["id"]
        commit(site, 1)
        while (beat := client.block())["id"] == first:
            assert "data" not in beat
        assert "data" not in beat
    assert site.get(f"/v1/events?wait=0&after={beat['id']}").json()["items"] == []


@pytest.mark.usefixtures("server")
def test_a_quiet_stream_has_a_heart(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.1)
    with connected(site) as client:
        for _ in range(3):
            assert "data" not in client.block()


def test_a_stopping_server_ends_its_streams_at_once(site: Site, server: WebServer) -> None:
    with connected(site) as client:
        client.block()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        with pytest.raises(EOFError):
            client.block()
        stopping.join(10)
        assert not stopping.is_alive()


def test_a_stream_ends_with_the_token_that_opened_it(tmp_path: Path) -> None:
    token = new_token()
    config = {
        "name": "page", "sha256": digest_of(token).hex(), "scopes": ["read"],
        "until": format_time(NOW + 60 * SECOND),
    }  # fmt: skip
    site = Site(tmp_path, web={"token": [config]}).filled()
    server = WebServer(site.app, port=0, tokens=True)
    connection = http.client.HTTPConnection("127.0.0.1", server.start(), timeout=20)
    try:
        connection.request("GET", "/v1/events/stream", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        assert response.readline() == b"retry: 2000\n"
        site.clock.advance(61 * SECOND)
        commit(site, 1)
        assert b"data" not in response.read()
    finally:
        connection.close()
        server.stop()
        site.close()


@pytest.mark.usefixtures("server")
def test_a_place_is_free_again_when_a_client_goes(site: Site) -> None:
    with connected(site) as client:
        client.block()
        open_ones = [Client(site) for _ in range(stream.MAX_STREAMS - 1)]
        assert all(one.response.status == 200 for one in open_ones)
        refused = Client(site)
        assert refused.response.status == 503
        assert refused.response.headers["retry-after"] == "1"
        assert b"clients wait for streams of events already" in refused.response.read()
        for one in (*open_ones, refused):
            one.close()
    for _ in range(200):
        with closing(Client(site)) as again:
            if again.response.status == 200:
                break
        time.sleep(0.02)
    else:
        pytest.fail("no place became free")


@pytest.mark.usefixtures("server")
def test_who_reads_nothing_is_not_read_for_and_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_PATIENCE_S", 0.3)
    looks: list[int] = []
    since = stream.Feed.since

    def huge(self: Any, after: Any, limit: int) -> Any:
        """The same event again and again, large: as if there were no end of them."""
        looks.append(1)
        found = since(self, after, limit)
        return stream.Fed(
            [(line._replace(raw=b'"%s"' % (b"x" * 2**20)), after) for line, _ in found.lines], after, []
        )

    start = site.get("/v1/events?after=now&wait=0").json()["next"]
    commit(site, 1)
    monkeypatch.setattr(stream.Feed, "since", huge)
    with socket.create_connection(("127.0.0.1", site.port)) as client:  # type: ignore[attr-defined]
        client.sendall(f"GET /v1/events/stream?after={start} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        time.sleep(1.0)
        made = len(looks)
        time.sleep(0.5)
        assert len(looks) == made < 100


@pytest.mark.parametrize(
    ("path", "last", "detail"),
    [
        ("/v1/events/stream?domain=mars", None, "there is no domain 'mars'"),
        ("/v1/events/stream?after=x", None, "'x' is no cursor"),
        ("/v1/events/stream", "x", "'x' is no cursor"),
        ("/v1/events/stream?since=1h", None, "parameter 'since' is unknown"),
    ],
)
def test_a_bad_question_is_a_problem(reading: Site, path: str, last: str | None, detail: str) -> None:
    headers = {} if last is None else {"Last-Event-ID": last}
    response = reading.get(path, headers=headers)
    assert_problem(response, 404 if "domain" in path else 400, detail)


def test_a_functions_app_names_the_long_poll(tmp_path: Path) -> None:
    site = Site(tmp_path, runtime="functions")

    async def with_key(scope: Any, receive: Any, send: Any) -> None:
        await site.app({**scope, KEY_SHOWN: True}, receive, send)

    response = TestClient(with_key, base_url="https://observer.example.net").get("/v1/events/stream")
    site.close()
    assert_problem(response, 501, "use the long poll instead: v1/events?after=now&wait=25, and then")
