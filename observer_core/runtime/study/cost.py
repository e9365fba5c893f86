"""What the Functions app asks of its storage account, measured, and what that would cost.

The configured sources are simulated at their cadence, quiet, with a clock in hand and a
storage in memory that counts operations as an account would. The stages, the handlers and their
hints are the real ones; only the values and the time are made up.
"""

from __future__ import annotations

import logging
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import structlog
from pydantic import Field, ValidationError

from observer_core.runtime.handlers import STAGES, Handlers, options
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings
from observer_core.runtime.source_kinds import DerivedSourceConfig, RecordingSourceConfig
from observer_core.runtime.sources import LiveSource
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.config import Config, explain
from observer_core.shared.errors import ConfigError
from observer_core.shared.records import Snapshot
from observer_core.storage.counting import CountingStorage
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.operations import Kind

BUDGET: Final = 12.0
"""Billable operations for a quiet snapshot, on average, freshness of every stage included."""
CLOCK_EVERY_S: Final = 10
SWEEP_EVERY_S: Final = 300
"""As local.settings.json.example schedules them; collecting is looked at every second."""
MONTH_S: Final = 365.25 * 86_400 / 12
_START_NS: Final = 1_700_000_000 * SECOND
_FIELDS: Final = ("price", "volume")
_POLLS: Final = ("queue.receive",)
"""Polling a queue costs too, but depends on the host's moods alone: told, not counted."""

Price = Annotated[float, Field(ge=0)]


class OperationPrices(Config):
    blob_write: Price
    blob_read: Price
    table: Price
    queue: Price


class FunctionPrices(Config):
    per_million_executions: Price
    per_gb_second: Price
    gb_seconds_per_execution: Price


class Prices(Config):
    """A price table: where, when, in what money."""

    dated: str
    region: str
    currency: str
    per_10_000_operations: OperationPrices
    functions: FunctionPrices

    @staticmethod
    def load(path: Path | None = None) -> Prices:
        """The table in `path`, or the one that the package brings; `ConfigError` names what is wrong."""
        where = path or Path(__file__).parent / "prices.toml"
        try:
            return Prices(**tomllib.loads(where.read_text("utf-8")))
        except OSError as error:
            raise ConfigError(f"{where}: cannot be read: {error.strerror}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{where}: expected TOML: {error}") from None
        except ValidationError as error:
            raise explain(error, str(where)) from None

    def of(self, kind: Kind) -> float:
        """The price of one operation."""
        prices = self.per_10_000_operations
        service, _, what = kind.partition(".")
        if service == "blob":
            each = prices.blob_read if what in ("read", "delete") else prices.blob_write
        else:
            each = prices.table if service == "table" else prices.queue
        return each / 10_000


@dataclass(slots=True)
class Measured:
    """One simulated stretch. `stages` maps a stage (or timer) to what it asked for."""

    seconds: int
    instances: int
    subjects: int
    snapshots: int = 0
    observations: int = 0
    executions: Counter[str] = field(default_factory=Counter)
    stages: dict[str, Counter[Kind]] = field(default_factory=dict)

    def operations(self) -> Counter[Kind]:
        """Everything that is billed, polls left out."""
        total: Counter[Kind] = Counter()
        for found in self.stages.values():
            total += found
        return Counter({kind: count for kind, count in total.items() if kind not in _POLLS})

    @property
    def per_snapshot(self) -> float:
        return self.operations().total() / max(1, self.snapshots)

    def month(self, prices: Prices) -> dict[str, float]:
        """Money a month at this cadence, by what it is paid for."""
        months = self.seconds / MONTH_S
        found: dict[str, float] = {}
        for kind, count in self.operations().items():
            service = f"{kind.partition('.')[0]} operations"
            found[service] = found.get(service, 0.0) + count * prices.of(kind) / months
        runs = self.executions.total() / months
        functions = prices.functions
        found["function executions"] = runs * functions.per_million_executions / 1e6
        found["function time"] = runs * functions.gb_seconds_per_execution * functions.per_gb_second
        return found

    def per_million_observations(self, prices: Prices) -> float:
        """Money for a million values observed."""
        return sum(self.month(prices).values()) * self.seconds / MONTH_S / self.observations * 1e6


def measure(
    settings: Settings, *, instances: int = 1, subjects: int = 100, seconds: int | None = None, seed: int = 7
) -> Measured:
    """The configured live and push sources, quiet, for a stretch of their cadence.

    `instances` take turns, as a scaled-out app's do: what one has in memory the other reads.
    """
    intervals = {
        item.name: item.interval
        for item in settings.source
        if not isinstance(item, RecordingSourceConfig | DerivedSourceConfig)
    }
    if not intervals:
        raise ConfigError(
            "the configuration has no live source and none of kind push: there is nothing to cost"
        )
    slowest = -(-max(intervals.values()) // SECOND)
    stretch = seconds or max(600, 20 * slowest)
    with _silently():
        run = _Simulation(settings, intervals, instances, subjects, seed)
        # Epochs open, states are written, baselines learnt, and the first sweep has nothing left to find.
        run.forward(max(SWEEP_EVERY_S + 60, 3 * slowest))
        before = run.stored()
        run.measured = Measured(stretch, instances, subjects)
        run.forward(stretch)
    run.measured.snapshots = run.stored() - before
    run.measured.observations = run.measured.snapshots * subjects * len(_FIELDS)
    return run.measured


@contextmanager
def _silently() -> Iterator[None]:
    """What the handlers log is of no real day."""
    known = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**known)


class _Simulation:
    def __init__(
        self, settings: Settings, intervals: Mapping[str, int], instances: int, subjects: int, seed: int
    ) -> None:
        self._clock = ManualClock(_START_NS)
        self._storage = CountingStorage(MemoryStorage(self._clock))
        self._random = np.random.default_rng(seed)
        self._level = np.round(self._random.uniform(50, 200, subjects), 2)
        self._names = tuple(f"S{number:05d}" for number in range(subjects))
        self._sources = {
            name: LiveSource(_Quiet(name, interval, self), shards=len(settings.parts_of(name)))
            for name, interval in intervals.items()
        }
        self._handlers = [
            Handlers(
                Observer(settings, self._storage, clock=self._clock, options=options(settings)),
                sources=self._sources,
            )
            for _ in range(instances)
        ]
        self._turn = 0
        self._second = 0
        self.measured = Measured(0, instances, subjects)

    def forward(self, seconds: int) -> None:
        for _ in range(seconds):
            self._call("collect")
            if self._second % CLOCK_EVERY_S == 0:
                self._call("clock")
            if self._second % SWEEP_EVERY_S == 0:
                self._call("sweep")
            self._drain()
            self._second += 1
            self._clock.advance(SECOND)

    def stored(self) -> int:
        """Snapshots in the journals."""
        journals = Journals(self._storage, worker="count")
        return sum(journals.open(name).head().position for name in journals.names("snapshots"))

    def snapshot(self, source: str, now_ns: int) -> Snapshot:
        count = len(self._names)
        price = np.round(self._level + self._random.normal(0, 0.05, count), 2)
        volume = np.round(self._random.uniform(1, 9, count), 3)
        return Snapshot(
            source=source, event_ns=now_ns, ingest_ns=now_ns, subjects=self._names,
            fields=dict(zip(_FIELDS, (price, volume))),
        )  # fmt: skip

    def _drain(self) -> None:
        """As the host does: a message is deleted when its function has returned."""
        found = True
        while found:
            found = False
            for stage in STAGES:
                queue = self._handlers[0].queue(stage)
                for message in self._storage.queues.receive(queue, count=32):
                    found = True
                    self._call(stage, message.body)
                    before = self._storage.operations.counts()
                    self._storage.queues.delete(queue, message)
                    self._count(stage, before)

    def _call(self, stage: str, *hint: bytes) -> None:
        # A timer fires on one instance; who gets a message is chance, at worst always another one.
        self._turn += bool(hint)
        handlers = self._handlers[self._turn % len(self._handlers) if hint else 0]
        before = self._storage.operations.counts()
        getattr(handlers, stage.replace("-", "_"))(*hint)
        self._count(stage, before)
        self.measured.executions[stage] += 1

    def _count(self, stage: str, before: Counter[Kind]) -> None:
        self.measured.stages.setdefault(stage, Counter()).update(self._storage.operations.counts() - before)


@dataclass(frozen=True, slots=True)
class _Quiet:
    """A source of which nothing is to be said."""

    name: str
    interval_ns: int
    run: _Simulation

    def collect(self, now_ns: int) -> Snapshot:
        return self.run.snapshot(self.name, now_ns)

    def close(self) -> None:
        pass
