"""What a record says, in a line for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.shared.clock import format_time
from observer_core.shared.records import (
    AnyRecord,
    Decision,
    DeliveryResult,
    Event,
    Note,
    PatternRecord,
    Route,
    Snapshot,
)

_VALUES: Final = 3
_NUMBERS: Final = 5


def values(record: Snapshot) -> str:
    """Some values and all quality flags; the error of a collection that failed."""
    if record.error is not None:
        return record.error
    some = [
        f"{subject} {name}={column[place]:g}"
        for place, subject in enumerate(record.subjects[:_VALUES])
        for name, column in list(record.fields.items())[:_VALUES]
        if not math.isnan(column[place])
    ]
    flags = sorted({flag for found in record.quality.values() for flag in found})
    more = f" … {len(record.subjects)} subjects" if len(record.subjects) > _VALUES else ""
    return f"{', '.join(some[:_VALUES])}{more}{' [' + ', '.join(flags) + ']' if flags else ''}"


def series(record: PatternRecord) -> str:
    """The first series, and how many more."""
    _, subject, name = record.series[0]
    more = f" and {len(record.series) - 1} more" if len(record.series) > 1 else ""
    return f"{subject} {name}{more}"


def measured(record: PatternRecord) -> str:
    """Score, direction and the first numbers of the evidence."""
    numbers = [
        f"{key}={value:g}"
        for key, value in record.evidence.items()
        if isinstance(value, int | float) and not key.endswith("_ns")
    ]
    return f"score {record.score:.2f} {record.direction}  {' '.join(numbers[:_NUMBERS])}"


def kind(record: Event) -> str:
    """The type without its prefix."""
    return record.type.removeprefix(TYPE_PREFIX)


def about(record: Event) -> str:
    """The subject, its source, and the score if there is one."""
    score = record.data.get("score")
    source = record.source.rpartition("/")[2]
    text = f"{record.subject} ({source})" if record.subject != source else source
    return text if score is None else f"{text}  score {score:.2f}"


def incident(data: Mapping[str, Any]) -> str:
    """What an incident consists of."""
    patterns = ", ".join(f"{count}× {name}" for name, count in data["patterns"].items())
    return f"{patterns} on {data['series_count']} series, score {data['score']:.2f}"


def why(record: Decision) -> str:
    """The first reason, and until when."""
    until = f"  until {format_time(record.until_ns)}" if record.until_ns else ""
    reason = record.reasons[0].get("text", record.reasons[0].get("code", "")) if record.reasons else ""
    return f"{reason}{until}"


def kept(record: AnyRecord) -> dict[str, tuple[str, ...]]:
    """Which subscribers a silence or an inhibition has kept something from, by which: not those who do not
    want it."""
    stopped = record.stopped if isinstance(record, Route) else {}
    return {by: names for by, names in stopped.items() if by.startswith(("silence:", "inhibit:"))}


def told(record: AnyRecord) -> str:
    """A whole line about an event, a decision, a delivery, what kept one back, or feedback."""
    match record:
        case Event() if kind(record).startswith("incident."):
            return f"{kind(record).replace('.', ' ')}: {incident(record.data)}"
        case Event():
            return f"{kind(record)}: {about(record)}"
        case Decision():
            text = why(record)
            by = "" if text.startswith(record.policy) else f" by {record.policy}"
            return f"{record.verdict} of {record.scope}{by}: {text}"
        case DeliveryResult():
            code = "" if record.code is None else f", code {record.code}"
            detail = "" if record.detail is None else f": {record.detail}"
            return (
                f"{record.subscription}: {record.outcome.replace('_', ' ')}, attempt {record.attempt}"
                f"{code}{detail}"
            )
        case Route():
            given = {"given to": record.to, "to be told with others:": record.grouped}
            parts = [f"{how} {', '.join(names)}" for how, names in given.items() if names]
            parts += [f"kept from {', '.join(names)} by {by}" for by, names in kept(record).items()]
            return "; ".join(parts) or "given to nobody"
        case Note(kind="feedback"):
            note = record.body.get("note")
            word = "right" if record.body["right"] else "wrong"
            return f"{record.body['author']} says {word}{'' if note is None else f': {note}'}"
    return ", ".join(noted(record))


def noted(record: AnyRecord) -> tuple[str, str]:
    """A note's kind, and the plain values of its body."""
    assert isinstance(record, Note)
    plain = ", ".join(f"{key}={value}" for key, value in record.body.items() if isinstance(value, str | int))
    return record.kind, plain
