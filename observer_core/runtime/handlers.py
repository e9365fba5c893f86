"""What each trigger of the Functions app does: one method a function, on one object graph a process.

A hint is a queue message that says "look there" and carries no truth: lost, repeated or
reordered ones change nothing that is recorded. Whatever a handler sends, it sends after its
commit. Timers call `collect` (every second), `clock` (every ten) and `sweep` (every few
minutes); the last two find what a lost hint has left behind. A handler that raises leaves
its message to the host, which gives it again and puts it aside in the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from observer_core.automation.dead_letters import JOURNAL, DeadLetters
from observer_core.automation.delivery import Deliverer, Outdated
from observer_core.logs.configure import configure_for_host
from observer_core.logs.context import within
from observer_core.runtime.audit.ledger import Anchoring
from observer_core.runtime.collecting import Bulkhead, Circuit
from observer_core.runtime.deliveries import deliverer, subscriptions
from observer_core.runtime.engine import EngineOptions, Refresh, Worker
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.heartbeat import Heartbeat, Lifecycle
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Domain, Observer
from observer_core.runtime.pushing import KEPT, Pushes, source_of
from observer_core.runtime.retaining import Retention
from observer_core.runtime.safe_mode import record as record_safe_mode
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.source_kinds import LIVE
from observer_core.runtime.sources import LiveSource, check_sources, live_sources
from observer_core.runtime.telemetry.telemetry import Telemetry
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import Conflict, EpochMoved, InputError, RecordError
from observer_core.shared.records import Notification, Route, Snapshot
from observer_core.snapshot_engine.shards import shard_names, split
from observer_core.snapshot_engine.source import Collection
from observer_core.storage.recovery import OPERATIONS_DOMAIN

if TYPE_CHECKING:
    from observer_core.runtime.backups import Backups

STAGES: Final = ("collect-source", "push", "recognise", "publish", "decide", "route", "deliver")
_STAGE_OF: Final = {
    "snapshots": "recognise", "patterns": "recognise", "events": "publish", "decisions": "decide",
    "routes": "route",
}  # fmt: skip
_LEASE_NS: Final = 60 * SECOND
"""Of one delivery: half of it is worked, the other half is for a clock that is wrong."""
_PUT_OFF_NS: Final = 5 * SECOND
"""How long a hint is put off that another instance, or another version, has to work."""
_WITHHELD_NS: Final = 300 * SECOND
"""And one that may not be worked in safe mode."""
_TOO_LATE_NS: Final = 5 * SECOND
"""A moment that is longer ago, and an interval, is left to the next one."""
_STRANDED_NS: Final = 60 * SECOND
_FORGOTTEN_NS: Final = 60 * SECOND
_MAINTENANCE_SECONDS: Final = 240.0
_BACKUP_SECONDS: Final = 200.0
"""After so long a kept push's hint counts as lost."""
_PATIENCE_S: Final = 1.0
_LOGGED: Final = ("source", "domain", "subscription", "blob")
"""Of a hint, for the log."""
_log = structlog.get_logger("observer.functions")


def options(settings: Settings) -> EngineOptions:
    """A worker that has not seen a journal must have its state within a tenth of a second.

    Of what it wrote it keeps little in memory: the next hint may go to another instance.
    """
    return EngineOptions(
        max_lag_ns=settings.max_lag, state_entries=32, state_seconds=0.05, tail_bytes=64 * 1024
    )  # fmt: skip


class Handlers:
    """The stages of one process, for any thread; each stage is worked by one thread at a time."""

    def __init__(self, observer: Observer, sources: Mapping[str, LiveSource] | None = None) -> None:
        """`sources` stand in for the configured live ones."""
        self.observer = observer
        self.gate = Gate(observer.journals, observer.settings, observer.clock)
        self._prefix = observer.settings.queue_prefix
        if sources is None:
            sources = {live.name: live for live in live_sources(observer.settings)}
        self._sources = sources
        self._circuits = {name: Circuit(live) for name, live in sources.items()}
        self._bulkheads = {name: Bulkhead(live) for name, live in sources.items()}
        self._pushes = Pushes(observer)
        self.metrics = Metrics(observer, self.gate)
        self.telemetry = Telemetry(observer, self.metrics)
        self._lifecycle = Lifecycle(observer.journals, observer.clock, observer.settings.heartbeat)
        self._anchoring = Anchoring(observer.journals, observer.settings, observer.clock)
        retention = Retention(observer.journals, observer.settings, observer.clock)
        self._maintenance = Maintenance(
            observer.journals, observer.clock, observer.settings.maintenance, retention
        )
        self._asked: dict[str, int] = {}
        self._deliverers: dict[tuple[str, str], Deliverer] = {}
        self._deliver_until_ns: dict[tuple[str, str], int] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._moved_ns = self._refreshed_ns = 0
        self._placed = False
        self._safe_mode_said: bool | None = None

    @cached_property
    def _backups(self) -> Backups:
        from observer_core.runtime.backups import Backups

        observer = self.observer
        return Backups(observer.storage, observer.settings, observer.clock, observer.build)

    @cached_property
    def health(self) -> Health:
        return Health(self.observer, self.gate, process=False)

    @cached_property
    def heartbeat(self) -> Heartbeat:
        return Heartbeat(self.observer.settings.heartbeat, self.health, self.metrics.pinged)

    @property
    def stranded(self) -> bool:
        """Whether others have worked in a later epoch for so long that this process should begin anew."""
        return bool(self._moved_ns) and self.observer.clock.now_ns() - self._moved_ns >= _STRANDED_NS

    # ------------------------------------------------------------------ timers

    def collect(self) -> None:
        """One message for each source whose moment has come since the last call; missed ones are not made up.

        Moments are multiples of a source's interval. A process that does not know whether the newest one
        was asked for asks: `collect_source` does nothing twice.
        """
        now = self.observer.clock.now_ns()
        for name, live in self._sources.items():
            due = now - now % live.source.interval_ns
            if self._asked.get(name) != due:
                self._send("collect-source", {"source": name, "due_ns": due})
                self._asked[name] = due

    def clock(self) -> None:
        """The live domain's time has come this far, and so have publish and decide: that is committed.

        Every input is looked at: time must not pass over something that only a lost hint told of.
        """
        domain = self.observer.domain(LIVE)
        jump = self.observer.guards.clock.look()
        if jump is not None:
            _log.warning("the clock of this instance jumped", what=str(jump), by_ns=jump.by_ns)
        self._place_cursors()
        with self._of_epoch("clock"):
            try:
                ticks = domain.tick()
            except Conflict:  # another instance had the last tick, and this one did not know
                ticks = domain.tick()
            self._lifecycle.ticked(*ticks)
            if self.observer.clock.now_ns() - self._refreshed_ns >= self.observer.settings.max_lag:
                domain.refresh()
                self._refreshed_ns = self.observer.clock.now_ns()
                self._say_safe_mode()
            events = domain.publisher.journal
            before = events.head(refresh=False).seq
            published = self._pump(domain.publisher, _but_time(domain.publisher), flush=True)
            self._told(domain, "events", published)
            # What was committed just now stands as this process knows it.
            committed = events.head(refresh=False).seq > before
            current = {events.name} if committed else set()
            decided = self._pump(domain.decider, _but_time(domain.decider), current=current, flush=True)
            self._told(domain, "decisions", decided)
            if self.observer.settings.routing().groups() and domain.is_routed():
                # Only what is held back is due by time alone.
                self._route(domain, _but_time(domain.router), flush=True)
        self.heartbeat.look()  # last: whoever waits for it hears nothing when the clock fails

    def _say_safe_mode(self) -> None:
        """Records that safe mode begins or ends; asks the storage only when this process sees a change."""
        safe = self.observer.guards.safe_mode
        if safe != self._safe_mode_said:
            if record_safe_mode(self.observer.journals, self.observer.clock, safe):
                _log.warning("safe mode begins: nothing is acted on" if safe else "safe mode has ended")
            self._safe_mode_said = safe

    def sweep(self) -> None:
        """Hints again whatever lags (heads against their readers' checkpoints), and what was put off.

        Then all journals are anchored, where that is configured and due.
        """
        now = self.observer.clock.now_ns()
        for name, came_ns in self._pushes.kept():
            if now - came_ns >= _FORGOTTEN_NS:
                self._send("push", {"blob": name})
        for name in self.observer.journals.domains():
            if name == OPERATIONS_DOMAIN:
                continue
            for stage, hint in self._lagging(self.observer.domain(name)):
                _log.info("lags, hinted again", stage=stage, **hint)
                self._send(stage, hint)
        with self._alone("ledger"):
            self._anchoring.look()

    def maintain(self) -> None:
        """A round of maintenance, as far as it comes in the minutes that a function has."""
        self._maintenance.round(seconds=_MAINTENANCE_SECONDS)

    def backup(self) -> None:
        """A backup, where one is configured and due; what takes longer is gone on with the next time."""
        self._backups.look(seconds=_BACKUP_SECONDS)

    # ------------------------------------------------------------------ queues

    def collect_source(self, hint: bytes) -> None:
        """One snapshot for the due moment that the hint names, unless there is one already."""
        values = _read(hint, source=str, due_ns=int)
        name, due = values["source"], values["due_ns"]
        live = self._sources.get(name)
        if live is None:
            known = ", ".join(sorted(self._sources)) or "none"
            raise InputError(f"a hint names source {name!r}, which is not configured; there are: {known}")

        def is_due(newest: Snapshot | None) -> bool:
            if newest is None:
                return True
            covered = (newest.origin or {}).get("due_ns", newest.ingest_ns)
            return bool(covered < due)

        lock = self._alone(f"source {name}")
        if not lock.acquire(blocking=False):
            return  # it is being asked: a hanging source keeps one thread, not one a hint
        try:
            now = self.observer.clock.now_ns()
            if now - due > max(_TOO_LATE_NS, live.source.interval_ns):
                return  # a newer hint is under way
            with self._of_epoch("collect-source", values):
                self._collect(live, due, now, is_due)
        finally:
            lock.release()

    def push(self, hint: bytes) -> None:
        """Commits a push that was kept as a blob; one that never can be is put aside, with an alert."""
        name = _read(hint, blob=str)["blob"]
        if not name.startswith(KEPT):
            raise InputError(f"a hint names blob {name[:200]!r}; one under {KEPT!r} was expected")
        with self._of_epoch("push", {"blob": name}):
            try:
                taken = self._pushes.take_up(name)
            except InputError as error:
                _log.error("kept push refused", blob=name, error=str(error))
                self.poison("push", hint, message_id=name, dequeue_count=1)
                return
            if taken is not None:
                self._told_of(source_of(name))

    def recognise(self, hint: bytes) -> None:
        """Patterns of what the source's journal holds; a derived source's journal is first written on."""
        values = _read(hint, source=str)
        source = values["source"]
        domain = self.observer.domain(self.observer.domain_of(source))
        worker, deriver = domain.recogniser(source), domain.deriver(source)
        with self._of_epoch("recognise", values):
            if deriver is not None and self._pump(deriver, _but_time(deriver)):
                self._told_of(source, itself=False)
            if self._pump(worker, {f"snapshots.{source}"}):
                self._send("publish", {"domain": domain.name, "journal": worker.spec.output})

    def publish(self, hint: bytes) -> None:
        """Events of the domain's new patterns, of all its sources in one order."""
        values = _read(hint, domain=str)
        domain = self.observer.domain(values["domain"])
        worker = domain.publisher
        with self._of_epoch("publish", values):
            found = self._pump(worker, self._changed(domain, worker, values))
            self._told(domain, "events", found)

    def decide(self, hint: bytes) -> None:
        """Decisions from the domain's new events and commands."""
        values = _read(hint, domain=str)
        domain = self.observer.domain(values["domain"])
        worker = domain.decider
        with self._of_epoch("decide", values):
            found = self._pump(worker, self._changed(domain, worker, values))
            self._told(domain, "decisions", found)

    def route(self, hint: bytes) -> None:
        """Who is told of the domain's new events and decisions; each of them is hinted."""
        values = _read(hint, domain=str)
        domain = self.observer.domain(values["domain"])
        with self._of_epoch("route", values):
            self._route(domain, self._changed(domain, domain.router, values))

    def deliver(self, hint: bytes) -> None:
        """Brings one subscription up to date; what its sink has refused is tried again when that is due."""
        values = _read(hint, domain=str, subscription=str)
        domain, name = values["domain"], values["subscription"]
        if (domain, name) not in self._deliverers and name not in subscriptions(
            self.observer.journals, self.observer.settings, domain
        ):
            _log.warning("a hint names a subscription that is no more", domain=domain, subscription=name)
            return
        with self._of_epoch("deliver", values):
            try:
                self._deliver(values, domain, name)
            except Outdated:
                self._deliverers.pop((domain, name)).close()
                self._deliver(values, domain, name)

    def _deliver(self, values: Mapping[str, Any], domain: str, name: str) -> None:
        with self._delivery(domain, name, patience_s=_PATIENCE_S) as item:
            if item is not None and not item.lag():
                return
            if self.observer.guards.withheld():
                # Not lost, and looked at seldom: the sweep finds what lags once it is over.
                self._send("deliver", values, delay_ns=_WITHHELD_NS)
                return
            now = self.observer.clock.now_ns()
            until = now + _LEASE_NS
            if item is None or not item.journal.take_lease(self.observer.journals.worker, now, until):
                # Somebody else delivers it: two would send everything twice.
                self._send("deliver", values, delay_ns=_PUT_OFF_NS)
                return
            # A slow receiver of many records: the rest has a call, and a lease, of its own.
            self._deliver_until_ns[domain, name] = enough = now + _LEASE_NS // 2
            item.pump()
            again, now = item.retry_ns(), self.observer.clock.now_ns()
            # Given back: the next hint may come to somebody else, who need not wait for it.
            item.journal.take_lease(self.observer.journals.worker, now, now)
            if again is None and now >= enough:
                again = now
        if again is not None:
            self._send("deliver", values, delay_ns=max(SECOND, again - now))

    def poison(self, stage: str, body: bytes, *, message_id: str, dequeue_count: int) -> None:
        """Keeps a message that could not be worked, and raises the alert; redriven by an operator."""
        queue = self.queue(stage)
        letters = DeadLetters(self.observer.journals, self.observer.storage.queues, self.observer.clock)
        letter = letters.bury(queue, stage, body, message_id=message_id, dequeue_count=dequeue_count)
        _log.error("message could not be worked", queue=queue, message_id=message_id, letter=letter)
        self._send("publish", {"domain": LIVE, "journal": JOURNAL})

    def pushed(self, source: str) -> None:
        """Somebody has committed snapshots of `source`."""
        self._told_of(source)

    def asked(self, journal: str) -> None:
        """An operator has asked something of the stage that writes `journal`."""
        kind, _, name = journal.partition(".")
        stage = _STAGE_OF.get(kind)
        if stage is not None:
            self._send(stage, {"source" if stage == "recognise" else "domain": name})

    def put_off(self, blob: str) -> None:
        """Somebody has kept a push as a blob."""
        self._send("push", {"blob": blob})

    def queue(self, stage: str) -> str:
        """The name of a stage's queue."""
        return f"{self._prefix}-{stage}"

    # ------------------------------------------------------------------ how

    def _pump(
        self, worker: Worker[Any], refresh: Refresh, *, current: Set[str] = frozenset(), flush: bool = False
    ) -> int:
        with self._alone(worker.spec.output):
            return self.observer.pump(worker, refresh=refresh, current=current, flush=flush)

    def _alone(self, what: str) -> threading.Lock:
        """Threads of this process take turns at one thing; processes meet at its commit."""
        return self._locks.setdefault(what, threading.Lock())

    @contextmanager
    def _of_epoch(self, stage: str, hint: Mapping[str, Any] | None = None) -> Iterator[None]:
        """A worker that another version has overtaken hands its hint on: it may not work here any more.

        The log and the traces are told what the work inside is about.
        """
        told = {"stage": stage, **{name: (hint or {}).get(name) for name in _LOGGED}}
        tracing = self.observer.tracing
        with within(lambda: told), nullcontext() if tracing is None else tracing.scope(hint):
            try:
                yield
            except EpochMoved as moved:
                self._moved_ns = self._moved_ns or self.observer.clock.now_ns()
                _log.warning("another version has taken over", error=str(moved))
                if hint is not None:
                    self._send(stage, hint, delay_ns=_PUT_OFF_NS)

    def _deliverer(self, domain: str, subscription: str) -> Deliverer:
        item = self._deliverers.get((domain, subscription))
        if item is None:
            item = self._deliverers[domain, subscription] = deliverer(
                self.observer, subscription, domain,
                stopped=lambda: self.observer.clock.now_ns() >= self._deliver_until_ns[domain, subscription],
            )  # fmt: skip
        return item

    @contextmanager
    def _delivery(
        self, domain: str, subscription: str, *, patience_s: float = 0
    ) -> Iterator[Deliverer | None]:
        """The subscription's deliverer, for one thread at a time; None while another thread delivers.

        A receiver may take long to answer: neither timers nor a crowd of hints wait for it.
        """
        lock = self._alone(f"deliver {domain} {subscription}")
        if not lock.acquire(timeout=patience_s):
            yield None
            return
        try:
            yield self._deliverer(domain, subscription)
        finally:
            lock.release()

    def _place_cursors(self) -> None:
        """A subscription that starts "now" starts before the first thing that is to be delivered."""
        for item in () if self._placed else self.observer.settings.subscription:
            for domain in item.domains:
                with self._delivery(domain, item.name) as delivery:
                    if delivery is not None:  # whoever delivers has placed it
                        delivery.lag()
        self._placed = True

    def _changed(self, domain: Domain, worker: Worker[Any], hint: Mapping[str, Any]) -> Refresh:
        """The journal that the hint names, when the stage reads it; otherwise everything."""
        journal = hint.get("journal")
        if journal not in worker.spec.inputs():
            domain.refresh()
            return True
        return {str(journal)}

    def _collect(
        self, live: LiveSource, due_ns: int, now_ns: int, is_due: Callable[[Snapshot | None], bool]
    ) -> None:
        """Records one collection, shard by shard; the newest snapshot says how the circuit stands."""
        names = shard_names(live.name, live.shards)
        writers = {part: self.observer.writer(part, LIVE, "live", now_ns) for part in names}
        since_ns = due_ns - live.source.interval_ns
        newest = {part: writer.newest(since_ns) for part, writer in writers.items()}
        if not any(map(is_due, newest.values())):
            return
        circuit = self._circuits[live.name]
        circuit.recall(newest[names[0]])
        refused = circuit.refused(now_ns)
        collected = self._bulkheads[live.name].collect(now_ns) if refused is None else refused.collected
        ended_ns = self.observer.clock.now_ns()

        def judged(known: Snapshot | None) -> list[Collection]:
            """Of each shard; another instance may have met the source meanwhile."""
            circuit.recall(known)
            found = refused or circuit.judge(collected, now_ns, ended_ns)
            return split(replace(found, origin={**found.origin, "due_ns": due_ns}), live.shards)

        def again(known: Snapshot | None, number: int) -> Collection:
            return judged(known)[number]

        for number, part in enumerate(judged(newest[names[0]])):
            if is_due(newest[part.source]):
                writers[part.source].record(part, only_if=is_due, again=partial(again, number=number))
                self._told_of(part.source)

    def _told_of(self, source: str, *, itself: bool = True) -> None:
        """Hints who reads the snapshots of `source`: its recogniser, and the sources derived from it."""
        domain = self.observer.domain(self.observer.domain_of(source))
        for name in [source] * itself + domain.derived_from(source):
            self._send("recognise", {"source": name})

    def _told(self, domain: Domain, stream: str, count: int) -> None:
        """Hints who reads `stream`, if there is something new in it."""
        if not count:
            return
        if stream == "events":
            self._send("decide", {"domain": domain.name, "journal": f"events.{domain.name}"})
        if domain.is_routed():
            self._send("route", {"domain": domain.name, "journal": f"{stream}.{domain.name}"})

    def _route(self, domain: Domain, refresh: Refresh, *, flush: bool = False) -> None:
        routes = domain.router.journal
        before = routes.head(refresh=False).position
        if not self._pump(domain.router, refresh, flush=flush):
            return
        told: set[str] = set()
        for entry in routes.read(before):
            record = entry.record
            if isinstance(record, Route):
                told.update(record.to)
            elif isinstance(record, Notification):
                told.add(record.subscription)
        for name in sorted(told) if not self.observer.guards.withheld() else ():
            self._send("deliver", {"domain": domain.name, "subscription": name})

    def _lagging(self, domain: Domain) -> Iterator[tuple[str, dict[str, Any]]]:
        domain.refresh()
        name = domain.name
        for source in domain.sources():
            deriver = domain.deriver(source)
            if (deriver is not None and self._behind(deriver)) or self._behind(domain.recogniser(source)):
                yield "recognise", {"source": source}
        if self._behind(domain.publisher):
            yield "publish", {"domain": name}
        if self._behind(domain.decider):
            yield "decide", {"domain": name}
        if domain.is_routed() and self._behind(domain.router):
            yield "route", {"domain": name}
        if self.observer.guards.withheld():
            return
        for subscription in subscriptions(self.observer.journals, self.observer.settings, name):
            with self._delivery(name, subscription) as delivery:
                try:
                    lags = delivery is not None and delivery.lag() > 0
                except Outdated:
                    lags = True
            if lags:
                yield "deliver", {"domain": name, "subscription": subscription}

    def _behind(self, worker: Worker[Any]) -> bool:
        """Does an input hold what the stage has not committed, for longer than a lazy commit explains?

        A tick alone is no news: the clock comes round by itself.
        """
        done = worker.journal.checkpoints()
        late_ns = self.observer.clock.now_ns() - self.observer.settings.max_lag // 2
        for name in _but_time(worker):
            head = self.observer.journals.open(name).head()
            position = done.get(name, {"position": 0})["position"]
            if head.position > position and (not position or head.time_ns <= late_ns):
                return True
        return False

    def _send(self, stage: str, hint: Mapping[str, Any], *, delay_ns: int = 0) -> None:
        said = dict(hint)
        if self.observer.tracing is not None:
            self.observer.tracing.carry(said)
        self.observer.storage.queues.send(self.queue(stage), encode(said), delay_ns=delay_ns)


def _but_time(worker: Worker[Any]) -> set[str]:
    """All inputs but the clock, which this process has just moved."""
    return {name for name in worker.spec.inputs() if not name.startswith("clock.")}


def _read(hint: bytes, **expected: type) -> dict[str, Any]:
    """The hint's values; `InputError` says what was expected and what came."""
    try:
        value = decode(hint)
    except RecordError as error:
        raise InputError(f"a hint is not JSON: {error}") from None
    found = value if isinstance(value, dict) else {}
    for name, kind in expected.items():
        if type(found.get(name)) is not kind:
            raise InputError(
                f"a hint must be a JSON object with {name!r} ({kind.__name__}); found {hint[:200]!r}"
            )
    return found


_process: Handlers | None = None
_process_lock = threading.Lock()


def of_process() -> Handlers:
    """The handlers of this process, made at the first call: settings read, storage opened.

    Made anew when this process was stranded in an epoch that others have left.
    """
    global _process  # noqa: PLW0603 - one object graph a process is the point
    with _process_lock:
        if _process is None or _process.stranded:
            if _process is not None:
                _process.telemetry.stop()
            _process = _make()
        return _process


def _make() -> Handlers:
    settings = load()
    check_sources(settings)
    configure_for_host(settings.log.level)
    return Handlers(Observer.open(settings, options=options(settings)))
