"""`explain`: a decision, back through events and patterns to the bytes it was seen in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.moments import when
from observer_core.cli.opened import Reader, reading
from observer_core.cli.output import json_line, tree
from observer_core.shared.clock import format_duration
from observer_core.shared.errors import InputError, NotFound

if TYPE_CHECKING:
    from rich.tree import Tree

    from observer_core.cli.stored import Stored
    from observer_core.shared.records import Snapshot

_MAX_ROWS = 12
_MOMENT_NS = 10**17
"""A number of nanoseconds above it (1973) is a moment, below it a span."""


@dataclass(frozen=True, slots=True)
class Step:
    """A record of the chain, and those it follows from. `facts` are lines for people."""

    stored: Stored
    title: str
    facts: list[str] = field(default_factory=list)
    causes: list[Step] = field(default_factory=list)
    policy: Mapping[str, Any] = field(default_factory=dict)
    origin_rows: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        from observer_core.shared.canonical import Fragment

        more = {"policy": dict(self.policy), "origin_rows": list(self.origin_rows)}
        return {
            "ref": self.stored.ref, "segment": self.stored.segment, "offset": self.stored.offset,
            "length": len(self.stored.raw), "record": Fragment(self.stored.raw),
            **{name: value for name, value in more.items() if value},
            "causes": [cause.to_json() for cause in self.causes],
        }  # fmt: skip


def explain(
    ctx: typer.Context,
    decision: Annotated[
        str, typer.Argument(metavar="DECISION", help="An id or its beginning, or decisions.DOMAIN@N.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="The chain as one line of JSON.")] = False,
) -> None:
    """Show what a decision follows from.

    Events, patterns, snapshots, where their bytes lie, and the policy as it was when the
    decision was made.
    """
    with reading(ctx) as reader:
        step = Chain(reader).decision(_find(reader, decision))
    json_line(step.to_json()) if as_json else tree(_tree(step))


def _find(reader: Reader, text: str) -> Stored:
    from observer_core.cli.stored import at, by_id
    from observer_core.shared.ids import parse_ref

    if "@" in text:
        try:
            name, position = parse_ref(text)
        except ValueError as error:
            raise InputError(str(error)) from None
        if not name.startswith("decisions."):
            raise InputError(f"{text} is not a decision; expected an id or decisions.DOMAIN@N")
        return at(reader.journals.open(reader.named([name])[0]), position)
    name, position = by_id(reader.journals, text, ("decisions",))
    return at(reader.journals.open(name), position)


class Chain:
    """Follows causes. A record's causes are older than it, so this ends."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def decision(self, stored: Stored) -> Step:
        from observer_core.shared.records import Decision

        record = stored.record
        if not isinstance(record, Decision):
            raise InputError(
                f"{stored.ref} is a note of the journal ({getattr(record, 'kind', '?')}), no decision"
            )
        until = f"  until {when(record.until_ns)}" if record.until_ns else ""
        facts = [f"{reason.get('code')}: {_numbers(reason, skip=('code',))}" for reason in record.reasons]
        facts.append(f"evidence: {_numbers(record.evidence)}")
        policy = self._policy(stored)
        step = Step(
            stored, f"{record.verdict} {record.scope} by {record.policy} v{record.policy_version}  "
            f"[{record.severity}]  {when(record.time_ns)}{until}", facts, policy=policy,
        )  # fmt: skip
        step.causes.extend(self._cause(ref) for ref in record.causation)
        block = record.evidence.get("block")
        if record.verdict == "release" and block:
            step.causes.append(self.decision(_find(self._reader, block)))
        return step

    def _cause(self, ref: str, series: set[tuple[str, str]] | None = None) -> Step:
        from observer_core.cli.stored import at
        from observer_core.shared.ids import parse_ref
        from observer_core.shared.records import Decision, Event, Note, PatternRecord, Snapshot

        stored = at(self._reader.journals.open(parse_ref(ref)[0]), parse_ref(ref)[1])
        match stored.record:
            case Event() as event:
                kind = event.type.removeprefix("io.qts.observer.")
                about = f"event {kind} on {event.subject}  [{event.severitytext}]  {when(event.time_ns)}"
                facts = [f"incident: {event.correlationid}"] if event.correlationid else []
                return Step(stored, about, facts, [self._cause(event.causationid)])
            case PatternRecord() as pattern:
                wanted = {(subject, name) for _, subject, name in pattern.series}
                names = ", ".join(f"{subject} {name}" for subject, name in sorted(wanted)[:_MAX_ROWS])
                facts = [f"evidence: {_numbers(pattern.evidence)}", f"detector: {pattern.detector}"]
                about = (
                    f"pattern {pattern.pattern} {pattern.direction} in {names}  score {pattern.score:.3f}  "
                    f"[{pattern.severity}]  {when(pattern.time_ns)}"
                )
                return Step(stored, about, facts, [self._cause(pattern.snapshot, wanted)])
            case Snapshot() as snapshot:
                return self._snapshot(stored, snapshot, series or set())
            case Decision():
                return self.decision(stored)
            case Note() as note:
                return Step(stored, f"{note.kind}  {when(note.time_ns)}", [_numbers(note.body)])
        raise InputError(f"{ref} is a record of no stage")

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
            f"snapshot of {snapshot.source} ({snapshot.status}) of {when(snapshot.event_ns)}, "
            f"known {when(snapshot.ingest_ns)}"
        )
        return Step(stored, about, facts, origin_rows=rows)

    def _origin(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """The rows of the recording's files (the first data row is row 1)."""
        origin = snapshot.origin or {}
        journal = self._reader.journals.open(f"snapshots.{snapshot.source}")
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

    def _policy(self, stored: Stored) -> Mapping[str, Any]:
        """The policy as the decision's epoch had it; for what the pipeline does by itself, how it does."""
        from observer_core.decision_pipeline.presets import QUARANTINE
        from observer_core.shared.records import Decision, Note

        record = stored.record
        assert isinstance(record, Decision)
        journal = self._reader.journals.open(stored.journal)
        row = journal.epoch_row(record.epoch)
        if row is None:
            raise NotFound("epoch", f"{stored.journal} {record.epoch}")
        note = journal.entry(row["position"]).record
        assert isinstance(note, Note)
        config: Mapping[str, Any] = note.body["config"]
        for policy in (*config["policies"], QUARANTINE.canonical()):
            if policy["name"] == record.policy:
                return dict(policy)
        if record.policy == "risk":
            return dict(config["judgment"])
        return {"name": record.policy, "description": "decided by command of an operator"}


def _tree(step: Step) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    node = Tree(Text(step.title, "bold"))
    length = len(step.stored.raw)
    node.add(Text(f"{step.stored.ref}  {step.stored.segment}:{step.stored.offset} ({length} bytes)", "dim"))
    for fact in step.facts:
        node.add(Text(fact))
    if step.policy:
        policy = node.add(Text(f"policy {step.policy.get('name', 'of judgment')} as it was then", "italic"))
        for line in _toml(step.policy):
            policy.add(Text(line))
    node.children.extend(_tree(cause) for cause in step.causes)
    return node


def _numbers(values: Mapping[str, Any], skip: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{key}={_shown(key, value)}" for key, value in values.items() if key not in skip)


def _shown(key: str, value: Any) -> str:
    if key.endswith("_ns") and isinstance(value, int):
        return when(value) if value > _MOMENT_NS else format_duration(max(0, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _toml(value: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Settings as lines of TOML, without those that are not set."""
    from observer_core.shared.canonical import encode

    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            lines += _toml(item, f"{prefix}{key}.")
        elif item is not None:
            lines.append(f"{prefix}{key} = {encode(item).decode()}")
    return lines
