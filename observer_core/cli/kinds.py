"""What can be listed: for each kind of record its journals, its filters, and its columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from observer_core.cli.moments import second, when
from observer_core.cli.stored import Match, Stored
from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.event_bus.subscriptions import LogSink, Subscription, SubscriptionConfig
from observer_core.shared.errors import InputError
from observer_core.shared.records import SEVERITIES, AnyRecord, Decision, Event, Note, PatternRecord, Snapshot

_SHOWN_VALUES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What was asked for; `what` is the glob of the kind's own option (--kind, --type, --verdict, --flag)."""

    source: str | None = None
    domain: str | None = None
    subject: str | None = None
    what: str | None = None
    severity: str | None = None
    notes: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """`journals` is the journals' prefix; `per_source`: there is one a source, else one a domain."""

    journals: str
    per_source: bool
    match: Callable[[Filter], Match]
    columns: Sequence[tuple[str, int]]
    cells: Callable[[Stored], Sequence[str]]


def _snapshots(wanted: Filter) -> Match:
    def match(record: AnyRecord) -> bool:
        if not isinstance(record, Snapshot):
            return wanted.notes
        subjects = _passing(wanted.subject, record.subjects)
        if wanted.subject is not None and not subjects:
            return False
        flags = [flag for subject in subjects for flag in record.quality.get(subject, ())]
        return wanted.what is None or bool(_passing(wanted.what, flags))

    return match


def _patterns(wanted: Filter) -> Match:
    least = rank(wanted.severity)

    def match(record: AnyRecord) -> bool:
        if not isinstance(record, PatternRecord):
            return wanted.notes
        return (
            rank(record.severity) >= least
            and (wanted.what is None or fnmatchcase(record.pattern, wanted.what))
            and (wanted.subject is None or bool(_passing(wanted.subject, [s[1] for s in record.series])))
        )

    return match


def _events(wanted: Filter) -> Match:
    return _subscribed(wanted, stream="events", types=(wanted.what or "*",))


def _decisions(wanted: Filter) -> Match:
    return _subscribed(wanted, stream="decisions", types=(f"decision.{wanted.what}" if wanted.what else "*",))


def _subscribed(wanted: Filter, **stream: Any) -> Match:
    """Exactly what a subscriber with these filters would be given."""
    test = Subscription(
        SubscriptionConfig(
            name="listing", sources=(wanted.source or "*",), subjects=(wanted.subject or "*",),
            min_severity=SEVERITIES[rank(wanted.severity)], sink=LogSink(kind="log"), **stream,
        )
    )  # fmt: skip

    def match(record: AnyRecord) -> bool:
        return test.refusal(record) is None if isinstance(record, Event | Decision) else wanted.notes

    return match


def rank(severity: str | None) -> int:
    """0 for None and for the least; `InputError` for what is not a severity."""
    if severity is None:
        return 0
    if severity not in SEVERITIES:
        raise InputError(f"--severity {severity!r} is not one; expected {', '.join(SEVERITIES)}")
    return SEVERITIES.index(severity)


def _passing(glob: str | None, names: Sequence[str]) -> Sequence[str]:
    return names if glob is None else [name for name in names if fnmatchcase(name, glob)]


def _snapshot_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Snapshot):
        return [second(record.time_ns), stored.ref, *_note(record)]
    if record.error is not None:
        text = record.error
    else:
        values = [
            f"{subject} {name}={column[place]:g}"
            for place, subject in enumerate(record.subjects[:_SHOWN_VALUES])
            for name, column in list(record.fields.items())[:_SHOWN_VALUES]
            if not math.isnan(column[place])
        ]
        flags = sorted({flag for found in record.quality.values() for flag in found})
        more = f" … {len(record.subjects)} subjects" if len(record.subjects) > _SHOWN_VALUES else ""
        text = f"{', '.join(values[:_SHOWN_VALUES])}{more}{' [' + ', '.join(flags) + ']' if flags else ''}"
    return [second(record.time_ns), stored.ref, record.status, text]


def _pattern_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, PatternRecord):
        return [second(record.time_ns), stored.ref, "", *_note(record), ""]
    _, subject, name = record.series[0]
    more = f" and {len(record.series) - 1} more" if len(record.series) > 1 else ""
    numbers = [
        f"{key}={value:g}"
        for key, value in record.evidence.items()
        if isinstance(value, int | float) and not key.endswith("_ns")
    ]
    return [
        second(record.time_ns), stored.ref, record.severity, record.pattern,
        f"{subject} {name}{more}", f"score {record.score:.2f} {record.direction}  {' '.join(numbers[:5])}",
    ]  # fmt: skip


def _event_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Event):
        return [second(record.time_ns), stored.ref, "", *_note(record)]
    score = record.data.get("score")
    source = record.source.rpartition("/")[2]
    text = f"{record.subject} ({source})" if record.subject != source else source
    return [
        second(record.time_ns), stored.ref, record.severitytext, record.type.removeprefix(TYPE_PREFIX),
        text if score is None else f"{text}  score {score:.2f}",
    ]  # fmt: skip


def _decision_cells(stored: Stored) -> Sequence[str]:
    record = stored.record
    if not isinstance(record, Decision):
        return [second(record.time_ns), stored.ref, "", *_note(record), ""]
    until = f"  until {when(record.until_ns)}" if record.until_ns else ""
    why = record.reasons[0].get("text", record.reasons[0].get("code", "")) if record.reasons else ""
    return [
        second(record.time_ns), record.id[:12], record.severity, record.verdict, record.scope, why + until,
    ]  # fmt: skip


def _note(record: AnyRecord) -> tuple[str, str]:
    assert isinstance(record, Note)
    about = ", ".join(f"{key}={value}" for key, value in record.body.items() if isinstance(value, str | int))
    return record.kind, about


_TIME, _REF = ("time", 20), ("ref", 26)
KINDS = {
    "snapshots": Kind(
        "snapshots", True, _snapshots, (_TIME, _REF, ("status", 11), ("values", 0)), _snapshot_cells
    ),
    "patterns": Kind(
        "patterns", True, _patterns,
        (_TIME, _REF, ("severity", 8), ("kind", 16), ("series", 20), ("evidence", 0)), _pattern_cells,
    ),
    "events": Kind(
        "events", False, _events, (_TIME, _REF, ("severity", 8), ("type", 24), ("about", 0)), _event_cells
    ),
    "decisions": Kind(
        "decisions", False, _decisions,
        (_TIME, ("id", 12), ("severity", 8), ("verdict", 13), ("scope", 22), ("why", 0)), _decision_cells,
    ),
}  # fmt: skip
