"""Collections in time: each source at its own cadence, none waiting for another.

A collection runs in a thread of its own. One that is not back by its deadline gives an `unavailable`
snapshot then, and at each due moment while it hangs; what it brings in the end is dropped, for its
moment has been recorded as failed. The source is not asked again before that, and not at all while
its circuit is open.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from observer_core.logs.context import enter
from observer_core.runtime.collecting import Circuit, too_late
from observer_core.runtime.sources import LiveSource
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.source import Collected, Collection, collect_safely


@dataclass(slots=True)
class _Due:
    live: LiveSource
    circuit: Circuit
    next_ns: int
    running_since_ns: int = 0
    given_up_ns: int = 0
    """`running_since_ns` of the newest collection that was given up."""
    wake: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class _Came:
    """What a source's thread brought back."""

    due: _Due
    collected: Collected
    now_ns: int
    since_ns: int


class Collector:
    """Collects from live sources; `results` gives what is to be recorded as it arrives."""

    def __init__(self, sources: Sequence[LiveSource], clock: Clock) -> None:
        self._clock = clock
        self._came: SimpleQueue[_Came | None] = SimpleQueue()
        self._failed: list[Collection] = []
        self._stopped = self._paused = False
        now = time.monotonic_ns()
        self._due = [_Due(live, Circuit(live), now) for live in sources]
        self._threads = [
            threading.Thread(target=self._serve, args=(due,), name=f"collect {due.live.name}", daemon=True)
            for due in self._due
        ]

    def start(self, newest: Mapping[str, Snapshot] | None = None) -> None:
        """Begins; `newest` are the newest snapshots that are recorded, by source."""
        for due in self._due:
            due.circuit.recall((newest or {}).get(due.live.name))
        for thread in self._threads:
            thread.start()

    def results(self, timeout: float) -> list[Collection]:
        """What has been collected, waiting at most `timeout` seconds (less when a source is due)."""
        now = time.monotonic_ns()
        for due in self._due:
            self._look_at(due, now)
        found, self._failed = self._failed, []
        nearest = min(map(_next, self._due), default=now + SECOND)
        wait = 0.0 if found else max(0.0, min(timeout, (nearest - now) / SECOND))
        try:
            came = self._came.get(timeout=wait) if wait else self._came.get_nowait()
            while True:
                if came is not None and came.since_ns != came.due.given_up_ns:
                    found.append(came.due.circuit.judge(came.collected, came.now_ns, self._clock.now_ns()))
                came = self._came.get_nowait()
        except Empty:
            return found

    def pause(self) -> None:
        """Asks no source any more; what was asked already still comes."""
        self._paused = True

    def resume(self) -> None:
        """Asks them again, from their next moments on: those that were missed are not made up for."""
        self._paused = False

    def wake(self) -> None:
        """Ends a waiting `results` at once."""
        self._came.put(None)

    def stop(self) -> None:
        self._stopped = True
        for due in self._due:
            due.wake.set()
            due.live.source.close()

    def _look_at(self, due: _Due, now: int) -> None:
        since = due.running_since_ns
        late = bool(since) and now - since > due.live.deadline_ns
        is_due = now >= due.next_ns
        if is_due:
            # Missed moments are not made up for: a snapshot is of the moment it is taken.
            interval_ns = due.live.source.interval_ns
            due.next_ns += ((now - due.next_ns) // interval_ns + 1) * interval_ns
            is_due = not self._paused
        if not is_due and not (late and due.given_up_ns != since):
            return
        moment = self._clock.now_ns()
        refused = due.circuit.refused(moment) if is_due else None
        if refused is not None:
            self._failed.append(refused)
        elif late:
            due.given_up_ns = since
            late_one = too_late(due.live.name, moment, now - since)
            self._failed.append(due.circuit.judge(late_one, moment, moment))
        elif not since:
            due.running_since_ns = now
            due.wake.set()

    def _serve(self, due: _Due) -> None:
        enter(lambda: {"stage": "collect", "source": due.live.name})
        while True:
            due.wake.wait()
            due.wake.clear()
            if self._stopped:
                return
            now_ns, since_ns = self._clock.now_ns(), due.running_since_ns
            self._came.put(_Came(due, collect_safely(due.live.source, now_ns), now_ns, since_ns))
            due.running_since_ns = 0


def _next(due: _Due) -> int:
    """When there is something to do for a source."""
    since = due.running_since_ns
    if since and due.given_up_ns != since:
        return min(due.next_ns, since + due.live.deadline_ns + 1)
    return due.next_ns
