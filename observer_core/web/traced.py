"""A span a request, where traces are sent somewhere. Paths and headers are not told: they may be secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from observer_core.runtime.telemetry.tracing import Tracing

_LEAST_FAILURE = 500


class Traced:
    """ASGI middleware. The trace of whoever calls (`traceparent`) is linked: it is not believed further."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app, self._tracing = app, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from observer_core.runtime.telemetry.tracing import fail, traceparent

        method = scope["method"] if scope["method"].isalpha() and len(scope["method"]) <= 10 else "_OTHER"
        span = self._tracing.request(method, traceparent(Headers(scope=scope).get("traceparent")))
        span.set_attribute("http.request.method", method)
        left = self._tracing.inside(span)

        async def send_told(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                span.set_attribute("http.response.status_code", status)
                if status >= _LEAST_FAILURE:
                    fail(span, f"status {status}")
            await send(message)

        try:
            await self._app(scope, receive, send_told)
        except Exception as error:
            fail(span, error)
            raise
        finally:
            self._tracing.end(left)
            if (route := _route(scope)) is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.end()


def _route(scope: Scope) -> str | None:
    found: Any = scope.get("route")
    path = getattr(found, "path", None)
    return path if isinstance(path, str) else None
