from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.engine import StageSpec, Worker
from observer_core.runtime.rerun import rerun_row
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import (
    Divergence,
    EpochMoved,
    JournalError,
    RecordError,
    StateFormat,
    StorageUnavailable,
)
from observer_core.shared.records import Note, Record
from observer_core.shared.stage import Entry
from observer_core.storage.counting import CountingStorage
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import ROWS_PER_TRANSACTION
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.faults import Between, FaultyStorage
from tests.support.toys import (
    BUILD,
    FIRST,
    OPTIONS,
    SECOND_STAGE,
    SOURCE,
    START_NS,
    Killed,
    State,
    Toy,
    feed,
    heads,
    note,
    rebuild,
    toy_worker,
    worker_name,
)

VALUES = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def process(storage: Any) -> Journals:
    """What a newly started process knows: nothing."""
    return Journals(storage, worker=worker_name())


def records(storage: Any, name: str = FIRST) -> list[Any]:
    return [entry.record for entry in process(storage).open(name).scan()]


def expected_heads(values: Sequence[Any] = VALUES, **worker: Any) -> dict[str, tuple[int, str]]:
    storage = MemoryStorage()
    feed(process(storage), values)
    toy_worker(process(storage), **worker).pump(flush=True)
    return heads(process(storage))


def consumed(storage: Any, name: str = FIRST) -> list[InputRange]:
    return [item for row in process(storage).open(name).rows() for item in row.inputs]


# ---------------------------------------------------------------------- exactly once


def test_records_follow_their_inputs_once_however_often_it_is_pumped(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals)
    feed(journals, VALUES)
    made = worker.pump(flush=True)
    found = records(storage)
    assert made == len(found) == worker.records
    assert found[0].kind == "epoch"
    assert [r.body.get("ended") for r in found[1:9]] == [None, None, 1, None, 2, None, 3, None]
    assert sum("digest" in r.body for r in found[1:]) > 5
    assert worker.pump(flush=True) == toy_worker(process(storage)).pump(flush=True) == 0
    assert heads(process(storage)) == expected_heads()
    assert process(storage).open(FIRST).checkpoint(SOURCE) == {"position": len(VALUES)}


@pytest.mark.parametrize("batch", [1, 2, 7, 1000])
def test_batches_change_nothing(storage: MemoryStorage, batch: int) -> None:
    journals = process(storage)
    worker = toy_worker(journals, batch=batch)
    for start in range(0, len(VALUES), batch):
        feed(journals, VALUES[start : start + batch])
        worker.pump(refresh=False)
    worker.pump(flush=True)
    assert heads(process(storage)) == expected_heads()


def test_nothing_is_written_before_there_is_an_input(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals)
    assert worker.pump(flush=True) == 0
    worker.close()
    assert journals.open(FIRST).head().seq == 0


def test_a_worker_that_failed_in_its_commit_goes_on_when_asked_again(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES)
    for when in ("before", "after"):
        for at in range(1, 12):
            faulty = FaultyStorage(MemoryStorage(), at=at, when=when, error=lambda: StorageUnavailable("x"))  # type: ignore[arg-type]
            feed(process(faulty._inner), VALUES)
            journals = process(faulty)
            try:
                worker = toy_worker(journals, batch=4)
            except StorageUnavailable:
                worker = toy_worker(journals, batch=4)
            try:
                worker.pump(flush=True)
            except StorageUnavailable:
                worker.pump(flush=True)
            assert heads(process(faulty)) == expected_heads(), (when, at)
            epoch = process(faulty).open(FIRST).epoch_row(1)
            assert epoch is not None
            assert epoch["position"] == 1


# ---------------------------------------------------------------------- time


def test_quiet_work_is_committed_at_least_every_third_of_the_lag(storage: MemoryStorage) -> None:
    clock = ManualClock(START_NS)
    journals = process(storage)
    worker = toy_worker(journals, stage=Toy(threshold=1000), clock=clock, max_lag_ns=30 * SECOND)
    feed(journals, [1])
    worker.pump()
    seq = journals.open(FIRST).head().seq
    for second in range(1, 10):
        clock.advance(SECOND)
        feed(journals, [1])
        worker.pump()
        assert journals.open(FIRST).head().seq == seq, "nothing is due yet"
        assert worker.through_ns == note(second).time_ns
    clock.advance(SECOND)
    worker.pump()
    head = journals.open(FIRST).head()
    assert head.through_ns == note(9).time_ns
    assert consumed(storage)[-1] == InputRange(SOURCE, 2, 10)
    clock.advance(100 * SECOND)
    worker.pump()
    assert journals.open(FIRST).head() == head, "no news is nothing to commit"


def test_time_alone_makes_what_is_due_by_it(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals)
    feed(journals, [5])
    worker.pump()
    source = journals.open(SOURCE)
    source.commit(source.head(), Commit(through_ns=note(2.9).time_ns))
    worker.pump()
    assert [r.body for r in records(storage)][2:] == []
    assert process(storage).open(FIRST).views()["open.1"] == {"until": note(3).time_ns}
    source.commit(source.head(), Commit(through_ns=note(3).time_ns))
    assert worker.pump() == 1
    assert records(storage)[-1] == Note(
        kind="command", time_ns=note(3).time_ns, body={"value": 0, "ended": 1}, epoch=1
    )
    assert process(storage).open(FIRST).views() == {"alarms": {"count": 1}}
    assert journals.open(FIRST).head().through_ns == note(3).time_ns


def test_the_least_of_the_timed_inputs_says_how_far_time_has_come(storage: MemoryStorage) -> None:
    journals = process(storage)
    inputs = ("commands.a", "commands.b")
    worker = toy_worker(journals, inputs)
    feed(journals, [1, 1, 1], name="commands.a")
    feed(journals, [1], name="commands.b")
    worker.pump(flush=True)
    assert journals.open(FIRST).head().through_ns == note(0).time_ns
    feed(journals, [1], name="commands.b", at_s=9)
    worker.pump(flush=True)
    assert journals.open(FIRST).head().through_ns == note(2).time_ns


# ---------------------------------------------------------------------- views


def test_views_are_what_the_stage_says_after_every_commit(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals)
    for value in VALUES:
        feed(journals, [value])
        worker.pump()
        state = rebuilt(storage)
        assert process(storage).open(FIRST).views() == Toy().views(state)


def test_more_views_than_a_transaction_takes_are_written_all_the_same(storage: MemoryStorage) -> None:
    class Many(Toy):
        def views(self, state: State) -> dict[str, Any]:
            return {f"scope.{number}": {"alarms": state.alarms} for number in range(3 * ROWS_PER_TRANSACTION)}

    journals = process(storage)
    worker = toy_worker(journals, stage=Many("first"))
    for value in VALUES[:6]:
        feed(journals, [value])
        worker.pump()
        views = process(storage).open(FIRST).views()
        assert {view["alarms"] for view in views.values()} == {rebuilt(storage).alarms} or not views
    assert worker.quarantines == 0
    assert len(views) == 3 * ROWS_PER_TRANSACTION


def test_more_inputs_than_a_transaction_takes_are_consumed_all_the_same(storage: MemoryStorage) -> None:
    journals = process(storage)
    inputs = [f"commands.{number}" for number in range(2 * ROWS_PER_TRANSACTION)]
    for name in inputs:
        feed(journals, [1], name=name)
    worker = toy_worker(journals, inputs)
    worker.pump(flush=True)
    assert worker.quarantines == 0
    assert len(journals.open(FIRST).checkpoints()) == len(inputs)
    assert journals.open(FIRST).head().seq < 20, "in few commits"


# ---------------------------------------------------------------------- state


def rebuilt(storage: Any, name: str = FIRST, from_blob: bool = True) -> State:
    """The state as blob and rows give it."""
    journals = process(storage)
    journal = journals.open(name)
    stage = Toy(name.partition(".")[2])
    head = journal.head()
    newest = journal.newest_state(head) if from_blob else None
    state = stage.load(storage.blobs.get(newest.blob)) if newest else stage.initial()
    for row in journal.rows(after_seq=newest.seq if newest else 0):
        rerun_row(journals, stage, state, row)
    return state


def test_at_every_cut_blob_and_rows_give_the_state_that_a_warm_worker_has(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals, state_entries=4)
    stage = Toy()
    for value in VALUES * 2:
        feed(journals, [value])
        worker.pump(flush=True)
        warm = stage.dump(worker._state)
        assert stage.dump(rebuilt(storage)) == warm
        assert stage.dump(rebuilt(storage, from_blob=False)) == warm
    assert len(journals.open(FIRST).states()) > 5


def test_a_cold_start_runs_only_what_came_after_the_newest_state(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals, state_entries=4)
    feed(journals, VALUES)
    worker.pump(flush=True)
    worker.close()
    stage = Toy("first")
    cold = toy_worker(process(storage), stage=stage)
    feed(journals, [1])
    cold.pump(flush=True)
    assert stage.calls == 1


def test_a_state_that_is_behind_is_brought_forward_not_dropped(storage: MemoryStorage) -> None:
    mine, stage = process(storage), Toy("first")
    worker = toy_worker(mine, stage=stage)
    feed(mine, VALUES[:8])
    worker.pump(flush=True)
    calls = stage.calls
    other = process(storage)
    feed(other, VALUES[8:12])
    toy_worker(other).pump(flush=True)
    feed(other, VALUES[12:])
    worker.pump(flush=True)
    assert stage.calls == calls + len(VALUES) - 8, "each entry that came since, once"
    assert heads(process(storage)) == expected_heads()


def test_close_leaves_a_state_and_never_raises_for_what_others_did(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES)
    slow, fast = toy_worker(process(storage)), toy_worker(process(storage))
    slow.pump()
    fast.pump()
    feed(process(storage), VALUES)
    fast.pump(flush=True)
    fast.close()
    slow.close()
    newest = process(storage).open(FIRST)
    head = newest.head()
    assert head.state == head.seq


def test_close_after_a_poison_entry_quarantines_it(storage: MemoryStorage) -> None:
    journals = process(storage)
    worker = toy_worker(journals)
    feed(journals, [1])
    worker.pump()
    feed(journals, ["poison", 2])
    worker.close()
    toy_worker(process(storage)).pump(flush=True)
    assert [r.kind for r in records(storage)].count("quarantine") == 1


# ---------------------------------------------------------------------- two workers


@pytest.mark.parametrize("at", range(14))
def test_a_twin_that_acts_in_between_gives_the_same_journal(storage: MemoryStorage, at: int) -> None:
    other = process(storage)
    feed(other, VALUES[:6])
    twin = toy_worker(other)

    def act(step: int) -> None:
        if step == at:
            twin.pump(flush=True)

    worker = toy_worker(process(Between(storage, act)))
    worker.pump(flush=True)
    feed(other, VALUES[6:])
    worker.pump(flush=True)
    twin.pump(flush=True)
    assert heads(process(storage)) == expected_heads()
    assert worker.quarantines == twin.quarantines == 0
    assert Toy().dump(worker._state) == Toy().dump(rebuilt(storage))


def test_what_a_twin_has_committed_just_so_is_adopted_without_running_it_again(
    storage: MemoryStorage,
) -> None:
    other = process(storage)
    feed(other, VALUES[:6])
    twin, stage = toy_worker(other, state_entries=1000), Toy("first")
    acting: list[str] = []
    worker = toy_worker(
        process(Between(storage, lambda step: acting and twin.pump(flush=True))),
        stage=stage,
        state_entries=1000,
    )
    worker.pump(flush=True)
    twin.pump(flush=True)
    feed(other, VALUES[6:])
    acting.append("now")
    calls = stage.calls
    worker.pump(flush=True)
    assert worker.conflicts == 1
    assert stage.calls == calls + len(VALUES) - 6
    assert heads(process(storage)) == expected_heads()


def test_a_stage_that_two_runs_disagree_on_is_a_divergence(storage: MemoryStorage) -> None:
    other = process(storage)
    twin = toy_worker(other, stage=Toy("first", salt="x"))
    acting: list[str] = []
    worker = toy_worker(process(Between(storage, lambda step: acting and twin.pump(flush=True))))
    feed(other, VALUES[:2])
    worker.pump(flush=True)
    twin.pump(flush=True)
    feed(other, VALUES[2:])
    acting.append("now")
    with pytest.raises(Divergence, match=r"patterns.first.*different records.*keep the data folder"):
        worker.pump(flush=True)


def test_a_lease_keeps_a_second_worker_out_until_it_ends(storage: MemoryStorage) -> None:
    clock = ManualClock(START_NS)
    options = {"clock": clock, "lease_ns": 30 * SECOND}
    one = toy_worker(process(storage), **options)  # type: ignore[arg-type]
    two = toy_worker(process(storage), **options)  # type: ignore[arg-type]
    feed(process(storage), VALUES[:5])
    assert one.pump(flush=True) > 0
    feed(process(storage), VALUES[5:])
    assert two.pump(flush=True) == 0
    assert two.conflicts == 0
    clock.advance(31 * SECOND)
    assert two.pump(flush=True) > 0
    assert one.pump(flush=True) == 0
    assert heads(process(storage)) == expected_heads()


# ---------------------------------------------------------------------- several inputs


def test_several_inputs_are_taken_by_time_whatever_is_read_at_once(storage: MemoryStorage) -> None:
    journals = process(storage)
    feed(journals, [1] * 12, name="commands.a", step_s=1)
    feed(journals, [2] * 3, name="commands.b", step_s=4)
    feed(journals, [2] * 2, name="commands.c", step_s=5)
    inputs = ("commands.c", "commands.a", "commands.b")
    found = set()
    for batch in (1, 2, 3, 1000):
        output = f"patterns.b{batch}"
        toy_worker(process(storage), inputs, output, stage=Toy("first"), batch=batch).pump(flush=True)
        head = process(storage).open(output).head()
        found.add((head.position, head.hash))
    assert len(found) == 1
    order = [(i.journal[-1], p) for i in consumed(storage, output) for p in range(i.first, i.last + 1)]
    assert order[:7] == [("a", 1), ("b", 1), ("c", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5)]


def test_the_order_taken_is_recorded_and_a_rerun_follows_it(storage: MemoryStorage) -> None:
    journals = process(storage)
    inputs = ("commands.a", "commands.b")
    worker = toy_worker(journals, inputs)
    feed(journals, [3, 4, 5], name="commands.a")
    worker.pump()
    feed(journals, [5, 5, 1], name="commands.b")  # earlier, but known later
    worker.pump()
    feed(journals, [2], name="commands.a")
    worker.pump(flush=True)
    assert [i.journal for i in consumed(storage)] == ["commands.a", "commands.b", "commands.a"]
    made: list[Record] = []
    stage, state = Toy("first"), State()
    for row in process(storage).open(FIRST).rows():
        made += rerun_row(process(storage), stage, state, row)
    assert [r.encode(1) for r in made] == [r.encode(1) for r in records(storage) if r.kind == "command"]
    assert stage.dump(state) == stage.dump(worker._state)


# ---------------------------------------------------------------------- epochs


def test_another_configuration_opens_an_epoch_with_its_content_and_the_old_worker_stops(
    storage: MemoryStorage,
) -> None:
    old = toy_worker(process(storage))
    feed(process(storage), VALUES[:5])
    old.pump(flush=True)
    new = toy_worker(process(storage), stage=Toy("first", threshold=7))
    feed(process(storage), VALUES[5:10])
    new.pump(flush=True)
    before = heads(process(storage))
    feed(process(storage), VALUES[10:])
    for refresh in (True, False):
        with pytest.raises(EpochMoved, match=r"in epoch 2 \(version 1\.0\), this worker runs epoch 1"):
            old.pump(refresh=refresh, flush=True)
    assert heads(process(storage))[FIRST] == before[FIRST]
    again = toy_worker(process(storage))
    again.pump(flush=True)
    found = records(storage)
    epochs = [r for r in found if r.kind == "epoch"]
    assert [r.body["epoch"] for r in epochs] == [1, 2, 3]
    assert [r.body["config"]["threshold"] for r in epochs] == [5, 7, 5]
    assert epochs[0].body["identity"] == epochs[2].body["identity"] != epochs[1].body["identity"]
    assert epochs[0].body == {
        "epoch": 1, "stage": "first", "version": "1", "config": Toy("first").config(),
        "identity": epochs[0].body["identity"], "code": "1.0", "lock": "lock",
    }  # fmt: skip
    assert [r.epoch for r in found] == sorted(r.epoch for r in found)
    assert {r.epoch for r in found} == {1, 2, 3}
    assert verify(process(storage).open(FIRST)).fault is None
    assert consumed(storage)[-1].last == len(VALUES)


def test_losing_the_race_to_another_configuration_is_no_divergence(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES[:5])
    new = toy_worker(process(storage), stage=Toy("first", threshold=7))
    acting: list[str] = []
    old = toy_worker(process(Between(storage, lambda step: acting and new.pump(flush=True))))
    old.pump(flush=True)
    feed(process(storage), VALUES[5:])
    acting.append("now")
    with pytest.raises(EpochMoved, match="in epoch 2"):
        old.pump(flush=True)


def test_an_epoch_opens_with_a_state_so_that_nothing_older_is_run_by_it(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES)
    toy_worker(process(storage), state_entries=10_000).pump(flush=True)
    feed(process(storage), [1])
    toy_worker(process(storage), stage=Toy("first", threshold=7)).pump(flush=True)
    opening = next(row for row in process(storage).open(FIRST).states() if row.epoch == 2)
    state = Toy().load(storage.blobs.get(opening.blob))
    assert (state.seen, opening.consumed) == (len(VALUES), {SOURCE: len(VALUES)})
    assert state.alarms == rebuilt_by_old(storage).alarms


def rebuilt_by_old(storage: MemoryStorage) -> State:
    journals, stage, state = process(storage), Toy("first"), State()
    for row in journals.open(FIRST).rows():
        if row.epoch == 1:
            rerun_row(journals, stage, state, row)
    return state


@pytest.mark.parametrize(
    "build", [Build("1.1", "lock"), Build("1.0", "other lock")], ids=["version", "lock file"]
)
def test_other_code_is_another_epoch(storage: MemoryStorage, build: Build) -> None:
    feed(process(storage), VALUES[:3])
    toy_worker(process(storage)).pump(flush=True)
    feed(process(storage), VALUES[3:])
    toy_worker(process(storage), build=build).pump(flush=True)
    assert [r.body["epoch"] for r in records(storage) if r.kind == "epoch"] == [1, 2]


class NewFormat(Toy):
    """As the next version would have it: it writes its states otherwise, and cannot read those of `Toy`."""

    def dump(self, state: State) -> bytes:
        return b"2" + super().dump(state)

    def load(self, blob: bytes) -> State:
        if blob[:1] != b"2":
            raise StateFormat("expected format 2")
        return super().load(blob[1:])


def next_version(storage: MemoryStorage, build: Build) -> Worker[State]:
    def rebuilt(config: Mapping[str, Any]) -> Toy:
        return NewFormat(config["name"], threshold=config["threshold"], hold_s=config["hold_s"])

    spec = StageSpec(NewFormat("first"), FIRST, "toy", lambda: (SOURCE,), lambda: (SOURCE,), rebuilt)
    return Worker(process(storage), spec, build, ManualClock(START_NS), OPTIONS)


def test_a_state_of_an_older_format_is_computed_again_from_the_inputs(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES[:10])
    toy_worker(process(storage)).pump(flush=True)
    feed(process(storage), VALUES[10:])
    next_version(storage, Build("1.1", "lock")).pump(flush=True)
    opening = next(row for row in process(storage).open(FIRST).states() if row.epoch == 2)
    assert NewFormat().load(storage.blobs.get(opening.blob)) == rebuilt_by_old(storage)
    assert [r.body for r in records(storage) if "value" in r.body] == [
        r.body for r in expected_records() if "value" in r.body
    ]
    assert verify(process(storage).open(FIRST)).fault is None
    assert next_version(storage, Build("1.1", "lock")).pump(flush=True) == 0


def expected_records() -> list[Any]:
    storage = MemoryStorage()
    feed(process(storage), VALUES)
    toy_worker(process(storage)).pump(flush=True)
    return records(storage)


def test_a_state_that_its_own_version_cannot_read_is_an_error_that_says_so(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES)
    toy_worker(process(storage)).pump(flush=True)
    with pytest.raises(JournalError, match=r"epoch 1, but cannot read the state patterns\.first/.*format 2"):
        next_version(storage, BUILD).pump(flush=True)


def test_settings_that_a_new_version_does_not_know_do_not_stop_it(storage: MemoryStorage) -> None:
    feed(process(storage), VALUES[:10])
    old = Toy("first")
    old.config = lambda: {"name": "first", "limit": 5}  # type: ignore[method-assign]
    toy_worker(process(storage), stage=old).pump(flush=True)
    feed(process(storage), VALUES[10:])
    toy_worker(process(storage), build=Build("1.1", "lock")).pump(flush=True)
    assert [r.body for r in records(storage) if "value" in r.body] == [
        r.body for r in expected_records() if "value" in r.body
    ]


def test_the_same_configuration_goes_on_in_its_epoch(storage: MemoryStorage) -> None:
    for value in VALUES[:4]:
        feed(process(storage), [value])
        toy_worker(process(storage)).pump(flush=True)
    assert process(storage).open(FIRST).head().epoch == 1


def test_a_worker_that_opens_an_epoch_while_the_old_one_commits_still_opens_it(
    storage: MemoryStorage,
) -> None:
    feed(process(storage), VALUES[:5])
    old = toy_worker(process(storage))
    old.pump(flush=True)
    feed(process(storage), VALUES[5:8])

    def act(step: int) -> None:
        if step == 3:
            old.pump(flush=True)

    new = toy_worker(process(Between(storage, act)), stage=Toy("first", threshold=7))
    new.pump(flush=True)
    feed(process(storage), VALUES[8:])
    new.pump(flush=True)
    assert new.conflicts >= 1
    assert process(storage).open(FIRST).head().epoch == 2


# ---------------------------------------------------------------------- quarantine


def poisoned(what: str) -> list[Any]:
    return [*VALUES[:4], what, *VALUES[4:]]


@pytest.mark.parametrize("batch", [1, 3, 1000])
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("poison", "Poison: cannot take snapshots.in@5"),
        ("nan", "RecordError: $.body.x is nan"),
        ("back", "times never decrease"),
    ],
)
def test_an_entry_that_cannot_be_worked_on_is_set_aside_by_a_record(
    storage: MemoryStorage, what: str, error: str, batch: int
) -> None:
    feed(process(storage), poisoned(what))
    worker = toy_worker(process(storage), batch=batch)
    worker.pump(flush=True)
    (note_,) = [r for r in records(storage) if r.kind == "quarantine"]
    assert {**note_.body, "error": ""} == {
        "input": SOURCE, "position": 5, "attempts": 3, "scopes": ["source:in"], "error": ""
    }  # fmt: skip
    assert error in note_.body["error"]
    assert process(storage).open(FIRST).views()[f"quarantined.{SOURCE}@5"] == note_.body
    assert InputRange(SOURCE, 5, 5, skipped=True) in consumed(storage)
    assert worker.quarantines == 1
    assert Toy().dump(rebuilt(storage, from_blob=False)) == Toy().dump(worker._state), "a rebuild obeys it"
    assert worker._state.seen == len(VALUES)
    assert verify(process(storage).open(FIRST)).fault is None
    commands = [r.body.get("value") for r in records(storage) if r.kind == "command"]
    assert len(commands) > 10


def test_the_first_and_the_last_entry_can_be_set_aside(storage: MemoryStorage) -> None:
    feed(process(storage), ["poison", 5, "poison"])
    toy_worker(process(storage)).pump(flush=True)
    assert [r.body["position"] for r in records(storage) if r.kind == "quarantine"] == [1, 3]


def test_what_was_due_before_an_entry_that_is_set_aside_still_comes_before_it(storage: MemoryStorage) -> None:
    """A timer due at 3 s, then nothing but poison at 4 s; and the same for a new epoch."""
    feed(process(storage), [5, 0, 0])
    toy_worker(process(storage)).pump(flush=True)
    feed(process(storage), ["poison"], at_s=4)
    toy_worker(process(storage)).pump(flush=True)
    feed(process(storage), [5], at_s=5)
    toy_worker(process(storage)).pump(flush=True)
    feed(process(storage), [0], at_s=20)
    worker = toy_worker(process(storage), stage=Toy("first", threshold=7))
    worker.pump(flush=True)
    assert worker.quarantines == 0
    assert [r.kind if r.kind != "command" else next(iter(r.body)) for r in records(storage)] == [
        "epoch", "digest", "ended", "quarantine", "digest", "epoch", "ended"
    ]  # fmt: skip


def test_after_a_restart_attempts_are_not_counted_anew_forever(storage: MemoryStorage) -> None:
    """The process dies in its transition, each time: after a bounded number of starts it is set aside."""
    feed(process(storage), poisoned("kill"))
    deaths = 0
    while True:
        worker = toy_worker(process(storage))
        try:
            worker.pump(flush=True)
            break
        except Killed:
            deaths += 1
            assert deaths < 10
    assert deaths == 4, "one that finds out that something kills, three that count"
    (found,) = [r.body for r in records(storage) if r.kind == "quarantine"]
    assert (found["position"], found["attempts"]) == (5, 3)
    assert "died" in found["error"]
    assert worker._state.seen == len(VALUES)


def test_in_a_group_attempts_are_durable_as_well(tmp_path: Path) -> None:
    deaths = 0
    while True:
        storage = LocalStorage(tmp_path, durability="normal")
        journals = process(storage)
        if not deaths:
            feed(journals, poisoned("kill"))
        try:
            with storage.group():
                toy_worker(journals).pump(flush=True)
            break
        except Killed:
            deaths += 1
            assert deaths < 10
        finally:
            storage.close()
    storage = LocalStorage(tmp_path)
    assert deaths == 4
    assert [r.body["position"] for r in records(storage) if r.kind == "quarantine"] == [5]
    storage.close()


def test_an_entry_that_kills_late_in_a_long_backlog_is_found_and_only_that_one(
    storage: MemoryStorage,
) -> None:
    values = [*([0] * 25), "kill", *([0] * 25), "kill", 5]
    feed(process(storage), values)
    deaths = 0
    while True:
        try:
            toy_worker(process(storage), batch=10).pump(flush=True)
            break
        except Killed:
            deaths += 1
            assert deaths < 20
    assert [r.body["position"] for r in records(storage) if r.kind == "quarantine"] == [26, 52]


def test_an_entry_is_never_set_aside_for_deaths_that_are_not_its_own(storage: MemoryStorage) -> None:
    """Something else kills the process soon after each start, with quiet work pending."""
    feed(process(storage), [1])
    for _ in range(12):
        toy_worker(process(storage), stage=Toy("first", threshold=10**6)).pump()
    feed(process(storage), [1, 1])
    for _ in range(12):
        toy_worker(process(storage), stage=Toy("first", threshold=10**6)).pump()
    assert [r.kind for r in records(storage)] == ["epoch"]


def test_an_entry_is_never_set_aside_because_others_were_faster(storage: MemoryStorage) -> None:
    """Tried alone after a death, it loses the race for the head again and again."""

    class Kills(Toy):
        def transition(self, state: State, entry: Entry) -> Sequence[Record]:
            raise Killed

    feed(process(storage), [1], name="commands.a")
    with pytest.raises(Killed):
        toy_worker(process(storage), ("commands.a",), stage=Kills("first")).pump()
    twin = toy_worker(process(storage), ("commands.b",))
    left = [12]

    def act(step: int) -> None:
        if left[0]:
            left[0] -= 1
            feed(process(storage), [5], name="commands.b")
            twin.pump(flush=True)

    worker = toy_worker(process(Between(storage, act)), ("commands.a", "commands.b"))
    worker.pump(flush=True)
    assert worker.conflicts >= 3
    assert worker.quarantines == 0
    assert {r.kind for r in records(storage)} == {"epoch", "command"}
    assert InputRange("commands.a", 1, 1) in consumed(storage)


def test_an_interrupted_transition_leaves_no_half_state_to_be_committed(storage: MemoryStorage) -> None:
    class Interrupted(Toy):
        armed = True

        def transition(self, state: State, entry: Entry) -> Sequence[Record]:
            found = super().transition(state, entry)
            if entry.position == 9 and self.armed:
                self.armed = False
                raise KeyboardInterrupt
            return found

    feed(process(storage), VALUES)
    worker = toy_worker(process(storage), stage=Interrupted("first"))
    with pytest.raises(KeyboardInterrupt):
        worker.pump(flush=True)
    worker.close()
    toy_worker(process(storage)).pump(flush=True)
    assert heads(process(storage)) == expected_heads()


def test_what_time_alone_gives_and_cannot_be_written_is_an_error_and_no_entrys_fault(
    storage: MemoryStorage,
) -> None:
    class Bad(Toy):
        def advance(self, state: State, through_ns: int) -> Sequence[Record]:
            return [note(9, x=float("nan"))] if through_ns > note(1).time_ns else []

    journals = process(storage)
    worker = toy_worker(journals, stage=Bad("first"))
    feed(journals, [1])
    worker.pump(flush=True)
    source = journals.open(SOURCE)
    source.commit(source.head(), Commit(through_ns=note(5).time_ns))
    with pytest.raises(RecordError, match="nan"):
        worker.pump(flush=True)
    assert worker.quarantines == 0


def test_a_flaky_entry_passes_when_it_can(storage: MemoryStorage) -> None:
    class Flaky(Toy):
        left = 2

        def transition(self, state: State, entry: Entry) -> Sequence[Record]:
            if entry.position == 5 and self.left:
                self.left -= 1
                raise TimeoutError
            return super().transition(state, entry)

    feed(process(storage), VALUES)
    worker = toy_worker(process(storage), stage=Flaky("first"))
    worker.pump(flush=True)
    assert worker.quarantines == 0
    assert heads(process(storage)) == expected_heads()


def test_the_toy_is_a_stage_whose_dump_says_everything() -> None:
    stage = rebuild(Toy("x").config())
    state = stage.initial()
    stage.transition(state, Entry("a.b", 1, note(1, value=5)))
    assert stage.dump(stage.load(stage.dump(state))) == stage.dump(state)
    assert decode(stage.dump(state))[3] == 1
    assert (BUILD.version, SECOND_STAGE) == ("1.0", "events.second")


@pytest.mark.parametrize("age", [40, 400])
def test_what_a_cold_start_reads_does_not_grow_with_the_journal(age: int) -> None:
    """Rows since the newest state in one query, each input in one pass, however many commits there were."""
    storage = MemoryStorage()
    worker = toy_worker(process(storage), state_entries=20)
    for _ in range(age + 19):
        feed(process(storage), [1])
        worker.pump(flush=True)
    counted = CountingStorage(storage)
    cold = toy_worker(process(counted))
    cold.pump()
    asked = counted.operations.counts()
    assert asked["blob.read"] <= 3
    assert asked["table.query"] <= 5
    assert cold._stage.dump(cold._state) == worker._stage.dump(worker._state)
