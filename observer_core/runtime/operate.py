"""What an operator does: every act is a record with an author and a reason.

The least that has to be known for it; `runtime.acts` refuses beforehand what cannot be meant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from observer_core.shared.clock import Clock
from observer_core.shared.errors import Conflict, InputError
from observer_core.shared.ids import ref as place
from observer_core.shared.records import Json, Note, Record, Snapshot
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once
from observer_core.storage.ports import Op
from observer_core.storage.rows import Head


def command(
    journals: Journals, clock: Clock, domain: str, *, command: str, scope: str, author: str, reason: str,
    until_ns: int | None = None, policy: str | None = None, principal: str | None = None,
    request: str | None = None,
) -> str:  # fmt: skip
    """Asks the domain for one of `commands.COMMANDS`; gives the ref of the record that asks.

    `principal`: who the author was proved to be; `request`: the record that a `confirm` confirms.
    """
    more = {"principal": principal, "request": request}
    body = {"command": command, "scope": scope, "author": author, "reason": reason, "until_ns": until_ns,
            "policy": policy, **{key: value for key, value in more.items() if value is not None}}  # fmt: skip
    return ask(journals, domain, "command", body, clock.now_ns())


def ask(journals: Journals, domain: str, kind: str, body: Json, time_ns: int) -> str:
    """Records in `commands.<domain>` what is asked; gives the ref of the record."""
    journal = journals.open(f"commands.{domain}", domain)
    head = append(journal, [Note(kind=kind, time_ns=time_ns, body=body)])
    return place(journal.name, head.position)


def redrive(
    journals: Journals, stage_journal: str, input_journal: str, position: int, *, author: str, reason: str,
    principal: str | None = None, once: Once | None = None,
) -> str:  # fmt: skip
    """Gives a quarantined entry to its stage again, at a new position; ends its quarantine.

    A snapshot is repeated as known now: its `event_ns` stays, its origin cites the first one.
    """
    output, source = journals.open(stage_journal), journals.open(input_journal)
    view = f"quarantined.{input_journal}@{position}"
    known = once.known(source) if once is not None else None
    body = output.views(view).get(view)
    if body is None:
        if known is not None:
            return str(known["ref"])
        raise InputError(f"entry {input_journal}@{position} is not quarantined in {stage_journal}")
    now = max(output.head().time_ns, output.head().through_ns)
    note_body = {"input": input_journal, "position": position, "scopes": body["scopes"], "author": author,
                 "reason": reason, **({} if principal is None else {"principal": principal})}  # fmt: skip
    if known is None:
        entry = source.entry(position)
        record: Record = entry.record
        if isinstance(record, Snapshot):
            record = replace(record, origin={"redriven": entry.ref})
        again = Note(kind="redrive", time_ns=now, body={**note_body, "count": 1})
        known = said(source, [again, _known_at(record, now)], {}, once)
    done = Note(kind="redrive", time_ns=now, body={**note_body, "count": 0})
    append(output, [done], extra=[output.view_op(view, None)])
    return str(known["ref"])


def append(journal: Journal, records: list[Record], extra: list[Op] | None = None) -> Head:
    """Commits records that no stage computes, at the time the journal has reached or later."""
    while True:
        head = journal.head()
        try:
            return _commit(journal, head, records, extra or [])
        except Conflict:
            continue


def said(journal: Journal, records: list[Record], answer: Json, once: Once | None) -> Json:
    """Commits as `append` does, and gives `answer` with the `ref` of the last record.

    What was recorded under the key of `once` before is not recorded again: its answer is given.
    """
    while True:
        head = journal.head()
        if once is not None and (known := once.known(journal)) is not None:
            return known
        last = head.position + len(records)
        full = {**answer, "ref": place(journal.name, last)}
        try:
            _commit(journal, head, records, [] if once is None else [once.op(full, last)])
        except Conflict:
            continue
        return full


def _commit(journal: Journal, head: Head, records: list[Record], extra: list[Op]) -> Head:
    placed = [_known_at(record, head.time_ns) for record in records]
    # How far the journal has been worked is for its stage to say: timers are due by it.
    return journal.commit(head, Commit(records=placed, extra=extra))


def _known_at(record: Any, time_ns: int) -> Record:
    """The record as known at `time_ns` or later."""
    name = "ingest_ns" if isinstance(record, Snapshot) else "time_ns"
    known: Record = replace(record, **{name: max(time_ns, record.time_ns)})
    return known
