"""Ten sources a second, one hanging, one answering garbage, one 10 s slow, one flapping: what that costs the
other six.

The six alone, then all ten, each a whole Observer with durability full in a temporary folder; the
server is a process of its own on this machine. Deviation: how far a snapshot was from its source's
cadence, which is fitted to the middle of all its moments. Missed: moments without a snapshot.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import structlog

from observer_core.logs.configure import configure
from observer_core.runtime import settings
from observer_core.runtime.console import Console
from observer_core.runtime.standalone import Standalone
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.support.sick_server import ILLNESSES, ROWS, SickServer

WELL = tuple(f"well-{number}" for number in range(6))
INTERVAL_NS = SECOND
SLOW_SECONDS = 10.0
SETTLING = 3
"""Snapshots of each source that are not measured: imports, first files."""
HEADER = (
    f"{'source':10} {'snapshots':>9} {'missed':>6} {'ok':>6} {'p99 ms':>8} {'worst ms':>8}"
    "  newest: status and reason"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds a run takes")
    seconds = parser.parse_args().seconds
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    print(
        f"{seconds:g} s a run, every source asked each second, deadline 2 s, circuit breaker as by default; "
        f"{os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
        f"Python {platform.python_version()}, load before: {load}"
    )
    for title, names in (("the six well ones alone", WELL), ("all ten", (*ILLNESSES, *WELL))):
        print(f"\n{title}\n{HEADER}", flush=True)
        with served() as address, tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            observe(Path(folder), address, names, seconds)
            for line in lines(Path(folder), names):
                print(line)


@contextmanager
def served() -> Iterator[str]:
    """The address of a server that runs meanwhile, in which the sick ones are sick."""
    context = multiprocessing.get_context("spawn")
    mine, its = context.Pipe()
    process = context.Process(target=_serve, args=(its,))
    process.start()
    try:
        yield mine.recv()
    finally:
        mine.send(None)
        process.join()


def _serve(pipe: Connection) -> None:
    with SickServer(slow_seconds=SLOW_SECONDS) as server:
        for illness in ILLNESSES:
            server.sicken(illness, illness)
        pipe.send(server.url(""))
        pipe.recv()


class NoWeb:
    """Nobody asks while it is measured."""

    def start(self) -> int:
        return 0

    def stop(self) -> None: ...


def observe(folder: Path, address: str, names: Sequence[str], seconds: float) -> None:
    """`timeout` is longer than the slow one takes: its deadline alone cuts it off."""
    common = {
        "kind": "http", "interval": "1s", "deadline": "2s", "timeout": "15s", "max_rate": 1000,
        "allow_private": True, **ROWS,
    }  # fmt: skip
    sources: list[dict[str, Any]] = [{"name": name, "url": address + name, **common} for name in names]
    logs = configure(folder / "logs", console=False)
    try:
        it = Standalone(settings.load(root=folder, config_dir=Path("none"), source=sources))
        it.run(Console(it.observer, it.gate, enabled=False), lambda _: NoWeb(), seconds)
    finally:
        logs.close()
        structlog.reset_defaults()


def lines(folder: Path, names: Sequence[str]) -> Iterator[str]:
    journals = Journals(LocalStorage(folder / "data/observer", durability="full"), worker="reader")
    pooled: list[float] = []
    for name in names:
        found = [e.record for e in journals.open(f"snapshots.{name}").scan()]
        snapshots = [record for record in found if isinstance(record, Snapshot)]
        if len(snapshots) <= SETTLING:
            yield f"{name:10} {len(snapshots):9}  too few to measure"
            continue
        off = deviations([it.ingest_ns for it in snapshots[SETTLING:]])
        pooled += off if name in WELL else []
        yield _line(name, snapshots, off)
    if pooled:
        yield f"{'six well':10} {'':9} {'':6} {'':6} {_at(pooled, 0.99):8.1f} {max(pooled):8.1f}"


def _line(name: str, snapshots: Sequence[Snapshot], off: Sequence[float]) -> str:
    span = snapshots[-1].ingest_ns - snapshots[0].ingest_ns
    missed = round(span / INTERVAL_NS) + 1 - len(snapshots)
    ok = sum(it.status == "ok" for it in snapshots) / len(snapshots)
    newest = snapshots[-1]
    return (
        f"{name:10} {len(snapshots):9} {missed:6} {ok:6.1%} {_at(off, 0.99):8.1f} {max(off):8.1f}"
        f"  {newest.status}{': ' if newest.error else ''}{(newest.error or '')[:100]}"
    )


def deviations(moments: Sequence[int]) -> list[float]:
    """Milliseconds from the nearest moment of the cadence, whose phase is the middle of all."""
    first = moments[0]
    half = INTERVAL_NS // 2
    offsets = [(moment - first + half) % INTERVAL_NS - half for moment in moments]
    middle = statistics.median(offsets)
    return [abs(offset - middle) / 1e6 for offset in offsets]


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
