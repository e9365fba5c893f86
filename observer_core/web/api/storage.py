"""How much is stored."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from observer_core.runtime.reading.storage import StorageReader
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer
from observer_core.web.api.kept import Kept

_KEPT_S: Final = {"standalone": 30.0, "functions": 600.0}


def router(context: Context) -> APIRouter:
    """/v1/storage."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])
    reader, seconds = StorageReader(context.observer, context.gate), _KEPT_S[context.runtime]
    kept = Kept[Json](seconds, grace=3 * seconds)

    @routes.get("/v1/storage", response_model=models.Storage)
    async def storage() -> Response:
        """How much is stored, how fast it grows, what is free, and what asking for it has cost.

        Kept for half a minute; on a storage account, where it costs some hundred operations, for ten.
        """
        return answer(await kept.get(lambda: context.read(reader.read)))

    return routes
