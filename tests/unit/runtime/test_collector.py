"""The writer of snapshots: all that it is given or nothing, flagged as the journal's own records say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.collector import SnapshotWriter
from observer_core.shared.errors import Conflict, EpochMoved, RecordError, StorageFull
from observer_core.shared.records import Note, Snapshot
from observer_core.snapshot_engine.normalise import Normaliser, NormaliserConfig
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.faults import FaultyStorage
from tests.support.toys import worker_name

BUILD = Build("1.0", "lock")


def snapshot(time: int, *values: float, event: int | None = None) -> Snapshot:
    subjects = tuple(f"s{place}" for place in range(len(values)))
    return Snapshot(
        source="in", event_ns=time if event is None else event, ingest_ns=time, subjects=subjects,
        fields={"price": np.array(values, np.float64)},
    )  # fmt: skip


def writer(storage: Storage, config: dict[str, Any] | None = None, **options: int) -> SnapshotWriter:
    journals = Journals(storage, worker=worker_name())
    normaliser = Normaliser(NormaliserConfig(max_subjects=3))
    return SnapshotWriter(journals, "in", "toy", normaliser, BUILD, config or {}, **options)


def stored(storage: Storage) -> list[Any]:
    return [e.record for e in Journals(storage, worker="r").open("snapshots.in").scan()]


def flags(storage: Storage) -> list[Sequence[str]]:
    return [tuple(r.quality.get("s0", ())) for r in stored(storage) if isinstance(r, Snapshot)]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def test_the_first_write_opens_an_epoch_that_names_the_configuration(storage: MemoryStorage) -> None:
    head = writer(storage, {"a": 1}).write([snapshot(5, 1.0)])
    note, first = stored(storage)
    assert isinstance(note, Note)
    assert (note.kind, note.time_ns, note.body["config"]) == ("epoch", 5, {"source": "in", "a": 1})
    assert (first.epoch, head.position, head.epoch, head.through_ns) == (1, 2, 1, 5)
    assert Journals(storage, worker="r").domain_of("snapshots.in") == "toy"


def test_nothing_given_is_nothing_written(storage: MemoryStorage) -> None:
    writer(storage).write([])
    assert stored(storage) == []


def test_what_comes_late_is_known_late(storage: MemoryStorage) -> None:
    it = writer(storage)
    it.write([snapshot(10, 1.0)])
    it.write([snapshot(4, 1.0, event=3), snapshot(12, 1.0)])
    assert [(r.event_ns, r.ingest_ns) for r in stored(storage)[1:]] == [(10, 10), (3, 10), (12, 12)]
    assert flags(storage) == [(), ("out_of_order",), ()]


def test_one_that_is_refused_takes_its_whole_batch_back_and_leaves_no_trace(storage: MemoryStorage) -> None:
    """The batch comes again, mended: nothing of it may look like a duplicate of itself."""
    it = writer(storage)
    it.write([snapshot(1, 1.0)])
    with pytest.raises(RecordError, match="4 subjects in all, at most 3 expected"):
        it.write([snapshot(2, 1.0), snapshot(3, 1.0, 2.0, 3.0, 4.0)])
    assert len(stored(storage)) == 2
    it.write([snapshot(2, 1.0), snapshot(3, 1.0, 2.0, 3.0)])
    assert flags(storage) == [(), (), ()]


@pytest.mark.parametrize("restart", ["", "forget", "anew", "closed"])
def test_the_flags_do_not_depend_on_restarts(storage: MemoryStorage, restart: str) -> None:
    it = writer(storage, state_entries=3)
    for time, value in enumerate([1.0, 1.0, -1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 0.0], 1):
        event = {5: 4, 7: 2}.get(time, time)
        it.write([snapshot(time, value, event=event)])
        if restart == "closed":
            it.close()
        if restart == "forget":
            it.forget()
        elif restart:
            it = writer(storage, state_entries=3)
    assert flags(storage) == [
        (), (), ("non_positive",), (), ("duplicate",), (), ("out_of_order",), (), ("non_positive",),
    ]  # fmt: skip
    assert [r.kind for r in stored(storage)].count("epoch") == 1


def test_a_start_after_a_close_reads_nothing_back(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = writer(storage)
    it.write([snapshot(time, 1.0) for time in range(1, 50)])
    it.close()
    it.close()
    read: list[int] = []
    scan = Journal.scan
    monkeypatch.setattr(
        Journal, "scan", lambda self, first=1, last=None: read.append(first) or scan(self, first, last)
    )
    writer(storage).write([snapshot(49, 1.0)])
    assert read == []
    monkeypatch.undo()
    assert flags(storage)[-1] == ("duplicate",)


def test_two_writers_of_one_source_take_turns_and_flag_as_one(storage: MemoryStorage) -> None:
    one, two = writer(storage), writer(storage)
    for time in range(1, 9):
        (one if time % 2 else two).write([snapshot(time, 1.0, event=time - (time == 6) * 3)])
    assert [r.event_ns for r in stored(storage)[1:]] == [1, 2, 3, 4, 5, 3, 7, 8]
    assert flags(storage) == [(), (), (), (), (), ("out_of_order",), (), ()]


def test_a_key_that_was_used_is_a_conflict_and_nothing_is_written(storage: MemoryStorage) -> None:
    it = writer(storage)
    key = [Journal.idempotency_op("k", {"position": 1})]
    positions: list[int] = []

    def extra(first: int) -> Any:
        positions.append(first)
        return key

    it.write([snapshot(1, 1.0), snapshot(2, 1.0)], extra=extra)
    with pytest.raises(Conflict, match=r"row 'i\."):
        it.write([snapshot(3, 1.0)], extra=extra)
    assert positions == [2, 4]
    assert len(stored(storage)) == 3
    it.write([snapshot(3, 1.0)])
    assert flags(storage) == [(), (), ()]


@pytest.mark.parametrize("at", range(1, 5))
def test_a_write_that_fails_can_be_made_again(storage: MemoryStorage, at: int) -> None:
    it = writer(storage)
    it.write([snapshot(1, 1.0)])
    it = writer(FaultyStorage(storage, at=at, error=lambda: StorageFull("no space left")))
    failed = 0
    for time in (2, 3):
        try:
            it.write([snapshot(time, 1.0)])
        except StorageFull:
            failed += 1
            it.write([snapshot(time, 1.0)])
    assert failed == 1
    assert flags(storage) == [(), (), ()]


def test_a_writer_of_another_configuration_goes_on_in_its_own_epoch_and_the_old_one_stops(
    storage: MemoryStorage,
) -> None:
    old = writer(storage)
    old.write([snapshot(1, 1.0)])
    new = writer(storage, {"other": True})
    new.write([snapshot(2, 1.0)])
    with pytest.raises(EpochMoved, match="'snapshots.in' is in epoch 2"):
        old.write([snapshot(3, 1.0)])
    new.write([snapshot(3, 1.0)])
    assert [r.epoch for r in stored(storage)] == [1, 1, 2, 2, 2]
