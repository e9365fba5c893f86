"""How a source is asked, and how what it gave is recorded: circuits, bulkheads, the writer, delays."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.collecting import Bulkhead, Circuit, too_late
from observer_core.runtime.collector import SnapshotWriter
from observer_core.runtime.delays import Delay, delay_of
from observer_core.runtime.sources import LiveSource
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import StorageFull
from observer_core.shared.records import Snapshot, decode_record
from observer_core.snapshot_engine.normalise import Normaliser, NormaliserConfig
from observer_core.snapshot_engine.source import Collected, Collection, History, unavailable
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.faults import FaultyStorage
from tests.support.toys import worker_name

NOW = 1_700_000_000 * SECOND
LONG, AT_ONCE = 60 * SECOND, 1
BREAKER = BreakerConfig(failures=3, pause=10 * SECOND, longest=60 * SECOND)

# Of a thread that ends on purpose pytest tells in the test after it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def snapshot(time: int = NOW, *values: float, event: int | None = None, **more: Any) -> Snapshot:
    subjects = tuple(f"s{place}" for place in range(len(values)))
    return Snapshot(
        source="in", event_ns=time if event is None else event, ingest_ns=time, subjects=subjects,
        fields={"price": np.array(values, np.float64)}, **more,
    )  # fmt: skip


class Feed:
    """A source that does what a test says."""

    name, interval_ns = "in", SECOND

    def __init__(self, act: Callable[[int], Collected]) -> None:
        self._act = act
        self.asked: list[int] = []

    def collect(self, now_ns: int) -> Collected:
        self.asked.append(now_ns)
        return self._act(now_ns)

    def close(self) -> None:
        pass


def live(act: Callable[[int], Collected] = snapshot, **options: Any) -> LiveSource:
    return LiveSource(Feed(act), **{"breaker": BREAKER, "jitter": lambda: 0.0, **options})


# ---------------------------------------------------------------------- circuits


def failure(error: str = "503") -> Snapshot:
    return unavailable("in", NOW, error)


def breaker_of(collection: Collection) -> dict[str, Any]:
    found: dict[str, Any] = collection.origin["breaker"]
    return found


def recorded(collection: Collection) -> Snapshot:
    """As a journal gives it back."""
    assert isinstance(collection.collected, Snapshot)
    origin = {**(collection.collected.origin or {}), **collection.origin} or None
    found = decode_record(replace(collection.collected, origin=origin).encode(1))
    assert isinstance(found, Snapshot)
    return found


def tripped() -> Circuit:
    circuit = Circuit(live())
    for _ in range(3):
        circuit.judge(failure(), NOW)
    return circuit


def test_of_a_source_that_works_nothing_is_said() -> None:
    circuit = Circuit(live())
    assert circuit.refused(NOW) is None
    assert circuit.judge(snapshot(NOW, 1.0), NOW).origin == {}
    assert circuit.judge(History(()), NOW).origin == {}


def test_failures_are_counted_where_they_are_recorded() -> None:
    circuit = Circuit(live())
    found = [breaker_of(circuit.judge(failure(), NOW)) for _ in range(3)]
    assert found == [
        {"state": "closed", "failures": 1}, {"state": "closed", "failures": 2},
        {"state": "open", "failures": 3, "trips": 1, "until_ns": NOW + 5 * SECOND, "was": "closed"},
    ]  # fmt: skip


def test_an_open_circuit_gives_a_failure_that_says_since_when_and_why() -> None:
    circuit = tripped()
    refused = circuit.refused(NOW + 5 * SECOND - 1)
    assert refused is not None
    assert refused.failed
    assert recorded(refused).error == "CircuitOpen: not asked for a while after: 503"
    assert (recorded(refused).ingest_ns, refused.now_ns) == (NOW + 5 * SECOND - 1, NOW + 5 * SECOND - 1)
    assert breaker_of(refused) == {"state": "open", "failures": 3, "trips": 1, "until_ns": NOW + 5 * SECOND}
    assert circuit.refused(NOW + 5 * SECOND) is None


def test_what_works_after_the_pause_closes_it() -> None:
    later = NOW + 5 * SECOND
    circuit = tripped()
    assert breaker_of(circuit.judge(snapshot(later, 1.0), later)) == {
        "state": "closed", "failures": 0, "was": "half_open",
    }  # fmt: skip
    assert circuit.judge(snapshot(later, 1.0), later).origin == {}
    assert circuit.refused(later) is None


def test_what_fails_after_the_pause_opens_it_for_longer() -> None:
    later = NOW + 5 * SECOND
    said = breaker_of(tripped().judge(failure(), later))
    assert (said["state"], said["was"], said["until_ns"]) == ("open", "half_open", later + 10 * SECOND)


def test_jitter_is_drawn_each_time_it_opens() -> None:
    draws = iter([0.0, 0.5])
    circuit = Circuit(live(jitter=lambda: next(draws), breaker=BreakerConfig(failures=1, pause=8 * SECOND)))
    first = breaker_of(circuit.judge(failure(), NOW))["until_ns"]
    assert first == NOW + 4 * SECOND
    assert breaker_of(circuit.judge(failure(), first))["until_ns"] == first + 12 * SECOND


def test_any_process_goes_on_from_what_another_recorded() -> None:
    """Each of these is a process of its own that sees the newest snapshot only."""
    newest: Snapshot | None = None
    asked = []
    for second in range(72):
        now = NOW + second * SECOND
        circuit = Circuit(live())
        circuit.recall(newest)
        refused = circuit.refused(now)
        if refused is None:
            asked.append(second)
            refused = circuit.judge(unavailable("in", now, "503") if second < 40 else snapshot(now, 1.0), now)
        newest = recorded(refused)
        assert (newest.error or "503").count("CircuitOpen") <= 1
        assert newest.error is None or newest.error.endswith("503")
    # Three at first; then after 5, 10, 20 and 30 seconds; it works again, and is asked each time.
    assert asked == [0, 1, 2, 7, 17, 37, 67, 68, 69, 70, 71]


def test_a_new_source_and_one_that_says_nothing_of_it_are_asked() -> None:
    circuit = tripped()
    circuit.recall(None)
    assert circuit.refused(NOW) is None
    circuit = tripped()
    circuit.recall(snapshot(NOW, 1.0, origin={"due_ns": NOW}))
    assert circuit.refused(NOW) is None


def test_a_long_error_does_not_grow() -> None:
    circuit = Circuit(live())
    for _ in range(3):
        circuit.judge(failure("x" * 5000), NOW)
    newest: Snapshot | None = None
    for _ in range(5):
        refused = circuit.refused(NOW)
        assert refused is not None
        newest = recorded(refused)
        circuit.recall(newest)
    assert newest is not None
    assert newest.error is not None
    assert len(newest.error) <= 500
    assert newest.error.startswith("CircuitOpen: not asked for a while after: xxx")


# ---------------------------------------------------------------------- bulkheads


class Hanging:
    """A source whose first collection hangs until it is let go; the others give what they are asked."""

    def __init__(self) -> None:
        self.asked, self.let_go, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.feed = Feed(self._act)

    def _act(self, now_ns: int) -> Collected:
        if len(self.feed.asked) == 1:
            self.asked.set()
            assert self.let_go.wait(30)
            self.ended.set()
        return snapshot(now_ns, float(len(self.feed.asked)))

    def bulkhead(self, deadline_ns: int) -> Bulkhead:
        return Bulkhead(LiveSource(self.feed, deadline_ns=deadline_ns))


def error_of(collected: Collected) -> str | None:
    assert isinstance(collected, Snapshot)
    return collected.error


def test_what_comes_in_time_is_what_came() -> None:
    collected = Bulkhead(live(deadline_ns=LONG)).collect(NOW)
    assert isinstance(collected, Snapshot)
    assert (collected.status, collected.ingest_ns) == ("ok", NOW)


def test_what_goes_wrong_is_an_unavailable_snapshot() -> None:
    def act(_: int) -> Collected:
        raise ConnectionError("refused")

    assert error_of(Bulkhead(live(act, deadline_ns=LONG)).collect(NOW)) == "ConnectionError: refused"


def test_a_collection_that_ends_its_thread_is_one_that_gave_nothing() -> None:
    def act(_: int) -> Collected:
        raise SystemExit

    bulkhead = Bulkhead(live(act, deadline_ns=LONG))
    for _ in range(2):
        assert str(error_of(bulkhead.collect(NOW))).startswith("TimeoutError: no answer")


def test_a_machine_without_a_thread_left_gives_a_failure_and_the_next_one_asks_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    bulkhead = Bulkhead(live(deadline_ns=LONG))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        assert error_of(bulkhead.collect(NOW)) == "RuntimeError: can't start new thread"
    assert error_of(bulkhead.collect(NOW + SECOND)) is None


def test_whoever_waits_gives_up_at_the_deadline() -> None:
    it = Hanging()
    assert error_of(it.bulkhead(AT_ONCE).collect(NOW)) == "TimeoutError: no answer for 0s"
    it.let_go.set()


def test_while_one_hangs_the_next_fail_at_once_and_say_for_how_long() -> None:
    it = Hanging()
    bulkhead = it.bulkhead(AT_ONCE)
    bulkhead.collect(NOW)
    assert it.asked.wait(30)
    patient = it.bulkhead(LONG)
    patient._running = bulkhead._running
    for seconds in (5, 10):
        found = patient.collect(NOW + seconds * SECOND)
        assert isinstance(found, Snapshot)
        assert (found.error, found.ingest_ns) == (
            f"TimeoutError: no answer for {seconds}s", NOW + seconds * SECOND,
        )  # fmt: skip
    assert it.feed.asked == [NOW], "it is not asked again meanwhile"
    it.let_go.set()


def test_what_comes_too_late_is_dropped_and_the_next_one_asks_anew() -> None:
    it = Hanging()
    bulkhead = it.bulkhead(AT_ONCE)
    bulkhead.collect(NOW)
    run = bulkhead._running
    assert run is not None
    it.let_go.set()
    run.join(30)
    bulkhead._live = replace(bulkhead._live, deadline_ns=LONG)
    found = bulkhead.collect(NOW + SECOND)
    assert isinstance(found, Snapshot)
    assert (found.ingest_ns, found.fields["price"].tolist()) == (NOW + SECOND, [2.0])


def test_another_thread_does_not_wait_for_the_one_that_hangs() -> None:
    it = Hanging()
    bulkhead = it.bulkhead(LONG)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(bulkhead.collect, NOW)
        assert it.asked.wait(30)
        assert error_of(bulkhead.collect(NOW + 2 * SECOND)) == "TimeoutError: no answer for 2s"
        assert not first.done()
        it.let_go.set()
        assert error_of(first.result(30)) is None


def test_one_source_does_not_wait_for_another() -> None:
    it = Hanging()
    other = Bulkhead(live(deadline_ns=LONG))
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(it.bulkhead(LONG).collect, NOW)
        assert it.asked.wait(30)
        assert error_of(other.collect(NOW)) is None
        it.let_go.set()
        first.result(30)


def test_how_long_was_waited_is_told_in_milliseconds() -> None:
    assert too_late("in", NOW, 1_234_567_890).error == "TimeoutError: no answer for 1s234ms"


# ---------------------------------------------------------------------- the writer


def writer(storage: Storage) -> SnapshotWriter:
    journals = Journals(storage, worker=worker_name())
    normaliser = Normaliser(NormaliserConfig(max_subjects=3))
    return SnapshotWriter(journals, "in", "toy", normaliser, Build("1.0", "lock"), {})


def stored(storage: Storage) -> list[Snapshot]:
    records = [e.record for e in Journals(storage, worker="r").open("snapshots.in").scan()]
    return [record for record in records if isinstance(record, Snapshot)]


def rows(snapshots: Sequence[Snapshot]) -> list[tuple[int, dict[str, float]]]:
    return [
        (it.event_ns - NOW, dict(zip(it.subjects, it.fields["price"].tolist() if it.fields else ())))
        for it in snapshots
    ]


def gave(collected: Collected, later: int = 0, **origin: Any) -> Collection:
    return Collection("in", NOW + later, collected, origin)


def moments(*of: tuple[int, tuple[float, ...]], now: int = NOW, **more: Any) -> History:
    """(when after NOW, the prices of s0, s1, …)."""
    return History(tuple(snapshot(now, *values, event=NOW + event, **more) for event, values in of))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def test_a_snapshot_is_recorded_and_given(storage: MemoryStorage) -> None:
    (given,) = writer(storage).record(gave(snapshot(NOW, 1.0)))
    (found,) = stored(storage)
    assert rows([given]) == rows([found]) == [(0, {"s0": 1.0})]
    assert found.origin is None


def test_what_a_collection_says_stands_beside_what_its_snapshot_says(storage: MemoryStorage) -> None:
    it = writer(storage)
    it.record(gave(snapshot(NOW, 1.0, origin={"page": 2, "due_ns": 1}), due_ns=NOW))
    it.record(gave(moments((1, (2.0,)), (2, (3.0,))), 2, breaker={"failures": 1}))
    assert [found.origin for found in stored(storage)] == [
        {"page": 2, "due_ns": NOW}, {"breaker": {"failures": 1}}, {"breaker": {"failures": 1}},
    ]  # fmt: skip


def test_of_moments_gone_by_only_what_is_new_is_recorded(storage: MemoryStorage) -> None:
    it = writer(storage)
    it.record(gave(moments((1, (1.0, 10.0)), (2, (2.0, 20.0)))))
    assert rows(stored(storage)) == [(2, {"s0": 2.0, "s1": 20.0})], "of what is new the newest alone"
    given = it.record(gave(moments((1, (1.0, 10.0)), (2, (2.0, 20.0)), (3, (3.0,)), (4, (4.0, 40.0))), 5))
    assert rows(given) == rows(stored(storage))[1:] == [(3, {"s0": 3.0}), (4, {"s0": 4.0, "s1": 40.0})]
    assert [found.quality for found in stored(storage)] == [{}, {}, {}]


def test_each_subject_has_its_own_newest_moment(storage: MemoryStorage) -> None:
    it = writer(storage)
    it.record(gave(moments((2, (2.0, 2.0)))))
    it.record(gave(moments((4, (4.0,)))))
    given = it.record(gave(moments((1, (1.0, 1.0, 1.0)), (3, (3.0, 3.0, 3.0)), (4, (4.0, 4.0)))))
    assert rows(given) == [(3, {"s1": 3.0, "s2": 3.0}), (4, {"s1": 4.0})]


@pytest.mark.parametrize("again", [moments((1, (1.0,)), (2, (2.0,))), moments((1, (1.0,))), History(())])
def test_when_nothing_is_new_an_empty_snapshot_says_that_it_answered(
    storage: MemoryStorage, again: History
) -> None:
    it = writer(storage)
    it.record(gave(moments((1, (1.0,)), (2, (2.0,)))))
    (given,) = it.record(gave(again, 9, due_ns=NOW + 9))
    found = stored(storage)[-1]
    for nothing in (given, found):
        assert (nothing.subjects, dict(nothing.fields), nothing.status) == ((), {}, "ok")
        assert (nothing.event_ns, nothing.ingest_ns) == (NOW + 9, NOW + 9)
        assert nothing.origin == {"due_ns": NOW + 9}


def test_an_answer_without_news_says_what_it_found_fault_with(storage: MemoryStorage) -> None:
    it = writer(storage)
    again = moments((1, (1.0,)), status="partial", error="BTC/KRW: no bars")
    it.record(gave(again))
    it.record(gave(again, 5))
    assert [(found.status, found.error) for found in stored(storage)] == [("partial", "BTC/KRW: no bars")] * 2


def test_a_start_anew_knows_what_is_recorded(storage: MemoryStorage) -> None:
    given = moments((1, (1.0,)), (2, (2.0,)))
    writer(storage).record(gave(given))
    assert rows(writer(storage).record(gave(given, 5))) == [(5, {})]


def test_two_writers_that_collected_the_same_record_it_once(storage: MemoryStorage) -> None:
    """The second one meets the first at the commit, and looks again."""
    one, two = writer(storage), writer(storage)
    one.record(gave(moments((1, (1.0,)))))
    two.record(gave(moments((1, (1.0,)))))
    one.record(gave(moments((1, (1.0,)), (2, (2.0,)), (3, (3.0,))), 3))
    given = two.record(gave(moments((1, (1.0,)), (2, (2.0,)), (3, (3.0,)), (4, (4.0,))), 4))
    assert rows(given) == [(4, {"s0": 4.0})]
    events = [event for event, values in rows(stored(storage)) if values]
    assert events == [1, 2, 3, 4]
    assert all("duplicate" not in str(found.quality) for found in stored(storage))


@pytest.mark.parametrize(
    ("collected", "message"),
    [
        (snapshot(NOW, np.inf), "RecordError: .*'price' of 's0' is infinite"),
        (snapshot(NOW, 1.0, 1.0, 1.0, 1.0), "RecordError: .*4 subjects in all, at most 3"),
        (replace(snapshot(NOW, 1.0), subjects=("a\nb",)), "RecordError: .*holds the character"),
        (replace(snapshot(NOW, 1.0, 2.0), subjects=("a", "a")), "RecordError: .*stands in it twice"),
        (moments((1, (1.0,)), (2, (np.inf,))), "RecordError: .*is infinite"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_record_is_recorded_as_a_collection_that_failed(
    storage: MemoryStorage, collected: Collected, message: str
) -> None:
    it = writer(storage)
    (given,) = it.record(gave(collected, 5, due_ns=NOW + 5))
    (found,) = stored(storage)
    for failed in (given, found):
        assert (failed.status, failed.subjects, failed.origin) == ("unavailable", (), {"due_ns": NOW + 5})
        assert failed.ingest_ns == NOW + 5
        assert re.search(message, failed.error or "")


def test_what_could_not_be_a_record_leaves_no_trace(storage: MemoryStorage) -> None:
    """Moments before the one that cannot be are new the next time, and no duplicates."""
    it = writer(storage)
    it.record(gave(moments((0, (9.0,)))))
    it.record(gave(moments((1, (1.0,)), (2, (np.inf,))), 2))
    given = it.record(gave(moments((1, (1.0,)), (2, (2.0,))), 3))
    assert rows(given) == [(1, {"s0": 1.0}), (2, {"s0": 2.0})]
    assert [found.status for found in stored(storage)] == ["ok", "unavailable", "ok", "ok"]
    assert [found.quality for found in stored(storage)][2:] == [{"s0": ("outlier_print",)}, {}]


def test_only_if_is_asked_about_the_newest_snapshot(storage: MemoryStorage) -> None:
    it = writer(storage)
    asked: list[Snapshot | None] = []

    def say(yes: bool) -> Callable[[Snapshot | None], bool]:
        return lambda newest: asked.append(newest) or yes  # type: ignore[func-returns-value]

    assert it.record(gave(snapshot(NOW, 1.0)), only_if=say(False)) == ()
    it.record(gave(snapshot(NOW, 1.0)), only_if=say(True))
    assert it.record(gave(snapshot(NOW + 1, 2.0), 1), only_if=say(False)) == ()
    assert [None if newest is None else newest.ingest_ns - NOW for newest in asked] == [None, None, 0]
    assert len(stored(storage)) == 1


def test_only_if_holds_for_what_cannot_be_a_record_too(storage: MemoryStorage) -> None:
    it = writer(storage)
    it.record(gave(snapshot(NOW, np.inf)), only_if=lambda _: False)
    assert stored(storage) == []


def test_only_if_is_asked_again_when_somebody_else_was_faster(storage: MemoryStorage) -> None:
    one, two = writer(storage), writer(storage)
    one.record(gave(snapshot(NOW, 1.0)))
    two.record(gave(snapshot(NOW + 1, 2.0), 1))
    given = one.record(
        gave(snapshot(NOW + 1, 3.0), 1), only_if=lambda it: it is None or it.ingest_ns < NOW + 1
    )
    assert given == (), "what was tried at first is not recorded"
    assert [values for _, values in rows(stored(storage))] == [{"s0": 1.0}, {"s0": 2.0}]


@pytest.mark.parametrize("at", range(1, 5))
def test_what_storage_could_not_take_is_new_the_next_time(storage: MemoryStorage, at: int) -> None:
    writer(storage).record(gave(moments((0, (9.0,)))))
    it = writer(FaultyStorage(storage, at=at, error=lambda: StorageFull("no space left")))
    failed = 0
    for second in (1, 2):
        given = gave(moments(*((time, (10.0 + time,)) for time in range(second + 1))), second)
        try:
            it.record(given)
        except StorageFull:
            failed += 1
            it.record(given)
    assert failed == 1
    assert rows(stored(storage)) == [(time, {"s0": 9.0 if time == 0 else 10.0 + time}) for time in range(3)]


# ---------------------------------------------------------------------- delays


def delays(storage: Storage, *given: Snapshot) -> Journals:
    it = writer(storage)
    for one in given:
        it.write([one])
    return Journals(storage, worker="r")


def test_without_rows_there_is_no_delay(storage: MemoryStorage) -> None:
    assert delay_of(Journals(storage, worker="r").open("snapshots.in")) is None
    found = delays(storage, failure(), snapshot(NOW))
    assert delay_of(found.open("snapshots.in")) is None


def test_least_and_median_are_of_the_snapshots_with_rows(storage: MemoryStorage) -> None:
    late = [
        snapshot(NOW + time, 1.0, event=NOW + time - late) for time, late in enumerate((7, 3, 100, -2, 5))
    ]
    journal = delays(storage, *late, unavailable("in", NOW + 9, "503"), snapshot(NOW + 10)).open(
        "snapshots.in"
    )
    assert delay_of(journal) == Delay(5, -2, 5)


def test_only_the_newest_entries_count(storage: MemoryStorage) -> None:
    late = [snapshot(NOW + time, 1.0, event=NOW + time - late) for time, late in enumerate((90, 80, 1, 2))]
    journal = delays(storage, *late).open("snapshots.in")
    assert delay_of(journal, newest=2) == Delay(2, 1, 2)
    assert delay_of(journal, newest=1) == Delay(1, 2, 2)
    assert delay_of(journal) == Delay(4, 1, 80)
