"""Every instrument there is: its name, unit and labels, said once for Prometheus and OpenTelemetry.

Series are bounded: of a metric with labels so many are told apart, what comes later is added to one
whose labels are all `other`. A counter's series never becomes another one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Labels = tuple[str, ...]
OTHER: Final = "other"
SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
LONGER: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of histograms, in seconds."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """`unit` is UCUM's (`s`, `By`, `{snapshot}`), as OpenTelemetry has it.

    `fold`: what one series says for several, where there are too many gauges: their sum, or the largest.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    text: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    fold: Literal["sum", "max"] = "max"


def _counter(name: str, unit: str, text: str, *labels: str) -> Instrument:
    return Instrument(name, "counter", unit, text, labels)


def _histogram(name: str, text: str, *labels: str, bounds: tuple[float, ...] = SECONDS) -> Instrument:
    return Instrument(name, "histogram", "s", text, labels, bounds)


def _gauge(
    name: str, unit: str, text: str, *labels: str, fold: Literal["sum", "max"] = "max"
) -> Instrument:  # fmt: skip
    return Instrument(name, "gauge", unit, text, labels, fold=fold)


SNAPSHOTS = _counter(
    "observer_snapshots_total", "{snapshot}", "Snapshots committed by this process.", "source", "status"
)
OBSERVATIONS = _counter(
    "observer_observations_total", "{value}", "Values observed, those that were missing included.", "source"
)
PATTERNS = _counter(
    "observer_patterns_total", "{pattern}", "Patterns recognised by this process.", "source", "pattern"
)
EVENTS = _counter("observer_events_total", "{event}", "Events published by this process.", "domain", "type")
DECISIONS = _counter(
    "observer_decisions_total", "{decision}", "Decisions taken by this process.", "domain", "verdict"
)
DELIVERIES = _counter(
    "observer_deliveries_total", "{attempt}", "Attempts to deliver a record.", "subscription", "outcome"
)
ANSWERS = _counter(
    "observer_gate_answers_total", "{answer}", "Questions that the gate has answered.", "domain", "decision"
)
DENIALS = _counter(
    "observer_gate_denials_total", "{reason}",
    "Reasons of the gate's denials; a denial with several counts for each.", "domain", "reason",
)  # fmt: skip
REFUSALS = _counter(
    "observer_refusals_total", "{request}",
    "Requests refused because nobody knew, or believed, who called.", "reason",
)  # fmt: skip
CONFLICTS = _counter("observer_conflicts_total", "{commit}", "Commits that another worker was ahead of.")
QUARANTINES = _counter("observer_quarantines_total", "{entry}", "Entries set aside by this process.")
OPERATIONS = _counter(
    "observer_storage_operations_total", "{operation}",
    "What the storage account was asked by this process, as it is billed.", "kind",
)  # fmt: skip
WRITTEN = _counter(
    "observer_journal_written_bytes_total", "By", "Bytes of records that this process has committed.",
    "journal",
)  # fmt: skip
PINGS = _counter(
    "observer_heartbeat_pings_total", "{ping}", "What came of telling that the Observer is well.", "outcome"
)

STAGE = _histogram("observer_stage_seconds", "How long one turn of a stage took.", "stage")
LAG = _histogram(
    "observer_decision_lag_seconds",
    "From a snapshot's being known to the commit of what was decided from it; live domains.",
    "domain", bounds=LONGER,
)  # fmt: skip
GATE = _histogram("observer_gate_request_seconds", "From a question's coming to the recorded answer.")
LOOP = _histogram(
    "observer_loop_delay_seconds", "How much later than due the loop came to its tick.", bounds=LONGER
)
DELIVERY = _histogram(
    "observer_delivery_seconds", "How long an attempt to deliver took.", "subscription", bounds=LONGER
)

POSITION = _gauge(
    "observer_journal_position", "{record}", "Records in a journal, by whomever.", "journal", fold="sum"
)
STAGE_LAG = _gauge(
    "observer_stage_lag_seconds", "s",
    "How far a stage is behind its domain's time (recognise: behind the newest snapshot of its slowest "
    "source); +Inf: no work yet.",
    "domain", "stage",
)  # fmt: skip
CHECKPOINT_AGE = _gauge(
    "observer_checkpoint_age_seconds", "s",
    "How long ago this process has committed a checkpoint of the stage (recognise: of its slowest source).",
    "domain", "stage",
)  # fmt: skip
WAITING = _gauge(
    "observer_subscription_lag_records", "{record}", "Records that wait to be delivered to a subscriber.",
    "domain", "subscription", fold="sum",
)  # fmt: skip
SOURCE_AGE = _gauge(
    "observer_source_age_seconds", "s",
    "How old the newest snapshot of a source is in its domain's time; +Inf: has none.", "source",
)  # fmt: skip
SOURCE_DELAY = _gauge(
    "observer_source_delay_seconds", "s",
    "From what happened (of a bar: its start) to its being learnt: the least and the median of the newest "
    "snapshots. A least below zero: the source's clock is ahead.",
    "source", "of",
)  # fmt: skip
ANCHOR_AGE = _gauge(
    "observer_anchor_age_seconds", "s",
    "How old the newest anchor of the ledger is, and the newest that was sent out of the store; +Inf: none.",
    "of",
)  # fmt: skip
UPKEEP_AGE = _gauge(
    "observer_upkeep_age_seconds", "s",
    "How long ago maintenance, a backup or the like has last recorded that it did something.", "kind",
)  # fmt: skip
UP = _gauge("observer_up", "1", "1 while the journals can be read.")

INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    SNAPSHOTS, OBSERVATIONS, PATTERNS, EVENTS, DECISIONS, DELIVERIES, ANSWERS, DENIALS, REFUSALS, CONFLICTS,
    QUARANTINES, OPERATIONS, WRITTEN, PINGS,
    STAGE, LAG, GATE, LOOP, DELIVERY,
    POSITION, STAGE_LAG, CHECKPOINT_AGE, WAITING, SOURCE_AGE, SOURCE_DELAY, ANCHOR_AGE, UPKEEP_AGE, UP,
)  # fmt: skip


class Counter:
    """The series of one counter. Not for two threads at once."""

    def __init__(self, instrument: Instrument, most: int) -> None:
        self.instrument = instrument
        self._most = most
        self._rows: dict[Labels, float] = {}

    def add(self, labels: Labels, count: float = 1) -> None:
        rows = self._rows
        if labels in rows:
            rows[labels] += count
        else:
            labels = room(rows, labels, self._most)
            rows[labels] = rows.get(labels, 0) + count

    def values(self) -> dict[Labels, float]:
        return dict(sorted(self._rows.items()))


@dataclass(slots=True)
class Distribution:
    """How often a value was in each bucket (the last one is above all bounds), and their sum."""

    counts: list[int]
    total: float = 0.0


class Histogram:
    """The series of one histogram. Not for two threads at once."""

    def __init__(self, instrument: Instrument, most: int) -> None:
        self.instrument = instrument
        self.also: Callable[[float, Mapping[str, str]], None] | None = None
        """Who is told each value too: what has no instruments that can be read later."""
        self._most = most
        self._rows: dict[Labels, Distribution] = {}

    def observe(self, labels: Labels, value: float) -> None:
        row = self._rows.get(labels)
        if row is None:
            labels = room(self._rows, labels, self._most)
            empty = Distribution([0] * (len(self.instrument.bounds) + 1))
            row = self._rows.setdefault(labels, empty)
        row.counts[bisect_left(self.instrument.bounds, value)] += 1
        row.total += value
        if self.also is not None:
            self.also(value, dict(zip(self.instrument.labels, labels)))

    def values(self) -> dict[Labels, Distribution]:
        rows = sorted(self._rows.items())
        return {labels: Distribution(list(row.counts), row.total) for labels, row in rows}


def room(rows: Mapping[Labels, object], labels: Labels, most: int) -> Labels:
    """The labels under which a new series is kept: its own, while there is room for it and for `other`."""
    return labels if len(rows) < most - 1 or not labels else (OTHER,) * len(labels)


def folded(
    instrument: Instrument, values: Iterable[tuple[Labels, float]], most: int, first: Sequence[str] = ()
) -> dict[Labels, float]:
    """Gauges, at most `most`: those with a label of `first` come before others; the rest is folded."""
    wanted = frozenset(first)
    known = sorted(values, key=lambda item: (wanted.isdisjoint(item[0]), item[0]))
    if len(known) <= most:
        return dict(known)
    kept, rest = known[: most - 1], [value for _, value in known[most - 1 :]]
    one = sum(rest) if instrument.fold == "sum" else max(rest)
    return {**dict(kept), (OTHER,) * len(instrument.labels): one}
