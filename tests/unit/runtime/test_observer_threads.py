"""A thread that waits for another one's step never holds what that step needs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot

NOW = 1_700_000_000 * SECOND


def snapshot(source: str) -> Snapshot:
    return Snapshot(
        source=source, event_ns=NOW, ingest_ns=NOW, subjects=("a",), fields={"x": np.array([1.0])}
    )


def test_a_new_source_in_another_thread_does_not_stop_a_step(tmp_path: Path) -> None:
    observer = Observer.local(load(root=tmp_path))
    observer.writer("host", "live", "live", NOW).write([snapshot("host")])
    begun = threading.Event()

    def push() -> None:
        begun.set()
        observer.writer("feed", "live", "live", NOW).write([snapshot("feed")])

    with ThreadPoolExecutor(1) as threads:
        with observer.step():
            observer.domain("live").tick()
            pushed = threads.submit(push)
            begun.wait()
            time.sleep(0.1)
            assert not pushed.done()  # it waits for this step
            started = time.monotonic()
            observer.writer("other", "live", "live", NOW).write([snapshot("other")])
            observer.domain("live").work("host")
            assert time.monotonic() - started < 2
        pushed.result(timeout=5)
    assert observer.journals.open("snapshots.feed").head().position == 2
    observer.close()


def test_threads_that_ask_for_a_new_source_at_once_all_commit(tmp_path: Path) -> None:
    observer = Observer.local(load(root=tmp_path))
    with ThreadPoolExecutor(4) as threads:
        done = [
            threads.submit(lambda: observer.writer("feed", "live", "live", NOW).write([snapshot("feed")]))
            for _ in range(8)
        ]
        for future in done:
            future.result(timeout=10)
    assert observer.journals.open("snapshots.feed").head().position == 9
    observer.close()
