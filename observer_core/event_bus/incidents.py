"""Incidents: the patterns of one source that belong together, from the first to the quiet after the last.

A source has at most one open incident. It opens with a pattern that is grave enough,
takes in every further one, and is over once nothing was added for its quiet time and no
feed condition (stale, unavailable) of it still stands. Time is the domain's: an incident
that is due ends at its due moment, whenever that is noticed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from observer_core.shared.ids import derive
from observer_core.shared.records import SEVERITIES, Json, PatternRecord, Series, Severity, worst

QUIET_CADENCES = 3
MAX_RANKED = 50
_NEVER = 2**63 - 1
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}

Change = Literal["opened", "updated"]


@dataclass(slots=True)
class Incident:
    """One open incident. `seen` maps a series to (first time, highest score)."""

    id: str
    source: str
    severity: Severity
    opened_ns: int
    last_ns: int
    quiet_ns: int
    cause: str
    cadence_ns: int = 0
    announced: int = 0
    seen: dict[Series, tuple[int, float]] = field(default_factory=dict)
    patterns: dict[str, int] = field(default_factory=dict)
    standing: set[Series] = field(default_factory=set)

    @property
    def due_ns(self) -> int | None:
        """When it ends if nothing further comes; None while a condition stands."""
        return None if self.standing else self.last_ns + self.quiet_ns

    def data(self, state: Literal["open", "resolved"]) -> Json:
        """What an incident event carries: `series` holds the first 50 by time, then score."""
        ranked = heapq.nsmallest(
            MAX_RANKED, self.seen.items(), key=lambda item: (item[1][0], -item[1][1], item[0])
        )
        return {
            "id": self.id, "state": state, "severity": self.severity, "opened_ns": self.opened_ns,
            "last_ns": self.last_ns, "quiet_ns": self.quiet_ns, "cadence_ns": self.cadence_ns,
            "score": max(score for _, score in self.seen.values()),
            "series": [list(series) for series, _ in ranked],
            "first_ns": [first for _, (first, _) in ranked],
            "scores": [score for _, (_, score) in ranked],
            "series_count": len(self.seen), "standing": len(self.standing),
            "patterns": dict(self.patterns),
        }  # fmt: skip

    def dump(self) -> Json:
        value = {name: getattr(self, name) for name in _PLAIN}
        value["seen"] = [[*series, *facts] for series, facts in sorted(self.seen.items())]
        value["standing"] = sorted(self.standing)
        value["patterns"] = self.patterns
        return value

    @staticmethod
    def load(value: Json) -> Incident:
        return Incident(
            **{name: value[name] for name in _PLAIN},
            seen={(source, subject, name): (ns, score) for source, subject, name, ns, score in value["seen"]},
            standing={(source, subject, name) for source, subject, name in value["standing"]},
            patterns=value["patterns"],
        )  # fmt: skip


_PLAIN = ("id", "source", "severity", "opened_ns", "last_ns", "quiet_ns", "cause", "cadence_ns", "announced")


class Incidents:
    """The open incidents of a domain.

    `bar` is the least severity that opens or joins one; `quiet_ns` the least quiet time
    (it is stretched to three of the source's cadences, so that it means something for
    daily data too).
    """

    __slots__ = ("_bar", "_quiet_ns", "_wake_ns", "domain", "open")

    def __init__(self, domain: str, bar: Severity, quiet_ns: int, opened: Iterable[Incident] = ()) -> None:
        self.domain, self._bar, self._quiet_ns = domain, _RANK[bar], quiet_ns
        self.open = {incident.source: incident for incident in opened}
        self._wake_ns = self._next_due()

    def take(self, pattern: PatternRecord, ref: str, now_ns: int) -> tuple[Incident | None, Change | None]:
        """The incident that `pattern` belongs to, and what that changed enough to be told.

        A recovery belongs to the incident whose standing condition it ends, whatever its
        severity, and opens none. Any other pattern belongs to one if it reaches the bar.
        """
        incident = self.open.get(pattern.source)
        begun, ended = _conditions(pattern)
        if ended:
            belongs = incident is not None and not ended.isdisjoint(incident.standing)
        else:
            belongs = _RANK[pattern.severity] >= self._bar
        if not belongs:
            return None, None
        opened = incident is None
        if incident is None:
            incident = Incident(
                id=derive("incident", self.domain, pattern.source, ref), source=pattern.source,
                severity=pattern.severity, opened_ns=now_ns, last_ns=now_ns, quiet_ns=self._quiet_ns,
                cause=ref,
            )  # fmt: skip
            self.open[pattern.source] = incident
        change = self._join(incident, pattern, ref, now_ns)
        incident.standing = (incident.standing | begun) - ended
        if incident.due_ns is not None:
            self._wake_ns = min(self._wake_ns, incident.due_ns)
        return incident, "opened" if opened else change

    def _join(self, incident: Incident, pattern: PatternRecord, ref: str, now_ns: int) -> Change | None:
        for series in pattern.series:
            first, score = incident.seen.get(series, (now_ns, 0.0))
            incident.seen[series] = (first, max(score, pattern.score))
        incident.patterns[pattern.pattern] = incident.patterns.get(pattern.pattern, 0) + 1
        incident.last_ns, incident.cause = now_ns, ref
        incident.cadence_ns = max(incident.cadence_ns, pattern.cadence_ns)
        incident.quiet_ns = max(incident.quiet_ns, QUIET_CADENCES * pattern.cadence_ns)
        graver = worst((incident.severity, pattern.severity)) != incident.severity
        wider = len(incident.seen) >= 2 * incident.announced
        if graver:
            incident.severity = pattern.severity
        if graver or wider:
            incident.announced = len(incident.seen)
            return "updated"
        return None

    def resolve(self, through_ns: int) -> Sequence[tuple[int, Incident]]:
        """Ends what is due at or before `through_ns`: (due moment, incident), by moment, then source."""
        if through_ns < self._wake_ns:
            return ()
        due = sorted(
            (incident.due_ns, incident.source)
            for incident in self.open.values()
            if incident.due_ns is not None and incident.due_ns <= through_ns
        )
        ended = [(due_ns, self.open.pop(source)) for due_ns, source in due]
        self._wake_ns = self._next_due()
        return ended

    def _next_due(self) -> int:
        return min((i.due_ns for i in self.open.values() if i.due_ns is not None), default=_NEVER)

    def view(self) -> list[dict[str, Any]]:
        return [
            {"id": i.id, "severity": i.severity, "since_ns": i.opened_ns, "source": i.source}
            for i in sorted(self.open.values(), key=lambda i: (i.opened_ns, i.source))
        ]


_NOTHING: frozenset[Series] = frozenset()


def _conditions(pattern: PatternRecord) -> tuple[frozenset[Series], frozenset[Series]]:
    """The feed conditions that begin and those that end with `pattern`."""
    match pattern.pattern:
        case "feed_stale":
            return frozenset(pattern.series), _NOTHING
        case "feed_resumed":
            return _NOTHING, frozenset(pattern.series)
        case "feed_unavailable":
            return frozenset({(pattern.source, "", "")}), _NOTHING
        case "feed_available":
            return _NOTHING, frozenset({(pattern.source, "", "")})
    return _NOTHING, _NOTHING
