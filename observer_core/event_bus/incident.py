"""One incident: what it holds, and what is told of it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from observer_core.event_bus.market import Move
from observer_core.event_bus.openings import Key
from observer_core.shared.records import SEVERITIES, Json, Series, Severity

MAX_RANKED = 50
MAX_STARTED = 5


class Moved(NamedTuple):
    """How a series moved: first when and in which pattern, and its highest score.

    `place` is its rank in that record, whose score is that of its first series. `grave`: at the bar.
    """

    first_ns: int
    score: float
    place: int
    pattern: str
    grave: bool

    def again(self, other: Moved) -> Moved:
        first, peak = min(self, other, key=_first), max(self, other, key=_score)
        return Moved(first.first_ns, peak.score, peak.place, first.pattern, self.grave or other.grave)


def _first(moved: Moved) -> int:
    return moved.first_ns


def _score(moved: Moved) -> float:
    return moved.score


@dataclass(slots=True, eq=False)
class Incident:
    """One open incident.

    `last_ns` is when anything was added that counts, `news_ns` when something was that is not the
    return or the end of its own conditions. `step`: how often its quiet time was doubled.
    `standing`: the conditions that hold it open, `held`: all that ever did. `earlier` cites the
    patterns that had waited for it. `moves` are those of a market, `moved_ns` the last at the bar.
    """

    id: str
    venue: str
    severity: Severity
    opened_ns: int
    last_ns: int
    news_ns: int
    cause: str
    quiet_ns: int
    cadence_ns: int = 0
    step: int = 0
    announced: int = 0
    flaps: int = 0
    follows: str = ""
    merged_into: str = ""
    moved_ns: int = -1
    shocked: bool = False
    merged: list[str] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    patterns: dict[str, int] = field(default_factory=dict)
    venues: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    seen: dict[Series, Moved] = field(default_factory=dict)
    moves: dict[Series, Move] = field(default_factory=dict)
    standing: set[Key] = field(default_factory=set)
    held: set[Key] = field(default_factory=set)

    @property
    def due_ns(self) -> int | None:
        """When it ends if nothing further comes; None while a condition stands."""
        return None if self.standing else self.last_ns + self.quiet_ns

    @property
    def age(self) -> tuple[int, str]:
        return self.opened_ns, self.id

    def takes_in(self, now_ns: int) -> bool:
        return now_ns < self.news_ns + self.quiet_ns

    def grave_patterns(self) -> set[str]:
        return {moved.pattern for moved in self.seen.values() if moved.grave}

    def data(self, state: Literal["open", "resolved"]) -> Json:
        """What an incident event carries: `series` holds the first 50 by time, then strength.

        `started` names those of them that were at the bar first.
        """
        ranked = heapq.nsmallest(
            MAX_RANKED, self.seen.items(),
            key=lambda item: (item[1].first_ns, -item[1].score, item[1].place, item[0]),
        )  # fmt: skip
        began = min(moved.first_ns for moved in self.seen.values() if moved.grave)
        started = sorted(
            (-moved.score, moved.place, series)
            for series, moved in self.seen.items()
            if moved.grave and moved.first_ns == began
        )
        return {
            "id": self.id, "state": state, "severity": self.severity, "opened_ns": self.opened_ns,
            "last_ns": self.last_ns, "quiet_ns": self.quiet_ns, "cadence_ns": self.cadence_ns,
            "score": max(moved.score for moved in self.seen.values()),
            "series": [list(series) for series, _ in ranked],
            "first_ns": [moved.first_ns for _, moved in ranked],
            "scores": [moved.score for _, moved in ranked],
            "first_patterns": [moved.pattern for _, moved in ranked],
            "started": [list(series) for _, _, series in started[:MAX_STARTED]],
            "series_count": len(self.seen), "standing": len(self.standing), "flaps": self.flaps,
            "patterns": dict(self.patterns), "venue": self.venue, "sources": sorted(self.sources),
            "earlier": self.earlier[:MAX_RANKED], "follows": self.follows, "merged": list(self.merged),
            "merged_into": self.merged_into,
        }  # fmt: skip

    def take_over(self, other: Incident) -> None:
        """All that `other` held; it is resolved."""
        for series, moved in other.seen.items():
            self.seen[series] = self.seen[series].again(moved) if series in self.seen else moved
        for series, move in other.moves.items():
            self.moves[series] = self.moves[series].again(move) if series in self.moves else move
        for name, count in other.patterns.items():
            self.patterns[name] = self.patterns.get(name, 0) + count
        self.severity = max(self.severity, other.severity, key=SEVERITIES.index)
        self.last_ns, self.news_ns = max(self.last_ns, other.last_ns), max(self.news_ns, other.news_ns)
        self.cadence_ns = max(self.cadence_ns, other.cadence_ns)
        self.quiet_ns, self.step = max(self.quiet_ns, other.quiet_ns), max(self.step, other.step)
        self.moved_ns, self.shocked = max(self.moved_ns, other.moved_ns), self.shocked or other.shocked
        self.flaps += other.flaps
        self.venues |= other.venues
        self.sources |= other.sources
        self.standing |= other.standing
        self.held |= other.held
        self.earlier += other.earlier
        self.merged += [other.id, *other.merged]
        other.merged_into = self.id

    def dump(self) -> Json:
        value = {name: getattr(self, name) for name in _PLAIN}
        for name in _SETS:
            value[name] = sorted(getattr(self, name))
        value["seen"] = [[*series, *moved] for series, moved in sorted(self.seen.items())]
        value["moves"] = [list(move) for _, move in sorted(self.moves.items())]
        return value

    @staticmethod
    def load(value: Json) -> Incident:
        moves = [Move((move[0][0], move[0][1], move[0][2]), *move[1:]) for move in value["moves"]]
        return Incident(
            **{name: value[name] for name in _PLAIN},
            venues=set(value["venues"]), sources=set(value["sources"]),
            seen={(source, subject, name): Moved(*rest) for source, subject, name, *rest in value["seen"]},
            moves={move.series: move for move in moves},
            standing={(kind, source, subject, name) for kind, source, subject, name in value["standing"]},
            held={(kind, source, subject, name) for kind, source, subject, name in value["held"]},
        )  # fmt: skip


_SETS = ("venues", "sources", "standing", "held")
_PLAIN = (
    "id", "venue", "severity", "opened_ns", "last_ns", "news_ns", "cause", "quiet_ns", "cadence_ns", "step",
    "announced", "flaps", "follows", "merged_into", "moved_ns", "shocked", "merged", "earlier", "patterns",
)  # fmt: skip
