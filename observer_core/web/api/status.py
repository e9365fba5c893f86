"""Where everything stands: asked once a second by every page that is open."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

import observer_core
from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.reading.board import Gates
from observer_core.runtime.reading.status import States, shown
from observer_core.shared.clock import format_time
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer
from observer_core.web.api.kept import Kept

REFRESH_MS: Final = {"standalone": 1_000, "functions": 5_000}
_KEPT_S: Final = {"standalone": 0.0, "functions": 2.5}
"""On an account every answer costs operations: those who ask within moments share one."""
_HEALTH_S: Final = {"standalone": 5.0, "functions": 30.0}


def router(context: Context) -> APIRouter:
    """/v1/status and /v1/sources."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])
    states = States(context.journals, context.observer.settings, context.gate, context.desk.views)
    gates, kept = Gates(), Kept[Json](_KEPT_S[context.runtime])
    seconds = _HEALTH_S[context.runtime]
    health = Kept[Json](seconds, grace=3 * seconds)

    def now() -> Json:
        now_ns = context.observer.clock.now_ns()
        domains = [state.to_json(gates) for state in states.read(configured=True)]
        return {
            "version": observer_core.__version__, "time": format_time(now_ns), "now_ns": now_ns,
            "runtime": context.runtime, "refresh_ms": REFRESH_MS[context.runtime], "domains": domains,
            "safe_mode": context.observer.guards.safe_mode,
        }  # fmt: skip

    @routes.get("/v1/status", response_model=models.Status)
    async def status() -> Response:
        """Where everything stands: every domain's sources, stages, gate, risk, and what is open.

        Cheap: to be asked every `refresh_ms`. What moved since the last answer is in `positions`. `health`
        is that of `/v1/health`, some seconds old.
        """
        report = await health.get(lambda: context.read(context.health.report))
        found = await kept.get(lambda: context.read(now))
        worst = report["status"] if context.health.live() else "fail"
        return answer({**found, "health": worst})

    def sources_of(domain: str | None) -> Json:
        found = states.read(configured=True)
        known = [state.view.name for state in found]
        if domain is not None and domain not in known:
            raise Unknown(f"there is no domain {domain!r}; known are {', '.join(known) or 'none yet'}")
        items = [
            shown(source)
            for state in found
            if domain in (None, state.view.name)
            for source in state.sources
        ]  # fmt: skip
        return {"items": items, "next": None}

    @routes.get("/v1/sources", response_model=models.Page[models.SourceStatus])
    async def sources(
        domain: Annotated[str | None, Query(max_length=80, description="only this domain; else all")] = None,
    ) -> Response:
        """Every source's feed: does it answer, how old is it, who is silent in it.

        Those that are configured and have never given data are listed too, as unknown.
        """
        return answer(await named(context.read(partial(sources_of, domain))))

    return routes
