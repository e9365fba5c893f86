"""The same application behind the Functions host, and a health answer that anybody may see."""

from __future__ import annotations

import threading
import time
from typing import Any

import orjson
import structlog
from starlette.applications import Starlette

from observer_core.runtime.handlers import Handlers, of_process
from observer_core.runtime.health import MEDIA_TYPE
from observer_core.web.app import create_app

_KEPT_SECONDS = 5.0
_log = structlog.get_logger("observer.web")
_lock = threading.Lock()
_made: tuple[Handlers, Starlette] | None = None
_kept: tuple[float, tuple[int, bytes, str]] | None = None


def asgi() -> Starlette:
    """The application over this process' handlers. Who may call it, the host has decided already."""
    global _made  # noqa: PLW0603 - one application a process, as there is one object graph
    handlers = of_process()
    with _lock:
        if _made is None or _made[0] is not handlers:
            app = create_app(
                handlers.observer, health=handlers.health, metrics=handlers.metrics, gate=handlers.gate,
                push=handlers.pushed, loopback_only=False,
            )  # fmt: skip
            _made = handlers, app
        return _made[1]


def health_summary() -> tuple[int, bytes, str]:
    """Status code, body and media type: which checks pass, without what they saw; never raises.

    Kept for some seconds: anybody may ask, and each answer is read from the storage.
    """
    global _kept  # noqa: PLW0603
    with _lock:
        if _kept is None or time.monotonic() - _kept[0] > _KEPT_SECONDS:
            _kept = time.monotonic(), _summary()
        return _kept[1]


def _summary() -> tuple[int, bytes, str]:
    report: dict[str, Any]
    try:
        report = of_process().health.report()
    except Exception:
        _log.exception("the app cannot start")
        report = {"status": "fail", "checks": {}}
    checks = {
        name: [{"status": finding["status"]} for finding in findings]
        for name, findings in report["checks"].items()
    }
    body = orjson.dumps({"status": report["status"], "checks": checks})
    return (503 if report["status"] == "fail" else 200), body, MEDIA_TYPE
