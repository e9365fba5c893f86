"""One trace a snapshot, from its collection to the delivery of what was decided from it.

| span | begins a trace | made when |
|---|---|---|
| `collect SOURCE` | yes, with ids that follow from `snapshots.SOURCE@N` | a snapshot is committed |
| `derive`, `recognise`, `publish`, `decide`, `route` | | the stage made records, or had a snapshot at hand |
| `deliver SUBSCRIPTION` | | an attempt to deliver is committed |
| `ask KIND` | yes, in the same way | an operator's request is recorded by this process |
| `METHOD ROUTE`, `gate evaluation` | yes, linked to the caller's | an HTTP request, a question |

Spans of stages are children of the snapshot's that their records go back to (`origin`), or, in that same
trace, of the stage that told them of it: in one process by context, between processes by the `traceparent`
of a hint. What is made from nothing but time, or an operator's request, is a trace of that record.

There is a `Tracing` only where an exporter is set. A span is made after what it is about, so that it costs
nothing where there is nothing to tell; making or sending one never fails the work.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from observer_core.logs.redaction import redact_text
from observer_core.runtime.engine import Worker
from observer_core.runtime.gate.desk import Answered, Question
from observer_core.runtime.telemetry.commits import Committed
from observer_core.runtime.telemetry.origin import origin
from observer_core.shared.clock import SECOND
from observer_core.shared.ids import trace_of
from observer_core.shared.records import DeliveryResult, Note, Snapshot
from observer_core.shared.stage import Entry
from observer_core.storage.journals import Journals

Given = Callable[[int, int], AbstractContextManager[None]]
"""Inside, the next span that begins a trace gets this trace id and this span id."""
HINT: Final = "traceparent"
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_TRACES: Final = 16
"""Of one commit, or one turn of a stage, at most so many traces are told of: the newest, and those of which
something has come.
"""
_RECORDS: Final = 32
_SHORT: Final = 128
_TOLD: Final = ("snapshots", "commands", "results")
_LATE_NS: Final = 3600 * SECOND
"""A snapshot that is known for so long was not collected just now."""
_TAKEN: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_TAKEN: Final = TraceFlags(TraceFlags.DEFAULT)
_log = structlog.get_logger("observer.tracing")


class _Scope:
    """Some work, and the span that what happens next in it follows from."""

    __slots__ = ("span",)

    def __init__(self, span: SpanContext | None) -> None:
        self.span = span


_scope: ContextVar[_Scope | None] = ContextVar("observer_trace", default=None)
Left = Token[_Scope | None]


def _here() -> SpanContext | None:
    scope = _scope.get()
    return None if scope is None else scope.span


def _go_on(span: SpanContext) -> None:
    """What happens next follows from `span`, as long as the work lasts."""
    scope = _scope.get()
    if scope is not None:
        scope.span = span


def current_ids() -> Mapping[str, str]:
    """As a line of a log has it."""
    found = _here()
    if found is None:
        return {}
    return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}


def traceparent(text: object) -> SpanContext | None:
    """The W3C header; None when it is none."""
    match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) and len(text) <= 128 else None
    if match is None:
        return None
    trace, span, flags = (int(part, 16) for part in match.groups())
    found = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(flags))
    return found if found.is_valid else None


class Tracing:
    """Spans of one Observer. All methods may be called from any thread; none raises."""

    def __init__(
        self, tracer: Tracer, given: Given, takes: Callable[[int], bool], journals: Journals,
        stop: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`takes`: whether the trace of that id is one of those that are told of."""
        self._tracer, self._given, self._takes, self._journals = tracer, given, takes, journals
        self._untold: dict[str, tuple[int, int]] = {}
        """Of a journal's newest commit, the snapshots that were too many to be told of."""
        self.stop = stop

    # ------------------------------------------------------------------ the scope of some work

    @contextmanager
    def scope(self, hint: Mapping[str, Any] | None = None) -> Iterator[None]:
        """What follows from a hint, or from whatever is committed inside; nothing outlives it."""
        left = self.begin(hint)
        try:
            yield
        finally:
            self.end(left)

    def begin(self, hint: Mapping[str, Any] | None = None) -> Left:
        """`scope`, in two calls."""
        return _scope.set(_Scope(None if hint is None else traceparent(hint.get(HINT))))

    def end(self, left: Left) -> None:
        _scope.reset(left)

    def carry(self, hint: MutableMapping[str, Any]) -> None:
        """What the hint tells of follows from what happens now."""
        found = _here()
        if found is not None:
            flags = int(found.trace_flags)
            hint[HINT] = f"00-{found.trace_id:032x}-{found.span_id:016x}-{flags:02x}"

    def here(self) -> SpanContext | None:
        """The span that what happens now follows from."""
        return _here()

    # ------------------------------------------------------------------ what was done

    def committed(self, committed: Committed) -> None:
        """Snapshots, and what operators ask, begin traces; deliveries end them."""
        kind, _, name = committed.journal.partition(".")
        if kind not in _TOLD:
            return
        try:
            count = len(committed.records)
            first = committed.first + max(0, count - _TRACES)
            self._untold[committed.journal] = committed.first, first - 1
            for position, record in enumerate(committed.records[-_TRACES:], first):
                if isinstance(record, Snapshot):
                    self._collected(Entry(committed.journal, position, record), name, record)
                elif kind == "commands" and isinstance(record, Note):
                    self._asked(Entry(committed.journal, position, record), record)
                elif isinstance(record, DeliveryResult):
                    self._delivered(Entry(committed.journal, position, record), record)
        except Exception:  # whatever it is, what it was about is done
            _log.exception("a commit could not be traced", journal=committed.journal)

    def worked(self, worker: Worker[Any], seconds: float, result: int | Exception) -> None:
        """A stage had a turn of so many seconds, and made so many records, or failed."""
        here = _here()
        if result == 0 and (here is None or not _is_taken(here)):
            return
        stage = worker.spec.stage.name
        try:
            ended_ns = time.time_ns()
            started_ns = ended_ns - int(seconds * SECOND)
            if isinstance(result, Exception):
                self._span(stage, here, started_ns, ended_ns, _of(worker), error=result)
                return
            origins = self._origins(worker, result) if result else {}
            told: SpanContext | None = None
            for begun_by, count in origins.items():
                if stage == "recognise":
                    self._tell(begun_by)
                root = self._root(begun_by)
                parent = here if here is not None and here.trace_id == root.trace_id else root
                attributes = {**_of(worker), "observer.origin": begun_by, "observer.records": count}
                told = self._span(
                    stage, parent, started_ns, ended_ns, attributes,
                    begins=begun_by.startswith(f"{worker.spec.output}@"), root=root,
                    links=() if here is None or here.trace_id == root.trace_id else (Link(here),),
                )  # fmt: skip
            if not origins and here is not None:
                self._span(stage, here, started_ns, ended_ns, {**_of(worker), "observer.records": 0})
            elif told is not None:
                _go_on(told)  # the next stage, and whoever is hinted, follow from it
        except Exception:
            _log.exception("a stage could not be traced", stage=stage)

    def answered(
        self, question: Question, answered: Answered, seconds: float, parent: SpanContext | None
    ) -> None:
        """The gate has answered a question, which came so many seconds ago from within `parent`."""
        ended_ns, answer = time.time_ns(), answered.answer
        attributes = {
            "observer.domain": answer.domain, "observer.caller": question.caller[:_SHORT],
            "observer.action": question.action[:_SHORT], "observer.resource": question.resource[:_SHORT],
            "observer.decision": "allow" if answered.allowed else "deny",
            "observer.reasons": [str(reason.get("code", "")) for reason in answer.reasons][:_TRACES],
            **({} if answered.ref is None else {"observer.record": answered.ref}),
        }  # fmt: skip
        self._span("gate evaluation", parent, ended_ns - int(seconds * SECOND), ended_ns, attributes)

    def request(self, method: str, caller: SpanContext | None) -> Span:
        """An HTTP request, which ends its span itself; the caller's own trace is linked."""
        return self._tracer.start_span(
            method, context=Context(), kind=SpanKind.SERVER, links=() if caller is None else (Link(caller),)
        )

    def inside(self, span: Span) -> Left:
        """What happens now follows from `span`; until `end`."""
        return _scope.set(_Scope(span.get_span_context()))

    # ------------------------------------------------------------------ how

    def _root(self, begun_by: str) -> SpanContext:
        """The first span of the trace of a snapshot, or of another record that began one."""
        trace, span = (int(part, 16) for part in trace_of(begun_by))
        flags = _TAKEN if self._takes(trace) else _NOT_TAKEN
        return SpanContext(trace, span, is_remote=True, trace_flags=flags)

    def _tell(self, begun_by: str) -> None:
        """Something has come of a snapshot: now it is told of, if it was not."""
        name, _, position = begun_by.rpartition("@")
        first, last = self._untold.get(name, (1, 0))
        if name.startswith("snapshots.") and first <= int(position) <= last:
            entry = self._journals.open(name).read(int(position) - 1, 1)[0]
            if isinstance(entry.record, Snapshot):
                self._collected(entry, name.partition(".")[2], entry.record)

    def _collected(self, entry: Entry, source: str, snapshot: Snapshot) -> None:
        root = self._root(entry.ref)
        here = _here()
        _go_on(root)
        if not _is_taken(root):
            return
        now_ns, asked_ns = time.time_ns(), snapshot.ingest_ns
        # When a live source was asked; a recording was read now.
        started_ns = asked_ns if now_ns - _LATE_NS < asked_ns < now_ns else now_ns
        attributes = {
            "observer.source": source, "observer.journal": entry.journal, "observer.position": entry.position,
            "observer.subjects": len(snapshot.subjects), "observer.fields": len(snapshot.fields),
            "observer.status": snapshot.status,
        }  # fmt: skip
        links = () if here is None or here.trace_id == root.trace_id else (Link(here),)
        failed = None if snapshot.status != "unavailable" else snapshot.error or "it did not answer"
        self._span(
            f"collect {source}", root, started_ns, now_ns, attributes, begins=True, root=root, links=links,
            error=failed,
        )  # fmt: skip

    def _asked(self, entry: Entry, note: Note) -> None:
        now_ns, here, root = time.time_ns(), _here(), self._root(entry.ref)
        self._span(
            f"ask {note.kind}", root, now_ns, now_ns,
            {"observer.journal": entry.journal, "observer.position": entry.position},
            begins=True, root=root, links=() if here is None else (Link(here),),
        )  # fmt: skip

    def _delivered(self, entry: Entry, result: DeliveryResult) -> None:
        ended_ns = time.time_ns()
        begun_by = origin(self._journals, entry)
        attributes: dict[str, Any] = {
            "observer.subscription": result.subscription, "observer.record": result.ref,
            "observer.attempt": result.attempt, "observer.outcome": result.outcome,
            "observer.origin": begun_by,
        }  # fmt: skip
        if result.code is not None:
            attributes["observer.code"] = result.code
        failed = result.outcome in ("failed", "dropped")
        self._span(
            f"deliver {result.subscription}", self._root(begun_by), ended_ns - result.latency_ns, ended_ns,
            attributes, kind=SpanKind.PRODUCER, error=(result.detail or result.outcome) if failed else None,
        )  # fmt: skip

    def _origins(self, worker: Worker[Any], count: int) -> dict[str, int]:
        """What the newest records of a stage go back to, and how many of them to each."""
        journal = worker.journal
        last = journal.head(refresh=False).position
        found: dict[str, int] = {}
        for entry in journal.read(last - min(count, _RECORDS), min(count, _RECORDS)):
            if getattr(entry.record, "kind", "") in ("epoch", "snapshot"):
                continue  # a snapshot has a span of its own
            begun_by = origin(self._journals, entry)
            if begun_by in found or len(found) < _TRACES:
                found[begun_by] = found.get(begun_by, 0) + 1
        return found

    def _span(
        self, name: str, parent: SpanContext | None, started_ns: int, ended_ns: int,
        attributes: Mapping[str, Any], *, begins: bool = False, root: SpanContext | None = None,
        links: Sequence[Link] = (), kind: SpanKind = SpanKind.INTERNAL,
        error: Exception | str | None = None,
    ) -> SpanContext:  # fmt: skip
        """`begins`: a trace of its own, under the ids of `root`, where they are given."""
        above = root if begins else parent
        if above is not None and not _is_taken(above):
            return above
        options: dict[str, Any] = {
            "start_time": started_ns, "attributes": dict(attributes), "links": links, "kind": kind,
        }  # fmt: skip
        if begins and root is not None:
            with self._given(root.trace_id, root.span_id):
                span = self._tracer.start_span(name, context=Context(), **options)
        elif begins or parent is None:
            span = self._tracer.start_span(name, context=Context(), **options)
        else:
            context = set_span_in_context(NonRecordingSpan(parent), Context())
            span = self._tracer.start_span(name, context=context, **options)
        if error is not None:
            fail(span, error)
        span.end(end_time=max(started_ns, ended_ns))
        return span.get_span_context()


def fail(span: Span, error: Exception | str) -> None:
    """Says on `span` what went wrong; no secret, and no trace of the stack, which may hold one."""
    kind = type(error).__name__ if isinstance(error, Exception) else "failed"
    text = redact_text(str(error))[:500]
    span.set_attribute("error.type", kind)
    span.add_event("exception", {"exception.type": kind, "exception.message": text})
    span.set_status(Status(StatusCode.ERROR, text))


def _is_taken(span: SpanContext) -> bool:
    return int(span.trace_flags) & 1 == 1  # `sampled` takes ten times as long


def _of(worker: Worker[Any]) -> dict[str, Any]:
    where = worker.where()
    known = {"observer.journal": worker.spec.output, "observer.domain": worker.spec.domain}
    said = {"observer.source": where.get("source"), "observer.position": where.get("position")}
    return {**known, **{name: value for name, value in said.items() if value is not None}}
