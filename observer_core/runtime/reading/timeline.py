"""What became of an incident: its events, what was decided and delivered, what people say of it.

Each journal is read from when the incident began, as far as it can hold anything of it, and no further
than a bounded number of records; what lies beyond is said to be missing, never taken for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.runtime.reading import words
from observer_core.runtime.reading.incidents import OWN, incident, incident_of
from observer_core.runtime.reading.lines import Budget, Line, backwards, forwards
from observer_core.runtime.study.feedback import KIND as FEEDBACK
from observer_core.shared.canonical import Fragment
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import NotFound
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Decision, DeliveryResult, Event, Json, Note, Notification, Route
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

ENTRIES: Final = 500
_EVENTS = (100_000, 128 * 1024 * 1024)
_BEGINNING: Final = 2_000
_OTHERS = (20_000, 32 * 1024 * 1024)
_RESULTS = (5_000, 8 * 1024 * 1024)
_WORDS = (2_000, 4 * 1024 * 1024)
_TOLD_WITHIN_NS: Final = 24 * 3600 * SECOND
"""When those who are told of several records together have been, at the latest."""
_ORDER: Final = ("event", "incident", "decision", "delivery", "feedback")
_CAUSE: Final = b'{"causationid":"'
_CAUSES: Final = b'{"causation":['
_BLOCK: Final = b'"block":"'
_REF: Final = b'"ref":"'


@dataclass(slots=True)
class _Found:
    """What belongs to it so far. `refs`: events and decisions of it, as others cite them."""

    entries: list[Json] = field(default_factory=list)
    refs: set[bytes] = field(default_factory=set)
    patterns: dict[str, None] = field(default_factory=dict)
    truncated: bool = False

    def add(self, kind: str, line: Line, severity: str | None, text: str) -> None:
        self.entries.append({
            "time": format_time(line.time_ns), "time_ns": line.time_ns, "kind": kind, "ref": line.ref,
            "severity": severity, "text": text, "record": Fragment(line.raw),
        })  # fmt: skip


def detail(journals: Journals, line: Line) -> Json:
    """`models.Incident`, of the incident whose newest event this is."""
    record = line.record
    assert isinstance(record, Event)
    data, domain = record.data, line.journal.partition(".")[2]
    began_ns = _began_ns(journals, data)
    found, is_open = _Found(), data["state"] == "open"
    until_ns = None if is_open else record.time_ns
    _events(journals.open(line.journal), line, data, began_ns, found)
    _decisions(journals.open(f"decisions.{domain}"), data["id"], began_ns, until_ns, found)
    _deliveries(journals, domain, began_ns, until_ns, found)
    feedback, right = _feedback(journals.open(f"{FEEDBACK}.{domain}"), found)
    found.entries.sort(key=lambda entry: (entry["time_ns"], _ORDER.index(entry["kind"])))
    return {
        "incident": incident(record, line.ref), "ranked": _ranked(data),
        "timeline": found.entries[-ENTRIES:], "truncated": found.truncated or len(found.entries) > ENTRIES,
        "patterns": list(found.patterns), "right": right, "feedback": feedback,
    }  # fmt: skip


def became(journals: Journals, line: Line) -> Json:
    """`models.Became`, of this decision: what ended it, and who was told of it."""
    record, domain = line.record, line.journal.partition(".")[2]
    found = _Found(refs={line.ref.encode()})
    if isinstance(record, Decision):
        if record.verdict == "block":
            _end(journals.open(line.journal), record, found)
        _deliveries(journals, domain, record.time_ns, record.time_ns, found, given=True)
    found.entries.sort(key=lambda entry: (entry["time_ns"], _ORDER.index(entry["kind"])))
    return {"entries": found.entries, "truncated": found.truncated}


def _ranked(data: Any) -> list[Json]:
    started = {tuple(series) for series in data.get("started", ())}
    columns = ("series", "first_ns", "scores", "first_patterns")
    rows = zip(*(data.get(name, ()) for name in columns))
    return [
        {
            "source": series[0], "subject": series[1], "field": series[2], "first_ns": first_ns,
            "score": score, "pattern": pattern, "started": tuple(series) in started,
        }
        for series, first_ns, score, pattern in rows
    ]  # fmt: skip


def _began_ns(journals: Journals, data: Any) -> int:
    """When it opened, or the first pattern was seen that it had waited for."""
    began = [data["opened_ns"]]
    for cited in data.get("earlier", ())[:1]:
        name, position = parse_ref(cited)
        try:
            began.append(journals.open(name).entry(position).time_ns)
        except NotFound:  # cut, or not in this copy
            continue
    return int(min(began))


def _since(journal: Journal, time_ns: int) -> int:
    return journal.position_at(time_ns - 1) + 1


def _events(journal: Journal, line: Line, data: Any, began_ns: int, found: _Found) -> None:
    """Its own events and those of its patterns, also of those that had waited for it."""
    identity, earlier = data["id"], {cited.encode() for cited in data.get("earlier", ())}
    mine = b'"correlationid":"%s"' % identity.encode()
    last = line.position if data["state"] != "open" else journal.head().position
    budget = Budget(*_EVENTS)
    lines: list[Line] = []

    def belongs(raw: bytes) -> bool:
        return mine in raw or (bool(earlier) and _cause(raw) in earlier and OWN not in raw)

    first = _since(journal, began_ns)
    for one in backwards(journal, first, last, belongs, budget):
        if len(lines) > ENTRIES:
            found.truncated = True
            break
        if one.is_end:
            found.truncated = True
            # How it began, and what was last said of it, is told all the same.
            begun = [*forwards(journal, first, min(first + _BEGINNING, one.position) - 1), line]
            missed = {early.position: early for early in begun if belongs(early.raw)}
            lines += [missed[place] for place in sorted(missed, reverse=True) if place < one.position]
            break
        if belongs(one.raw):
            lines.append(one)
    found.patterns.update(dict.fromkeys(data.get("earlier", ())))
    for one in reversed(lines):
        record = one.record
        if not isinstance(record, Event):
            continue
        own = incident_of(one, identity) is not None
        if not own and record.causationid.startswith("patterns."):
            found.patterns[record.causationid] = None
        found.refs.add(one.ref.encode())
        found.add("incident" if own else "event", one, record.severitytext, words.told(record))


def _decisions(journal: Journal, identity: str, began_ns: int, until_ns: int | None, found: _Found) -> None:
    """What was decided on its events, or on what was decided on them; and the ends of those blocks."""
    mine, standing = b'"incident":"%s"' % identity.encode(), set[bytes]()
    for line in _within(journal, began_ns, found, Budget(*_OTHERS)):
        if until_ns is not None and line.time_ns > until_ns and not standing:
            break
        block = _after(line.raw, _BLOCK)
        ends = block is not None and block in standing
        if not (ends or mine in line.raw or not found.refs.isdisjoint(_causes(line.raw))):
            continue
        record = line.record
        if not isinstance(record, Decision):
            continue
        if record.verdict == "block":
            standing.add(record.id.encode())
        elif ends and block is not None:
            standing.discard(block)
        found.refs.add(line.ref.encode())
        found.add("decision", line, record.severity, words.told(record))


def _end(journal: Journal, block: Decision, found: _Found) -> None:
    """The release of a block, unless it stands."""
    ends = _BLOCK + block.id.encode() + b'"'
    for line in _within(journal, block.time_ns, found, Budget(*_OTHERS)):
        record = line.record if ends in line.raw else None
        if (
            isinstance(record, Decision)
            and record.verdict == "release"
            and record.evidence.get("block") == block.id
        ):
            found.add("decision", line, record.severity, words.told(record))
            return


def _deliveries(
    journals: Journals, domain: str, began_ns: int, until_ns: int | None, found: _Found, given: bool = False
) -> None:  # fmt: skip
    """`given`: also to whom it was given to be told."""
    routes_of = journals.open(f"routes.{domain}")
    told = found.refs | set(_notifications(routes_of, began_ns, until_ns, found, given))
    ends: dict[bytes, int] = {}
    for cited in told:
        stream, position = _place(cited)
        ends[stream] = max(position, ends.get(stream, 0))
    routes = b"routes." + domain.encode()
    for name in journals.names("results", domain):
        passed: set[bytes] = set()
        for line in _within(journals.open(name), began_ns, found, Budget(*_RESULTS)):
            cited = _after(line.raw, _REF) or b""
            if cited in told and isinstance(record := line.record, DeliveryResult):
                found.add("delivery", line, None, words.told(record))
            elif b"@" in cited:
                # A subscriber is given its stream in order: what comes behind is not about this.
                stream, position = _place(cited)
                if position > ends.get(stream, 0):
                    passed |= {stream} if routes in ends else {stream, routes}
                if routes in passed and len(passed) > 1:
                    break


def _notifications(
    journal: Journal, began_ns: int, until_ns: int | None, found: _Found, given: bool
) -> Iterator[bytes]:
    """Where subscribers are told of some of it together with others; whom something kept it from is added."""
    for line in _within(journal, began_ns, found, Budget(*_OTHERS)):
        if until_ns is not None and line.time_ns > until_ns + _TOLD_WITHIN_NS:
            break
        if b'"kind":"route"' in line.raw:
            if (
                (_after(line.raw, _REF) or b"") in found.refs
                and isinstance(record := line.record, Route)
                and (words.kept(record) or (given and (record.to or record.grouped)))
            ):
                found.add("delivery", line, None, words.told(record))
            continue
        told = line.record if b'"kind":"notification"' in line.raw else None
        if isinstance(told, Notification) and not found.refs.isdisjoint(map(str.encode, told.refs)):
            yield line.ref.encode()


def _feedback(journal: Journal, found: _Found) -> tuple[dict[str, bool], bool | None]:
    """The newest word on each of its patterns, and the newest of all."""
    feedback: dict[str, bool] = {}
    right = None
    for line in backwards(journal, 1, journal.head().position, budget=Budget(*_WORDS)):
        if line.is_end:
            found.truncated = True
            break
        record = line.record
        if not isinstance(record, Note) or record.kind != FEEDBACK:
            continue
        about = [pattern for pattern in record.body["patterns"] if pattern in found.patterns]
        if not about:
            continue
        said = bool(record.body["right"])
        right = said if right is None else right
        feedback = {**dict.fromkeys(about, said), **feedback}
        found.add("feedback", line, None, words.told(record))
    return feedback, right


def _within(journal: Journal, began_ns: int, found: _Found, budget: Budget) -> Iterator[Line]:
    """Records from then on, as far as the budget and the entries allow."""
    first, last = _since(journal, began_ns), journal.head().position
    before = len(found.entries)
    for line in forwards(journal, first, last) if first <= last else ():
        if budget.spent or len(found.entries) - before > ENTRIES:
            found.truncated = True
            return
        budget.take(1, len(line.raw))
        yield line


def _cause(raw: bytes) -> bytes:
    return raw[len(_CAUSE) : raw.find(b'"', len(_CAUSE))] if raw.startswith(_CAUSE) else b""


def _causes(raw: bytes) -> Iterable[bytes]:
    return raw[len(_CAUSES) : raw.find(b"]")].split(b'"')[1::2] if raw.startswith(_CAUSES) else ()


def _after(raw: bytes, key: bytes) -> bytes | None:
    start = raw.find(key)
    if start < 0:
        return None
    start += len(key)
    return raw[start : raw.find(b'"', start)]


def _place(cited: bytes) -> tuple[bytes, int]:
    name, _, position = cited.rpartition(b"@")
    return name, int(position) if position.isdigit() else 0
