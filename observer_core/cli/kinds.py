"""What a listing shows of each kind of record: its columns, and a record's cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from observer_core.cli.moments import second
from observer_core.runtime.audit.stored import Stored
from observer_core.runtime.reading import words
from observer_core.shared.records import Decision, Event, PatternRecord, Snapshot


@dataclass(frozen=True, slots=True)
class Shown:
    columns: Sequence[tuple[str, int]]
    cells: Callable[[Stored], Sequence[str]]


def _snapshot_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Snapshot):
        return [second(record.time_ns), stored.ref, *words.noted(record)]
    return [second(record.time_ns), stored.ref, record.status, words.values(record)]


def _pattern_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, PatternRecord):
        return [second(record.time_ns), stored.ref, "", *words.noted(record), ""]
    return [
        second(record.time_ns), stored.ref, record.severity, record.pattern, words.series(record),
        words.measured(record),
    ]  # fmt: skip


def _event_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Event):
        return [second(record.time_ns), stored.ref, "", *words.noted(record)]
    return [second(record.time_ns), stored.ref, record.severitytext, words.kind(record), words.about(record)]


def _decision_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Decision):
        return [second(record.time_ns), stored.ref, "", *words.noted(record), ""]
    return [
        second(record.time_ns), record.id[:12], record.severity, record.verdict, record.scope,
        words.why(record),
    ]  # fmt: skip


_TIME, _REF, _SEVERITY = ("time", 20), ("ref", 26), ("severity", 8)
SHOWN: Mapping[str, Shown] = {
    "snapshots": Shown((_TIME, _REF, ("status", 11), ("values", 0)), _snapshot_cells),
    "patterns": Shown(
        (_TIME, _REF, _SEVERITY, ("kind", 16), ("series", 20), ("evidence", 0)), _pattern_cells
    ),
    "events": Shown((_TIME, _REF, _SEVERITY, ("type", 24), ("about", 0)), _event_cells),
    "decisions": Shown(
        (_TIME, ("id", 12), _SEVERITY, ("verdict", 13), ("scope", 22), ("why", 0)), _decision_cells
    ),
}
