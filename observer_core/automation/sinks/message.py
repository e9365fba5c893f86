"""What people are told of a record: a title, a few lines, and what it belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from observer_core.shared.clock import format_time

_LINES = 20
_EVIDENCE = 8
_PREFIX = "io.qts.observer."


@dataclass(frozen=True, slots=True)
class Message:
    """`kind` is the record's type without its prefix; `incident` its incident's id, or empty."""

    title: str
    severity: str
    time: str
    lines: tuple[str, ...]
    kind: str
    incident: str
    id: str

    @property
    def text(self) -> str:
        """All of it as plain text."""
        return "\n".join((self.title, *self.lines, f"{self.time}  {self.id}"))


def message_of(body: bytes) -> Message:
    """From the CloudEvents JSON that every sink is given."""
    event = orjson.loads(body)
    kind, data = event["type"].removeprefix(_PREFIX), event["data"]
    severity, subject = event.get("severitytext", "info"), event["subject"]
    source = event["source"].rpartition("/")[2]
    incident = event.get("correlationid", "")
    if kind.startswith("incident."):
        incident = data.get("id", incident)
        title, lines = f"{kind.replace('.', ' ')} at {subject}", _incident(data)
    elif kind == "notification":
        count = data["count"]
        title = f"{count} record{'' if count == 1 else 's'}: {subject}"
        lines = [
            f"{one['severitytext']}  {_short(one['type'])}  {one['subject']}  {one['time']}"
            for one in data["records"]
        ]
    elif kind.startswith("decision."):
        title = f"{data['verdict']} {subject}"
        lines = [str(reason.get("text", reason.get("code", ""))) for reason in data["reasons"]]
        until = "" if data["until_ns"] is None else f", until {format_time(data['until_ns'])}"
        lines.append(f"policy {data['policy']}{until}")
    else:
        title = f"{_short(kind)} on {subject}" + (f" ({source})" if source != subject else "")
        lines = _pattern(data)
    return Message(
        f"{severity}: {title}", severity, event["time"], tuple(lines[:_LINES]), kind, incident, event["id"]
    )  # fmt: skip


def _short(kind: str) -> str:
    return kind.removeprefix(_PREFIX).removeprefix("pattern.").replace(".", " ")


def _incident(data: Mapping[str, Any]) -> list[str]:
    lines = [f"{data.get('series_count', 0)} series, since {format_time(data['opened_ns'])}"]
    patterns = data.get("patterns", {})
    if patterns:
        lines.append(", ".join(f"{name} ×{count}" for name, count in sorted(patterns.items())))
    first = [" ".join(str(part) for part in series if part) for series in data.get("series", ())[:5]]
    return [*lines, *(["first: " + "; ".join(first)] if first else [])]


def _pattern(data: Mapping[str, Any]) -> list[str]:
    lines = []
    if "score" in data:
        direction = "" if data.get("direction", "none") == "none" else f", {data['direction']}"
        lines.append(f"score {data['score']:.2f}{direction}")
    series = data.get("series", ())
    if len(series) > 1:
        lines.append(f"{len(series)} series: " + ", ".join(_distinct(item[1] for item in series)))
    evidence = data.get("evidence", {})
    plain = [(name, value) for name, value in evidence.items() if not isinstance(value, list | dict)]
    shown = [
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}" for name, value in plain
    ]
    if shown:
        lines.append(", ".join(shown[:_EVIDENCE]))
    if data.get("tags"):
        lines.append("tags " + ", ".join(data["tags"]))
    return lines


def _distinct(names: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(names))
    return found if len(found) <= _EVIDENCE else [*found[:_EVIDENCE], f"and {len(found) - _EVIDENCE} more"]
