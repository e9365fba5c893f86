"""Incidents of a period: opened, resolved, still open, what moved first, and what people say of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.runtime.reading.filters import rank
from observer_core.runtime.reading.incidents import OWN
from observer_core.runtime.reading.lines import Line
from observer_core.runtime.reports.stretch import Stretches
from observer_core.shared.canonical import decode
from observer_core.shared.records import Severity

SHOWN: Final = 25
_OPENED: Final = b'"type":"io.qts.observer.incident.opened"'
_CAUSE: Final = re.compile(rb'^\{"causationid":"(patterns\.[^"\\]+)","correlationid":"([0-9a-f]+)"')


@dataclass(slots=True)
class Happened:
    """One incident, as its newest event of the period (or before it) left it.

    `first`: the series that was at the bar first, and when. `right`, `wrong`: patterns of it that somebody
    has judged so. `record`: that event.
    """

    id: str
    severity: Severity
    opened_ns: int
    resolved_ns: int | None
    lasted_ns: int
    venue: str
    series: int
    first: tuple[str, str, str]
    first_ns: int | None
    patterns: dict[str, int]
    score: float
    record: str
    right: int = 0
    wrong: int = 0


@dataclass(slots=True)
class Incidents:
    """Counts are of all, by severity where they are counters; `shown` are the gravest, then the longest."""

    opened: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    shown: list[Happened] = field(default_factory=list)
    count: int = 0
    longest_ns: int = 0
    started: list[int] = field(default_factory=list)
    sure: bool = True
    refs: str = ""


def incidents(stretches: Stretches, domain: str, words: Mapping[str, bool]) -> Incidents:
    """`words`: what is said of patterns, by their refs (`precision.words`)."""
    name, period = f"events.{domain}", stretches.period
    found = Incidents(sure=stretches.reaches(name))
    newest: dict[str, Happened] = {}
    for line in stretches.earlier(name, lambda raw: OWN in raw):
        _keep(newest, line)
    newest = {identity: one for identity, one in newest.items() if one.resolved_ns is None}
    judged: dict[str, list[int]] = {}
    for line in stretches.lines(name):
        if OWN in line.raw:
            one = _keep(newest, line)
            if one is not None and _OPENED in line.raw:
                found.opened[one.severity] += 1
                found.started.append(one.opened_ns)
        elif words and (cause := _CAUSE.match(line.raw)) is not None:
            right = words.get(cause[1].decode())
            if right is not None:
                judged.setdefault(cause[2].decode(), [0, 0])[0 if right else 1] += 1
    for one in newest.values():
        end_ns = period.until_ns if one.resolved_ns is None else one.resolved_ns
        one.lasted_ns = max(0, end_ns - one.opened_ns)
        one.right, one.wrong = judged.get(one.id, (0, 0))
        found.longest_ns = max(found.longest_ns, one.lasted_ns)
        (found.open if one.resolved_ns is None else found.resolved)[one.severity] += 1
    found.count, found.shown = len(newest), _gravest(newest.values())
    found.refs = stretches.volume(name).refs
    return found


def _keep(newest: dict[str, Happened], line: Line) -> Happened | None:
    data: dict[str, Any] = decode(line.raw)["data"]
    if "state" not in data:
        return None
    lead = (data.get("started") or data["series"])[0]
    times = dict(zip(map(tuple, data["series"]), data.get("first_ns", ())))
    one = newest[data["id"]] = Happened(
        id=data["id"], severity=data["severity"], opened_ns=data["opened_ns"],
        resolved_ns=line.time_ns if data["state"] == "resolved" else None, lasted_ns=0,
        venue=data.get("venue") or "", series=data["series_count"], first=(lead[0], lead[1], lead[2]),
        first_ns=times.get(tuple(lead)),
        patterns=dict(sorted(data["patterns"].items(), key=lambda item: (-item[1], item[0]))),
        score=data["score"], record=line.ref,
    )  # fmt: skip
    return one


def _gravest(found: Iterable[Happened]) -> list[Happened]:
    return sorted(found, key=lambda one: (-rank(one.severity), -one.lasted_ns, one.opened_ns, one.id))[:SHOWN]
