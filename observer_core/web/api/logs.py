"""The end of the log files."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from observer_core.runtime.reading.logs import File, Level, tail
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem


def router(context: Context) -> APIRouter:
    """/v1/logs."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("admin"))])

    def read(file: File, lines: int, level: Level | None) -> Json:
        try:
            return tail(context.observer.settings.paths.logs, file, lines, level)
        except OSError as error:
            raise Problem(503, f"the log files cannot be read: {error.strerror}") from None

    @routes.get(
        "/v1/logs", response_model=models.Log,
        responses={501: {"model": models.ProblemDetails, "description": "The logs are somewhere else."}},
    )  # fmt: skip
    async def logs(
        file: File = "observer",
        lines: Annotated[int, Query(ge=1, le=2_000)] = 200,
        level: Annotated[Level | None, Query(description="this one or graver")] = None,
    ) -> Response:
        """The last lines of a log file, newest last. Secrets are masked.

        A line that is no JSON object is shown as text, whatever `level` is asked for.
        """
        if context.runtime == "functions":
            detail = "the Functions app writes no log files; its logs are in Application Insights"
            raise Problem(501, detail)
        return answer(await context.read(partial(read, file, lines, level)))

    return routes
