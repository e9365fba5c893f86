"""A clock that is set and a machine that slept: told, recorded, and named where the gate closes for it."""

from __future__ import annotations

from pathlib import Path

from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.safety.clock_jump import ClockJumps
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.storage.memory import MemoryStorage
from tests.support.alone import Alone, lifecycle, settings_of, stored
from tests.support.instances import START_NS, Instances
from tests.support.market import Live, eventually

HOUR = 3600 * SECOND


class Machine:
    """The clocks that the guard reads; `wall` and `asleep` are moved by hand."""

    def __init__(self) -> None:
        self.wall, self.asleep, self.running = START_NS, 0, 0

    def jumps(self) -> ClockJumps:
        return ClockJumps(
            2 * SECOND, lambda: self.wall, lambda: self.running, lambda: self.running + self.asleep
        )


def test_standalone_records_it_and_health_warns_for_ten_minutes(tmp_path: Path) -> None:
    machine, running = Machine(), Alone(settings_of(tmp_path))
    running.it.observer.guards.clock = machine.jumps()
    with running:
        eventually(lambda: running.position("snapshots.host") > 2)
        assert "clock:jumps" not in running.it.health.report()["checks"]
        machine.wall -= 90 * SECOND
        eventually(lambda: running.it.observer.guards.clock.newest())
        (found,) = running.it.health.report()["checks"]["clock:jumps"]
        assert (found["status"], found["observedValue"]) == ("warn", -90)
        assert found["output"].startswith("the clock was set back by 1m30s at ")
        machine.running += 601 * SECOND
        machine.wall += 601 * SECOND
        eventually(lambda: running.it.observer.guards.clock.newest() is None)
        assert "clock:jumps" not in running.it.health.report()["checks"]
    (told,) = lifecycle(stored(tmp_path), "clock_jump")
    assert told == {
        "event": "clock_jump", "at_ns": START_NS - 90 * SECOND, "by_ns": -90 * SECOND, "asleep": False,
    }  # fmt: skip


def test_after_a_sleep_the_gate_is_closed_until_something_has_come_and_says_why(tmp_path: Path) -> None:
    it = Live(tmp_path, source=[{"name": "one", "kind": "push", "max_age": "5s"}])
    machine = Machine()
    machine.wall = it.clock.now_ns()
    it.observer.guards.clock = machine.jumps()
    gate = Gate(it.observer.journals, it.observer.settings, it.clock)
    desk = GateDesk(it.observer, gate)

    def ask() -> tuple[str, dict[str, str]]:
        question = Question(caller="alpha", action="order", resource="a")
        answer = desk.ask(question).result(20).answer
        return answer.decision, {str(reason["code"]): str(reason["text"]) for reason in answer.reasons}

    def observe() -> None:
        it.collect("one", {"a": 100.0}, field="last")
        it.second()
        it.observer.domain("live").work(refresh=True, flush=True)

    observe()
    assert ask() == ("allow", {})
    it.clock.advance(HOUR)
    machine.wall, machine.asleep = machine.wall + HOUR, HOUR
    it.observer.guards.clock.look()
    decision, reasons = ask()
    assert decision == "deny"
    assert set(reasons) == {"source_stale", "stage_lag"}
    assert all("; the machine slept for 1h up to " in text for text in reasons.values())
    assert all(text.endswith(", and nothing has come since") for text in reasons.values())
    (found,) = Health(it.observer, gate, process=False).report()["checks"]["clock:jumps"]
    assert found["observedValue"] == 3600
    observe()
    assert ask() == ("allow", {})
    it.clock.advance(10 * SECOND)
    decision, reasons = ask()
    assert decision == "deny"
    assert not any("slept" in text for text in reasons.values()), "what is late now is late for itself"
    desk.stop()


def test_functions_only_tell_the_log(tmp_path: Path) -> None:
    clock = ManualClock(START_NS)
    instances = Instances(tmp_path, MemoryStorage(clock), 1, clock=clock, source=())
    machine = Machine()
    instances.handlers[0].observer.guards.clock = machine.jumps()
    machine.wall += HOUR
    instances.handlers[0].clock()
    assert instances.handlers[0].observer.guards.clock.newest() is not None
    assert lifecycle(instances.handlers[0].observer.journals) == []
