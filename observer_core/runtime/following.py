"""What has been committed lately, for those who tell people: the console and the log files."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from observer_core.runtime.telemetry.origin import origin
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.ids import trace_of
from observer_core.shared.records import Decision, PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.storage.journals import Journals

_SUMMARY_NS = 60 * SECOND


class Follower:
    """The new entries of all journals of some kinds, each once, from the moment it was made."""

    def __init__(self, journals: Journals, kinds: Sequence[str]) -> None:
        self._journals = journals
        self._kinds = kinds
        self._seen: dict[str, int] = {}
        for kind in kinds:
            for name in journals.names(kind):
                self._seen[name] = journals.open(name).head().position

    def new(self) -> list[Entry]:
        """In order of time; what one process commits is there, what others do may be missed."""
        found: list[Entry] = []
        for kind in self._kinds:
            for name in self._journals.names(kind):
                journal = self._journals.open(name)
                after, head = self._seen.get(name, 0), journal.head(refresh=False).position
                if head > after:
                    found += journal.read(after)
                    self._seen[name] = head
        return sorted(found, key=lambda entry: entry.time_ns)


class Logbook:
    """`pattern.log` and `decision.log` record by record; `snapshot.log` by status and by the minute."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._follower = Follower(journals, ("patterns", "decisions"))
        self._patterns = structlog.get_logger("observer.pattern")
        self._decisions = structlog.get_logger("observer.decision")
        self._snapshots = structlog.get_logger("observer.snapshot")
        self._status: dict[str, tuple[str, str | None]] = {}
        self._counted: dict[str, list[int]] = {}
        self._next_summary = 0

    def write(self) -> None:
        """Everything that was committed since the last call."""
        for entry in self._follower.new():
            record = entry.record
            if isinstance(record, PatternRecord):
                self._patterns.info(
                    record.pattern, ref=entry.ref, id=record.id, time=format_time(record.time_ns),
                    source=record.source, series=[list(item[1:]) for item in record.series[:5]],
                    series_count=len(record.series), severity=record.severity, score=round(record.score, 4),
                    direction=record.direction, snapshot=record.snapshot,
                    trace_id=trace_of(record.snapshot)[0],
                )  # fmt: skip
            elif isinstance(record, Decision):
                self._decisions.info(
                    record.verdict, ref=entry.ref, id=record.id, time=format_time(record.time_ns),
                    scope=record.scope, policy=record.policy, severity=record.severity,
                    reason=record.reasons[0].get("text") or record.reasons[0].get("code"),
                    until=None if record.until_ns is None else format_time(record.until_ns),
                    causation=list(record.causation), trace_id=trace_of(origin(self._journals, entry))[0],
                )  # fmt: skip

    def snapshot(self, source: str, snapshot: Snapshot, values: int) -> None:
        """Counts one; a line at once when the source's state has changed."""
        state = (snapshot.status, snapshot.error)
        if self._status.get(source) != state:
            self._status[source] = state
            level = self._snapshots.info if snapshot.status == "ok" else self._snapshots.warning
            level(
                "source is " + snapshot.status, source=source, error=snapshot.error,
                subjects=len(snapshot.subjects), time=format_time(snapshot.ingest_ns),
            )  # fmt: skip
        self.count(source, 1, values)

    def count(self, source: str, snapshots: int, values: int) -> None:
        counted = self._counted.setdefault(source, [0, 0])
        counted[0] += snapshots
        counted[1] += values

    def summary(self, now_ns: int) -> None:
        """Once a minute: what has been collected since the last time."""
        if now_ns < self._next_summary:
            return
        if self._next_summary:
            for source, (snapshots, values) in self._counted.items():
                self._snapshots.info("collected", source=source, snapshots=snapshots, observations=values)
        self._counted.clear()
        self._next_summary = now_ns + _SUMMARY_NS
