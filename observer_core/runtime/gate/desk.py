"""Where callers ask the gate: nobody is answered before the answer is recorded.

One thread takes all questions that wait, decides them in order from one picture of the views and
commits them together (group commit). What cannot be read, decided or recorded in time is denied with
`not_recorded`; so is a question too many: the queue is bounded, and nothing waits in it for long.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Final

import structlog

from observer_core.decision_pipeline.gate import (
    Answer,
    GateAnswer,
    GateInputs,
    GateRequest,
    denied,
    evaluate,
)
from observer_core.decision_pipeline.intents import KEPT, IntentRules, Reference, Sent, check
from observer_core.runtime.gate.guarded import after_jump, in_safe_mode
from observer_core.runtime.gate.journal import GateJournal, Missed, journal_name
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.gate.views import LIVE, DomainView, Views
from observer_core.runtime.observer import Observer
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import Conflict, InputError, ObserverError, RecordError
from observer_core.shared.ids import ref
from observer_core.shared.records import Evaluation, Json

WAITING: Final = 1_000
"""Questions that may wait; one more is denied."""
TOGETHER: Final = 200
"""Questions that are committed in one transaction at most."""
PATIENCE_S: Final = 1.0
"""A question that has waited longer is denied: who asked has given up."""
CONTEXT_BYTES: Final = 2048
"""A larger context is recorded as its hash, and what the checks use of it."""
_KEPT_CHARACTERS: Final = 64
_TRIES: Final = 10
_LOCAL_AGE_NS: Final = SECOND // 200
_REMOTE_AGE_NS: Final = SECOND
_NOTHING: Final = GateInputs(sources=(), stages=())
Permit = Callable[[str, Evaluation], str]
Told = Callable[["Answered", float], None]
_log = structlog.get_logger("observer.gate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May `caller` do `action` with `resource`? `intent`: whether it is one, so that intent checks apply,
    and no recording is asked unless `domain` names it.

    `on_unknown` is the caller's as configured where it is not given.
    """

    caller: str
    action: str
    resource: str
    caller_type: str = "strategy"
    resource_type: str = "instrument"
    context: Mapping[str, Any] = field(default_factory=dict)
    domain: str | None = None
    on_unknown: Answer | None = None
    request_id: str | None = None
    intent: bool = True


@dataclass(frozen=True, slots=True)
class Answered:
    """`ref` is the record of the answer, None where there is none; `now_ns` the moment it is about.

    `permit` is the receipt of an allow, where receipts are given.
    """

    answer: GateAnswer
    now_ns: int
    ref: str | None
    permit: str | None = None

    @property
    def allowed(self) -> bool:
        return self.answer.decision == "allow" and self.ref is not None


@dataclass(slots=True)
class _Waiting:
    question: Question
    future: Future[Answered]
    since: float
    context: Mapping[str, Any]
    digest: str | None
    """What is kept of its context."""
    told: Told | None


class GateDesk:
    """Answers questions one after the other. `ask` from any thread; the thread starts at the first one.

    `permit` gives the receipt of a recorded allow.
    """

    def __init__(self, observer: Observer, gate: Gate, permit: Permit | None = None) -> None:
        self._permit = permit
        self._observer, settings = observer, observer.settings
        self._rules = IntentRules(settings.caller, settings.intent)
        self._on_unknown: dict[str, Answer] = {item.name: item.on_unknown for item in settings.caller}
        age_ns = settings.gate.views_age
        if age_ns is None:
            age_ns = _LOCAL_AGE_NS if settings.storage.kind == "local" else _REMOTE_AGE_NS
        self._views = Views(gate, observer.journals, observer.clock, age_ns)
        observer.guards.memory.droppable(self._views.let_go)
        self._journals: dict[str, GateJournal] = {}
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = self._failing = False
        self._missed: dict[str, Missed] = {}
        self._configured = {item.domain for item in settings.source}
        self._home = LIVE
        """Whose records tell of what could not be decided in any domain."""
        self.watch: Callable[[Question], Told] | None = None
        """Asked at each question, in its thread, for who is told of the answer and of the seconds it took."""

    @property
    def views(self) -> Views:
        """What is answered from: for all who want to know how things stand."""
        return self._views

    def ask(self, question: Question) -> Future[Answered]:
        """The answer, soon. `InputError` in it for a domain that there is none of, and for a context that
        cannot be recorded: alone, before others share a commit with it.
        """
        future: Future[Answered] = Future()
        try:
            context, digest = _context(question.context)
        except RecordError as error:
            text = f"the context cannot be recorded ({error}); plain JSON that is nested less was expected"
            future.set_exception(InputError(text))
            return future
        told = None if self.watch is None else self.watch(question)
        waiting = _Waiting(question, future, time.monotonic(), context, digest, told)
        why = None
        with self._lock:
            if self._stopped:
                why = "it is being stopped"
            elif self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gate", daemon=True)
                self._thread.start()
            if why is None:
                try:
                    self._queue.put_nowait(waiting)
                except queue.Full:
                    why = f"{WAITING} questions are waiting already"
        if why is not None:
            _set(waiting, self._refusal(question, why))
        return future

    def stop(self) -> None:
        """What waits is answered; then nothing is allowed any more. Safe to repeat."""
        with self._lock:
            self._stopped, thread = True, self._thread
        if thread is not None and thread.is_alive():
            self._queue.put(None)
            thread.join(5)

    # ------------------------------------------------------------------ the thread

    def _work(self) -> None:
        while True:
            batch, last = self._next()
            live = [item for item in batch if item.future.set_running_or_notify_cancel()]
            late = time.monotonic() - PATIENCE_S
            self._refuse(
                [item for item in live if item.since < late], f"it waited longer than {PATIENCE_S:g} s"
            )
            live = [item for item in live if item.since >= late]
            try:
                self._answer(live)
            except Exception as error:  # whatever it is: it must not be an allow, nor end the thread
                _log.exception("the gate failed; it denies")
                self._refuse(live, f"{type(error).__name__} while it was decided")
            if last:
                return

    def _next(self) -> tuple[list[_Waiting], bool]:
        """All that wait, at least one; and whether it is time to end."""
        found: list[_Waiting] = []
        item = self._queue.get()
        while item is not None:
            found.append(item)
            if len(found) >= TOGETHER:
                return found, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return found, False
        return found, True

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        if not batch:
            return
        full = self._observer.guards.short_of_space()
        if full is not None:  # many answers would take what is left to close the gate with
            self._refuse(batch, full)
            return
        try:
            picture = self._views.current()
        except ObserverError as error:
            self._refuse(batch, f"the views cannot be read: {type(error).__name__}")
            return
        self._home = next(iter(picture.domains), self._home)
        domains: dict[str, list[_Waiting]] = {}
        for item in batch:
            asked = item.question
            name = asked.domain or picture.domain_of(asked.resource, live=asked.intent)
            if name in picture.domains or name in self._configured or asked.domain is None:
                domains.setdefault(name, []).append(item)
            else:
                there = ", ".join(sorted({*picture.domains, *self._configured})) or "none yet"
                unknown = InputError(f"there is no domain {name!r}; known are {there}")
                item.future.set_exception(unknown)
        for name, items in domains.items():
            self._answer_in(name, items)

    def _answer_in(self, domain: str, items: Sequence[_Waiting]) -> None:
        missed = self._take_missed(domain)
        error: ObserverError | None = None
        for _ in range(_TRIES):
            try:
                view = self._views.current().domains.get(domain)
                now_ns = self._views.now_ns(view)
                journal = self._journal(domain)
                sent, time_ns = journal.bring_forward(now_ns)
                decided = [self._decide(item, domain, view, sent, now_ns, time_ns) for item in items]
                first = journal.commit([record for _, record in decided], missed)
            except ObserverError as failure:
                self._forget(domain)
                error = failure
                if not isinstance(failure, Conflict):
                    break
            except BaseException:
                self._forget(domain)
                self._put_back(domain, missed)
                raise
            else:
                self._tell(domain, items, decided, now_ns, first)
                return
        self._put_back(domain, missed)
        self._refuse(items, f"it could not be written: {type(error).__name__}", str(error))

    def _tell(
        self, domain: str, items: Sequence[_Waiting], decided: Sequence[tuple[GateAnswer, Evaluation]],
        now_ns: int, first: int,
    ) -> None:  # fmt: skip
        late = time.monotonic() - PATIENCE_S
        for position, (item, (answer, record)) in enumerate(zip(items, decided), first):
            if record.verdict == "allow" and item.since < late:  # much may have changed since
                self._refuse([item], f"to record it took longer than {PATIENCE_S:g} s")
                continue
            place = ref(journal_name(domain), position)
            _set(item, Answered(answer, now_ns, place, self._receipt(place, record)))
        if self._failing:
            self._failing = False
            _log.info("the gate records again", domain=domain)

    def _decide(
        self, item: _Waiting, domain: str, view: DomainView | None, sent: Sent, now_ns: int, time_ns: int
    ) -> tuple[GateAnswer, Evaluation]:
        question = item.question
        on_unknown = question.on_unknown or self._on_unknown.get(question.caller, "deny")
        request = GateRequest(question.resource, now_ns, domain, on_unknown)
        answer = evaluate(request, _NOTHING if view is None else view.inputs)
        reference: Reference | None = None
        rules = self._rules.of(question.caller, question.resource, question.action) if question.intent else ()
        if rules:
            if view is not None and any(rule.needs_reference for rule in rules):
                fields = self._observer.settings.gate.reference
                reference = self._views.reference(view, question.resource, fields, now_ns)
                if reference is not None:
                    answer = _resting_on(answer, reference, now_ns)
            answer = denied(
                answer,
                check(
                    rules, question.caller, question.resource, question.action, question.context, reference,
                    sent, time_ns,
                ),
            )  # fmt: skip
        guards = self._observer.guards
        answer = after_jump(answer, guards.clock.newest(), now_ns)
        if guards.safe_mode:
            answer = in_safe_mode(answer)
        record = Evaluation(
            verdict="allow" if answer.decision == "allow" else "non_execution",
            caller=question.caller, caller_type=question.caller_type, action=question.action,
            resource=question.resource, resource_type=question.resource_type, context=item.context,
            context_sha256=item.digest, reasons=answer.reasons,
            rests={} if view is None else view.rests(question.resource), risk=answer.risk,
            as_of_ns=answer.as_of_ns, valid_until_ns=answer.valid_until_ns,
            reference=None if reference is None else reference.to_json(),
            request_id=question.request_id, time_ns=time_ns,
        )  # fmt: skip
        sent.apply(record)
        return answer, record

    def _receipt(self, place: str, record: Evaluation) -> str | None:
        """None for a denial; and where it cannot be given, which changes no answer."""
        if self._permit is None or record.verdict != "allow":
            return None
        try:
            return self._permit(place, record)
        except Exception as error:  # whatever it is: it is recorded, and is to be told
            _log.error("no receipt for an allow", ref=place, error=f"{type(error).__name__}: {error}"[:300])
            return None

    def _journal(self, domain: str) -> GateJournal:
        journal = self._journals.get(domain)
        if journal is None:
            observer = self._observer
            journal = self._journals[domain] = GateJournal(
                observer.journals, domain, self._rules, observer.settings, observer.build
            )
        return journal

    def _forget(self, domain: str) -> None:
        if domain in self._journals:
            self._journals[domain].forget()

    # ------------------------------------------------------------------ what was not recorded

    def _refuse(self, items: Sequence[_Waiting], why: str, detail: str = "") -> None:
        """Denies all that nobody has been told the answer of."""
        waiting = [item for item in items if not item.future.done()]
        if waiting and not self._failing:
            self._failing = True
            _log.error("the gate cannot record; it denies", why=why, error=detail[:300])
        for item in waiting:
            _set(item, self._refusal(item.question, why))

    def _refusal(self, question: Question, why: str) -> Answered:
        """A denial that rests on nothing and is in no journal; the next record says that there was one."""
        now_ns = self._observer.clock.now_ns()
        domain = question.domain if question.domain in self._journals else self._home
        with self._lock:
            missed = self._missed.get(domain)
            if missed is None:
                self._missed[domain] = Missed(1, now_ns, now_ns, why)
            else:
                self._missed[domain] = replace(missed, count=missed.count + 1, last_ns=now_ns)
        reason: Json = {"code": "not_recorded", "text": f"the gate denies what it cannot record: {why}"}
        answer = GateAnswer(
            subject=question.resource, domain=question.domain or domain, decision="deny", reasons=(reason,),
            as_of_ns=None, valid_until_ns=now_ns, risk=None,
        )  # fmt: skip
        return Answered(answer, now_ns, None)

    def _take_missed(self, domain: str) -> Missed | None:
        with self._lock:
            return self._missed.pop(domain, None)

    def _put_back(self, domain: str, missed: Missed | None) -> None:
        if missed is not None:
            with self._lock:
                newer = self._missed.get(domain)
                self._missed[domain] = missed if newer is None else missed.and_then(newer)


def _set(item: _Waiting, answered: Answered) -> None:
    item.future.set_result(answered)
    if item.told is not None:
        try:
            item.told(answered, time.monotonic() - item.since)
        except Exception:  # whoever listens: the next question must be answered
            _log.exception("an answer could not be told of")


def _resting_on(answer: GateAnswer, price: Reference, now_ns: int) -> GateAnswer:
    """The answer is as old as the price that it is held against too, and valid no longer than that is."""
    as_of_ns = price.time_ns if answer.as_of_ns is None else min(answer.as_of_ns, price.time_ns)
    until_ns = max(now_ns, min(answer.valid_until_ns, price.until_ns))
    return replace(answer, as_of_ns=as_of_ns, valid_until_ns=until_ns)


def _context(context: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
    """What is kept of a context, and the hash of the whole where that is not all of it."""
    if not context:
        return {}, None
    data = encode([dict(context)])[1:-1]  # as deep as it will stand in the record
    if len(data) <= CONTEXT_BYTES:
        return context, None
    kept = {name: context[name] for name in KEPT if isinstance(context.get(name), int | float | str)}
    small = {name: value for name, value in kept.items() if len(str(value)) <= _KEPT_CHARACTERS}
    return small, hashlib.sha256(data).hexdigest()
