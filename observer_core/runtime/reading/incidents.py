"""Incidents, folded from the events that opened, updated and resolved them.

An event that resolves an incident is its last. One that leaves it open is its newest only if no other
came since: which one that is of the open incidents, `Incidents` knows, and learns from the journals'
newer records alone. So a page of incidents tells each once, and needs no more of the journal than itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from observer_core.runtime.reading.filters import KINDS, Filter, Sieve, rank
from observer_core.runtime.reading.finding import WHOLE, Finder, checked
from observer_core.runtime.reading.lines import Budget, Line, backwards, forwards
from observer_core.runtime.reading.listing import Cursor, Page, Range, newest, page
from observer_core.shared.canonical import decode
from observer_core.shared.records import AnyRecord, Event, Json
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

_KEPT = (
    "id", "state", "severity", "opened_ns", "last_ns", "score", "series", "series_count", "standing",
    "patterns",
)  # fmt: skip
OWN: Final = b'"type":"io.qts.observer.incident.'
"""What stands in an incident's own events."""
_EVENTS: Final = KINDS["events"]
_LOOKED: Final = 100_000
_SCANNED: Final = 128 * 1024 * 1024


def folded(ranges: Sequence[Range], wanted: Filter, *, only_open: bool = False) -> Iterator[Json]:
    """Each incident once, the one that changed last first: its newest event says all of it."""
    known: set[tuple[str, str]] = set()
    for stored in newest(ranges, _EVENTS.sieve(Filter(what="incident.*"))):
        assert isinstance(stored.record, Event)
        key = stored.journal, stored.record.data["id"]
        if key in known:
            continue
        known.add(key)
        if passes(stored.record, wanted) and not (only_open and stored.record.data["state"] != "open"):
            yield incident(stored.record, stored.ref)


def incident(record: Event, ref: str) -> Json:
    """`models.IncidentItem`, as this event of it left it."""
    source = _venue(record)
    return {
        **{name: record.data[name] for name in _KEPT},
        "domain": ref.partition(".")[2].partition("@")[0], "source": source,
        "changed_ns": record.time_ns, "event": ref,
        # Version 1 of the publisher knew neither.
        "venue": record.data.get("venue", source), "started": record.data.get("started", []),
    }  # fmt: skip


def passes(record: Event, wanted: Filter) -> bool:
    """Whether the incident, as this event of it says, is meant."""
    data = record.data
    return (
        rank(data["severity"]) >= rank(wanted.severity)
        and (
            wanted.source is None
            or wanted.source in (record.source.rpartition("/")[2], *data.get("sources", ()))
        )
        and (wanted.subject is None or any(fnmatchcase(s[1], wanted.subject) for s in data["series"]))
        and (wanted.what is None or any(fnmatchcase(name, wanted.what) for name in data["patterns"]))
    )


def _venue(record: Event) -> str:
    return record.source.rpartition("/")[2]


def incident_of(line: Line, prefix: str) -> str | None:
    """The id of the incident whose own event this is, if it begins so."""
    if OWN not in line.raw or b'"correlationid":"' + prefix.encode() not in line.raw:
        return None
    found = str(decode(line.raw)["correlationid"])
    return found if found.startswith(prefix) else None


@dataclass(slots=True)
class _Open:
    """The newest event of each open incident, as far as the journal was read."""

    upto: int = 0
    lines: dict[str, Line] = field(default_factory=dict)


class Incidents:
    """The incidents of all domains. For any thread."""

    def __init__(self, journals: Journals, finder: Finder) -> None:
        self._journals, self._finder = journals, finder
        self._open: dict[str, _Open] = {}
        self._lock = threading.Lock()

    def page(
        self, ranges: Sequence[Range], wanted: Filter, limit: int, *, is_open: bool | None = None
    ) -> Page:
        """The incidents whose newest event lies in the ranges, the one that changed last first."""
        if is_open:
            return self._standing(ranges, wanted, limit)
        current: set[str] = set()
        for item in () if is_open is False else ranges:
            current.update(str(decode(line.raw)["id"]) for line in self.open(item.journal).values())
        own = _EVENTS.sieve(Filter(what="incident.*"))

        def match(record: AnyRecord) -> bool:
            return (
                own.match(record)
                and isinstance(record, Event)
                and (record.data["state"] == "resolved" or record.id in current)
                and passes(record, wanted)
            )

        # An incident's own events are few among the others, and known from their bytes.
        found = page(ranges, Sieve(match, own.maybe), limit, Budget(_LOOKED, _SCANNED))
        for line in found.lines:
            record = line.record
            if isinstance(record, Event) and record.data["state"] == "resolved":
                self._finder.remember("incidents", record.data["id"], line)
        return found

    def find(self, text: str) -> Line:
        """The newest event of the incident with this id, or the one whose id begins so."""
        identity = checked(text)
        for name in self._journals.names("events"):
            if len(identity) == WHOLE and (line := self.open(self._journals.open(name)).get(identity)):
                return line
        known = self._finder.remembered("incidents", identity, incident_of)
        if known is not None:
            return known
        line = self._finder.search("incidents", identity, "events", incident_of)
        record = line.record
        if isinstance(record, Event) and record.data["state"] == "resolved":
            self._finder.remember("incidents", record.data["id"], line)
        return line

    def open(self, journal: Journal) -> dict[str, Line]:
        """The newest event of each incident that is open now, by its id."""
        head, views = journal.consistent_views()
        since = {item["id"]: item["since_ns"] for item in views.get("incidents", {"open": []})["open"]}
        with self._lock:
            known = self._open.setdefault(journal.name, _Open())
            if head.position < known.upto:
                known.upto, known.lines = 0, {}  # cut after a power failure
            missing = set(since)
            budget = Budget(_LOOKED, _SCANNED)
            for line in backwards(journal, known.upto + 1, head.position, lambda raw: OWN in raw, budget):
                identity = incident_of(line, "")
                if identity is not None and identity in missing:
                    missing.discard(identity)
                    known.lines[identity] = line
                if not missing:
                    break
            known.upto = head.position
            for identity in missing - known.lines.keys():
                if (opened := _opened(journal, identity, since[identity])) is not None:
                    known.lines[identity] = opened
            known.lines = {name: line for name, line in known.lines.items() if name in since}
            return dict(known.lines)

    def _standing(self, ranges: Sequence[Range], wanted: Filter, limit: int) -> Page:
        found = [
            line
            for item in ranges
            for line in self.open(item.journal).values()
            if item.first <= line.position <= item.last
            and isinstance(record := line.record, Event)
            and passes(record, wanted)
        ]
        found.sort(key=lambda line: (-line.time_ns, line.journal, -line.position))
        last = found[limit - 1] if len(found) > limit else None
        after = None if last is None else Cursor(last.time_ns, last.journal, last.position)
        return Page(found[:limit], after)


def _opened(journal: Journal, identity: str, since_ns: int) -> Line | None:
    """The event that opened an incident, found by when it did."""
    first, last = journal.position_at(since_ns - 1) + 1, journal.position_at(since_ns)
    for line in forwards(journal, first, last) if first <= last else ():
        if incident_of(line, identity):
            return line
    return None
