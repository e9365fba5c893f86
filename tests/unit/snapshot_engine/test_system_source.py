import math
from collections import namedtuple
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.snapshot_engine.source import Source
from observer_core.snapshot_engine.sources.system import SystemConfig, SystemSource

SECOND = 1_000_000_000
CpuTimes = namedtuple("CpuTimes", "user system idle")


class Machine:
    """What psutil would say of a machine that does what the test wants."""

    NoSuchProcess = psutil.NoSuchProcess

    def __init__(self) -> None:
        self.idle, self.busy, self.bytes, self.swap_total = 100.0, 50.0, 1000, 0
        self.processes: list[Any] = []
        self.scans = 0

    def cpu_times(self) -> Any:
        return CpuTimes(self.busy, 0.0, self.idle)

    def getloadavg(self) -> Any:
        return (0.5, 0.25, 0.125)

    def virtual_memory(self) -> Any:
        return SimpleNamespace(total=1000, available=250)

    def swap_memory(self) -> Any:
        return SimpleNamespace(total=self.swap_total, used=self.swap_total // 4)

    def disk_io_counters(self) -> Any:
        return SimpleNamespace(read_bytes=self.bytes, write_bytes=2 * self.bytes)

    def net_io_counters(self, pernic: bool) -> Any:
        card = SimpleNamespace(bytes_recv=self.bytes, bytes_sent=3 * self.bytes)
        return {"lo": card, "eth0": card}

    def disk_usage(self, path: str) -> Any:
        if path == "/gone":
            raise PermissionError("not yours")
        return SimpleNamespace(percent=40.0, used=400)

    def process_iter(self, attributes: list[str]) -> Any:
        self.scans += 1
        return iter(self.processes)


class Process:
    def __init__(self, name: str, cpu: float = 1.0) -> None:
        self.info, self.cpu, self.gone = {"name": name}, cpu, False

    def oneshot(self) -> Any:
        return nullcontext()

    def cpu_times(self) -> Any:
        if self.gone:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(user=self.cpu, system=0.0)

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=10)


@pytest.fixture
def machine() -> Machine:
    return Machine()


def source_on(machine: Machine, **config: Any) -> SystemSource:
    source = SystemSource("system", SystemConfig(host="web-1", **config))
    source._psutil = machine
    return source


def value(snapshot: Snapshot, field: str, subject: str = "web-1") -> float:
    return float(snapshot.fields[field][snapshot.subjects.index(subject)])


def test_counters_are_rates_since_the_collection_before(machine: Machine) -> None:
    source = source_on(machine)
    first = source.collect(SECOND)
    machine.busy, machine.idle, machine.bytes = 53.0, 101.0, 5000
    second = source.collect(3 * SECOND)
    machine.bytes = 10
    third = source.collect(4 * SECOND)
    for field, rate in {
        "system.cpu.utilization": 0.75, "system.disk.io.read": 2000, "system.disk.io.write": 4000,
        "system.network.io.receive": 2000, "system.network.io.transmit": 6000,
    }.items():  # fmt: skip
        assert math.isnan(value(first, field))
        assert value(second, field) == rate
        assert math.isnan(value(third, field)), "a counter that was set back has no rate"
    assert {s.status for s in (first, second, third)} == {"ok"}


def test_gauges_are_shares_and_bytes(machine: Machine) -> None:
    machine.swap_total = 100
    got = source_on(machine).collect(SECOND)
    assert value(got, "system.memory.utilization") == 0.75
    assert value(got, "system.memory.usage") == 750
    assert value(got, "system.paging.utilization") == 0.25
    assert value(got, "system.cpu.load_average.15m") == 0.125
    assert value(got, "system.filesystem.utilization", "web-1/disk:/") == 0.4
    assert math.isnan(value(got, "system.memory.usage", "web-1/disk:/"))


def test_a_machine_without_swap_is_not_at_fault(machine: Machine) -> None:
    got = source_on(machine).collect(SECOND)
    assert math.isnan(value(got, "system.paging.utilization"))
    assert got.status == "ok"


def test_what_cannot_be_read_is_named_and_the_rest_is_there(machine: Machine) -> None:
    got = source_on(machine, file_systems=("/gone", "/")).collect(SECOND)
    assert (got.status, got.error) == ("partial", "file system /gone: PermissionError: not yours")
    assert math.isnan(value(got, "system.filesystem.usage", "web-1/disk:/gone"))
    assert value(got, "system.filesystem.usage", "web-1/disk:/") == 400
    machine.virtual_memory = lambda: 1 / 0  # type: ignore[method-assign]
    got = source_on(machine).collect(SECOND)
    assert got.error == "memory: ZeroDivisionError: division by zero"
    assert value(got, "system.cpu.load_average.1m") == 0.5


def test_processes_of_one_name_are_summed(machine: Machine) -> None:
    machine.processes = [Process("bot"), Process("bot", 2.0), Process("other")]
    source = source_on(machine, processes=("bot",))
    source.collect(SECOND)
    machine.processes[0].cpu += 0.5
    got = source.collect(2 * SECOND)
    subject = "web-1/process:bot"
    assert value(got, "process.count", subject) == 2
    assert value(got, "process.cpu.utilization", subject) == 0.5
    assert value(got, "process.memory.usage", subject) == 20


def test_a_process_that_vanished_is_said_to_and_found_again_later(machine: Machine) -> None:
    bot = Process("bot")
    machine.processes = [bot]
    source = source_on(machine, processes=("bot",))
    source.collect(SECOND)
    bot.gone = True
    got = source.collect(2 * SECOND)
    assert (got.status, got.error) == ("partial", "process bot: is not running")
    assert value(got, "process.count", "web-1/process:bot") == 0
    assert math.isnan(value(got, "process.memory.usage", "web-1/process:bot"))
    machine.processes = [Process("bot")]
    assert source.collect(3 * SECOND).status == "partial"
    assert machine.scans == 1
    assert source.collect(40 * SECOND).status == "ok"


def test_subjects_are_the_same_tuple_from_tick_to_tick(machine: Machine) -> None:
    source = source_on(machine, processes=("bot",))
    first, second = source.collect(SECOND), source.collect(2 * SECOND)
    assert first.subjects is second.subjects
    assert first.subjects == ("web-1", "web-1/disk:/", "web-1/process:bot")


def test_this_machine_can_be_observed() -> None:
    source: Source = SystemSource("system")
    normaliser = Normaliser()
    state = normaliser.initial()
    for second in (1, 2):
        got = normaliser.apply(state, source.collect(second * SECOND))
        got.encode(1)
    assert 0 < got.fields["system.memory.utilization"][0] < 1
    assert (source.name, source.interval_ns) == ("system", 5 * SECOND)
    source.close()
