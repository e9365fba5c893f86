"""Packing changes how a journal is stored, and nothing of what is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.maintenance.compaction import CompactionConfig, Packing, _Compactor, pack_closed, sweep
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ChainBroken, Conflict
from observer_core.shared.records import Snapshot
from observer_core.storage.archive import packs
from observer_core.storage.archive.packs import Packs
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.faults import Between, Crash, FaultyStorage, variants
from tests.support.toys import START_NS, note

SNAPSHOTS, EVENTS = "snapshots.x", "events.d"
HOUR = 3600
CONFIG = CompactionConfig(after=0, hour_bytes=1, day_bytes=1)
DAYS_ONLY = CompactionConfig(after=0, day_bytes=1)


def write(storage: Storage, first: int = 0, hours: int = 60) -> Journals:
    """Records every half hour, in commits of one or two, some of which only consumed."""
    journals = Journals(storage, worker="w")
    for step in range(2 * first, 2 * hours):
        at = START_NS + step * HOUR // 2 * SECOND
        fields = {"price": np.array([100 + step / 4, np.nan if step % 5 == 0 else 0.1 + 0.2])}
        snapshot = Snapshot(source="x", event_ns=at, ingest_ns=at, subjects=("A", "B"), fields=fields)
        append(journals, SNAPSHOTS, [snapshot] * (1 + step % 2), at)
        records = [note(step * HOUR / 2, n=step)] if step % 3 else []
        append(journals, EVENTS, records, at, InputRange(SNAPSHOTS, step + 1, step + 1))
    return journals


def append(journals: Journals, name: str, records: list[Any], at: int, *inputs: InputRange) -> None:
    journal = journals.open(name, "d")
    journal.commit(journal.head(), Commit(records=records, inputs=inputs, through_ns=at))


def everything(storage: Storage, name: str) -> dict[str, Any]:
    """All that a reader can see of a journal, however it reads."""
    journal = Journals(storage, worker="reader").open(name)
    rows = [row._replace(segment="", offset=0) for row in journal.rows()]
    last = journal.head().position
    return {
        "rows": rows,
        "lines": [line for _, lines in journal.raw() for line in lines],
        "verified": verify(journal),
        "single": [journal.entry(position).record.encode(0) for position in range(1, last + 1, 13)],
        "parts": [
            [line for _, lines in journal.raw(first, first + 30) for line in lines]
            for first in range(1, last, 40)
        ],
        "at": [journal.position_at(row.last_ns + shift) for row in rows for shift in (-1, 0, 1)],
        "after": [
            [row.seq for row in journal.rows(after_seq=row.seq, from_position=max(1, row.last))]
            for row in rows[::9]
        ],
    }


def pack_all(storage: Storage, config: CompactionConfig = CONFIG) -> list[Packing]:
    journals = Journals(storage, worker="packer")
    found = [packing for name in (SNAPSHOTS, EVENTS) for packing in pack_closed(journals, name, config)]
    journals.sync()
    return found


def sweep_all(storage: Storage) -> None:
    journals = Journals(storage, worker="sweeper")
    for name in (SNAPSHOTS, EVENTS):
        sweep(journals, name)


@pytest.fixture(params=["memory", "local"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path, durability="normal")


@pytest.mark.parametrize("config", [CONFIG, DAYS_ONLY])
def test_a_reader_sees_the_same_before_between_and_after(storage: Storage, config: CompactionConfig) -> None:
    write(storage)
    before = {name: everything(storage, name) for name in (SNAPSHOTS, EVENTS)}
    assert pack_all(storage, config)
    assert {name: everything(storage, name) for name in before} == before
    sweep_all(storage)
    assert {name: everything(storage, name) for name in before} == before


def test_hours_are_packed_when_they_close_and_become_days_when_these_do(storage: Storage) -> None:
    write(storage, 0, 5)
    hours = [p for p in pack_all(storage) if p.journal == SNAPSHOTS]
    assert [p.merged for p in hours] == [0, 0, 0, 0]  # the fifth hour has not closed
    write(storage, 5, 30)
    sweep_all(storage)
    again = [p for p in pack_all(storage) if p.journal == SNAPSHOTS]
    assert [p.merged for p in again] == [0, 0, 0, 0, 0, 0, 5]
    before = everything(storage, SNAPSHOTS)
    sweep_all(storage)
    assert everything(storage, SNAPSHOTS) == before
    assert pack_all(storage) == []


def test_days_with_little_are_packed_together_when_they_are_worth_it() -> None:
    storage = MemoryStorage()
    write(storage, 0, 24 * 9)
    rows = list(Journals(storage, worker="r").open(SNAPSHOTS).rows())
    length = sum(row.length for row in rows)
    found = pack_all(storage, CompactionConfig(after=0, day_bytes=(length + 400 * len(rows)) // 3))
    packed = [p for p in found if p.journal == SNAPSHOTS]
    assert len(packed) == 2
    assert all(length // 3 <= p.length < length // 2 for p in packed)


def test_what_is_left_is_the_open_hour_in_segments_and_the_rest_in_files(storage: Storage) -> None:
    write(storage)
    pack_all(storage)
    sweep_all(storage)
    names = [name for name in storage.segments.list() if name.startswith("snapshots/")]
    assert names == ["snapshots/source=x/date=2018-04-07/11.ndjson"]
    rows = storage.tables.query(SNAPSHOTS, "r.", "r.~")
    assert 1 <= len(rows) <= 2
    days = {name.split("/")[2] for name in storage.archives.list("snapshots/source=x/")}
    assert days == {"date=2018-04-05", "date=2018-04-06", "date=2018-04-07"}


def test_the_writer_goes_on_meanwhile(storage: Storage) -> None:
    journals = write(storage)
    pack_all(storage)
    append(journals, SNAPSHOTS, [], START_NS + 61 * HOUR * SECOND, InputRange("i.x", 1, 1))
    sweep_all(storage)
    write(storage, 62, 90)
    assert verify(Journals(storage, worker="r").open(SNAPSHOTS)).fault is None
    assert pack_all(storage)


def test_a_journal_that_only_consumes_is_packed_too_and_no_stretch_is_endless() -> None:
    storage = MemoryStorage()
    journals = write(storage, 0, 1)
    for minute in range(2500):
        at = START_NS + (30 * HOUR + 60 * minute) * SECOND
        append(journals, EVENTS, [], at, InputRange("i.x", minute + 1, minute + 1))
    before = everything_of_rows(storage)
    config = CompactionConfig(after=0, most_records=1000)
    found = [p.length for p in pack_closed(journals, EVENTS, config)]
    assert len(found) == 2
    assert len(found) == len(Packs(storage, EVENTS).all())
    assert all(pack.seq - pack.first_seq < 1000 for pack in Packs(storage, EVENTS).all())
    sweep(journals, EVENTS)
    assert everything_of_rows(storage) == before


def everything_of_rows(storage: Storage) -> list[Any]:
    rows = Journals(storage, worker="r").open(EVENTS).rows()
    return [row._replace(segment="", offset=0) for row in rows]


def test_the_hour_of_the_newest_record_stays_whoever_has_its_file_open(tmp_path: Path) -> None:
    """A journal that has looked far ahead of its last record: its hour is closed, and yet written to."""
    storage, other = LocalStorage(tmp_path), LocalStorage(tmp_path)
    journals = write(storage, 0, 2)
    append(journals, EVENTS, [], START_NS + 50 * HOUR * SECOND, InputRange(SNAPSHOTS, 1, 1))
    append(journals, EVENTS, [], START_NS + 51 * HOUR * SECOND, InputRange(SNAPSHOTS, 2, 2))
    run_once(other)
    append(journals, EVENTS, [note(1.9 * HOUR, n=99)], 0)
    assert verify(Journals(other, worker="r").open(EVENTS)).fault is None
    run_once(other)
    append(journals, EVENTS, [note(9 * HOUR, n=100)], 0)
    append(journals, EVENTS, [note(60 * HOUR, n=101)], 0)
    run_once(other)
    assert verify(Journals(other, worker="r").open(EVENTS)).fault is None
    assert not (tmp_path / "events/source=d/date=2018-04-05/01.ndjson").exists()


def test_what_somebody_has_packed_anew_is_not_merged_as_what_it_was() -> None:
    """Another one, with other settings, makes one stretch of two, under the key of the second."""
    storage = MemoryStorage()
    write(storage, 0, 5)
    pack_all(storage)
    before = everything(storage, SNAPSHOTS)
    journals = Journals(storage, worker="p")
    mine = _Compactor(journals, SNAPSHOTS, CONFIG)
    first, second, third, *_ = mine._packs.all()
    rows = [row for pack in (second, third) for row in mine._packs.unpacked(pack).rows]
    anew = [row for pack in (first, second) for row in mine._packs.unpacked(pack).rows]
    _Compactor(journals, SNAPSHOTS, CONFIG)._pack(anew, [first, second], dry_run=False)
    with pytest.raises(Conflict):
        mine._pack(rows, [second, third], dry_run=False)
    sweep_all(storage)
    assert everything(storage, SNAPSHOTS) == before


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(storage: Storage) -> None:
    write(storage)
    journals = Journals(storage, worker="packer")
    told = list(pack_closed(journals, SNAPSHOTS, CONFIG, dry_run=True))
    assert [p.stored for p in told] == [0] * len(told)
    assert list(storage.archives.list()) == []
    really = list(pack_closed(journals, SNAPSHOTS, CONFIG))
    assert [(p.first, p.last) for p in really] == [(p.first, p.last) for p in told]


def test_a_reader_that_holds_old_rows_finds_their_records_where_they_went(storage: Storage) -> None:
    write(storage)
    expected = everything(storage, SNAPSHOTS)["lines"]
    reading = Journals(storage, worker="reader").open(SNAPSHOTS).raw()
    found = list(next(reading)[1])
    pack_all(storage)
    sweep_all(storage)
    found += [line for _, lines in reading for line in lines]
    assert found == expected


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_packed_file_that_is_not_what_was_packed_is_a_broken_chain(fault: str) -> None:
    storage = MemoryStorage()
    write(storage)
    pack_all(storage)
    sweep_all(storage)
    name = next(n for n in storage.archives.list("snapshots/") if ".values." in n)
    if fault == "missing":
        storage.archives.delete(name)
    else:
        storage.archives.put(name, storage.archives.get(name)[:-1] + b"!")
    packs._cache.clear()
    found = verify(Journals(storage, worker="r").open(SNAPSHOTS)).fault
    assert found is not None
    assert (found.position, found.fault) == (1, "gap" if fault == "missing" else "hash")
    with pytest.raises(ChainBroken, match="values"):
        Journals(storage, worker="r").open(SNAPSHOTS).entry(1)


# ---------------------------------------------------------------------- interrupted, and at once


def run_once(storage: Storage) -> None:
    pack_all(storage)
    sweep_all(storage)


def stops() -> Iterator[tuple[int, Any]]:
    counting = FaultyStorage(prepared())
    run_once(counting)
    assert set(counting.steps) >= {"blob", "commit", "delete"}
    yield from variants(counting.steps)


def prepared() -> MemoryStorage:
    """Hours that are packed already, a day that closes, and new ones."""
    storage = MemoryStorage()
    write(storage, 0, 3)
    pack_all(storage)
    write(storage, 13, 15)
    return storage


def test_stopped_at_any_step_nothing_is_lost_and_the_next_run_finishes_the_job() -> None:
    done = prepared()
    before = {name: everything(done, name) for name in (SNAPSHOTS, EVENTS)}
    run_once(done)
    for at, when in stops():
        storage = prepared()
        with suppress(Crash):
            run_once(FaultyStorage(storage, at=at, when=when))
        assert {name: everything(storage, name) for name in before} == before, (at, when)
        run_once(storage)
        assert {name: everything(storage, name) for name in before} == before, (at, when)
        assert list(storage.segments.list()) == list(done.segments.list()), (at, when)
        assert len(list(storage.archives.list())) == len(list(done.archives.list())), (at, when)


def test_two_at_once_pack_each_stretch_once() -> None:
    for everybody in (lambda s: pack_all(s), lambda s: sweep_all(s), run_once):
        interleaved(everybody)


def test_what_another_has_merged_and_swept_meanwhile_is_no_broken_chain() -> None:
    storage = MemoryStorage()
    for first, hours in ((0, 3), (24, 27), (48, 49)):  # hours of two days, and what closes these
        journals = write(storage, first, hours)
        list(_Compactor(journals, SNAPSHOTS, CONFIG).packed(dry_run=False))
    before = everything(storage, SNAPSHOTS)
    merging = _Compactor(journals, SNAPSHOTS, CONFIG).merged(dry_run=False)
    assert next(merging).merged > 1
    run_once(storage)
    packs._cache.clear()
    with pytest.raises(Conflict):
        next(merging)
    assert everything(storage, SNAPSHOTS) == before


def interleaved(other: Callable[[Storage], object]) -> None:
    """The other acts between any two steps of this one, whatever becomes of either."""
    total = len(list(stops())) // 2
    for turn in range(0, total, 2):
        storage = prepared()
        before = {name: everything(storage, name) for name in (SNAPSHOTS, EVENTS)}

        def act(step: int, turn: int = turn, storage: MemoryStorage = storage) -> None:
            if step == turn:
                with suppress(Conflict):
                    other(storage)

        between = Between(storage, act)
        with suppress(Conflict):
            run_once(between)
        assert {name: everything(storage, name) for name in before} == before, turn
        run_once(storage)
        assert {name: everything(storage, name) for name in before} == before, turn
        packs = Journal(storage, SNAPSHOTS, lambda: "c")._packs.all()
        assert [p.first_seq for p in packs[1:]] == [p.seq + 1 for p in packs[:-1]]
