"""What a cut takes with it: all that followed from what is gone, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.shared.clock import ManualClock
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemorySegments, MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.recovery import OPERATIONS, Cut, recover
from observer_core.storage.rows import InputRange, StateRow
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage
from tests.support.toys import note, worker_name


class VolatileStorage(MemoryStorage):
    """As `durability = normal`: rows may outlive the bytes that they point to."""

    volatile = True

    def __init__(self) -> None:
        super().__init__()
        self.segments: MemorySegments = MemorySegments()

    def lose(self, journal: str, position: int) -> None:
        """The bytes of the commit that holds `position`, and all after it in its segment."""
        row = next(Journals(self, worker="x").open(journal).rows(from_position=position))
        del self.segments.data[row.segment][row.offset + row.length // 2 :]


@pytest.fixture
def storage() -> VolatileStorage:
    return VolatileStorage()


def started(storage: Storage) -> list[Cut]:
    return recover(Journals(storage, worker=worker_name()), ManualClock(note(0).time_ns))


def add(storage: Storage, name: str, *seconds: float, **parts: Any) -> None:
    journal = Journals(storage, worker=worker_name()).open(name, "d")
    journal.commit(journal.head(), Commit(records=[note(second) for second in seconds], **parts))


def positions(storage: Storage, *names: str) -> list[int]:
    return [Journals(storage, worker="r").open(name).head().position for name in names]


def consuming(first: int, last: int, name: str = "a.in") -> dict[str, Any]:
    return {"inputs": [InputRange(name, first, last)], "checkpoints": {name: {"position": last}}}


@pytest.mark.parametrize("reader", ["z.out", "0.out"])
def test_who_consumed_what_is_gone_is_cut_in_whatever_order_the_cuts_happen(reader: str) -> None:
    """Stopped after any of its steps, the next recovery still knows what the first one knew."""
    step = 0
    while True:
        step += 1
        storage = VolatileStorage()
        for second in range(4):
            add(storage, "a.in", second)
            add(storage, reader, second, **consuming(second + 1, second + 1))
            add(storage, f"{reader}2", second, **consuming(second + 1, second + 1, reader))
        storage.lose("a.in", 3)
        faulty = FaultyStorage(storage, at=step, when="after")
        try:
            started(faulty)
        except Crash:
            started(storage)
        else:
            break
        assert positions(storage, "a.in", reader, f"{reader}2") == [2, 2, 2], f"stopped after step {step}"
        journals = Journals(storage, worker="r")
        assert journals.open(reader).checkpoints() == {"a.in": {"position": 2}}
        assert journals.open(f"{reader}2").checkpoints() == {reader: {"position": 2}}
        assert all(verify(journals.open(name)).fault is None for name in ("a.in", reader, f"{reader}2"))
        assert started(storage) == []
    assert step > 8


def test_inputs_that_are_not_cut_keep_their_place(storage: VolatileStorage) -> None:
    add(storage, "a.in", 0, 1, 2)
    add(storage, "b.in", 0, 1)
    add(storage, "z.out", 0, **consuming(1, 1, "b.in"))
    add(storage, "z.out", 1, **consuming(1, 1))
    Journals(storage, worker="w").open("z.out")
    journals = Journals(storage, worker="w")
    for name in journals.names():
        journals.open(name)
    journals.sync()
    add(storage, "z.out", 2, **consuming(2, 2))
    add(storage, "z.out", 3, **consuming(3, 3))
    storage.lose("z.out", 3)
    (cut,) = started(storage)
    assert (cut.journal, cut.was, cut.now) == ("z.out", 4, 2)
    assert cut.reason.startswith("gap at 3")
    assert Journals(storage, worker="r").open("z.out").checkpoints() == {
        "a.in": {"position": 1}, "b.in": {"position": 1}
    }  # fmt: skip


def test_what_followed_from_lost_records_goes_and_what_closes_the_gate_stays(
    storage: VolatileStorage,
) -> None:
    def state(seq: int) -> StateRow:
        return StateRow(seq=seq, blob=f"x{seq}", epoch=1, through_ns=0, consumed={})

    journal = Journals(storage, worker="w").open("a.out")
    kept, lost = (journal.idempotency_op(key, {"position": p}) for key, p in (("kept", 1), ("lost", 3)))
    file = {"load": "load.x", "total": 2}
    add(storage, "a.out", 0, extra=[kept], state=state, **consuming(1, 1, "load.x"))
    journal.record_attempt("i.x", {"first": 3, "last": 3, "attempts": 3})
    add(storage, "a.out", 1, views={"v": 1, "quarantined.i.x@1": {}}, **consuming(1, 1, "load.done"))
    add(storage, "a.out", 2, extra=[lost], state=state, inputs=[InputRange("load.x", 2, 2)],
        checkpoints={"load.x": {"position": 2, "parts": ["p"]}, "file.a": file,
                     "file.b": {"load": "load.done", "total": 1}})  # fmt: skip
    storage.lose("a.out", 3)
    assert [(cut.was, cut.now) for cut in started(storage)] == [(3, 2)]
    journal = Journals(storage, worker="r").open("a.out")
    assert journal.checkpoints() == {
        "load.x": {"position": 1, "parts": ["p"]}, "load.done": {"position": 1},
        "file.b": {"load": "load.done", "total": 1},
    }  # fmt: skip
    assert journal.views() == {"quarantined.i.x@1": {}}
    assert journal.attempt("i.x") is None
    assert (journal.idempotency("kept"), journal.idempotency("lost")) == ({"position": 1}, None)
    assert [row.seq for row in journal.states()] == [1] == [journal.head().state]


def test_a_commit_of_two_hours_is_kept_whole_or_not_at_all(storage: VolatileStorage) -> None:
    add(storage, "a.in", 0)
    add(storage, "a.in", 3599, 3601)
    storage.lose("a.in", 3)
    assert [(cut.was, cut.now) for cut in started(storage)] == [(3, 1)]


def test_a_journal_that_loses_all_begins_anew(storage: VolatileStorage) -> None:
    add(storage, "a.in", 0, checkpoints={"load.x": {"position": 1}}, inputs=[InputRange("load.x", 1, 1)])
    storage.lose("a.in", 1)
    assert [(cut.was, cut.now) for cut in started(storage)] == [(1, 0)]
    journal = Journals(storage, worker="r").open("a.in")
    assert (journal.head().etag, journal.checkpoints(), list(journal.rows())) == ("", {}, [])
    add(storage, "a.in", 0, 1)
    assert verify(Journals(storage, worker="r").open("a.in")).fault is None


def test_only_what_is_not_known_to_be_durable_is_looked_at(
    storage: VolatileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads what came since the last sync, not the whole history."""
    journals = Journals(storage, worker="w")
    for second in range(50):
        journal = journals.open("a.in", "d")
        journal.commit(journal.head(), Commit(records=[note(second)]))
    journals.sync()
    add(storage, "a.in", 50)
    read: list[int] = []
    query = storage.tables.query

    def counting(*arguments: Any) -> Any:
        found = query(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(storage.tables, "query", counting)
    assert started(storage) == []
    assert sum(read) < 20


def test_a_store_that_syncs_before_it_returns_is_never_cut() -> None:
    storage = MemoryStorage()
    add(storage, "a.in", 0)
    storage.segments.data.clear()
    assert started(storage) == []
    assert Journals(storage, worker="r").names() == ["a.in"]


def test_even_the_record_of_cuts_can_be_cut(storage: VolatileStorage) -> None:
    add(storage, "a.in", 0, 1)
    storage.lose("a.in", 1)
    started(storage)
    storage.lose(OPERATIONS, 1)
    assert [cut.journal for cut in started(storage)] == [OPERATIONS]
    (entry,) = Journals(storage, worker="r").open(OPERATIONS).scan()
    assert entry.record.kind == "recovery"
    assert entry.record.body["journal"] == OPERATIONS  # type: ignore[union-attr]
    assert verify(Journals(storage, worker="r").open(OPERATIONS)).fault is None


def test_a_store_that_was_used_without_syncing_is_looked_at_once_more_and_never_again(
    storage: VolatileStorage,
) -> None:
    add(storage, "a.in", 1)
    Journals(storage, worker="w").open("a.in")
    journals = Journals(storage, worker="w")
    journals.open("a.in")
    journals.sync()
    add(storage, "a.in", 2)
    storage.lose("a.in", 2)
    storage.volatile = False  # the next start syncs before it returns
    assert [(cut.journal, cut.was, cut.now) for cut in started(storage)] == [("a.in", 2, 1)]
    assert not Journals(storage, worker="w").marked()
    assert started(storage) == []
