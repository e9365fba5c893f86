"""The gate of every subject at a glance."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from observer_core.runtime.reading.board import Gates
from observer_core.runtime.reading.status import domain_named
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer


def router(context: Context) -> APIRouter:
    """/v1/board."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])
    gates, views = Gates(), context.desk.views

    def read(asked: str | None) -> Json:
        picture = views.current()
        domain = domain_named(picture, context.observer.settings, asked)
        view = picture.domains.get(domain)
        return gates.board(view, domain, views.now_ns(view))

    @routes.get("/v1/board", response_model=models.Board)
    async def board(
        domain: Annotated[
            str | None, Query(max_length=80, description="the first there is, if left out")
        ] = None,
    ) -> Response:
        """The gate of every subject of a domain, those that need a look first.

        What the gate would answer each of them now, to whoever has asked for no excuse; nothing is
        recorded. blocked: by a block, a kill switch or a quarantine. unknown: denied for other reasons
        alone. Subjects that something stands on though nobody observes them are listed too.
        """
        return answer(await named(context.read(partial(read, domain))))

    return routes
