"""Incidents: the patterns of a venue that belong together, from the first to the quiet after the last.

An incident opens when patterns at the bar are more than chance brings (`openings`), or when moves of
several venues come together (`market`). Every pattern at the bar belongs to exactly one incident, or
waits for company, or has waited in vain; milder ones belong to it while they are of one moment
with what is at the bar, and keep nothing going.

    takes in    for its quiet time after its last news, whatever its venues show at the bar
    after that  the return of its own conditions and their ends, nothing else: what happens in the
                third hour of a dead series is an incident of its own
    goes on     with what could have opened one: usual noise belongs to it, but makes it no longer
    is over     once nothing made it go on for its quiet time, and none of its conditions stands

A condition that comes and goes is no news, only counted (`flaps`). What opens within eight quiet times
of an end, with a pattern that the ended incident had too, follows it and waits twice as long, up to
eight times: trouble that returns every twenty minutes is two incidents, not seventy a day.

Moves of a market join the incident of another venue that moved within the window. Where each has one
already, the later opened is resolved, `merged_into` the other, which takes over all that it held.

Time is the domain's: an incident that is due ends at its due moment, whenever that is noticed.
`first_ns`, when a series moved, is its record's onset where it has one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from observer_core.event_bus.config import PublisherConfig
from observer_core.event_bus.incident import Incident, Moved
from observer_core.event_bus.market import Move, shock
from observer_core.event_bus.openings import (
    CLASSES,
    Key,
    PatternClass,
    Waiting,
    Watch,
    waiting,
)
from observer_core.shared.ids import derive
from observer_core.shared.records import RECOVERIES, SEVERITIES, Json, PatternRecord

CADENCES = 3
LONGEST = 3
"""How often a quiet time is doubled at most."""
HOLDING = frozenset(
    ("feed_stale", "feed_unavailable", "venue_halt", "relation_break", "crossed_book", "spread_blowout")
)
"""Conditions that keep an incident open; drawdowns and correlation breaks may last for months."""
_ALONE = frozenset(("feed_unavailable", "venue_halt"))
"""What speaks of many series at once, and needs no company."""
_ENDS = {RECOVERIES[condition]: condition for condition in HOLDING}
_RECOVERIES = frozenset(RECOVERIES.values())
_NEVER = 2**63 - 1
_RANK = {severity: rank for rank, severity in enumerate(SEVERITIES)}

What = Literal["opened", "updated", "resolved", "shock"]


class Ended(NamedTuple):
    """The last incident of a venue that ended: what may come back."""

    id: str
    at_ns: int
    step: int
    patterns: tuple[str, ...]


class Change(NamedTuple):
    """What is to be told of an incident; of one that ended by itself, when that was due."""

    what: What
    incident: Incident
    due_ns: int | None = None


class Incidents:
    """The open incidents of a domain, what waits for company, and what ended last."""

    __slots__ = ("_bar", "_config", "_wake_ns", "domain", "ended", "open", "version", "watches")

    def __init__(self, domain: str, config: PublisherConfig) -> None:
        self.domain, self._config, self._bar = domain, config, _RANK[config.incident_severity]
        self.open: dict[str, Incident] = {}
        self.watches: dict[str, dict[PatternClass, Watch]] = {}
        self.ended: dict[str, Ended] = {}
        self.version = 0
        """Grows whenever `view` would answer otherwise."""
        self._wake_ns = _NEVER

    def venue_of(self, source: str) -> str:
        return self._config.venues.get(source, source)

    def take(self, pattern: PatternRecord, ref: str, now_ns: int) -> tuple[Incident | None, list[Change]]:
        """The incident that `pattern` belongs to, if any, and what is to be told.

        A recovery belongs to the incident whose standing condition it ends, whatever its
        severity, and opens none.
        """
        if pattern.pattern in _RECOVERIES:
            return self._recover(pattern, ref, now_ns), []
        new, venue = Waiting(ref, now_ns, pattern, _begun(pattern)), self.venue_of(pattern.source)
        watch = self._watch(venue, pattern, now_ns)
        watch.meet(pattern)
        grave = self._is_grave(pattern)
        holding = self._by_age() if new.begun else ()
        back = next((one for one in holding if new.begun <= one.held), None)
        if grave and back is not None:
            return back, self._told(back, self._join(back, new, lasts=True), now_ns)
        window_ns, config = self._window(pattern), self._config
        unusual = watch.add(new, window_ns, self._bar, config.chance) or pattern.pattern in _ALONE
        home = self._newest(venue, now_ns)
        if not grave:
            if home is not None and now_ns - home.news_ns <= window_ns:
                return home, self._told(home, self._join(home, new), now_ns)
            if unusual and any(
                map(self._is_grave, (item.pattern for item in watch.waiting(now_ns, window_ns)))
            ):
                return self._begin([venue], venue, new)
            return None, []
        found = self._moving(pattern, now_ns)
        elsewhere = any(one.venues != {venue} for one in found)
        if home is not None and home not in found:
            found.append(home)
        if found:
            return self._join_all(sorted(found, key=lambda one: one.age), new, lasts=unusual or elsewhere)
        if unusual:
            return self._begin([venue], venue, new)
        if (venues := self._moving_together(pattern, now_ns)) is not None:
            return self._begin(venues, venue, new)
        return None, []

    def resolve(self, through_ns: int) -> Sequence[Change]:
        """Ends what is due at or before `through_ns`, by due moment, then venue, then id."""
        if through_ns < self._wake_ns:
            return ()
        due = sorted(
            (incident.due_ns, incident.venue, incident.id)
            for incident in self.open.values()
            if incident.due_ns is not None and incident.due_ns <= through_ns
        )
        told = []
        for due_ns, _, name in due:
            told.append(Change("resolved", self._close(name, due_ns), due_ns))
        self._wake_ns = min((i.due_ns for i in self.open.values() if i.due_ns is not None), default=_NEVER)
        return told

    def end(self, name: str, now_ns: int) -> Incident | None:
        """Ends one whatever holds it open; None where none of that name is open.

        Nothing of what held it brings it back: only a new pattern opens another one.
        """
        return self._close(name, now_ns) if name in self.open else None

    def _close(self, name: str, at_ns: int) -> Incident:
        incident = self.open.pop(name)
        self.version += 1
        patterns = tuple(sorted(incident.grave_patterns()))
        for venue in incident.venues:
            self.ended[venue] = Ended(name, at_ns, incident.step, patterns)
        return incident

    def view(self) -> list[dict[str, Any]]:
        return [
            {
                "id": i.id, "severity": i.severity, "since_ns": i.opened_ns, "source": i.venue,
                "venue": i.venue, "sources": sorted(i.sources),
            }
            for i in self._by_age()
        ]  # fmt: skip

    def dump(self) -> Json:
        return {
            "open": [incident.dump() for incident in self._by_age()],
            "watches": {
                venue: {name: watch.dump() for name, watch in watches.items()}
                for venue, watches in self.watches.items()
            },
            "ended": {venue: list(ended) for venue, ended in self.ended.items()},
            "version": self.version,
        }

    def load(self, value: Any) -> None:
        if isinstance(value, list):
            value = self._version_1(value)
        self.open = {item["id"]: Incident.load(item) for item in value["open"]}
        self.watches = {
            venue: {kind: Watch.load(watches[kind]) for kind in CLASSES if kind in watches}
            for venue, watches in value["watches"].items()
        }
        self.ended = {
            venue: Ended(name, at_ns, step, tuple(patterns))
            for venue, (name, at_ns, step, patterns) in value["ended"].items()
        }
        self.version, self._wake_ns = value["version"], 0

    def _version_1(self, opened: Sequence[Json]) -> Json:
        """The state as version 1 left it: one incident a source, held open by feeds alone."""
        return {
            "open": [self._incident_of_version_1(old).dump() for old in opened], "watches": {}, "ended": {},
            "version": 0,
        }  # fmt: skip

    def _incident_of_version_1(self, old: Json) -> Incident:
        same = ("id", "severity", "opened_ns", "last_ns", "quiet_ns", "cause", "cadence_ns", "announced")
        source, pattern = old["source"], next(iter(old["patterns"]))
        standing: set[Key] = {
            ("feed_stale" if subject or name else "feed_unavailable", source, subject, name)
            for source, subject, name in old["standing"]
        }
        return Incident(
            **{name: old[name] for name in same}, news_ns=old["last_ns"], venue=self.venue_of(source),
            venues={self.venue_of(source)}, sources={source}, patterns=old["patterns"],
            seen={
                (source, subject, name): Moved(ns, score, 0, pattern, True)
                for source, subject, name, ns, score in old["seen"]
            },
            standing=standing, held=set(standing),
        )  # fmt: skip

    # ------------------------------------------------------------------ which one

    def _by_age(self) -> list[Incident]:
        return sorted(self.open.values(), key=lambda one: one.age)

    def _newest(self, venue: str, now_ns: int) -> Incident | None:
        """The incident of the venue that still takes in what comes."""
        found = [one for one in self.open.values() if venue in one.venues and one.takes_in(now_ns)]
        return max(found, key=lambda one: one.age, default=None)

    def _moving(self, pattern: PatternRecord, now_ns: int) -> list[Incident]:
        """The incidents with a move of a market within the window of this one."""
        if not self._config.market.is_move(pattern):
            return []
        window_ns = max(self._config.market.window, pattern.cadence_ns)
        return [
            one
            for one in self.open.values()
            if one.moved_ns >= 0 and now_ns - one.moved_ns <= max(window_ns, one.cadence_ns)
        ]

    def _moving_together(self, pattern: PatternRecord, now_ns: int) -> list[str] | None:
        """The venues whose waiting moves are a market's; the pattern's own is one of them."""
        market = self._config.market
        if not market.is_move(pattern):
            return None
        window_ns = max(market.window, pattern.cadence_ns)
        moves: list[Move] = []
        for venue, watches in self.watches.items():
            for item in watches["move"].waiting(now_ns, window_ns) if "move" in watches else ():
                if self._is_grave(item.pattern):
                    moves += _moves(item, venue)
        together = shock(moves, 0, market.subjects, market.venues)
        return sorted({move.venue for move in together}) if together else None

    def _watch(self, venue: str, pattern: PatternRecord, now_ns: int) -> Watch:
        kind: PatternClass = "other"
        if pattern.pattern in RECOVERIES:
            kind = "condition"
        elif self._config.market.is_move(pattern):
            kind = "move"
        watches = self.watches.setdefault(venue, {})
        if kind not in watches:
            watches[kind] = Watch(by_subject=kind != "other", since_ns=now_ns)
        return watches[kind]

    def _is_grave(self, pattern: PatternRecord) -> bool:
        """At the bar."""
        return _RANK[pattern.severity] >= self._bar

    def _window(self, pattern: PatternRecord) -> int:
        return max(self._config.window, CADENCES * pattern.cadence_ns)

    # ------------------------------------------------------------------ its life

    def _begin(
        self, venues: Iterable[str], venue: str, new: Waiting
    ) -> tuple[Incident, list[Change]]:  # fmt: skip
        """Opens an incident with what waits in the venues, the new pattern included."""
        now_ns, pattern = new.time_ns, new.pattern
        incident = Incident(
            id=derive("incident", self.domain, venue, new.ref), venue=venue, severity=pattern.severity,
            opened_ns=now_ns, last_ns=now_ns, news_ns=now_ns, cause=new.ref, quiet_ns=self._config.quiet,
        )  # fmt: skip
        for one in venues:
            self._take_waiting(incident, one, new)
        self._join(incident, new, lasts=True)
        if first := self.shock_of(incident, now_ns):
            incident.venue = first[0].venue
        self._follow(incident, self.ended.get(venue))
        incident.announced = len(incident.seen)
        self.open[incident.id] = incident
        self.version += 1
        self._wake(incident)
        return incident, [Change("opened", incident), *self._shock(incident, now_ns)]

    def _follow(self, incident: Incident, before: Ended | None) -> None:
        if before is None or incident.opened_ns - before.at_ns > incident.quiet_ns << LONGEST:
            return
        if not incident.grave_patterns().isdisjoint(before.patterns):
            incident.follows, incident.step = before.id, min(before.step + 1, LONGEST)
            incident.quiet_ns <<= incident.step

    def _join_all(
        self, found: Sequence[Incident], new: Waiting, *, lasts: bool
    ) -> tuple[Incident, list[Change]]:
        """The oldest takes over the others, then takes in the pattern."""
        incident, *others = found
        told = []
        for other in others:
            incident.take_over(other)
            del self.open[other.id]
            told.append(Change("resolved", other))
            self.version += 1
        venue = self.venue_of(new.pattern.source)
        joined = bool(others) or venue not in incident.venues
        if venue not in incident.venues:
            self._take_waiting(incident, venue, new)
        joined = self._join(incident, new, lasts=lasts) or joined
        return incident, [*told, *self._told(incident, joined, new.time_ns)]

    def _take_waiting(self, incident: Incident, venue: str, new: Waiting) -> None:
        """Takes in what waits in a venue; `new` itself is not among it."""
        watches = self.watches.get(venue, {})
        for item in waiting(watches.values(), new.time_ns, self._window(new.pattern)):
            if item is not new:
                self._join(incident, item, lasts=True)
                incident.earlier.append(item.ref)

    def _join(self, incident: Incident, new: Waiting, *, lasts: bool = False) -> bool:
        """Whether that made it graver, or twice as wide as it was told. `lasts`: it keeps it going."""
        pattern, config, grave = new.pattern, self._config, self._is_grave(new.pattern)
        new.taken = True
        for place, series in enumerate(pattern.series):
            moved = Moved(_moved_ns(pattern, place), pattern.score, place, pattern.pattern, grave)
            known = incident.seen.get(series)
            incident.seen[series] = known.again(moved) if known else moved
        venue = self.venue_of(pattern.source)
        if venue not in incident.venues or pattern.source not in incident.sources:
            incident.venues.add(venue)
            incident.sources.add(pattern.source)
            self.version += 1
        if config.market.is_move(pattern):
            for move in _moves(new, venue):
                before = incident.moves.get(move.series)
                incident.moves[move.series] = before.again(move) if before else move
        incident.patterns[pattern.pattern] = incident.patterns.get(pattern.pattern, 0) + 1
        graver = _RANK[pattern.severity] > _RANK[incident.severity]
        if grave:
            self._go_on(incident, new, lasts=lasts)
        if graver:
            incident.severity = pattern.severity
            self.version += 1
        return graver or len(incident.seen) >= 2 * incident.announced

    def _go_on(self, incident: Incident, new: Waiting, *, lasts: bool) -> None:
        pattern, now_ns = new.pattern, new.time_ns
        returning = new.begun & incident.held
        incident.flaps += not returning.isdisjoint(new.begun - incident.standing)
        incident.standing |= new.begun
        incident.held |= new.begun
        incident.cadence_ns = max(incident.cadence_ns, pattern.cadence_ns)
        least_ns = max(self._config.quiet, CADENCES * pattern.cadence_ns) << incident.step
        incident.quiet_ns = max(incident.quiet_ns, least_ns)
        if lasts:
            incident.last_ns, incident.cause = max(incident.last_ns, now_ns), new.ref
            if not returning or returning < new.begun:
                incident.news_ns = max(incident.news_ns, now_ns)
        if self._config.market.is_move(pattern):
            incident.moved_ns = max(incident.moved_ns, now_ns)
        self._wake(incident)

    def _recover(self, pattern: PatternRecord, ref: str, now_ns: int) -> Incident | None:
        ended = _ended(pattern)
        for watches in self.watches.get(self.venue_of(pattern.source), {}).values():
            for item in watches.recent:
                item.begun -= ended
        found = [one for one in self._by_age() if not ended.isdisjoint(one.standing)]
        for incident in found:
            incident.standing -= ended
            incident.last_ns, incident.cause = now_ns, ref
            self._wake(incident)
        if not found:
            return None
        found[0].patterns[pattern.pattern] = found[0].patterns.get(pattern.pattern, 0) + 1
        return found[0]

    def _told(self, incident: Incident, changed: bool, now_ns: int) -> list[Change]:
        told = self._shock(incident, now_ns)
        if changed:
            incident.announced = len(incident.seen)
            return [Change("updated", incident), *told]
        return told

    def _shock(self, incident: Incident, now_ns: int) -> list[Change]:
        if incident.shocked or len(incident.venues) < 2 or not self.shock_of(incident, now_ns):
            return []
        incident.shocked = True
        return [Change("shock", incident)]

    def shock_of(self, incident: Incident, now_ns: int) -> Sequence[Move]:
        """The moves that are a market's now, first movers first."""
        market = self._config.market
        since_ns = now_ns - max(market.window, incident.cadence_ns)
        return shock(incident.moves.values(), since_ns, market.subjects, market.venues)

    def _wake(self, incident: Incident) -> None:
        if incident.due_ns is not None:
            self._wake_ns = min(self._wake_ns, incident.due_ns)


def _begun(pattern: PatternRecord) -> set[Key]:
    """The conditions that begin with `pattern` and hold an incident open."""
    return _keys(pattern.pattern, pattern) if pattern.pattern in HOLDING else set()


def _ended(pattern: PatternRecord) -> set[Key]:
    condition = _ENDS.get(pattern.pattern)
    return _keys(condition, pattern) if condition else set()


def _keys(condition: str, pattern: PatternRecord) -> set[Key]:
    if condition == "feed_unavailable":
        return {(condition, pattern.source, "", "")}
    return {(condition, *series) for series in pattern.series}


def _moved_ns(pattern: PatternRecord, place: int) -> int:
    """When a series moved: its onset where the evidence has one, else when it was known."""
    onset: Any = pattern.evidence.get("onset_ns")
    if isinstance(onset, list):
        onset = onset[place] if place < len(onset) else None
    return onset if isinstance(onset, int) and 0 < onset <= pattern.time_ns else pattern.time_ns


def _moves(item: Waiting, venue: str) -> list[Move]:
    pattern = item.pattern
    return [
        Move(
            series, venue, _moved_ns(pattern, place), item.time_ns, pattern.score, place, pattern.direction
        )
        for place, series in enumerate(pattern.series)
    ]  # fmt: skip
