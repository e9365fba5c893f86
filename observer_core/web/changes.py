"""GET /v1/changes: blocks and their ends as they come (long poll), for clients that keep allows.

Without `after` it answers at once with what stands. With it, as soon as something changed after that
cursor, or when `wait` is over. A waiting request holds no thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from observer_core.runtime.gate.changes import Changes
from observer_core.web.problems import Problem

MAX_WAIT_S: Final = 55.0
MAX_WAITING: Final = 32
_NEAR_S: Final = 0.02
"""How often what this process knows is looked at, where its stages run; asks nothing of the storage."""
_LOOK_S: Final = 1.0
"""How often the storage is asked what others have committed."""


class ChangeDoor:
    """`read` does blocking work in a thread; `near`: whether the stages run in this process."""

    def __init__(
        self, changes: Changes, domains: Callable[[], list[str]], read: Callable[[Callable[[], Any]], Any],
        *, near: bool,
    ) -> None:  # fmt: skip
        self._changes, self._domains, self._read, self._near = changes, domains, read, near
        self._waiting = 0

    async def __call__(self, request: Request) -> Response:
        domain, after, wait = _asked(request)
        known = await self._read(self._domains)
        if domain not in known:
            raise Problem(404, f"there is no domain {domain!r}; known are {', '.join(known) or 'none yet'}")
        if after is None:
            return _json(await self._read(partial(self._changes.standing, domain)))
        if self._waiting >= MAX_WAITING:
            raise Problem(503, f"{MAX_WAITING} clients wait for changes already", {"Retry-After": "1"})
        self._waiting += 1
        try:
            return _json(await self._wait(domain, after, wait))
        finally:
            self._waiting -= 1

    async def _wait(self, domain: str, after: int, wait: float) -> dict[str, Any]:
        end = time.monotonic() + wait
        found: dict[str, Any] = await self._read(partial(self._changes.since, domain, after))
        looked = time.monotonic()
        while not found["changes"] and not found["reset"] and (now := time.monotonic()) < end:
            # Also before a look at what has moved: it may be a group that is not committed yet.
            await asyncio.sleep(min(_NEAR_S if self._near else _LOOK_S, end - now))
            moved = self._near and self._changes.position(domain) > found["after"]
            if moved or time.monotonic() - looked >= _LOOK_S:
                found = await self._read(partial(self._changes.since, domain, found["after"]))
                looked = time.monotonic()
        return found


def _asked(request: Request) -> tuple[str, int | None, float]:
    query = request.query_params
    for name in query:
        if name not in ("domain", "after", "wait"):
            raise Problem(400, f"parameter {name!r} is unknown; there are domain, after and wait")
        if len(query.getlist(name)) > 1:
            raise Problem(400, f"parameter {name} is given more than once")
    after = query.get("after")
    if after is not None and not (after.isdecimal() and after.isascii() and len(after) <= 18):
        raise Problem(400, f"after is {after[:50]!r}; the cursor of an earlier answer was expected")
    try:
        wait = float(query.get("wait", "25"))
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= MAX_WAIT_S:
        raise Problem(400, f"wait is {query['wait'][:50]!r}; 0 to {MAX_WAIT_S:g} seconds were expected")
    return query.get("domain", "live"), None if after is None else int(after), wait


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
