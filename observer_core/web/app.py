"""The ASGI application on the port. Blocking work has threads of its own; the event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Final, Literal

from fastapi import Depends, FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.middleware import Middleware
from starlette_compress import CompressMiddleware, add_compress_type, remove_compress_type

import observer_core
from observer_core.runtime.audit.permits import Permits
from observer_core.runtime.gate.desk import GateDesk
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.web import changes, evaluation, openapi, pages
from observer_core.web import push as pushing
from observer_core.web.api import (
    acts,
    board,
    dead_letters,
    ledger,
    logs,
    policies,
    records,
    standing,
    status,
    storage,
    whoami,
)
from observer_core.web.api import gate as gate_resource
from observer_core.web.api import health as health_resource
from observer_core.web.api import series as series_resource
from observer_core.web.api.context import READERS, SEARCHERS, Context
from observer_core.web.bodies import BoundedBodies
from observer_core.web.crowd import Crowd
from observer_core.web.entrance import entrance
from observer_core.web.etags import CodedTags, Etags
from observer_core.web.heads import Heads
from observer_core.web.problems import HANDLERS
from observer_core.web.push import PushDoor
from observer_core.web.queries import Queries
from observer_core.web.traced import Traced

_RESOURCES: Final[tuple[ModuleType, ...]] = (
    evaluation,
    gate_resource,
    changes,
    health_resource,
    whoami,
    acts,
    dead_letters,
    records,
    series_resource,
    status,
    board,
    standing,
    policies,
    ledger,
    storage,
    logs,
)
"""Each has `router(context)`; those that are asked most come first."""
_NONE: Final[TelemetryConfig] = {
    "tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False,
}  # fmt: skip
"""FastAPI's own telemetry would send out bodies, and read the environment."""
_LEAST_COMPRESSED: Final = 1_024

add_compress_type("application/problem+json")
add_compress_type("application/health+json")
remove_compress_type("text/event-stream")  # each event is to go out when it comes


def create_app(
    observer: Observer,
    *,
    health: Health,
    metrics: Metrics,
    gate: Gate,
    push: Callable[[str], None] | None = None,
    put_off: Callable[[str], None] | None = None,
    asked: Callable[[str], None] = lambda journal: None,
    runtime: Literal["standalone", "functions"] = "standalone",
) -> FastAPI:
    """The application. `push` is told the name of a source that has just been pushed to.

    `put_off`: large pushes are kept as blobs, and it is told their names. `asked` is told the journal of
    a stage that an operator has just asked something of.
    """
    permits = Permits.of(observer.settings, observer.journals)
    desk = GateDesk(observer, gate, None if permits is None else permits.permit_for)
    desk.watch = metrics.asked
    readers, searchers = ThreadPoolExecutor(READERS, "web"), ThreadPoolExecutor(SEARCHERS, "web search")
    context = Context(observer, gate, desk, health, metrics, runtime, readers, searchers, asked)
    door = PushDoor(observer, metrics, push, put_off)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.to_thread(desk.stop)
            for threads in (readers, searchers):
                threads.shutdown(wait=False, cancel_futures=True)
            door.close()

    app = FastAPI(
        title="QTS Observer",
        version=observer_core.__version__,
        openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False,
        middleware=[
            *([] if observer.tracing is None else [Middleware(Traced, tracing=observer.tracing)]),
            *entrance(observer, metrics, runtime),
            Middleware(Crowd),
            Middleware(Heads),
            Middleware(CodedTags),
            Middleware(CompressMiddleware, minimum_size=_LEAST_COMPRESSED),
            Middleware(Etags),
            Middleware(BoundedBodies),
        ],
        exception_handlers=HANDLERS,
        dependencies=[Depends(Queries())],
        generate_unique_id_function=openapi.operation_id,
        telemetry=_NONE,
        lifespan=lifespan,
    )  # fmt: skip
    for resource in _RESOURCES:
        app.include_router(resource.router(context))
    app.include_router(pushing.router(door))
    app.include_router(pages.router(context, app))
    return app
