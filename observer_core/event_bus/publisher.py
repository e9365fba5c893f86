"""The publish stage: patterns of many sources become one stream of events in one total order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from observer_core.event_bus import halts, market
from observer_core.event_bus.config import PublisherConfig
from observer_core.event_bus.halts import Halt, Halts
from observer_core.event_bus.incident import Incident
from observer_core.event_bus.incidents import Change, Incidents
from observer_core.shared.canonical import decode, encode
from observer_core.shared.conditions import event_kind
from observer_core.shared.ids import derive
from observer_core.shared.records import Event, Json, Note, PatternRecord, Severity
from observer_core.shared.stage import Entry

TYPE_PREFIX = "io.qts.observer."
MAX_CONDITIONS = 500
"""As many conditions of an incident that was ended by hand are told: what they keep from whom ends too."""

__all__ = ["TYPE_PREFIX", "Publisher", "PublisherConfig", "PublisherState"]


@dataclass(slots=True)
class PublisherState:
    incidents: Incidents
    halts: Halts
    time_ns: int = 0
    sequence: int = 0


class Publisher:
    """One event per pattern, in recorded order, and the life of the incidents they form.

    After a pattern's own event come those that follow from it: incidents that were merged, opened
    or changed, a `market_shock`, and the halt or reopening of a venue in several parts.

    Reads `patterns.<source>` of every source of the domain (patterns, quarantine and
    redrive notes), its dead letters, what is asked about its incidents (`commands.<domain>`)
    and its clock. An event's time is the domain's: it never decreases. Incidents that are due
    end before the entry that shows their time has come, stamped with the moment they were due,
    so neither batches nor the calls of `advance` change what is written.
    """

    name = "publish"
    version = "3"

    def __init__(self, domain: str, config: PublisherConfig | None = None) -> None:
        self.domain = domain
        self._config = config or PublisherConfig()

    def config(self) -> Mapping[str, Any]:
        return {"domain": self.domain, **self._config.canonical()}

    def initial(self) -> PublisherState:
        return PublisherState(Incidents(self.domain, self._config), Halts(self._config.venues))

    def transition(self, state: PublisherState, entry: Entry) -> Sequence[Event | Note]:
        record = entry.record
        if not isinstance(record, PatternRecord) and not (isinstance(record, Note) and record.kind in _NOTES):
            return ()
        now_ns = max(state.time_ns, record.time_ns)
        events: list[Event | Note] = [*self._resolve(state, now_ns)]
        state.time_ns = now_ns
        if isinstance(record, PatternRecord):
            events += self._pattern(state, record, entry.ref)
        elif record.kind == "dead_letter":
            if record.body["state"] == "buried":
                events.append(self._dead_letter(state, record.body, entry.ref))
        elif record.kind == "incident":
            events.append(self._end(state, record.body, entry.ref))
        elif record.kind != "tick":
            events.append(self._set_aside(state, record, entry))
        return events

    def advance(self, state: PublisherState, through_ns: int) -> Sequence[Event]:
        return self._resolve(state, through_ns)

    def views(self, state: PublisherState) -> Mapping[str, Any]:
        """`incidents`: the open ones, by age."""
        return {"incidents": {"open": state.incidents.view()}}

    def views_version(self, state: PublisherState) -> int:
        return state.incidents.version

    def dump(self, state: PublisherState) -> bytes:
        return encode({
            "time_ns": state.time_ns, "sequence": state.sequence, "incidents": state.incidents.dump(),
            "halts": state.halts.dump(),
        })  # fmt: skip

    def load(self, blob: bytes) -> PublisherState:
        value, state = decode(blob), self.initial()
        state.time_ns, state.sequence = value["time_ns"], value["sequence"]
        state.incidents.load(value["incidents"])
        if "halts" in value:  # version 1 knew none
            state.halts.load(value["halts"])
        return state

    def _pattern(self, state: PublisherState, pattern: PatternRecord, ref: str) -> list[Event]:
        incident, changes = state.incidents.take(pattern, ref, state.time_ns)
        kind = event_kind(pattern.pattern)
        events = [
            self._event(
                state, kind, pattern.source, _subject(pattern), _pattern_data(pattern), ref,
                pattern.severity, incident.id if incident else "",
            )
        ]  # fmt: skip
        events += [self._change(state, change, pattern, ref) for change in changes]
        if halt := state.halts.take(pattern):
            events.append(self._halt(state, halt, pattern, ref, incident.id if incident else ""))
        return events

    def _resolve(self, state: PublisherState, through_ns: int) -> list[Event]:
        events = []
        for change in state.incidents.resolve(through_ns):
            state.time_ns = max(state.time_ns, change.due_ns or 0)
            events.append(self._incident_event(state, change, change.incident.cause))
        return events

    def _end(self, state: PublisherState, asked: Mapping[str, Any], ref: str) -> Event | Note:
        """An operator ends an incident; what cannot be done is recorded with the reason."""
        by = {key: asked[key] for key in ("author", "reason", "principal") if key in asked}
        name, action = str(asked.get("id")), asked.get("action")
        incident = state.incidents.end(name, state.time_ns) if action == "end" else None
        if incident is None:
            why = f"no incident {name} is open" if action == "end" else f"action {action!r} is unknown"
            body = {**by, "action": action, "id": name, "refused": why}
            return Note(kind="incident", time_ns=state.time_ns, body=body)
        conditions = [list(key) for key in sorted(incident.standing)[:MAX_CONDITIONS]]
        incident.standing.clear()
        return self._incident_event(
            state, Change("resolved", incident), ref, {"ended": {**by, "conditions": conditions}}
        )  # fmt: skip

    def _change(self, state: PublisherState, change: Change, pattern: PatternRecord, ref: str) -> Event:
        if change.what == "shock":
            return self._market_shock(state, change.incident, pattern, ref)
        return self._incident_event(state, change, ref)

    def _incident_event(
        self, state: PublisherState, change: Change, ref: str, more: Json | None = None
    ) -> Event:
        incident = change.incident
        data = {**incident.data("resolved" if change.what == "resolved" else "open"), **(more or {})}
        return self._event(
            state, f"incident.{change.what}", incident.venue, incident.venue, data,
            ref, incident.severity, incident.id, incident.id,
        )  # fmt: skip

    def _market_shock(
        self, state: PublisherState, incident: Incident, pattern: PatternRecord, ref: str
    ) -> Event:
        """What moved in several venues, first movers first. Its source is where that began."""
        moves = state.incidents.shock_of(incident, state.time_ns)
        directions = {move.direction for move in moves}
        source = moves[0].series[0]
        data = {
            "id": derive("pattern", ref, market.DETECTOR, incident.id), "pattern": "market_shock",
            "series": [list(move.series) for move in moves], "score": max(move.score for move in moves),
            "severity": incident.severity, "direction": directions.pop() if len(directions) == 1 else "none",
            "tags": [], "detector": market.DETECTOR,
            "evidence": {
                "first_ns": [move.first_ns for move in moves], "scores": [move.score for move in moves],
                "subjects": len({(move.venue, move.series[1]) for move in moves}),
                "venues": len({move.venue for move in moves}),
            },
            "sources": sorted({move.series[0] for move in moves}), "snapshot": pattern.snapshot,
            "event_ns": pattern.event_ns, "cadence_ns": incident.cadence_ns,
        }  # fmt: skip
        return self._event(
            state, "pattern.market_shock", source, source, data, ref, incident.severity, incident.id
        )

    def _halt(
        self, state: PublisherState, halt: Halt, pattern: PatternRecord, ref: str, incident: str
    ) -> Event:
        """A venue in several parts, after the part that decided it."""
        data = {
            **_pattern_data(pattern), "id": derive("pattern", ref, halts.DETECTOR, halt.venue),
            "series": [list(halt.series)], "tags": [], "detector": halts.DETECTOR, "evidence": halt.evidence,
        }  # fmt: skip
        return self._event(
            state,
            f"feed.{halt.what}",
            halt.venue,
            halt.venue,
            data,
            ref,
            pattern.severity,
            incident,
            halts.DETECTOR,
        )

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
        ref: str, severity: Severity, incident: str, *also: str,
    ) -> Event:  # fmt: skip
        """`also`: what tells it apart from another event of its type with the same cause."""
        state.sequence += 1
        full = TYPE_PREFIX + kind
        return Event(
            id=derive("event", full, ref, *also), source=f"/qts/observer/{self.domain}/{source}", type=full,
            subject=subject, time_ns=state.time_ns, data=data, partitionkey=f"{source}/{subject}",
            sequence=f"{state.sequence:020d}", causationid=ref, correlationid=incident, severitytext=severity,
        )  # fmt: skip


_NOTES: Mapping[str, tuple[str, Severity]] = {
    "quarantine": ("quarantined", "critical"), "redrive": ("redriven", "info"), "tick": ("", "info"),
    "dead_letter": ("dead_letter", "critical"), "incident": ("", "info"),
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
