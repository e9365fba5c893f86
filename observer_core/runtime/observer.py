"""The object graph: the one place where stages, journals and configuration are put together."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import observer_core
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.decision_pipeline.scopes import view_key
from observer_core.event_bus.publisher import Publisher, PublisherConfig
from observer_core.event_bus.router import Router
from observer_core.event_bus.routing import RoutingConfig
from observer_core.event_bus.subscriptions import Subscriber
from observer_core.logs.context import enter, leave
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.collector import SnapshotWriter
from observer_core.runtime.engine import EngineOptions, Refresh, StageSpec, Worker
from observer_core.runtime.paths import lock_hash
from observer_core.runtime.settings import LEAST_MAX_AGE, Settings
from observer_core.runtime.source_kinds import DerivedSourceConfig
from observer_core.runtime.storages import open_storage
from observer_core.runtime.telemetry.commits import Commits
from observer_core.safety.guards import Guards
from observer_core.shared.clock import Clock, SystemClock
from observer_core.shared.errors import Conflict, DomainMismatch, InputError
from observer_core.shared.ids import shard_of
from observer_core.shared.records import Note
from observer_core.shared.stage import Stage
from observer_core.snapshot_engine.derived import DerivedConfig, Deriver, recorded_as
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.ports import Storage
from observer_core.storage.recovery import recover

if TYPE_CHECKING:
    from observer_core.runtime.telemetry.tracing import Tracing

Mode = Literal["live", "recorded"]
_LIVE_ENTRIES = 1440
"""A live source's own state is written so often: retention removes nothing that has not one behind it."""
_OPTIONAL = ("deadletters", "commands")
"""Kinds of journals that a domain may have, asked for together."""


def this_build() -> Build:
    return Build(observer_core.__version__, lock_hash())


def worker_name() -> str:
    """Names this process in commit ids and leases; never part of a record."""
    return f"{socket.gethostname()[:20]}-{os.getpid()}-{secrets.token_hex(4)}"


class Observer:
    """One Observer on one storage. `domain(name)` gives the stages, `writer` the way in."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        *,
        clock: Clock | None = None,
        build: Build | None = None,
        options: EngineOptions | None = None,
    ) -> None:
        self.settings = settings
        self.storage = storage
        self.clock = clock or SystemClock()
        self.build = build or this_build()
        self.options = options or EngineOptions(max_lag_ns=settings.max_lag)
        self.journals = Journals(storage, worker=worker_name(), tail_bytes=self.options.tail_bytes)
        local = settings.storage.kind == "local"
        self.guards = Guards(settings.safety, settings.paths.data if local else None)
        for drop in (self.journals.trim, shard_of.cache_clear, view_key.cache_clear):
            self.guards.memory.droppable(drop)
        self.cuts = recover(self.journals, self.clock)
        self.decisions: DecisionConfig = settings.decisions()
        self.commits = Commits()
        self.journals.on_commit = self.commits.add
        self.on_stage: Callable[[Worker[Any], float, int | Exception], None] | None = None
        """Told the seconds of each stage's turn, and how many records it gave or why it failed."""
        self.tracing: Tracing | None = None
        """Only where traces are sent somewhere (`trace`)."""
        self._writers: dict[str, SnapshotWriter] = {}
        self._domains: dict[str, Domain] = {}

    @staticmethod
    def local(settings: Settings, **options: Any) -> Observer:
        """On files and SQLite under the data folder."""
        storage = LocalStorage(settings.paths.data, durability=settings.durability)
        return Observer(settings, storage, **options)

    @staticmethod
    def open(settings: Settings, **options: Any) -> Observer:
        """On the storage that the settings name."""
        return Observer(settings, open_storage(settings), **options)

    def writer(self, source: str, domain: str, mode: Mode, time_ns: int) -> SnapshotWriter:
        """The writer of a source. A new domain begins at `time_ns`; `DomainMismatch` if its time is other."""
        # Each time, not only at first: a step that failed has undone both.
        # No lock: what commits here may wait for another thread's step, which may ask for a writer.
        self.domain(domain).declare(mode, time_ns)
        self.journals.open(f"snapshots.{source}", domain)
        writer = self._writers.get(source)
        if writer is None:
            config, shard = self.settings.normaliser(source), self.settings.shard(source)
            writer = SnapshotWriter(
                self.journals, source, domain, Normaliser(config), self.build,
                {"normalise": config.canonical(), **({} if shard is None else {"shard": list(shard)})},
                state_entries=min(self.options.state_entries, _LIVE_ENTRIES if mode == "live" else 2**31),
            )  # fmt: skip
            writer = self._writers.setdefault(source, writer)
        return writer

    def domain(self, name: str) -> Domain:
        domain = self._domains.get(name)
        return self._domains.setdefault(name, Domain(self, name)) if domain is None else domain

    def subscribers(self, domain: str) -> list[Subscriber]:
        """Who is configured to be told of what a domain records."""
        return [item.subscriber() for item in self.settings.subscription if domain in item.domains]

    def workers(self) -> list[Worker[Any]]:
        """All that work in this process, of every domain."""
        return [worker for domain in list(self._domains.values()) for worker in domain.workers()]

    def domain_of(self, source: str) -> str:
        """The domain a source writes in; `InputError` when there is no such source."""
        name = self.journals.domain_of(f"snapshots.{source}")
        if name is None:
            known = [n.partition(".")[2] for n in self.journals.names("snapshots")]
            raise InputError(f"there is no source {source!r}; known are {', '.join(known) or 'none yet'}")
        return name

    def step(self) -> _Step:
        """What is committed inside becomes durable together; if that fails, nothing of it happened.

        What was committed before something else fails inside stands, and is told of.
        """
        return _Step(self)

    def pump(
        self, worker: Worker[Any], *, refresh: Refresh, current: Collection[str] = (), flush: bool = False
    ) -> int:
        """A turn of a stage, of which the log, the metrics and the traces are told."""
        left, tell = enter(worker.where), self.on_stage
        started = time.perf_counter()
        try:
            found = worker.pump(refresh=refresh, current=current, flush=flush)
        except Exception as error:
            if tell is not None:
                tell(worker, time.perf_counter() - started, error)
            raise
        finally:
            leave(left)
        if tell is not None:
            tell(worker, time.perf_counter() - started, found)
        return found

    def trace(self, tracing: Tracing) -> None:
        """From now on what is done is traced."""
        self.tracing = tracing
        self.commits.listen(tracing.committed, at_once=True)

    def forget(self) -> None:
        """Drops all that is known of the storage and of the stages' states; both are read again."""
        self.journals.forget()
        for writer in self._writers.values():
            writer.forget()
        for domain in self._domains.values():
            domain.forget()

    def close(self) -> None:
        """Commits what is pending and leaves states behind; the storage is closed too."""
        for domain in self._domains.values():
            domain.close()
        for writer in self._writers.values():
            writer.close()
        self.journals.sync()
        self.storage.close()


class _Step:
    """`with` a step (`Observer.step`). Written out, because the hot path enters one at every round."""

    __slots__ = ("_group", "_observer", "_traced")

    def __init__(self, observer: Observer) -> None:
        self._observer, self._group = observer, observer.storage.group()

    def __enter__(self) -> None:
        observer = self._observer
        observer.commits.begin()
        self._traced = None if observer.tracing is None else observer.tracing.begin()
        try:
            self._group.__enter__()
        except BaseException:
            self._end(stands=False, failed=True)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        death = None if isinstance(error, Exception) else error
        stands = False
        try:
            if death is None:
                self._group.__exit__(None, None, None)
                stands = True
            else:
                self._group.__exit__(type(death), death, trace)
        finally:
            self._end(stands=stands, failed=error is not None)

    def _end(self, *, stands: bool, failed: bool) -> None:
        observer = self._observer
        try:
            if failed or not stands:
                observer.forget()
        finally:
            observer.commits.end(stands=stands)
            if self._traced is not None and observer.tracing is not None:
                observer.tracing.end(self._traced)


class Domain:
    """The stages of one time line: a recogniser a source, then one publisher, then one pipeline."""

    def __init__(self, observer: Observer, name: str) -> None:
        self.name = name
        self._observer = observer
        self._journals = observer.journals
        self._pump = observer.pump
        self._mode: Mode | None = None
        self._recognisers: dict[str, Worker[Any]] = {}
        self._clock_journal = f"clock.{name}"
        self._commands = f"commands.{name}"
        self._subscribed = bool(observer.subscribers(name))
        self.publisher = self._worker(
            Publisher(name, observer.settings.publisher(name)), f"events.{name}",
            lambda: [
                *self._sources("patterns"), *self._if_any("deadletters"), *self._if_any("commands"),
                *self._ticks(),
            ],
            lambda: self._ticks() or self._sources("patterns"),
            rebuild_publisher,
        )  # fmt: skip
        self._derivers = {
            item.name: self._deriver(item)
            for item in observer.settings.source
            if isinstance(item, DerivedSourceConfig) and item.domain == name
        }
        self.decider = self._worker(
            DecisionPipeline(name, observer.decisions), f"decisions.{name}",
            lambda: [f"events.{name}", self._commands, *self._ticks()],
            lambda: self._ticks() or [f"events.{name}"],
            rebuild_pipeline,
        )  # fmt: skip
        self._known: dict[str, list[str]] = {}

    @cached_property
    def router(self) -> Worker[Any]:
        """Says who is told; only where there may be somebody (`is_routed`)."""
        name, observer = self.name, self._observer
        return self._worker(
            Router(name, observer.subscribers(name), observer.settings.routing()), f"routes.{name}",
            lambda: [f"events.{name}", f"decisions.{name}", self._commands, *self._ticks()],
            lambda: self._ticks() or [f"events.{name}", f"decisions.{name}"],
            rebuild_router,
        )  # fmt: skip

    # ------------------------------------------------------------------ time

    @property
    def mode(self) -> Mode | None:
        """Which time this domain keeps, None while nobody has declared it."""
        if self._mode is None:
            journal = self._journals.open(self._clock_journal)
            if journal.head().position:
                note = journal.entry(1).record
                assert isinstance(note, Note)
                self._mode = note.body["mode"]
        return self._mode

    def require(self, mode: Mode) -> None:
        """`DomainMismatch` when this domain keeps the other time."""
        if self.mode not in (None, mode):
            raise DomainMismatch(self.name, str(self.mode), mode)

    def declare(self, mode: Mode, time_ns: int) -> None:
        """Says which time this domain keeps, from `time_ns` on; `DomainMismatch` when it keeps the other."""
        self.require(mode)
        if self.mode is None:
            journal = self._journals.open(self._clock_journal, self.name)
            note = Note(kind="domain", time_ns=time_ns, body={"mode": mode})
            try:
                journal.commit(journal.head(), Commit(records=[note]))
            except Conflict:
                self.declare(mode, time_ns)  # somebody else has declared it in between
            self._mode = mode

    def tick(self) -> tuple[int, int]:
        """Live time has come this far: what is due by time alone can follow. Gives the last and this."""
        self.declare("live", self._observer.clock.now_ns())
        journal = self._journals.open(self._clock_journal, self.name)
        head = journal.head(refresh=False)
        now = max(head.time_ns, self._observer.clock.now_ns())
        journal.commit(
            head, Commit(records=[Note(kind="tick", time_ns=now, body={"by": "timer"})], through_ns=now)
        )
        return head.time_ns, now

    # ------------------------------------------------------------------ work

    def work(self, source: str | None = None, *, refresh: bool = False, flush: bool = False) -> int:
        """Derive and recognise (one source, or all), publish, decide: as far as there is something to do."""
        names = [source, *self.derived_from(source)] if source is not None else self.sources()
        for name in names:
            if name in self._derivers:
                self._pump(self._derivers[name], refresh=refresh, flush=flush)
        found = 0
        for name in names:
            found += self._pump(self.recogniser(name), refresh=refresh, flush=flush)
        if source is not None and not found and not flush:
            return 0
        self._pump(self.publisher, refresh=refresh, flush=flush)
        decided = self._pump(self.decider, refresh=refresh, flush=flush)
        self.route(refresh=refresh, flush=flush)
        return decided

    def obey(self) -> int:
        """What operators have asked is obeyed; nothing is collected or recognised for that."""
        self._known.pop("commands", None)
        self._pump(self.publisher, refresh={self._commands})
        decided = self._pump(self.decider, refresh=True)
        return decided + self.route(refresh=True)

    def recogniser(self, source: str) -> Worker[Any]:
        worker = self._recognisers.get(source)
        if worker is None:
            settings = self._observer.settings
            stage = Recogniser(source, settings.recogniser(source), settings.shard(source))
            journal = f"snapshots.{source}"
            worker = self._recognisers[source] = self._worker(
                stage, f"patterns.{source}", lambda: [journal], lambda: [journal], rebuild_recogniser,
                settings.max_age_ns(source) or LEAST_MAX_AGE,
            )  # fmt: skip
            self._known.clear()
        return worker

    def deriver(self, source: str) -> Worker[Any] | None:
        """The worker that writes the snapshots of a derived source; None for any other source."""
        return self._derivers.get(source)

    def derived_from(self, source: str) -> list[str]:
        """The derived sources that follow from `source`, each after those that it reads."""
        if not self._derivers:
            return []
        found = {source}
        for name, worker in self._derivers.items():
            if not found.isdisjoint(journal.partition(".")[2] for journal in worker.spec.inputs()):
                found.add(name)
        return [name for name in self._derivers if name in found and name != source]

    def sources(self) -> list[str]:
        """All sources that have a journal, and all derived ones, each after those that it reads."""
        known = [name.partition(".")[2] for name in self._sources("snapshots")]
        return [*(name for name in known if name not in self._derivers), *self._derivers]

    def refresh(self) -> None:
        """Sources may have appeared through other processes."""
        self._known.clear()

    def forget(self) -> None:
        """Drops all that is known of the storage."""
        self._mode = None
        self._known.clear()
        for worker in self.workers():
            worker.forget()

    def close(self) -> None:
        for worker in self.workers():
            worker.close()

    def workers(self) -> list[Worker[Any]]:
        shared = [self.publisher, self.decider, *([self.router] if self.is_routed() else [])]
        return [*self._derivers.values(), *self._recognisers.values(), *shared]

    def is_routed(self) -> bool:
        """Whether there may be somebody to tell: a subscription is configured, or an operator has asked."""
        return self._subscribed or bool(self._journals.open(self._commands).head(refresh=False).position)

    def route(self, *, refresh: bool = False, flush: bool = False) -> int:
        """Says who is told of what the domain has recorded; nothing where nobody is."""
        if not self.is_routed():
            return 0
        return self._pump(self.router, refresh=refresh, flush=flush)

    # ------------------------------------------------------------------ wiring

    def _deriver(self, item: DerivedSourceConfig) -> Worker[Any]:
        settings = self._observer.settings
        config = recorded_as(item.derived(), settings.part_of)
        names = [f"snapshots.{source}" for source in Deriver.inputs(config)]
        max_lag_ns = settings.max_age_ns(item.name) or LEAST_MAX_AGE
        return self._worker(
            Deriver(item.name, config), f"snapshots.{item.name}", lambda: names, lambda: names,
            rebuild_deriver, max_lag_ns,
        )  # fmt: skip

    def _worker(
        self, stage: Stage[Any], output: str, inputs: Callable[[], list[str]], timed: Callable[[], list[str]],
        rebuild: Callable[[Mapping[str, Any]], Stage[Any]], max_lag_ns: int | None = None,
    ) -> Worker[Any]:  # fmt: skip
        spec = StageSpec(stage, output, self.name, inputs, timed, rebuild)
        observer, options = self._observer, self._observer.options
        if max_lag_ns is not None:
            options = replace(options, max_lag_ns=min(options.max_lag_ns, max_lag_ns))
        return Worker(self._journals, spec, observer.build, observer.clock, options)

    def _sources(self, kind: str) -> list[str]:
        found = self._known.get(kind)
        if not found:
            found = self._known[kind] = self._journals.names(kind, self.name)
        return found

    def _if_any(self, kind: str) -> list[str]:
        """Most domains have no such journal: that is remembered too, until the next `refresh`."""
        if kind not in self._known:
            names = self._journals.names(domain=self.name)
            for one in _OPTIONAL:
                self._known[one] = [name for name in names if name.startswith(f"{one}.")]
        return self._known[kind]

    def _ticks(self) -> list[str]:
        return [self._clock_journal] if self.mode == "live" else []


def rebuild_deriver(config: Mapping[str, Any]) -> Deriver:
    values = dict(config)
    return Deriver(values.pop("source"), DerivedConfig(**values))


def rebuild_recogniser(config: Mapping[str, Any]) -> Recogniser:
    values = dict(config)
    source, shard = values.pop("source"), values.pop("shard", None)
    return Recogniser(source, RecogniserConfig(**values), shard and (shard[0], shard[1]))


def rebuild_publisher(config: Mapping[str, Any]) -> Publisher:
    values = dict(config)
    return Publisher(values.pop("domain"), PublisherConfig(**values))


def rebuild_router(config: Mapping[str, Any]) -> Router:
    subscribers = [Subscriber(**item) for item in config["subscribers"]]
    return Router(config["domain"], subscribers, RoutingConfig(**config["routing"]))


def rebuild_pipeline(config: Mapping[str, Any]) -> DecisionPipeline:
    values = dict(config)
    return DecisionPipeline(values.pop("domain"), DecisionConfig(**values))
