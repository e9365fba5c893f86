"""Collections in time: each source at its own cadence, none waiting for another.

A collection runs in a thread of its own with a deadline. One that does not come back in
time gives an `unavailable` snapshot at each of its due moments; the source is not asked
again before the hanging collection ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from observer_core.shared.clock import SECOND, Clock, format_duration
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.source import Source, collect_safely


@dataclass(slots=True)
class _Due:
    source: Source
    deadline_ns: int
    next_ns: int
    running_since_ns: int = 0
    wake: threading.Event = field(default_factory=threading.Event)


class Collector:
    """Collects from live sources; `results` gives (source name, snapshot) as they arrive."""

    def __init__(self, sources: Sequence[tuple[Source, int]], clock: Clock) -> None:
        self._clock = clock
        self._results: SimpleQueue[tuple[str, Snapshot] | None] = SimpleQueue()
        self._stopped = False
        now = time.monotonic_ns()
        self._due = [_Due(source, deadline, now) for source, deadline in sources]
        self._threads = [
            threading.Thread(target=self._serve, args=(due,), name=f"collect {due.source.name}", daemon=True)
            for due in self._due
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def results(self, timeout: float) -> list[tuple[str, Snapshot]]:
        """What has been collected, waiting at most `timeout` seconds (less when a source is due)."""
        now = time.monotonic_ns()
        for due in self._due:
            self._look_at(due, now)
        nearest = min((due.next_ns for due in self._due), default=now + SECOND)
        wait = max(0.0, min(timeout, (nearest - now) / SECOND))
        found = []
        try:
            found.append(self._results.get(timeout=wait) if wait else self._results.get_nowait())
            while True:
                found.append(self._results.get_nowait())
        except Empty:
            return [item for item in found if item is not None]

    def wake(self) -> None:
        """Ends a waiting `results` at once."""
        self._results.put(None)

    def stop(self) -> None:
        self._stopped = True
        for due in self._due:
            due.wake.set()
            due.source.close()

    def _look_at(self, due: _Due, now: int) -> None:
        if now < due.next_ns:
            return
        # Missed moments are not made up for: a snapshot is of the moment it is taken.
        missed = (now - due.next_ns) // due.source.interval_ns
        due.next_ns += (missed + 1) * due.source.interval_ns
        if not due.running_since_ns:
            due.running_since_ns = now
            due.wake.set()
        elif now - due.running_since_ns > due.deadline_ns:
            waited = format_duration((now - due.running_since_ns) // 1_000_000 * 1_000_000)
            moment = self._clock.now_ns()
            self._results.put(
                (due.source.name, Snapshot(
                    source=due.source.name, event_ns=moment, ingest_ns=moment, subjects=(), fields={},
                    status="unavailable", error=f"TimeoutError: no answer for {waited}",
                ))
            )  # fmt: skip

    def _serve(self, due: _Due) -> None:
        while True:
            due.wake.wait()
            due.wake.clear()
            if self._stopped:
                return
            self._results.put((due.source.name, collect_safely(due.source, self._clock.now_ns())))
            due.running_since_ns = 0
