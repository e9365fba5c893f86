"""`gate.<domain>`: what the gate answered, in the order in which it was decided.

All workers write one journal a domain, and who lost a race decides anew: rate and duplicates
count the same for everybody, in an order that is recorded. A journal for each worker would need no
retries, and would let a caller have its rate once a worker. A change of callers or intents, or of the
code, opens an epoch; a worker of an earlier one may not write any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from observer_core.decision_pipeline.intents import IntentRules, Sent
from observer_core.runtime.settings import Settings
from observer_core.shared.errors import EpochMoved
from observer_core.shared.records import Evaluation, Note, Record
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op
from observer_core.storage.rows import Head

KIND: Final = "gate"
NOT_RECORDED: Final = "not_recorded"
_VERSION: Final = "1"


def journal_name(domain: str) -> str:
    return f"{KIND}.{domain}"


@dataclass(frozen=True, slots=True)
class Missed:
    """Denials that could not be written, and why the first of them could not."""

    count: int
    first_ns: int
    last_ns: int
    why: str

    def and_then(self, newer: Missed) -> Missed:
        return replace(self, count=self.count + newer.count, last_ns=newer.last_ns)

    def note(self, time_ns: int) -> Note:
        body = {"count": self.count, "first_ns": self.first_ns, "last_ns": self.last_ns, "why": self.why}
        return Note(kind=NOT_RECORDED, time_ns=time_ns, body=body)


class GateJournal:
    """The writer of one domain's evaluations. For one thread; `Conflict` asks for another try."""

    def __init__(
        self, journals: Journals, domain: str, rules: IntentRules, settings: Settings, build: Build
    ) -> None:
        self.journal = journals.open(journal_name(domain), domain)
        self._rules = rules
        config = {
            "domain": domain,
            "caller": [item.canonical() for item in settings.caller],
            "intent": [item.canonical() for item in settings.intent],
            "reference": list(settings.gate.reference),
        }
        self._mine = Epoch(KIND, _VERSION, config, build)
        self._epoch: int | None = None
        self._head: Head | None = None
        self._sent = Sent(rules)

    def bring_forward(self, now_ns: int) -> tuple[Sent, int]:
        """What was allowed up to now, by everybody, and the time at which the next record can be known.

        Allowed evaluations are to be applied to it as they are decided; `forget` when they are not
        committed after that. `EpochMoved` when this worker may not write any more.
        """
        if self._head is None:
            self._load(now_ns)
        assert self._head is not None
        return self._sent, max(self._head.time_ns, now_ns)

    def commit(self, records: Sequence[Evaluation], missed: Missed | None = None) -> int:
        """Commits all of them, or nothing; gives the position of the first. `missed` is told before them."""
        head = self._head
        assert head is not None
        before: list[Record] = []
        extra: list[Op] = []
        if self._epoch is None:
            note, row = self._mine.opening(head, records[0].time_ns)
            before, extra = [note], [row]
        if missed is not None:
            before.append(missed.note(records[0].time_ns))
        epoch = self._epoch or head.epoch + 1
        self._head = self.journal.commit(
            head,
            Commit(records=[*before, *records], through_ns=records[-1].time_ns, epoch=epoch, extra=extra),
        )
        self._epoch = epoch
        return head.position + len(before) + 1

    def forget(self) -> None:
        """Drops what is known of the journal; it is read again, with what others have written."""
        self._head = None

    def _load(self, now_ns: int) -> None:
        head = self.journal.head()
        epoch = self._mine.number(self.journal, head)
        if self._epoch is not None and epoch is None and head.epoch >= self._epoch:
            row = self.journal.epoch_row(head.epoch)
            raise EpochMoved(self.journal.name, self._epoch, head.epoch, row["version"] if row else "?")
        self._epoch = epoch
        self._sent = Sent(self._rules)
        if self._rules.span_ns and head.position:
            since_ns = max(head.time_ns, now_ns) - self._rules.span_ns
            for entry in self.journal.scan(self.journal.position_at(since_ns) + 1, head.position):
                if isinstance(entry.record, Evaluation):
                    self._sent.apply(entry.record)
        self._head = head
