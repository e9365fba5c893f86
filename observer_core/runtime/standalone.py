"""The Observer by itself on one machine: collect, recognise, publish, decide, deliver, answer.

One loop owns the stages; collections, deliveries, the web server and the moving of rows
out of SQLite's log have threads of their own. Whatever way it ends, it goes on exactly
where it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import structlog

from observer_core.logs.configure import configure
from observer_core.runtime.audit.ledger import Anchoring
from observer_core.runtime.backups import Backups
from observer_core.runtime.console import Console
from observer_core.runtime.deliveries import Deliveries
from observer_core.runtime.following import Logbook
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.heartbeat import Heartbeat, Lifecycle
from observer_core.runtime.ingest import RecordingFeed
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.runtime.paths import check_deployment
from observer_core.runtime.reports.writing import Reporting
from observer_core.runtime.retaining import Retention
from observer_core.runtime.safe_mode import record as record_safe_mode
from observer_core.runtime.schedule import Collector
from observer_core.runtime.settings import Settings
from observer_core.runtime.source_kinds import LIVE, RecordingSourceConfig
from observer_core.runtime.sources import check_sources, live_sources
from observer_core.runtime.telemetry.telemetry import Telemetry
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError, InputError, StorageUnavailable
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.shards import shard_names, split
from observer_core.snapshot_engine.source import Collection
from observer_core.storage.rows import Head

_RECORDING_STEP_SECONDS = 0.1
_SYNC_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_WAITING = 10_000
_TURN_SECONDS = 0.0005
"""How long a thread that computes may keep the loop waiting, each time that the loop has stored something."""
_log = structlog.get_logger("observer.run")


class Server(Protocol):
    """What answers on the port while the Observer runs."""

    def start(self) -> int:
        """Begins to answer; gives the port."""

    def stop(self) -> None: ...


Serve = Callable[["Standalone"], Server]
"""The web layer stands above this one, so whoever starts the Observer brings it along."""


def run(settings: Settings, serve: Serve, *, console: bool = True, seconds: float | None = None) -> bool:
    """Runs until SIGTERM or SIGINT (or for `seconds`), and stops gracefully.

    False: it ended by itself because it needed too much memory, and is to be started anew.
    """
    differences = []
    declared = settings.paths.root / settings.deployment
    if declared.is_file():
        differences = check_deployment(declared, settings.paths, settings.web.port)
    if differences:
        raise ConfigError(
            "; ".join(differences) + ". Correct the file or the settings, "
            "or name the file of this deployment (OBSERVER_DEPLOYMENT)"
        )
    # Over one storage account several may run: their commits decide, and each has its own sources.
    local = settings.storage.kind == "local"
    alone = single_instance(settings.paths.data) if local else contextlib.nullcontext()
    with alone:
        logging = configure(
            settings.paths.logs, level=settings.log.level, max_bytes=settings.log.max_bytes,
            files=settings.log.files, console=False,
        )  # fmt: skip
        try:
            standalone = Standalone(settings)
            with _stop_signals(standalone):
                standalone.run(Console(standalone.observer, standalone.gate, enabled=console), serve, seconds)
            return not standalone.too_large
        finally:
            logging.close()


class Standalone:
    """Everything that runs. `stop` may be called from any thread, and from a signal handler."""

    def __init__(self, settings: Settings) -> None:
        check_sources(settings)
        self.settings = settings
        self.observer = Observer.open(settings)
        self.gate = Gate(self.observer.journals, settings, self.observer.clock)
        self.health = Health(self.observer, self.gate)
        self.metrics = Metrics(self.observer)
        self.port: int | None = None
        self._stop = threading.Event()
        self._waiting: deque[Collection] = deque()
        self._in_doubt: Head | None = None
        """What the first of `_waiting` was committed as, in a step that has not ended well yet."""
        self._recordings = {
            item.name: item for item in settings.source if isinstance(item, RecordingSourceConfig)
        }
        self._feeds: dict[str, RecordingFeed] = {}
        self._storage_failed = False
        self._retry_at = 0.0
        self._logbook = Logbook(self.observer.journals)
        sources = live_sources(settings)
        self._shards = {live.name: live.shards for live in sources}
        self._collector = Collector(sources, self.observer.clock)
        self._pushed: SimpleQueue[str] = SimpleQueue()
        self._asked: SimpleQueue[str] = SimpleQueue()
        self._telemetry = Telemetry(self.observer, self.metrics)
        self._lifecycle = Lifecycle(self.observer.journals, self.observer.clock, settings.heartbeat)
        self._guards = self.observer.guards
        self._full = False
        """Whether nothing is taken in, for want of space."""
        self._next_poll = 0.0
        self.too_large = False
        """Whether it ended because it needed too much memory."""

    def stop(self) -> None:
        self._stop.set()

    def pushed(self, source: str) -> None:
        """Somebody committed snapshots of `source`: its stages need not wait for the next tick."""
        self._pushed.put(source)
        self._collector.wake()

    def asked(self, journal: str) -> None:
        """An operator has asked something of the stage that writes `journal`."""
        self._asked.put(journal)
        self._collector.wake()

    def run(self, console: Console, serve: Serve, seconds: float | None = None) -> None:
        """The whole life: start, loop, graceful stop."""
        settings = self.settings
        collector = self._collector
        deliveries = Deliveries(self.observer, self._domains())
        anchoring = Anchoring(self.observer.journals, settings, self.observer.clock)
        maintenance = Maintenance(
            self.observer.journals, self.observer.clock, settings.maintenance,
            Retention(self.observer.journals, settings, self.observer.clock), self._guards.short_of_space,
        )  # fmt: skip
        backups = Backups(self.observer.storage, settings, self.observer.clock, self.observer.build)
        reporting = Reporting(self.observer.journals, settings, self.observer.clock)
        heartbeat = Heartbeat(settings.heartbeat, self.health, self.metrics.pinged)
        server = serve(self)
        keeper = threading.Thread(target=self._keep, name="sync", daemon=True)
        # What lives from here on lives long; what a tick makes goes by reference counting. Full
        # collections would only stop the loop now and then.
        gc.collect()
        gc.freeze()
        thresholds = gc.get_threshold()
        gc.set_threshold(100_000, 50, 100)
        turn = sys.getswitchinterval()
        sys.setswitchinterval(_TURN_SECONDS)
        try:
            self.port = server.start()
            self._lifecycle.started()
            self._begin_or_end_safe_mode()
            self.observer.domain(LIVE).declare("live", self.observer.clock.now_ns())
            self._feeds = {name: self._feed(config) for name, config in self._recordings.items()}
            console.start(self.port)
            _log.info("started", port=self.port, sources=[item.name for item in settings.source])
            collector.start(self._recorded())
            deliveries.start()
            anchoring.start(self._guards.short_of_space)
            maintenance.start()
            backups.start(self._guards.short_of_space)
            reporting.start(self._guards.short_of_space)
            heartbeat.start()
            keeper.start()
            self._loop(collector, deliveries, console, seconds)
            self._take_in_the_rest()
            self._tell_the_end()
        finally:
            self._stop.set()
            heartbeat.stop()
            server.stop()
            collector.stop()
            deliveries.stop()
            anchoring.stop()
            maintenance.stop()
            backups.stop()
            reporting.stop()
            if keeper.is_alive():
                keeper.join()
            console.stop()
            sys.setswitchinterval(turn)
            gc.set_threshold(*thresholds)
            gc.unfreeze()
            self.observer.close()
            self._telemetry.stop()
            _log.info("stopped")

    # ------------------------------------------------------------------ the loop

    def _loop(
        self, collector: Collector, deliveries: Deliveries, console: Console, seconds: float | None
    ) -> None:
        end = None if seconds is None else time.monotonic() + seconds
        tick_every = self.settings.clock_interval / SECOND
        next_tick = next_step = time.monotonic()
        while not self._stop.is_set():
            due = max(self._retry_at, min(next_tick, next_step if self._recordings else next_tick))
            self._came(collector.results(max(0.0, min(due - time.monotonic(), 0.5))))
            now = time.monotonic()
            try:
                self._look_around()
                if now >= self._retry_at and self._full:
                    self._tell(self._only_obey(now), deliveries, console)
                elif now >= self._retry_at:
                    moved = self._take_in()
                    if now >= next_tick:
                        self.metrics.loop(now - next_tick)
                        next_tick = max(next_tick + tick_every, now)
                        moved += self._tick()
                        deliveries.look()
                    if self._recordings and now >= next_step:
                        next_step = now + _RECORDING_STEP_SECONDS
                        moved += self._replay()
                    self._tell(moved, deliveries, console)
            except StorageUnavailable as error:
                self._wait_for_storage(error)
            self.health.beat()  # also while storage fails: a restart would lose what waits in memory
            if (end is not None and now >= end) or self.too_large:
                return

    def _tell(self, moved: int, deliveries: Deliveries, console: Console) -> None:
        if self._storage_failed:
            self._storage_failed = False
            _log.info("storage is back")
        if moved:
            deliveries.wake()
            self._logbook.write()
        self._logbook.summary(self.observer.clock.now_ns())
        console.beat()

    def _take_in(self) -> int:
        """Commits what was collected and brings its stages up to date; keeps what could not be written."""
        moved = 0
        while not self._pushed.empty():
            with self.observer.step():
                moved += self.observer.domain(LIVE).work(self._pushed.get(), refresh=True)
        moved += self._obey_all()
        while self._waiting:
            collection = self._waiting[0]
            source = collection.source
            recorded: Sequence[Snapshot] = ()
            started = time.perf_counter()
            with self.observer.step():
                if not self._is_stored(source):
                    writer = self.observer.writer(source, LIVE, "live", collection.now_ns)
                    recorded = writer.record(collection)
                    self._in_doubt = writer.head
                moved += self.observer.domain(LIVE).work(source)
            self._waiting.popleft()
            self._in_doubt = None
            seconds = time.perf_counter() - started
            self.metrics.tick(seconds, len(recorded))
            for snapshot in recorded:
                values = sum(column.size for column in snapshot.fields.values())
                self._logbook.snapshot(source, snapshot, values)
        return moved

    def _obey_all(self) -> int:
        """What operators have asked of this process since the last time."""
        moved = 0
        while not self._asked.empty():
            with self.observer.step():
                moved += self._obey(self._asked.get())
        return moved

    def _obey(self, journal: str) -> int:
        """What was asked is done at once, in the domains that this process works."""
        kind, _, name = journal.partition(".")
        if kind in ("snapshots", "patterns"):
            domain = self.observer.journals.domain_of(journal)
            return self.observer.domain(domain).work(name, refresh=True) if domain in self._domains() else 0
        return self.observer.domain(name).obey() if name in self._domains() else 0

    def _came(self, collections: Sequence[Collection]) -> None:
        """What was collected waits to be recorded, a shard at a time."""
        for collection in collections:
            self._waiting.extend(split(collection, self._shards[collection.source]))

    def _recorded(self) -> dict[str, Snapshot]:
        """The newest snapshot of every live source."""
        found = {}
        for name, shards in self._shards.items():
            journal = self.observer.journals.open(f"snapshots.{shard_names(name, shards)[0]}")
            record = journal.entry(journal.head().position).record if journal.head().position else None
            if isinstance(record, Snapshot):
                found[name] = record
        return found

    def _take_in_the_rest(self) -> None:
        """What was collected before the end is committed too; what cannot be is told."""
        self._collector.stop()
        self._came(self._collector.results(0.0))
        try:
            self._take_in()
        except StorageUnavailable as error:
            _log.error(
                "snapshots lost: storage failed until the end", count=len(self._waiting), error=str(error)
            )

    def _is_stored(self, source: str) -> bool:
        """Whether a step that failed has committed the snapshot at hand all the same."""
        if self._in_doubt is None:
            return False
        return self.observer.journals.open(f"snapshots.{source}").head().seq >= self._in_doubt.seq

    def _tick(self) -> int:
        domain = self.observer.domain(LIVE)
        with self.observer.step():
            self._lifecycle.ticked(*domain.tick())
            domain.refresh()
            moved = domain.work(refresh=True)
            for name in self._domains():
                if name != LIVE:  # an operator may have asked something of a recording that has ended
                    moved += self.observer.domain(name).obey()
            return moved

    def _replay(self) -> int:
        moved = 0
        for name, config in list(self._recordings.items()):
            started = time.perf_counter()
            # After a step that failed it is opened anew: it had gone further than was committed.
            try:
                feed = self._feeds.pop(name, None) or self._feed(config)
                with self.observer.step():
                    count, values = feed.step(max(1, round(config.rate * _RECORDING_STEP_SECONDS)))
                    moved += self.observer.domain(config.domain).work(name, flush=True)
            except InputError as error:
                # Its domain stands still, and its gate with it; everything else goes on.
                _log.error("recording cannot be read on", source=name, error=str(error))
                del self._recordings[name]
                continue
            self._feeds[name] = feed
            if not count:
                del self._feeds[name], self._recordings[name]
                _log.info("recording is at its end", source=name, domain=config.domain)
            self._logbook.count(name, count, values)
            self.metrics.tick(time.perf_counter() - started, count)
        return moved

    def _wait_for_storage(self, error: StorageUnavailable) -> None:
        """Nothing is dropped while it lasts, up to a bound that is recorded in the log."""
        if not self._storage_failed:
            _log.error(
                "storage failed; collecting goes on in memory, the gate closes by age", error=str(error)
            )
            self._storage_failed = True
        while len(self._waiting) > _WAITING:
            lost = self._waiting.popleft()
            self._in_doubt = None
            _log.error("snapshot lost: storage is still failing", source=lost.source, at_ns=lost.now_ns)
        self._retry_at = time.monotonic() + _RETRY_SECONDS

    # ------------------------------------------------------------------ what must be heeded

    def _look_around(self) -> None:
        """The clock, the memory, the disk: what they are like decides how it goes on."""
        jump = self._guards.clock.look()
        if jump is not None:
            _log.warning("the clock jumped", what=str(jump), by_ns=jump.by_ns)
            self._lifecycle.jumped(jump)
        memory = self._guards.memory
        if memory.look():
            figures = self._memory_figures()
            _log.warning("too much memory is in use; what can be read again was dropped", **figures)
            self.too_large = memory.is_over
        why = self._guards.short_of_space()
        if why is not None and not self._full:
            self._full = True
            self._collector.pause()
            _log.error("nothing is taken in, and the gate closes", why=why)
        elif why is None and self._full:
            self._lifecycle.had_space()
            self._full = False
            self._collector.resume()

    def _only_obey(self, now: float) -> int:
        """What is left is for operators: what they ask, also elsewhere, is done. No time passes."""
        moved = self._obey_all()
        if now >= self._next_poll:
            self._next_poll = now + self.settings.clock_interval / SECOND
            with self.observer.step():
                moved += sum(self.observer.domain(name).obey() for name in self._domains())
        return moved

    def _begin_or_end_safe_mode(self) -> None:
        on = self._guards.safe_mode
        if record_safe_mode(self.observer.journals, self.observer.clock, on):
            _log.warning("safe mode begins: nothing is acted on" if on else "safe mode has ended")

    def _memory_figures(self) -> dict[str, int]:
        memory = self._guards.memory
        return {"resident_bytes": memory.used or 0, "most_bytes": memory.limit or 0}

    def _tell_the_end(self) -> None:
        if self.too_large:
            _log.error("ended: too much memory was in use for too long", **self._memory_figures())
            self._lifecycle.stopped("memory", **self._memory_figures())
        else:
            self._lifecycle.stopped("asked" if self._stop.is_set() else "time is over")

    def _keep(self) -> None:
        while not self._stop.wait(_SYNC_SECONDS):
            try:
                self.observer.journals.sync()
            except StorageUnavailable as error:
                _log.error("sync failed", error=str(error))

    # ------------------------------------------------------------------ what runs

    def _domains(self) -> list[str]:
        return sorted({LIVE, *(item.domain for item in self.settings.source)})

    def _feed(self, config: RecordingSourceConfig) -> RecordingFeed:
        paths = [self.settings.paths.root / path for path in config.paths]
        return RecordingFeed(self.observer, config.name, config.domain, paths, config.mapping)


@contextlib.contextmanager
def single_instance(data: Path) -> Iterator[None]:
    """One Observer a data folder: `ConfigError` while another process holds it."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ConfigError(
                f"another Observer (process {file.read().strip() or '?'}) runs on {data}; "
                "stop it, or give this one another --data-dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


@contextlib.contextmanager
def _stop_signals(standalone: Standalone) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: standalone.stop())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
