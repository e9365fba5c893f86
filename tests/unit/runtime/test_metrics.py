"""What is counted, what is read at a scrape, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from observer_core.runtime.audit.ledger import Anchoring, Ledger
from observer_core.runtime.deliveries import deliverer
from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.runtime.telemetry.commits import Committed
from observer_core.runtime.telemetry.gauges import Gauges
from observer_core.runtime.telemetry.instruments import INSTRUMENTS
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.records import (
    Decision,
    DeliveryResult,
    Event,
    Note,
    PatternRecord,
    Record,
    Snapshot,
)
from observer_core.storage.counting import CountingStorage
from observer_core.storage.journal import Commit
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.rows import InputRange
from tests.support.market import observer as market
from tests.support.market import recording, take

NOW = 1_700_000_000 * SECOND


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def observer(tmp_path: Path, clock: ManualClock) -> Observer:
    return Observer(load(root=tmp_path), MemoryStorage(), clock=clock)


def samples(metrics: Metrics) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            name = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert name not in found, f"{name} is given twice"
            found[name] = sample.value
    return found


def snapshot(now: int) -> Snapshot:
    return Snapshot(
        source="host", event_ns=now, ingest_ns=now, subjects=("a", "b"), fields={"x": np.array([1.0, 2.0])}
    )


def commit(observer: Observer, journal: str, domain: str, *records: Record) -> None:
    opened = observer.journals.open(journal, domain)
    opened.commit(opened.head(), Commit(records=records, through_ns=NOW))


PATTERN = PatternRecord(
    id="p", pattern="spike", series=(("host", "a", "x"),), score=0.9, severity="warning", direction="up",
    tags=(), detector="ewma_spike/1", evidence={}, snapshot="snapshots.host@1", event_ns=NOW, time_ns=NOW,
)  # fmt: skip
EVENT = Event(
    id="e", source="/qts", type="io.qts.observer.pattern.spike", subject="a", time_ns=NOW, data={},
    partitionkey="a", sequence="1", causationid="p", correlationid="i", severitytext="warning",
)  # fmt: skip
DECISION = Decision(
    id="d", verdict="block", scope="subject:a", policy="p", policy_version=1, reasons=(), time_ns=NOW,
    causation=(),
)  # fmt: skip
DELIVERY = DeliveryResult(
    subscription="desk", record="d", ref="decisions.live@1", attempt=1, outcome="delivered", time_ns=NOW,
    latency_ns=1,
)  # fmt: skip


def test_snapshots_are_counted_by_source_and_status_as_they_are_committed(observer: Observer) -> None:
    metrics = Metrics(observer)
    down = Snapshot(
        source="host", event_ns=NOW, ingest_ns=NOW, subjects=(), fields={}, status="unavailable", error="x"
    )
    commit(observer, "snapshots.host", "live", snapshot(NOW), snapshot(NOW))
    commit(observer, "snapshots.host", "live", down)
    found = samples(metrics)
    assert found["observer_snapshots_total{source=host,status=ok}"] == 2
    assert found["observer_snapshots_total{source=host,status=unavailable}"] == 1
    assert found["observer_observations_total{source=host}"] == 4
    assert found["observer_source_delay_seconds{of=median,source=host}"] == 0


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_what_a_step_committed_before_it_failed_stands_and_is_counted_once(tmp_path: Path, kind: str) -> None:
    storage = MemoryStorage() if kind == "memory" else LocalStorage(tmp_path / "data")
    observer = Observer(load(root=tmp_path), storage, clock=ManualClock(NOW))
    metrics = Metrics(observer)
    name = "observer_snapshots_total{source=host,status=ok}"

    def step() -> None:
        with observer.step():
            commit(observer, "snapshots.host", "live", snapshot(NOW))
            assert name not in samples(metrics)
            raise StorageUnavailable("away")

    with pytest.raises(StorageUnavailable):
        step()
    assert samples(metrics)[name] == 1 == observer.journals.open("snapshots.host").head().position
    with observer.step():
        commit(observer, "snapshots.host", "live", snapshot(NOW))
    assert samples(metrics)[name] == 2 == observer.journals.open("snapshots.host").head().position
    observer.close()


def test_a_step_that_could_not_become_durable_has_committed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path / "data")
    observer = Observer(load(root=tmp_path), storage, clock=ManualClock(NOW))
    metrics, whole = Metrics(observer), storage._database.transaction
    commit(observer, "snapshots.host", "live", snapshot(NOW))

    @contextmanager
    def failing() -> Iterator[None]:
        with whole():
            yield
            raise StorageUnavailable("away")

    def step() -> None:
        with observer.step():
            commit(observer, "snapshots.host", "live", snapshot(NOW))

    with monkeypatch.context() as patched:
        patched.setattr(storage._database, "transaction", failing)
        with pytest.raises(StorageUnavailable):
            step()
    assert observer.journals.open("snapshots.host").head().position == 1
    assert samples(metrics)["observer_snapshots_total{source=host,status=ok}"] == 1
    observer.close()


def test_who_counts_or_traces_never_fails_the_work(observer: Observer) -> None:
    def broken(_: Committed) -> None:
        raise ValueError("a defect")

    observer.commits.listen(broken)
    observer.commits.listen(broken, at_once=True)
    metrics = Metrics(observer)
    with observer.step():
        commit(observer, "snapshots.host", "live", snapshot(NOW))
    commit(observer, "snapshots.host", "live", snapshot(NOW))
    assert samples(metrics)["observer_snapshots_total{source=host,status=ok}"] == 2


def test_what_another_process_commits_is_its_own_to_count(observer: Observer, tmp_path: Path) -> None:
    metrics = Metrics(observer)
    other = Observer(load(root=tmp_path), observer.storage, clock=observer.clock)
    commit(other, "decisions.live", "live", DECISION)
    found = samples(metrics)
    assert "observer_decisions_total{domain=live,verdict=block}" not in found
    assert found["observer_journal_position{journal=decisions.live}"] == 1


def test_buckets_hold_what_is_not_above_them(observer: Observer) -> None:
    metrics = Metrics(observer)
    for seconds in (0.0008, 0.003, 20.0):
        metrics.tick(seconds)
    metrics.tick(1.0, 0)
    found = samples(metrics)
    assert found["observer_stage_seconds_count{stage=tick}"] == 3
    assert found["observer_stage_seconds_sum{stage=tick}"] == pytest.approx(20.0038)
    assert found["observer_stage_seconds_bucket{le=0.0005,stage=tick}"] == 0
    assert found["observer_stage_seconds_bucket{le=0.001,stage=tick}"] == 1
    assert found["observer_stage_seconds_bucket{le=10.0,stage=tick}"] == 2
    assert found["observer_stage_seconds_bucket{le=+Inf,stage=tick}"] == 3


def test_stages_have_histograms_of_their_own(observer: Observer) -> None:
    metrics = Metrics(observer)
    metrics.stage("decide", 0.2)
    assert samples(metrics)["observer_stage_seconds_bucket{le=0.25,stage=decide}"] == 1


def test_what_was_committed_since_the_start_is_counted_by_its_labels(observer: Observer) -> None:
    commit(observer, "patterns.host", "live", PATTERN)
    metrics = Metrics(observer)
    assert "observer_patterns_total{pattern=spike,source=host}" not in samples(metrics)
    commit(observer, "patterns.host", "live", PATTERN, PATTERN)
    commit(observer, "events.live", "live", EVENT)
    commit(observer, "decisions.live", "live", DECISION)
    commit(observer, "results.live-desk", "live", DELIVERY)
    for _ in range(2):
        found = samples(metrics)
        assert found["observer_patterns_total{pattern=spike,source=host}"] == 2
        assert found["observer_events_total{domain=live,type=io.qts.observer.pattern.spike}"] == 1
        assert found["observer_decisions_total{domain=live,verdict=block}"] == 1
        assert found["observer_deliveries_total{outcome=delivered,subscription=desk}"] == 1
        assert found["observer_delivery_seconds_count{subscription=desk}"] == 1
    assert found["observer_journal_position{journal=patterns.host}"] == 3
    size = len(
        b"".join(line + b"\n" for _, part in observer.journals.open("events.live").raw() for line in part)
    )
    assert found["observer_journal_written_bytes_total{journal=events.live}"] == size - 1


def test_what_waits_for_a_subscriber_is_told(tmp_path: Path) -> None:
    it = market(tmp_path, subscription=[
        {"name": "ops", "domains": ["desk"], "start": "beginning", "sink": {"kind": "log"}}
    ])  # fmt: skip
    take(it, recording(tmp_path / "desk.csv"))
    lag = "observer_subscription_lag_records{domain=desk,subscription=ops}"
    sender = deliverer(it, "ops", "desk")
    sender.pump()
    assert samples(Metrics(it))[lag] == 0
    take(it, recording(tmp_path / "desk.csv", range(300)))
    assert samples(Metrics(it))[lag] == sender.lag() > 0
    sender.pump()
    assert samples(Metrics(it))[lag] == 0


def test_lag_and_age_grow_with_the_clock(observer: Observer, clock: ManualClock) -> None:
    domain = observer.domain("live")
    observer.writer("host", "live", "live", NOW).write([snapshot(NOW)])
    metrics = Metrics(observer)
    assert samples(metrics)["observer_stage_lag_seconds{domain=live,stage=decide}"] == math.inf
    domain.tick()
    domain.work(refresh=True, flush=True)
    clock.advance(7 * SECOND)
    found = samples(metrics)
    assert found["observer_source_age_seconds{source=host}"] == 7
    for stage in ("publish", "decide"):
        assert found[f"observer_stage_lag_seconds{{domain=live,stage={stage}}}"] == 7


def test_recognise_is_behind_new_snapshots_and_not_behind_a_silent_source(
    observer: Observer, clock: ManualClock
) -> None:
    recognise = "observer_stage_lag_seconds{domain=live,stage=recognise}"
    domain = observer.domain("live")
    observer.writer("host", "live", "live", NOW).write([snapshot(NOW)])
    domain.tick()
    domain.work(refresh=True, flush=True)
    clock.advance(3600 * SECOND)
    domain.tick()
    domain.work(refresh=True, flush=True)
    found = samples(Metrics(observer))
    assert {name: lag for name, lag in found.items() if "stage_lag" in name and lag} == {}
    observer.writer("host", "live", "live", NOW).write([snapshot(NOW + 3600 * SECOND)])
    assert samples(Metrics(observer))[recognise] == 3600


def test_a_source_that_nobody_recognises_yet_is_the_slowest(observer: Observer) -> None:
    domain = observer.domain("live")
    observer.writer("host", "live", "live", NOW).write([snapshot(NOW)])
    domain.tick()
    domain.work(refresh=True, flush=True)
    commit(observer, "snapshots.other", "live", snapshot(NOW))
    assert samples(Metrics(observer))["observer_stage_lag_seconds{domain=live,stage=recognise}"] == math.inf


def test_a_recording_is_as_old_as_its_own_time_says(observer: Observer, clock: ManualClock) -> None:
    past = NOW - 10**6 * SECOND
    observer.writer("host", "tape", "recorded", past).write([snapshot(past)])
    observer.domain("tape").work(refresh=True, flush=True)
    assert samples(Metrics(observer))["observer_source_age_seconds{source=host}"] == 0


def test_a_slow_storage_is_read_once_a_scrape(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    metrics, seconds, reads = Metrics(observer), [0.0], []
    read = Gauges.read

    def slow(gauges: Gauges) -> Any:
        reads.append(1)
        seconds[0] += 5  # longer than it is kept
        return read(gauges)

    monkeypatch.setattr(Gauges, "read", slow)
    monkeypatch.setattr("observer_core.runtime.metrics.time.monotonic", lambda: seconds[0])
    samples(metrics)
    assert len(reads) == 1
    samples(metrics)
    assert len(reads) == 2


def test_a_storage_that_fails_is_not_asked_again_for_the_lag_of_each_decision(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fails(*_: object) -> None:
        asked.append(1)
        raise StorageUnavailable("away")

    monkeypatch.setattr("observer_core.runtime.metrics.cause", fails)
    metrics = Metrics(observer)
    cited = [replace(DECISION, causation=(f"events.live@{place}",)) for place in (1, 2, 3)]
    journal = observer.journals.open("decisions.live", "live")
    inputs = (InputRange("events.live", 1, 3),)
    journal.commit(journal.head(), Commit(records=cited, through_ns=NOW, inputs=inputs))
    assert len(asked) == 1
    assert samples(metrics)["observer_decisions_total{domain=live,verdict=block}"] == 3


def test_conflicts_and_quarantines_come_from_the_workers(observer: Observer) -> None:
    metrics = Metrics(observer)
    observer.domain("live").publisher.conflicts = 2
    observer.domain("live").decider.conflicts = 1
    observer.domain("live").decider.quarantines = 4
    found = samples(metrics)
    assert found["observer_conflicts_total"] == 3
    assert found["observer_quarantines_total"] == 4


def test_up_is_zero_while_the_storage_does_not_answer_and_counters_stay(
    observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = Metrics(observer)
    commit(observer, "snapshots.host", "live", snapshot(NOW))
    assert samples(metrics)["observer_up"] == 1

    def away(*_: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(observer.storage.tables, "query", away)
    found = samples(metrics)
    assert found["observer_up"] == 0
    assert found["observer_snapshots_total{source=host,status=ok}"] == 1


def test_the_build_and_the_process_are_named(observer: Observer) -> None:
    found = samples(Metrics(observer))
    assert any(name.startswith("observer_build_info{") and "version=" in name for name in found)
    assert found["observer_process_resident_memory_bytes"] > 0


def test_two_observers_in_one_process_do_not_share_counts(observer: Observer) -> None:
    first, second = Metrics(observer), Metrics(observer)
    first.refused("no token")
    assert "observer_refusals_total{reason=no token}" in samples(first)
    assert "observer_refusals_total{reason=no token}" not in samples(second)


def test_what_an_account_was_asked_is_counted_by_kind(tmp_path: Path, clock: ManualClock) -> None:
    observer = Observer(load(root=tmp_path), CountingStorage(MemoryStorage(clock)), clock=clock)
    observer.domain("live").tick()
    found = samples(Metrics(observer))
    assert found["observer_storage_operations_total{kind=blob.append}"] == 2
    assert found["observer_storage_operations_total{kind=table.transaction}"] >= 2


def test_the_lag_of_a_decision_is_from_its_snapshots_being_known_to_its_commit(
    observer: Observer, clock: ManualClock
) -> None:
    metrics = Metrics(observer)
    pattern = replace(PATTERN, time_ns=NOW)
    commit(observer, "patterns.host", "live", pattern)
    event = replace(EVENT, causationid="patterns.host@1")
    commit(observer, "events.live", "live", event, replace(event, id="e2"))
    journal = observer.journals.open("decisions.live", "live")
    clock.advance(3 * SECOND // 10)
    by_event = replace(DECISION, causation=("events.live@1",))
    by_time = replace(DECISION, causation=("events.live@2",))
    made_of = [InputRange("events.live", 1, 1)]
    journal.commit(journal.head(), Commit(records=[by_event, by_event, by_time], inputs=made_of))
    found = samples(metrics)
    assert found["observer_decision_lag_seconds_count{domain=live}"] == 1
    assert found["observer_decision_lag_seconds_sum{domain=live}"] == pytest.approx(0.3)


def test_answers_of_the_gate_are_counted_and_denials_by_their_reasons(observer: Observer) -> None:
    metrics = Metrics(observer)
    desk = GateDesk(observer, Gate(observer.journals, observer.settings, observer.clock))
    desk.watch = metrics.asked
    for _ in range(2):
        answered = desk.ask(Question(caller="me", action="order", resource="A")).result(5)
        assert not answered.allowed
    desk.stop()
    found = samples(metrics)
    assert found["observer_gate_answers_total{decision=deny,domain=live}"] == 2
    for reason in answered.answer.reasons:
        assert found[f"observer_gate_denials_total{{domain=live,reason={reason['code']}}}"] == 2
    assert found["observer_gate_request_seconds_count"] == 2


def test_the_age_of_a_checkpoint_is_of_the_slowest_source(observer: Observer, clock: ManualClock) -> None:
    domain = observer.domain("live")
    for source in ("host", "desk"):
        record = replace(snapshot(NOW), source=source)
        observer.writer(source, "live", "live", NOW).write([record])
    domain.tick()
    domain.work(refresh=True, flush=True)
    clock.advance(5 * SECOND)
    observer.writer("host", "live", "live", NOW).write([snapshot(clock.now_ns())])
    domain.work("host", flush=True)
    assert samples(Metrics(observer))["observer_checkpoint_age_seconds{domain=live,stage=recognise}"] == 5


def test_the_ages_of_anchors_and_of_upkeep_are_told(tmp_path: Path, clock: ManualClock) -> None:
    ledger = {"every": "1h", "to": {"kind": "file", "path": "away/anchors.ndjson"}}
    observer = Observer(load(root=tmp_path, ledger=ledger), MemoryStorage(), clock=clock)
    metrics = Metrics(observer)
    assert samples(metrics)["observer_anchor_age_seconds{of=outside}"] == math.inf
    commit(observer, "snapshots.host", "live", snapshot(NOW))
    anchoring = Anchoring(observer.journals, observer.settings, clock)
    anchoring.look()
    clock.advance(60 * SECOND)
    Ledger(observer.journals, clock, None).anchor()  # made, and not sent yet
    for kind, ago in (("backup", 50), ("maintenance", 30), ("maintenance", 20), ("lifecycle", 10)):
        note = Note(kind=kind, time_ns=clock.now_ns() - ago * SECOND, body={})
        journal = observer.journals.open(OPERATIONS, "operations")
        journal.commit(journal.head(), Commit(records=[note]))
        found = samples(metrics)
    assert found["observer_anchor_age_seconds{of=made}"] == 0
    assert found["observer_anchor_age_seconds{of=outside}"] == 60
    elsewhere = load(root=tmp_path, ledger={**ledger, "to": {"kind": "file", "path": "else/anchors.ndjson"}})
    clock.advance(30 * SECOND)
    Anchoring(observer.journals, elsewhere, clock).look()  # where it went before, no more goes
    clock.advance(2 * SECOND)
    again = samples(Metrics(Observer(elsewhere, observer.storage, clock=clock)))
    assert again["observer_anchor_age_seconds{of=outside}"] == 32
    assert found["observer_upkeep_age_seconds{kind=backup}"] == 50
    assert found["observer_upkeep_age_seconds{kind=maintenance}"] == 20
    assert "observer_upkeep_age_seconds{kind=lifecycle}" not in found


def test_ten_thousand_sources_and_subjects_are_no_more_than_so_many_series(tmp_path: Path) -> None:
    settings = load(root=tmp_path, telemetry={"series": 50}, source=[
        {"name": "zz", "kind": "push", "interval": "1s"},
    ])  # fmt: skip
    observer = Observer(settings, MemoryStorage(), clock=ManualClock(NOW))
    metrics = Metrics(observer)
    subjects = tuple(f"s{number}" for number in range(10_000))
    one = replace(snapshot(NOW), subjects=subjects, fields={"x": np.zeros(10_000)})
    pattern = replace(PATTERN, series=(("host", "s1", "x"),))
    for number in range(2_000):
        metrics.committed(Committed(f"snapshots.s{number}", 1, [one], (), 1))
        metrics.committed(Committed(f"patterns.s{number}", 1, [pattern], (), 1))
    for number in range(200):
        commit(observer, f"snapshots.b{number}", "live", snapshot(NOW))
    commit(observer, "snapshots.zz", "live", snapshot(NOW))
    found = samples(metrics)
    by_name: dict[str, int] = {}
    for name in found:
        by_name[name.partition("{")[0]] = by_name.get(name.partition("{")[0], 0) + 1
    assert max(count for name, count in by_name.items() if not name.endswith("_bucket")) == 50
    assert sum(v for k, v in found.items() if k.startswith("observer_snapshots_total")) == 2_201
    assert found["observer_snapshots_total{source=other,status=other}"] == 2_201 - 49
    assert found["observer_journal_position{journal=other}"] == 201 - 49
    assert found["observer_source_age_seconds{source=zz}"] == 0  # what is configured is never folded


def test_every_instrument_is_told_under_its_name(observer: Observer) -> None:
    metrics = Metrics(observer)
    families = {family.name: family for family in text_string_to_metric_families(metrics.render().decode())}
    for item in INSTRUMENTS:
        family = families[item.name.removesuffix("_total") if item.kind == "counter" else item.name]
        assert (family.type, family.documentation) == (item.kind, item.text)
        assert item.name.endswith("_total") == (item.kind == "counter")
        assert item.name.endswith("_seconds") == (item.unit == "s")
