"""After a power failure in `durability = normal`: the index is cut to what its bytes can prove.

Rows and bytes are synced at different times, so rows may survive whose bytes did not.
Such a journal is cut to its last verified commit, and so is every journal that had
consumed what is gone. What was cut is computed again from what is left; only live
observations of the last moments can be lost, and the cut is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import Clock
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import ROWS_PER_TRANSACTION, Op, Storage
from observer_core.storage.rows import CommitRow, Head
from observer_core.storage.verify import verify

OPERATIONS = "operations.local"
OPERATIONS_DOMAIN = "operations"
"""Of what this machine did: no stage works in it."""
_STAY = ("quarantined.", "hold.", "safe_mode")
"""Views that no stage would make again; a hold whose record was lost still holds."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Journal `journal` went from position `was` back to `now`, because `reason`."""

    journal: str
    was: int
    now: int
    reason: str


def recover(journals: Journals, clock: Clock) -> list[Cut]:
    """Cuts what cannot be proved, writes a `recovery` record for each cut, and gives them."""
    if not journals.storage.volatile and not journals.marked():
        return []
    names = journals.names()
    rows = {name: _recent(journals, name) for name in names}
    keep: dict[str, CommitRow | None] = {}
    reasons: dict[str, str] = {}
    for name in names:
        found = _unproved(journals, name, rows[name])
        if found is not None:
            keep[name], reasons[name] = found
    changed = True
    while changed:
        changed = False
        for name in names:
            kept = keep.get(name, rows[name][-1] if rows[name] else None)
            reason, last = _first_orphan(rows, keep, name, kept)
            if reason is not None:
                keep[name], reasons[name] = last, reason
                changed = True
    cuts = [
        Cut(name, journals.open(name).head().position, _position(kept), reasons[name])
        for name, kept in sorted(keep.items())
    ]
    # Recorded first: when this stops half way, the next start cuts (and records) again.
    if OPERATIONS in keep:
        _cut(journals, OPERATIONS, rows[OPERATIONS], keep[OPERATIONS])
        journals.forget()
    if cuts:
        _record(journals, clock, cuts)
    for name in sorted(keep.keys() - {OPERATIONS}):
        _cut(journals, name, rows[name], keep[name])
    journals.forget()
    if not journals.storage.volatile:
        journals.all_durable()
    return cuts


def _recent(journals: Journals, name: str) -> list[CommitRow]:
    """The commits since the one that is known to be durable, that one included."""
    return list(journals.open(name).rows(from_position=journals.durable_position(name)))


def _position(kept: CommitRow | None) -> int:
    return kept.last if kept else 0


def _unproved(journals: Journals, name: str, rows: list[CommitRow]) -> tuple[CommitRow | None, str] | None:
    journal = journals.open(name)
    proved: CommitRow | None = None
    durable = journals.durable_position(name)
    for row in _commit_ends(rows):
        if row.last > durable:
            break
        proved = row
    result = verify(journal, proved)
    if result.fault is None:
        return None
    for row in _commit_ends(rows):
        if row.last <= result.records and row.seq > (proved.seq if proved else 0):
            proved = row
    return proved, f"{result.fault.fault} at {result.fault.position}: {result.fault.detail}"


def _commit_ends(rows: list[CommitRow]) -> Iterator[CommitRow]:
    """The last row of each commit: one commit may have a row for each of several hours."""
    for _, commit in groupby(rows, key=lambda row: row.commit):
        *_, last = commit
        yield last


def _first_orphan(
    rows: dict[str, list[CommitRow]], keep: dict[str, CommitRow | None], name: str, kept: CommitRow | None
) -> tuple[str | None, CommitRow | None]:
    last: CommitRow | None = None
    for row in _commit_ends(rows[name]):
        if kept is None or row.seq > kept.seq:
            break
        for item in row.inputs:
            # Not only what is cut now: the recovery before this one may have stopped half way.
            if item.journal in rows:
                ends = rows[item.journal][-1:]
                limit = _position(keep.get(item.journal, ends[0] if ends else None))
                if item.last > limit:
                    return f"its input {item.journal} was cut to {limit}", last
        last = row
    return None, kept


def _cut(journals: Journals, name: str, rows: list[CommitRow], last: CommitRow | None) -> None:
    storage, journal = journals.storage, journals.open(name)
    seq, epoch = (last.seq, last.epoch) if last else (0, 0)
    lost = [row for row in rows if row.seq > seq]
    # What follows from the lost rows, then these from the newest to the oldest, then the head:
    # whenever this stops, the next start finds the rest and finishes it.
    ops = list(_checkpoints(journal, lost))
    ops += list(_pushes_after(storage, name, _position(last)))
    ops += [Op("delete", row.key) for row in journal.states() if row.seq > seq]
    ops += [Op("delete", f"v.{key}") for key in journal.views() if not key.startswith(_STAY)]
    for low, high in (("a.", "a.~"), (f"e.{epoch + 1:06d}", "e.~")):
        ops += [Op("delete", row.key) for row in storage.tables.query(name, low, high)]
    ops += [Op("delete", row.key) for row in reversed(lost)]
    for start in range(0, len(ops), ROWS_PER_TRANSACTION):
        storage.tables.commit(name, ops[start : start + ROWS_PER_TRANSACTION])
    if last is None:
        storage.tables.commit(name, [Op("delete", "head")])
        return
    states = [row.seq for row in journal.states() if row.seq <= seq]
    head = Head(
        position=last.last, hash=last.hash, time_ns=last.last_ns, through_ns=last.through_ns,
        epoch=last.epoch, seq=last.seq, state=max(states, default=0), commit=last.commit,
    )  # fmt: skip
    storage.tables.commit(name, [Op("upsert", "head", head.value())])


def _pushes_after(storage: Storage, name: str, position: int) -> Iterator[Op]:
    for row in storage.tables.query(name, "i.", "i.~"):
        if decode(row.value)["position"] > position:
            yield Op("delete", row.key)


def _checkpoints(journal: Journal, lost: list[CommitRow]) -> Iterator[Op]:
    """Each input goes back to before the first of it that a lost commit consumed."""
    first: dict[str, int] = {}
    for row in lost:
        for item in row.inputs:
            first.setdefault(item.journal, item.first)
    for name, value in journal.checkpoints().items():
        if "total" in value:  # a completely ingested file: only as long as its load is complete
            if value["load"] in first:
                yield Op("delete", f"c.{name}")
        elif first.get(name, 0) == 1:
            yield Op("delete", f"c.{name}")
        elif name in first:
            yield Op("upsert", f"c.{name}", encode({**value, "position": first[name] - 1}))


def _record(journals: Journals, clock: Clock, cuts: list[Cut]) -> None:
    journal = journals.open(OPERATIONS, domain="operations")
    head = journal.head()
    now = max(head.time_ns, clock.now_ns())
    notes = [
        Note(kind="recovery", time_ns=now,
             body={"journal": cut.journal, "was": cut.was, "now": cut.now, "reason": cut.reason})
        for cut in cuts
    ]  # fmt: skip
    journal.commit(head, Commit(records=notes, through_ns=now))
