"""Behind the Functions host: one event loop, few threads, and anybody may ask how the app is."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from observer_core.runtime import handlers as runtime
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.storage.memory import MemoryStorage
from observer_core.web import functions

PUSH = {"name": "desk", "kind": "push"}


@pytest.fixture
def handlers(tmp_path: Path) -> Handlers:
    return Handlers(Observer(load(root=tmp_path, source=[PUSH]), MemoryStorage()))


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_process", None)
    monkeypatch.setattr(functions, "_made", None)
    monkeypatch.setattr(functions, "_kept", None)


@pytest.fixture
def process(handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> Handlers:
    monkeypatch.setattr(runtime, "_make", lambda: handlers)
    return runtime.of_process()


def test_the_event_loop_turns_while_the_storage_is_being_opened(
    handlers: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def make() -> Handlers:
        assert opened.wait(20)
        return handlers

    monkeypatch.setattr(runtime, "_make", make)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    async def first_request() -> None:
        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"",
            "headers": [],
        }  # fmt: skip
        request = asyncio.create_task(functions.asgi(scope, receive, send))
        for _ in range(5):  # in the loop that waits for nobody
            await asyncio.sleep(0.01)
        assert not request.done()
        opened.set()
        await request

    asyncio.run(first_request())
    assert sent[0]["status"] == 200


def test_the_front_end_may_have_any_name(process: Handlers) -> None:
    client = TestClient(functions.asgi, base_url="https://observer.example.net")
    assert client.get("/").json()["name"] == "QTS Observer"


def test_a_push_leaves_a_hint(process: Handlers) -> None:
    answer = TestClient(functions.asgi).post("/v1/snapshots/desk", json={"subject": "A", "price": 1.5})
    assert answer.status_code == 202
    (message,) = process.observer.storage.queues.receive("observer-recognise")
    assert json.loads(message.body) == {"source": "desk"}


def test_the_gate_answers_and_records_there_too(process: Handlers) -> None:
    question = {
        "subject": {"type": "strategy", "id": "alpha"}, "action": {"name": "order"},
        "resource": {"type": "instrument", "id": "A"},
    }  # fmt: skip
    body = TestClient(functions.asgi).post("/v1/evaluation", json=question).json()
    assert (body["decision"], body["context"]["id"]) == (False, "gate.live@2")
    assert process.observer.journals.open("gate.live").head().position == 2


def test_handlers_made_anew_get_an_application_of_their_own(
    process: Handlers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = functions.application()
    assert functions.application() is first
    monkeypatch.setattr(runtime, "_process", None)
    other = Handlers(Observer(load(root=tmp_path, source=[PUSH]), MemoryStorage()))
    monkeypatch.setattr(runtime, "_make", lambda: other)
    assert functions.application() is not first


def test_health_says_statuses_and_is_not_asked_for_again_at_once(process: Handlers) -> None:
    status, body, media_type = functions.health_summary()
    assert (status, media_type) == (200, "application/health+json")
    assert json.loads(body)["checks"]["source:age"] == [{"status": "warn"}]
    reports = []
    process.health.report = lambda: reports.append(1)  # type: ignore[method-assign,assignment,return-value]
    assert functions.health_summary()[1] == body
    assert not reports


def test_an_app_that_cannot_start_fails_without_saying_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Handlers:
        raise RuntimeError("AccountKey=c2VjcmV0")

    monkeypatch.setattr(runtime, "_make", make)
    assert functions.health_summary() == (503, b'{"status":"fail","checks":{}}', "application/health+json")


def test_a_worker_is_ready_whatever_its_sources_do_and_not_where_it_cannot_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checks: dict[str, list[dict[str, str]]] = {}
    monkeypatch.setattr(functions, "_report", lambda: {"status": "fail", "checks": checks})
    monkeypatch.setattr(functions, "_KEPT_SECONDS", -1.0)
    assert functions.ready_summary()[0] == 503
    for storage, source, status in (("pass", "fail", 200), ("fail", "pass", 503)):
        checks |= {"storage:writable": [{"status": storage}], "source:age": [{"status": source}]}
        assert functions.health_summary()[0] == 503
        found, body, _ = functions.ready_summary()
        assert found == status
        assert json.loads(body) == {
            "status": storage, "checks": {"storage:writable": [{"status": storage}]},
        }  # fmt: skip


def test_who_asks_while_the_storage_hangs_hears_soon_that_health_is_unknown(
    process: Handlers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "_PATIENCE_SECONDS", 0.05)
    asked, answers = threading.Event(), threading.Event()

    def report() -> dict[str, Any]:
        asked.set()
        assert answers.wait(20)
        return {"status": "pass", "checks": {}}

    process.health.report = report  # type: ignore[method-assign]
    with ThreadPoolExecutor() as threads:
        slow = threads.submit(functions.health_summary)
        assert asked.wait(20)
        started = time.monotonic()
        crowd = [threads.submit(functions.health_summary) for _ in range(4)]
        assert {future.result(20)[0] for future in crowd} == {503}
        assert time.monotonic() - started < 10
        answers.set()
        assert slow.result(20)[0] == 200
    assert functions.health_summary()[0] == 200
