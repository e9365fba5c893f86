# ruff: noqa: PT012 - what an interrupt leaves behind is the subject here
"""Delivery: which records, in what order, how often, and what is recorded of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from observer_core.automation.dead_letters import DeadLetters
from observer_core.automation.delivery import CONTENT_TYPE, Deliverer
from observer_core.automation.sinks.backoff import delay_ns
from observer_core.automation.sinks.file import FileSink
from observer_core.automation.sinks.sink import Sink
from observer_core.event_bus.subscriptions import SubscriptionConfig
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, ManualClock, format_time
from observer_core.shared.errors import DeliveryError, StorageUnavailable
from observer_core.shared.records import Decision, DeliveryResult, Event, Note, Record
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.verify import verify
from tests.support.faults import Between, Crash, FaultyStorage, variants
from tests.support.market import eventually
from tests.support.toys import worker_name

NOW = 1_700_000_000 * SECOND
BUILD = Build("1.0", "lock")


def event(
    number: int, *, severity: Any = "warning", kind: str = "pattern.spike", incident: str = ""
) -> Event:
    return Event(
        id=f"id{number}", source="/qts/observer/live/one", type=f"io.qts.observer.{kind}", subject="a",
        time_ns=NOW + number * SECOND, data={"series": [["one", "a", "price"]], "n": number},
        partitionkey="one/a", sequence=f"{number:020d}", causationid="patterns.one@1", correlationid=incident,
        severitytext=severity,
    )  # fmt: skip


def decision(number: int, verdict: Any = "block") -> Decision:
    return Decision(
        id=f"d{number}", verdict=verdict, scope="subject:a", policy="p", policy_version=1,
        reasons=({"code": "matched", "text": "because"},), time_ns=NOW + number * SECOND,
        causation=("events.live@1",),
    )  # fmt: skip


class Receiver:
    """A sink that keeps what it gets; `fails` says what to raise at which send (counted from 1)."""

    name = "receiver"

    def __init__(self, fails: dict[int, BaseException] | None = None, *, always: bool = False) -> None:
        self.got: list[tuple[str, bool]] = []
        self.bodies: list[dict[str, Any]] = []
        self.sends = 0
        self.closed = False
        self._fails, self._always = fails or {}, always

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        assert content_type == CONTENT_TYPE == "application/cloudevents+json"
        self.sends += 1
        if self._always:
            raise DeliveryError("503", 503)
        if self.sends in self._fails:
            raise self._fails[self.sends]
        self.got.append((record_id, replay))
        self.bodies.append(json.loads(body))
        return 202

    def already_has(self, record_id: str) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [record_id for record_id, _ in self.got]


class Bus:
    """A stream of one domain, and deliverers of it."""

    def __init__(self, storage: Storage | None = None) -> None:
        self.storage = storage or MemoryStorage()
        self.clock = ManualClock(NOW)
        self.journals = Journals(self.storage, worker=worker_name())

    def publish(self, *records: Record, stream: str = "events.live") -> None:
        journal = self.journals.open(stream, "live")
        journal.commit(journal.head(), Commit(records=records))

    def deliverer(self, sink: Sink, *, journals: Journals | None = None, **config: Any) -> Deliverer:
        options = {key: config.pop(key) for key in ("letters", "stopped") if key in config}
        given = {"name": "sub", "start": "beginning", "sink": {"kind": "log"}, **config}
        subscription = SubscriptionConfig.model_validate(given)
        return Deliverer(journals or self.journals, subscription, "live", sink, self.clock, BUILD, **options)

    def results(self, name: str = "sub") -> list[DeliveryResult]:
        found = Journals(self.storage, worker="r").open(f"results.live-{name}").scan()
        return [e.record for e in found if isinstance(e.record, DeliveryResult)]

    def cursor(self, stream: str = "events.live") -> dict[str, int]:
        found: dict[str, int] = self.journals.open("results.live-sub").checkpoint(stream)
        return found


@pytest.fixture
def bus() -> Bus:
    return Bus()


def outcomes(results: Iterable[DeliveryResult]) -> list[tuple[str, int, str]]:
    return [(r.record, r.attempt, r.outcome) for r in results]


# ---------------------------------------------------------------------- what, and in what order


def test_exactly_the_matching_records_arrive_in_order(bus: Bus) -> None:
    note = Note(kind="epoch", time_ns=NOW, body={})
    bus.publish(note, event(1), event(2, severity="info"), event(3), event(4, kind="feed.stale"), event(5))
    sink = Receiver()
    it = bus.deliverer(sink, min_severity="warning", types=["pattern.*"])
    assert it.lag() == 6
    assert it.pump() == 3
    assert sink.ids == ["id1", "id3", "id5"]
    assert it.lag() == 0
    assert it.pump() == 0
    bus.publish(event(6))
    assert it.lag() == 1
    assert it.pump() == 1
    assert sink.ids == ["id1", "id3", "id5", "id6"]
    assert outcomes(bus.results()) == [(i, 1, "delivered") for i in sink.ids]


def test_an_event_arrives_as_cloudevents_json(bus: Bus) -> None:
    bus.publish(event(1))
    sink = Receiver()
    bus.deliverer(sink).pump()
    (body,) = sink.bodies
    assert body["specversion"] == "1.0"
    assert (body["type"], body["time"]) == ("io.qts.observer.pattern.spike", "2023-11-14T22:13:21Z")
    assert body["data"]["n"] == 1


def test_a_decision_arrives_as_an_event_of_its_verdict(bus: Bus) -> None:
    bus.publish(decision(1), decision(2, "judgment"), stream="decisions.live")
    sink = Receiver()
    bus.deliverer(sink, stream="decisions", verdicts=["block"]).pump()
    (body,) = sink.bodies
    required = {"specversion", "id", "source", "type"}
    assert required <= body.keys()
    assert (body["id"], body["type"], body["subject"]) == (
        "d1",
        "io.qts.observer.decision.block",
        "subject:a",
    )
    assert body["data"]["reasons"] == [{"code": "matched", "text": "because"}]
    assert (body["causationid"], body["sequence"]) == ("events.live@1", f"{1:020d}")


def test_what_was_delivered_is_recorded_with_its_place_and_the_answer(bus: Bus) -> None:
    bus.publish(event(1))
    bus.deliverer(Receiver()).pump()
    (result,) = bus.results()
    assert (result.subscription, result.ref, result.code, result.replay) == (
        "sub",
        "events.live@1",
        202,
        False,
    )
    assert result.latency_ns > 0
    journal = bus.journals.open("results.live-sub")
    assert journal.entry(1).record.body["config"]["name"] == "sub"  # type: ignore[union-attr]
    assert bus.journals.names("results", "live") == ["results.live-sub"]
    assert verify(journal).fault is None


def test_many_records_are_committed_some_at_a_time(bus: Bus) -> None:
    bus.publish(*(event(n) for n in range(1, 56)))
    sink = Receiver()
    assert bus.deliverer(sink).pump() == 55
    assert sink.ids == [f"id{n}" for n in range(1, 56)]
    rows = list(bus.journals.open("results.live-sub").rows())
    taken = [(i.first, i.last) for row in rows for i in row.inputs]
    assert taken == [(1, 20), (21, 40), (41, 55)]


def test_what_no_filter_lets_through_moves_the_cursor_all_the_same(bus: Bus) -> None:
    bus.publish(*(event(n, severity="info") for n in range(1, 700)))
    sink = Receiver()
    assert bus.deliverer(sink, min_severity="critical").pump() == 0
    assert bus.cursor()["position"] == 699
    assert sink.sends == 0


def test_two_subscribers_have_cursors_of_their_own(bus: Bus) -> None:
    bus.publish(event(1))
    first, second = Receiver(), Receiver()
    bus.deliverer(first).pump()
    bus.publish(event(2))
    bus.deliverer(second, name="other").pump()
    assert (first.ids, second.ids) == (["id1"], ["id1", "id2"])


# ---------------------------------------------------------------------- where it starts


@pytest.mark.parametrize(
    ("start", "ids"),
    [
        ("beginning", ["id1", "id2", "id3", "id4"]),
        ("now", ["id4"]),
        ({"position": 2}, ["id2", "id3", "id4"]),
        ({"position": 4}, ["id4"]),
        ({"position": 9}, []),
        ({"time": format_time(NOW + 2 * SECOND)}, ["id2", "id3", "id4"]),
        ({"time": format_time(NOW + 2 * SECOND + 1)}, ["id3", "id4"]),
        ({"time": format_time(NOW)}, ["id1", "id2", "id3", "id4"]),
    ],
)
def test_it_starts_where_it_is_told_to(bus: Bus, start: Any, ids: list[str]) -> None:
    bus.publish(event(1), event(2), event(3))
    sink = Receiver()
    it = bus.deliverer(sink, start=start)
    it.pump()
    assert it.lag() == 0
    bus.publish(event(4))
    it.pump()
    assert sink.ids == ids


def test_a_start_in_the_future_waits_for_it(bus: Bus) -> None:
    bus.publish(event(1))
    sink = Receiver()
    it = bus.deliverer(sink, start={"time": format_time(NOW + 3 * SECOND)})
    for number in (2, 3, 4):
        it.pump()
        bus.publish(event(number))
    it.pump()
    assert sink.ids == ["id3", "id4"]


def test_now_is_when_it_was_first_asked_not_when_the_process_started_again(bus: Bus) -> None:
    bus.publish(event(1))
    assert bus.deliverer(Receiver(), start="now").pump() == 0
    bus.publish(event(2))
    sink = Receiver()
    assert bus.deliverer(sink, start="now").pump() == 1
    assert sink.ids == ["id2"]


def test_a_start_that_is_changed_later_does_not_move_the_cursor(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    bus.deliverer(Receiver()).pump()
    sink = Receiver()
    bus.deliverer(sink, start={"position": 1}).pump()
    assert sink.ids == []
    assert [e.record.kind for e in bus.journals.open("results.live-sub").scan()] == [  # type: ignore[union-attr]
        "epoch", "delivery", "delivery",
    ]  # fmt: skip


# ---------------------------------------------------------------------- failures


def test_a_failing_sink_is_tried_again_later_and_later_and_then_the_record_is_dropped(bus: Bus) -> None:
    bus.publish(event(1), event(2, severity="info"), event(3))
    sink = Receiver({n: DeliveryError("503 busy", 503) for n in (1, 2, 3)})
    it = bus.deliverer(sink, max_attempts=3, min_severity="warning")
    for attempt in (1, 2):
        assert it.pump() == 1
        wait = delay_ns("id1", attempt)
        circuit = {"state": "closed", "failures": attempt}
        due_ns = bus.clock.now_ns() + wait
        assert bus.cursor() == {
            "position": 0,
            "attempt": attempt,
            "not_before_ns": due_ns,
            "circuit": circuit,
        }
        assert it.pump() == 0, "it is not asked before its time"
        bus.clock.advance(wait - 1)
        assert it.pump() == 0
        bus.clock.advance(1)
    assert it.pump() == 2
    assert outcomes(bus.results()) == [
        ("id1", 1, "failed"), ("id1", 2, "failed"), ("id1", 3, "dropped"), ("id3", 1, "delivered"),
    ]  # fmt: skip
    assert (bus.results()[0].code, bus.results()[0].detail) == (503, "503 busy")
    assert sink.ids == ["id3"]
    assert bus.cursor() == {"position": 3, "attempt": 0, "not_before_ns": 0}


def test_the_wait_survives_a_restart(bus: Bus) -> None:
    bus.publish(event(1))
    bus.deliverer(Receiver(always=True)).pump()
    sink = Receiver()
    assert bus.deliverer(sink).pump() == 0
    bus.clock.advance(delay_ns("id1", 1))
    assert bus.deliverer(sink).pump() == 1
    assert outcomes(bus.results()) == [("id1", 1, "failed"), ("id1", 2, "delivered")]


def test_a_sink_that_fails_again_and_again_is_let_be_whatever_the_record(bus: Bus) -> None:
    """The first record is given up after two attempts; the second one does not start afresh."""
    bus.publish(event(1), event(2))
    it = bus.deliverer(
        Receiver(always=True), max_attempts=2, breaker={"failures": 3, "pause": "1h", "longest": "1h"}
    )
    it.pump()
    bus.clock.advance(delay_ns("id1", 1))
    assert it.pump() == 2  # given up; the next one fails too, which opens the circuit
    assert bus.cursor()["circuit"]["state"] == "open"
    wait = bus.cursor()["not_before_ns"] - bus.clock.now_ns()
    assert 1800 * SECOND <= wait <= 3600 * SECOND
    assert it.pump() == 0


def test_a_sink_that_says_when_to_come_back_is_heeded(bus: Bus) -> None:
    bus.publish(event(1))
    bus.deliverer(Receiver({1: DeliveryError("429", 429, wait_ns=90 * SECOND)})).pump()
    assert bus.cursor()["not_before_ns"] == bus.clock.now_ns() + 90 * SECOND


def test_what_is_older_than_wanted_is_recorded_and_not_sent(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    sink = Receiver()
    bus.clock.advance(3600 * SECOND)
    assert bus.deliverer(sink, max_age="30m").pump() == 2
    assert outcomes(bus.results()) == [("id1", 1, "expired"), ("id2", 1, "expired")]
    assert sink.ids == []


def test_what_is_given_up_is_a_dead_letter_once_and_can_be_sent_again(bus: Bus) -> None:
    bus.publish(event(1), event(2, kind="dead_letter"))
    letters = DeadLetters(bus.journals, bus.storage.queues, bus.clock)
    refused = DeliveryError("400 no", 400, retry=False)
    bus.deliverer(Receiver({1: refused, 2: refused}), letters=letters).pump()
    (letter,) = letters.letters()  # the news of a dead letter becomes none itself
    assert (letter.queue, letter.stage, letter.dequeue_count) == ("subscription sub", "deliver", 1)
    body = decode(letter.body)
    assert (body["ref"], body["detail"]) == ("events.live@1", "400 no")
    sink = Receiver()
    sender = bus.deliverer(sink, letters=letters)

    def resend(body: Mapping[str, Any]) -> None:
        sender.again(body["ref"])

    letters.redrive(letter, author="kim", reason="mended", resend=resend)
    assert sink.ids == ["id1"]
    assert letters.letters()[0].state == "redriven"
    assert bus.results()[-1].outcome == "delivered"


def test_records_of_an_incident_are_folded_into_its_one_message(bus: Bus) -> None:
    kinds = enumerate(("incident.opened", "pattern.spike", "incident.updated"), 1)
    bus.publish(*(event(number, kind=kind, incident="i1") for number, kind in kinds), event(4))
    sink = Wall()
    assert bus.deliverer(sink).pump() == 4
    assert sink.told == [("id1", None), ("id3", "m1"), ("id4", None)]
    assert [result.outcome for result in bus.results()] == ["delivered", "folded", "delivered", "delivered"]


class Wall(Receiver):
    """One message a thread, by its first record; `m<n>` is what it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str | None]] = []

    def thread_of(self, body: bytes) -> str:
        return str(decode(body)["correlationid"])

    def folds(self, body: bytes) -> bool:
        return bool(self.thread_of(body)) and ".incident." not in decode(body)["type"]

    def send_in(self, body: bytes, *, replay: bool, earlier: str | None) -> tuple[int | None, str | None]:
        self.told.append((decode(body)["id"], earlier))
        return 200, earlier or f"m{len(self.told)}"


def test_what_can_never_be_taken_is_dropped_at_once(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    sink = Receiver({1: DeliveryError("400 no", 400, retry=False)})
    assert bus.deliverer(sink).pump() == 2
    assert outcomes(bus.results()) == [("id1", 1, "dropped"), ("id2", 1, "delivered")]


def test_with_the_default_number_of_attempts_a_dead_sink_gives_up_after_twelve(bus: Bus) -> None:
    bus.publish(event(1))
    it = bus.deliverer(Receiver(always=True))
    for _ in range(20):
        it.pump()
        bus.clock.advance(300 * SECOND)
    assert [r.outcome for r in bus.results()] == ["failed"] * 11 + ["dropped"]


def test_records_delivered_before_a_failure_are_not_sent_again(bus: Bus) -> None:
    bus.publish(*(event(n) for n in range(1, 6)))
    sink = Receiver({4: DeliveryError("busy")})
    it = bus.deliverer(sink)
    it.pump()
    assert sink.ids == ["id1", "id2", "id3"]
    bus.clock.advance(300 * SECOND)
    it.pump()
    assert sink.ids == ["id1", "id2", "id3", "id4", "id5"]


def test_asked_to_stop_it_finishes_the_record_at_hand(bus: Bus) -> None:
    bus.publish(*(event(n) for n in range(1, 6)))
    sink = Receiver()
    it = bus.deliverer(sink, stopped=lambda: len(sink.got) == 2)
    it.pump()
    assert sink.ids == ["id1", "id2"]
    assert bus.cursor()["position"] == 2
    bus.deliverer(sink).pump()
    assert sink.ids == [f"id{n}" for n in range(1, 6)]


def test_a_clock_that_went_back_does_not_stop_the_results(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    bus.clock.advance(3600 * SECOND)
    bus.deliverer(Receiver(), start={"position": 2}).pump()
    bus.clock = ManualClock(NOW)
    bus.publish(event(3))
    bus.deliverer(Receiver(), start={"position": 2}).pump()
    times = [r.time_ns for r in bus.results()]
    assert times == sorted(times) == [NOW + 3600 * SECOND] * 2


# ---------------------------------------------------------------------- crashes


def lines(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_crash_between_sending_and_committing_sends_again_with_the_same_id(tmp_path: Path) -> None:
    """The file knows what it has: no line stands in it twice. A plain receiver gets the id again."""
    counting = Bus(FaultyStorage(MemoryStorage()))
    counting.publish(*(event(n) for n in range(1, 26)))
    published = len(counting.storage.steps)  # type: ignore[attr-defined]
    counting.deliverer(Receiver()).pump()
    steps = counting.storage.steps  # type: ignore[attr-defined]
    expected = [f"id{n}" for n in range(1, 26)]
    repeated = 0
    for at, when in variants(steps):
        if at <= published:
            continue
        memory, path, plain = MemoryStorage(), tmp_path / f"{at}{when}.ndjson", Receiver()
        both = Both(FileSink(path), plain)
        bus = Bus(FaultyStorage(memory, at=at, when=when))
        bus.publish(*(event(n) for n in range(1, 26)))
        with pytest.raises(Crash):
            bus.deliverer(both).pump()
        both.close()
        again = Bus(memory)
        both = Both(FileSink(path), plain)
        again.deliverer(both).pump()
        both.close()
        assert lines(path) == expected, f"stopped {when} step {at}"
        assert set(plain.ids) == set(expected)
        repeated += len(plain.ids) > len(expected)
        told = [r.record for r in again.results()]
        assert told == expected, "each is recorded once"
        assert again.cursor()["position"] == 25
        marked = [r.outcome for r in again.results()].count("already_delivered")
        assert marked == len(plain.ids) - len(expected)
    assert repeated > 0


class Both:
    """A file, and a receiver that cannot tell what it has."""

    name = "both"

    def __init__(self, file: FileSink, plain: Receiver) -> None:
        self._file, self._plain = file, plain

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> int | None:
        self._plain.send(record_id, body, content_type=content_type, replay=replay)
        return self._file.send(record_id, body, content_type=content_type, replay=replay)

    def already_has(self, record_id: str) -> bool:
        has = self._file.already_has(record_id)
        if has:
            self._plain.got.append((record_id, False))
        return has

    def close(self) -> None:
        self._file.close()


def test_the_cursor_and_the_results_move_in_one_transaction(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    seen: list[tuple[int, int]] = []

    def look(_: int) -> None:
        journals = Journals(bus.storage, worker="reader")
        cursor = journals.open("results.live-sub").checkpoint("events.live") or {"position": 0}
        seen.append((cursor["position"], len(bus.results())))

    watched = Journals(Between(bus.storage, look), worker=worker_name())
    bus.deliverer(Receiver(), journals=watched).pump()
    look(0)
    assert set(seen) == {(0, 0), (2, 2)}


def test_a_storage_that_fails_after_the_sends_is_told_and_the_results_follow_later(bus: Bus) -> None:
    bus.publish(event(1))
    bus.deliverer(Receiver(), start="now", name="sub").pump()
    bus.publish(event(2))
    faulty = FaultyStorage(bus.storage, at=1, error=lambda: StorageUnavailable("down"))
    sink = Receiver()
    it = bus.deliverer(sink, journals=Journals(faulty, worker=worker_name()), start="now")
    with pytest.raises(StorageUnavailable):
        it.pump()
    assert sink.ids == ["id2"]
    assert it.pump() == 1
    assert sink.ids == ["id2", "id2"]
    assert outcomes(bus.results()) == [("id2", 1, "delivered")]


def test_a_twin_that_is_ahead_is_not_taken_back(bus: Bus) -> None:
    """Two processes deliver one subscription: both record what they did, and the cursor only moves on."""
    bus.publish(event(1), event(2))
    twin = Bus(bus.storage)
    other = Receiver()
    done: list[int] = []

    def act(_: int) -> None:
        if sink.sends and not done:
            done.append(1)
            twin.deliverer(other).pump()
            twin.publish(event(3))
            twin.deliverer(other).pump()

    sink = Receiver({1: DeliveryError("busy")})
    journals = Journals(Between(bus.storage, act), worker=worker_name())
    it = bus.deliverer(sink, journals=journals)
    it.pump()
    assert other.ids == ["id1", "id2", "id3"]
    assert bus.cursor() == {"position": 3, "attempt": 0, "not_before_ns": 0}
    bus.clock.advance(300 * SECOND)
    assert it.pump() == 0
    assert outcomes(bus.results())[-1] == ("id1", 1, "failed")


def test_what_another_threads_step_has_not_committed_yet_is_not_delivered(tmp_path: Path) -> None:
    """It may never be committed: a step that fails takes its events back."""
    storage = LocalStorage(tmp_path, durability="normal")
    bus = Bus(storage)
    bus.publish(event(1))
    sink = Receiver()
    it = bus.deliverer(sink)
    it.pump()
    bus.publish(event(2))
    with pytest.raises(KeyboardInterrupt), storage.group():
        bus.publish(event(3))
        pumping = threading.Thread(target=it.pump)
        pumping.start()
        eventually(lambda: sink.ids[1:])  # it waits for the end of the step to record that
        raise KeyboardInterrupt
    pumping.join(10)
    assert sink.ids == ["id1", "id2"]
    bus.journals.forget()
    bus.publish(replace(event(9), time_ns=NOW + 3 * SECOND))
    it.pump()
    assert sink.ids == ["id1", "id2", "id9"]
    storage.close()


# ---------------------------------------------------------------------- replay


def test_a_replay_sends_what_matches_again_marked_and_leaves_the_cursor(bus: Bus) -> None:
    note = Note(kind="epoch", time_ns=NOW, body={})
    bus.publish(note, event(1), event(2, severity="info"), event(3), event(4))
    sink = Receiver()
    it = bus.deliverer(sink, min_severity="warning")
    it.pump()
    cursor = bus.cursor()
    assert it.replay(1, 4) == 2
    assert sink.got[3:] == [("id1", True), ("id3", True)]
    assert bus.cursor() == cursor
    assert [(r.record, r.replay) for r in bus.results()][3:] == [("id1", True), ("id3", True)]
    assert it.replay(1, 1) == 0


def test_a_file_takes_a_replay_although_it_has_the_record(bus: Bus, tmp_path: Path) -> None:
    bus.publish(event(1))
    sink = FileSink(tmp_path / "out")
    it = bus.deliverer(sink)
    it.pump()
    it.replay(1, 1)
    it.close()
    assert lines(tmp_path / "out") == ["id1", "id1"]


def test_a_replay_that_fails_is_recorded_and_the_next_record_is_tried(bus: Bus) -> None:
    bus.publish(event(1), event(2))
    sink = Receiver({3: DeliveryError("busy", 503)})
    it = bus.deliverer(sink)
    it.pump()
    assert it.replay(1, 2) == 2
    assert [(r.record, r.outcome) for r in bus.results()][2:] == [("id1", "failed"), ("id2", "delivered")]
    assert it.pump() == 0


def test_closing_closes_the_sink(bus: Bus) -> None:
    sink = Receiver()
    bus.deliverer(sink).close()
    assert sink.closed
