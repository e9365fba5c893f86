"""What became of what an operator asked, by the records of the stage that obeys it. Bounded reads.

A commit says which entries it consumed, so what followed from the record that asks is found in the one
commit that consumed it, however much the stage has written since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal

from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.audit.stored import Stored, between
from observer_core.shared.clock import format_time
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref, ref
from observer_core.shared.records import Decision, Event, Note
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import CommitRow

State = Literal["waiting", "done", "refused", "needs_confirmation"]
OBEYED_IN: Final[Mapping[str, str]] = {
    "command": "decisions", "silence": "routes", "subscription": "routes", "incident": "events",
}  # fmt: skip
"""The stream of the stage that obeys each kind of request."""
_MOST_COMMITS: Final = 20_000
_MOST_COMMANDS: Final = 2_000
_MOST_RECORDS: Final = 2_000
_DONE: Final[Mapping[str, str]] = {
    "add": "added", "pause": "paused", "resume": "resumed", "remove": "removed",
    "end": "the incident has ended",
}  # fmt: skip
_NOTHING: Final = "its stage has passed it, and recorded nothing of it"
_WAITS, _CONFIRMED, _EXPIRED = "needs_confirmation", "confirmed", "not_confirmed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`refused`: nothing was done, `text` says why. `records` are what the stage wrote because of it."""

    ref: str
    state: State
    records: Sequence[Stored] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """The record that asks, and the journal of the stage that obeys it."""

    ref: str
    note: Note
    commands: Journal
    position: int
    stage: Journal

    @property
    def taken(self) -> bool:
        """Whether its stage has come to it."""
        done = self.stage.checkpoint(self.commands.name)
        return done is not None and done["position"] >= self.position


def request(journals: Journals, asked: str) -> Request:
    """The request that a ref names; `Unknown` when it names none."""
    try:
        name, position = parse_ref(asked)
    except ValueError as error:
        raise InputError(str(error)) from None
    kind, _, domain = name.partition(".")
    if kind != "commands" or journals.domain_of(name) is None:
        raise Unknown(f"{asked} is no request: commands.DOMAIN@N was expected")
    commands = journals.open(name)
    last = commands.head().position
    if not 1 <= position <= last:
        raise Unknown(f"there is no {asked}: {name} has records 1 to {last}")
    note = commands.entry(position).record
    if not isinstance(note, Note) or note.kind not in OBEYED_IN:
        raise Unknown(f"{asked} asks for nothing that has an outcome")
    stage = journals.open(f"{OBEYED_IN[note.kind]}.{domain}")
    return Request(ref(name, position), note, commands, position, stage)


def outcome(journals: Journals, asked: str) -> Outcome:
    """What became of it; `waiting` until its stage has come to it."""
    it = request(journals, asked)
    if not it.taken:
        return Outcome(it.ref, "waiting", text=f"{it.stage.name} has not come to it yet")
    found = _consumed(it)
    if found is not None and found.skipped:
        text = "its stage could not work on it and set it aside; see the quarantine"
        return Outcome(it.ref, "refused", text=text)
    records = [] if found is None else list(found.records(it.stage, _follows(it)))
    match it.note.kind:
        case "command":
            return _of_command(it, records)
        case "silence":
            return _of_silence(it, records)
    refused = [why for stored in records if (why := _refused(stored))]
    if refused:
        return Outcome(it.ref, "refused", records, "; ".join(refused))
    if not records:
        return Outcome(it.ref, "refused", text=_NOTHING)
    return Outcome(it.ref, "done", records, _DONE.get(str(it.note.body.get("action")), "done"))


# ---------------------------------------------------------------------- where it was consumed


@dataclass(frozen=True, slots=True)
class _Consumed:
    first: int
    last: int
    skipped: bool

    def records(self, stage: Journal, follows: Callable[[Stored], bool]) -> Iterator[Stored]:
        if self.last >= self.first:
            yield from filter(follows, between(stage, self.first, self.last))


def _consumed(it: Request) -> _Consumed | None:
    """The commit of the stage that consumed the request; None where that left no record."""
    start = it.stage.position_at(it.note.time_ns - 1) + 1
    before: list[CommitRow] = []
    for row in islice(it.stage.rows(from_position=start), _MOST_COMMITS):
        if before and before[-1].commit != row.commit:
            before.clear()
        before.append(row)
        for item in row.inputs:
            if item.journal == it.commands.name and item.first <= it.position <= item.last:
                return _Consumed(max(start, before[0].first), row.last, item.skipped)
    return None


def _follows(it: Request) -> Callable[[Stored], bool]:
    """Whether a record of that commit is there because of the request."""
    body = it.note.body
    said = {key: body.get(key) for key in ("author", "reason")}

    def follows(stored: Stored) -> bool:
        record = stored.record
        if isinstance(record, Decision):
            return it.ref in record.causation
        if isinstance(record, Event):
            return record.causationid == it.ref
        if not isinstance(record, Note) or record.kind != it.note.kind:
            return False
        found = record.body
        if record.kind == "silence":
            return found.get("id") == (body.get("id") if body.get("action") == "end" else it.ref)
        mine = {**said, "action": body.get("action")}
        named = all(body.get(key) in (None, found.get(key)) for key in ("name", "id"))
        return named and all(found.get(key) == value for key, value in mine.items())

    return follows


def _refused(stored: Stored) -> str:
    """Why the stage did nothing, where its note says so."""
    record = stored.record
    return str(record.body.get("refused") or "") if isinstance(record, Note) else ""


# ---------------------------------------------------------------------- silences


def _of_silence(it: Request, records: list[Stored]) -> Outcome:
    ends = it.note.body.get("action") == "end"
    refused = [why for stored in records if (why := _refused(stored))]
    if refused:
        return Outcome(it.ref, "refused", records, "; ".join(refused))
    if ends:
        return Outcome(it.ref, "done", records, "the silence has ended")
    start_ns, end_ns = it.note.body.get("start_ns", 0), it.note.body.get("end_ns", 0)
    return Outcome(
        it.ref, "done", records, f"silent from {format_time(start_ns)} to {format_time(end_ns)}"
    )  # fmt: skip


# ---------------------------------------------------------------------- commands


def _of_command(it: Request, records: list[Stored]) -> Outcome:
    waits = next((stored for stored in records if _code(stored) == _WAITS), None)
    if waits is None:
        return _judged(it, records)
    later = _confirmation(it) or _expiry(it, waits)
    if later:
        return _judged(it, [*records, *later])
    return Outcome(it.ref, "needs_confirmation", records, _text(records))


def _judged(it: Request, records: list[Stored]) -> Outcome:
    acts = [stored for stored in records if _code(stored) not in (_WAITS, _CONFIRMED)]
    if not acts:
        return Outcome(it.ref, "refused", records, _NOTHING)
    done = [s for s in acts if isinstance(s.record, Decision) and s.record.verdict != "non_execution"]
    return Outcome(it.ref, "done" if done else "refused", records, _text(acts))


def _confirmation(it: Request) -> list[Stored]:
    """What was done of it when somebody else had confirmed it, if he has."""
    last = min(it.commands.head().position, it.position + _MOST_COMMANDS)
    for entry in it.commands.scan(it.position + 1, last) if last > it.position else ():
        note = entry.record
        if not isinstance(note, Note) or note.body.get("request") != it.ref:
            continue
        confirm = Request(entry.ref, note, it.commands, entry.position, it.stage)
        if not confirm.taken or (found := _consumed(confirm)) is None:
            continue
        records = [s for s in found.records(it.stage, _follows(confirm)) if _follows(it)(s)]
        if any(_code(stored) == _CONFIRMED for stored in records):
            return records
    return []


def _expiry(it: Request, waits: Stored) -> list[Stored]:
    """The record that nobody has confirmed it in time."""
    assert isinstance(waits.record, Decision)
    due_ns = int(waits.record.reasons[0]["expires_ns"])
    if it.stage.head().time_ns < due_ns:
        return []
    first, last = it.stage.position_at(due_ns - 1) + 1, it.stage.position_at(due_ns)
    found = between(it.stage, first, min(last, first + _MOST_RECORDS)) if last >= first else iter(())
    return [stored for stored in found if _follows(it)(stored) and _code(stored) == _EXPIRED]


def _code(stored: Stored) -> str:
    record = stored.record
    return str(record.reasons[0].get("code", "")) if isinstance(record, Decision) and record.reasons else ""


def _text(records: Sequence[Stored]) -> str:
    texts = [
        str(reason.get("text", "")) for stored in records if isinstance(stored.record, Decision)
        for reason in stored.record.reasons
    ]  # fmt: skip
    return "; ".join(dict.fromkeys(texts))
