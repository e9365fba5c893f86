"""Application metrics: what happens is counted, what can be read is read when somebody asks.

The instruments are those of `telemetry.instruments`; here are their values, once, for Prometheus' text
format and for whoever else reads them (`telemetry.export`). A count costs about a microsecond and asks
the storage nothing (but for what a decision cites, whose lag is taken). Counts are of what this process
has committed, so that those of several processes may be added. No globals: each has a registry of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from observer_core.runtime.gate.desk import Answered, Question, Told
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.runtime.source_kinds import LIVE
from observer_core.runtime.telemetry import instruments as its
from observer_core.runtime.telemetry.commits import Committed
from observer_core.runtime.telemetry.gauges import Gauges
from observer_core.runtime.telemetry.instruments import (
    INSTRUMENTS,
    SECONDS,
    Counter,
    Distribution,
    Histogram,
    Instrument,
    Labels,
    folded,
)
from observer_core.runtime.telemetry.origin import cause
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ObserverError, StorageUnavailable
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Decision, DeliveryResult, Event, PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.storage.operations import Operations

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
BUCKETS: Final = SECONDS
"""Upper bounds of `stage_seconds`, in seconds."""
_LAGS: Final = 20
"""Of a commit the lag of so many decisions is taken: what they follow from may have to be read for it."""
_KEPT_SECONDS: Final = 1.0
"""Gauges that were read so lately are not read again: one look is asked for instrument by instrument."""
_log = structlog.get_logger("observer.metrics")


class Metrics:
    """Counts for one Observer. All methods may be called from any thread."""

    def __init__(self, observer: Observer, gate: Gate | None = None) -> None:
        self._observer = observer
        self._gate = gate or Gate(observer.journals, observer.settings, observer.clock)
        self._most = observer.settings.telemetry.series
        self._counters = {item: Counter(item, self._most) for item in INSTRUMENTS if item.kind == "counter"}
        self._histograms = {
            item: Histogram(item, self._most) for item in INSTRUMENTS if item.kind == "histogram"
        }
        self._lock = threading.Lock()
        self._gauges = Gauges(observer, self._gate)
        self._reading = threading.Lock()
        self._read: tuple[float, dict[Instrument, dict[Labels, float]] | None] | None = None
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(namespace="observer", registry=self._registry)
        observer.commits.listen(self.committed)

    # ------------------------------------------------------------------ what happens

    def committed(self, committed: Committed) -> None:
        """This process has committed records."""
        kind, _, name = committed.journal.partition(".")
        counters, decided = self._counters, False
        with self._lock:
            counters[its.WRITTEN].add((committed.journal,), committed.size)
            for record in committed.records:
                if isinstance(record, Snapshot):
                    counters[its.SNAPSHOTS].add((name, record.status))
                    values = len(record.fields) * len(record.subjects)
                    counters[its.OBSERVATIONS].add((name,), values)
                    self._gauges.snapshot(record)
                elif isinstance(record, PatternRecord):
                    counters[its.PATTERNS].add((name, record.pattern))
                elif isinstance(record, Event):
                    counters[its.EVENTS].add((name, record.type))
                elif isinstance(record, Decision):
                    counters[its.DECISIONS].add((name, record.verdict))
                    decided = True
                elif isinstance(record, DeliveryResult):
                    counters[its.DELIVERIES].add((record.subscription, record.outcome))
                    seconds = record.latency_ns / SECOND
                    self._histograms[its.DELIVERY].observe((record.subscription,), seconds)
        if decided and name == LIVE and kind == "decisions":
            self._decided(committed)

    def _decided(self, committed: Committed) -> None:
        """How long after its snapshot was known each decision stands that came of an event at hand."""
        journals, now_ns = self._observer.journals, self._observer.clock.now_ns()
        consumed = [(item.journal, item.first, item.last) for item in committed.inputs if not item.skipped]
        lags: dict[str, float] = {}
        for position, record in enumerate(committed.records, committed.first):
            if len(lags) >= _LAGS:
                break
            if not isinstance(record, Decision) or not record.causation:
                continue
            try:
                name, place = parse_ref(record.causation[0])
                at_hand = any(name == it and first <= place <= last for it, first, last in consumed)
                if not at_hand or record.causation[0] in lags:
                    continue
                event = cause(journals, Entry(committed.journal, position, record))
                pattern = None if event is None else cause(journals, event)
            except StorageUnavailable:
                break  # nor the time of another try
            except (ObserverError, ValueError):  # a metric is not worth a failure
                continue
            if pattern is not None and isinstance(pattern.record, PatternRecord):
                lags[record.causation[0]] = max(0, now_ns - pattern.record.time_ns) / SECOND
        with self._lock:
            for lag in lags.values():
                self._histograms[its.LAG].observe((committed.journal.partition(".")[2],), lag)

    def tick(self, seconds: float, snapshots: int = 1) -> None:
        """Snapshots went through all stages in `seconds` (stage `tick`), all of them together."""
        if snapshots:
            self.stage("tick", seconds)

    def stage(self, stage: str, seconds: float) -> None:
        """A stage has worked for so long."""
        self._observe(its.STAGE, (stage,), seconds)

    def loop(self, delay: float) -> None:
        """The loop came to its tick so many seconds after it was due."""
        self._observe(its.LOOP, (), delay)

    def asked(self, question: Question) -> Told:
        """The gate was asked; gives who is to be told of the answer."""
        tracing = self._observer.tracing
        if tracing is None:
            return self.answered
        parent = tracing.here()

        def told(answered: Answered, seconds: float) -> None:
            self.answered(answered, seconds)
            tracing.answered(question, answered, seconds, parent)

        return told

    def answered(self, answered: Answered, seconds: float) -> None:
        """The gate has answered a question that came so many seconds ago."""
        answer = answered.answer
        with self._lock:
            decision = "allow" if answered.allowed else "deny"
            self._counters[its.ANSWERS].add((answer.domain, decision))
            if decision == "deny":
                for code in {str(reason.get("code", "")) for reason in answer.reasons}:
                    self._counters[its.DENIALS].add((answer.domain, code))
            self._histograms[its.GATE].observe((), seconds)

    def refused(self, reason: str) -> None:
        """A request was refused because of who did, or did not, call."""
        self._add(its.REFUSALS, (reason,))

    def pinged(self, outcome: str) -> None:
        """Somebody outside was told, or was to be told, that the Observer is well."""
        self._add(its.PINGS, (outcome,))

    def _add(self, instrument: Instrument, labels: Labels) -> None:
        with self._lock:
            self._counters[instrument].add(labels)

    def _observe(self, instrument: Instrument, labels: Labels, value: float) -> None:
        with self._lock:
            self._histograms[instrument].observe(labels, value)

    # ------------------------------------------------------------------ what is asked

    def values(self, instrument: Instrument) -> dict[Labels, float]:
        """A counter's or gauge's series now; a gauge has none while the storage does not answer."""
        if instrument.kind == "gauge":
            read = self._gauges_now()
            if instrument is its.UP:
                return {(): float(read is not None)}
            return {} if read is None else read.get(instrument, {})
        if instrument in (its.CONFLICTS, its.QUARANTINES, its.OPERATIONS):
            return self._of_others(instrument)
        with self._lock:
            return self._counters[instrument].values()

    def distributions(self, instrument: Instrument) -> dict[Labels, Distribution]:
        """A histogram's series now."""
        with self._lock:
            return self._histograms[instrument].values()

    def histograms(self) -> list[Histogram]:
        return list(self._histograms.values())

    def render(self) -> bytes:
        """Everything as text; `observer_up` is 0 when the storage cannot be read."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The registry calls this; use `render`."""
        with self._reading:
            self._read = None
        for instrument in INSTRUMENTS:
            name, text, labels = instrument.name, instrument.text, instrument.labels
            if instrument.kind == "histogram":
                histogram = HistogramMetricFamily(name, text, labels=labels)
                bounds = [*map(repr, instrument.bounds), "+Inf"]
                for key, found in self.distributions(instrument).items():
                    histogram.add_metric(key, list(zip(bounds, accumulate(found.counts))), found.total)
                yield histogram
                continue
            made = CounterMetricFamily if instrument.kind == "counter" else GaugeMetricFamily
            family = made(name, text, labels=labels)
            for key, value in self.values(instrument).items():
                family.add_metric(key, value)
            yield family
        build = self._observer.build
        yield InfoMetricFamily(
            "observer_build", "What runs.", {"version": build.version, "lock": build.lock[:12]}
        )

    def _of_others(self, instrument: Instrument) -> dict[Labels, float]:
        """What workers and the storage count themselves."""
        if instrument is its.OPERATIONS:
            operations = getattr(self._observer.storage, "operations", None)
            if not isinstance(operations, Operations):
                return {}
            return {(kind,): count for kind, count in sorted(operations.counts().items())}
        workers = self._observer.workers()
        if instrument is its.CONFLICTS:
            return {(): sum(worker.conflicts for worker in workers)}
        return {(): sum(worker.quarantines for worker in workers)}

    def _gauges_now(self) -> dict[Instrument, dict[Labels, float]] | None:
        with self._reading:
            if self._read is None or time.monotonic() - self._read[0] > _KEPT_SECONDS:
                found = self._read_gauges()  # however long that takes, it is as of now
                self._read = time.monotonic(), found
            return self._read[1]

    def _read_gauges(self) -> dict[Instrument, dict[Labels, float]] | None:
        try:
            found = self._gauges.read()
        except (ObserverError, OSError) as error:
            _log.warning("the journals cannot be read for metrics", error=str(error))
            return None
        settings = self._observer.settings
        first = [name for item in settings.source for name in settings.parts_of(item.name)]
        return {item: folded(item, values.items(), self._most, first) for item, values in found.items()}
