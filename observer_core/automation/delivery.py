"""Delivery: one subscriber's records, in order, at least once, each attempt recorded.

The cursor is a checkpoint of `results.<domain>-<subscription>` and moves in the
transaction that records the results. A crash between sending and committing sends
again with the same record id. A failing sink holds up its own stream and nothing else.

What a subscriber is given stands in `routes.<domain>`, from where on it was routed; what came before
that (it subscribed from the beginning, say) is taken from the stream itself, by its filters alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final, NamedTuple

from observer_core.automation.dead_letters import TO_SUBSCRIBER, DeadLetters
from observer_core.automation.sinks.backoff import delay_ns
from observer_core.automation.sinks.sink import Folding, Sink
from observer_core.event_bus.subscriptions import Position, Subscription, SubscriptionConfig, Time
from observer_core.safety.breaker import Breaker
from observer_core.safety.pace import Pace
from observer_core.shared.canonical import encode
from observer_core.shared.clock import Clock, format_time
from observer_core.shared.errors import Conflict, DeliveryError, InputError, ObserverError
from observer_core.shared.ids import derive
from observer_core.shared.records import (
    Decision,
    DeliveryResult,
    Event,
    Notification,
    Outcome,
    Record,
    Route,
)
from observer_core.shared.stage import Entry
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op
from observer_core.storage.rows import InputRange

CONTENT_TYPE = "application/cloudevents+json"
LIVE: Final = "live"
_BATCH = 500
_SENDS_PER_COMMIT = 20
_TOLD = 50
"""As many records of a notification are told; all are counted."""


_CLOSED: Final = Breaker()


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Everything in `journal` up to `position` is done; the next record failed `attempt` times: wait.

    `circuit` is how the sink fares, record after record.
    """

    journal: str
    position: int
    attempt: int = 0
    not_before_ns: int = 0
    circuit: Breaker = _CLOSED

    def to_json(self) -> Mapping[str, Any]:
        value: dict[str, Any] = {
            "position": self.position, "attempt": self.attempt, "not_before_ns": self.not_before_ns,
        }  # fmt: skip
        return value if self.circuit == _CLOSED else {**value, "circuit": self.circuit.to_json()}

    @staticmethod
    def of(journal: str, value: Mapping[str, Any]) -> _Cursor:
        return _Cursor(
            journal, value["position"], value["attempt"], value["not_before_ns"],
            Breaker.of(value.get("circuit")),
        )  # fmt: skip


class Outdated(ObserverError):
    """An operator has added the subscription anew: this deliverer is of the one before."""


class _Attempt(NamedTuple):
    """What came of one attempt.

    `alive`: the sink answered; `wait_ns`: what it asked for; `receipt`: its name for the message.
    """

    result: DeliveryResult
    alive: bool = True
    wait_ns: int = 0
    thread: str = ""
    receipt: str | None = None


class Deliverer:
    """Brings one subscription of one domain up to date. Without `routes` by its own filters alone."""

    def __init__(
        self,
        journals: Journals,
        config: SubscriptionConfig,
        domain: str,
        sink: Sink,
        clock: Clock,
        build: Build,
        *,
        routed: bool = False,
        letters: DeadLetters | None = None,
        stopped: Callable[[], bool] = lambda: False,
        withheld: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`withheld`: why nothing is to be sent now, if so; the cursor stays where it is."""
        self.name = config.name
        self.domain = domain
        self.stream = journals.open(f"{config.stream}.{domain}")
        self.routes = journals.open(f"routes.{domain}", domain) if routed else None
        self.journal = journals.open(f"results.{domain}-{config.name}", domain)
        self._config, self._subscription = config, Subscription(config)
        self._sink = sink
        self._clock = clock
        self._mine = Epoch("deliver", "2", config.canonical(), build)
        self._letters = letters
        self._stopped, self._withheld = stopped, withheld
        self._pace = None if config.max_rate is None else Pace(config.max_rate, sleep=self._pause)
        self._receipts: dict[str, str] = {}
        """Those that are not committed yet."""
        self._begun: int | None = None
        """Records of the stream up to here are not taken from what is routed; None: not known yet."""

    def pump(self) -> int:
        """Delivers what is due; gives the number of attempts made. Returns at the first failure."""
        attempts = 0
        while not self._stopped():
            cursor, journal, last = self._next()
            if self._clock.now_ns() < cursor.not_before_ns:
                return attempts
            behind = last - cursor.position
            if behind <= 0 or self._withheld():
                return attempts
            # No further than is stored: what this process knows beyond it may never be committed.
            entries = journal.read(cursor.position, min(_BATCH, behind))
            cursor, found = self._deliver(cursor, entries)
            attempts += len(found)
            self._commit(cursor, found)
            if cursor.attempt:
                return attempts
        return attempts

    def retry_ns(self) -> int | None:
        """When the record that a sink has refused is due again; None when nothing waits for that."""
        return self._next()[0].not_before_ns or None

    def lag(self) -> int:
        """Records that are there for this subscriber to get past: of its stream, or of what is routed."""
        cursor, _, last = self._next()
        return max(0, last - cursor.position)

    def replay(self, first: int, last: int, *, rate: float = 20.0) -> int:
        """Sends what matches in first..last again, marked as a replay; the cursor does not move.

        `rate`: records a second at most, whatever the subscription's own is.
        """
        self._must_not_be_withheld()
        found = []
        pace = Pace(rate, sleep=self._pause)
        for entry in self.stream.scan(first, last):
            record = entry.record
            if isinstance(record, Event | Decision) and not self._subscription.refusal(record):
                pace.wait()
                found.append(self._attempt(entry, 1, replay=True))
        if found:
            self._commit(None, found)
        return len(found)

    def again(self, ref: str) -> DeliveryResult:
        """Sends one record that had become a dead letter, and records what came of it."""
        self._must_not_be_withheld()
        name, _, position = ref.rpartition("@")
        journal = self.routes if self.routes is not None and name == self.routes.name else self.stream
        found = self._attempt(journal.entry(int(position)), self._config.max_attempts)
        self._commit(None, [found])
        return found.result

    def close(self) -> None:
        self._sink.close()

    def _must_not_be_withheld(self) -> None:
        why = self._withheld()
        if why:
            raise InputError(f"nothing is sent to {self.name} now: {why}")

    def _deliver(self, cursor: _Cursor, entries: list[Entry]) -> tuple[_Cursor, list[_Attempt]]:
        found: list[_Attempt] = []
        for entry in entries:
            given, circuit = self._given(entry, cursor.journal), cursor.circuit
            if given is not None:
                one = self._attempt(given, cursor.attempt + 1)
                found.append(one)
                if one.result.outcome == "failed":
                    return self._put_off(cursor, one), found
                circuit = _CLOSED if one.alive else self._failed(cursor, one)
            cursor = _Cursor(cursor.journal, entry.position, 0, circuit.until_ns, circuit)
            if circuit.state == "open":
                break
            if len(found) >= _SENDS_PER_COMMIT or self._stopped():
                break
        return cursor, found

    def _put_off(self, cursor: _Cursor, failed: _Attempt) -> _Cursor:
        """The same record again, when its attempts, the sink's failures and the sink itself allow it."""
        now, result = self._clock.now_ns(), failed.result
        circuit = self._failed(cursor, failed)
        wait_ns = max(delay_ns(result.record, result.attempt), failed.wait_ns, circuit.until_ns - now)
        return replace(cursor, attempt=result.attempt, not_before_ns=now + wait_ns, circuit=circuit)

    def _failed(self, cursor: _Cursor, failed: _Attempt) -> Breaker:
        now, config = self._clock.now_ns(), self._config.breaker
        jitter = int(derive("jitter", failed.result.record, str(failed.result.attempt))[:8], 16) / 2**32
        return cursor.circuit.at(now, config).failed(now, config, jitter)

    def _given(self, entry: Entry, journal: str) -> Entry | None:
        """What the subscriber is given for an entry of its stream or of what is routed, if anything."""
        record = entry.record
        if journal == self.stream.name:
            mine = isinstance(record, Event | Decision) and not self._subscription.refusal(record)
            return entry if mine else None
        if isinstance(record, Notification):
            return entry if record.subscription == self.name else None
        if not isinstance(record, Route) or self.name not in record.to:
            return None
        name, _, position = record.ref.rpartition("@")
        if name != self.stream.name or int(position) <= (self._begun or 0):
            return None
        return self.stream.entry(int(position))

    def _attempt(self, entry: Entry, attempt: int, *, replay: bool = False) -> _Attempt:
        record_id, body = self._body(entry)
        started = time.perf_counter_ns()
        code, detail, wait_ns, thread, receipt, alive = None, None, 0, "", None, True
        outcome: Outcome = "delivered"
        try:
            if not replay and self._is_old(entry):
                outcome = "expired"
            elif isinstance(self._sink, Folding) and self._sink.folds(body):
                outcome = "folded"
            elif not replay and self._sink.already_has(record_id):
                outcome = "already_delivered"
            else:
                if self._pace is not None:
                    self._pace.wait()
                if isinstance(self._sink, Folding):
                    thread = self._sink.thread_of(body)
                    earlier = self._receipt(thread) if thread else None
                    code, receipt = self._sink.send_in(body, replay=replay, earlier=earlier)
                    if receipt is not None:
                        self._receipts[thread] = receipt
                else:
                    code = self._sink.send(record_id, body, content_type=CONTENT_TYPE, replay=replay)
        except DeliveryError as error:
            code, detail, wait_ns, alive = error.code, str(error)[:300], error.wait_ns, not error.retry
            outcome = "failed" if error.retry and attempt < self._config.max_attempts else "dropped"
        result = DeliveryResult(
            subscription=self.name, record=record_id, ref=entry.ref, attempt=attempt, outcome=outcome,
            time_ns=self._clock.now_ns(), latency_ns=time.perf_counter_ns() - started,
            code=code, detail=detail, replay=replay,
        )  # fmt: skip
        if outcome == "dropped" and not replay:
            self._bury(entry, result)
        return _Attempt(result, alive, wait_ns, thread, receipt)

    def _is_old(self, entry: Entry) -> bool:
        """Live, by the clock; a recording's time is another."""
        limit = self._config.max_age
        return limit is not None and self.domain == LIVE and self._clock.now_ns() - entry.time_ns > limit

    def _receipt(self, thread: str) -> str | None:
        if thread in self._receipts:
            return self._receipts[thread]
        known = self.journal.views().get(f"thread.{thread}")
        return None if known is None else str(known["receipt"])

    def _bury(self, entry: Entry, result: DeliveryResult) -> None:
        """A record that is given up is a dead letter, once; the news of a dead letter becomes none itself."""
        record = entry.record
        if self._letters is None or (isinstance(record, Event) and record.type.endswith(".dead_letter")):
            return
        body = {"domain": self.domain, "subscription": self.name, "ref": entry.ref, "detail": result.detail}
        self._letters.bury(
            f"{TO_SUBSCRIBER}{self.name}", "deliver", encode(body), message_id=f"{self.domain} {entry.ref}",
            dequeue_count=result.attempt,
        )  # fmt: skip

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _body(self, entry: Entry) -> tuple[str, bytes]:
        if not isinstance(entry.record, Notification):
            return cloudevent(entry, self.domain)
        refs = (ref.rpartition("@")[2] for ref in entry.record.refs)
        told = [self.stream.entry(int(position)) for position in islice(refs, _TOLD)]
        return notification(entry.record, told, self.domain)

    def _next(self) -> tuple[_Cursor, Journal, int]:
        """Where to go on, in which journal, and up to where."""
        if self.routes is None:
            return self._cursor(self.stream, self._start), self.stream, self.stream.head().position
        view = self.routes.views().get("subscriptions", {}).get(self.name)
        if view is not None and view["config"] not in (None, self._config.canonical()):
            raise Outdated(f"subscription {self.name} was added anew with another configuration")
        if self._begun is None:
            own = self._cursor(self.stream, self._start)
            since = 0 if view is None else view["since"].get(self._config.stream, 0)
            if view is None or view["paused"]:
                return own, self.stream, own.position  # it is not routed yet, or is not to be told
            if own.position < since:
                return own, self.stream, min(since, self.stream.head().position)
            self._begun = own.position
        at_ns = 0 if view is None else view["since"].get("time_ns", 0)
        routed = self._cursor(self.routes, lambda: self._routed_from(at_ns))
        silent = view is None or view["paused"]
        return routed, self.routes, routed.position if silent else self.routes.head().position

    def _routed_from(self, time_ns: int) -> int:
        assert self.routes is not None
        return self.routes.position_at(time_ns - 1)

    def _cursor(self, journal: Journal, start: Callable[[], int]) -> _Cursor:
        known = self.journal.checkpoint(journal.name)
        return _Cursor.of(journal.name, known) if known is not None else _Cursor(journal.name, start())

    def _start(self) -> int:
        start = self._config.start
        if isinstance(start, Position):
            return start.position - 1
        if isinstance(start, Time):
            return self.stream.position_at(start.time - 1)
        position = 0 if start == "beginning" else self.stream.head().position
        self._commit(_Cursor(self.stream.name, position), [])
        return position

    def _commit(self, cursor: _Cursor | None, found: list[_Attempt]) -> None:
        while True:
            head = self.journal.head()
            before = None if cursor is None else self.journal.checkpoint(cursor.journal)
            epoch = self._mine.number(self.journal, head)
            records: list[Record] = []
            results = [one.result for one in found]
            rows: list[Op] = [
                self.journal.view_op(f"thread.{one.thread}", {"receipt": one.receipt})
                for one in {one.thread: one for one in found if one.receipt is not None}.values()
            ]
            now = max(head.time_ns, self._clock.now_ns())
            if epoch is None:
                note, row = self._mine.opening(head, results[0].time_ns if results else now)
                records.append(note)
                rows.append(row)
            # The clock of an earlier process may have been ahead of ours.
            records += [replace(result, time_ns=max(head.time_ns, result.time_ns)) for result in results]
            moved: list[InputRange] = []
            if cursor is not None and before is not None:
                if cursor.position < before["position"]:
                    cursor = None  # a twin is ahead: it does not go back
                elif cursor.position > before["position"]:
                    moved = [InputRange(cursor.journal, before["position"] + 1, cursor.position)]
            try:
                self.journal.commit(
                    head,
                    Commit(
                        records=records, inputs=moved, through_ns=now, epoch=epoch or head.epoch + 1,
                        checkpoints={} if cursor is None else {cursor.journal: cursor.to_json()},
                        extra=rows,
                    ),
                )  # fmt: skip
                self._receipts.clear()
                return
            except Conflict:
                # A twin delivers the same subscription: its results stand, ours are added.
                continue


def cloudevent(entry: Entry, domain: str) -> tuple[str, bytes]:
    """The id and CloudEvents 1.0 JSON of an event, or of a decision as an event."""
    record: Any = entry.record
    if isinstance(record, Event):
        return record.id, encode(record.cloudevent())
    assert isinstance(record, Decision)
    data = {name: getattr(record, name) for name in record.__slots__ if name not in ("id", "epoch")}
    return record.id, encode(
        {"specversion": "1.0", "id": record.id, "source": f"/qts/observer/{domain}",
         "type": f"io.qts.observer.decision.{record.verdict}", "subject": record.scope,
         "time": format_time(record.time_ns), "datacontenttype": "application/json", "data": data,
         "partitionkey": record.scope, "sequence": f"{entry.position:020d}",
         "causationid": record.causation[0] if record.causation else "",
         "severitytext": record.severity, "epoch": record.epoch}
    )  # fmt: skip


def notification(record: Notification, told: list[Entry], domain: str) -> tuple[str, bytes]:
    """The id and CloudEvents 1.0 JSON of records that are told together; `told` are the first of them."""
    shown = []
    for entry in told:
        one: Any = entry.record
        event = isinstance(one, Event)
        shown.append({
            "id": one.id, "ref": entry.ref, "time": format_time(one.time_ns),
            "type": one.type if event else f"io.qts.observer.decision.{one.verdict}",
            "subject": one.subject if event else one.scope,
            "severitytext": one.severitytext if event else one.severity,
        })  # fmt: skip
    data = {
        "group": dict(record.group), "count": record.count, "first": format_time(record.first_ns),
        "severity": record.severity, "records": shown,
    }  # fmt: skip
    return record.id, encode(
        {"specversion": "1.0", "id": record.id, "source": f"/qts/observer/{domain}",
         "type": "io.qts.observer.notification", "subject": "/".join(record.group.values()) or domain,
         "time": format_time(record.time_ns), "datacontenttype": "application/json", "data": data,
         "partitionkey": record.subscription, "severitytext": record.severity, "epoch": record.epoch}
    )  # fmt: skip
