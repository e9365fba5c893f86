"""What was not executed, and of how much: from the gate's journal and the decisions' non-executions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.decision_pipeline.gate import UNKNOWN_CODES
from observer_core.decision_pipeline.policy import RESERVED
from observer_core.runtime.gate.journal import NOT_RECORDED, journal_name
from observer_core.shared.records import Decision, Evaluation, Note
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

_NEARBY: Final = 20_000
_CHUNK: Final = 256


@dataclass(slots=True)
class NonExecution:
    """Of one domain. `evaluated` = allowed + denied; `matched` = acted + suppressed.

    `not_observed`: those of the denied whose instrument no source observed. `not_recorded`: denials that
    could not be written when they were given, which nothing else is known of. `matched` are decisions of
    policies, `suppressed` those of them that were withheld, by reason. A denial may have several reasons.
    """

    domain: str
    evaluated: int = 0
    allowed: int = 0
    denied: int = 0
    not_observed: int = 0
    not_recorded: int = 0
    matched: int = 0
    acted: int = 0
    suppressed: int = 0
    denials: Counter[str] = field(default_factory=Counter)
    suppressions: Counter[tuple[str, str]] = field(default_factory=Counter)
    callers: dict[str, list[int]] = field(default_factory=dict)
    first_ns: int | None = None
    last_ns: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "domain": self.domain, "first_ns": self.first_ns, "last_ns": self.last_ns,
            "gate": {
                "evaluated": self.evaluated, "allowed": self.allowed, "denied": self.denied,
                "not_observed": self.not_observed, "not_recorded": self.not_recorded,
                "reasons": dict(self.denials.most_common()),
                "callers": {
                    name: {"evaluated": sum(row), "allowed": row[0], "denied": row[1]}
                    for name, row in sorted(self.callers.items())
                },
            },
            "decisions": {
                "matched": self.matched, "acted": self.acted, "suppressed": self.suppressed,
                "reasons": [
                    {"policy": policy, "code": code, "count": count}
                    for (policy, code), count in self.suppressions.most_common()
                ],
            },
        }  # fmt: skip


def non_execution(
    journals: Journals, domain: str, *, since_ns: int | None = None, until_ns: int | None = None,
    caller: str | None = None,
) -> NonExecution:  # fmt: skip
    """Counts what was recorded since then, and before `until_ns`.

    `caller` narrows what the gate was asked, not the decisions.
    """
    found = NonExecution(domain)
    for record in _records(journals.open(journal_name(domain)), since_ns, until_ns):
        if isinstance(record, Evaluation) and caller in (None, record.caller):
            _count(found, record)
        elif isinstance(record, Note) and record.kind == NOT_RECORDED and caller is None:
            found.not_recorded += record.body["count"]
    for record in _records(journals.open(f"decisions.{domain}"), since_ns, until_ns):
        if not isinstance(record, Decision):
            continue
        if record.verdict == "non_execution":
            found.suppressed += 1
            code = str(record.reasons[0].get("code", "?")) if record.reasons else "?"
            found.suppressions[record.policy, code] += 1
        elif record.verdict in ("block", "judgment") and record.policy not in RESERVED:
            found.acted += 1
    found.matched = found.acted + found.suppressed
    return found


def _count(found: NonExecution, record: Evaluation) -> None:
    found.evaluated += 1
    row = found.callers.setdefault(record.caller, [0, 0])
    found.first_ns = record.time_ns if found.first_ns is None else found.first_ns
    found.last_ns = record.time_ns
    if record.verdict == "allow":
        found.allowed += 1
        row[0] += 1
        return
    found.denied += 1
    row[1] += 1
    codes = {str(reason["code"]) for reason in record.reasons}
    found.denials.update(codes)
    found.not_observed += not UNKNOWN_CODES.isdisjoint(codes)


def _records(journal: Journal, since_ns: int | None, until_ns: int | None) -> Iterator[Any]:
    last = journal.head().position if until_ns is None else journal.position_at(until_ns - 1)
    first = 1 if since_ns is None else journal.position_at(since_ns - 1) + 1
    return (entry.record for entry in (journal.scan(first, last) if last >= first else ()))


def asked_nearest(journals: Journals, domain: str, subject: str, at_ns: int) -> tuple[int, Evaluation] | None:
    """What somebody was told about `subject` nearest to then, and where that stands; the earlier of two.

    Of the records around that moment: so many before it and so many after it are looked at.
    """
    journal = journals.open(journal_name(domain))
    middle, last = journal.position_at(at_ns), journal.head().position
    before = _last_of(journal, subject, max(1, middle - _NEARBY + 1), middle)
    after = next(_of(journal, subject, middle + 1, min(last, middle + _NEARBY)), None)
    if before is None or after is None:
        return before or after
    return before if at_ns - before[1].time_ns <= after[1].time_ns - at_ns else after


def _last_of(journal: Journal, subject: str, first: int, last: int) -> tuple[int, Evaluation] | None:
    while last >= first:
        start = max(first, last - _CHUNK + 1)
        found = list(_of(journal, subject, start, last))
        if found:
            return found[-1]
        last = start - 1
    return None


def _of(journal: Journal, subject: str, first: int, last: int) -> Iterator[tuple[int, Evaluation]]:
    for entry in journal.scan(first, last) if last >= first else ():
        if isinstance(entry.record, Evaluation) and entry.record.resource == subject:
            yield entry.position, entry.record
