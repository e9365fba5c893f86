"""How many requests may be under way: one more is told to come back. Probes are always answered, and who
may operate finds room to command the gate, however many others ask slowly or wait.
"""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from observer_core.web.problems import problem

MOST: Final = 160
KEPT_FREE: Final = 16
"""So many more may be, of those who command."""
_ALWAYS: Final = frozenset({"/livez", "/readyz"})
_COMMANDS: Final = "/v1/commands"


class Crowd:
    """ASGI middleware, behind the one that knows who calls.

    Waiting requests count too; their doors keep them fewer than `MOST`.
    """

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self._app, self._most = app, most
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most + (KEPT_FREE if _commands(scope) else 0):
            refused = problem(503, f"{self._under_way} requests are under way already", {"Retry-After": "1"})
            await refused(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1


def _commands(scope: Scope) -> bool:
    """Whether somebody who may commands the gate."""
    if scope["method"] != "POST" or scope["path"] != _COMMANDS:
        return False
    caller = scope.get("state", {}).get("caller")
    return caller is not None and "operate" in caller.scopes
