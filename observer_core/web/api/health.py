"""How the Observer is: for probes, for Prometheus, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from observer_core.runtime import metrics as prometheus
from observer_core.runtime.health import MEDIA_TYPE
from observer_core.web.access import caller_of, needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer


class _HealthResponse(Response):
    media_type = MEDIA_TYPE


class _Metrics(Response):
    media_type = prometheus.CONTENT_TYPE


_HEALTH: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": models.HealthReport, "description": "It works; `warn` names what needs a look."},
    503: {"model": models.HealthReport, "description": "It fails."},
}
_NOT: Final[dict[int | str, dict[str, Any]]] = {
    503: {"description": "Not so.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


def router(context: Context) -> APIRouter:
    """/health and /v1/health, /livez, /readyz, /metrics."""
    routes = APIRouter(tags=["health"])

    async def reported(request: Request, *, failing: int) -> Response:
        report = await context.read(context.health.report)
        seen = report if "read" in caller_of(request).scopes else summary(report)
        return answer(seen, failing if report["status"] == "fail" else 200, MEDIA_TYPE)

    @routes.get("/health", responses=_HEALTH, response_class=_HealthResponse)
    async def health(request: Request) -> Response:
        """How the Observer is; 503 when it fails.

        Anybody sees the statuses here; who may read, what was measured too.
        """
        return await reported(request, failing=503)

    @routes.get(
        "/v1/health", responses=_HEALTH, response_class=_HealthResponse, dependencies=[Depends(needs("read"))]
    )
    async def health_in_full(
        request: Request,
        shown: Annotated[bool, Query(description="200 even when it fails: for who shows the report")] = False,
    ) -> Response:
        """How the Observer is, check by check; 503 when it fails."""
        return await reported(request, failing=200 if shown else 503)

    @routes.get("/livez", responses=_NOT, response_class=PlainTextResponse)
    async def livez() -> Response:
        """200 while the loop turns."""
        return _yes_or_no(context.health.live(), "live", "the loop has not come round for too long")

    @routes.get("/readyz", responses=_NOT, response_class=PlainTextResponse)
    async def readyz() -> Response:
        """200 once the Observer works."""
        return _yes_or_no(context.health.ready(), "ready", "starting: the loop has not come round yet")

    @routes.get("/metrics", response_class=_Metrics, dependencies=[Depends(needs("read"))])
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(await context.read(context.metrics.render), media_type=prometheus.CONTENT_TYPE)

    return routes


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """What anybody may see of it: which checks pass, without what they saw."""
    checks = {
        name: [{"status": finding["status"]} for finding in findings]
        for name, findings in report["checks"].items()
    }
    return {"status": report["status"], "checks": checks}


def _yes_or_no(yes: bool, word: str, otherwise: str) -> Response:
    return PlainTextResponse(f"{word}\n" if yes else f"not {word}: {otherwise}\n", 200 if yes else 503)
