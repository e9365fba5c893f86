"""A push of which some rows cannot be used, and one that is too large to wait for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from starlette.testclient import TestClient

from observer_core.runtime import handlers as runtime
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.records import Snapshot
from observer_core.storage.memory import MemoryStorage
from observer_core.web import functions
from observer_core.web import push as door
from observer_core.web.app import create_app

NOW = 1_700_000_000 * SECOND
JSON, NDJSON = "application/json", "application/x-ndjson"
GOOD = {"subject": "A", "price": 1.5}
ROWS: list[Any] = [GOOD, {"price": 2}, {"subject": "B", "price": 2.5}, {"subject": "C", "price": "high"}, 7]
REJECTED = [2, 4, 5]


class Site:
    """An Observer in memory and its port; `later`: large bodies are put off."""

    def __init__(self, root: Path, *, later: bool = False) -> None:
        self.storage = MemoryStorage()
        self.observer = Observer(
            load(root=root, source=[{"name": "feed", "kind": "push", "normalise": {"max_subjects": 3}}]),
            self.storage, clock=ManualClock(NOW),
        )  # fmt: skip
        gate = Gate(self.observer.journals, self.observer.settings, self.observer.clock)
        self.hints: list[str] = []
        self.kept: list[str] = []
        app = create_app(
            self.observer, health=Health(self.observer, gate), metrics=Metrics(self.observer, gate),
            gate=gate, push=self.hints.append, put_off=self.kept.append if later else None,
        )  # fmt: skip
        self.client = TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False)

    def push(self, content: Any, query: str = "", kind: str = JSON, **headers: str) -> Any:
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(
            f"/v1/snapshots/feed{query}", content=body, headers={"content-type": kind, **more}
        )

    def rows(self) -> list[tuple[str, float]]:
        records = [entry.record for entry in self.observer.journals.open("snapshots.feed").scan()]
        return [
            (subject, price)
            for it in records
            if isinstance(it, Snapshot)
            for subject, price in zip(it.subjects, it.fields["price"].tolist())
        ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def later(tmp_path: Path) -> Site:
    return Site(tmp_path, later=True)


def problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["type"]) == (status, "about:blank")
    return body


def lines(rows: list[Any]) -> bytes:
    return b"\n".join(map(orjson.dumps, rows))


# ---------------------------------------------------------------------- some rows


@pytest.mark.parametrize("kind", [JSON, NDJSON])
def test_rows_that_can_be_used_are_taken_and_the_others_are_named(site: Site, kind: str) -> None:
    body = problem(site.push(lines(ROWS) if kind == NDJSON else ROWS, kind=kind), 207)
    assert body["title"] == "Multi-Status"
    assert "(3)" in body["detail"]
    assert (body["source"], body["position"], body["snapshots"], body["duplicate"]) == ("feed", 2, 1, False)
    assert [it["row"] for it in body["rejected"]] == REJECTED
    assert body["rejected"][1]["detail"] == "field 'price' is 'high', expected a number or null"
    assert site.rows() == [("A", 1.5), ("B", 2.5)]
    assert site.hints == ["feed"]


def test_a_line_that_is_no_json_is_one_row(site: Site) -> None:
    body = problem(site.push(lines([GOOD]) + b'\n\n{"subject":\n', kind=NDJSON), 207)
    assert [it["row"] for it in body["rejected"]] == [3], "lines are counted as an editor counts them"
    assert "not JSON" in body["rejected"][0]["detail"]
    assert site.rows() == [("A", 1.5)]


def test_all_rows_good_is_202_without_a_word_of_rejection(site: Site) -> None:
    response = site.push([GOOD])
    assert response.status_code == 202
    assert response.json() == {"source": "feed", "position": 2, "snapshots": 1, "duplicate": False}


def test_no_row_good_is_400_with_each_of_them(site: Site) -> None:
    body = problem(site.push([{"price": 2}, 7]), 400)
    assert body["detail"].startswith("row 1: the subject None")
    assert [it["row"] for it in body["rejected"]] == [1, 2]
    assert (site.rows(), site.hints) == ([], [])


@pytest.mark.parametrize("content", [b"{", b"[]", b""])
def test_a_body_without_rows_is_400_and_names_none(site: Site, content: bytes) -> None:
    assert problem(site.push(content), 400)["rejected"] == []


def test_of_many_rejected_rows_the_first_are_listed_and_all_are_counted(site: Site) -> None:
    body = problem(site.push([GOOD, *[{"price": 1}] * 250]), 207)
    assert "(250)" in body["detail"]
    assert [it["row"] for it in body["rejected"]] == list(range(2, 102))


def test_what_a_row_quotes_shows_no_path(site: Site) -> None:
    body = problem(site.push([GOOD, {"subject": "B", "price": "/etc/observer/secret.toml"}]), 207)
    assert "/etc/observer" not in json.dumps(body["rejected"])


def test_the_same_key_again_is_told_as_a_duplicate_with_the_same_rows(site: Site) -> None:
    first = problem(site.push(ROWS, idempotency_key="k"), 207)
    again = problem(site.push(ROWS, idempotency_key="k"), 207)
    assert again == {**first, "duplicate": True}
    assert site.rows() == [("A", 1.5), ("B", 2.5)]
    assert site.hints == ["feed"], "a duplicate is no news"


def test_rows_that_the_journal_does_not_take_take_all_others_with_them(site: Site) -> None:
    rows = [{"subject": name, "price": 1} for name in "ABCD"]
    assert "4 subjects in all" in problem(site.push([*rows, {"price": 2}]), 400)["detail"]
    assert (site.rows(), site.hints) == ([], [])


# ---------------------------------------------------------------------- all or none


def test_with_atomic_one_bad_row_refuses_all(site: Site) -> None:
    body = problem(site.push(ROWS, "?atomic=true", idempotency_key="k"), 400)
    assert "nothing was taken" in body["detail"]
    assert [it["row"] for it in body["rejected"]] == REJECTED
    assert (site.rows(), site.hints) == ([], [])
    assert site.push(ROWS[:1], "?atomic=true", idempotency_key="k").status_code == 202, "the key is free"


def test_with_atomic_good_rows_are_taken(site: Site) -> None:
    assert site.push([GOOD], "?atomic=true").status_code == 202
    assert site.rows() == [("A", 1.5)]


def test_atomic_may_be_switched_off(site: Site) -> None:
    problem(site.push(ROWS, "?atomic=false"), 207)
    assert site.rows() == [("A", 1.5), ("B", 2.5)]


@pytest.mark.parametrize("value", ["yes", "True", "1"])
def test_atomic_is_true_or_false(site: Site, value: str) -> None:
    body = problem(site.push([GOOD], f"?atomic={value}"), 400)
    assert f"atomic is {value!r}; true or false was expected" in body["detail"]
    assert site.rows() == []


def test_an_empty_or_an_unknown_parameter_is_refused(site: Site) -> None:
    for query, detail in (("atomic=", "parameter atomic is empty"), ("atom=true", "there is only atomic")):
        assert detail in problem(site.push([GOOD], f"?{query}"), 400)["detail"]
    assert site.rows() == []


# ---------------------------------------------------------------------- later


def large(count: int = 1, *, bad: bool = False) -> bytes:
    """Over the bound, `count` times the same row at other times; blanks make it so."""
    rows: list[Any] = [{"subject": "A", "price": float(n), "time": 1_600_000_000 + n} for n in range(count)]
    return lines([*rows, *[{"price": 1}] * bad]) + b"\n" + b" " * door.LARGE_BYTES


def test_a_large_body_is_kept_and_said_to_be(later: Site) -> None:
    response = later.push(large(3), kind=NDJSON)
    assert response.status_code == 202
    assert response.json() == {"source": "feed", "snapshots": 3, "kept": True}
    (name,) = later.kept
    assert list(later.storage.blobs.list("pushes/")) == [name]
    assert (later.rows(), later.hints) == ([], [])


def test_a_body_at_the_bound_is_committed_at_once(later: Site) -> None:
    row = lines([GOOD])
    assert later.push(row.ljust(door.LARGE_BYTES)).json()["duplicate"] is False
    assert later.kept == []
    assert later.push(row.ljust(door.LARGE_BYTES + 1)).json()["kept"] is True


def test_it_is_its_unpacked_size_that_counts(later: Site) -> None:
    assert later.push(gzip.compress(large()), kind=NDJSON, content_encoding="gzip").json()["kept"] is True
    (name,) = later.kept
    assert later.storage.blobs.get(name).endswith(large()), "kept unpacked"


def test_where_nobody_takes_up_what_is_kept_all_is_committed_at_once(site: Site) -> None:
    assert site.push(large(2), kind=NDJSON).json()["position"] == 2
    assert len(site.rows()) == 2


def test_a_large_body_with_bad_rows_is_kept_and_they_are_named(later: Site) -> None:
    body = problem(later.push(large(2, bad=True), kind=NDJSON), 207)
    assert (body["kept"], body["snapshots"], [it["row"] for it in body["rejected"]]) == (True, 2, [3])


def test_a_large_body_that_cannot_be_used_is_not_kept(later: Site) -> None:
    problem(later.push(b"[" + b" " * door.LARGE_BYTES), 400)
    problem(later.push(large(2, bad=True), "?atomic=true", kind=NDJSON), 400)
    assert (later.kept, list(later.storage.blobs.list("pushes/"))) == ([], [])


def test_a_large_body_whose_key_was_committed_is_a_duplicate_and_not_kept(
    later: Site, tmp_path: Path
) -> None:
    first = later.push([GOOD], idempotency_key="k")
    assert first.status_code == 202
    assert later.push(large(), kind=NDJSON, idempotency_key="k").status_code == 422
    assert later.kept == []


def test_one_that_could_not_be_kept_is_503_and_may_be_sent_again(
    later: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise StorageUnavailable("put")

    with monkeypatch.context() as patch:
        patch.setattr(later.storage.blobs, "put", away)
        response = later.push(large(), kind=NDJSON, idempotency_key="k")
        problem(response, 503)
        assert "retry-after" in response.headers
    assert later.kept == []
    assert later.push(large(), kind=NDJSON, idempotency_key="k").json()["kept"] is True


# ---------------------------------------------------------------------- behind the host


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    made = Handlers(Observer(load(root=tmp_path, source=[{"name": "feed", "kind": "push"}]), MemoryStorage()))
    for module, name in ((runtime, "_process"), (functions, "_made"), (functions, "_kept")):
        monkeypatch.setattr(module, name, None)
    monkeypatch.setattr(runtime, "_make", lambda: made)
    return runtime.of_process()


def test_a_large_push_to_the_functions_app_is_committed_by_its_hint(process: Handlers) -> None:
    client = TestClient(functions.asgi)
    headers = {"content-type": NDJSON, "idempotency-key": "k"}
    for _ in range(2):  # its sender did not hear the first answer
        answer = client.post("/v1/snapshots/feed", content=large(3), headers=headers)
        assert (answer.status_code, answer.json()["kept"]) == (202, True)
    queues = process.observer.storage.queues
    found = [message for _ in range(2) for message in queues.receive("observer-push")]
    assert len(found) == 2
    for message in found:
        process.push(message.body)
    head = process.observer.journals.open("snapshots.feed").head()
    assert head.position == 4
    assert client.post("/v1/snapshots/feed", content=large(3), headers=headers).json()["duplicate"] is True
    assert list(process.observer.storage.blobs.list("pushes/")) == []
    assert [json.loads(it.body) for it in queues.receive("observer-recognise", count=9)] == [
        {"source": "feed"}
    ] * queues.length("observer-recognise")
