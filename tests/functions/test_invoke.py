"""Every function, called by the real library with what the host would send."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from observer_core.shared.clock import SECOND
from observer_core.storage.azure import AzureStorage
from observer_core.storage.journals import Journals
from tests.support.functions_process import InvocationFailed, Worker

QUEUE = "qworker"


@pytest.fixture
def storage(azurite: str) -> AzureStorage:
    return AzureStorage.connect(
        {"AzureWebJobsStorage": azurite}, prefix="worker", queues_as_named=True
    )  # fmt: skip


@pytest.fixture
def journals(storage: AzureStorage) -> Journals:
    return Journals(storage, worker="test")


def bodies(storage: AzureStorage, stage: str) -> list[Any]:
    found = []
    while messages := storage.queues.receive(f"{QUEUE}-{stage}", count=32):
        for message in messages:
            found.append(json.loads(message.body))
            storage.queues.delete(f"{QUEUE}-{stage}", message)
    return found


def eventually(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def push(worker: Worker, rows: list[dict[str, Any]], **headers: str) -> tuple[int, dict[str, Any]]:
    body = "\n".join(map(json.dumps, rows)).encode()
    status, _, answer = worker.http(
        "api", "POST", "/v1/snapshots/desk", body=body,
        headers={"content-type": "application/x-ndjson", **headers},
    )  # fmt: skip
    return status, json.loads(answer)


class TestTheWholeWay:
    """In the order of the flow; each test begins with what the one before has left in the queues."""

    def test_collect_hints_the_due_source_whether_or_not_it_is_past_due(
        self, worker: Worker, storage: AzureStorage
    ) -> None:
        worker.timer("collect", past_due=True)
        (hint,) = bodies(storage, "collect-source")
        assert hint["source"] == "host"
        assert abs(hint["due_ns"] - time.time_ns()) < 60 * SECOND
        worker.message("collect_source", json.dumps(hint).encode())
        assert bodies(storage, "recognise") == [{"source": "host"}]

    def test_recognise_works_what_was_collected(self, worker: Worker, journals: Journals) -> None:
        worker.message("recognise", b'{"source": "host"}')
        assert journals.open("patterns.host").checkpoint("snapshots.host") == {"position": 2}

    def test_clock_and_sweep_say_how_far_time_has_come(self, worker: Worker, journals: Journals) -> None:
        worker.timer("clock")
        worker.timer("sweep")
        for stage in ("events.live", "decisions.live"):
            assert journals.open(stage).head().through_ns == journals.open("clock.live").head().through_ns > 0

    def test_a_shock_that_is_pushed_is_decided_and_delivered(
        self, worker: Worker, storage: AzureStorage, journals: Journals
    ) -> None:
        start = time.time_ns() // SECOND - 300
        rows = [
            {"subject": "A/USD", "price": 100 + 0.05 * (n * 7 % 11), "time": start + n} for n in range(120)
        ]
        # The second one says that the first was no bad print.
        rows += [{"subject": "A/USD", "price": 150.0, "time": start + n} for n in (120, 121)]
        assert push(worker, rows)[0] == 202
        for stage in ("recognise", "publish", "decide", "route", "deliver"):
            for hint in bodies(storage, stage):
                worker.message(stage, json.dumps(hint, indent=2).encode())
        sent = [json.loads(message.body) for message in storage.queues.receive("out", count=32)]
        assert ("io.qts.observer.decision.block", "subject:A/USD") in [
            (event["type"], event["subject"]) for event in sent
        ]

    def test_the_gate_answers_behind_the_front_end(self, worker: Worker) -> None:
        for path in ("/v1/gate/A%2FUSD", "/v1/gate/A/USD"):
            status, headers, body = worker.http("api", "GET", path)
            assert (status, headers["content-type"]) == (200, "application/json")
            answer = json.loads(body)
            assert (answer["subject"], answer["decision"]) == ("A/USD", "deny")

    @pytest.mark.parametrize(
        "stage", ["collect-source", "push", "recognise", "publish", "decide", "route", "deliver"]
    )
    def test_poison_becomes_a_letter(self, worker: Worker, journals: Journals, stage: str) -> None:
        before = journals.open("deadletters.live").head().position
        name = f"{stage.replace('-', '_')}_poison"
        worker.message(name, b"\xff not JSON", message_id=f"poison {stage}", dequeue_count=5)
        entry = journals.open("deadletters.live").entry(before + 1)
        assert entry.record.body["stage"] == stage  # type: ignore[union-attr]
        assert entry.record.body["dequeue_count"] == 5  # type: ignore[union-attr]

    def test_health_tells_anybody_the_statuses_and_nothing_more(self, worker: Worker) -> None:
        status, headers, body = worker.http("health", "GET", "/health")
        report = json.loads(body)
        assert headers.get("Content-Type", headers.get("content-type")) == "application/health+json"
        assert status == (503 if report["status"] == "fail" else 200)
        assert set(report) == {"status", "checks"}
        findings = [finding for found in report["checks"].values() for finding in found]
        assert findings
        assert all(set(finding) == {"status"} for finding in findings)
        assert "loop:heartbeat" not in report["checks"]
        assert report["checks"]["storage:writable"] == [{"status": "pass"}]

    def test_a_worker_is_ready_whose_storage_takes_what_it_writes(self, worker: Worker) -> None:
        status, _, body = worker.http("ready", "GET", "/readyz")
        found = {"status": "pass", "checks": {"storage:writable": [{"status": "pass"}]}}
        assert (status, json.loads(body)) == (200, found)


@pytest.mark.parametrize(
    "name", ["collect_source", "push", "recognise", "publish", "decide", "route", "deliver"]
)
@pytest.mark.parametrize("body", [b"", b"not JSON", b"\xff\xfe", b"[1, 2]", b"{}"])
def test_a_hint_that_says_nothing_fails_so_that_the_host_gives_it_again(
    worker: Worker, name: str, body: bytes
) -> None:
    with pytest.raises(InvocationFailed, match="InputError: a hint (is not JSON|must be a JSON object)"):
        worker.message(name, body)


def test_the_api_takes_gzip_and_refuses_with_problem_json(worker: Worker) -> None:
    packed = gzip.compress(b'{"subject": "C/USD", "price": 1.5}')
    headers = {"content-type": "application/x-ndjson", "content-encoding": "gzip"}
    assert worker.http("api", "POST", "/v1/snapshots/desk", body=packed, headers=headers)[0] == 202
    status, headers, body = worker.http("api", "POST", "/v1/snapshots/ghost", body=b"{}", headers=headers)
    assert (status, headers["content-type"]) == (404, "application/problem+json")
    assert "there are: desk" in json.loads(body)["detail"]


def test_a_large_push_is_kept_as_a_blob_and_committed_by_the_queue_or_by_sweep(
    worker: Worker, storage: AzureStorage, journals: Journals
) -> None:
    def rows(batch: int) -> list[dict[str, Any]]:
        start = 1_700_000_000 + 10_000 * batch
        return [{"subject": "E/USD", "price": 1.0, "time": start + n} for n in range(6_000)]

    bodies(storage, "push")
    for batch in (1, 2):
        status, answer = push(worker, rows(batch), **{"idempotency-key": f"large-{batch}"})
        assert (status, answer["snapshots"], answer["kept"]) == (202, 6_000, True)
    before = journals.open("snapshots.desk").head().position
    hint, lost = bodies(storage, "push")
    worker.message("push", json.dumps(hint).encode())
    worker.message("push", json.dumps(hint).encode())
    assert journals.open("snapshots.desk").head().position == before + 6_000
    assert bodies(storage, "recognise")[-1] == {"source": "desk"}
    assert list(storage.blobs.list("pushes/")) == [lost["blob"]]
    status, answer = push(worker, rows(1), **{"idempotency-key": "large-1"})
    assert (status, answer["duplicate"]) == (202, True)


def test_an_idempotency_key_holds_across_calls(worker: Worker) -> None:
    row = [{"subject": "D/USD", "price": 1.5, "time": 1_700_000_000}]
    first = push(worker, row, **{"idempotency-key": "once"})
    again = push(worker, row, **{"idempotency-key": "once"})
    assert (first[0], again[0]) == (202, 202)
    assert (first[1]["duplicate"], again[1]["duplicate"]) == (False, True)
    assert first[1]["position"] == again[1]["position"]


def test_the_page_is_for_anybody_and_shows_no_data(worker: Worker) -> None:
    status, headers, body = worker.http("page", "GET", "/", headers={"accept": "text/html"})
    assert (status, headers["content-type"].partition(";")[0]) in (
        (200, "text/html"),
        (200, "application/json"),
    )
    assert headers["strict-transport-security"]
    assert worker.http("assets", "GET", "/assets/nothing.js")[0] == 404
    # Whatever path the host would let through to it.
    for name, path in (("page", "/v1/whoami"), ("assets", "/v1/gate/A"), ("assets", "/metrics?code=k")):
        status, _, body = worker.http(name, "GET", path, headers={"x-functions-key": "k"})
        assert (status, json.loads(body)["title"]) == (401, "Unauthorized")


def test_who_has_a_key_is_known_as_that_and_a_forged_principal_is_nobody(worker: Worker) -> None:
    claims = [
        {"typ": "iss", "val": "i"},
        {"typ": "oid", "val": "o"},
        {"typ": "roles", "val": "Observer.Admin"},
    ]
    told = base64.b64encode(json.dumps({"claims": claims}).encode()).decode()
    for headers in ({}, {"x-ms-client-principal": told}):
        status, _, body = worker.http("api", "GET", "/v1/whoami?code=k", headers=headers)
        assert (status, json.loads(body)["principal"]) == (200, "function_key")
        assert json.loads(body)["scopes"] == ["read", "push", "operate"]


def test_a_page_of_another_site_changes_nothing(worker: Worker) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        status, _ = push(worker, [{"subject": "F/USD", "price": 1.5}], **headers)
        assert status == 403
    own = {"origin": "https://observer.azurewebsites.net", "sec-fetch-site": "same-origin"}
    assert push(worker, [{"subject": "F/USD", "price": 1.5}], **own)[0] == 202


def test_metrics_and_the_index_are_there(worker: Worker) -> None:
    assert b"observer_up 1.0" in worker.http("api", "GET", "/metrics")[2]
    assert json.loads(worker.http("api", "GET", "/")[2])["name"] == "QTS Observer"
    assert worker.http("api", "GET", "/nowhere")[0] == 404
