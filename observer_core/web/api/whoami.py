"""GET /v1/whoami: who asks, as it was proved, and what he may do."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from observer_core.runtime.web_config import SCOPES
from observer_core.web.access import caller_of, needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer


def router(context: Context) -> APIRouter:
    """/v1/whoami."""
    routes = APIRouter(tags=["access"])
    control = context.observer.settings.control

    @routes.get("/v1/whoami", response_model=models.Who, dependencies=[Depends(needs(None))])
    async def whoami(request: Request) -> Response:
        """Who asks, as it was proved, and what he may do. Any scope will do.

        `two_person`: the commands that a second person must confirm, within `confirm_within_ns`. Two
        callers with one `principal` are one person.
        """
        caller = caller_of(request)
        return answer(
            {
                "principal": caller.principal, "name": caller.name,
                "scopes": [scope for scope in SCOPES if scope in caller.scopes], "proof": caller.proof,
                "two_person": list(control.two_person), "confirm_within_ns": control.confirm_within,
            }
        )  # fmt: skip

    return routes
