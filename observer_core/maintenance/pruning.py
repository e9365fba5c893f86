"""What the storage keeps although nothing will ask for it again: older states, keys that have expired.

Kept are the newest states of a journal (a cut after a power failure goes back to one of them) and the first
of each epoch, from which replay goes on where another version wrote what came before.
"""

from __future__ import annotations

from typing import Final

from observer_core.shared.canonical import decode
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import ROWS_PER_TRANSACTION, Op
from observer_core.storage.rows import StateRow

NEWEST_STATES: Final = 3


def old_states(journal: Journal) -> list[StateRow]:
    """The states that nothing needs, oldest first."""
    rows = journal.states()
    first: dict[int, int] = {}
    for row in rows:
        first.setdefault(row.epoch, row.seq)
    kept = set(first.values())
    return [row for row in rows[:-NEWEST_STATES] if row.seq not in kept]


def prune_states(journals: Journals, name: str) -> int:
    """Removes `old_states`: their rows first, so that no row ever names a blob that is gone."""
    journal, storage = journals.open(name), journals.storage
    gone = old_states(journal)
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
