"""Delivery: one subscriber's records, in order, at least once, each attempt recorded.

The cursor is the checkpoint of `results.<domain>-<subscription>` and moves in the
transaction that records the results. A crash between sending and committing sends
again with the same record id. A failing sink holds up its own stream and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from observer_core.automation.sinks.backoff import delay_ns
from observer_core.automation.sinks.sink import Sink
from observer_core.event_bus.subscriptions import Position, Subscription, Time
from observer_core.shared.canonical import encode
from observer_core.shared.clock import Clock, format_time
from observer_core.shared.errors import Conflict, DeliveryError
from observer_core.shared.records import Decision, DeliveryResult, Event, Record
from observer_core.shared.stage import Entry
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op
from observer_core.storage.rows import InputRange

CONTENT_TYPE = "application/cloudevents+json"
_BATCH = 500
_SENDS_PER_COMMIT = 20


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Everything up to `position` is done; the next record has failed `attempt` times, wait until then."""

    position: int
    attempt: int = 0
    not_before_ns: int = 0

    def to_json(self) -> Mapping[str, int]:
        return {
            "position": self.position,
            "attempt": self.attempt,
            "not_before_ns": self.not_before_ns,
        }


class Deliverer:
    """Brings one subscription of one domain up to date."""

    def __init__(
        self,
        journals: Journals,
        subscription: Subscription,
        domain: str,
        sink: Sink,
        clock: Clock,
        build: Build,
        *,
        max_attempts: int = 12,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        config = subscription.config
        self.name = config.name
        self.domain = domain
        self.stream = journals.open(f"{config.stream}.{domain}")
        self.journal = journals.open(f"results.{domain}-{config.name}", domain)
        self._subscription = subscription
        self._sink = sink
        self._clock = clock
        self._mine = Epoch("deliver", "1", config.canonical(), build)
        self._max_attempts = max_attempts
        self._stopped = stopped

    def pump(self) -> int:
        """Delivers what is due; gives the number of attempts made. Returns at the first failure."""
        attempts = 0
        while not self._stopped():
            cursor = self._cursor()
            if self._clock.now_ns() < cursor.not_before_ns:
                return attempts
            behind = self.stream.head().position - cursor.position
            if behind <= 0:
                return attempts
            # No further than is stored: what this process knows beyond it may never be committed.
            entries = self.stream.read(cursor.position, min(_BATCH, behind))
            cursor, results = self._deliver(cursor, entries)
            attempts += len(results)
            self._commit(cursor, results)
            if cursor.attempt:
                return attempts
        return attempts

    def retry_ns(self) -> int | None:
        """When the record that a sink has refused is due again; None when nothing waits for that."""
        return self._cursor().not_before_ns or None

    def lag(self) -> int:
        """Records of the stream that this subscriber has not got past yet."""
        return max(0, self.stream.head().position - self._cursor().position)

    def replay(self, first: int, last: int) -> int:
        """Sends what matches in first..last again, marked as a replay; the cursor does not move."""
        results = []
        for entry in self.stream.scan(first, last):
            record = entry.record
            if isinstance(record, Event | Decision) and self._subscription.matches(record):
                results.append(self._attempt(entry, 1, replay=True))
        if results:
            self._commit(None, results)
        return len(results)

    def close(self) -> None:
        self._sink.close()

    def _deliver(self, cursor: _Cursor, entries: list[Entry]) -> tuple[_Cursor, list[DeliveryResult]]:
        results: list[DeliveryResult] = []
        for entry in entries:
            record = entry.record
            if isinstance(record, Event | Decision) and self._subscription.matches(record):
                result = self._attempt(entry, cursor.attempt + 1)
                results.append(result)
                if result.outcome == "failed":
                    wait = delay_ns(result.record, result.attempt)
                    return _Cursor(cursor.position, result.attempt, self._clock.now_ns() + wait), results
            cursor = _Cursor(entry.position)
            if len(results) >= _SENDS_PER_COMMIT or self._stopped():
                break
        return cursor, results

    def _attempt(self, entry: Entry, attempt: int, *, replay: bool = False) -> DeliveryResult:
        record_id, body = cloudevent(entry, self.domain)
        started = time.perf_counter_ns()
        code, detail, outcome = None, None, "delivered"
        try:
            if not replay and self._sink.already_has(record_id):
                outcome = "already_delivered"
            else:
                code = self._sink.send(record_id, body, content_type=CONTENT_TYPE, replay=replay)
        except DeliveryError as error:
            code, detail = error.code, str(error)[:300]
            outcome = "failed" if error.retry and attempt < self._max_attempts else "dropped"
        return DeliveryResult(
            subscription=self.name, record=record_id, ref=entry.ref, attempt=attempt,
            outcome=outcome,  # type: ignore[arg-type]
            time_ns=self._clock.now_ns(), latency_ns=time.perf_counter_ns() - started,
            code=code, detail=detail, replay=replay,
        )  # fmt: skip

    def _cursor(self) -> _Cursor:
        known = self.journal.checkpoint(self.stream.name)
        return _Cursor(**known) if known is not None else _Cursor(self._start())

    def _start(self) -> int:
        start = self._subscription.config.start
        if isinstance(start, Position):
            return start.position - 1
        if isinstance(start, Time):
            return self.stream.position_at(start.time - 1)
        position = 0 if start == "beginning" else self.stream.head().position
        self._commit(_Cursor(position), [])
        return position

    def _commit(self, cursor: _Cursor | None, results: list[DeliveryResult]) -> None:
        while True:
            head = self.journal.head()
            before = self.journal.checkpoint(self.stream.name)
            epoch = self._mine.number(self.journal, head)
            records: list[Record] = []
            rows: list[Op] = []
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
                    moved = [InputRange(self.stream.name, before["position"] + 1, cursor.position)]
            try:
                self.journal.commit(
                    head,
                    Commit(
                        records=records, inputs=moved, through_ns=now, epoch=epoch or head.epoch + 1,
                        checkpoints={} if cursor is None else {self.stream.name: cursor.to_json()},
                        extra=rows,
                    ),
                )  # fmt: skip
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
