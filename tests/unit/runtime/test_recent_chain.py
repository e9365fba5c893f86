"""The newest part of a journal is verified as it grows, at a bounded cost."""

from __future__ import annotations

import pytest

from observer_core.runtime.chain import RecentChain
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import InputRange


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def journal(storage: MemoryStorage) -> Journal:
    return Journals(storage, worker="w").open("events.live", "live")


def write(journal: Journal, count: int) -> None:
    for _ in range(count):
        head = journal.head()
        note = Note(kind="tick", time_ns=head.time_ns + 1, body={"n": head.position})
        journal.commit(head, Commit(records=[note]))


def spoil(storage: MemoryStorage, byte: int) -> None:
    (data,) = storage.segments.data.values()
    data[byte] ^= 1


def test_an_empty_journal_is_fine(journal: Journal) -> None:
    assert RecentChain(5).verify(journal).fault is None


def test_a_fault_among_the_newest_records_is_found(journal: Journal, storage: MemoryStorage) -> None:
    write(journal, 20)
    spoil(storage, -5)
    fault = RecentChain(5).verify(journal).fault
    assert fault is not None
    assert (fault.position, fault.fault) == (20, "hash")


def test_an_old_fault_is_left_to_a_full_verification(journal: Journal, storage: MemoryStorage) -> None:
    write(journal, 20)
    spoil(storage, 5)
    assert RecentChain(5).verify(journal).fault is None
    assert RecentChain(50).verify(journal).fault is not None


def test_what_came_since_the_last_look_is_verified(journal: Journal, storage: MemoryStorage) -> None:
    recent = RecentChain(5)
    for _ in range(10):
        write(journal, 3)
        assert recent.verify(journal).fault is None
    write(journal, 1)
    spoil(storage, -5)
    assert recent.verify(journal).fault is not None


def test_commits_without_records_do_not_disturb(journal: Journal) -> None:
    recent = RecentChain(5)
    write(journal, 3)
    for position in range(1, 10):
        journal.commit(journal.head(), Commit(inputs=[InputRange("patterns.x", position, position)]))
        assert recent.verify(journal).fault is None
    write(journal, 2)
    assert recent.verify(journal).fault is None


def test_a_journal_that_was_cut_is_verified_anew(journal: Journal, storage: MemoryStorage) -> None:
    recent = RecentChain(50)
    write(journal, 10)
    recent.verify(journal)
    storage.tables.data.pop("events.live")
    storage.tables._keys.pop("events.live", None)
    storage.segments.data.clear()
    again = Journals(storage, worker="w2").open("events.live", "live")
    write(again, 3)
    assert recent.verify(again).fault is None
