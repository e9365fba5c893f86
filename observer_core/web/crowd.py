"""How many requests may be under way: one more is told to come back, while probes are always answered."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from observer_core.web.problems import problem

MOST: Final = 160
_ALWAYS: Final = frozenset({"/livez", "/readyz"})


class Crowd:
    """ASGI middleware. Waiting requests count too; their doors keep them fewer than `MOST`."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self._app, self._most = app, most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            refused = problem(503, f"{self._most} requests are under way already", {"Retry-After": "1"})
            await refused(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1
