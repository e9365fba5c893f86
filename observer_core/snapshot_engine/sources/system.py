"""This machine: CPU, memory, swap, disks, network, load, file systems, and processes by name.

Fields have OpenTelemetry's metric names, with the attribute at the end where one metric
has several (`system.disk.io.read`). Utilisations are shares of 1, sizes bytes, counters
rates per second since the collection before (none at the first).
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import Field

from observer_core.shared.config import Config, DurationNs
from observer_core.shared.records import Snapshot

Values = dict[str, float]

_RESCAN_NS = 30_000_000_000
_MAX_ERROR = 500
_HOST_FIELDS = (
    "system.cpu.utilization", "system.cpu.load_average.1m", "system.cpu.load_average.5m",
    "system.cpu.load_average.15m", "system.memory.utilization", "system.memory.usage",
    "system.paging.utilization", "system.disk.io.read", "system.disk.io.write",
    "system.network.io.receive", "system.network.io.transmit",
)  # fmt: skip
_DISK_FIELDS = ("system.filesystem.utilization", "system.filesystem.usage")
_PROCESS_FIELDS = ("process.count", "process.cpu.utilization", "process.memory.usage")


class SystemConfig(Config):
    """`host` names the subject (default: the machine's name); processes sum those of one name."""

    interval: DurationNs = Field(default=5_000_000_000, gt=0)
    host: str | None = Field(default=None, min_length=1, max_length=100)
    file_systems: tuple[str, ...] = ("/",)
    processes: tuple[str, ...] = ()


class SystemSource:
    """Subjects: the host, `HOST/disk:PATH` for each file system, `HOST/process:NAME` for each process.

    What cannot be read is NaN, and the snapshot is partial and says why. What the
    machine does not have (swap, disks) is NaN only.
    """

    def __init__(self, name: str, config: SystemConfig | None = None) -> None:
        import psutil

        self._psutil: Any = psutil
        self._config = config or SystemConfig()
        self._name = name
        host = self._config.host or socket.gethostname() or "host"
        disks = [f"{host}/disk:{path}" for path in self._config.file_systems]
        self._subjects = (host, *disks, *(f"{host}/process:{name}" for name in self._config.processes))
        self._fields = (
            *_HOST_FIELDS,
            *(_DISK_FIELDS if disks else ()),
            *(_PROCESS_FIELDS if self._config.processes else ()),
        )
        self._before: dict[str, tuple[int, tuple[float, ...]]] = {}
        self._processes: dict[str, list[Any]] = {name: [] for name in self._config.processes}
        self._scanned_ns: int | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def interval_ns(self) -> int:
        return self._config.interval

    def collect(self, now_ns: int) -> Snapshot:
        faults: list[str] = []
        host: Values = {}
        for what, read in (
            ("cpu", self._cpu), ("load", self._load), ("memory", self._memory), ("paging", self._paging),
            ("disk", self._disk), ("network", self._network),
        ):  # fmt: skip
            host |= _tried(what, faults, read, now_ns)
        rows = [host]
        for path in self._config.file_systems:
            rows.append(_tried(f"file system {path}", faults, self._file_system, path))
        if self._config.processes:
            _tried("processes", faults, self._scan, now_ns)
        for name in self._config.processes:
            rows.append(_tried(f"process {name}", faults, self._process, name, now_ns, faults))
        return Snapshot(
            source=self._name, event_ns=now_ns, ingest_ns=now_ns, subjects=self._subjects,
            fields={
                name: np.array([row.get(name, math.nan) for row in rows], np.float64) for name in self._fields
            },
            status="partial" if faults else "ok",
            error="; ".join(faults)[:_MAX_ERROR] if faults else None,
        )  # fmt: skip

    def close(self) -> None:
        self._processes = {name: [] for name in self._processes}

    def _cpu(self, now_ns: int) -> Values:
        times = self._psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        total = math.fsum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        busy, passed = self._rates("cpu", now_ns, total - idle, total)
        return {"system.cpu.utilization": min(1.0, busy / passed) if passed > 0 else math.nan}

    def _load(self, now_ns: int) -> Values:
        loads = self._psutil.getloadavg()
        return {f"system.cpu.load_average.{n}m": load for n, load in zip((1, 5, 15), loads, strict=True)}

    def _memory(self, now_ns: int) -> Values:
        memory = self._psutil.virtual_memory()
        used = memory.total - memory.available
        return {"system.memory.utilization": used / memory.total, "system.memory.usage": float(used)}

    def _paging(self, now_ns: int) -> Values:
        swap = self._psutil.swap_memory()
        return {"system.paging.utilization": swap.used / swap.total} if swap.total else {}

    def _disk(self, now_ns: int) -> Values:
        counters = self._psutil.disk_io_counters()
        if counters is None:
            return {}
        read, write = self._rates("disk", now_ns, counters.read_bytes, counters.write_bytes)
        return {"system.disk.io.read": read, "system.disk.io.write": write}

    def _network(self, now_ns: int) -> Values:
        cards = [c for name, c in self._psutil.net_io_counters(pernic=True).items() if name != "lo"]
        if not cards:
            return {}
        received, sent = sum(c.bytes_recv for c in cards), sum(c.bytes_sent for c in cards)
        receive, transmit = self._rates("network", now_ns, received, sent)
        return {"system.network.io.receive": receive, "system.network.io.transmit": transmit}

    def _file_system(self, path: str) -> Values:
        usage = self._psutil.disk_usage(path)
        return {
            "system.filesystem.utilization": usage.percent / 100,
            "system.filesystem.usage": float(usage.used),
        }

    def _scan(self, now_ns: int) -> Values:
        """Looks for the named processes: seldom, for it reads every process of the machine."""
        due = self._scanned_ns is None or now_ns - self._scanned_ns >= _RESCAN_NS
        if due:
            self._scanned_ns = now_ns
            running: dict[str, list[Any]] = {name: [] for name in self._processes}
            for process in self._psutil.process_iter(["name"]):
                if process.info["name"] in running:
                    running[process.info["name"]].append(process)
            self._processes = running
        return {}

    def _process(self, name: str, now_ns: int, faults: list[str]) -> Values:
        cpu = memory = 0.0
        alive = []
        for process in self._processes[name]:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
                cpu += times.user + times.system
                alive.append(process)
            except self._psutil.NoSuchProcess:
                continue
        if len(alive) < len(self._processes[name]):
            self._processes[name] = alive
            self._before.pop(f"process {name}", None)
        if not alive:
            faults.append(f"process {name}: is not running")
            return {"process.count": 0.0}
        (share,) = self._rates(f"process {name}", now_ns, cpu)
        return {
            "process.count": float(len(alive)),
            "process.cpu.utilization": share,
            "process.memory.usage": memory,
        }

    def _rates(self, what: str, now_ns: int, *counters: float) -> tuple[float, ...]:
        """Growth per second of counters; NaN at first and where a counter was set back."""
        then = self._before.get(what)
        self._before[what] = (now_ns, counters)
        if then is None or now_ns <= then[0]:
            return (math.nan,) * len(counters)
        seconds = (now_ns - then[0]) / 1e9
        return tuple(
            (now - before) / seconds if now >= before else math.nan
            for now, before in zip(counters, then[1], strict=True)
        )


def _tried(what: str, faults: list[str], read: Callable[..., Values], *args: object) -> Values:
    try:
        return read(*args)
    except Exception as error:
        faults.append(f"{what}: {type(error).__name__}: {error}")
        return {}
