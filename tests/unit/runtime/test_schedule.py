"""Collections in time. Sources are held by events, so that no test depends on the machine's pace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.schedule import Collector
from observer_core.runtime.sources import LiveSource
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.clock import SECOND, SystemClock
from observer_core.shared.records import Snapshot
from tests.support.market import eventually

MS = SECOND // 1000


class Probe:
    """A source that can be held: while `free` is not set, a collection hangs."""

    def __init__(self, name: str, interval_ns: int = 10 * MS) -> None:
        self.name, self.interval_ns = name, interval_ns
        self.free = threading.Event()
        self.free.set()
        self.begun = self.closed = 0
        self.error: Exception | None = None

    def collect(self, now_ns: int) -> Snapshot:
        self.begun += 1
        self.free.wait(30)
        if self.error is not None:
            raise self.error
        return Snapshot(
            source=self.name, event_ns=now_ns, ingest_ns=now_ns, subjects=("x",),
            fields={"n": np.array([float(self.begun)])},
        )  # fmt: skip

    def close(self) -> None:
        self.closed += 1


class Taken:
    """Runs a collector and keeps what it gives."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.all: list[tuple[str, Snapshot]] = []
        self.origins: list[dict[str, Any]] = []

    def take(self, timeout: float = 0.05) -> None:
        for got in self.collector.results(timeout):
            assert isinstance(got.collected, Snapshot)
            self.all.append((got.source, got.collected))
            self.origins.append(dict(got.origin))

    def of(self, name: str, status: str) -> list[Snapshot]:
        self.take(0.005)
        return [s for source, s in self.all if source == name and s.status == status]


@contextmanager
def collecting(*probes: Probe, deadline_ns: int = 20 * MS, failures: int = 10_000) -> Iterator[Taken]:
    breaker = BreakerConfig(failures=failures, pause=50 * MS)
    collector = Collector([LiveSource(probe, deadline_ns, breaker) for probe in probes], SystemClock())
    collector.start()
    try:
        yield Taken(collector)
    finally:
        for probe in probes:
            probe.free.set()
        collector.stop()


def test_each_source_is_collected_again_and_again() -> None:
    one, two = Probe("one"), Probe("two")
    with collecting(one, two) as taken:
        eventually(lambda: len(taken.of("one", "ok")) >= 3 and len(taken.of("two", "ok")) >= 3)
    times = [s.ingest_ns for s in taken.of("one", "ok")]
    assert times == sorted(set(times))
    assert [s.fields["n"][0] for s in taken.of("one", "ok")][:3] == [1.0, 2.0, 3.0]


def test_a_source_is_not_asked_more_often_than_its_interval() -> None:
    slow, fast = Probe("slow", 3600 * SECOND), Probe("fast")
    with collecting(slow, fast) as taken:
        eventually(lambda: len(taken.of("fast", "ok")) >= 5)
        eventually(lambda: taken.of("slow", "ok"))
    assert slow.begun == 1


def test_one_that_hangs_is_unavailable_at_its_due_moments_and_delays_nobody() -> None:
    hanging, other = Probe("hanging"), Probe("other")
    hanging.free.clear()
    with collecting(hanging, other) as taken:
        before = len(taken.of("other", "ok"))
        eventually(lambda: len(taken.of("hanging", "unavailable")) >= 3)
        eventually(lambda: len(taken.of("other", "ok")) >= before + 3)
        assert hanging.begun == 1, "it is not asked again while it hangs"
        assert taken.of("hanging", "ok") == []
    failed = taken.of("hanging", "unavailable")
    assert all(s.error and s.error.startswith("TimeoutError: no answer for ") for s in failed)
    assert all((s.subjects, dict(s.fields)) == ((), {}) for s in failed)
    assert [s.ingest_ns for s in failed] == sorted(s.ingest_ns for s in failed)


def test_once_it_answers_again_its_late_answer_is_dropped_and_the_next_ones_come() -> None:
    probe = Probe("probe")
    probe.free.clear()
    with collecting(probe) as taken:
        eventually(lambda: taken.of("probe", "unavailable"))
        probe.free.set()
        eventually(lambda: len(taken.of("probe", "ok")) >= 3)
    assert [s.fields["n"][0] for s in taken.of("probe", "ok")][:2] == [2.0, 3.0]


def test_a_deadline_is_kept_between_due_moments_too() -> None:
    probe = Probe("probe", 3600 * SECOND)
    probe.free.clear()
    with collecting(probe) as taken:
        eventually(lambda: taken.of("probe", "unavailable"))
        for _ in range(5):
            taken.take(0.005)
        assert len(taken.all) == 1, "once, until it is due again"


def test_one_that_is_only_slow_is_not_called_unavailable() -> None:
    probe = Probe("probe", 5 * MS)
    probe.free.clear()
    with collecting(probe, deadline_ns=3600 * SECOND) as taken:
        eventually(lambda: taken.take(0.005) or probe.begun)
        for _ in range(10):
            taken.take(0.005)
        assert taken.all == []
        probe.free.set()
        eventually(lambda: taken.of("probe", "ok"))


def test_an_error_is_a_snapshot_too_and_the_next_collection_is_made() -> None:
    probe = Probe("probe")
    probe.error = OSError("gone")
    with collecting(probe) as taken:
        eventually(lambda: len(taken.of("probe", "unavailable")) >= 2)
        assert taken.of("probe", "unavailable")[0].error == "OSError: gone"
        probe.error = None
        eventually(lambda: taken.of("probe", "ok"))


def test_one_that_fails_again_and_again_is_left_alone_and_then_tried() -> None:
    probe = Probe("probe")
    probe.error = OSError("gone")
    with collecting(probe, failures=3) as taken:
        eventually(lambda: len(taken.of("probe", "unavailable")) >= 5)
        assert probe.begun == 3
        refused = [s for s in taken.of("probe", "unavailable") if (s.error or "").startswith("CircuitOpen")]
        assert {s.error for s in refused} == {"CircuitOpen: not asked for a while after: OSError: gone"}
        eventually(lambda: taken.take(0.005) or probe.begun >= 4)
        probe.error = None
        eventually(lambda: taken.of("probe", "ok"))
    states = [o["breaker"]["state"] for o in taken.origins if "breaker" in o]
    assert states[:3] == ["closed", "closed", "open"]
    assert {"breaker": {"state": "closed", "failures": 0, "was": "half_open"}} in taken.origins


def test_waiting_for_results_can_be_ended_from_outside() -> None:
    with collecting() as taken:
        waiting = threading.Thread(target=lambda: taken.collector.results(30))
        waiting.start()
        taken.collector.wake()
        waiting.join(10)
        assert not waiting.is_alive()
        assert taken.collector.results(0) == []


def test_stopping_closes_the_sources_and_ends_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe("ended")
    with collecting(probe) as taken:
        eventually(lambda: taken.of("ended", "ok"))
    assert probe.closed == 1
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "collect ended"])
    assert taken.collector.results(0) is not None
