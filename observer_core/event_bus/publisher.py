"""The publish stage: patterns of many sources become one stream of events in one total order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from observer_core.event_bus.incidents import Incident, Incidents
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.ids import derive
from observer_core.shared.records import Event, Json, Note, PatternRecord, Severity
from observer_core.shared.stage import Entry

TYPE_PREFIX = "io.qts.observer."
_FEED_TYPES = {
    "feed_stale": "feed.stale", "feed_resumed": "feed.resumed", "feed_flat": "feed.flat",
    "feed_unavailable": "feed.unavailable", "feed_available": "feed.available",
}  # fmt: skip


class PublisherConfig(Config):
    """`incident_severity`: the least severity that opens or joins an incident.

    `quiet`: how long nothing must be added before an incident is over (at least three
    cadences of the source are waited).
    """

    incident_severity: Severity = "warning"
    quiet: Annotated[DurationNs, Field(gt=0)] = 15 * 60 * SECOND


@dataclass(slots=True)
class PublisherState:
    incidents: Incidents
    time_ns: int = 0
    sequence: int = 0
    views_version: int = 0


class Publisher:
    """One event per pattern, in recorded order, and the life of the incidents they form.

    Reads `patterns.<source>` of every source of the domain (patterns, quarantine and
    redrive notes), its dead letters and its clock. An event's time is the domain's: it never
    decreases. Incidents that are due end before the entry that shows their time has
    come, stamped with the moment they were due, so neither batches nor the calls of
    `advance` change what is written.
    """

    name = "publish"
    version = "1"

    def __init__(self, domain: str, config: PublisherConfig | None = None) -> None:
        self.domain = domain
        self._config = config or PublisherConfig()

    def config(self) -> Mapping[str, Any]:
        return {"domain": self.domain, **self._config.canonical()}

    def initial(self) -> PublisherState:
        return PublisherState(self._incidents(()))

    def transition(self, state: PublisherState, entry: Entry) -> Sequence[Event]:
        record = entry.record
        if not isinstance(record, PatternRecord) and not (isinstance(record, Note) and record.kind in _NOTES):
            return ()
        now_ns = max(state.time_ns, record.time_ns)
        events = self._resolve(state, now_ns)
        state.time_ns = now_ns
        if isinstance(record, PatternRecord):
            events += self._pattern(state, record, entry.ref)
        elif record.kind == "dead_letter":
            if record.body["state"] == "buried":
                events.append(self._dead_letter(state, record.body, entry.ref))
        elif record.kind != "tick":
            events.append(self._set_aside(state, record, entry))
        return events

    def advance(self, state: PublisherState, through_ns: int) -> Sequence[Event]:
        return self._resolve(state, through_ns)

    def views(self, state: PublisherState) -> Mapping[str, Any]:
        """`incidents`: the open ones, by age."""
        return {"incidents": {"open": state.incidents.view()}}

    def views_version(self, state: PublisherState) -> int:
        return state.views_version

    def dump(self, state: PublisherState) -> bytes:
        opened = state.incidents.open
        return encode({
            "time_ns": state.time_ns, "sequence": state.sequence, "views_version": state.views_version,
            "incidents": [opened[source].dump() for source in sorted(opened)],
        })  # fmt: skip

    def load(self, blob: bytes) -> PublisherState:
        value = decode(blob)
        value["incidents"] = self._incidents([Incident.load(item) for item in value["incidents"]])
        return PublisherState(**value)

    def _incidents(self, opened: Sequence[Incident]) -> Incidents:
        return Incidents(self.domain, self._config.incident_severity, self._config.quiet, opened)

    def _pattern(self, state: PublisherState, pattern: PatternRecord, ref: str) -> list[Event]:
        known = state.incidents.open.get(pattern.source)
        severity = known.severity if known else None
        incident, change = state.incidents.take(pattern, ref, state.time_ns)
        kind = _FEED_TYPES.get(pattern.pattern, f"pattern.{pattern.pattern}")
        events = [
            self._event(
                state, kind, pattern.source, _subject(pattern), _pattern_data(pattern), ref,
                pattern.severity, incident.id if incident else "",
            )
        ]  # fmt: skip
        if incident and change:
            events.append(self._incident_event(state, incident, change))
        if incident and incident.severity != severity:
            state.views_version += 1
        return events

    def _resolve(self, state: PublisherState, through_ns: int) -> list[Event]:
        events = []
        for due_ns, incident in state.incidents.resolve(through_ns):
            state.time_ns = max(state.time_ns, due_ns)
            state.views_version += 1
            events.append(self._incident_event(state, incident, "resolved"))
        return events

    def _incident_event(self, state: PublisherState, incident: Incident, change: str) -> Event:
        data = incident.data("resolved" if change == "resolved" else "open")
        return self._event(
            state, f"incident.{change}", incident.source, incident.source, data,
            incident.cause, incident.severity, incident.id,
        )  # fmt: skip

    def _set_aside(self, state: PublisherState, note: Note, entry: Entry) -> Event:
        """A record of a source was quarantined, or put back; its journal is `patterns.<source>`."""
        source = entry.journal.partition(".")[2] or entry.journal
        kind, severity = _NOTES[note.kind]
        return self._event(state, kind, source, source, dict(note.body), entry.ref, severity, "")

    def _dead_letter(self, state: PublisherState, letter: Mapping[str, Any], ref: str) -> Event:
        """A message of the Functions app could not be worked. It carried no truth, so it closes nothing."""
        data = {name: letter[name] for name in ("id", "queue", "stage", "message_id", "dequeue_count")}
        return self._event(state, "dead_letter", "functions", letter["stage"], data, ref, "critical", "")

    def _event(
        self, state: PublisherState, kind: str, source: str, subject: str, data: Json,
        ref: str, severity: Severity, incident: str,
    ) -> Event:  # fmt: skip
        state.sequence += 1
        full = TYPE_PREFIX + kind
        return Event(
            id=derive("event", full, ref), source=f"/qts/observer/{self.domain}/{source}", type=full,
            subject=subject, time_ns=state.time_ns, data=data, partitionkey=f"{source}/{subject}",
            sequence=f"{state.sequence:020d}", causationid=ref, correlationid=incident, severitytext=severity,
        )  # fmt: skip


_NOTES: Mapping[str, tuple[str, Severity]] = {
    "quarantine": ("quarantined", "critical"), "redrive": ("redriven", "info"), "tick": ("", "info"),
    "dead_letter": ("dead_letter", "critical"),
}  # fmt: skip


def _subject(pattern: PatternRecord) -> str:
    """The series' subject; the source's name when there are several, or it is `*`."""
    subjects = {subject for _, subject, _ in pattern.series} - {"*"}
    return subjects.pop() if len(subjects) == 1 else pattern.source


def _pattern_data(pattern: PatternRecord) -> Json:
    return {
        "id": pattern.id, "pattern": pattern.pattern, "series": [list(series) for series in pattern.series],
        "score": pattern.score, "severity": pattern.severity, "direction": pattern.direction,
        "tags": list(pattern.tags), "detector": pattern.detector, "evidence": dict(pattern.evidence),
        "snapshot": pattern.snapshot, "event_ns": pattern.event_ns, "cadence_ns": pattern.cadence_ns,
    }  # fmt: skip
