"""Recordings through all four stages, exactly once, however often and in whatever batches.

What is done of a load is committed with the snapshots it gave, so an interrupted
ingestion goes on where it stopped, and one that was finished adds nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources.recording import KnownFile, Load, Part, RecordingConfig, plan
from observer_core.storage.journal import HOURS_PER_COMMIT
from observer_core.storage.rows import InputRange

_COMMIT_VALUES = 400_000
"""About 8 MiB of record bytes."""
_SYNC_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ingested:
    """What one call added; `already` counts the rows that were found ingested."""

    snapshots: int
    rows: int
    observations: int
    already: int
    notes: tuple[str, ...]


class RecordingFeed:
    """The snapshots of some files that are not in the journal yet, given in steps."""

    def __init__(
        self, observer: Observer, source: str, domain: str, paths: Sequence[Path], mapping: RecordingConfig
    ) -> None:
        observer.domain(domain).require("recorded")
        self._observer = observer
        self._journal = observer.journals.open(f"snapshots.{source}")
        self._source, self._domain = source, domain
        self._mapping = mapping
        self._loads = self._plan([str(path) for path in paths])
        self._load: Load | None = None
        self._snapshots: Iterator[Snapshot] = iter(())
        self._next: Snapshot | None = None
        self._done = 0
        self.total = sum(load.total - done for load, done in self._loads)
        self.rows = sum(load.rows for load, _ in self._loads)
        known = {part.path: part.rows_from for load, _ in reversed(self._loads) for part in load.parts}
        self.already = sum(known.values()) + sum(load.rows_before(done) for load, done in self._loads)
        self.notes = tuple(note for load, _ in self._loads for note in load.notes)

    def _plan(self, paths: list[str]) -> list[tuple[Load, int]]:
        checkpoints = self._journal.checkpoints()
        known = [
            KnownFile(value["sha256"], value["bytes"], value["rows"])
            for name, value in checkpoints.items()
            if name.startswith("file.")
        ]
        loads = []
        for value in self._interrupted(checkpoints):
            parts = [Part(**part) for part in value["parts"]]
            if not {part.path for part in parts} <= set(paths):
                continue
            load = plan([part.path for part in parts], self._source, self._mapping, known, parts)
            if f"load.{load.id}" in checkpoints:
                loads.append((load, value["position"]))
                known += load.known_after()
        load = plan(paths, self._source, self._mapping, known)
        done = checkpoints.get(f"load.{load.id}", {"position": 0})["position"]
        if load.total > done:
            loads.append((load, done))
        elif not loads:
            loads.append((load, load.total))
        return loads

    @staticmethod
    def _interrupted(checkpoints: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [
            value
            for name, value in checkpoints.items()
            if name.startswith("load.") and value["position"] < value["snapshots"]
        ]

    def step(self, count: int) -> tuple[int, int]:
        """Commits up to `count` snapshots; gives how many they were, with how many values.

        `StorageFull` when too little space is left to take anything in.
        """
        self._observer.guards.require_space()
        if self._next is None and not self._advance():
            return 0, 0
        load = self._load
        assert load is not None
        batch, values = self._take(count)
        start, self._done = self._done, self._done + len(batch)
        name = f"load.{load.id}"
        checkpoints: dict[str, Any] = {
            name: {"position": self._done, "snapshots": load.total, "parts": [asdict(p) for p in load.parts]}
        }
        if self._done == load.total:
            for file in load.known_after():
                checkpoints[f"file.{file.sha256}"] = {**asdict(file), "load": name, "total": load.total}
        writer = self._observer.writer(self._source, self._domain, "recorded", batch[0].ingest_ns)
        writer.write(batch, inputs=[InputRange(name, start + 1, self._done)], checkpoints=checkpoints)
        return len(batch), values

    def _advance(self) -> bool:
        while self._loads:
            self._load, self._done = self._loads.pop(0)
            self._snapshots = self._load.snapshots(self._done)
            self._next = next(self._snapshots, None)
            if self._next is not None:
                return True
        return False

    def _take(self, count: int) -> tuple[list[Snapshot], int]:
        batch: list[Snapshot] = []
        hours: set[int] = set()
        values = 0
        while self._next is not None and len(batch) < count and values < _COMMIT_VALUES:
            hours.add(self._next.ingest_ns // (3600 * SECOND))
            if len(hours) > HOURS_PER_COMMIT:
                break
            batch.append(self._next)
            values += sum(column.size for column in self._next.fields.values())
            self._next = next(self._snapshots, None)
        return batch, values


def ingest(
    observer: Observer,
    paths: Sequence[Path],
    *,
    source: str,
    domain: str,
    mapping: RecordingConfig,
    batch: int = 500,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ingested:
    """All that `paths` hold and the journal does not, through all stages; `batch` snapshots a commit."""
    feed = RecordingFeed(observer, source, domain, paths, mapping)
    stages = observer.domain(domain)
    done = values = 0
    synced = time.monotonic()
    while True:
        with observer.step():
            count, size = feed.step(batch)
            stages.work(source)
        if not count:
            break
        done, values = done + count, values + size
        progress(done, feed.total)
        if time.monotonic() - synced > _SYNC_SECONDS:
            observer.journals.sync()
            synced = time.monotonic()
    stages.work(refresh=True, flush=True)
    return Ingested(done, feed.rows, values, feed.already, feed.notes)
