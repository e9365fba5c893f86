from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from observer_core.shared.clock import SECOND
from observer_core.shared.errors import (
    Conflict,
    JournalError,
    LimitExceeded,
    NotFound,
    SegmentFull,
    StorageUnavailable,
)
from observer_core.shared.records import Note, Record, Snapshot
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import HOURS_PER_COMMIT, Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemorySegments, MemoryStorage
from observer_core.storage.ports import APPEND_BYTES, Op
from observer_core.storage.rows import GENESIS, Head, InputRange, StateRow, chain
from observer_core.storage.verify import verify
from tests.support.faults import FaultyStorage
from tests.support.toys import START_NS, note, worker_name

HOUR_S = 3600


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def opened(storage: object, name: str = "commands.x") -> Journal:
    return Journals(storage, worker=worker_name()).open(name, "d")  # type: ignore[arg-type]


def add(journal: Journal, *records: Record, **parts: object) -> Head:
    return journal.commit(journal.head(), Commit(records=records, **parts))  # type: ignore[arg-type]


def test_what_is_committed_is_read_in_order(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, note(1, n=1), note(2, n=2))
    head = add(journal, note(2, n=3))
    assert (head.position, head.seq, head.time_ns) == (3, 2, note(2).time_ns)
    assert head == journal.head() == opened(storage).head()
    for reader in (journal, opened(storage)):
        entries = reader.read(0)
        assert [(e.ref, e.record.body["n"]) for e in entries] == [  # type: ignore[union-attr]
            ("commands.x@1", 1), ("commands.x@2", 2), ("commands.x@3", 3)
        ]  # fmt: skip
        assert reader.read(1, 1) == entries[1:2]
        assert reader.read(3) == []
        assert list(reader.scan(2, 2)) == entries[1:2]
        assert reader.entry(3) == entries[2]
        with pytest.raises(NotFound, match="commands.x@4"):
            reader.entry(4)


def test_the_chain_runs_over_stored_bytes_record_by_record(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, note(1, n=1), note(2, n=2))
    add(journal, note(3, n=3))
    stored = [line for _, lines in journal.raw() for line in lines]
    assert stored == [note(n, n=n).encode(0) for n in (1, 2, 3)]
    assert journal.head().hash == chain(GENESIS, stored)
    assert [len(lines) for _, lines in journal.raw(2, 2)] == [2], "whole commits"


def test_a_commit_is_split_by_hours_and_is_still_one(storage: MemoryStorage) -> None:
    journal = opened(storage, "snapshots.x")
    times = [0, 1, HOUR_S, HOUR_S + 1, 30 * HOUR_S]
    head = add(journal, *(note(t) for t in times), inputs=[InputRange("i.x", 1, 5)], through_ns=START_NS)
    rows = list(journal.rows())
    assert [(row.first, row.last, row.segment) for row in rows] == [
        (1, 2, "snapshots/source=x/date=2018-04-05/00.ndjson"),
        (3, 4, "snapshots/source=x/date=2018-04-05/01.ndjson"),
        (5, 5, "snapshots/source=x/date=2018-04-06/06.ndjson"),
    ]
    assert {row.commit for row in rows} == {head.commit}
    assert [row.inputs for row in rows] == [(), (), (InputRange("i.x", 1, 5),)]
    assert head.seq == 3
    assert [e.position for e in opened(storage, "snapshots.x").read(0)] == [1, 2, 3, 4, 5]


def test_a_commit_of_very_many_hours_keeps_what_is_too_much_in_its_last_segment(
    storage: MemoryStorage,
) -> None:
    journal = opened(storage)
    hours = HOURS_PER_COMMIT + 25
    add(journal, *(note(HOUR_S * h, h=h) for h in range(hours)))
    assert len(list(journal.rows())) <= HOURS_PER_COMMIT + 1
    assert [e.record.body["h"] for e in opened(storage).scan()] == list(range(hours))  # type: ignore[union-attr]
    assert verify(opened(storage)).fault is None
    for h in (0, 3, HOURS_PER_COMMIT - 1, HOURS_PER_COMMIT + 7, hours - 1):
        assert journal.position_at(note(HOUR_S * h).time_ns) == h + 1


def test_large_records_are_split_by_bytes_and_one_beyond_the_limit_is_refused(storage: MemoryStorage) -> None:
    journal = opened(storage)
    sizes = (100, 3_000_000, 3_000_000, 1_500_000, 1_500_000, 100)
    add(journal, *(note(n, pad="x" * size) for n, size in enumerate(sizes)))
    assert [len(e.record.body["pad"]) for e in opened(storage).scan()] == list(sizes)  # type: ignore[union-attr]
    before = journal.head()
    with pytest.raises(LimitExceeded, match=str(APPEND_BYTES)):
        add(journal, note(9, pad="x" * APPEND_BYTES))
    assert journal.head() == before


def test_time_never_goes_back(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, note(5))
    before = journal.head()
    for records in ([note(4)], [note(6), note(7), note(6)]):
        with pytest.raises(JournalError, match="'commands.x'.*times never decrease"):
            add(journal, *records)
    assert journal.head() == before
    assert add(journal, note(5)).position == 2


def test_a_commit_that_only_consumed_is_kept_in_order_even_before_any_record(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, inputs=[InputRange("i.a", 1, 2), InputRange("i.b", 1, 1, skipped=True)], through_ns=7)
    add(journal, inputs=[InputRange("i.a", 3, 3)])
    add(journal, note(1), inputs=[InputRange("i.a", 4, 4)])
    add(journal, inputs=[InputRange("i.b", 2, 9)])
    for reader in (journal, opened(storage)):
        assert [item for row in reader.rows() for item in row.inputs] == [
            InputRange("i.a", 1, 2), InputRange("i.b", 1, 1, skipped=True), InputRange("i.a", 3, 3),
            InputRange("i.a", 4, 4), InputRange("i.b", 2, 9),
        ]  # fmt: skip
        assert [row.seq for row in reader.rows(after_seq=2)] == [3, 4]
        assert verify(reader).fault is None
        assert [e.position for e in reader.scan()] == [1]
    assert journal.head().through_ns == 7


def test_a_commit_of_time_alone_moves_the_head_and_leaves_no_row(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, note(1))
    head = add(journal, through_ns=START_NS + 9 * SECOND, checkpoints={"i.a": {"position": 3}})
    assert (head.position, head.seq, head.through_ns) == (1, 1, START_NS + 9 * SECOND)
    assert add(journal, through_ns=5).through_ns == START_NS + 9 * SECOND, "time never goes back"
    assert journal.checkpoint("i.a") == {"position": 3}
    assert journal.checkpoints() == {"i.a": {"position": 3}}
    assert verify(journal).fault is None


def test_position_at_is_the_last_known_then(storage: MemoryStorage) -> None:
    journal = opened(storage)
    seconds = [1, 2, 2, 2, 5, 5000, 5000, 9000]
    add(journal, *map(note, seconds[:3]))
    add(journal, inputs=[InputRange("i.a", 1, 1)])
    add(journal, *map(note, seconds[3:]))
    for at in (0, 1, 1.5, 2, 4, 5, 4999, 5000, 8000, 9000, 10_000):
        assert journal.position_at(note(at).time_ns) == sum(s <= at for s in seconds), at
    assert opened(storage, "commands.none").position_at(START_NS) == 0


def test_a_stale_head_is_a_conflict_and_leaves_nothing(storage: MemoryStorage) -> None:
    one, two = opened(storage), opened(storage)
    stale = one.head()
    add(two, note(1, by="two"), views={"a": {"n": 1}})
    rows = storage.tables.query("commands.x", "", "~")
    with pytest.raises(Conflict, match="head"):
        one.commit(
            stale, Commit(records=[note(1, by="one")], views={"b": {}}, inputs=[InputRange("i.x", 1, 1)])
        )
    assert storage.tables.query("commands.x", "", "~") == rows
    assert [e.record.body for e in one.read(0)] == [{"by": "two"}]  # type: ignore[union-attr]
    add(one, note(2, by="one"))
    assert [e.record.body["by"] for e in two.scan()] == ["two", "one"]  # type: ignore[union-attr]
    assert verify(two).fault is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_after_an_ambiguous_failure_the_commit_id_tells(storage: MemoryStorage, when: str) -> None:
    opened(storage)
    faulty = FaultyStorage(storage, at=2, when=when, error=lambda: StorageUnavailable("no answer"))  # type: ignore[arg-type]
    journal = opened(faulty)
    if when == "after":
        assert add(journal, note(1)).position == 1
    else:
        with pytest.raises(StorageUnavailable, match="no answer"):
            add(journal, note(1))
        assert journal.head().position == 0
    add(journal, note(2))
    assert verify(journal).fault is None
    assert [e.time_ns for e in journal.read(0)] == [e.time_ns for e in opened(storage).scan()]


def test_a_lost_answer_is_understood_although_somebody_has_committed_since(storage: MemoryStorage) -> None:
    journal, other = opened(storage), opened(storage)
    add(journal, note(1))
    real = storage.tables.commit

    def lost(partition: str, ops: Sequence[Op]) -> list[str]:
        storage.tables.commit = real  # type: ignore[method-assign]
        real(partition, ops)
        add(other, note(3, by="other"))
        raise StorageUnavailable("no answer")

    storage.tables.commit = lost  # type: ignore[method-assign]
    head = journal.commit(journal.head(), Commit(records=[note(2)]))
    assert head.position == 2
    with pytest.raises(Conflict, match="head"):
        journal.commit(head, Commit(records=[note(4)]))
    assert [e.time_ns for e in opened(storage).scan()] == [note(n).time_ns for n in (1, 2, 3)]


def test_a_commit_id_of_an_earlier_life_is_not_taken_for_ones_own(storage: MemoryStorage) -> None:
    Journals(storage, worker="same").open("commands.x").commit(Head(), Commit(records=[note(1)]))
    faulty = FaultyStorage(storage, at=2, error=lambda: StorageUnavailable("no answer"))
    again = Journals(faulty, worker="same").open("commands.x")
    with pytest.raises(StorageUnavailable):
        add(again, note(2))
    assert again.head().position == 1


class FullSegments(MemorySegments):
    def append(self, name: str, data: bytes) -> int:
        if len(self.data.get(name, b"")) > 150:
            raise SegmentFull(name)
        return super().append(name, data)


def test_a_full_segment_is_continued_under_another_name(storage: MemoryStorage) -> None:
    storage.segments = FullSegments()
    for number in range(12):
        if number % 3 == 0:  # sometimes by one that does not know which are full
            journal = opened(storage)
        add(journal, note(number, n=number))
    assert sorted(storage.segments.list()) == [
        f"commands/source=x/date=2018-04-05/00{part}.ndjson" for part in ("", "~1", "~2", "~3")
    ]
    assert [e.record.body["n"] for e in journal.scan()] == list(range(12))  # type: ignore[union-attr]
    assert verify(journal).fault is None


def test_a_pushed_batch_is_taken_once(storage: MemoryStorage) -> None:
    journal = opened(storage)
    push = journal.idempotency_op("key/with#anything?", {"position": 1})
    add(journal, note(1), extra=[push])
    assert journal.idempotency("key/with#anything?") == {"position": 1}
    assert journal.idempotency("other") is None
    with pytest.raises(Conflict) as conflict:
        add(journal, note(1), extra=[push])
    assert conflict.value.key.startswith("i.")
    assert journal.head().position == 1


def test_views_change_with_the_commit_and_are_read_with_its_head(storage: MemoryStorage) -> None:
    journal = opened(storage)
    add(journal, note(1), views={"a": {"n": 1}, "b": {"n": 2}})
    head, views = journal.consistent_views()
    assert (head, views) == (journal.head(), {"a": {"n": 1}, "b": {"n": 2}})
    add(journal, views={"a": None, "b": {"n": 3}})
    assert journal.views() == {"b": {"n": 3}}


def test_views_of_two_commits_are_never_mixed(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = opened(storage), opened(storage)
    add(writer, note(1), views={"n": 1})
    query, left = storage.tables.query, [3]

    def moving(*arguments: object) -> object:
        found = query(*arguments)  # type: ignore[arg-type]
        if left[0]:
            left[0] -= 1
            position = writer.head().position + 1
            add(writer, note(position), views={"n": position})
        return found

    monkeypatch.setattr(storage.tables, "query", moving)
    head, views = reader.consistent_views()
    assert (head.position, views) == (4, {"n": 4})
    left[0] = 1000
    with pytest.raises(StorageUnavailable, match="too fast"):
        reader.consistent_views()


def test_what_memory_gives_is_what_the_storage_gives(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, durability="normal")
    journals = Journals(storage, worker="w")
    journal = journals.open("snapshots.x", "d")
    mine = Epoch("collect", "1", {}, Build("1", "l"))
    opening, row = mine.opening(journal.head(), START_NS)
    journal.commit(journal.head(), Commit(records=[opening], extra=[row], epoch=1))
    for number in range(40):
        values = np.array([number / 7, np.nan, -0.0, 1e300] * 5, np.float64)
        snapshot = Snapshot(
            source="x", event_ns=START_NS, ingest_ns=START_NS + number * 600 * SECOND,
            subjects=tuple(f"s{i}" for i in range(20)), fields={"price": values, "size": values[::-1].copy()},
            quality={"s1": ("gap",)}, origin={"row": number},
        )  # fmt: skip
        add(journal, snapshot)
    cached, stored = journal.read(0), list(Journals(storage, worker="r").open("snapshots.x").scan())
    assert [e.record.encode(1) for e in cached] == [e.record.encode(1) for e in stored]
    assert [e.record.epoch for e in cached] == [e.record.epoch for e in stored] == [1] * 41
    assert [line for _, lines in journal.raw() for line in lines] == [e.record.encode(1) for e in cached]
    assert [(e.ref, e.time_ns) for e in cached] == [(e.ref, e.time_ns) for e in stored]
    storage.close()


def test_a_tail_that_others_have_continued_is_still_right(storage: MemoryStorage) -> None:
    one, two = opened(storage), opened(storage)
    for number in range(6):
        add((one, two)[number % 2], note(number, n=number))
        for reader in (one, two):
            reader.head()
            for after in range(number + 1):
                numbers: list[int] = []
                while len(numbers) < number + 1 - after:
                    numbers += [e.record.body["n"] for e in reader.read(after + len(numbers))]  # type: ignore[union-attr]
                assert numbers == list(range(after, number + 1))


def test_a_lease_keeps_others_out_until_it_ends(storage: MemoryStorage) -> None:
    journal, other = opened(storage), opened(storage)
    assert journal.take_lease("a", 0, 100)
    assert not other.take_lease("b", 99, 199)
    assert journal.take_lease("a", 50, 150)
    assert other.take_lease("b", 150, 250)
    assert not journal.take_lease("a", 160, 260)


def test_a_state_row_stands_at_its_commit(storage: MemoryStorage) -> None:
    journal = opened(storage)

    def state(seq: int) -> StateRow:
        return StateRow(seq=seq, blob="x", epoch=0, through_ns=3, consumed={"i.a": seq})

    assert journal.newest_state(journal.head()) is None
    head = add(journal, note(1), note(HOUR_S), state=state)
    add(journal, note(HOUR_S))
    assert head.state == head.seq == 2
    assert journal.newest_state(journal.head()) == state(2)
    add(journal, state=state)
    assert journal.states() == [state(2), state(3)]
    storage.tables.commit("commands.x", [Op("delete", state(3).key)])
    with pytest.raises(JournalError, match="names state 3, which does not exist"):
        journal.newest_state(journal.head())


def test_a_journal_belongs_to_one_domain(storage: MemoryStorage) -> None:
    journals = Journals(storage, worker="w")
    journals.open("events.live", "live")
    journals.open("snapshots.b", "live")
    journals.open("snapshots.a", "replay")
    for other in (journals, Journals(storage, worker="v")):
        assert other.names() == ["events.live", "snapshots.a", "snapshots.b"]
        assert other.names("snapshots") == ["snapshots.a", "snapshots.b"]
        assert other.names(domain="live") == ["events.live", "snapshots.b"]
        assert other.domains() == ["live", "replay"]
        assert other.domain_of("snapshots.a") == "replay"
        assert other.domain_of("snapshots.none") is None
        with pytest.raises(
            JournalError, match="'snapshots.a' belongs to domain 'replay' and cannot be used in 'live'"
        ):
            other.open("snapshots.a", "live")


def test_of_two_that_register_at_the_same_time_one_is_refused(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = Journals(storage, worker="a"), Journals(storage, worker="b")
    asked = mine.domain_of

    def late(name: str) -> str | None:
        found = asked(name)
        monkeypatch.setattr(mine, "domain_of", asked)
        other.open(name, "live")
        return found

    monkeypatch.setattr(mine, "domain_of", late)
    with pytest.raises(JournalError, match="belongs to domain 'live'"):
        mine.open("snapshots.a", "replay")


@pytest.mark.parametrize("name", ["", "x", ".x", "x.", "x.A", "x.a b", "x.a/b", "a.b.c", "x." + "a" * 80])
def test_a_journal_has_a_name_that_every_backend_can_keep(storage: MemoryStorage, name: str) -> None:
    with pytest.raises(JournalError, match=r"KIND\.NAME"):
        Journals(storage, worker="w").open(name)


def test_a_record_that_cannot_be_written_commits_nothing(storage: MemoryStorage) -> None:
    journal = opened(storage)
    with pytest.raises(Exception, match=r"body\.x is nan"):
        add(journal, note(1), Note(kind="tick", time_ns=START_NS + SECOND, body={"x": float("nan")}))
    assert journal.head() == Head()
