"""The same application behind the Functions host, and a health answer that anybody may see.

A worker process has one event loop, which every invocation passes through, and few threads:
nothing here waits in the loop, and no crowd of callers waits in the threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Final

import orjson
import structlog
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from observer_core.runtime.handlers import Handlers, of_process
from observer_core.runtime.health import MEDIA_TYPE
from observer_core.web.access import KEY_SHOWN
from observer_core.web.api.health import summary
from observer_core.web.app import create_app

Summary = tuple[int, bytes, str]
_KEPT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 2.0
_UNKNOWN: Final[dict[str, Any]] = {"status": "fail", "checks": {}}
_OF_THE_WORKER: Final = "storage:writable"
_KEY_HEADER: Final = b"x-functions-key"
_KEY_PARAMETER: Final = b"code"
_log = structlog.get_logger("observer.web")
_making = threading.Lock()
_made: tuple[Handlers, Starlette] | None = None
_summing = threading.Lock()
_kept: tuple[float, dict[str, Any]] | None = None


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """The application over this process' handlers, for who has shown the host a key.

    The first request opens the storage, in a thread: queues and timers go on meanwhile.
    """
    app = await asyncio.to_thread(application)
    await app({**_without_key(scope), KEY_SHOWN: True}, receive, send)


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    """The same for anybody: it answers what is open to all, and no more."""
    app = await asyncio.to_thread(application)
    await app(_without_key(scope), receive, send)


def _without_key(scope: Scope) -> dict[str, Any]:
    """The request without the host's key, which is nothing to the application."""
    if scope["type"] != "http":
        return {**scope}
    pairs = scope.get("query_string", b"").split(b"&")
    kept = [pair for pair in pairs if pair.partition(b"=")[0].lower() != _KEY_PARAMETER]
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != _KEY_HEADER]
    return {**scope, "query_string": b"&".join(kept), "headers": headers, KEY_SHOWN: False}


def application() -> Starlette:
    """The Starlette application, made at the first call and when the handlers were made anew."""
    global _made  # noqa: PLW0603 - one application a process, as there is one object graph
    handlers = of_process()
    with _making:
        if _made is None or _made[0] is not handlers:
            app = create_app(
                handlers.observer, health=handlers.health, metrics=handlers.metrics, gate=handlers.gate,
                push=handlers.pushed, put_off=handlers.put_off, asked=handlers.asked, runtime="functions",
            )  # fmt: skip
            _made = handlers, app
        return _made[1]


def health_summary() -> Summary:
    """Status code, body and media type: which checks pass, without what they saw; never raises."""
    found = _summary()
    return (503 if found["status"] == "fail" else 200), orjson.dumps(found), MEDIA_TYPE


def ready_summary() -> Summary:
    """The same of this worker alone: whether it can work, whatever its sources and the other workers do."""
    checks = _summary()["checks"].get(_OF_THE_WORKER, [])
    works = bool(checks) and all(finding["status"] == "pass" for finding in checks)
    found = {"status": "pass" if works else "fail", "checks": {_OF_THE_WORKER: checks}}
    return (200 if works else 503), orjson.dumps(found), MEDIA_TYPE


def _summary() -> dict[str, Any]:
    """Kept for some seconds: anybody may ask, and each answer is read from the storage.

    Who asks while a slow storage is being read hears soon that it is not known, which counts as failing.
    """
    global _kept  # noqa: PLW0603
    if not _summing.acquire(timeout=_PATIENCE_SECONDS):
        return _UNKNOWN
    try:
        if _kept is None or time.monotonic() - _kept[0] > _KEPT_SECONDS:
            found = summary(_report())
            _kept = time.monotonic(), found
        return _kept[1]
    finally:
        _summing.release()


def _report() -> dict[str, Any]:
    try:
        return of_process().health.report()
    except Exception:
        _log.exception("the app cannot start")
        return _UNKNOWN
