from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime import handlers as runtime
from observer_core.runtime import operate
from observer_core.runtime.audit.replay import replay
from observer_core.runtime.handlers import STAGES, of_process
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision, Event, PatternRecord, Snapshot
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.instances import BUILD, START_NS, Instances

HOST: dict[str, Any] = {"kind": "system", "name": "host", "interval": "5s", "host": "h", "file_systems": ()}
TO_QUEUE: dict[str, Any] = {
    "name": "desk", "stream": "decisions", "start": "beginning", "sink": {"kind": "queue", "queue": "desk"},
}  # fmt: skip


@pytest.fixture
def instances(tmp_path: Path) -> Instances:
    clock = ManualClock(START_NS)
    return Instances(
        tmp_path, MemoryStorage(clock), 2, clock=clock, source=(HOST,), subscription=(TO_QUEUE,)
    )  # fmt: skip


def journals(instances: Instances) -> Journals:
    return Journals(instances.storage, worker="reader")


def records(instances: Instances, name: str, kind: type) -> list[Any]:
    return [e.record for e in journals(instances).open(name).scan() if isinstance(e.record, kind)]


def positions(instances: Instances) -> dict[str, int]:
    known = journals(instances)
    return {name: known.open(name).head().position for name in known.names()}


def hints(instances: Instances, stage: str) -> list[dict[str, Any]]:
    found = []
    while (message := instances.receive(stage)) is not None:
        found.append(decode(message.body))
    return found


def market(instances: Instances, seconds: range, source: str = "desk", *, by: int = 0) -> None:
    for second in seconds:
        instances.clock.set(max(instances.clock.now_ns(), START_NS + second * SECOND))
        instances.collect(source, second, by=by)
        instances.handlers[by].pushed(source)


class TestCollect:
    def test_one_message_a_due_source_and_none_before_the_next_moment(self, instances: Instances) -> None:
        timer = instances.handlers[0]
        for _ in range(11):
            timer.collect()
            instances.clock.advance(SECOND)
        due = [hint["due_ns"] - START_NS for hint in hints(instances, "collect-source")]
        assert due == [0, 5 * SECOND, 10 * SECOND]

    def test_missed_moments_are_not_made_up_for(self, instances: Instances) -> None:
        timer = instances.handlers[0]
        timer.collect()
        instances.clock.advance(3600 * SECOND)
        timer.collect()
        assert len(hints(instances, "collect-source")) == 2

    def test_a_moment_gives_one_snapshot_however_often_and_by_whom_it_is_hinted(
        self, instances: Instances
    ) -> None:
        for by in (0, 1):
            instances.handlers[by].collect()  # a timer that moved to another instance asks again
        messages = [instances.receive("collect-source") for _ in range(2)]
        for message, by in zip(messages, (0, 1)):
            assert message is not None
            instances.give("collect-source", message, by=by)
            instances.handlers[by].collect_source(message.body)
        assert len(records(instances, "snapshots.host", Snapshot)) == 1
        assert hints(instances, "recognise") == [{"source": "host"}]

    def test_a_late_hint_finds_its_moment_covered_by_a_later_snapshot(self, instances: Instances) -> None:
        instances.handlers[0].collect()
        late = instances.receive("collect-source")
        instances.clock.advance(5 * SECOND)
        instances.handlers[0].collect()
        instances.drain()
        assert late is not None
        instances.handlers[1].collect_source(late.body)
        assert len(records(instances, "snapshots.host", Snapshot)) == 1

    def test_a_hint_for_a_source_that_is_not_configured_says_so(self, instances: Instances) -> None:
        with pytest.raises(InputError, match="source 'ghost', which is not configured; there are: host"):
            instances.handlers[0].collect_source(b'{"source": "ghost", "due_ns": 1}')


class TestTheChain:
    def test_a_snapshot_becomes_patterns_events_decisions_and_a_delivery(self, instances: Instances) -> None:
        market(instances, range(120))
        instances.handlers[0].clock()
        instances.drain()
        assert records(instances, "patterns.desk", PatternRecord)
        assert records(instances, "events.live", Event)
        decided = records(instances, "decisions.live", Decision)
        assert decided
        sent = [decode(m.body)["id"] for m in instances.storage.queues.receive("desk", count=32)]
        assert sent == [decision.id for decision in decided]

    @pytest.mark.parametrize("stage", ["recognise", "publish", "decide", "route", "deliver"])
    def test_repeating_every_hint_repeats_nothing(self, instances: Instances, stage: str) -> None:
        market(instances, range(120))
        instances.handlers[0].clock()
        again = []
        while messages := [(name, m) for name in STAGES if (m := instances.receive(name)) is not None]:
            for name, message in messages:
                instances.give(name, message)
                if name == stage:
                    again.append(message.body)
        before = positions(instances)
        for body in again:
            for instance in instances.handlers:
                getattr(instance, stage)(body)
        assert again
        assert before == positions(instances)

    def test_a_source_without_news_costs_publish_and_decide_nothing(self, instances: Instances) -> None:
        market(instances, range(1))
        instances.drain()  # an epoch opens, and that is news
        before = positions(instances)
        market(instances, range(1, 30))
        while (message := instances.receive("recognise")) is not None:
            instances.give("recognise", message)
        assert not any(length for _, length in instances.lengths())
        assert positions(instances) == {**before, "snapshots.desk": before["snapshots.desk"] + 29}

    def test_quiet_or_not_every_stage_says_how_far_it_has_come(self, instances: Instances) -> None:
        market(instances, range(30))
        instances.drain()
        instances.handlers[1].clock()
        instances.clock.advance(11 * SECOND)
        market(instances, range(41, 43))
        instances.drain()
        instances.handlers[0].clock()
        now = instances.clock.now_ns()
        for name in ("patterns.desk", "events.live", "decisions.live"):
            assert now - journals(instances).open(name).head().through_ns <= 2 * SECOND, name

    def test_time_does_not_pass_over_what_only_a_lost_hint_told_of(self, instances: Instances) -> None:
        instances.handlers[1].clock()
        market(instances, range(120))
        while (message := instances.receive("recognise")) is not None:
            instances.give("recognise", message)
        instances.lose()
        instances.handlers[1].clock()
        consumed = journals(instances).open("events.live").checkpoint("patterns.desk")["position"]
        assert consumed == journals(instances).open("patterns.desk").head().position


class TestWhatIsAsked:
    """An operator has asked something: the stage that obeys it hears of it at once."""

    def test_a_command_is_obeyed_and_told_of(self, instances: Instances) -> None:
        market(instances, range(3))
        instances.handlers[0].clock()
        instances.drain()
        operators = journals(instances)
        by = {"author": "kim", "reason": "drill"}
        operate.command(operators, instances.clock, "live", command="kill", scope="*", **by)
        instances.handlers[0].asked("decisions.live")
        instances.drain()
        (decision,) = records(instances, "decisions.live", Decision)
        assert decision.causation == ("commands.live@1",)
        assert instances.storage.queues.length("desk") == 1

    @pytest.mark.parametrize(
        ("journal", "stage", "hint"),
        [
            ("routes.live", "route", {"domain": "live"}),
            ("events.live", "publish", {"domain": "live"}),
            ("patterns.desk", "recognise", {"source": "desk"}),
            ("snapshots.basis", "recognise", {"source": "basis"}),
        ],
    )
    def test_each_stage_has_its_queue(
        self, instances: Instances, journal: str, stage: str, hint: dict[str, str]
    ) -> None:
        instances.handlers[0].asked(journal)
        assert hints(instances, stage) == [hint]

    def test_what_no_stage_writes_needs_no_hint(self, instances: Instances) -> None:
        instances.handlers[0].asked("results.live-desk")
        assert not any(hints(instances, stage) for stage in STAGES)


class TestASlowReceiver:
    @pytest.fixture
    def decided(self, instances: Instances) -> Instances:
        """Everything is decided, and nothing delivered."""
        market(instances, range(240))
        instances.handlers[0].clock()
        while found := [(s, m) for s in STAGES[:-1] if (m := instances.receive(s)) is not None]:
            for stage, message in found:
                instances.give(stage, message)
        assert len(records(instances, "decisions.live", Decision)) >= 4
        assert hints(instances, "deliver")
        return instances

    def test_holds_up_neither_timers_nor_other_hints(
        self, decided: Instances, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(runtime, "_PATIENCE_S", 0.01)
        handlers, hint = decided.handlers[0], b'{"domain":"live","subscription":"desk"}'
        asked, answers = threading.Event(), threading.Event()
        send = decided.storage.queues.send

        def hang(queue: str, body: bytes, *, delay_ns: int = 0) -> None:
            if queue == "desk":
                asked.set()
                assert answers.wait(30)
            send(queue, body, delay_ns=delay_ns)

        monkeypatch.setattr(decided.storage.queues, "send", hang)
        with ThreadPoolExecutor(1) as threads:
            delivery = threads.submit(handlers.deliver, hint)
            assert asked.wait(30)
            decided.clock.advance(20 * SECOND)
            handlers.clock()
            handlers.sweep()
            handlers.deliver(hint)
            assert not delivery.done()
            answers.set()
            delivery.result(30)
        decided.clock.advance(5 * SECOND)
        assert decode(hint) in hints(decided, "deliver")

    def test_gets_many_records_in_several_calls_each_within_its_lease(
        self, decided: Instances, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        send = decided.storage.queues.send

        def slow(queue: str, body: bytes, *, delay_ns: int = 0) -> None:
            if queue == "desk":
                decided.clock.advance(20 * SECOND)
            send(queue, body, delay_ns=delay_ns)

        monkeypatch.setattr(decided.storage.queues, "send", slow)
        decisions = [decision.id for decision in records(decided, "decisions.live", Decision)]
        calls, hint, sent = 0, b'{"domain":"live","subscription":"desk"}', []
        while calls < len(decisions):
            decided.handlers[calls % 2].deliver(hint)  # by turns: the lease must be free again
            calls += 1
            found = decided.storage.queues.receive("desk", count=32)
            for message in found:
                sent.append(decode(message.body)["id"])
                decided.storage.queues.delete("desk", message)
            assert len(found) <= 2
            decided.clock.advance(2 * SECOND)
            if not hints(decided, "deliver"):
                break
        assert sent == decisions
        assert calls > 1


class TestSweep:
    def test_alone_it_brings_everything_through_when_every_other_hint_is_lost(
        self, instances: Instances
    ) -> None:
        market(instances, range(120))
        instances.lose()
        instances.clock.advance(60 * SECOND)
        for _ in range(6):
            instances.handlers[1].sweep()
            of_the_sweep = [(stage, m) for stage in STAGES if (m := instances.receive(stage)) is not None]
            for stage, message in of_the_sweep:
                instances.give(stage, message)
            instances.lose()
        assert records(instances, "decisions.live", Decision)

    def test_it_is_silent_when_nothing_lags(self, instances: Instances) -> None:
        market(instances, range(120))
        instances.handlers[0].clock()
        instances.drain()
        instances.clock.advance(60 * SECOND)
        instances.handlers[0].clock()
        instances.handlers[0].sweep()
        instances.drain()
        instances.handlers[1].sweep()
        assert all(length == 0 for _, length in instances.lengths())


class TestBadHints:
    @pytest.mark.parametrize(
        "stage", ["collect_source", "recognise", "publish", "decide", "route", "deliver"]
    )
    @pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", b'{"source": 1, "domain": null}'])
    def test_they_are_refused_with_what_was_expected(
        self, instances: Instances, stage: str, body: bytes
    ) -> None:
        with pytest.raises(InputError, match="a hint (is not JSON|must be a JSON object with)"):
            getattr(instances.handlers[0], stage)(body)

    def test_a_source_that_nobody_has_written_is_named(self, instances: Instances) -> None:
        with pytest.raises(InputError, match="there is no source 'ghost'"):
            instances.handlers[0].recognise(b'{"source": "ghost"}')


class TestVersions:
    def test_a_worker_that_was_overtaken_hands_its_hint_on_and_commits_nothing(
        self, instances: Instances
    ) -> None:
        market(instances, range(20))
        instances.drain(by=0)
        instances.restart(1, Build("2.0", "lock"))
        market(instances, range(20, 120), by=1)
        first = instances.receive("recognise")
        assert first is not None
        instances.give("recognise", first, by=1)
        epoch = journals(instances).open("patterns.desk").head().epoch
        while (message := instances.receive("recognise")) is not None:
            instances.give("recognise", message, by=0)
        assert journals(instances).open("patterns.desk").head().epoch == epoch == 2
        assert dict(instances.lengths())["recognise"] == 99  # put back, for later
        instances.clock.advance(10 * SECOND)
        instances.drain(by=1)
        assert replay(journals(instances), "patterns.desk", BUILD.version).needs_version == "2.0"

    def test_a_process_that_stays_overtaken_begins_anew(self, instances: Instances) -> None:
        market(instances, range(3))
        instances.drain(by=0)
        instances.restart(1, Build("2.0", "lock"))
        market(instances, range(3, 6), by=1)
        instances.drain(by=1)
        old = instances.handlers[0]
        old.recognise(b'{"source": "desk"}')
        market(instances, range(6, 7), by=1)
        old.recognise(b'{"source": "desk"}')
        assert not old.stranded
        instances.clock.advance(61 * SECOND)
        assert old.stranded


def test_one_object_graph_a_process(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = list(instances.handlers)
    monkeypatch.setattr(runtime, "_process", None)
    monkeypatch.setattr(runtime, "_make", lambda: waiting.pop(0))
    assert of_process() is of_process() is instances.handlers[0]
    instances.handlers[0]._moved_ns = 1
    assert of_process() is instances.handlers[1]


class TestLateHints:
    """A host polls: a hint may come a moment after the next one was due."""

    def test_each_moment_gets_its_snapshot_although_its_hint_comes_late(self, instances: Instances) -> None:
        instances.handlers[0].collect()
        instances.clock.advance(5 * SECOND)
        instances.handlers[0].collect()
        for by in (0, 1):
            message = instances.receive("collect-source")
            assert message is not None
            instances.give("collect-source", message, by=by)
        found = records(instances, "snapshots.host", Snapshot)
        assert [snapshot.origin["due_ns"] - START_NS for snapshot in found] == [0, 5 * SECOND]

    def test_one_that_is_older_than_an_interval_is_not_made_up_for(self, instances: Instances) -> None:
        instances.handlers[0].collect()
        late = instances.receive("collect-source")
        instances.clock.advance(6 * SECOND)
        assert late is not None
        instances.give("collect-source", late)
        assert not journals(instances).open("snapshots.host").head().position


def test_after_a_delivery_the_next_one_may_be_made_by_any_instance(instances: Instances) -> None:
    """No hint waits for a lease that nobody needs any more."""
    market(instances, range(100))
    instances.handlers[0].clock()
    instances.drain(by=0)
    sent = instances.storage.queues.length("desk")
    assert sent
    operate.command(
        journals(instances), instances.clock, "live", command="block", scope="*", author="kim", reason="drill"
    )
    instances.handlers[1].decide(b'{"domain":"live"}')
    instances.drain(by=1)
    assert instances.storage.queues.length("desk") > sent
    assert dict(instances.lengths())["deliver"] == 0
