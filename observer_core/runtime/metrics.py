"""Application metrics in Prometheus' text format, names `observer_…`.

What happens often is added up in plain counters, less than a microsecond a call; what can
be read from journals and workers is read when somebody scrapes. No globals: each
`Metrics` has a registry of its own.
"""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from observer_core.runtime.gate import Gate
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ObserverError
from observer_core.shared.records import Decision, DeliveryResult, Event, PatternRecord
from observer_core.shared.stage import Entry

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of `stage_seconds`, in seconds."""
_COUNTERS: Final = {
    "snapshots": ("Snapshots committed.", ("source", "status")),
    "observations": ("Values observed, those that were missing included.", ("source",)),
    "patterns": ("Patterns recognised.", ("source", "pattern")),
    "events": ("Events published.", ("domain", "type")),
    "decisions": ("Decisions taken.", ("domain", "verdict")),
    "deliveries": ("Attempts to deliver a record.", ("subscription", "outcome")),
}

_Labels = tuple[str, ...]


class Metrics:
    """Counts for one Observer. All methods may be called from any thread."""

    def __init__(self, observer: Observer, gate: Gate | None = None) -> None:
        self._observer = observer
        self._gate = gate or Gate(observer.journals, observer.settings, observer.clock)
        self._counts: dict[str, dict[_Labels, int]] = {name: defaultdict(int) for name in _COUNTERS}
        self._seconds: dict[str, list[float]] = {}
        self._lock = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace="observer", registry=self._registry)

    def tick(self, source: str, status: str, values: int, seconds: float) -> None:
        """A snapshot of `values` values was committed; collecting and writing it took `seconds`."""
        with self._lock:
            self._counts["snapshots"][source, status] += 1
            self._counts["observations"][source,] += values
        self.stage("collect", seconds)

    def stage(self, stage: str, seconds: float) -> None:
        """A stage has worked for so long."""
        with self._lock:
            row = self._seconds.get(stage)
            if row is None:
                row = self._seconds[stage] = [0.0] * (len(BUCKETS) + 2)
            row[bisect_left(BUCKETS, seconds)] += 1
            row[-1] += seconds

    def committed(self, entries: Iterable[Entry]) -> None:
        """New patterns, events, decisions and delivery results, each by its labels; others do not count."""
        with self._lock:
            for entry in entries:
                record, name = entry.record, entry.journal.partition(".")[2]
                if isinstance(record, PatternRecord):
                    self._counts["patterns"][record.source, record.pattern] += 1
                elif isinstance(record, Event):
                    self._counts["events"][name, record.type] += 1
                elif isinstance(record, Decision):
                    self._counts["decisions"][name, record.verdict] += 1
                elif isinstance(record, DeliveryResult):
                    self._counts["deliveries"][record.subscription, record.outcome] += 1

    def render(self) -> bytes:
        """Everything as text; `observer_up` is 0 when the storage cannot be read."""
        return generate_latest(self._registry)

    # ------------------------------------------------------------------ what a scrape asks

    def collect(self) -> Iterator[Metric]:
        """The registry calls this; use `render`."""
        yield from self._counted()
        try:
            families = [*self._journals(), *self._lags(), *self._ages()]
        except (ObserverError, OSError):
            families = []
        yield from families
        yield GaugeMetricFamily("observer_up", "1 while the journals can be read.", float(bool(families)))
        build = self._observer.build
        yield InfoMetricFamily(
            "observer_build", "What runs.", {"version": build.version, "lock": build.lock[:12]}
        )

    def _counted(self) -> Iterator[Metric]:
        with self._lock:
            counts = {name: sorted(rows.items()) for name, rows in self._counts.items()}
            seconds = {stage: list(row) for stage, row in sorted(self._seconds.items())}
        for name, (text, labels) in _COUNTERS.items():
            family = CounterMetricFamily(f"observer_{name}", text, labels=labels)
            for values, count in counts[name]:
                family.add_metric(values, count)
            yield family
        histogram = HistogramMetricFamily(
            "observer_stage_seconds", "How long one turn of a stage took.", labels=["stage"]
        )
        bounds = [*(repr(bound) for bound in BUCKETS), "+Inf"]
        for stage, row in seconds.items():
            histogram.add_metric([stage], list(zip(bounds, accumulate(row[:-1]))), row[-1])
        yield histogram
        workers = self._observer.workers()
        conflicts = sum(worker.conflicts for worker in workers)
        quarantines = sum(worker.quarantines for worker in workers)
        yield CounterMetricFamily("observer_conflicts", "Commits that another worker was ahead of.", conflicts)
        yield CounterMetricFamily("observer_quarantines", "Entries set aside by this process.", quarantines)

    def _journals(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_journal_position", "Records in a journal.", labels=["journal"]
        )
        for name in self._observer.journals.names():
            family.add_metric([name], self._observer.journals.open(name).head().position)
        yield family

    def _lags(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_stage_lag_seconds",
            "How far a stage (recognise: its slowest source) is behind its domain's time; +Inf: never worked.",
            labels=["domain", "stage"],
        )
        for domain in self._gate.domains():
            now_ns = self._gate.now_ns(domain)
            stages = {
                "recognise": self._observer.journals.names("patterns", domain),
                "publish": [f"events.{domain}"],
                "decide": [f"decisions.{domain}"],
            }
            for stage, names in stages.items():
                family.add_metric([domain, stage], max((self._lag(n, now_ns) for n in names), default=math.inf))
        yield family

    def _lag(self, journal: str, now_ns: int) -> float:
        return _age(now_ns, self._observer.journals.open(journal).head().through_ns)

    def _ages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_source_age_seconds",
            "How old the newest snapshot of a source is in its domain's time; +Inf: has none.",
            labels=["source"],
        )
        journals = self._observer.journals
        for domain in self._gate.domains():
            now_ns = self._gate.now_ns(domain)
            for name in journals.names("snapshots", domain):
                family.add_metric([name.partition(".")[2]], _age(now_ns, journals.open(name).head().time_ns))
        yield family


def _age(now_ns: int, then_ns: int) -> float:
    return max(0, now_ns - then_ns) / SECOND if then_ns else math.inf

