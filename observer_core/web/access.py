"""Who calls, as it was proved, and what he may do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from starlette.requests import Request

from observer_core.web.problems import Problem

Scope = Literal["read", "push", "operate", "admin"]
Proof = Literal["loopback", "token", "function_key", "easy_auth"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`principal`: who it was proved to be (None: nobody asked for proof); `name`: what to call him."""

    name: str | None
    principal: str | None
    scopes: frozenset[Scope]
    proof: Proof


def caller_of(request: Request) -> Caller:
    """Who makes this request."""
    found: Caller = request.state.caller
    return found


def needs(scope: Scope) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """A dependency: 403 unless the caller has `scope`."""

    async def check(request: Request) -> None:
        caller = caller_of(request)
        if scope not in caller.scopes:
            have = ", ".join(sorted(caller.scopes)) or "none"
            raise Problem(403, f"this needs the scope {scope}; the scopes of this caller are: {have}")

    return check
