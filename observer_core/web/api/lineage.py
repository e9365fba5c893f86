"""What a decision follows from."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from starlette.responses import Response

from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.lineage import lineage
from observer_core.shared.errors import ChainBroken
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem


def router(context: Context, finder: Finder) -> APIRouter:
    """/v1/decisions/{id}/lineage."""
    routes = APIRouter(dependencies=[Depends(needs("read"))])

    @routes.get("/v1/decisions/{id}/lineage", response_model=models.Lineage)
    async def followed(
        id: Annotated[  # noqa: A002
            str,
            Path(
                max_length=256,
                description="its id, 8 digits or more of it, or its ref; `gate.DOMAIN@N` for an answer",
            ),
        ],
    ) -> Response:
        """What a decision, or an answer of the gate, follows from: back to the stored bytes of snapshots.

        Its policy is as it was then. Every record of the chain is read again and held against its
        journal's chain of hashes: `verified`.
        """
        try:
            return answer(await named(context.search(partial(lineage, context.journals, finder, id))))
        except ChainBroken as error:
            raise Problem(500, f"its chain cannot be read: {error}; run `observer verify`") from None

    return routes
