"""What the port answers: every status and every message."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock, format_time
from observer_core.shared.errors import Conflict, StorageFull, StorageUnavailable
from observer_core.shared.records import Snapshot
from observer_core.storage.local import LocalStorage
from observer_core.web import push as push_door
from observer_core.web.app import create_app

NOW = 1_700_000_000 * SECOND
SOURCES = [
    {"name": "feed", "kind": "push", "max_age": "60s"},
    {"name": "host", "kind": "system", "interval": "1s"},
]
ROW = {"subject": "BTC/USDT", "price": 1.5}
JSON = {"content-type": "application/json"}


class Site:
    """An Observer on files, its application, and a client on this machine."""

    def __init__(self, root: Path) -> None:
        self.clock = ManualClock(NOW)
        self.storage = LocalStorage(root / "data")
        self.observer = Observer(load(root=root, source=SOURCES), self.storage, clock=self.clock)
        self.gate = Gate(self.observer.journals, self.observer.settings, self.clock)
        self.health = Health(self.observer, self.gate)
        self.metrics = Metrics(self.observer, self.gate)
        self.hints: list[str] = []
        app = create_app(
            self.observer, health=self.health, metrics=self.metrics, gate=self.gate, push=self.hints.append
        )
        self.client = TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False)

    def collect(self, *subjects: str) -> None:
        now = self.clock.now_ns()
        values = np.arange(1.0, len(subjects) + 1)
        snapshot = Snapshot(
            source="host", event_ns=now, ingest_ns=now, subjects=subjects, fields={"x": values}
        )
        self.observer.writer("host", "live", "live", now).write([snapshot])
        self.work()

    def work(self) -> None:
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True, flush=True)

    def push(self, content: bytes | None = None, source: str = "feed", **headers: str) -> Any:
        body = json.dumps(ROW).encode() if content is None else content
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(f"/v1/snapshots/{source}", content=body, headers={**JSON, **given})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.observer.close()


def assert_problem(response: Any, status: int, *parts: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"] == "about:blank"
    assert body["title"]
    for part in parts:
        assert part in body["detail"]
    return body


# ---------------------------------------------------------------------- health and metrics


def test_health_is_503_when_it_fails_and_200_otherwise(site: Site) -> None:
    site.collect("a")
    site.health.beat()
    response = site.client.get("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/health+json"
    assert response.headers["cache-control"] == "no-store"
    assert response.json()["status"] in ("pass", "warn")
    site.clock.advance(3600 * SECOND)
    response = site.client.get("/health")
    assert response.status_code == 503
    assert response.json()["status"] == "fail"


def test_a_failing_report_is_no_error_for_who_shows_it(site: Site) -> None:
    site.collect("a")
    site.clock.advance(3600 * SECOND)
    assert site.client.get("/v1/health").status_code == 503
    response = site.client.get("/v1/health", params={"shown": "true"})
    assert response.status_code == 200
    assert response.json()["status"] == "fail"
    assert response.json()["checks"]["source:age"][0]["output"]


def test_readyz_waits_for_the_loop_and_livez_does_not(site: Site) -> None:
    assert site.client.get("/livez").status_code == 200
    response = site.client.get("/readyz")
    assert (response.status_code, response.text) == (
        503, "not ready: starting: the loop has not come round yet\n",
    )  # fmt: skip
    site.health.beat()
    assert site.client.get("/readyz").text == "ready\n"


def test_livez_is_503_when_the_loop_hangs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.health, "live", lambda: False)
    response = site.client.get("/livez")
    assert response.status_code == 503
    assert "has not come round for too long" in response.text


def test_metrics_are_prometheus_text(site: Site) -> None:
    site.collect("A")
    response = site.client.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'observer_snapshots_total{source="host",status="ok"} 1.0' in response.text


def test_the_index_lists_what_there_is(site: Site) -> None:
    body = site.client.get("/").json()
    assert body["name"] == "QTS Observer"
    assert any("/health" in endpoint for endpoint in body["endpoints"])


# ---------------------------------------------------------------------- the gate


def test_the_gate_denies_without_data(site: Site) -> None:
    body = site.client.get("/v1/gate/BTC/USDT").json()
    assert (body["decision"], body["subject"], body["domain"]) == ("deny", "BTC/USDT", "live")
    assert {reason["code"] for reason in body["reasons"]} >= {"no_data", "stage_lag"}


@pytest.mark.parametrize("path", ["BTC/USDT", "BTC%2FUSDT", "BTC%2fUSDT"])
def test_the_gate_allows_with_fresh_data_however_the_slash_is_written(site: Site, path: str) -> None:
    site.collect("BTC/USDT", "ETH/USDT")
    response = site.client.get(f"/v1/gate/{path}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert (body["subject"], body["decision"], body["reasons"]) == ("BTC/USDT", "allow", [])
    assert body["valid_until"] == format_time(NOW + 5 * SECOND)


def test_the_gate_denies_when_data_is_stale(site: Site) -> None:
    site.collect("a")
    site.clock.advance(6 * SECOND)
    body = site.client.get("/v1/gate/a").json()
    assert body["decision"] == "deny"
    assert {reason["code"] for reason in body["reasons"]} == {"source_stale", "stage_lag"}


def test_the_gate_says_what_it_said_then(site: Site) -> None:
    site.collect("a")
    site.clock.advance(3600 * SECOND)
    then = format_time(NOW + SECOND)
    assert site.client.get("/v1/gate/a").json()["decision"] == "deny"
    assert site.client.get("/v1/gate/a", params={"at": then}).json()["decision"] == "allow"


def test_on_unknown_excuses_an_unknown_subject_only(site: Site) -> None:
    site.collect("a")
    assert site.client.get("/v1/gate/b").json()["decision"] == "deny"
    assert site.client.get("/v1/gate/b?on_unknown=allow").json()["decision"] == "allow"
    site.clock.advance(3600 * SECOND)
    assert site.client.get("/v1/gate/b?on_unknown=allow").json()["decision"] == "deny"


@pytest.mark.parametrize(
    "subject", ["<script>alert(1)</script>", "\"><img src=x onerror='1'>", "한글", "a b"]
)
def test_a_strange_subject_is_a_name_and_nothing_else(site: Site, subject: str) -> None:
    site.collect(subject)
    response = site.client.get("/v1/gate/" + subject)
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert (response.json()["subject"], response.json()["decision"]) == (subject, "allow")


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("a?at=yesterday", "at: 'yesterday' is not a time"),
        ("a?at=2024-01-01T00:00:00", "has no zone"),
        ("a?at=2024-01-01T00:00:00+09:00", "in a URL a + is written %2B"),
        ("a?at=9999-12-31T00:00:00Z", "outside the years 1970 to 2261"),
        ("a?on_unknown=maybe", "on_unknown is 'maybe'; allow or deny was expected"),
        ("a?on_unkown=allow", "parameter 'on_unkown' is unknown; there are domain, at and on_unknown"),
        ("a?domain=live&domain=tape", "parameter domain is given more than once"),
        ("a?domain=", "parameter domain is empty"),
        ("", "the subject is empty"),
        ("a%00b", "the subject holds the character '\\x00'"),
        ("a" * 300, "the subject has 300 characters"),
    ],
)
def test_a_bad_question_is_400(site: Site, path: str, detail: str) -> None:
    assert_problem(site.client.get(f"/v1/gate/{path}"), 400, detail)


def test_an_unknown_domain_is_404(site: Site) -> None:
    site.collect("a")
    detail = "there is no domain 'mars'; known are live"
    assert_problem(site.client.get("/v1/gate/a?domain=mars"), 404, detail)
    assert site.client.get("/v1/gate/a?domain=live").status_code == 200


# ---------------------------------------------------------------------- push


def test_a_push_is_committed_before_it_is_acknowledged(site: Site) -> None:
    response = site.push()
    assert response.status_code == 202
    assert response.json() == {"source": "feed", "position": 2, "snapshots": 1, "duplicate": False}
    record = site.observer.journals.open("snapshots.feed").entry(2).record
    assert isinstance(record, Snapshot)
    assert (record.subjects, record.ingest_ns, list(record.fields["price"])) == (("BTC/USDT",), NOW, [1.5])
    assert site.hints == ["feed"]
    assert 'observer_observations_total{source="feed"} 1.0' in site.client.get("/metrics").text


def test_the_gate_knows_what_was_pushed(site: Site) -> None:
    site.push()
    site.collect("a")
    assert site.client.get("/v1/gate/BTC/USDT").json()["decision"] == "allow"


def test_ndjson_gives_a_snapshot_for_each_time(site: Site) -> None:
    rows = [{**ROW, "time": format_time(NOW - n * SECOND)} for n in (2, 1)]
    body = "\n".join(json.dumps(row) for row in rows).encode()
    assert site.push(body, content_type="application/x-ndjson; charset=utf-8").json()["snapshots"] == 2


def test_a_key_is_taken_once_and_answers_the_same(site: Site) -> None:
    first = site.push(idempotency_key="batch-1")
    site.push()
    again = site.push(idempotency_key="batch-1")
    assert again.status_code == 202
    assert again.json() == {**first.json(), "duplicate": True}
    assert site.observer.journals.open("snapshots.feed").head().position == 3
    assert site.hints == ["feed", "feed"]


def test_a_key_survives_a_restart(site: Site, tmp_path: Path) -> None:
    first = site.push(idempotency_key="batch-1")
    site.observer.close()
    again = Site(tmp_path)
    assert again.push(idempotency_key="batch-1").json() == {**first.json(), "duplicate": True}
    again.observer.close()


def test_a_key_that_a_twin_commits_meanwhile_is_a_duplicate(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.push(idempotency_key="batch-1")
    journal = site.observer.journals.open("snapshots.feed")
    known = journal.idempotency
    answers = [None]
    monkeypatch.setattr(journal, "idempotency", lambda key: answers.pop() if answers else known(key))
    assert site.push(idempotency_key="batch-1").json() == {**first.json(), "duplicate": True}
    assert journal.head().position == 2


def test_a_key_with_another_body_is_422(site: Site) -> None:
    site.push(idempotency_key="batch-1")
    other = json.dumps({**ROW, "price": 2}).encode()
    assert_problem(site.push(other, idempotency_key="batch-1"), 422, "used with another body")


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_is_none_is_400(site: Site, key: str) -> None:
    assert_problem(site.push(idempotency_key=key), 400, "Idempotency-Key has", "1 to 255")


@pytest.mark.parametrize("source", ["host", "nobody", "<script>"])
def test_only_push_sources_can_be_pushed_to(site: Site, source: str) -> None:
    assert_problem(site.push(source=source), 404, "of kind push is configured; there are: feed")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "the body: not JSON"),
        (b"[]", "holds no observation"),
        (b'{"subject":"a","price":"high"}', "expected a number or null"),
        (b'{"subjects":["a"],"fields":{"x":[1,2]}}', "2 values, expected 1"),
        (b"\xff\xfe", "not JSON"),
    ],
)
def test_a_body_that_cannot_be_used_is_400_and_nothing_is_taken(site: Site, body: bytes, detail: str) -> None:
    assert_problem(site.push(body), 400, detail)
    assert site.observer.journals.open("snapshots.feed").head().position == 0
    assert site.hints == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_415(site: Site, kind: str) -> None:
    response = site.push(content_type=kind)
    assert_problem(response, 415, "is not taken", "application/json")
    assert "application/json" in response.headers["accept"]


def test_another_content_encoding_is_415(site: Site) -> None:
    response = site.push(content_encoding="br")
    assert_problem(response, 415, "content encoding 'br' is not taken; expected gzip or none")
    assert response.headers["accept-encoding"] == "gzip"


def test_gzip_is_unpacked(site: Site) -> None:
    body = json.dumps(ROW).encode()
    packed = gzip.compress(body[:5]) + gzip.compress(body[5:])
    assert site.push(packed, content_encoding="gzip").status_code == 202


@pytest.mark.parametrize(
    ("packed", "detail"),
    [
        (b"plain", "not gzip as its Content-Encoding says"),
        (gzip.compress(b"{}" * 99)[:-9], "ends too early"),
        (gzip.compress(b"") * 101, "more than 100 members"),
    ],
    ids=["not gzip", "cut off", "many members"],
)
def test_broken_gzip_is_400(site: Site, packed: bytes, detail: str) -> None:
    assert_problem(site.push(packed, content_encoding="gzip"), 400, detail)


def test_a_body_over_the_limit_is_413(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push_door, "MAX_BODY_BYTES", 1000)
    assert_problem(site.push(b" " * 1001), 413, "more than 1,000 bytes (unpacked); send it in smaller parts")
    parts = (b" " * 100 for _ in range(11))
    chunked = site.client.post("/v1/snapshots/feed", content=parts, headers=JSON)
    assert "content-length" not in chunked.request.headers
    assert_problem(chunked, 413, "more than 1,000 bytes")


def test_a_gzip_bomb_is_413(site: Site) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert_problem(site.push(bomb, content_encoding="gzip"), 413, "(unpacked)")


def test_a_body_that_does_not_arrive_is_408(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: object) -> bytes:
        raise TimeoutError

    monkeypatch.setattr(push_door, "_body", never)
    assert_problem(site.push(), 408, "did not arrive within 30 s")


@pytest.mark.parametrize(
    ("error", "wait", "detail"),
    [
        (StorageFull("append to '/mnt/x': no space"), "30", "the storage is full; nothing of this request"),
        (StorageUnavailable("locked"), "5", "the storage cannot answer now"),
        (Conflict("snapshots.feed", "head"), "5", "the storage cannot answer now"),
    ],
)
def test_a_storage_that_cannot_take_it_is_503(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, wait: str, detail: str
) -> None:
    site.push()

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(site.observer.writer("feed", "live", "live", NOW), "write", fail)
    response = site.push(idempotency_key="k")
    body = assert_problem(response, 503, detail)
    assert response.headers["retry-after"] == wait
    assert "/mnt" not in json.dumps(body)
    monkeypatch.undo()
    assert site.push(idempotency_key="k").json()["duplicate"] is False


# ---------------------------------------------------------------------- around every request


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "[::1]"])
def test_this_machine_is_answered(site: Site, host: str) -> None:
    assert site.client.get("/livez", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::2]", ""]
)
def test_another_host_is_421(site: Site, host: str) -> None:
    response = site.client.get("/v1/gate/a", headers={"host": host})
    assert_problem(response, 421, "answers to localhost, 127.0.0.1 and [::1] only")


def test_every_answer_has_the_security_headers(site: Site) -> None:
    for path in ("/", "/health", "/metrics", "/nothing", "/v1/gate/a"):
        headers = site.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_an_unknown_path_and_a_wrong_method_are_problems(site: Site) -> None:
    assert_problem(site.client.get("/{nothing}"), 404, "GET / lists what there is")
    response = site.client.put("/health")
    assert_problem(response, 405, "PUT is not possible at /health")
    assert "GET" in response.headers["allow"]
    assert_problem(site.client.get("/v1/snapshots/feed"), 405)


def test_an_accident_is_500_with_an_id_that_the_log_has(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "observer_core.web.guard._log.exception", lambda event, **fields: lines.append(fields), raising=False
    )

    def accident(*_: object, **__: object) -> None:
        raise RuntimeError("/very/secret/path")

    monkeypatch.setattr(site.gate, "check", accident)
    body = assert_problem(site.client.get("/v1/gate/a?at=1700000000"), 500, "the log has it under")
    assert "secret" not in json.dumps(body)
    assert "Traceback" not in json.dumps(body)
    assert lines[0]["id"] == body["id"]
    assert lines[0]["path"] == "/v1/gate/a"


def test_an_answer_while_the_storage_is_away_is_503(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageUnavailable("read in journal.db: locked")

    monkeypatch.setattr(site.gate, "check", away)
    response = site.client.get("/v1/gate/a?at=1700000000")
    assert_problem(response, 503, "cannot answer now")
    assert response.headers["retry-after"] == "5"
