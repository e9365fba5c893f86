"""The policies in force."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from observer_core.runtime.reading.policies import policies_in_force
from observer_core.runtime.reading.status import domain_named
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer


def router(context: Context) -> APIRouter:
    """/v1/policies."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])

    def read(asked: str | None) -> Json:
        domain = domain_named(context.desk.views.current(), context.observer.settings, asked)
        return policies_in_force(context.journals, domain)

    @routes.get("/v1/policies", response_model=models.Policies)
    async def policies(
        domain: Annotated[
            str | None, Query(max_length=80, description="the first there is, if left out")
        ] = None,
    ) -> Response:
        """The policies in force in a domain, as settings and as TOML.

        Those of the newest epoch of its decisions: what is configured now is in force from the next one on.
        Epoch 0, and none: nothing has been decided there yet.
        """
        return answer(await named(context.read(partial(read, domain))))

    return routes
