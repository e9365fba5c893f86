"""What stands before every request: other sites' pages, other names, proxies, and the headers of answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from observer_core.web.guard import Guard
from tests.support.web import Site, assert_problem

JSON = {"content-type": "application/json"}
ACT = {"command": "kill", "author": "mallory", "reason": "because I can"}
ROW = {"subject": "BTC/USDT", "price": 1.5}
FOREIGN = [
    "null", "https://evil.example", "http://evil.example", "http://evil.example:8000",
    "http://localhost", "http://localhost:8001", "https://localhost:8000", "http://127.0.0.1:8000",
    "http://localhost:8000.evil.example", "http://localhost:8000/", "http://localhost:8000@evil.example",
    "localhost:8000", "file://", "chrome-extension://abc", "", "http://", "http://LOCALHOST:80",
]  # fmt: skip
"""Origins that are not http://localhost:8000."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def commands(site: Site) -> int:
    return sum(
        site.observer.journals.open(name).head().position for name in site.observer.journals.names("commands")
    )


# ---------------------------------------------------------------------- pages of other sites


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_from_elsewhere_changes_nothing(site: Site, origin: str) -> None:
    headers = {**JSON, "origin": origin}
    for path, body in (("/v1/commands", ACT), ("/v1/snapshots/feed", ROW)):
        response = site.client.post(path, json=body, headers=headers)
        assert_problem(response, 403, "a page of", "may change nothing here")
    assert commands(site) == 0
    assert site.observer.journals.open("snapshots.feed").head().position == 0


@pytest.mark.parametrize("origin", ["http://localhost:8000", "HTTP://LocalHost:8000", None])
def test_our_own_page_and_programs_may(site: Site, origin: str | None) -> None:
    headers = JSON if origin is None else {**JSON, "origin": origin}
    assert site.client.post("/v1/snapshots/feed", json=ROW, headers=headers).status_code == 202


def test_two_origins_must_both_be_ours(site: Site) -> None:
    headers = [*JSON.items(), ("origin", "http://localhost:8000"), ("origin", "http://evil.example")]
    assert_problem(site.client.post("/v1/snapshots/feed", json=ROW, headers=headers), 403)


@pytest.mark.parametrize("site_is", ["cross-site", "same-site", "CROSS-SITE", "", "x"])
def test_what_the_browser_says_of_where_it_came_from_counts_without_an_origin(
    site: Site, site_is: str
) -> None:
    response = site.client.post("/v1/commands", json=ACT, headers={**JSON, "sec-fetch-site": site_is})
    assert_problem(response, 403, "another site's page")
    assert commands(site) == 0


@pytest.mark.parametrize("site_is", ["same-origin", "none"])
def test_our_own_page_says_so(site: Site, site_is: str) -> None:
    headers = {**JSON, "sec-fetch-site": site_is}
    assert site.client.post("/v1/snapshots/feed", json=ROW, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain;json",
     "text/plain; application/json", "", "application/jsonx", "application/x-ndjson"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/commands", "/v1/silences", "/v1/evaluation", "/v1/feedback"])
def test_no_form_can_send_what_is_taken(site: Site, path: str, kind: str) -> None:
    response = site.client.post(path, content=b"{}", headers={"content-type": kind})
    assert_problem(response, 415, "is not taken; expected application/json")
    assert response.headers["accept"] == "application/json"
    assert commands(site) == 0


def test_a_body_that_does_not_say_what_it_is_is_not_taken(site: Site) -> None:
    for content in (b"{}", iter([b"{}"])):
        response = site.client.post("/v1/commands", content=content)
        assert_problem(response, 415, "content type '' is not taken")


def test_pushes_may_be_lines_too(site: Site) -> None:
    headers = {"content-type": "Application/X-NDJSON; charset=utf-8"}
    content = b'{"subject": "A", "price": 1}\n'
    assert site.client.post("/v1/snapshots/feed", content=content, headers=headers).status_code == 202


def test_another_site_may_link_here_and_embed_or_fetch_nothing(site: Site) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path in ("/", "/v1/whoami"):
        assert site.get(path, headers=link).status_code == 200
    for other in ({"sec-fetch-dest": "iframe"}, {"sec-fetch-dest": "object"}, {"sec-fetch-mode": "no-cors"}):
        # As an image, say: asking the gate makes a record.
        response = site.get("/v1/gate/BTC/USDT", headers={**link, **other})
        assert_problem(response, 403, "may only link here")
    assert site.observer.journals.open("gate.live").head().position == 0


def test_there_are_no_cors_headers_and_no_cookies_whatever_is_asked(site: Site) -> None:
    asked = {
        "origin": "http://localhost:8000", "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }  # fmt: skip
    for method in ("OPTIONS", "GET", "POST"):
        for path in ("/", "/v1/whoami", "/v1/commands", "/nothing"):
            headers = site.client.request(method, path, headers=asked).headers
            assert not [name for name in headers if name.startswith("access-control-")]
            assert "set-cookie" not in headers


# ---------------------------------------------------------------------- other names, and proxies


def told(request: Request) -> Response:
    return PlainTextResponse("here")


def guarded(base_url: str = "http://localhost:8000", **options: Any) -> TestClient:
    app = Starlette(routes=[Route("/", told, methods=["GET", "POST"])])
    return TestClient(Guard(app, **{"loopback_only": True, **options}), base_url=base_url)


def host(client: TestClient, name: str) -> Response:
    answer: Any = client.get("/", headers={"host": name})
    return answer  # type: ignore[no-any-return]


def test_other_names_are_answered_where_they_are_configured() -> None:
    client = guarded(hosts=["observer.example", "[fd00::1]"])
    for name in (
        "observer.example",
        "Observer.Example:443",
        "observer.example.",
        "localhost:1",
        "[fd00::1]:8000",
    ):
        assert host(client, name).status_code == 200
    for name in ("evil.example", "observer.example.evil.example", "x.observer.example", "[fd00::2]", ""):
        assert_problem(
            host(client, name), 421, "localhost, 127.0.0.1 and [::1], [fd00::1], observer.example only"
        )


def test_a_server_that_listens_wider_answers_to_all_names_unless_some_are_configured() -> None:
    assert host(guarded(loopback_only=False), "anything.example").status_code == 200
    named = guarded(loopback_only=False, hosts=["observer.example"])
    assert host(named, "observer.example").status_code == 200
    assert host(named, "anything.example").status_code == 421


def test_two_host_headers_are_refused() -> None:
    response = guarded().get("/", headers=[("host", "localhost"), ("host", "evil.example")])
    assert response.status_code == 421


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"])
def test_nobody_comes_through_a_proxy_while_nobody_is_asked_who_he_is(header: str) -> None:
    response = guarded(unproved=True).get("/", headers={header: "203.0.113.7"})
    assert_problem(response, 403, "through a proxy", "[[web.token]]")
    assert guarded().get("/", headers={header: "203.0.113.7"}).status_code == 200


def test_behind_a_proxy_that_ends_tls_the_page_is_https_and_still_ours() -> None:
    def post(client: TestClient, origin: str, name: str = "observer.example") -> int:
        return client.post("/", json={}, headers={"origin": origin, "host": name}).status_code

    client = guarded(hosts=["observer.example"])
    assert post(client, "https://observer.example") == 200
    assert post(client, "https://observer.example", "127.0.0.1:8000") == 200
    assert post(client, "http://observer.example") == 200
    for origin in (
        "https://evil.example",
        "https://observer.example.evil.example",
        "null",
        "ftp://observer.example",
    ):
        assert post(client, origin) == 403
    assert post(guarded(unproved=True), "https://localhost:8000", "localhost:8000") == 403


def test_a_port_that_goes_without_saying_may_be_said() -> None:
    for base, origin in (
        ("http://localhost", "http://localhost"),
        ("https://localhost", "https://localhost"),
    ):
        client = guarded(base_url=base)
        port = ":80" if base.startswith("http:") else ":443"
        for name in ("localhost", f"localhost{port}"):
            response = client.post("/", json={}, headers={"origin": origin, "host": name})
            assert response.status_code == 200, (base, name)


# ---------------------------------------------------------------------- headers of answers


def test_answers_forbid_what_a_page_might_do_with_them() -> None:
    headers = guarded().get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_refusals_have_them_too() -> None:
    for headers in (host(guarded(), "evil.example").headers, guarded().post("/", content=b"x").headers):
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_an_answer_may_say_otherwise_of_itself() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        policy = {"Content-Security-Policy": "default-src 'self'"}
        await PlainTextResponse("", headers=policy)(scope, receive, send)

    client = TestClient(Guard(page, loopback_only=True), base_url="http://localhost")
    assert client.get("/").headers["content-security-policy"] == "default-src 'self'"


def test_only_https_is_to_stay_https() -> None:
    assert "strict-transport-security" not in guarded().get("/").headers
    assert "max-age=" in guarded(base_url="https://localhost").get("/").headers["strict-transport-security"]
