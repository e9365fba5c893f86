"""One trace from a snapshot's collection to the delivery of what was decided from it, in both runtimes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.testclient import TestClient

from observer_core.runtime import operate
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.runtime.telemetry import export
from observer_core.runtime.telemetry.origin import origin
from observer_core.runtime.telemetry.telemetry import Telemetry
from observer_core.runtime.telemetry.tracing import traceparent
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.ids import trace_of
from observer_core.shared.records import Decision, Snapshot
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.web.app import create_app
from tests.support.instances import START_NS, Instances
from tests.support.market import eventually, recording, take
from tests.support.market import observer as market_observer

TO_QUEUE: dict[str, Any] = {
    "name": "desk", "stream": "decisions", "start": "beginning", "sink": {"kind": "queue", "queue": "desk"},
}  # fmt: skip
WAY = {"collect desk", "recognise", "publish", "decide", "route", "deliver desk"}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """What has been sent, by trace."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def follow(self, observer: Observer) -> None:
        observer.trace(export.tracing(observer, SimpleSpanProcessor(self.exporter)))

    def all(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def of(self, begun_by: str) -> list[ReadableSpan]:
        trace = int(trace_of(begun_by)[0], 16)
        return [span for span in self.all() if span.context.trace_id == trace]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]


@pytest.fixture
def spans() -> Spans:
    return Spans()


def names(spans: Sequence[ReadableSpan]) -> set[str]:
    return {span.name for span in spans}


def assert_whole(trace: Sequence[ReadableSpan]) -> None:
    """One root, and every other span's parent is there."""
    ids = [span.context.span_id for span in trace]
    assert len(set(ids)) == len(ids)
    roots = [span for span in trace if span.parent is None]
    assert [span.name.partition(" ")[0] for span in roots] == ["collect"]
    assert all(span.parent is None or span.parent.span_id in ids for span in trace)


def decided_from_snapshots(journals: Journals, name: str) -> dict[str, str]:
    """Decisions by the snapshot that they go back to."""
    found = {}
    for entry in journals.open(name).scan():
        if isinstance(entry.record, Decision) and origin(journals, entry).startswith("snapshots."):
            found[origin(journals, entry)] = entry.ref
    return found


class TestFunctions:
    @pytest.fixture
    def instances(self, tmp_path: Path, spans: Spans) -> Instances:
        clock = ManualClock(START_NS)
        made = Instances(tmp_path, MemoryStorage(clock), 2, clock=clock, subscription=(TO_QUEUE,))
        for handlers in made.handlers:
            spans.follow(handlers.observer)
        return made

    def collect(self, instances: Instances, seconds: range) -> None:
        for second in seconds:
            instances.clock.set(START_NS + second * SECOND)
            tracing = instances.handlers[0].observer.tracing
            with nullcontext() if tracing is None else tracing.scope():  # as a request is
                instances.collect("desk", second)
                instances.handlers[0].pushed("desk")

    def test_one_trace_over_all_queues_and_instances(self, instances: Instances, spans: Spans) -> None:
        for second in range(120):
            self.collect(instances, range(second, second + 1))
            if second % 5 == 0:
                instances.drain(by=second % 2)
        instances.handlers[0].clock()
        instances.drain(by=1)
        decided = decided_from_snapshots(instances.handlers[0].observer.journals, "decisions.live")
        assert decided
        for snapshot in decided:
            trace = spans.of(snapshot)
            assert names(trace) == WAY
            assert_whole(trace)
            root = next(span for span in trace if span.parent is None)
            assert f"{root.context.span_id:016x}" == trace_of(snapshot)[1]
            assert dict(root.attributes or {})["observer.position"] == int(snapshot.partition("@")[2])

    def test_hints_carry_the_trace_and_stages_hang_under_each_other(
        self, instances: Instances, spans: Spans
    ) -> None:
        self.collect(instances, range(60))
        instances.drain()
        self.collect(instances, range(60, 90))
        seen: dict[str, set[str]] = {}
        while given := [
            (stage, m) for stage in ("recognise", "publish", "decide") if (m := instances.receive(stage))
        ]:
            for stage, message in given:
                hint = decode(message.body)
                assert traceparent(hint["traceparent"]) is not None
                seen.setdefault(stage, set()).add(hint["traceparent"].split("-")[1])
                instances.give(stage, message)
        assert seen["publish"] & seen["decide"]
        by_id = {span.context.span_id: span for span in spans.all()}
        publish = spans.named("publish")[-1]
        assert publish.parent is not None
        assert by_id[publish.parent.span_id].name == "recognise"

    def test_a_trace_is_whole_although_every_hint_was_lost(self, instances: Instances, spans: Spans) -> None:
        self.collect(instances, range(120))
        instances.lose()
        instances.clock.advance(60 * SECOND)
        for _ in range(6):
            instances.handlers[1].clock()
            instances.handlers[1].sweep()
            instances.drain(by=1)
        decided = decided_from_snapshots(instances.handlers[0].observer.journals, "decisions.live")
        assert decided
        for snapshot in decided:
            assert names(spans.of(snapshot)) == WAY
            assert_whole(spans.of(snapshot))

    def test_traced_or_not_the_records_are_the_same(self, tmp_path: Path, instances: Instances) -> None:
        (tmp_path / "plain").mkdir()
        clock = ManualClock(START_NS)
        plain = Instances(tmp_path / "plain", MemoryStorage(clock), 2, clock=clock, subscription=(TO_QUEUE,))
        heads = []
        for it in (instances, plain):
            self.collect(it, range(60))
            it.handlers[0].clock()
            it.drain()
            journals = it.handlers[0].observer.journals
            heads.append({
                name: journals.open(name).head().hash
                for name in journals.names() if not name.startswith("results.")
            })  # fmt: skip
        assert heads[0] == heads[1]

    def test_a_stage_that_fails_says_so_without_the_secret(
        self, instances: Instances, spans: Spans, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.collect(instances, range(1))
        worker = instances.handlers[0].observer.domain("live").recogniser("desk")

        def fails(**_: object) -> int:
            raise RuntimeError("at https://user:hunter22@example.org/")

        monkeypatch.setattr(worker, "pump", fails)
        with pytest.raises(RuntimeError):
            instances.handlers[0].recognise(b'{"source": "desk"}')
        (span,) = spans.named("recognise")
        assert span.status.status_code is StatusCode.ERROR
        assert dict(span.attributes or {})["error.type"] == "RuntimeError"
        assert "hunter22" not in span.to_json()


class TestRecordings:
    def test_a_recording_is_traced_too_and_only_so_many_of_a_commit(
        self, tmp_path: Path, spans: Spans
    ) -> None:
        it = market_observer(tmp_path, subscription=[{**TO_QUEUE, "domains": ["desk"]}])
        Telemetry(it, Metrics(it))
        spans.follow(it)
        take(it, recording(tmp_path / "desk.csv"), batch=50)
        assert 3 * 16 <= len(spans.named("collect desk")) < 80
        decided = decided_from_snapshots(it.journals, "decisions.desk")
        assert decided
        for snapshot in decided:
            assert {"recognise", "publish", "decide", "route"} <= names(spans.of(snapshot))

    def test_the_share_that_is_traced_is_the_same_for_everybody(self, tmp_path: Path) -> None:
        both = []
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            spans = Spans()
            it = market_observer(tmp_path / name, telemetry={"sample": 0.3})
            Telemetry(it, Metrics(it))
            spans.follow(it)
            take(it, recording(tmp_path / name / "desk.csv"), batch=5)
            both.append({span.context.trace_id for span in spans.all()})
        assert both[0] == both[1]
        assert 10 < len(both[0]) < 90
        collected = {int(trace_of(f"snapshots.desk@{n}")[0], 16) for n in range(2, 142)}
        assert 10 < len(both[0] & collected) < 90

    def test_what_follows_from_time_or_an_operator_is_a_trace_of_its_own(
        self, tmp_path: Path, spans: Spans
    ) -> None:
        clock = ManualClock(START_NS)
        it = market_observer(tmp_path, clock=clock)
        Telemetry(it, Metrics(it))
        spans.follow(it)
        it.domain("live").tick()
        asked = operate.command(
            it.journals, clock, "live", command="block", scope="subject:A", author="me", reason="test",
            until_ns=START_NS + 600 * SECOND,
        )  # fmt: skip
        it.domain("live").obey()
        assert {"ask command", "decide"} <= names(spans.of(asked))
        blocked = it.journals.open("decisions.live").head().position
        clock.advance(3600 * SECOND)
        it.domain("live").tick()
        it.domain("live").work(refresh=True)
        released = it.journals.open("decisions.live").head().position
        assert released > blocked
        (span,) = [s for s in spans.of(f"decisions.live@{released}") if s.name == "decide"]
        assert span.parent is None


class TestHttp:
    @pytest.fixture
    def it(self, tmp_path: Path) -> Observer:
        source = [{"name": "feed", "kind": "push", "interval": "1s"}]
        return Observer(
            load(root=tmp_path, source=source), MemoryStorage(), clock=ManualClock(START_NS)
        )  # fmt: skip

    @pytest.fixture
    def client(self, it: Observer, spans: Spans) -> Iterator[TestClient]:
        spans.follow(it)
        gate = Gate(it.journals, it.settings, it.clock)
        app = create_app(it, health=Health(it, gate), metrics=Metrics(it, gate), gate=gate)
        with TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False) as client:
            yield client

    def test_a_push_is_linked_to_its_request_and_that_to_the_callers_trace(
        self, client: TestClient, spans: Spans
    ) -> None:
        row = {"subject": "A", "price": 1.5}
        headers = {"content-type": "application/json", "traceparent": CALLER}
        assert client.post("/v1/snapshots/feed", content=json.dumps(row), headers=headers).status_code == 202
        (request,) = spans.named("POST /v1/snapshots/{source}")
        assert [f"{link.context.trace_id:032x}" for link in request.links] == [CALLER.split("-")[1]]
        assert request.parent is None
        assert f"{request.context.trace_id:032x}" != CALLER.split("-")[1]
        (collect,) = spans.named("collect feed")
        assert [link.context.span_id for link in collect.links] == [request.context.span_id]

    def test_an_evaluation_hangs_under_its_request(self, client: TestClient, spans: Spans) -> None:
        question = {
            "subject": {"type": "strategy", "id": "s1"}, "action": {"name": "order"},
            "resource": {"type": "instrument", "id": "A"},
        }  # fmt: skip
        answer = client.post("/v1/evaluation", json=question, headers={"traceparent": CALLER}).json()
        assert answer["decision"] is False
        (request,) = spans.named("POST /v1/evaluation")
        eventually(lambda: spans.named("gate evaluation"))  # made when the answer is out already
        (evaluation,) = spans.named("gate evaluation")
        assert evaluation.parent is not None
        assert evaluation.parent.span_id == request.context.span_id
        attributes = dict(evaluation.attributes or {})
        assert attributes["observer.decision"] == "deny"
        assert attributes["observer.record"] == answer["context"]["id"]
        assert len(request.links) == 1

    @pytest.mark.parametrize(
        "header", ["", "x", CALLER[:-1], "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é" * 200]
    )
    def test_a_header_that_is_none_is_no_link(self, client: TestClient, spans: Spans, header: str) -> None:
        client.get("/livez", headers={"traceparent": header.encode()})
        (request,) = spans.named("GET /livez")
        assert not request.links
        assert dict(request.attributes or {})["http.route"] == "/livez"

    def test_neither_path_nor_query_nor_headers_are_told(self, client: TestClient, spans: Spans) -> None:
        client.get("/hidden-path?code=hidden-code", headers={"authorization": "Bearer hidden-token"})
        client.request("hidden", "/livez")
        assert spans.all()
        assert "hidden" not in "".join(span.to_json() for span in spans.all())


def test_without_an_exporter_there_is_nothing_to_pay(tmp_path: Path) -> None:
    it = market_observer(tmp_path)
    Telemetry(it, Metrics(it))
    assert it.tracing is None


def test_anybody_can_compute_the_trace_of_a_snapshot() -> None:
    digest = hashlib.sha256(b"snapshots.binance@12").hexdigest()
    assert trace_of("snapshots.binance@12") == (digest[:32], digest[32:48])


def test_an_origin_is_found_without_a_trace(tmp_path: Path) -> None:
    it = market_observer(tmp_path)
    take(it, recording(tmp_path / "desk.csv"))
    found = decided_from_snapshots(it.journals, "decisions.desk")
    assert found
    for snapshot in found:
        name, _, position = snapshot.partition("@")
        assert isinstance(it.journals.open(name).entry(int(position)).record, Snapshot)
