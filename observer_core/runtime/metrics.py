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
from collections.abc import Iterator
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

from observer_core.runtime.delays import delay_of
from observer_core.runtime.deliveries import progress, subscriptions
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ObserverError
from observer_core.shared.records import Decision, DeliveryResult, Event, PatternRecord
from observer_core.shared.stage import Entry
from observer_core.storage.journal import Journal
from observer_core.storage.operations import Operations

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
    "refusals": ("Requests refused because nobody knew, or believed, who called.", ("reason",)),
}

_ENTRIES_A_SCRAPE: Final = 20_000
_DELAYS_A_SCRAPE: Final = 50
_Labels = tuple[str, ...]


class Metrics:
    """Counts for one Observer. All methods may be called from any thread."""

    def __init__(self, observer: Observer, gate: Gate | None = None) -> None:
        self._observer = observer
        self._gate = gate or Gate(observer.journals, observer.settings, observer.clock)
        self._counts: dict[str, dict[_Labels, int]] = {name: defaultdict(int) for name in _COUNTERS}
        self._ticks: dict[_Labels, list[float]] = defaultdict(lambda: [0, 0])
        self._seconds: dict[str, list[float]] = defaultdict(lambda: [0] * (len(BUCKETS) + 2))
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._read_up_to = {journal.name: journal.head().position for journal in self._read_journals()}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace="observer", registry=self._registry)

    def tick(self, source: str, status: str, values: int, seconds: float, *, snapshots: int = 1) -> None:
        """Snapshots with `values` values in all went through all stages in `seconds` (stage `tick`)."""
        with self._lock:
            row = self._ticks[source, status]
            row[0] += snapshots
            row[1] += values
            row = self._seconds["tick"]
            row[bisect_left(BUCKETS, seconds)] += 1
            row[-1] += seconds

    def stage(self, stage: str, seconds: float) -> None:
        """A stage has worked for so long."""
        with self._lock:
            row = self._seconds[stage]
            row[bisect_left(BUCKETS, seconds)] += 1
            row[-1] += seconds

    def refused(self, reason: str) -> None:
        """A request was refused because of who did, or did not, call."""
        with self._lock:
            self._counts["refusals"][reason,] += 1

    def render(self) -> bytes:
        """Everything as text; `observer_up` is 0 when the storage cannot be read."""
        return generate_latest(self._registry)

    # ------------------------------------------------------------------ what a scrape asks

    def collect(self) -> Iterator[Metric]:
        """The registry calls this; use `render`."""
        try:
            self._read_on()
            families = [*self._journals(), *self._lags(), *self._waiting(), *self._ages()]
        except (ObserverError, OSError):
            families = []
        yield from self._counted()
        yield from families
        yield GaugeMetricFamily("observer_up", "1 while the journals can be read.", float(bool(families)))
        build = self._observer.build
        yield InfoMetricFamily(
            "observer_build", "What runs.", {"version": build.version, "lock": build.lock[:12]}
        )

    def _read_on(self) -> None:
        """Counts what was committed since the last scrape, by whomever; a flood in several scrapes."""
        with self._reading:
            for journal in self._read_journals():
                after = self._read_up_to.get(journal.name, 0)
                if journal.head().position <= after:
                    continue
                entries = journal.read(after, _ENTRIES_A_SCRAPE)
                for entry in entries:
                    self._count(entry)
                self._read_up_to[journal.name] = entries[-1].position

    def _count(self, entry: Entry) -> None:
        record, name = entry.record, entry.journal.partition(".")[2]
        if isinstance(record, PatternRecord):
            key: tuple[str, _Labels] = "patterns", (record.source, record.pattern)
        elif isinstance(record, Event):
            key = "events", (name, record.type)
        elif isinstance(record, Decision):
            key = "decisions", (name, record.verdict)
        elif isinstance(record, DeliveryResult):
            key = "deliveries", (record.subscription, record.outcome)
        else:
            return
        with self._lock:
            self._counts[key[0]][key[1]] += 1

    def _read_journals(self) -> Iterator[Journal]:
        journals = self._observer.journals
        for kind in ("patterns", "events", "decisions", "results"):
            yield from (journals.open(name) for name in journals.names(kind))

    def _counted(self) -> Iterator[Metric]:
        with self._lock:
            counts: dict[str, dict[_Labels, float]] = {name: {**rows} for name, rows in self._counts.items()}
            for (source, status), (snapshots, values) in self._ticks.items():
                counts["snapshots"][source, status] = snapshots
                counts["observations"][source,] = counts["observations"].get((source,), 0) + values
            seconds = {stage: list(row) for stage, row in sorted(self._seconds.items())}
        for name, (text, labels) in _COUNTERS.items():
            family = CounterMetricFamily(f"observer_{name}", text, labels=labels)
            for key, count in sorted(counts[name].items()):
                family.add_metric(key, count)
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
        yield CounterMetricFamily(
            "observer_conflicts", "Commits that another worker was ahead of.", conflicts
        )
        yield CounterMetricFamily("observer_quarantines", "Entries set aside by this process.", quarantines)
        operations = getattr(self._observer.storage, "operations", None)
        if isinstance(operations, Operations):
            family = CounterMetricFamily(
                "observer_storage_operations",
                "What the storage account was asked, as it is billed.",
                labels=["kind"],
            )
            for kind, count in sorted(operations.counts().items()):
                family.add_metric([kind], count)
            yield family

    def _journals(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("observer_journal_position", "Records in a journal.", labels=["journal"])
        for name in self._observer.journals.names():
            family.add_metric([name], self._observer.journals.open(name).head().position)
        yield family

    def _lags(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_stage_lag_seconds",
            "How far a stage is behind its domain's time (recognise: its slowest source); +Inf: no work yet.",
            labels=["domain", "stage"],
        )
        for domain in self._gate.domains():
            now_ns = self._gate.now_ns(domain)
            stages = {
                "recognise": self._observer.journals.names("patterns", domain),
                "publish": [f"events.{domain}"],
                "decide": [f"decisions.{domain}"],
                **({"route": routed} if (routed := self._observer.journals.names("routes", domain)) else {}),
            }
            for stage, names in stages.items():
                family.add_metric(
                    [domain, stage], max((self._lag(n, now_ns) for n in names), default=math.inf)
                )
        yield family

    def _waiting(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_subscription_lag_records",
            "Records that wait to be delivered to a subscriber.",
            labels=["domain", "subscription"],
        )
        journals, settings = self._observer.journals, self._observer.settings
        for domain in self._gate.domains():
            for name, config in subscriptions(journals, settings, domain).items():
                family.add_metric([domain, name], progress(journals, domain, config).lag or 0)
        yield family

    def _lag(self, journal: str, now_ns: int) -> float:
        return _age(now_ns, self._observer.journals.open(journal).head().through_ns)

    def _ages(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "observer_source_age_seconds",
            "How old the newest snapshot of a source is in its domain's time; +Inf: has none.",
            labels=["source"],
        )
        skew = GaugeMetricFamily(
            "observer_source_delay_seconds",
            "From what happened (of a bar: its start) to its being learnt: the least and the median of the "
            "newest snapshots. A least below zero: the source's clock is ahead.",
            labels=["source", "of"],
        )
        journals = self._observer.journals
        for domain in self._gate.domains():
            now_ns = self._gate.now_ns(domain)
            for name in journals.names("snapshots", domain):
                source, journal = name.partition(".")[2], journals.open(name)
                family.add_metric([source], _age(now_ns, journal.head().time_ns))
                delay = delay_of(journal, _DELAYS_A_SCRAPE)
                if delay is not None:
                    skew.add_metric([source, "least"], delay.least_ns / SECOND)
                    skew.add_metric([source, "median"], delay.median_ns / SECOND)
        yield family
        yield skew


def _age(now_ns: int, then_ns: int) -> float:
    return max(0, now_ns - then_ns) / SECOND if then_ns else math.inf
