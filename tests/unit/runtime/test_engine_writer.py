"""`SnapshotWriter`: exactly once, one configuration at a time, state from the journal's own records."""

from __future__ import annotations

import pytest

from observer_core.runtime.collector import SnapshotWriter
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import Conflict, EpochMoved, StorageUnavailable
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.faults import FaultyStorage
from tests.support.toys import BUILD, SOURCE, START_NS, snapshot, worker_name


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def writer(storage: object, **config: object) -> SnapshotWriter:
    journals = Journals(storage, worker=worker_name())  # type: ignore[arg-type]
    return SnapshotWriter(journals, "in", "toy", Normaliser(), BUILD, config)


def found(storage: MemoryStorage) -> list[Snapshot]:
    entries = Journals(storage, worker="r").open(SOURCE).scan()
    return [entry.record for entry in entries if isinstance(entry.record, Snapshot)]


def kinds(storage: MemoryStorage) -> list[str]:
    return [entry.record.kind for entry in Journals(storage, worker="r").open(SOURCE).scan()]


def test_the_first_record_says_what_it_was_written_with(storage: MemoryStorage) -> None:
    positions: list[int] = []
    one = writer(storage, normalise={"a": 1})
    one.write([snapshot(0)], extra=lambda first: positions.append(first) or [])
    one.write([snapshot(1), snapshot(2)], extra=lambda first: positions.append(first) or [])
    assert kinds(storage) == ["epoch", "snapshot", "snapshot", "snapshot"]
    assert positions == [2, 3]


def test_two_writers_of_one_configuration_take_turns_and_see_each_others_rows(storage: MemoryStorage) -> None:
    pair = writer(storage), writer(storage)
    for index in range(6):
        pair[index % 2].write([snapshot(index // 2)])
    assert [list(s.quality.values())[:1] for s in found(storage)] == [[], [("duplicate",)]] * 3
    assert kinds(storage).count("epoch") == 1
    assert verify(Journals(storage, worker="r").open(SOURCE)).fault is None


def test_another_configuration_takes_over_and_the_old_writer_must_not_write(storage: MemoryStorage) -> None:
    old = writer(storage, normalise={"a": 1})
    old.write([snapshot(0)])
    new = writer(storage, normalise={"a": 2})
    new.write([snapshot(1)])
    for _ in range(2):
        with pytest.raises(EpochMoved, match="in epoch 2"):
            old.write([snapshot(2)])
    new.write([snapshot(2)])
    assert [s.epoch for s in found(storage)] == [1, 2, 2]


def test_a_batch_without_snapshots_opens_no_epoch(storage: MemoryStorage) -> None:
    one = writer(storage)
    one.write([], inputs=[InputRange("load.x", 1, 1)], checkpoints={"load.x": {"position": 1}})
    assert kinds(storage) == []
    assert one.journal.head().epoch == 0
    one.write([snapshot(0)])
    assert kinds(storage) == ["epoch", "snapshot"]
    assert one.journal.epoch_row(1)["position"] == 1


def test_what_comes_late_is_known_late(storage: MemoryStorage) -> None:
    one = writer(storage)
    one.write([snapshot(5), snapshot(3)])
    assert [s.ingest_ns for s in found(storage)] == [snapshot(5).ingest_ns] * 2
    assert [s.event_ns for s in found(storage)] == [snapshot(5).event_ns, snapshot(3).event_ns]


def test_a_push_that_came_before_is_a_conflict_and_changes_nothing(storage: MemoryStorage) -> None:
    one = writer(storage)
    push = one.journal.idempotency_op("key", {"position": 2})
    one.write([snapshot(0)], extra=lambda first: [push])
    for again in (one, writer(storage)):
        with pytest.raises(Conflict):
            again.write([snapshot(1)], extra=lambda first: [push])
    assert len(found(storage)) == 1
    one.write([snapshot(1)])
    assert [s.quality for s in found(storage)] == [{}, {}]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_failed_write_can_be_asked_for_again_or_has_happened(storage: MemoryStorage, when: str) -> None:
    faulty = FaultyStorage(storage, at=4, when=when, error=lambda: StorageUnavailable("no answer"))  # type: ignore[arg-type]
    one = writer(faulty)
    one.write([snapshot(0)])
    try:
        one.write([snapshot(1)])
        one.write([snapshot(2)])
    except StorageUnavailable:
        one.write([snapshot(1)])
        one.write([snapshot(2)])
    assert [s.event_ns for s in found(storage)] == [snapshot(n).event_ns for n in range(3)]
    assert all(s.quality == {} for s in found(storage))


def test_a_new_writer_knows_the_rows_before_it_with_and_without_a_state(storage: MemoryStorage) -> None:
    one = writer(storage)
    one.write([snapshot(0), snapshot(1)])
    writer(storage).write([snapshot(1)])
    assert found(storage)[-1].quality["a"] == ("duplicate",)
    closing = writer(storage)
    closing.write([snapshot(2)])
    closing.close()
    assert closing.journal.head().state == closing.journal.head().seq
    writer(storage).write([snapshot(2)])
    assert found(storage)[-1].quality["a"] == ("duplicate",)
    assert found(storage)[-1].ingest_ns - START_NS < 1000 * SECOND
