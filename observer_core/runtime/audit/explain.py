"""What a decision, or an answer of the gate, follows from: back to the stored bytes of the snapshots.

Every step names its record's position, where its bytes lie, and the hash of the chain with it as its
last record: whoever has the journal, or an export of it, finds each again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.runtime.audit.stored import Stored, at, by_id
from observer_core.runtime.reading.lines import Budget
from observer_core.shared.canonical import Fragment, encode
from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.errors import InputError, NotFound
from observer_core.shared.ids import parse_ref, ref
from observer_core.shared.records import (
    AnyRecord,
    Decision,
    Evaluation,
    Event,
    Note,
    PatternRecord,
    Snapshot,
    decode_record,
)
from observer_core.storage.archive.excerpts import is_excerpt
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import hash_at

_MAX_ROWS: Final = 12
_BACK, _ON = 60, 20
_MOMENTS: Final = frozenset(
    f"{name}_ns"
    for name in (
        "event",
        "time",
        "onset",
        "since",
        "until",
        "opened",
        "first",
        "last",
        "at",
        "ingest",
        "as_of",
    )
)
"""Numbers of nanoseconds that are moments; all others are durations."""


@dataclass(frozen=True, slots=True)
class Step:
    """A record of the chain, and those it follows from. `facts` are lines for people.

    `hash`: of the journal's chain with this record as its last. `policy`: the settings that it was
    decided by, as they were then. `rests`: what an answer of the gate was read from, journal by journal.
    """

    stored: Stored
    hash: str
    title: str
    facts: list[str] = field(default_factory=list)
    causes: list[Step] = field(default_factory=list)
    policy: Mapping[str, Any] = field(default_factory=dict)
    origin_rows: Sequence[Mapping[str, Any]] = ()
    rests: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        more = {"policy": dict(self.policy), "origin_rows": list(self.origin_rows), "rests": dict(self.rests)}
        return {
            "ref": self.stored.ref, "hash": self.hash, "segment": self.stored.segment,
            "offset": self.stored.offset, "length": len(self.stored.raw),
            "record": Fragment(self.stored.raw),
            **{name: value for name, value in more.items() if value},
            "causes": [cause.to_json() for cause in self.causes],
        }  # fmt: skip

    def steps(self) -> Iterator[Step]:
        """This one and all it follows from."""
        yield self
        for cause in self.causes:
            yield from cause.steps()


@dataclass(frozen=True, slots=True)
class Curve:
    """A series around the moment of a pattern: times and values (NaN: not observed)."""

    name: str
    times: tuple[int, ...]
    values: tuple[float, ...]
    marked_ns: int
    label: str


def find(journals: Journals, text: str) -> Stored:
    """A decision by its id, the beginning of it, or `decisions.DOMAIN@N`; an answer as `gate.DOMAIN@N`."""
    if "@" not in text:
        name, position = by_id(journals, text, ("decisions",))
        return at(journals.open(name), position)
    try:
        name, position = parse_ref(text)
    except ValueError as error:
        raise InputError(str(error)) from None
    if not name.startswith(("decisions.", "gate.")):
        raise InputError(f"{text} is not a decision; expected an id, decisions.DOMAIN@N or gate.DOMAIN@N")
    known = journals.names()
    if name not in known:
        raise InputError(f"there is no journal {name!r}; known are {', '.join(known) or 'none yet'}")
    return at(journals.open(name), position)


def curve_of(journals: Journals, step: Step, size: int | None = None) -> Curve | None:
    """The series of the first pattern in the chain, around it; None where there is none.

    `size`: snapshots of so many bytes are read, and no more: of large ones there are fewer.
    """
    for inner in step.steps():
        pattern = inner.stored.record
        if isinstance(pattern, PatternRecord) and pattern.series[0][2]:
            source, subject, name = pattern.series[0]
            journal, position = parse_ref(pattern.snapshot)
            times: list[int] = []
            values: list[float] = []
            back, on = _around(inner, size)
            for record in _records(journals.open(journal), max(1, position - back), position + on):
                if isinstance(record, Snapshot):
                    column = record.fields.get(name)
                    known = column is not None and subject in record.subjects
                    times.append(record.event_ns)
                    values.append(
                        float(column[record.subjects.index(subject)])
                        if column is not None and known
                        else math.nan
                    )
            if any(map(math.isfinite, values)):
                label = f"{pattern.pattern} {pattern.direction}".removesuffix(" none")
                title = f"{source} {subject} {name}"
                return Curve(title, tuple(times), tuple(values), pattern.event_ns, label)
    return None


def _records(journal: Journal, first: int, last: int) -> Iterator[AnyRecord]:
    """What is kept of first..last, excerpts of what is not kept whole included."""
    for kept in journal.excerpts.between(first, min(last, journal.base().position)):
        if kept.line is not None:
            yield decode_record(kept.line)
    yield from (entry.record for entry in journal.scan(first, last))


def _around(pattern: Step, size: int | None) -> tuple[int, int]:
    """How many snapshots before and behind the pattern's own."""
    snapshot = max((len(cause.stored.raw) for cause in pattern.causes), default=0)
    if size is None or snapshot * (_BACK + _ON) <= size:
        return _BACK, _ON
    share = size / (snapshot * (_BACK + _ON))
    return int(_BACK * share), int(_ON * share)


class Explainer:
    """Follows causes. A record's causes are older than it, so this ends.

    `budget`: when it is spent no more causes are followed, and the facts say so. `find`: the decision of
    an id, in a journal, perhaps from a moment.
    """

    def __init__(
        self, journals: Journals, budget: Budget | None = None,
        find: Callable[[str, str, int | None], Stored] | None = None,
    ) -> None:  # fmt: skip
        self._journals, self._budget = journals, budget
        self._find = find or self._of_any_time
        self._hashes: dict[str, str] = {}

    def explain(self, stored: Stored) -> Step:
        """`InputError` for a record that is neither a decision nor an answer."""
        match stored.record:
            case Decision():
                return self._decision(stored, stored.record)
            case Evaluation():
                return self._answer(stored, stored.record)
        kind = getattr(stored.record, "kind", "?")
        raise InputError(f"{stored.ref} is a note of the journal ({kind}), no decision")

    def _step(self, stored: Stored, title: str, facts: list[str], **more: Any) -> Step:
        if self._budget is not None:
            self._budget.take(1, len(stored.raw))
        found = self._hashes.get(stored.ref)
        if found is None:
            journal = self._journals.open(stored.journal)
            found = self._hashes[stored.ref] = hash_at(journal, stored.position).hex()
        if is_excerpt(stored.segment):
            facts = [*facts, *self._kept(stored)]
        return Step(stored, found, title, facts, **more)

    def _kept(self, stored: Stored) -> Iterator[str]:
        """That this record is what retention has kept, and what can be shown of it still."""
        base = self._journals.open(stored.journal).base()
        yield (
            f"kept when retention removed the records around it; {stored.journal} is kept whole from "
            f"position {base.position + 1} on"
        )
        yield (
            "its line gives the chain hash shown here from the one kept before it; that the journal had this "
            f"hash there says the record of the removal (the newest is {base.record}), or an anchor of it"
        )

    def _decision(self, stored: Stored, record: Decision) -> Step:
        until = f"  until {_when(record.until_ns)}" if record.until_ns else ""
        facts = [f"{reason.get('code')}: {_numbers(reason, skip=('code',))}" for reason in record.reasons]
        facts.append(f"evidence: {_numbers(record.evidence)}")
        step = self._step(
            stored, f"{record.verdict} {record.scope} by {record.policy} v{record.policy_version}  "
            f"[{record.severity}]  {_when(record.time_ns)}{until}", facts,
            policy=self._policy(stored, record),
        )  # fmt: skip
        for number, cause in enumerate(record.causation):
            if self._spent:
                step.facts.append(f"not followed here: {', '.join(record.causation[number:][:_MAX_ROWS])}")
                break
            step.causes.append(self._cause(cause))
        block = record.evidence.get("block")
        if record.verdict == "release" and block:
            if self._spent:
                step.facts.append(f"not followed here: decision {block}")
            else:
                since_ns = record.evidence.get("since_ns")
                step.causes.append(self.explain(self._find(str(block), stored.journal, since_ns)))
        return step

    def _answer(self, stored: Stored, record: Evaluation) -> Step:
        verdict = "allow" if record.verdict == "allow" else "deny"
        facts = [f"{reason.get('code')}: {reason.get('text')}" for reason in record.reasons]
        if record.context:
            facts.append(f"intent: {_numbers(record.context)}")
        rests = {}
        for journal, position in record.rests.items():
            digest = hash_at(self._journals.open(journal), position).hex()
            rests[journal] = [position, digest]
            facts.append(f"rests on {ref(journal, position)}  chain {digest[:16]}")
        step = self._step(
            stored, f"{verdict} {record.action} {record.resource} for {record.caller}  "
            f"(risk {record.risk})  {_when(record.time_ns)}, valid until {_when(record.valid_until_ns)}",
            facts, policy=self._rules(stored, record), rests=rests,
        )  # fmt: skip
        seen: set[str] = set()
        decisions = f"decisions.{stored.journal.partition('.')[2]}"
        for reason in record.reasons:
            decision, source = reason.get("decision"), reason.get("source")
            if self._spent and (decision or source):
                step.facts.append(f"not followed here: {decision or source}")
            elif decision and decision not in seen:
                step.causes.append(self.explain(self._find(str(decision), decisions, reason.get("since_ns"))))
            elif source and source not in seen:
                position = record.rests.get(f"snapshots.{source}", 0)
                if position:
                    row = {(record.resource, name) for name in self._fields(f"snapshots.{source}", position)}
                    step.causes.append(self._cause(ref(f"snapshots.{source}", position), row))
            seen |= {str(decision), str(source)}
        if record.reference is not None:
            wanted = {(record.resource, str(record.reference["field"]))}
            step.causes.append(self._cause(str(record.reference["ref"]), wanted))
        return step

    @property
    def _spent(self) -> bool:
        return self._budget is not None and self._budget.spent

    def _of_any_time(self, identity: str, journal: str, _: int | None) -> Stored:
        name, position = by_id(self._journals, identity, ("decisions",))
        if name != journal:
            raise InputError(f"decision {identity} is in {name}, it was expected in {journal}")
        return at(self._journals.open(name), position)

    def _cause(self, cited: str, series: set[tuple[str, str]] | None = None) -> Step:
        name, position = parse_ref(cited)
        stored = at(self._journals.open(name), position)
        match stored.record:
            case Event() as event:
                kind = event.type.removeprefix("io.qts.observer.")
                about = f"event {kind} on {event.subject}  [{event.severitytext}]  {_when(event.time_ns)}"
                facts = [f"incident: {event.correlationid}"] if event.correlationid else []
                return self._step(stored, about, facts, causes=[self._cause(event.causationid)])
            case PatternRecord() as pattern:
                wanted = {(subject, field) for _, subject, field in pattern.series}
                names = ", ".join(f"{subject} {field}" for subject, field in sorted(wanted)[:_MAX_ROWS])
                facts = [f"evidence: {_numbers(pattern.evidence)}", f"detector: {pattern.detector}"]
                about = (
                    f"pattern {pattern.pattern} {pattern.direction} in {names}  score {pattern.score:.3f}  "
                    f"[{pattern.severity}]  {_when(pattern.time_ns)}"
                )
                return self._step(stored, about, facts, causes=[self._cause(pattern.snapshot, wanted)])
            case Snapshot() as snapshot:
                return self._snapshot(stored, snapshot, series or set())
            case Decision() as decision:
                return self._decision(stored, decision)
            case Note() as note:
                return self._step(stored, f"{note.kind}  {_when(note.time_ns)}", [_numbers(note.body)])
        raise InputError(f"{cited} is a record of no stage")

    def _snapshot(self, stored: Stored, snapshot: Snapshot, wanted: set[tuple[str, str]]) -> Step:
        facts: list[str] = []
        for place, subject in enumerate(snapshot.subjects):
            values = {
                name: float(column[place])
                for name, column in snapshot.fields.items()
                if ((subject, name) in wanted or not wanted) and not math.isnan(column[place])
            }
            if values and len(facts) < _MAX_ROWS:
                flags = (
                    f"  flags: {', '.join(snapshot.quality[subject])}" if subject in snapshot.quality else ""
                )
                facts.append(f"{subject}: {_numbers(values)}{flags}")
        if snapshot.error is not None:
            facts.append(f"error: {snapshot.error}")
        rows = self._origin(snapshot)
        facts += [f"recorded in {row['path']} row {row['row']}" for row in rows[:_MAX_ROWS]]
        about = (
            f"snapshot of {snapshot.source} ({snapshot.status}) of {_when(snapshot.event_ns)}, "
            f"known {_when(snapshot.ingest_ns)}"
        )
        return self._step(stored, about, facts, origin_rows=rows)

    def _origin(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """The rows of the recording's files (the first data row is row 1)."""
        origin = snapshot.origin or {}
        journal = self._journals.open(f"snapshots.{snapshot.source}")
        load = journal.checkpoint(f"load.{origin['load']}") if "load" in origin else None
        if load is None:
            return []
        found = []
        for number in origin["rows"]:
            start = 0
            for part in load["parts"]:
                count = part["rows_to"] - part["rows_from"]
                if start <= number < start + count:
                    row = part["rows_from"] + number - start + 1
                    found.append({"path": part["path"], "sha256": part["sha256"], "row": row})
                start += count
        return found

    def _fields(self, journal: str, position: int) -> list[str]:
        record = self._journals.open(journal).entry(position).record
        return list(record.fields) if isinstance(record, Snapshot) else []

    def _policy(self, stored: Stored, record: Decision) -> Mapping[str, Any]:
        """The policy as the decision's epoch had it; for what the pipeline does by itself, how it does."""
        from observer_core.decision_pipeline.presets import QUARANTINE

        config = self._epoch(stored, record.epoch)
        for policy in (*config["policies"], QUARANTINE.canonical()):
            if policy["name"] == record.policy:
                return dict(policy)
        if record.policy == "risk":
            return dict(config["judgment"])
        return {"name": record.policy, "description": "decided by command of an operator"}

    def _rules(self, stored: Stored, record: Evaluation) -> Mapping[str, Any]:
        """The caller and the intent rules that were held against it, as the gate's epoch had them."""
        config = self._epoch(stored, record.epoch)
        named = {str(reason["rule"]) for reason in record.reasons if "rule" in reason}
        callers = [item for item in config.get("caller", ()) if item["name"] == record.caller]
        intents = [item for item in config.get("intent", ()) if item["name"] in named]
        found = {"caller": callers, "intent": intents}
        return {name: items for name, items in found.items() if items}

    def _epoch(self, stored: Stored, epoch: int) -> Mapping[str, Any]:
        journal = self._journals.open(stored.journal)
        row = journal.epoch_row(epoch)
        if row is None:
            raise NotFound("epoch", f"{stored.journal} {epoch}")
        note = journal.entry(row["position"]).record
        assert isinstance(note, Note)
        config: Mapping[str, Any] = note.body["config"]
        return config


def settings_lines(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings as lines of TOML, without those that are not set."""
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            lines += settings_lines(item, f"{prefix}{key}.")
        elif item is not None:
            lines.append(f"{prefix}{key} = {encode(item).decode()}")
    return lines


def _when(ns: int | None) -> str:
    return format_time(ns) if ns else "-"


def _numbers(values: Mapping[str, Any], skip: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{key}={_shown(key, value)}" for key, value in values.items() if key not in skip)


def _shown(key: str, value: Any) -> str:
    if key.endswith("_ns") and isinstance(value, int):
        return _when(value) if key in _MOMENTS else format_duration(max(0, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
