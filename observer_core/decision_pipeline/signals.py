"""Signals: what one event, or one quarantine note, says to the pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from observer_core.decision_pipeline.scopes import DOMAIN, Level, is_scope, source_scope, subject_scope
from observer_core.shared.canonical import encode
from observer_core.shared.conditions import CONDITION_OF, pattern_of
from observer_core.shared.records import ALL, RECOVERIES, Event, Json, Note, Severity

TYPE_PREFIX = "io.qts.observer."
_ABOUT_THE_SOURCE = frozenset(("feed.unavailable", "feed.available"))
_NOTE_KINDS = {"quarantine": "quarantined", "redrive": "redriven"}

ENDINGS = frozenset(("feed.available", "feed.resumed", "feed.reopened", "incident.resolved", "redriven")) | {
    f"pattern.{recovery}" for recovery in CONDITION_OF
}
"""Kinds that say that something is over."""
ABSENCES = frozenset(
    ("feed.stale", "feed.unavailable", "feed.halted", "feed.flat", "quarantined", "dead_letter")
)
"""Kinds that say that data are missing, or repeat themselves. They never release anything."""
_REGIMES = 2


@dataclass(frozen=True, slots=True)
class Signal:
    """One input, read once.

    `kind` is the event type without its prefix. `series` is empty when it speaks of a
    whole source. `begun` and `ended` are the conditions that hold from now on, and those
    that do no longer: a block "until resumed" stands while one of its conditions does.
    `risky`: it adds to the risk of what it speaks of (an incident repeats its patterns, a
    recovery is none). `scopes`, when given, are what a quarantine closes, whatever the
    policy's own scope. `measured` is the pattern's evidence, or what an incident says of itself.
    `by_hand`: an operator says so, nothing has recovered.
    """

    kind: str
    full: str
    source: str
    subject: str
    severity: Severity
    score: float
    cadence_ns: int
    series: tuple[tuple[str, str, str], ...]
    begun: tuple[str, ...]
    ended: tuple[str, ...]
    scopes: tuple[str, ...]
    risky: bool
    tags: tuple[str, ...]
    measured: Mapping[str, Any]
    text: str
    evidence: Json
    ref: str
    time_ns: int
    by_hand: bool = False

    def scopes_at(self, level: Level) -> tuple[str, ...]:
        """What a policy of this level decides about. What names no single subject is its source's."""
        if self.scopes:
            return self.scopes
        if level == "domain":
            return (DOMAIN,)
        return (self.own_scope,) if level == "subject" else (source_scope(self.source),)

    @property
    def own_scope(self) -> str:
        return subject_scope(self.subject) if self.subject else source_scope(self.source)


def read_event(event: Event, ref: str, time_ns: int) -> Signal:
    """`time_ns` is the domain's time at the event; `ref` the entry that holds it."""
    kind, data = event.type.removeprefix(TYPE_PREFIX), event.data
    source = event.source.rpartition("/")[2]
    series = () if kind in _ABOUT_THE_SOURCE else tuple((s[0], s[1], s[2]) for s in data.get("series", ()))
    subjects = {subject for _, subject, _ in series}
    of_incident = kind.startswith("incident.")
    incident = data.get("id", "") if of_incident else event.correlationid
    measured = data if of_incident else data.get("evidence")
    if not isinstance(measured, Mapping):
        measured = {}
    begun, ended = _conditions(kind, source, series, incident, data, measured)
    score = data.get("score", 1.0)
    subject = subjects.pop() if len(subjects) == 1 else ALL
    return Signal(
        kind=kind, full=event.type, source=source, subject="" if subject == ALL else subject,
        severity=event.severitytext, score=score, cadence_ns=data.get("cadence_ns", 0), series=series,
        begun=begun, ended=ended, scopes=_scopes(data) if kind == "quarantined" else (),
        risky=kind.startswith(("pattern.", "feed.")) and not ended, tags=tuple(data.get("tags", ())),
        measured=measured, text=_text(kind, event, data, score),
        evidence=_sheet(kind, event, source, data, time_ns), ref=ref, time_ns=time_ns,
        by_hand=kind == "incident.resolved" and "ended" in data,
    )  # fmt: skip


def read_note(note: Note, ref: str, time_ns: int) -> Signal:
    """A quarantine or redrive note of the events journal: events could not be made of that input."""
    kind, body = _NOTE_KINDS[note.kind], note.body
    begun, ended = _conditions(kind, "", (), "", body, {})
    return Signal(
        kind=kind, full=TYPE_PREFIX + kind, source="", subject="", severity="critical", score=1.0,
        cadence_ns=0, series=(), begun=begun, ended=ended, scopes=_scopes(body), risky=False,
        tags=(), measured={}, text=_quarantine_text(body), evidence={"type": kind}, ref=ref, time_ns=time_ns,
    )  # fmt: skip


def is_own(condition: str, kind: str) -> bool:
    """Whether a condition is what the signal itself says, not the incident that its pattern belongs to."""
    return kind.startswith("incident.") or not condition.startswith("incident:")


def _scopes(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What a quarantine closes; everything when it does not say."""
    scopes = body.get("scopes")
    valid = tuple(dict.fromkeys(filter(is_scope, scopes))) if isinstance(scopes, Iterable) else ()
    return valid or (DOMAIN,)


def _conditions(
    kind: str,
    source: str,
    series: tuple[tuple[str, str, str], ...],
    incident: str,
    data: Mapping[str, Any],
    measured: Mapping[str, Any],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(begun, ended). A pattern that has no recovery of its own stands as long as its incident."""
    match kind:
        case "feed.unavailable":
            return (f"source:{source}",), ()
        case "feed.available":
            return (), (f"source:{source}",)
        case "quarantined":
            return (f"entry:{data.get('input')}@{data.get('position')}",), ()
        case "redriven":
            return (), (f"entry:{data.get('input')}@{data.get('position')}",)
        case "incident.resolved":
            # One that was merged into another goes on there, and is over when that is.
            over = () if data.get("merged_into") else (incident, *data.get("merged", ()))
            return (), tuple(f"incident:{one}" for one in over)
    pattern = pattern_of(kind)
    if pattern == "volatility_regime" and (found := _regimes(series, measured)) is not None:
        return found
    if pattern in RECOVERIES:
        return _series_keys(pattern, series), ()
    if pattern in CONDITION_OF:
        return (), _series_keys(CONDITION_OF[pattern], series)
    return ((f"incident:{incident}",) if incident else ()), ()


def _regimes(
    series: tuple[tuple[str, str, str], ...], measured: Mapping[str, Any]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A regime stands until a lower one is told: (begun, ended). None where the evidence names none."""
    now, before = _each(measured.get("regime"), len(series)), _each(measured.get("before"), len(series))
    if not series or any(type(regime) is not int for regime in (*now, *before)):
        return None
    begun, ended = list[str](), list[str]()
    for key, regime, was in zip(series, now, before, strict=True):
        if regime > 0:
            begun += _series_keys(f"volatility_regime {regime}", (key,))
        for higher in range(regime + 1, min(was, _REGIMES) + 1):
            ended += _series_keys(f"volatility_regime {higher}", (key,))
    return tuple(begun), tuple(ended)


def _each(value: object, count: int) -> Sequence[Any]:
    """A value of the evidence, series by series."""
    return value if isinstance(value, list) and len(value) == count else [value] * max(count, 1)


def _series_keys(condition: str, series: tuple[tuple[str, str, str], ...]) -> tuple[str, ...]:
    return tuple(f"{condition}:{encode(key).decode()}" for key in series)


def _text(kind: str, event: Event, data: Mapping[str, Any], score: float) -> str:
    if kind == "quarantined":
        return _quarantine_text(data)
    detail = f"{event.severitytext}, score {score:.2f}" if "score" in data else event.severitytext
    return f"{kind} on {event.subject} ({detail})"


def _quarantine_text(body: Mapping[str, Any]) -> str:
    return (
        f"{body.get('input')}@{body.get('position')} is set aside "
        f"after {body.get('attempts')} attempts: {body.get('error')}"
    )


def _sheet(kind: str, event: Event, source: str, data: Mapping[str, Any], time_ns: int) -> Json:
    """The evidence sheet of whatever is decided from this event."""
    sheet: Json = {"type": kind, "source": source, "subject": event.subject}
    if "event_ns" in data:
        sheet["input_age_ns"] = time_ns - data["event_ns"]
    for name in ("cadence_ns", "score", "snapshot"):
        if name in data:
            sheet[name] = data[name]
    if event.correlationid:
        sheet["incident"] = event.correlationid
    return sheet
