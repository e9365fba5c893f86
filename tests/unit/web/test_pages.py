"""The web page's files, and what GET / gives to whom."""

from __future__ import annotations

import gzip
import re
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from tests.support.web import Site, assert_problem

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PLAIN = {"accept-encoding": "identity"}
PAGE = resources.files("observer_core.web") / "page"


def loaded(html: str) -> list[str]:
    return re.findall(r'(?:src|href)="(assets/[^"]+)"', html)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER["accept"], "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("application/json;q=0.5, text/*", "text/html; charset=utf-8"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json, text/html;q=0.9", "application/json"),
        ("text/html;q=nonsense", "application/json"),
    ],
)
def test_a_browser_gets_the_page_and_a_program_the_list(reading: Site, accept: str, kind: str) -> None:
    response = reading.get("/", headers={"accept": accept})
    assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert "Accept" in response.headers["vary"]


def test_the_list_is_of_all_routes_with_what_they_are_for(reading: Site) -> None:
    endpoints = reading.get("/").json()["endpoints"]
    assert endpoints["GET /livez"] == "200 while the loop turns"
    assert set(endpoints) >= {"GET /", "GET /v1/gate/{subject}", "POST /v1/snapshots/{source}"}
    assert all(endpoints.values())


def test_the_page_runs_its_own_scripts_only(reading: Site) -> None:
    headers = reading.get("/", headers=BROWSER).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert "geolocation=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-cache"


def test_the_page_names_nothing_outside_itself_and_all_that_it_names_is_there(reading: Site) -> None:
    html = reading.get("/", headers=BROWSER).text
    assert "://" not in html
    assert not re.findall(r'(?:src|href)="/', html)
    assert loaded(html)
    for path in loaded(html):
        assert reading.get(f"/{path}").status_code == 200, path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("vendor/preact.js", "text/javascript; charset=utf-8"),
        ("vendor/uplot.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_a_file_is_sent_as_it_is_and_revalidated(reading: Site, path: str, kind: str) -> None:
    response = reading.get(f"/assets/{path}", headers=PLAIN)
    assert response.content == (PAGE / path).read_bytes()
    assert response.headers["content-type"] == kind
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    again = reading.get(f"/assets/{path}", headers={**PLAIN, "if-none-match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "br"), ("gzip", "gzip"), ("br;q=0, gzip", "gzip"), ("*", "br"),
        ("identity", None),
    ],
)  # fmt: skip
def test_a_file_is_compressed_as_the_client_can(reading: Site, accepted: str, coding: str | None) -> None:
    path = "/assets/vendor/preact.js"
    response = reading.get(path, headers={"accept-encoding": accepted})
    assert response.headers.get("content-encoding") == coding
    assert response.content == (PAGE / "vendor/preact.js").read_bytes()
    assert "Accept-Encoding" in response.headers["vary"]
    plain = reading.get(path, headers=PLAIN)
    assert (response.headers["etag"] == plain.headers["etag"]) == (coding is None)
    known = {"accept-encoding": accepted, "if-none-match": response.headers["etag"]}
    again = reading.get(path, headers=known)
    assert again.status_code == 304


def test_what_is_compressed_is_kept(reading: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = reading.get("/assets/icon.svg", headers={"accept-encoding": "gzip"})
    monkeypatch.setattr(gzip, "compress", None)
    monkeypatch.setattr("observer_core.web.pages.brotli", None)
    after = reading.get("/assets/icon.svg", headers={"accept-encoding": "gzip"})
    assert after.content == before.content


@pytest.mark.parametrize(
    "path",
    [
        "nothing.js", "index.html", "../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd",
        "%2fetc%2fpasswd", "vendor", "vendor/", "vendor/LICENSE.preact", "", ".", "icon.svg%00", "ICON.SVG",
    ],
)  # fmt: skip
def test_nothing_but_the_files_of_the_page_is_served(reading: Site, path: str) -> None:
    response = reading.get(f"/assets/{path}")
    assert_problem(response, 404)
    assert "root:" not in response.text


def test_head_gives_the_headers_of_get(reading: Site) -> None:
    for path in ("/", "/assets/icon.svg"):
        got, head = (reading.client.request(method, path, headers=BROWSER) for method in ("GET", "HEAD"))
        assert (head.status_code, head.content) == (200, b"")
        assert dict(head.headers) == dict(got.headers)


def sources() -> list[str]:
    root = Path(str(PAGE))
    return [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    root = Path(__file__).resolve().parents[3]
    (built,) = WheelBuilder(str(root)).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(built).namelist())
    assert {f"observer_core/web/page/{path}" for path in sources()} <= names
