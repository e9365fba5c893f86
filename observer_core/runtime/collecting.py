"""How a source is asked: not at all while its circuit is open, and never for longer than its deadline.

What comes is always something to record: a collection that failed, took too long or was not made is an
`unavailable` snapshot with its reason. `Circuit` is for both runtimes. `Bulkhead` is for callers that
wait for their answer (the Functions app, `sources test`); `schedule.Collector` never waits for one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from observer_core.runtime.sources import LiveSource
from observer_core.safety.breaker import Breaker
from observer_core.shared.clock import SECOND, format_duration
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.source import Collected, Collection, Source, collect_safely, unavailable


class Circuit:
    """A source's circuit breaker, over what was recorded of it. Not for two threads at once."""

    def __init__(self, live: LiveSource) -> None:
        self._live = live
        self._breaker = Breaker()
        self._error = ""

    def recall(self, newest: Snapshot | None) -> None:
        """Goes on from the newest snapshot that is recorded, whoever recorded it."""
        self._breaker = Breaker.of((newest.origin or {}).get("breaker") if newest is not None else None)
        self._error = (newest.error or "") if newest is not None else ""

    def refused(self, now_ns: int) -> Collection | None:
        """What is recorded instead of asking; None when the source may be asked."""
        breaker = self._breaker.at(now_ns, self._live.breaker)
        if breaker.state != "open":
            return None
        cause = self._error.removeprefix(_NOT_ASKED)
        snapshot = unavailable(self._live.name, now_ns, f"{_NOT_ASKED}{cause}")
        return Collection(self._live.name, now_ns, snapshot, {"breaker": breaker.to_json()})

    def judge(self, collected: Collected, now_ns: int, ended_ns: int | None = None) -> Collection:
        """What is recorded of a collection that was made at `now_ns`; a pause begins when it had ended."""
        before = self._breaker.at(now_ns, self._live.breaker)
        collection = Collection(self._live.name, now_ns, collected, {})
        if collection.failed:
            assert isinstance(collected, Snapshot)
            self._error = collected.error or ""
            self._breaker = before.failed(ended_ns or now_ns, self._live.breaker, self._live.jitter())
        else:
            self._breaker = before.succeeded()
        if self._breaker == before:
            return collection
        origin: Mapping[str, Any] = {"breaker": self._breaker.to_json()}
        if self._breaker.state != before.state:
            origin = {"breaker": {**origin["breaker"], "was": before.state}}
        return Collection(self._live.name, now_ns, collected, origin)


_NOT_ASKED = "CircuitOpen: not asked for a while after: "


class Bulkhead:
    """One collection of a source at a time, in a thread of its own: whoever waits gives up at the deadline.

    While a collection hangs, the next ones fail at once; what it brings in the end is dropped, for its
    moment has been recorded as failed.
    """

    def __init__(self, live: LiveSource) -> None:
        self._live = live
        self._running: _Run | None = None
        self._lock = threading.Lock()

    def collect(self, now_ns: int) -> Collected:
        """Never raises, and returns by the deadline."""
        with self._lock:
            run = self._running
            if run is not None and not run.done.is_set():
                return too_late(self._live.name, now_ns, now_ns - run.since_ns)
            run = _Run(self._live.source, now_ns)
            try:
                run.start()
            except RuntimeError as error:  # the machine has no thread left
                return unavailable(self._live.name, now_ns, error)
            self._running = run
        if not run.done.wait(self._live.deadline_ns / SECOND) or run.collected is None:
            return too_late(self._live.name, now_ns, self._live.deadline_ns)
        return run.collected


class _Run(threading.Thread):
    """One collection."""

    def __init__(self, source: Source, now_ns: int) -> None:
        super().__init__(name=f"collect {source.name}", daemon=True)
        self._source = source
        self.since_ns = now_ns
        self.collected: Collected | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self.collected = collect_safely(self._source, self.since_ns)
        finally:
            self.done.set()


def too_late(source: str, now_ns: int, waited_ns: int) -> Snapshot:
    """The snapshot of a collection that has not come back."""
    waited = format_duration(waited_ns // 1_000_000 * 1_000_000)
    return unavailable(source, now_ns, f"TimeoutError: no answer for {waited}")
