"""The ASGI application on the port. Blocking work has threads of its own; the event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import observer_core
from observer_core.decision_pipeline.gate import Answer, GateAnswer
from observer_core.runtime import metrics as prometheus
from observer_core.runtime.audit.permits import Permits
from observer_core.runtime.gate.changes import Changes
from observer_core.runtime.gate.desk import GateDesk, Question
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import MEDIA_TYPE as HEALTH
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import fault
from observer_core.web.changes import ChangeDoor
from observer_core.web.evaluation import EvaluationDoor
from observer_core.web.guard import Guard, is_loopback
from observer_core.web.problems import HANDLERS, Problem
from observer_core.web.push import PushDoor

T = TypeVar("T")
_READERS: Final = 4
_PUSHES: Final = 2
_ANYBODY: Final = "anonymous"
_ENDPOINTS: Final = {
    "GET /health": "how the Observer is, as application/health+json; 503 when it fails",
    "GET /livez": "200 while the loop turns",
    "GET /readyz": "200 once the Observer works",
    "GET /metrics": "metrics in Prometheus' text format",
    "GET /v1/gate/{subject}?domain=&at=&on_unknown=": "may this subject be acted on, now or at a moment",
    "POST /v1/evaluation": "may a caller do something with an instrument; AuthZEN 1.0, recorded",
    "POST /v1/evaluations": "several of them",
    "GET /v1/changes?domain=&after=&wait=": "blocks and their ends as they come",
    "POST /v1/snapshots/{source}?atomic=": "observations for a source of kind push, JSON or NDJSON",
}


def create_app(
    observer: Observer,
    *,
    health: Health,
    metrics: Metrics,
    gate: Gate,
    push: Callable[[str], None] | None = None,
    put_off: Callable[[str], None] | None = None,
    loopback_only: bool | None = None,
) -> Starlette:
    """The application. `push` is told the name of a source that has just been pushed to.

    `put_off`: large pushes are kept as blobs, and it is told their names.
    `loopback_only`: refuse requests that name another host; by default when it listens to this one.
    """
    endpoints = _Endpoints(observer, health, metrics, gate, PushDoor(observer, metrics, push, put_off))
    evaluation = EvaluationDoor(endpoints.desk)
    if loopback_only is None:
        loopback_only = is_loopback(observer.settings.web.host)
    return Starlette(
        routes=[
            Route("/", endpoints.index),
            Route("/health", endpoints.health),
            Route("/livez", endpoints.livez),
            Route("/readyz", endpoints.readyz),
            Route("/metrics", endpoints.metrics),
            Route("/v1/gate/{subject:path}", endpoints.gate),
            Route("/v1/evaluation", evaluation.evaluation, methods=["POST"]),
            Route("/v1/evaluations", evaluation.evaluations, methods=["POST"]),
            Route("/access/v1/evaluation", evaluation.evaluation, methods=["POST"]),
            Route("/access/v1/evaluations", evaluation.evaluations, methods=["POST"]),
            Route("/v1/changes", endpoints.changes),
            Route("/v1/snapshots/{source}", endpoints.push, methods=["POST"]),
        ],
        middleware=[Middleware(Guard, loopback_only=loopback_only)],
        exception_handlers=HANDLERS,
        lifespan=endpoints.lifespan,
    )


class _Endpoints:
    """The storage keeps a connection a thread, so the threads are few and stay."""

    def __init__(
        self, observer: Observer, health: Health, metrics: Metrics, gate: Gate,
        door: PushDoor,
    ) -> None:  # fmt: skip
        self._health, self._metrics, self._gate = health, metrics, gate
        self._door = door
        permits = Permits.of(observer.settings, observer.journals)
        self.desk = GateDesk(observer, gate, None if permits is None else permits.permit_for)
        local = observer.settings.storage.kind == "local"
        self._changes = ChangeDoor(Changes(observer.journals), gate.domains, self._read, near=local)
        self._readers = ThreadPoolExecutor(_READERS, "web")
        self._pushes = ThreadPoolExecutor(_PUSHES, "push")
        # Bodies are held in memory from the first byte to the commit: only so many at a time.
        self._bodies = asyncio.Semaphore(2 * _PUSHES)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(self.desk.stop)
            self._readers.shutdown(wait=False, cancel_futures=True)
            self._pushes.shutdown(wait=False, cancel_futures=True)

    async def index(self, _: Request) -> Response:
        body = {"name": "QTS Observer", "version": observer_core.__version__, "endpoints": _ENDPOINTS}
        return _json(body)

    async def health(self, _: Request) -> Response:
        report = await self._read(self._health.report)
        return _json(report, 503 if report["status"] == "fail" else 200, HEALTH)

    async def livez(self, _: Request) -> Response:
        return _yes_or_no(self._health.live(), "live", "the loop has not come round for too long")

    async def readyz(self, _: Request) -> Response:
        return _yes_or_no(self._health.ready(), "ready", "starting: the loop has not come round yet")

    async def metrics(self, _: Request) -> Response:
        return Response(await self._read(self._metrics.render), media_type=prometheus.CONTENT_TYPE)

    async def gate(self, request: Request) -> Response:
        """Now: recorded before it is answered, as any evaluation. At a moment: computed again."""
        subject, options = _gate_question(request)
        if options["at_ns"] is not None:
            return _json((await self._read(partial(self._answer, subject, options))).to_json())
        question = Question(
            caller=_ANYBODY, caller_type=_ANYBODY, action="check", resource=subject, intent=False,
            resource_type="subject", domain=options["domain"], on_unknown=options["on_unknown"],
        )  # fmt: skip
        try:
            answered = await asyncio.wrap_future(self.desk.ask(question))
        except InputError as error:
            raise Problem(404, str(error)) from None
        return _json({**answered.answer.to_json(), "id": answered.ref})

    async def changes(self, request: Request) -> Response:
        return await self._changes(request)

    async def push(self, request: Request) -> Response:
        async with self._bodies:
            push = await self._door.read(request)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pushes, self._door.take, push)

    def _answer(self, subject: str, options: dict[str, Any]) -> GateAnswer:
        try:
            return self._gate.check(subject, **options)
        except InputError as error:
            raise Problem(404, str(error)) from None

    async def _read(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, work)


def _gate_question(request: Request) -> tuple[str, dict[str, Any]]:
    """The subject and the options of `Gate.check`; `Problem` 400 for what is not understood."""
    subject = request.path_params["subject"]
    if problem := fault(subject):
        raise Problem(400, f"the subject {problem}")
    query = request.query_params
    for name, value in query.multi_items():
        if name not in ("domain", "at", "on_unknown"):
            raise Problem(400, f"parameter {name!r} is unknown; there are domain, at and on_unknown")
        if len(query.getlist(name)) > 1:
            raise Problem(400, f"parameter {name} is given more than once")
        if not value:
            raise Problem(400, f"parameter {name} is empty; give it a value or leave it out")
    on_unknown = query.get("on_unknown", "deny")
    if on_unknown not in ("allow", "deny"):
        raise Problem(400, f"on_unknown is {on_unknown!r}; allow or deny was expected")
    at_ns = _moment(query["at"]) if "at" in query else None
    return subject, {
        "domain": query.get("domain"), "at_ns": at_ns, "on_unknown": cast("Answer", on_unknown),
    }  # fmt: skip


def _moment(text: str) -> int:
    try:
        ns = parse_time(text)
    except InputError as error:
        hint = "; in a URL a + is written %2B" if " " in text else ""
        raise Problem(400, f"at: {error}{hint}") from None
    if not 0 <= ns < 2**63:
        raise Problem(400, f"at: {text!r} is outside the years 1970 to 2261")
    return ns


def _yes_or_no(yes: bool, word: str, otherwise: str) -> Response:
    return PlainTextResponse(f"{word}\n" if yes else f"not {word}: {otherwise}\n", 200 if yes else 503)


def _json(value: Any, status: int = 200, media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(value), status, media_type=media_type)
