"""A small stage that shows every way in which a run can differ, and a chain made of it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from observer_core.runtime.collector import SnapshotWriter
from observer_core.runtime.engine import EngineOptions, StageSpec, Worker
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, Clock, ManualClock
from observer_core.shared.records import Note, Record, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Storage
from observer_core.storage.rows import Head, InputRange

START_NS = 1_522_886_400 * SECOND
BUILD = Build("1.0", "lock")
OPTIONS = EngineOptions(state_entries=7, state_seconds=1e9)
"""State blobs often, and never by the speed of the machine."""

SOURCE, FIRST, SECOND_STAGE = "snapshots.in", "patterns.first", "events.second"
_names = itertools.count(1)


def worker_name() -> str:
    """Unique for each start, as that of a process is."""
    return f"worker-{next(_names)}"


def note(seconds: float, **body: Any) -> Note:
    return Note(kind="command", time_ns=START_NS + round(seconds * SECOND), body=body)


class Killed(BaseException):
    """Stands for the death of the process inside a transition."""


class Poison(ValueError):
    """What a transition raises for an entry it cannot take."""


@dataclass
class State:
    now: int = 0
    total: int = 0
    seen: int = 0
    alarms: int = 0
    digest: str = ""
    timers: list[tuple[int, int]] = field(default_factory=list)
    version: int = 0


class Toy:
    """Adds values up; an alarm at `threshold`, and its end `hold_s` later by a timer.

    The state's digest depends on every entry and its place, so any loss, repetition or
    other order shows. A value named `poison` raises, `kill` ends the process, `nan`
    gives a record that cannot be written, `back` one that goes back in time.
    """

    def __init__(
        self, name: str = "toy", *, threshold: int = 5, hold_s: int = 3, version: str = "1", salt: str = ""
    ) -> None:
        self.name, self.version = name, version
        self._threshold, self._hold_s, self._salt = threshold, hold_s, salt
        self.calls = 0

    def config(self) -> Mapping[str, Any]:
        return {"name": self.name, "threshold": self._threshold, "hold_s": self._hold_s}

    def initial(self) -> State:
        return State()

    def transition(self, state: State, entry: Entry) -> Sequence[Record]:
        self.calls += 1
        records = self._fire(state, entry.time_ns)
        state.seen += 1
        what = value_of(entry.record)
        state.digest = hashlib.sha256(f"{state.digest}{entry.ref}{what}".encode()).hexdigest()[:16]
        match what:
            case "poison":
                raise Poison(f"cannot take {entry.ref}")
            case "kill":
                raise Killed
            case "nan":
                return [*records, note(0, x=float("nan"))]
            case "back":
                return [*records, note(-1_000_000)]
            case int():
                state.total += what
        if state.total >= self._threshold:
            state.alarms += 1
            state.version += 1
            state.total = 0
            state.timers.append((state.now + self._hold_s * SECOND, state.alarms))
            records.append(self._note(state, value=state.alarms % 4, digest=state.digest + self._salt))
        return records

    def advance(self, state: State, through_ns: int) -> Sequence[Record]:
        return self._fire(state, through_ns)

    def views(self, state: State) -> Mapping[str, Any]:
        return {
            **{f"open.{number}": {"until": due} for due, number in state.timers},
            "alarms": {"count": state.alarms},
        }

    def views_version(self, state: State) -> int:
        return state.version

    def dump(self, state: State) -> bytes:
        return encode(
            [state.now, state.total, state.seen, state.alarms, state.digest, state.timers, state.version]
        )

    def load(self, blob: bytes) -> State:
        now, total, seen, alarms, digest, timers, version = decode(blob)
        return State(now, total, seen, alarms, digest, [(due, number) for due, number in timers], version)

    def _fire(self, state: State, through_ns: int) -> list[Record]:
        records: list[Record] = []
        while state.timers and state.timers[0][0] <= through_ns:
            due, number = state.timers.pop(0)
            state.now = max(state.now, due)
            state.version += 1
            records.append(self._note(state, value=0, ended=number))
        state.now = max(state.now, through_ns)
        return records

    @staticmethod
    def _note(state: State, **body: Any) -> Note:
        return Note(kind="command", time_ns=state.now, body=body)


def value_of(record: Any) -> Any:
    if isinstance(record, Snapshot):
        return int(record.fields["x"][0])
    return record.body.get("value") if record.kind == "command" else record.kind


def rebuild(config: Mapping[str, Any]) -> Toy:
    return Toy(config["name"], threshold=config["threshold"], hold_s=config["hold_s"])


def toy_worker(
    journals: Journals,
    inputs: Sequence[str] = (SOURCE,),
    output: str = FIRST,
    *,
    stage: Toy | None = None,
    clock: Clock | None = None,
    options: EngineOptions = OPTIONS,
    build: Build = BUILD,
    **changes: Any,
) -> Worker[State]:
    spec = StageSpec(
        stage or Toy(output.partition(".")[2]), output, "toy", lambda: inputs, lambda: inputs, rebuild
    )
    return Worker(journals, spec, build, clock or ManualClock(START_NS), replace(options, **changes))


def feed(
    journals: Journals,
    values: Iterable[Any],
    *,
    name: str = SOURCE,
    step_s: float = 1,
    at_s: float | None = None,
) -> Head:
    """Commits a note a value, `step_s` apart, behind what the journal holds (or from `at_s` on)."""
    journal = journals.open(name, "toy")
    head = journal.head()
    second = head.position * step_s if at_s is None else at_s
    records = [note(second + index * step_s, value=value) for index, value in enumerate(values)]
    return journal.commit(head, Commit(records=records, through_ns=records[-1].time_ns if records else 0))


def heads(journals: Journals) -> dict[str, tuple[int, str]]:
    """Where every journal stands; `operations.*` tells of a run, not of what was observed."""
    return {
        name: (head.position, head.hash.hex())
        for name in journals.names()
        if not name.startswith("operations.")
        for head in [journals.open(name).head()]
    }


class Chain:
    """Snapshots through two stages, as `ingest` does it: what is done of the load is in the journal."""

    def __init__(
        self, storage: Storage, *, journals: Journals | None = None, total: int = 30, batch: int = 4,
        sync_every: int = 2, grouped: bool = False,
    ) -> None:  # fmt: skip
        self.journals = journals or Journals(storage, worker=worker_name())
        self._group = storage.group if grouped else nullcontext
        self._total, self._batch, self._sync_every = total, batch, sync_every
        self._writer = SnapshotWriter(self.journals, "in", "toy", Normaliser(), BUILD, {})
        self._stages = [toy_worker(self.journals), toy_worker(self.journals, (FIRST,), SECOND_STAGE)]

    def run(self) -> dict[str, tuple[int, str]]:
        """Goes on where it was, to the end; gives the heads."""
        while self.step():
            pass
        return self.finish()

    def step(self) -> bool:
        """One batch through all stages; False when there is none left."""
        done = self._writer.journal.checkpoint("load.x") or {"position": 0}
        first = done["position"]
        last = min(self._total, first + self._batch - first % self._batch)
        if first == last:
            return False
        try:
            with self._group():
                self._work(first, last)
        except BaseException:
            self._forget()
            raise
        if last // self._batch % self._sync_every == 0:
            self.journals.sync()
        return True

    def _work(self, first: int, last: int) -> None:
        self._writer.write(
            [snapshot(index) for index in range(first, last)],
            inputs=[InputRange("load.x", first + 1, last)],
            checkpoints={"load.x": {"position": last}},
        )
        for stage in self._stages:
            stage.pump(refresh=False)

    def _forget(self) -> None:
        if self._group is not nullcontext:
            self.journals.forget()
            for part in (self._writer, *self._stages):
                part.forget()

    def finish(self) -> dict[str, tuple[int, str]]:
        for stage in self._stages:
            stage.pump(flush=True)
            stage.close()
        self._writer.close()
        self.journals.sync()
        return heads(self.journals)


def snapshot(index: int) -> Snapshot:
    time_ns = START_NS + index * 1200 * SECOND // 10
    values = np.array([index * 7 % 5, index], np.float64)
    return Snapshot(
        source="in", event_ns=time_ns, ingest_ns=time_ns, subjects=("a", "b"), fields={"x": values}
    )
