"""`python -m benchmarks.series`: one series out of a month of minutes of 500 subjects, over HTTP.

The application runs as standalone does, in this process, beside a loop that ticks a thousand times in ten
seconds; how late its ticks come says what the others have to wait for. Measured: the first answer without
any block file, what building all of them in the background takes and does to the loop, answers in a warm
process, and answers after a restart (a new process: nothing in memory, files in the page cache).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.reading.series import FOLDER, Series
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.web.app import create_app
from observer_core.web.server import WebServer

START_NS = 1_700_000_000 // 86_400 * 86_400 * SECOND
MINUTE = 60 * SECOND
BUDGET_MS = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=500)
    parser.add_argument("--rows", type=int, default=43_200, help="snapshots, a minute apart")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--dir", type=Path, help="where the data folder is made")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.subjects, options.questions)
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        folder = Path(name)
        started = time.perf_counter()
        fill(folder, options.subjects, options.rows)
        raw = sum(path.stat().st_size for path in folder.rglob("*.ndjson"))
        print(
            f"{options.rows} snapshots x {options.subjects} subjects x 2 fields: {raw / 1e6:.0f} MB "
            f"of records ({time.perf_counter() - started:.0f} s to write)",
            flush=True,
        )
        for _ in ("as it was filled", "after a restart"):
            subprocess.run(
                [sys.executable, "-m", "benchmarks.series", "--serve", name, "--subjects",
                 str(options.subjects), "--questions", str(options.questions)],
                check=True,
            )  # fmt: skip
        blocks = list((load(root=folder).paths.data / FOLDER).rglob("*.columns"))
        size = sum(path.stat().st_size for path in blocks)
        values = options.rows * options.subjects * 2
        print(f"{len(blocks)} block files, {size / 1e6:.0f} MB: {size / values:.2f} bytes a value")


def fill(folder: Path, subjects: int, rows: int) -> None:
    """Random walks with a spike now and then, and an hour without any data."""
    storage = LocalStorage(load(root=folder).paths.data, durability="normal")
    journal = Journals(storage, worker="bench").open("snapshots.market", "live")
    rng = np.random.default_rng(7)
    names = tuple(f"SYM{number:03d}/USDT" for number in range(subjects))
    price = np.round(rng.uniform(1, 50_000, subjects), 2)
    head = journal.head()
    for row in range(rows):
        price = np.round(price * (1 + rng.normal(0, 3e-4, subjects)), 2)
        seen = price * np.where(rng.random(subjects) < 1e-5, 1.05, 1.0)
        at = START_NS + row * MINUTE
        snapshot = Snapshot(
            source="market", event_ns=at, ingest_ns=at + SECOND, subjects=names,
            fields={"price": np.round(seen, 2), "volume": np.round(rng.exponential(100, subjects), 4)},
        )  # fmt: skip
        head = journal.commit(head, Commit(records=[snapshot]))
    storage.checkpoint()
    storage.close()


def serve(folder: Path, subjects: int, questions: int) -> None:
    """A process that answers, and the questions to it."""
    with ticking() as late:
        time.sleep(3)
    print_late("loop, nothing beside it", late)
    observer = Observer.local(load(root=folder, durability="normal"))
    gate = Gate(observer.journals, observer.settings, observer.clock)
    app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
    server = WebServer(app, port=0)
    port = server.start()
    cache = observer.settings.paths.data / FOLDER
    cold = not list(cache.rglob("*.columns"))
    rng = random.Random(1)
    try:
        first, answer = ask(port, f"SYM{rng.randrange(subjects):03d}/USDT", "price")
        kind = "no block files" if cold else "after a restart"
        print(f"{kind}: first answer {first:.1f} ms, complete: {answer['complete']}, rows: {answer['rows']}")
        if cold:
            started, busy = time.perf_counter(), time.process_time()
            with ticking() as late:
                while not answer["complete"]:
                    _, answer = ask(port, "SYM001/USDT", "price")
            wall, busy = time.perf_counter() - started, time.process_time() - busy
            print(f"built while asked for: {wall:.1f} s more, {100 * busy / wall:.0f} % of a core")
            print_late("loop beside that", late)
        measured = []
        with ticking() as late:
            for _ in range(questions):
                spent, answer = ask(
                    port, f"SYM{rng.randrange(subjects):03d}/USDT", rng.choice(["price", "volume"])
                )
                measured.append(spent)
                assert answer["complete"]
        ordered = sorted(measured)
        p50, p95 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.95)]
        verdict = "within" if p95 < BUDGET_MS else "OVER"
        print(
            f"{kind}, {questions} questions for any series: p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
            f"max {ordered[-1]:.1f} ms ({verdict} {BUDGET_MS:.0f} ms), {len(answer['time_ms'])} points"
        )
        print_late("loop beside the questions", late)
        if not cold:
            ahead(folder, observer)
    finally:
        server.stop()
        observer.close()
    sys.stdout.flush()


def ahead(folder: Path, observer: Observer) -> None:
    """The same blocks once more, in the background of a process that nobody asks."""
    series = Series(observer, ahead=True, folder=folder / "again")
    with ticking() as late:
        started, busy = time.perf_counter(), time.process_time()
        series.start()
        while not (columns := list(series._columns.values())) or any(item.gaps() for item in columns):
            time.sleep(0.2)
        wall, busy = time.perf_counter() - started, time.process_time() - busy
    series.close()
    print(f"built ahead, nobody asking: {wall:.0f} s, {100 * busy / wall:.0f} % of a core")
    print_late("loop beside that", late)


def ask(port: int, subject: str, field: str) -> tuple[float, dict[str, Any]]:
    query = urlencode({"source": "market", "subject": subject, "field": field, "points": 1000})
    started = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/series/points?{query}", timeout=60) as answer:
        body = answer.read()
    return (time.perf_counter() - started) * 1e3, json.loads(body)


@contextmanager
def ticking() -> Iterator[list[float]]:
    """How many milliseconds late each tick of a thread came that wants to run every ten."""
    late: list[float] = []
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            due = time.perf_counter() + 0.01
            time.sleep(0.01)
            late.append((time.perf_counter() - due) * 1e3)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield late
    finally:
        stop.set()
        thread.join()


def print_late(what: str, late: Sequence[float]) -> None:
    ordered = sorted(late)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    print(f"    {what}: a tick is late by p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {ordered[-1]:.2f} ms")


if __name__ == "__main__":
    os.environ.pop("OBSERVER_ROOT", None)
    main()
