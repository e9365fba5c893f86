"""However a journal was written, and however far it is packed and swept, all reading gives the same."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.maintenance.fsck import check
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import NotFound
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage

NAME = "commands.x"
STEPS = st.sampled_from([0, 1, 1799, 3600, 3600 * 24, 3600 * 70])
COMMITS = st.lists(st.tuples(st.lists(STEPS, max_size=4), STEPS), min_size=1, max_size=14)
"""Of each commit: how far apart its records are, and how far ahead of the last of them it has looked."""
CONFIGS = st.sampled_from([
    CompactionConfig(after=0, hour_bytes=1, day_bytes=1),
    CompactionConfig(after=0, day_bytes=1),
    CompactionConfig(after=0, hour_bytes=1, day_bytes=600, most_records=3),
    CompactionConfig(after=0, hour_bytes=700, day_bytes=1400, most_bytes=400),
])  # fmt: skip


@given(COMMITS, COMMITS, CONFIGS, CONFIGS, st.integers(1, 40), st.sampled_from(["before", "after"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_packed_or_not_it_reads_the_same(
    first: list[Any], then: list[Any], one: CompactionConfig, other: CompactionConfig, at: int, when: Any
) -> None:
    plain, packed = MemoryStorage(), MemoryStorage()
    for storage in (plain, packed):
        write(storage, first)
    assert seen(packed) == seen(plain)
    tended(packed, one)
    for storage in (plain, packed):
        write(storage, then)
    with suppress(Crash):
        tended(FaultyStorage(packed, at=at, when=when), other)
    assert seen(packed) == seen(plain)
    assert list(check(Journals(packed, worker="f"))) == []
    tended(packed, one)
    assert seen(packed) == seen(plain)


def write(storage: Storage, commits: list[tuple[list[int], int]]) -> None:
    journal = Journals(storage, worker="w").open(NAME, "d")
    for steps, ahead in commits:
        head = journal.head()
        now, records = max(head.time_ns, 10**18), []
        for step in steps:
            now += step * SECOND
            records.append(Note(kind="command", time_ns=now, body={"n": len(records)}))
        inputs = [] if len(steps) == 3 else [InputRange("i.x", head.seq + 1, head.seq + 1)]
        journal.commit(head, Commit(records=records, inputs=inputs, through_ns=now + ahead * SECOND))


def tended(storage: Storage, config: CompactionConfig) -> None:
    list(pack_closed(Journals(storage, worker="p"), NAME, config))
    sweep(Journals(storage, worker="s"), NAME)


def seen(storage: Storage) -> Any:
    journal = Journals(storage, worker="r").open(NAME)
    rows = [row._replace(segment="", offset=0) for row in journal.rows()]
    end = journal.head().position
    places = [*range(1, end + 3, 4), end]
    return {
        "rows": rows,
        "verified": verify(journal),
        "from": [
            [row.seq for row in journal.rows(after, place, page)]
            for after in range(0, len(rows) + 2, 3)
            for place in places
            for page in (1, 1000)
        ],
        "raw": [
            [(row.seq, lines) for row, lines in journal.raw(place, place + more)]
            for place in places
            for more in (0, 5, 10**6)
        ],
        "few": [[row.seq for row, _ in journal.raw(place, commits=2)] for place in places],
        "entries": [entry(journal, position) for position in range(end + 2)],
        "at": [
            journal.position_at(moment + shift)
            for moment in sorted({row.last_ns for row in rows} | {row.through_ns for row in rows})
            for shift in (-1, 0, 1)
        ],
    }


def entry(journal: Journal, position: int) -> Any:
    try:
        return journal.entry(position).record
    except NotFound:
        return None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 1)
