"""The first broken position, and which fault it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from observer_core.shared.errors import ChainBroken
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from observer_core.storage.rows import CommitRow, Head, InputRange
from observer_core.storage.verify import Fault, verify
from tests.support.toys import note

NAME = "commands.x"
COMMITS = ((1, 2), (3,), (), (4, 5, 6), (7,))
"""Positions of each commit; one has only consumed. The third and later ones are an hour on."""
HOURS = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 1}
SEGMENTS = [f"commands/source=x/date=2018-04-05/0{hour}.ndjson" for hour in (0, 1)]


@pytest.fixture
def storage() -> MemoryStorage:
    storage = MemoryStorage()
    journal = Journals(storage, worker="w").open(NAME, "d")
    for positions in COMMITS:
        records = [note(HOURS[p] * 3600 + p, n=p) for p in positions]
        journal.commit(journal.head(), Commit(records=records, inputs=[InputRange("i.x", 1, 1)]))
    return storage


def opened(storage: MemoryStorage) -> Journal:
    return Journals(storage, worker="reader").open(NAME)


def row_at(storage: MemoryStorage, position: int) -> CommitRow:
    return next(opened(storage).rows(from_position=position))


def alter(storage: MemoryStorage, key: str, **changes: Any) -> None:
    row = storage.tables.get(NAME, key)
    assert row is not None
    storage.tables.commit(
        NAME, [Op("upsert", key, json.dumps({**json.loads(row.value), **changes}).encode())]
    )


def flip(data: bytearray, index: int) -> None:
    data[index] ^= 1


def without_row(position: int) -> Callable[[MemoryStorage], None]:
    return lambda s: s.tables.commit(NAME, [Op("delete", row_at(s, position).key)]) and None


def test_an_untouched_journal_is_whole(storage: MemoryStorage) -> None:
    found = verify(opened(storage))
    head = opened(storage).head()
    assert (found.journal, found.records, found.head, found.fault) == (NAME, 7, head.hash, None)
    assert found.size == sum(map(len, storage.segments.data.values()))
    assert verify(Journals(MemoryStorage(), worker="r").open("commands.none")).fault is None


def test_bytes_that_no_row_points_to_are_harmless(storage: MemoryStorage) -> None:
    storage.segments.append(SEGMENTS[1], b'{"half of a cra')
    journal = opened(storage)
    journal.commit(journal.head(), Commit(records=[note(3700, n=8)]))
    assert verify(journal).fault is None


BROKEN: dict[str, tuple[Callable[[MemoryStorage], Any], int, str, str]] = {
    "the first row is missing": (without_row(1), 1, "gap", "expected position 1"),
    "a row is missing": (without_row(3), 3, "gap", "expected position 3"),
    "a row that only consumed is missing": (
        lambda s: s.tables.commit(NAME, [Op("delete", "r.00000000000000000003.000000000003")]),
        4, "gap", "commit 3",
    ),
    "the last row is missing": (without_row(7), 7, "gap", "the head stands at position 7"),
    "a segment is cut": (
        lambda s: s.segments.data[SEGMENTS[1]].__delitem__(slice(-1, None)), 7, "gap", "ends at",
    ),
    "a segment is cut in the middle of a commit": (
        lambda s: s.segments.data[SEGMENTS[0]].__delitem__(slice(30, None)), 1, "gap", "ends at",
    ),
    "a segment is gone": (lambda s: s.segments.delete(SEGMENTS[1]), 4, "gap", "does not exist"),
    "a row follows another": (
        lambda s: alter(s, row_at(s, 4).key, previous="00" * 32), 4, "predecessor", "0000000000000000",
    ),
    "a row that only consumed follows another": (
        lambda s: alter(s, "r.00000000000000000003.000000000003", previous="00" * 32), 4, "predecessor", "00",
    ),
    "a row has another hash": (
        lambda s: alter(s, row_at(s, 4).key, hash="00" * 32), 4, "hash", "positions 4 to 6",
    ),
    "a row points elsewhere": (lambda s: alter(s, row_at(s, 3).key, offset=0), 3, "hash", "positions 3 to 3"),
    "the first byte of a record": (
        lambda s: flip(s.segments.data[SEGMENTS[1]], 0), 4, "hash", "positions 4 to 6",
    ),
    "a digit": (
        lambda s: flip(s.segments.data[SEGMENTS[0]], s.segments.data[SEGMENTS[0]].index(b'"n":3') + 4),
        3, "hash", "positions 3 to 3",
    ),
    "a line's end": (lambda s: flip(s.segments.data[SEGMENTS[0]], -1), 3, "hash", "1 records were committed"),
    "a line's end inside a commit": (
        lambda s: flip(s.segments.data[SEGMENTS[1]], s.segments.data[SEGMENTS[1]].index(b"\n")),
        4, "hash", "3 records",
    ),
    "a record becomes two lines": (
        lambda s: s.segments.data[SEGMENTS[0]].__setitem__(5, 10), 1, "hash", "found 3 lines",
    ),
    "the head has another hash": (lambda s: alter(s, "head", hash="00" * 32), 7, "hash", "the head's hash"),
    "the head is ahead": (lambda s: alter(s, "head", position=9), 8, "gap", "the head stands at position 9"),
    "the head is behind": (lambda s: alter(s, "head", seq=4, position=6), 6, "hash", "the head's hash"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_the_first_broken_position_and_its_fault_are_found(storage: MemoryStorage, what: str) -> None:
    damage, position, fault, detail = BROKEN[what]
    damage(storage)
    found = verify(opened(storage)).fault
    assert isinstance(found, Fault)
    assert (found.position, found.fault) == (position, fault)
    assert detail in found.detail


def test_readers_meet_the_same_fault_as_an_error(storage: MemoryStorage) -> None:
    storage.segments.delete(SEGMENTS[1])
    with pytest.raises(ChainBroken, match=r"'commands.x' is broken at position 4 \(gap\)"):
        list(opened(storage).scan())
    assert [entry.position for entry in opened(storage).scan(1, 3)] == [1, 2, 3]


def test_only_what_comes_after_a_trusted_commit_is_read(storage: MemoryStorage) -> None:
    trusted = row_at(storage, 3)
    storage.segments.delete(SEGMENTS[0])
    assert verify(opened(storage), trusted).fault is None
    flip(storage.segments.data[SEGMENTS[1]], 3)
    fault = verify(opened(storage), trusted).fault
    assert fault is not None
    assert fault.position == 4
    alter(storage, "head", hash=Head().hash.hex())
    assert verify(opened(storage)).fault != fault
