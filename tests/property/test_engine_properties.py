"""However work is cut up, interrupted and raced for, the journal is the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.engine import Refresh, Worker
from observer_core.runtime.rerun import rerun_row
from observer_core.shared.clock import SECOND
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.faults import Between, Crash, FaultyStorage
from tests.support.toys import FIRST, SOURCE, START_NS, State, Toy, feed, heads, toy_worker, worker_name

values = st.lists(st.integers(0, 6) | st.just("poison"), min_size=1, max_size=14)


def process(storage: Any) -> Journals:
    return Journals(storage, worker=worker_name())


def alone(found: list[Any]) -> tuple[int, str]:
    storage = MemoryStorage()
    feed(process(storage), found)
    toy_worker(process(storage)).pump(flush=True)
    return heads(process(storage))[FIRST]


def recomputed(storage: Any, output: str = FIRST) -> tuple[list[bytes], State, Toy]:
    """What the recorded inputs give, in the recorded order."""
    journals, stage, state = process(storage), Toy("first"), State()
    made: list[bytes] = []
    for row in journals.open(output).rows():
        made += [record.encode(row.epoch) for record in rerun_row(journals, stage, state, row)]
    head = journals.open(output).head()
    made += [record.encode(head.epoch) for record in stage.advance(state, head.through_ns)]
    return made, state, stage


def stored(storage: Any, output: str = FIRST) -> list[bytes]:
    journal = process(storage).open(output)
    return [e.record.encode(e.record.epoch) for e in journal.scan() if e.record.kind == "command"]


steps = st.tuples(
    st.sampled_from(["feed", "pump", "flush", "restart", "close", "fail", "crash"]), st.integers(1, 6)
)


@settings(max_examples=150)
@given(values, st.lists(steps, max_size=14), st.integers(1, 4), st.integers(1, 8))
def test_any_batches_restarts_failures_and_crashes_give_the_journal_of_one_go(
    found: list[Any], script: list[tuple[str, int]], batch: int, states: int
) -> None:
    storage = MemoryStorage()

    def start(inner: Any = storage) -> Worker[State]:
        return toy_worker(process(inner), batch=batch, state_entries=states)

    worker, fed = start(), 0
    for what, size in script:
        match what:
            case "feed":
                if found[fed : fed + size]:
                    feed(process(storage), found[fed : fed + size])
                fed = min(len(found), fed + size)
            case "pump" | "flush":
                worker.pump(flush=what == "flush")
            case "restart":
                worker = start()
            case "close":
                worker.close()
            case "fail" | "crash":
                error = Crash if what == "crash" else OSError
                faulty = FaultyStorage(
                    storage, at=size + 1, when="before" if size % 2 else "after", error=error
                )
                worker = start(faulty)
                try:
                    worker.pump(flush=True)
                except (Crash, OSError):
                    worker = worker if what == "fail" else start()
                faulty.disarm()
    if found[fed:]:
        feed(process(storage), found[fed:])
    worker.pump(flush=True)
    assert heads(process(storage))[FIRST] == alone(found)
    made, state, stage = recomputed(storage)
    assert made == stored(storage)
    assert stage.dump(state) == stage.dump(worker._state)
    assert process(storage).open(FIRST).views().items() >= stage.views(state).items()
    assert verify(process(storage).open(FIRST)).fault is None


@dataclass
class Race:
    """Another worker, and the source, act between the writing steps of the first one."""

    storage: MemoryStorage
    found: list[Any]
    script: dict[int, str]
    fed: int = 0
    twin: Worker[State] = field(init=False)

    def __post_init__(self) -> None:
        self.twin = toy_worker(process(self.storage), batch=2)

    def feed(self, count: int) -> None:
        if self.found[self.fed : self.fed + count]:
            feed(process(self.storage), self.found[self.fed : self.fed + count])
        self.fed = min(len(self.found), self.fed + count)

    def __call__(self, step: int) -> None:
        match self.script.get(step):
            case "feed":
                self.feed(2)
            case "pump":
                self.twin.pump()
            case "flush":
                self.twin.pump(flush=True)
            case "new":
                self.twin = toy_worker(process(self.storage), batch=3)
                self.twin.pump(flush=True)


@settings(max_examples=200)
@given(
    values,
    st.dictionaries(st.integers(0, 40), st.sampled_from(["feed", "pump", "flush", "new"]), max_size=25),
    st.integers(1, 5),
    st.sampled_from([True, False, (SOURCE,)]),
    st.booleans(),
)
def test_two_workers_on_one_journal_give_the_journal_of_one(
    found: list[Any], script: dict[int, str], batch: int, refresh: Refresh, flush: bool
) -> None:
    """Also when the first one commits lazily: what it holds back may be in part what its twin has done."""
    storage = MemoryStorage()
    race = Race(storage, found, script)
    race.feed(3)
    worker = toy_worker(process(Between(storage, race)), batch=batch)
    while race.fed < len(found):
        worker.pump(refresh=refresh, flush=flush)
        race.feed(2)
    worker.pump(flush=True)
    race.twin.pump(flush=True)
    worker.pump(flush=True)
    assert heads(process(storage))[FIRST] == alone(found)
    made, state, stage = recomputed(storage)
    assert made == stored(storage)
    assert stage.dump(state) == stage.dump(worker._state) == stage.dump(race.twin._state)
    quarantined = [
        e.record.body["position"]
        for e in process(storage).open(FIRST).scan()
        if e.record.kind == "quarantine"
    ]  # type: ignore[union-attr]
    assert quarantined == [position for position, value in enumerate(found, 1) if value == "poison"]


inputs = ("commands.a", "commands.b", "commands.c")


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*inputs, "time", "pump", "restart"]), st.integers(0, 6), st.integers(0, 5)
        ),
        max_size=30,
    ),
    st.integers(1, 4),
)
def test_with_several_inputs_a_rerun_in_the_recorded_order_gives_the_same(
    script: list[tuple[str, int, int]], batch: int
) -> None:
    """Entries may come late: after time has been said to have passed them."""
    storage = MemoryStorage()
    worker = toy_worker(process(storage), inputs, batch=batch, state_entries=5)
    now = dict.fromkeys(inputs, 0)
    for what, value, seconds in script:
        if what in now:
            now[what] += seconds
            feed(process(storage), [value], name=what, at_s=now[what])
        elif what == "time":
            for name in inputs:
                journal = process(storage).open(name, "toy")
                now[name] = max(now.values())
                through = START_NS + now[name] * SECOND
                journal.commit(journal.head(), Commit(through_ns=through))
        elif what == "pump":
            worker.pump(flush=value > 3)
        else:
            worker = toy_worker(process(storage), inputs, batch=batch, state_entries=5)
    worker.pump(flush=True)
    made, state, stage = recomputed(storage)
    assert made == stored(storage)
    if worker._loaded and worker._consumed:
        assert stage.dump(state) == stage.dump(worker._state)
    taken = dict.fromkeys(inputs, 0)
    for row in process(storage).open(FIRST).rows():
        for item in row.inputs:
            assert item.first == taken[item.journal] + 1
            taken[item.journal] = item.last
    assert taken == {name: process(storage).open(name).head().position for name in inputs}
    assert SOURCE not in taken
