"""A small market for tests of the runtime: recorded in a file, or observed live under a clock in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.market.config import Market
from observer_core.runtime.ingest import Ingested, ingest
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, Clock, ManualClock
from observer_core.shared.errors import StorageFull
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage

MINUTE = 60 * SECOND
START_MINUTE = 25_380_000  # 2018-04-04T00:00Z
START_NS = START_MINUTE * MINUTE
SILENT_FROM, SILENT_TO, MINUTES = 80, 110, 140
JUMPS = (120, 220)
BUILD = Build("1.0", "lock")
GENERIC = RecogniserConfig(market=Market(prices=()))
"""A price is a series as any other: one wild value is a spike at once, and no bad tick a minute later."""
MAPPING = RecordingConfig(time="ts", subject="name", bar=MINUTE)


def rows(minutes: range) -> Iterator[str]:
    """A, B and C each minute; B falls silent for half an hour, A jumps (the second time after `MINUTES`)."""
    for minute in minutes:
        for place, name in enumerate(("A/USD", "B/USD", "C/USD")):
            if name == "B/USD" and SILENT_FROM <= minute < SILENT_TO:
                continue
            price = 100 + 10 * place + 0.05 * ((minute * (7 + place)) % 11 - 5)
            if name == "A/USD" and minute in JUMPS:
                price *= 1.2
            yield f"{(START_MINUTE + minute) * 60},{name},{price:.3f}"


def recording(path: Path, minutes: range = range(MINUTES)) -> Path:
    path.write_text("\n".join(["ts,name,price", *rows(minutes)]) + "\n")
    return path


def observer(
    folder: Path,
    storage: Storage | None = None,
    *,
    clock: Clock | None = None,
    build: Build = BUILD,
    **settings: Any,
) -> Observer:
    """One with `folder` as root, and without market patterns; settings are overrides of the defaults."""
    chosen = load(root=folder, **{"recognise": GENERIC, **settings})
    return Observer(chosen, storage or MemoryStorage(), clock=clock or ManualClock(0), build=build)


def take(it: Observer, *paths: Path, batch: int = 50, **options: Any) -> Ingested:
    """The recordings through all stages, as source and domain `desk` unless said otherwise."""
    given = {"source": "desk", "domain": "desk", "mapping": MAPPING, **options}
    return ingest(it, paths, batch=batch, **given)


def heads(journals: Journals) -> dict[str, tuple[int, str]]:
    """Where every journal stands, those that hold nothing left out."""
    found = {name: journals.open(name).head() for name in journals.names()}
    return {name: (head.position, head.hash.hex()) for name, head in found.items() if head.position}


class Live:
    """The domain `live` of one Observer, second by second."""

    def __init__(self, folder: Path, storage: Storage | None = None, **settings: Any) -> None:
        self.clock = ManualClock(START_NS)
        self.observer = observer(folder, storage, clock=self.clock, **settings)

    def collect(
        self, source: str, values: Mapping[str, float] | None, *, field: str = "x", error: str | None = None
    ) -> None:
        """One snapshot now; without `values` the source does not answer."""
        now = self.clock.now_ns()
        columns = {field: np.array(list(values.values()), np.float64)} if values else {}
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=tuple(values or ()), fields=columns,
            status="unavailable" if values is None else "ok", error=error,
        )  # fmt: skip
        self.observer.writer(source, "live", "live", now).write([snapshot])
        self.observer.domain("live").work(source)

    def second(self) -> None:
        """A second passes: a tick, and all that follows from it."""
        self.clock.advance(SECOND)
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True)


@contextmanager
def unable_to_sync(storage: LocalStorage, times: int) -> Iterator[None]:
    """The next `times` groups cannot make their bytes durable when they end: nothing of them happens."""
    original, left = storage.segments.settle, [times]

    def settle() -> None:
        original()
        if left[0]:
            left[0] -= 1
            raise StorageFull("sync segments: no space left on the device")

    storage.segments.settle = settle  # type: ignore[method-assign]
    try:
        yield
    finally:
        storage.segments.settle = original  # type: ignore[method-assign]


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """What `condition` gives once it is true; fails after `seconds`, which only a defect takes."""
    import time

    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)
    return found
