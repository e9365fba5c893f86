"""What is counted, what is read at a scrape, and what it costs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from observer_core.runtime.deliveries import deliverer
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.records import Decision, DeliveryResult, Event, PatternRecord, Record, Snapshot
from observer_core.storage.counting import CountingStorage
from observer_core.storage.journal import Commit
from observer_core.storage.memory import MemoryStorage
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


def test_ticks_are_counted_by_source_and_status(observer: Observer) -> None:
    metrics = Metrics(observer)
    metrics.tick("host", "ok", 200, 0.0008)
    metrics.tick("host", "ok", 200, 0.003)
    metrics.tick("host", "unavailable", 0, 20.0)
    metrics.tick("file", "ok", 900, 0.001, snapshots=3)
    found = samples(metrics)
    assert found["observer_snapshots_total{source=host,status=ok}"] == 2
    assert found["observer_snapshots_total{source=host,status=unavailable}"] == 1
    assert found["observer_snapshots_total{source=file,status=ok}"] == 3
    assert found["observer_observations_total{source=host}"] == 400
    assert found["observer_stage_seconds_count{stage=tick}"] == 4
    assert found["observer_stage_seconds_sum{stage=tick}"] == pytest.approx(20.0048)
    assert found["observer_stage_seconds_bucket{le=0.0005,stage=tick}"] == 0
    assert found["observer_stage_seconds_bucket{le=0.001,stage=tick}"] == 2
    assert found["observer_stage_seconds_bucket{le=10.0,stage=tick}"] == 3
    assert found["observer_stage_seconds_bucket{le=+Inf,stage=tick}"] == 4


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
    assert found["observer_journal_position{journal=patterns.host}"] == 3


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
    for stage in ("recognise", "publish", "decide"):
        assert found[f"observer_stage_lag_seconds{{domain=live,stage={stage}}}"] == 7


def test_a_recording_is_as_old_as_its_own_time_says(observer: Observer, clock: ManualClock) -> None:
    past = NOW - 10**6 * SECOND
    observer.writer("host", "tape", "recorded", past).write([snapshot(past)])
    observer.domain("tape").work(refresh=True, flush=True)
    assert samples(Metrics(observer))["observer_source_age_seconds{source=host}"] == 0


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
    metrics.tick("host", "ok", 1, 0.1)
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
    first.tick("host", "ok", 1, 0.1)
    assert "observer_snapshots_total{source=host,status=ok}" not in samples(second)


def test_what_an_account_was_asked_is_counted_by_kind(tmp_path: Path, clock: ManualClock) -> None:
    observer = Observer(load(root=tmp_path), CountingStorage(MemoryStorage(clock)), clock=clock)
    observer.domain("live").tick()
    found = samples(Metrics(observer))
    assert found["observer_storage_operations_total{kind=blob.append}"] == 2
    assert found["observer_storage_operations_total{kind=table.transaction}"] >= 2
