"""`make bench`, the Functions app: what a cold start costs, and how long a decision takes through the queues.

Runs on Python 3.13 with Microsoft's worker library, a host that polls as `host.json` says, and
Azurite: its answers take milliseconds, those of an account in the same region about as long.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from observer_core.runtime.handlers import Handlers, options
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.storage.azure import AzureStorage
from tests.functions.conftest import configured
from tests.support import azurite
from tests.support.functions_host import FunctionsHost
from tests.support.functions_process import ROOT, Worker

SDKS = "import azure.functions, azure.storage.blob, azure.data.tables, azure.storage.queue"
DECISIONS = 40
SERIES = 1_000


def main() -> None:
    cold_import()
    with azurite.running() as connection, tempfile.TemporaryDirectory() as folder:
        first_snapshot(Path(folder) / "first", connection)
        cold_state(Path(folder) / "state", connection)
        decisions(Path(folder) / "decisions", connection)


def cold_import() -> None:
    """CPU and memory that `import function_app` adds to azure.functions and the three storage SDKs."""
    code = (
        "import resource; {}; r = resource.getrusage(resource.RUSAGE_SELF); "
        "print(r.ru_utime + r.ru_stime, r.ru_maxrss / 1024)"
    )
    chains = {
        "SDKs": SDKS,
        "app": f"{SDKS}, function_app",
        "call": f"{SDKS}, function_app, observer_core.runtime.handlers, observer_core.storage.azure",
    }
    (sdk_s, sdk_mb), (app_s, app_mb), (call_s, call_mb) = (
        tuple(min(values) for values in zip(*(_spent(code.format(chain)) for _ in range(7))))
        for chain in chains.values()
    )
    for name, seconds, megabytes in (
        ("import of azure.functions and three SDKs", sdk_s, sdk_mb),
        ("function_app adds (budget 250 ms, 60 MB)", app_s - sdk_s, app_mb - sdk_mb),
        ("what the first call imports adds", call_s - app_s, call_mb - app_mb),
    ):
        print(f"{name:60} {seconds * 1e3:8.0f} ms CPU {megabytes:8.1f} MB", flush=True)


def _spent(code: str) -> tuple[float, ...]:
    """CPU seconds and MB of a fresh interpreter."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(map(float, done.stdout.split()))


def first_snapshot(folder: Path, connection: str) -> None:
    """From the start of a worker process to its first committed snapshot, through timer and queue."""
    taken = []
    for number in range(5):
        settings = configured(folder, connection, f"first{number}")
        storage = _storage(connection, f"first{number}")
        started = time.perf_counter()
        worker = Worker(settings)
        worker.timer("collect")
        (message,) = storage.queues.receive(f"qfirst{number}-collect-source")
        worker.message("collect_source", message.body)
        taken.append(time.perf_counter() - started)
        worker.stop()
    _line("worker process start → first committed snapshot", taken)


def cold_state(folder: Path, connection: str) -> None:
    """A running worker that has not seen the source: state of 1,000 series loaded and brought forward."""
    _configure(folder)
    settings = load(root=folder)
    storage = _storage(connection, "state")
    names = tuple(f"S{number:04d}" for number in range(SERIES))
    writer = Handlers(Observer(settings, storage, options=options(settings)))
    random = np.random.default_rng(7)

    def write(second: int) -> None:
        now = (1_700_000_000 + second) * SECOND
        price = np.round(100 + random.normal(0, 0.05, SERIES), 2)
        snapshot = Snapshot(
            source="wide", event_ns=now, ingest_ns=now, subjects=names, fields={"price": price}
        )
        writer.observer.writer("wide", "live", "live", now).write([snapshot])

    loaded, taken, hint = [], [], b'{"source":"wide"}'
    connected = _storage(connection, "state")
    for second in range(5 * options(settings).state_entries):  # wherever it is since its newest state
        write(second)
        if second < 10 or second % 8:
            writer.recognise(hint)
            continue
        cold = Handlers(Observer(settings, connected, options=options(settings)))
        cold.observer.journals.names()  # a running worker knows which journals there are
        worker = cold.observer.domain("live").recogniser("wide")
        started = time.perf_counter()
        worker._load(True)
        loaded.append(time.perf_counter() - started)
        cold.recognise(hint)
        taken.append(time.perf_counter() - started)
    _line(f"state of {SERIES} series on a worker that has not seen it (budget 100 ms)", loaded)
    _line("the same, until its first snapshot is recognised and committed", taken)


def decisions(folder: Path, connection: str) -> None:
    """From a pushed snapshot to its committed decision, with the host's polling between the stages."""
    settings = configured(folder, connection, "decide")
    storage = _storage(connection, "decide")
    host = FunctionsHost(settings, workers=1)
    worker, taken = host.running[0], []
    start = time.time_ns() // SECOND - 600
    names = [f"S{number:02d}/USD" for number in range(DECISIONS)]
    try:
        # Each decision about a series of its own: one that has alarmed is heard again only later.
        _push(worker, [_moment(names, start + second, second) for second in range(200)])
        worker.timer("clock")
        host.start()
        host.settled()
        for number in range(DECISIONS):
            before = _position(storage)
            time.sleep(1.5)  # the host has backed off from its empty queues
            started = time.perf_counter()
            _push(worker, [_moment(names, start + 200 + number, number, spike=number)])
            while _position(storage) == before:
                time.sleep(0.01)
                if time.perf_counter() - started > 30:
                    raise SystemExit(f"no decision within 30 s: {host.counts}, {host.lengths()}")
            taken.append(time.perf_counter() - started)
            host.settled()
    finally:
        host.stop()
    _line("pushed snapshot → committed decision through four queues (goal p99 5 s)", taken)


def _moment(names: list[str], time_s: int, number: int, *, spike: int | None = None) -> dict[str, object]:
    """One snapshot of all series, one of which may jump."""
    values = [100 + 0.05 * ((number * 7 + place) % 11) for place in range(len(names))]
    if spike is not None:
        values[spike] *= 1.5
    return {"time": time_s, "subjects": names, "fields": {"load": values}}


def _push(worker: Worker, rows: list[dict[str, object]]) -> None:
    status, _, body = worker.http(
        "api", "POST", "/v1/snapshots/desk", body="\n".join(map(json.dumps, rows)).encode(),
        headers={"content-type": "application/x-ndjson"},
    )  # fmt: skip
    if status != 202:
        raise SystemExit(body.decode())


def _position(storage: AzureStorage) -> int:
    row = storage.tables.get("decisions.live", "head")
    return 0 if row is None else int(json.loads(row.value)["position"])


def _configure(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


def _storage(connection: str, prefix: str) -> AzureStorage:
    return AzureStorage.connect({"AzureWebJobsStorage": connection}, prefix=prefix, queues_as_named=True)


def _line(name: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    middle = statistics.median(ordered)
    print(f"{name:75} p50 {middle * 1e3:7.0f} ms  p99 {p99 * 1e3:7.0f} ms  n {len(ordered)}", flush=True)


if __name__ == "__main__":
    main()
