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
from observer_core.web.app import create_app

Summary = tuple[int, bytes, str]
_KEPT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 2.0
_UNKNOWN: Final = {"status": "fail", "checks": {}}
_log = structlog.get_logger("observer.web")
_making = threading.Lock()
_made: tuple[Handlers, Starlette] | None = None
_summing = threading.Lock()
_kept: tuple[float, Summary] | None = None


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    """The application over this process' handlers. Who may call it, the host has decided already.

    The first request opens the storage, in a thread: queues and timers go on meanwhile.
    """
    app = await asyncio.to_thread(application)
    await app(scope, receive, send)


def application() -> Starlette:
    """The Starlette application, made at the first call and when the handlers were made anew."""
    global _made  # noqa: PLW0603 - one application a process, as there is one object graph
    handlers = of_process()
    with _making:
        if _made is None or _made[0] is not handlers:
            app = create_app(
                handlers.observer, health=handlers.health, metrics=handlers.metrics, gate=handlers.gate,
                push=handlers.pushed, put_off=handlers.put_off, loopback_only=False,
            )  # fmt: skip
            _made = handlers, app
        return _made[1]


def health_summary() -> Summary:
    """Status code, body and media type: which checks pass, without what they saw; never raises.

    Kept for some seconds: anybody may ask, and each answer is read from the storage. Who asks
    while a slow storage is being read hears soon that it is not known, which counts as failing.
    """
    global _kept  # noqa: PLW0603
    if not _summing.acquire(timeout=_PATIENCE_SECONDS):
        return _answer(_UNKNOWN)
    try:
        if _kept is None or time.monotonic() - _kept[0] > _KEPT_SECONDS:
            summary = _answer(_report())
            _kept = time.monotonic(), summary
        return _kept[1]
    finally:
        _summing.release()


def _report() -> dict[str, Any]:
    try:
        return of_process().health.report()
    except Exception:
        _log.exception("the app cannot start")
        return _UNKNOWN


def _answer(report: dict[str, Any]) -> Summary:
    checks = {
        name: [{"status": finding["status"]} for finding in findings]
        for name, findings in report["checks"].items()
    }
    body = orjson.dumps({"status": report["status"], "checks": checks})
    return (503 if report["status"] == "fail" else 200), body, MEDIA_TYPE
