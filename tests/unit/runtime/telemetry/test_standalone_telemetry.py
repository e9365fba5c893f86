"""The standalone Observer as a whole: its traces, its log lines, its start and stop in the store."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from observer_core.logs.configure import configure
from observer_core.runtime.console import Console
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.standalone import Standalone
from observer_core.runtime.telemetry import export
from observer_core.runtime.telemetry.origin import origin
from observer_core.shared.ids import trace_of
from observer_core.shared.records import Decision, Note
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.recovery import OPERATIONS
from tests.support.market import GENERIC, MAPPING, MINUTES, eventually, recording


class Port:
    def start(self) -> int:
        return 12345

    def stop(self) -> None: ...


def settings_of(folder: Path, **more: Any) -> Settings:
    recording(folder / "desk.csv")
    sources = [
        {"name": "host", "kind": "system", "interval": "20ms", "host": "me", "file_systems": []},
        {
            "name": "tape", "kind": "recording", "domain": "tape", "paths": ["desk.csv"], "rate": 2000.0,
            "mapping": MAPPING.model_dump(mode="json"),
        },
    ]  # fmt: skip
    subscription = {
        "name": "all", "domains": ["live", "tape"], "stream": "decisions", "start": "beginning",
        "sink": {"kind": "file", "path": "out/decisions.ndjson"},
    }  # fmt: skip
    return load(
        root=folder, durability="normal", clock_interval="50ms", source=sources,
        subscription=[subscription], recognise=GENERIC, **more,
    )  # fmt: skip


def run(it: Standalone) -> None:
    """Until the recording is taken in and delivered, and the machine was looked at some times."""
    console = Console(it.observer, it.gate, enabled=False)
    thread = threading.Thread(target=lambda: it.run(console, lambda _: Port()))
    thread.start()

    def position(name: str) -> int:
        row = it.observer.storage.tables.get(name, "head")
        return 0 if row is None else int(json.loads(row.value)["position"])

    try:
        eventually(
            lambda: position("snapshots.tape") == MINUTES + 1 and position("snapshots.host") > 5
            and position("results.tape-all") > 1
        )  # fmt: skip
    finally:
        it.stop()
        thread.join(30)
    assert not thread.is_alive()


def stored(folder: Path) -> Journals:
    return Journals(LocalStorage(folder / "data/observer", durability="normal"), worker="reader")


def test_one_trace_from_collection_to_delivery_and_lines_that_name_it(tmp_path: Path) -> None:
    logs = configure(tmp_path / "logs")
    exporter = InMemorySpanExporter()
    it = Standalone(settings_of(tmp_path))
    it.observer.trace(export.tracing(it.observer, SimpleSpanProcessor(exporter)))
    run(it)
    logs.close()
    structlog.reset_defaults()
    journals = stored(tmp_path)
    spans: dict[str, set[str]] = {}
    for span in exporter.get_finished_spans():
        spans.setdefault(f"{span.context.trace_id:032x}", set()).add(span.name)
    decided = {
        trace_of(begun_by)[0]
        for entry in journals.open("decisions.tape").scan()
        if isinstance(entry.record, Decision)
        and (begun_by := origin(journals, entry)).startswith("snapshots.")
    }
    assert decided
    delivered = [spans[trace] for trace in decided if "deliver all" in spans.get(trace, set())]
    assert delivered
    for found in delivered:
        assert found == {"collect tape", "recognise", "publish", "decide", "route", "deliver all"}
    quiet = [found for found in spans.values() if "collect host" in found]
    assert quiet
    assert {"collect host", "recognise"} in [found & {"collect host", "recognise"} for found in quiet]
    lines = [json.loads(line) for line in (tmp_path / "logs/decision.log").read_text().splitlines()]
    assert decided & {line["trace_id"] for line in lines}


def test_start_and_stop_are_records_and_the_time_in_between_is_told(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    for _ in range(2):
        run(Standalone(settings))
    notes = [entry.record for entry in stored(tmp_path).open(OPERATIONS).scan()]
    told = [note.body for note in notes if isinstance(note, Note) and note.kind == "lifecycle"]
    assert [(body["event"], body.get("ended", body.get("reason"))) for body in told] == [
        ("start", "first"), ("stop", "asked"), ("start", "clean"), ("stop", "asked"),
    ]  # fmt: skip
    assert told[2]["duration_ns"] == told[2]["to_ns"] - told[2]["from_ns"] > 0


def test_what_happened_is_counted_once(tmp_path: Path) -> None:
    it = Standalone(settings_of(tmp_path))
    taken: list[bytes] = []
    close = it.observer.close

    def rendered() -> None:
        taken.append(it.metrics.render())
        close()

    it.observer.close = rendered  # type: ignore[method-assign]
    run(it)
    found = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(taken[0].decode())
        for sample in family.samples
    }
    journals = stored(tmp_path)
    assert found["observer_snapshots_total", (("source", "tape"), ("status", "ok"))] == MINUTES
    decided = [e.record for e in journals.open("decisions.tape").scan() if isinstance(e.record, Decision)]
    by_verdict = {d.verdict: sum(o.verdict == d.verdict for o in decided) for d in decided}
    for verdict, count in by_verdict.items():
        assert found["observer_decisions_total", (("domain", "tape"), ("verdict", verdict))] == count
    assert found["observer_loop_delay_seconds_count", ()] > 0


@pytest.mark.parametrize("stage", ["recognise", "publish", "decide"])
def test_an_entry_that_is_set_aside_is_in_the_log_with_where_it_stands(
    tmp_path: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.market import observer, take

    logs = configure(tmp_path / "logs")
    it = observer(tmp_path)
    domain = it.domain("desk")
    worker = {"recognise": domain.recogniser("desk"), "publish": domain.publisher, "decide": domain.decider}[
        stage
    ]
    real, bad = worker.spec.stage.transition, set[str]()

    def transition(state: Any, entry: Any) -> Any:
        if entry.position == 3:
            bad.add(entry.ref)
            raise ValueError("token=hunter22hunter22 does not fit")
        return real(state, entry)

    monkeypatch.setattr(worker.spec.stage, "transition", transition)
    take(it, recording(tmp_path / "desk.csv"), batch=200)
    logs.close()
    structlog.reset_defaults()
    lines = [json.loads(line) for line in (tmp_path / "logs/observer.log").read_text().splitlines()]
    (aside,) = [line for line in lines if line["event"] == "entry set aside"]
    assert {aside["input"]} == bad
    assert (aside["stage"], aside["domain"]) == (stage, "desk")
    warned = next(line for line in lines if line["event"].startswith("an entry could not be worked"))
    assert (warned["journal"], warned["position"]) == (aside["input"].partition("@")[0], 3)
    assert "ValueError: token=*** does not fit" in warned["exception"]
    if stage == "recognise":
        assert warned["source"] == "desk"
        assert (warned["trace_id"], warned["span_id"]) == trace_of("snapshots.desk@3")
