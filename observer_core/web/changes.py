"""GET /v1/changes: blocks and their ends as they come (long poll), for clients that keep allows.

Without `after` it answers at once with what stands. With it, as soon as something changed after that
cursor, or when `wait` is over. A waiting request holds no thread.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BeforeValidator, Field
from starlette.responses import Response

from observer_core.runtime.gate.changes import Changes
from observer_core.runtime.gate.views import LIVE
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer
from observer_core.web.etags import NOT_KEPT
from observer_core.web.problems import Problem
from observer_core.web.waiting import Wait, Waiting


class ChangeDoor:
    """`read` does blocking work in a thread; `near`: whether the stages run in this process."""

    def __init__(
        self, changes: Changes, domains: Callable[[], list[str]], read: Callable[[Callable[[], Any]], Any],
        *, near: bool,
    ) -> None:  # fmt: skip
        self._changes, self._domains, self._read = changes, domains, read
        self._waiting = Waiting("changes", near=near)

    async def ask(self, domain: str, after: int | None, wait: float) -> dict[str, Any]:
        known = await self._read(self._domains)
        if domain not in known:
            raise Problem(404, f"there is no domain {domain!r}; known are {', '.join(known) or 'none yet'}")
        if after is None:
            standing: dict[str, Any] = await self._read(partial(self._changes.standing, domain))
            return standing
        with self._waiting.one():
            return await self._wait(domain, after, wait)

    async def _wait(self, domain: str, after: int, wait: float) -> dict[str, Any]:
        async def look(found: dict[str, Any] | None) -> dict[str, Any]:
            start = after if found is None else found["after"]
            since: dict[str, Any] = await self._read(partial(self._changes.since, domain, start))
            return since

        return await self._waiting.until(
            look,
            lambda found: bool(found["changes"] or found["reset"]),
            lambda found: self._changes.position(domain) > found["after"],
            wait,
        )


def _cursor(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) <= 18):
        raise Problem(400, f"after is {text[:50]!r}; the cursor of an earlier answer was expected")
    return int(text)


_After = Annotated[
    Annotated[int, Field(ge=0, lt=10**18), BeforeValidator(_cursor)] | None,
    Query(description="`after` of an earlier answer"),
]


def router(context: Context) -> APIRouter:
    """/v1/changes."""
    routes = APIRouter(tags=["gate"])
    near = context.observer.settings.storage.kind == "local"
    door = ChangeDoor(Changes(context.journals), context.gate.domains, context.read, near=near)

    @routes.get(
        "/v1/changes", response_model=models.Standing | models.Changed, dependencies=[Depends(needs("read"))]
    )
    async def changes(domain: str = LIVE, after: _After = None, wait: Wait = 25.0) -> Response:
        """Blocks and their ends as they come.

        Without `after`: what stands now. With it: as soon as something has changed after that cursor, or
        when `wait` is over.
        """
        return answer(await door.ask(domain, after, wait), headers=NOT_KEPT)

    return routes
