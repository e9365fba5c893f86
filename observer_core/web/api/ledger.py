"""Where all journals stand, and what shows that nobody has written them anew."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from observer_core.runtime.reading.ledger import ledger as read_ledger
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer


def router(context: Context) -> APIRouter:
    """/v1/ledger."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])

    def read() -> Json:
        return read_ledger(context.journals, context.observer.settings, context.health.report())

    @routes.get("/v1/ledger", response_model=models.Ledger)
    async def ledger() -> Response:
        """The heads of all journals, the newest anchors over them, and where anchors go outside the store.

        `chain`: whether the newest stored records hash to what was committed, as the health check last
        saw it. The whole is for `observer ledger verify`.
        """
        return answer(await context.read(read))

    return routes
