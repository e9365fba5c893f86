"""Ten sources, four of them sick: the other six keep their cadence, and the sick ones are told of and heal.

Standalone over HTTP, and as the handlers of two instances on one storage. Nothing is timed: whatever
takes time is waited for.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import observer_core
from observer_core.runtime.audit.replay import computed, replay
from observer_core.runtime.collecting import Circuit
from observer_core.runtime.console import Console
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.sources import LiveSource
from observer_core.runtime.standalone import Standalone
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.snapshot_engine.source import unavailable
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.instances import START_NS, Instances
from tests.support.market import eventually
from tests.support.sick_server import ILLNESSES, ROWS, SickServer, subjects

WELL: Final = tuple(f"well-{number}" for number in range(6))
REASONS: Final = {
    "hanging": r"TimeoutError: no answer for ",
    "garbage": r"the answer is not JSON|no row was found at 'data'",
    "slow": r"did not answer within 0\.5 s",
    "flapping": r"answered 503; 2xx was expected|cannot be reached: ",
}
NOT_ASKED: Final = "CircuitOpen: not asked for a while after: "
FAILURES: Final = 3
ENOUGH: Final = 15


# ---------------------------------------------------------------------- standalone


def settings_of(folder: Path, server: SickServer) -> Settings:
    """Only those that are to be cut off have little time: a machine that stands still for a moment
    makes none of the others sick.
    """
    common = {
        "kind": "http", "interval": "200ms", "allow_private": True, "max_rate": 1000, **ROWS,
        "breaker": {"failures": FAILURES, "pause": "600ms", "longest": "1200ms"},
    }  # fmt: skip
    mine = {"hanging": {"deadline": "800ms", "timeout": "60s"}, "slow": {"timeout": "500ms"}}
    sources = [
        {"name": name, "url": server.url(name), **common, **mine.get(name, {})}
        for name in (*ILLNESSES, *WELL)
    ]
    return load(root=folder, durability="normal", clock_interval="100ms", source=sources)


class Port:
    """Stands for the web server."""

    def start(self) -> int:
        return 12345

    def stop(self) -> None: ...


class Ten:
    """A Standalone that runs, and what it has recorded so far, read as another process would."""

    def __init__(self, it: Standalone) -> None:
        self.it = it
        self.failure: BaseException | None = None
        self.journals = Journals(it.observer.storage, worker="reader")
        self._read: dict[str, int] = {}
        self._snapshots: dict[str, list[Snapshot]] = {}

    def run(self) -> None:
        try:
            self.it.run(Console(self.it.observer, self.it.gate, enabled=False), lambda _: Port())
        except BaseException as error:
            self.failure = error

    def snapshots(self, name: str) -> list[Snapshot]:
        """All that there are by now; only what is new is read."""
        assert self.failure is None, self.failure
        journal = self.journals.open(f"snapshots.{name}")
        known, last = self._snapshots.setdefault(name, []), journal.head().position
        for entry in journal.scan(self._read.get(name, 0) + 1, last):
            if isinstance(entry.record, Snapshot):
                known.append(entry.record)
        self._read[name] = last
        return known

    def count(self, name: str) -> int:
        return len(self.snapshots(name))

    def is_allowed(self, name: str) -> bool:
        return all(self.it.gate.check(it).decision == "allow" for it in subjects(name))

    def is_closed(self, name: str) -> bool:
        """Its newest snapshot says why it has none, and the gate denies each of its subjects for that."""
        newest = self.snapshots(name)[-1]
        if newest.status != "unavailable" or not re.search(REASONS[name], newest.error or ""):
            return False
        answers = [self.it.gate.check(it) for it in subjects(name)]
        return all(
            it.decision == "deny" and ("source_unavailable", name) in codes(it.reasons) for it in answers
        )

    def has_tripped(self, name: str, since: int) -> bool:
        """The circuit has opened, the source was let be, and was tried in vain when its pause was over."""
        found = self.snapshots(name)[since:]
        return bool(refused(found)) and {"closed -> open", "half_open -> open"} <= set(changes(found))

    def has_recovered(self, name: str, since: int) -> bool:
        """It answers, which the journals tell of, and may be acted on again."""
        found = self.snapshots(name)[since:]
        return (
            found[-1].status == "ok"
            and any(it.endswith("-> closed") for it in changes(found))
            and "feed_available" in patterns(self.journals, name)
            and self.is_allowed(name)
        )


def patterns(journals: Journals, source: str) -> list[str]:
    found = journals.open(f"patterns.{source}").scan()
    return [entry.record.pattern for entry in found if isinstance(entry.record, PatternRecord)]


def wait_for(names: Iterable[str], condition: Callable[[str], bool]) -> None:
    """Until each name has met the condition once. Looks seldom: who looks takes time from what runs."""
    end = time.monotonic() + 60
    for name in names:
        while not condition(name):
            assert time.monotonic() < end, f"{name}: it did not happen"
            time.sleep(0.05)


def codes(reasons: tuple[Any, ...]) -> set[tuple[str, str]]:
    return {(reason["code"], reason.get("source", "")) for reason in reasons}


def breakers(snapshots: list[Snapshot]) -> list[dict[str, Any]]:
    """The states of the circuit breaker, as recorded."""
    return [it.origin["breaker"] for it in snapshots if it.origin and "breaker" in it.origin]


def changes(snapshots: list[Snapshot]) -> list[str]:
    return [f"{it['was']} -> {it['state']}" for it in breakers(snapshots) if "was" in it]


def refused(snapshots: list[Snapshot]) -> list[Snapshot]:
    """Those that were made without asking the source."""
    return [it for it in snapshots if (it.error or "").startswith(NOT_ASKED)]


@contextmanager
def running(folder: Path, server: SickServer) -> Iterator[Ten]:
    ten = Ten(Standalone(settings_of(folder, server)))
    thread = threading.Thread(target=ten.run)
    thread.start()
    try:
        yield ten
    finally:
        ten.it.stop()
        thread.join(30)
    assert not thread.is_alive()
    assert ten.failure is None, ten.failure


def test_four_sick_ones_of_ten_cost_the_other_six_nothing_and_heal(tmp_path: Path) -> None:
    everyone = (*ILLNESSES, *WELL)
    with SickServer() as server, running(tmp_path, server) as ten:
        wait_for(everyone, lambda name: ten.count(name) >= 3 and ten.is_allowed(name))

        fell = {name: ten.count(name) for name in everyone}
        for illness in ILLNESSES:
            server.sicken(illness, illness)
        wait_for(ILLNESSES, lambda name: ten.has_tripped(name, fell[name]) and ten.is_closed(name))
        wait_for(WELL, lambda name: ten.count(name) >= fell[name] + ENOUGH and ten.is_allowed(name))
        healed = {name: ten.count(name) for name in everyone}

        for illness in ILLNESSES:
            server.heal(illness)
        wait_for(ILLNESSES, lambda name: ten.has_recovered(name, fell[name]))

        for name in everyone:
            time_goes_forward(ten.snapshots(name))
        the_well_ones_kept_their_cadence(ten, fell, healed)
        for name in ILLNESSES:
            the_circuit_is_recorded(ten.snapshots(name)[fell[name] :])
        for steady in ("hanging", "garbage", "slow"):
            it_stayed_unavailable(steady, ten.snapshots(steady)[fell[steady] : healed[steady]])
        it_came_and_went(ten.snapshots("flapping")[fell["flapping"] :])
    everything_follows_from_what_is_stored(tmp_path)


def time_goes_forward(snapshots: list[Snapshot]) -> None:
    """Each snapshot is of a moment of its own, later than the one before: no late answer is among them."""
    moments = [it.event_ns for it in snapshots]
    assert moments == sorted(set(moments))


def the_well_ones_kept_their_cadence(ten: Ten, fell: dict[str, int], healed: dict[str, int]) -> None:
    """Every answer was good, and while four were sick none of the six fell behind the others."""
    for name in WELL:
        assert {it.status for it in ten.snapshots(name)} == {"ok"}
        assert not breakers(ten.snapshots(name))
    counts = [healed[name] - fell[name] for name in WELL]
    assert min(counts) >= ENOUGH
    assert min(counts) >= max(counts) * 0.7 - 2, counts


def the_circuit_is_recorded(snapshots: list[Snapshot]) -> None:
    """It opened at the third failure, was tried with care, and closed: each step stands in a snapshot."""
    states = breakers(snapshots)
    opening = [it["state"] for it in states].index("open")
    assert (states[opening]["was"], states[opening]["failures"]) == ("closed", FAILURES)
    assert states[opening - 1] == {"state": "closed", "failures": FAILURES - 1}
    assert states[opening]["until_ns"] > 0
    assert {it.status for it in refused(snapshots)} == {"unavailable"}
    assert {it["state"] for it in breakers(refused(snapshots))} == {"open"}
    closing = [it for it in snapshots if it.status == "ok" and changes([it])]
    assert {it["failures"] for it in breakers(closing)} == {0}


def it_stayed_unavailable(name: str, snapshots: list[Snapshot]) -> None:
    """From the first failure until it was healed; what had been asked before may still have come."""
    statuses = [it.status for it in snapshots]
    failed = snapshots[statuses.index("unavailable") :]
    assert {it.status for it in failed} == {"unavailable"}
    assert all(re.search(REASONS[name], it.error or "") for it in failed)
    assert {it.subjects for it in failed} == {()}


def it_came_and_went(snapshots: list[Snapshot]) -> None:
    """Each good answer after a pause closed the circuit, each bad run opened it again."""
    assert {it.status for it in snapshots} == {"ok", "unavailable"}
    assert {"closed -> open", "half_open -> open", "half_open -> closed"} <= set(changes(snapshots))


def everything_follows_from_what_is_stored(folder: Path) -> None:
    journals = Journals(LocalStorage(folder / "data/observer", durability="normal"), worker="reader")
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
    again = [replay(journals, name, observer_core.__version__) for name in computed(journals)]
    assert len(again) == len(WELL) + len(ILLNESSES) + 2
    assert [(it.journal, it.problem) for it in again if not it.equal] == []


# ---------------------------------------------------------------------- the Functions form


PAUSE: Final = 60 * SECOND
"""With a jitter of 0, half of it is waited."""


class Probe:
    """A source that can be held: while `free` is not set, a collection hangs."""

    def __init__(self, name: str) -> None:
        self.name, self.interval_ns = name, SECOND
        self.free, self.begun = threading.Event(), threading.Event()
        self.free.set()
        self.asked = 0
        self.error: Exception | None = None

    def collect(self, now_ns: int) -> Snapshot:
        self.asked += 1
        self.begun.set()
        self.free.wait()
        if self.error is not None:
            raise self.error
        return Snapshot(
            source=self.name, event_ns=now_ns, ingest_ns=now_ns, subjects=(f"{self.name}/USD",),
            fields={"price": np.array([100.0 + self.asked % 3 / 100])},
        )  # fmt: skip

    def close(self) -> None: ...


class Two(Instances):
    """Two instances on one storage, each with `sick` and `well` of its own."""

    def __init__(self, folder: Path, deadline_ns: int) -> None:
        self.probes: list[dict[str, Probe]] = []
        self._deadline_ns = deadline_ns
        clock = ManualClock(START_NS)
        super().__init__(folder, MemoryStorage(clock), 2, clock=clock)
        self.journals = Journals(self.storage, worker="reader")

    def _start(self) -> Handlers:
        probes = {name: Probe(name) for name in ("sick", "well")}
        self.probes.append(probes)
        breaker = BreakerConfig(failures=2, pause=PAUSE, longest=PAUSE)
        live = {
            name: LiveSource(probe, self._deadline_ns, breaker, jitter=lambda: 0.0)
            for name, probe in probes.items()
        }
        return Handlers(super()._start().observer, live)

    def ask(self, name: str, *, by: int) -> None:
        """The hint of this moment."""
        hint = encode({"source": name, "due_ns": self.clock.now_ns()})
        self.handlers[by].collect_source(hint)

    def seconds(self, name: str, *by: int) -> None:
        """One hint a second, worked by these instances in turn."""
        for instance in by:
            self.clock.advance(SECOND)
            self.ask(name, by=instance)

    def asked(self, name: str) -> list[int]:
        return [probes[name].asked for probes in self.probes]

    def snapshots(self, name: str) -> list[Snapshot]:
        found = self.journals.open(f"snapshots.{name}").scan()
        return [entry.record for entry in found if isinstance(entry.record, Snapshot)]

    def work(self, *, by: int) -> None:
        """All that follows from what is recorded."""
        self.drain(by=by)
        self.handlers[by].clock()
        self.drain(by=by)

    def release(self) -> None:
        for probes in self.probes:
            for probe in probes.values():
                probe.free.set()


@contextmanager
def two(folder: Path, deadline_ns: int = SECOND // 20) -> Iterator[Two]:
    instances = Two(folder, deadline_ns)
    try:
        yield instances
    finally:
        instances.release()


def test_a_source_that_hangs_in_a_handler_delays_no_other(tmp_path: Path) -> None:
    """While one instance waits for it, both collect the other source, second by second."""
    with two(tmp_path, 3600 * SECOND) as instances:
        sick = instances.probes[0]["sick"]
        sick.free.clear()
        waiting = threading.Thread(target=instances.ask, args=("sick",), kwargs={"by": 0})
        waiting.start()
        assert sick.begun.wait(30)
        instances.seconds("well", 0, 1, 0, 1, 0)
        assert waiting.is_alive()
        assert [it.status for it in instances.snapshots("well")] == ["ok"] * 5
        assert instances.snapshots("sick") == []
        sick.free.set()
        waiting.join(30)
        assert [it.status for it in instances.snapshots("sick")] == ["ok"]


def test_it_is_unavailable_by_its_deadline_and_not_asked_again_while_it_hangs(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        instances.probes[0]["sick"].free.clear()
        instances.seconds("sick", 0, 0)
        assert instances.asked("sick") == [1, 0]
        late, again = instances.snapshots("sick")
        assert (late.status, late.error) == ("unavailable", "TimeoutError: no answer for 50ms")
        assert (again.status, again.error) == ("unavailable", "TimeoutError: no answer for 1s")
        assert breakers([late, again]) == [
            {"state": "closed", "failures": 1},
            {"state": "open", "failures": 2, "trips": 1, "until_ns": again.ingest_ns + PAUSE // 2,
             "was": "closed"},
        ]  # fmt: skip


def test_what_a_hanging_collection_brings_in_the_end_is_not_recorded(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        sick = instances.probes[0]["sick"]
        sick.free.clear()
        instances.seconds("sick", 0)
        sick.free.set()
        eventually(lambda: not [it for it in threading.enumerate() if it.name == "collect sick"])
        assert [it.status for it in instances.snapshots("sick")] == ["unavailable"]
        instances.seconds("sick", 0)
        first, second = instances.snapshots("sick")
        assert (first.status, second.status) == ("unavailable", "ok")
        assert second.event_ns == instances.clock.now_ns()


@pytest.mark.parametrize("prober", [0, 1])
def test_an_open_circuit_holds_for_every_instance_and_whoever_probes_records_the_recovery(
    tmp_path: Path, prober: int
) -> None:
    with two(tmp_path) as instances:
        gate = instances.handlers[1 - prober].gate
        instances.seconds("sick", 0)
        instances.seconds("well", 1)
        instances.work(by=0)
        assert gate.check("sick/USD").decision == gate.check("well/USD").decision == "allow"

        instances.probes[0]["sick"].free.clear()
        for probes in instances.probes:
            probes["sick"].error = OSError("gone")
        instances.seconds("sick", 0, 0)
        asked = instances.asked("sick")
        instances.seconds("sick", 1, 1)
        assert instances.asked("sick") == asked, "the other one saw that it is not to be asked"
        newest = instances.snapshots("sick")[-1]
        assert (newest.error or "").startswith(f"{NOT_ASKED}TimeoutError: no answer for ")
        instances.seconds("well", 1)
        instances.work(by=1)
        answer = gate.check("sick/USD")
        assert answer.decision == "deny"
        assert ("source_unavailable", "sick") in codes(answer.reasons)
        assert gate.check("well/USD").decision == "allow"

        instances.release()
        eventually(lambda: not [it for it in threading.enumerate() if it.name == "collect sick"])
        instances.probes[prober]["sick"].error = None
        instances.clock.advance(PAUSE // 2)
        instances.seconds("sick", prober)
        healed = instances.snapshots("sick")[-1]
        assert (healed.status, breakers([healed])) == (
            "ok",
            [{"state": "closed", "failures": 0, "was": "half_open"}],
        )
        instances.seconds("well", prober)
        instances.work(by=prober)
        assert patterns(instances.journals, "sick") == ["feed_unavailable", "feed_available"]
        assert gate.check("sick/USD").decision == "allow"

        instances.probes[1 - prober]["sick"].error = None
        instances.seconds("sick", 1 - prober)
        assert instances.snapshots("sick")[-1].status == "ok", "the other one asks again, too"
        check(instances)


def test_a_probe_that_fails_leaves_the_source_alone_for_the_other_instance_too(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        instances.seconds("sick", 0, 1, 0, 1)
        asked = instances.asked("sick")
        for probes in instances.probes:
            probes["sick"].error = OSError("gone")
        instances.seconds("sick", 0, 1)
        instances.clock.advance(PAUSE // 2)
        instances.seconds("sick", 1, 0, 0, 1)
        assert instances.asked("sick") == [asked[0] + 1, asked[1] + 2]
        assert changes(instances.snapshots("sick")) == ["closed -> open", "half_open -> open"]
        check(instances)


def check(instances: Two) -> None:
    journals = instances.journals
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
    for name in computed(journals):
        assert replay(journals, name, "1.0").equal


def test_an_instance_that_worked_alone_sees_the_circuit_that_another_opened(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        instances.seconds("sick", 0)
        instances.probes[1]["sick"].error = OSError("gone")
        instances.seconds("sick", 1, 1)
        assert breakers(instances.snapshots("sick"))[-1]["state"] == "open"
        instances.seconds("sick", 0)
        assert instances.asked("sick") == [1, 2], "it is not to be asked"


def test_a_recovery_is_recorded_by_an_instance_that_did_not_see_the_failures(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        instances.seconds("sick", 0)
        instances.probes[1]["sick"].error = OSError("gone")
        instances.seconds("sick", 1, 1)
        instances.clock.advance(PAUSE // 2)
        instances.seconds("sick", 0)
        assert instances.snapshots("sick")[-1].status == "ok"
        assert changes(instances.snapshots("sick")) == ["closed -> open", "half_open -> closed"]


def test_failures_are_counted_over_all_instances(tmp_path: Path) -> None:
    with two(tmp_path) as instances:
        instances.seconds("sick", 0)
        for probes in instances.probes:
            probes["sick"].error = OSError("gone")
        instances.seconds("sick", 1, 0)
        assert [it["failures"] for it in breakers(instances.snapshots("sick"))] == [1, 2]


def test_a_crowd_of_hints_for_a_hanging_source_takes_one_thread(tmp_path: Path) -> None:
    """The host gives a process up to 12 messages of a queue at once."""
    with two(tmp_path, 3600 * SECOND) as instances, ThreadPoolExecutor(12) as pool:
        sick = instances.probes[0]["sick"]
        sick.free.clear()
        instances.clock.advance(SECOND)
        first = pool.submit(instances.ask, "sick", by=0)
        assert sick.begun.wait(30)
        for _ in range(11):
            instances.clock.advance(SECOND)
            pool.submit(instances.ask, "sick", by=0).result(30)
        pool.submit(instances.ask, "well", by=0).result(30)
        assert [it.status for it in instances.snapshots("well")] == ["ok"]
        assert sick.asked == 1
        instances.release()
        first.result(30)


def test_a_pause_begins_when_the_failure_is_known() -> None:
    live = LiveSource(Probe("p"), breaker=BreakerConfig(failures=2, pause=5 * SECOND), jitter=lambda: 0.999)
    circuit = Circuit(live)
    for begun in (0, 5 * SECOND):
        circuit.judge(unavailable("p", begun, "no answer within 5 s"), begun, begun + 5 * SECOND)
    assert circuit.refused(14 * SECOND) is not None
    assert circuit.refused(16 * SECOND) is None
