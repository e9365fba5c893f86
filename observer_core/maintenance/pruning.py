"""What the storage keeps although nothing will ask for it again: older states, keys that have expired.

Kept are the newest states of a journal (a cut after a power failure goes back to one of them) and the first
of each epoch, from which replay goes on where another version wrote what came before. Where retention removes
what a stage reads, states at distances are kept too: a cut leaves one from which what is kept follows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from observer_core.shared.canonical import decode
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import ROWS_PER_TRANSACTION, Op
from observer_core.storage.rows import StateRow

NEWEST_STATES: Final = 3


def old_states(
    journal: Journal, apart_ns: int | None = None, useless: Collection[int] = ()
) -> list[StateRow]:  # fmt: skip
    """The states that nothing needs, oldest first.

    `apart_ns`: of those that are not `useless` (by their commits) some stay, from the oldest on, at least
    so far from one another.
    """
    rows = journal.states()
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(row.epoch, row.seq)
    kept = set(first.values())
    if apart_ns is not None:
        kept |= _spaced([row for row in rows if row.seq not in useless], apart_ns)
    return [row for row in rows[:-NEWEST_STATES] if row.seq not in kept]


def _spaced(rows: Sequence[StateRow], apart_ns: int) -> set[int]:
    kept: set[int] = set()
    last_ns: int | None = None
    for row in rows:
        if last_ns is None or row.through_ns >= last_ns + apart_ns:
            kept.add(row.seq)
            last_ns = row.through_ns
    return kept


def prune_states(
    journals: Journals, name: str, apart_ns: int | None = None, useless: Collection[int] = ()
) -> int:  # fmt: skip
    """Removes `old_states`: their rows first, so that no row ever names a blob that is gone."""
    journal, storage = journals.open(name), journals.storage
    gone = old_states(journal, apart_ns, useless)
    _delete(journals, name, [row.key for row in gone])
    named = {row.blob for row in journal.states()}
    for blob in sorted({row.blob for row in gone} - named):
        storage.blobs.delete(blob)
    return len(gone)


def expired_keys(journals: Journals, name: str, before_ns: int) -> list[str]:
    """The idempotency keys of requests that were recorded before that time."""
    rows = journals.storage.tables.query(name, "i.", "i.~")
    if not rows:
        return []
    last = journals.open(name).position_at(before_ns)
    return [row.key for row in rows if decode(row.value)["position"] <= last]


def prune_keys(journals: Journals, name: str, before_ns: int) -> int:
    """Removes `expired_keys`."""
    keys = expired_keys(journals, name, before_ns)
    _delete(journals, name, keys)
    return len(keys)


def _delete(journals: Journals, name: str, keys: list[str]) -> None:
    for start in range(0, len(keys), ROWS_PER_TRANSACTION):
        ops = [Op("delete", key) for key in keys[start : start + ROWS_PER_TRANSACTION]]
        journals.storage.tables.commit(name, ops)
