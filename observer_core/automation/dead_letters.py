"""Dead letters: what the host or a delivery gave up on, kept, announced, and sent again by an operator.

A hint carries no truth, so nothing is lost with it: `sweep` finds what it told of, and the
gate closes by lag meanwhile. But something made it fail, again and again, and that is
worth a record and an alert: each letter is a note in `deadletters.live`, which the Event
Bus makes an event of. Redriving sends first and records then: a crash in between leaves a
letter that can be redriven once more, which repeats nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from observer_core.shared.canonical import decode
from observer_core.shared.clock import Clock
from observer_core.shared.errors import Conflict, InputError
from observer_core.shared.ids import derive, ref
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once
from observer_core.storage.ports import MESSAGE_BYTES, Op, Queues
from observer_core.storage.rows import Head

JOURNAL: Final = "deadletters.live"
KIND: Final = "dead_letter"
TO_SUBSCRIBER: Final = "subscription "
"""What the queue of a letter begins with that was to go to a subscriber."""
_DOMAIN: Final = "live"
State = Literal["buried", "redriven", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One message: where it was, what it said, how often it was tried, and what became of it.

    `ended_by` and `reason` are the operator's who redrove or dropped it.
    """

    id: str
    queue: str
    stage: str
    body: bytes
    message_id: str
    dequeue_count: int
    buried_ns: int
    state: State = "buried"
    ended_ns: int | None = None
    ended_by: str | None = None
    reason: str | None = None


class DeadLetters:
    """The dead letters of one storage. Safe to use from several processes."""

    def __init__(self, journals: Journals, queues: Queues, clock: Clock) -> None:
        self._journals, self._queues, self._clock = journals, queues, clock

    def bury(self, queue: str, stage: str, body: bytes, *, message_id: str, dequeue_count: int) -> str:
        """Keeps a message, once, however often it is given; its letter's id."""
        identity = derive("dead_letter", queue, message_id, body.hex())
        letter = {
            "id": identity, "state": "buried", "queue": queue, "stage": stage, **_text(body),
            "message_id": message_id, "dequeue_count": dequeue_count,
        }  # fmt: skip
        self._append(letter, once=identity)
        return identity

    def letters(self) -> list[Letter]:
        """All there ever were, in the order in which they were buried."""
        return list(self._read(1))

    def newest(self, most: int) -> list[Letter]:
        """Those of the last `most` records, the newest first."""
        return list(self._read(self._journals.open(JOURNAL).head().position - most + 1))[::-1]

    def _read(self, first: int) -> Iterable[Letter]:
        found: dict[str, Letter] = {}
        for note in self._notes(first):
            body = note.body
            if body["state"] == "buried":
                found[body["id"]] = Letter(
                    id=body["id"], queue=body["queue"], stage=body["stage"], body=_bytes(body),
                    message_id=body["message_id"], dequeue_count=body["dequeue_count"],
                    buried_ns=note.time_ns,
                )  # fmt: skip
            elif body["id"] in found:
                found[body["id"]] = replace(
                    found[body["id"]], state=body["state"], ended_ns=note.time_ns,
                    ended_by=body["author"], reason=body["reason"],
                )  # fmt: skip
        return found.values()

    def letter(self, identity: str) -> Letter:
        """The letter whose id begins with `identity`; `InputError` when there is none, or several."""
        found = [letter for letter in self.letters() if letter.id.startswith(identity)]
        if len(found) != 1:
            what = "several dead letters begin" if found else "no dead letter begins"
            raise InputError(f"{what} with {identity!r}; `observer dlq ls --all` lists them")
        return found[0]

    def redrive(
        self, letter: Letter, *, author: str, reason: str, resend: Callable[[Mapping[str, Any]], None],
        principal: str | None = None, request: Once | None = None,
    ) -> str:  # fmt: skip
        """Sends the message to its queue again, and records who did and why; gives the record's ref.

        What was to go to a subscriber is given to `resend`, which raises where that fails again. Under
        the key of a `request` it is sent and recorded once.
        """
        known = None if request is None else request.known(self._journals.open(JOURNAL))
        if known is not None:
            return str(known["ref"])
        if letter.queue.startswith(TO_SUBSCRIBER):
            resend(decode(letter.body))
        else:
            self._queues.send(letter.queue, letter.body)
        return self._end(letter, "redriven", author, reason, principal, request)

    def drop(
        self, letter: Letter, *, author: str, reason: str, principal: str | None = None,
        request: Once | None = None,
    ) -> str:  # fmt: skip
        """Records that nobody needs it any more; gives the record's ref."""
        return self._end(letter, "dropped", author, reason, principal, request)

    def _end(
        self, letter: Letter, state: State, author: str, reason: str, principal: str | None,
        request: Once | None,
    ) -> str:  # fmt: skip
        body = {"id": letter.id, "state": state, "author": author, "reason": reason}
        if principal is not None:
            body["principal"] = principal
        while True:
            head = self._journals.open(JOURNAL, _DOMAIN).head()
            known = None if request is None else request.known(self._journals.open(JOURNAL))
            if known is not None:
                return str(known["ref"])
            position = head.position + 1
            place = ref(JOURNAL, position)
            keys = [] if request is None else [request.op({"ref": place}, position)]
            try:
                self._commit(head, body, keys)
            except Conflict:
                continue
            return place

    def _append(self, body: Mapping[str, Any], *, once: str) -> None:
        """Commits a note under the key `once`; only when there is none under it yet."""
        journal = self._journals.open(JOURNAL, _DOMAIN)
        while journal.idempotency(once) is None:
            head = journal.head()
            try:
                self._commit(head, body, [Journal.idempotency_op(once, {"position": head.position + 1})])
            except Conflict:
                continue
            return

    def _commit(self, head: Head, body: Mapping[str, Any], keys: list[Op]) -> None:
        note = Note(kind=KIND, time_ns=max(head.time_ns, self._clock.now_ns()), body=body)
        commit = Commit(records=[note], through_ns=note.time_ns, extra=keys)
        self._journals.open(JOURNAL).commit(head, commit)

    def _notes(self, first: int) -> Iterator[Note]:
        for entry in self._journals.open(JOURNAL).scan(max(1, first)):
            if isinstance(entry.record, Note) and entry.record.kind == KIND:
                yield entry.record


def _text(body: bytes) -> dict[str, Any]:
    """The body as text where it is text; no message is larger than a record may be."""
    if len(body) > 2 * MESSAGE_BYTES:
        raise InputError(f"a message of {len(body)} bytes; at most {2 * MESSAGE_BYTES} were expected")
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _bytes(content: Any) -> bytes:
    return str(content["text"]).encode() if "text" in content else base64.b64decode(content["base64"])
