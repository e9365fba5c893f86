"""Safe mode: everything is observed and recorded as otherwise, and nothing is acted on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.automation.dead_letters import TO_SUBSCRIBER, DeadLetters
from observer_core.runtime import operate
from observer_core.runtime.acts import letters
from observer_core.runtime.acts.ground import By
from observer_core.runtime.deliveries import deliverer, sender
from observer_core.runtime.gate.desk import Answered, GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.safe_mode import is_safe, record, stands, stood
from observer_core.runtime.settings import load
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision, DeliveryResult
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from tests.support.alone import Alone, lifecycle, settings_of, stored
from tests.support.instances import START_NS, Instances
from tests.support.market import Live, eventually, heads

FILE = "out/decisions.ndjson"
SUBSCRIPTION: dict[str, Any] = {
    "name": "all", "stream": "decisions", "start": "beginning", "sink": {"kind": "file", "path": FILE},
}  # fmt: skip
SOURCES = [{"name": "one", "kind": "push", "max_age": "5s"}]
OWN = ("results.", "gate.", "operations.")
"""Journals that tell of what this process did with what is recorded, and of itself."""


class Desk(Live):
    """A market that jumps, a subscriber, and a desk in front of the gate."""

    def __init__(
        self, folder: Path, *, safe: bool, storage: MemoryStorage | None = None, **more: Any
    ) -> None:
        super().__init__(
            folder, storage, source=SOURCES, subscription=[{**SUBSCRIPTION, **more}],
            safety={"safe_mode": safe},
        )  # fmt: skip
        observer = self.observer
        self.gate = Gate(observer.journals, observer.settings, self.clock)
        self.permits: list[str] = []
        self.desk = GateDesk(observer, self.gate, self._permit)
        self.file = folder / FILE

    def _permit(self, place: str, _: Any) -> str:
        self.permits.append(place)
        return "receipt"

    def market(self) -> None:
        """Two minutes; the price jumps at the end of the first, and an operator closes another subject."""
        for second in range(120):
            self.collect("one", {"a": 100.0 + second % 3 + 60 * (second > 60), "b": 10.0}, field="last")
            if second == 90:
                operate.command(
                    self.observer.journals, self.clock, "live", command="kill", scope="subject:b",
                    author="kim", reason="drill",
                )  # fmt: skip
            self.second()
        self.observer.domain("live").work(refresh=True, flush=True)

    def deliver(self) -> int:
        item = deliverer(self.observer, "all", "live")
        try:
            return item.pump()
        finally:
            item.close()

    def delivered(self) -> list[str]:
        if not self.file.exists():
            return []
        return [json.loads(line)["id"] for line in self.file.read_text().splitlines()]

    def decided(self) -> list[str]:
        entries = self.observer.journals.open("decisions.live").scan()
        return [entry.record.id for entry in entries if isinstance(entry.record, Decision)]

    def ask(self, resource: str) -> Answered:
        return self.desk.ask(Question(caller="alpha", action="order", resource=resource)).result(20)


@pytest.fixture
def made() -> Iterator[list[Desk]]:
    found: list[Desk] = []
    yield found
    for it in found:
        it.desk.stop()


def desk(made: list[Desk], folder: Path, *, safe: bool, **more: Any) -> Desk:
    made.append(Desk(folder, safe=safe, **more))
    return made[-1]


def codes(answered: Answered) -> list[str]:
    return [str(reason["code"]) for reason in answered.answer.reasons]


def test_everything_is_recorded_byte_for_byte_as_otherwise_and_nothing_is_delivered(
    tmp_path: Path, made: list[Desk]
) -> None:
    safe, usual = (desk(made, tmp_path / name, safe=name == "safe") for name in ("safe", "usual"))
    for it in (safe, usual):
        it.market()
        it.deliver()
    recorded = {
        name: head for name, head in heads(safe.observer.journals).items() if not name.startswith(OWN)
    }
    assert recorded == {
        name: head for name, head in heads(usual.observer.journals).items() if not name.startswith(OWN)
    }
    assert {"decisions.live", "routes.live", "events.live", "commands.live"} <= recorded.keys()
    assert usual.delivered() == usual.decided() == safe.decided()
    assert safe.delivered() == []
    results = [entry.record for entry in safe.observer.journals.open("results.live-all").scan()]
    assert not any(isinstance(result, DeliveryResult) for result in results)


def test_after_it_all_that_waited_is_delivered_in_order(tmp_path: Path, made: list[Desk]) -> None:
    storage = MemoryStorage()
    safe = desk(made, tmp_path, safe=True, storage=storage)
    safe.market()
    assert safe.deliver() == 0
    after = desk(made, tmp_path, safe=False, storage=storage)
    after.clock.set(safe.clock.now_ns())
    after.deliver()
    assert after.delivered() == safe.decided() != []


def test_what_is_older_than_the_subscription_wants_expires_then_as_it_would_otherwise(
    tmp_path: Path, made: list[Desk]
) -> None:
    storage = MemoryStorage()
    safe = desk(made, tmp_path, safe=True, storage=storage, max_age="45s")
    safe.market()
    safe.deliver()
    after = desk(made, tmp_path, safe=False, storage=storage, max_age="45s")
    after.clock.set(safe.clock.now_ns() + SECOND)
    after.deliver()
    results = [
        entry.record.outcome
        for entry in after.observer.journals.open("results.live-all").scan()
        if isinstance(entry.record, DeliveryResult)
    ]
    assert len(results) == len(safe.decided())
    assert results[0] == "expired"
    assert "delivered" in results


def test_a_subscription_that_begins_now_begins_where_safe_mode_began(
    tmp_path: Path, made: list[Desk]
) -> None:
    storage = MemoryStorage()
    safe = desk(made, tmp_path, safe=True, storage=storage, start="now")
    safe.collect("one", {"a": 100.0}, field="last")
    safe.deliver()
    safe.market()
    safe.deliver()
    after = desk(made, tmp_path, safe=False, storage=storage, start="now")
    after.clock.set(safe.clock.now_ns())
    after.deliver()
    assert after.delivered() == safe.decided() != []


def test_the_gate_denies_with_the_reason_and_records_it_and_gives_no_permit(
    tmp_path: Path, made: list[Desk]
) -> None:
    safe, usual = (desk(made, tmp_path / name, safe=name == "safe") for name in ("safe", "usual"))
    for it in (safe, usual):
        for _ in range(3):
            it.collect("one", {"a": 100.0}, field="last")
            it.second()
        it.observer.domain("live").work(refresh=True, flush=True)
    answered, allowed = safe.ask("a"), usual.ask("a")
    assert (allowed.allowed, usual.permits) == (True, [allowed.ref])
    assert (answered.allowed, codes(answered), safe.permits) == (False, ["safe_mode"], [])
    assert answered.ref == "gate.live@2"
    told = safe.observer.journals.open("gate.live").entry(2).record
    assert told.reasons == answered.answer.reasons  # type: ignore[union-attr]
    assert codes(safe.ask("nobody")) == ["unknown_subject", "safe_mode"]
    question = Question(caller="alpha", action="order", resource="nobody", on_unknown="allow")
    assert not safe.desk.ask(question).result(20).allowed, "nothing excuses it"
    check = safe.gate.check("a")
    assert (check.decision, [reason["code"] for reason in check.reasons]) == ("deny", ["safe_mode"])


def test_what_operators_do_is_taken(tmp_path: Path, made: list[Desk]) -> None:
    safe = desk(made, tmp_path, safe=True)
    safe.market()
    safe.collect("one", {"a": 100.0, "b": 10.0}, field="last")
    safe.second()
    assert "blocked" in codes(safe.ask("b"))


def test_nothing_is_sent_by_hand_either(tmp_path: Path, made: list[Desk]) -> None:
    safe = desk(made, tmp_path, safe=True)
    safe.market()
    with pytest.raises(InputError, match="nothing is sent to all now: the Observer is in safe mode"):
        sender(safe.observer, "all", "live")
    item = deliverer(safe.observer, "all", "live")
    with pytest.raises(InputError, match="nothing is sent to all now"):
        item.replay(1, 5)
    with pytest.raises(InputError, match="nothing is sent to all now"):
        item.again("decisions.live@2")
    known = DeadLetters(safe.observer.journals, safe.observer.storage.queues, safe.clock)
    body = b'{"domain":"live","subscription":"all","ref":"decisions.live@2","detail":"x"}'
    known.bury(f"{TO_SUBSCRIBER}all", "deliver", body, message_id="m", dequeue_count=1)
    letter = next(iter(known.letters()))
    with pytest.raises(InputError, match="safe mode"):
        letters.redrive(known, letter, By("kim", "again"), lambda body: letters.resend(safe.observer, body))
    assert known.letter(letter.id).state == "buried"
    assert safe.delivered() == []


# ---------------------------------------------------------------------- what the store knows of it


def test_begin_and_end_are_records_once_each_and_others_see_them(tmp_path: Path, made: list[Desk]) -> None:
    it = desk(made, tmp_path, safe=False)
    journals, clock = it.observer.journals, it.clock
    began = clock.now_ns()
    assert not record(journals, clock, False)
    assert stands(journals) is None
    assert record(journals, clock, True)
    clock.advance(60 * SECOND)
    assert not record(journals, clock, True), "another start in safe mode is no news"
    assert stands(journals) == began
    assert is_safe(journals, it.observer.settings), "also for a process that is configured otherwise"
    with pytest.raises(InputError, match="safe mode"):
        sender(it.observer, "all", "live")
    assert it.gate.check("a").reasons[-1]["code"] == "safe_mode"
    assert record(journals, clock, False)
    assert stands(journals) is None
    moments = (began - 1, began, began + 59 * SECOND, clock.now_ns())
    assert [stood(journals, at_ns) for at_ns in moments] == [False, True, True, False]
    assert lifecycle(journals) == [
        {"event": "safe_mode", "on": True},
        {"event": "safe_mode", "on": False, "since_ns": began},
    ]


def test_the_gate_of_then_says_so_for_live_time_only(tmp_path: Path, made: list[Desk]) -> None:
    it = desk(made, tmp_path, safe=False)
    it.collect("one", {"a": 100.0}, field="last")
    it.second()
    it.observer.domain("live").work(refresh=True, flush=True)
    before = it.clock.now_ns()
    it.clock.advance(1)
    record(it.observer.journals, it.clock, True)
    for _ in range(2):
        it.collect("one", {"a": 100.0}, field="last")
        it.second()
    at_ns = it.clock.now_ns()
    record(it.observer.journals, it.clock, False)
    assert [reason["code"] for reason in it.gate.check("a", at_ns=at_ns - 1).reasons] == ["safe_mode"]
    assert it.gate.check("a", at_ns=before).reasons == ()
    assert it.gate.check("a").decision == "allow"


def test_a_power_failure_that_cuts_the_record_does_not_end_it() -> None:
    from observer_core.storage import recovery

    assert "safe_mode".startswith(recovery._STAY)


def test_health_warns(tmp_path: Path, made: list[Desk]) -> None:
    safe, usual = (desk(made, tmp_path / name, safe=name == "safe") for name in ("safe", "usual"))
    (found,) = Health(safe.observer, safe.gate, process=False).report()["checks"]["safety:mode"]
    assert (found["status"], found["output"]) == (
        "warn", "the Observer is in safe mode: it observes and records, and acts on nothing",
    )  # fmt: skip
    assert "safety:mode" not in Health(usual.observer, usual.gate, process=False).report()["checks"]


# ---------------------------------------------------------------------- the runtimes


def test_standalone_delivers_after_it_what_it_recorded_in_it(tmp_path: Path) -> None:
    more: dict[str, Any] = {"subscription": [{**SUBSCRIPTION, "stream": "events"}]}
    with Alone(settings_of(tmp_path, safety={"safe_mode": True}, **more)) as safe:
        by = {"author": "kim", "reason": "drill"}
        eventually(lambda: safe.position("events.live"))
        it = safe.it.observer
        operate.command(it.journals, it.clock, "live", command="kill", scope="*", **by)
        eventually(lambda: safe.position("decisions.live") > 2)
    assert not (tmp_path / FILE).exists()
    journals = stored(tmp_path)
    assert [body["event"] for body in lifecycle(journals)] == ["start", "safe_mode", "stop"]
    since = stands(journals)
    assert since is not None
    with Alone(settings_of(tmp_path, **more)) as usual:
        eventually(lambda: stands(stored(tmp_path)) is None)
        eventually(lambda: usual.position("results.live-all"))
    assert lifecycle(stored(tmp_path), "safe_mode")[-1] == {
        "event": "safe_mode", "on": False, "since_ns": since,
    }  # fmt: skip


def test_the_environment_switches_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OBSERVER_SAFETY__SAFE_MODE", "true")
    assert load(root=tmp_path).safety.safe_mode


def test_functions_put_deliveries_off_and_lose_none(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    storage = MemoryStorage(clock)
    subscription: dict[str, Any] = {
        "name": "desk", "stream": "decisions", "start": "beginning",
        "sink": {"kind": "queue", "queue": "desk"},
    }  # fmt: skip

    def instances(*, safe: bool) -> Instances:
        more = {"source": (), "subscription": (subscription,), "safety": {"safe_mode": safe}}
        return Instances(tmp_path, storage, 1, clock=clock, **more)

    def decided() -> list[str]:
        journal = Journals(storage, worker="reader").open("decisions.live")
        return [entry.record.id for entry in journal.scan() if isinstance(entry.record, Decision)]

    safe = instances(safe=True)
    hint = b'{"domain":"live","subscription":"desk"}'
    for second in range(120):
        clock.set(max(clock.now_ns(), START_NS + second * SECOND))
        safe.collect("desk", second)
        safe.handlers[0].pushed("desk")
    safe.handlers[0].clock()
    safe.drain()
    assert decided()
    assert stands(safe.handlers[0].observer.journals) is not None
    safe.handlers[0].sweep()
    assert safe.receive("deliver") is None, "nobody is told while nothing may be delivered"
    safe.handlers[0].deliver(hint)
    assert safe.receive("deliver") is None, "one that comes all the same is put off"
    clock.advance(300 * SECOND)
    again = safe.receive("deliver")
    assert again is not None
    assert again.body == hint
    assert storage.queues.receive("desk") == []
    after = instances(safe=False)
    after.handlers[0].clock()
    after.handlers[0].sweep()
    after.drain()
    assert [decode(m.body)["id"] for m in storage.queues.receive("desk", count=32)] == decided()
    events = lifecycle(after.handlers[0].observer.journals, "safe_mode")
    assert [event["on"] for event in events] == [True, False]
