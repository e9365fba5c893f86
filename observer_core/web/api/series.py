"""The series behind the charts: /v1/series, its points in a span, and the patterns in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.reading.markers import MOST, markers
from observer_core.runtime.reading.series import EVER, Form, Series
from observer_core.runtime.reading.series import Query as Asked
from observer_core.shared.clock import moment
from observer_core.shared.errors import InputError
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer

PATIENCE_S: Final = 2.0
"""How long an answer waits for older rows to be read in."""

_Source = Annotated[models.Text, Query(description="as /v1/series names it")]
_Subject = Annotated[models.Text, Query(description="as /v1/series names it: BTC/USDT")]
_Field = Annotated[models.Text, Query(description="as /v1/series names it: price")]
_Form = Annotated[Form, Query(description="candles: of prices, whether or not they come as bars")]
_All = Annotated[bool, Query(description="also those of its other fields, and of the whole source")]
_Since = Annotated[
    str | None,
    Query(max_length=64, description="from then on: RFC 3339, to the nanosecond, or 2h before the newest"),
]
_Until = Annotated[str | None, Query(max_length=64, description="up to then, as `since`")]


def router(context: Context) -> APIRouter:
    """/v1/series, /v1/series/points, /v1/series/markers."""
    series = Series(context.observer, ahead=context.runtime == "standalone")
    ground = Ground(context.journals, context.observer.settings, context.gate)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        if context.runtime == "standalone":
            series.start()
        try:
            yield
        finally:
            await asyncio.to_thread(series.close)

    routes = APIRouter(tags=["series"], dependencies=[Depends(needs("read"))], lifespan=lifespan)

    def span(source: str, subject: str, since: str | None, until: str | None) -> tuple[str, int, int]:
        recorded = series.recorded_source(source, subject)
        newest = partial(ground.newest_ns, context.observer.domain_of(recorded))
        since_ns = EVER[0] if since is None else max(EVER[0], moment(since, newest))
        until_ns = EVER[1] if until is None else min(EVER[1], moment(until, newest))
        if since_ns > until_ns:
            raise InputError(f"since ({since}) is after until ({until}); it must be before")
        return recorded, since_ns, until_ns

    @routes.get("/v1/series", response_model=models.SeriesList)
    async def listed(domain: Annotated[models.Text | None, Query()] = None) -> Response:
        """Which series there are, a source at a time."""
        return answer({"items": await context.read(partial(series.sources, domain))})

    @routes.get("/v1/series/points", response_model=models.Points)
    async def points(
        source: _Source, subject: _Subject, field: _Field, since: _Since = None, until: _Until = None,
        points: Annotated[int, Query(ge=10, le=5000, description="at most so many")] = 1000,
        form: _Form = "line",
    ) -> Response:  # fmt: skip
        """A series in a span, reduced to what a chart can show.

        A line keeps its extremes and its gaps. Candles have the shortest round length that makes no more
        of them than `points`. Waits up to two seconds for rows that nobody has asked for since they were
        recorded; `complete` is false when that was too short.
        """

        def first() -> tuple[Asked, Any]:
            recorded, since_ns, until_ns = span(source, subject, since, until)
            query = Asked(recorded, subject, field, since_ns, until_ns, points, form)
            return query, series.points(query)

        query, found = await context.search(first)
        if not found["complete"]:
            built = await context.read(partial(series.build, query))
            if built is not None:
                waiting = asyncio.wrap_future(built)
                await asyncio.wait([waiting], timeout=PATIENCE_S)
                waiting.cancel()
                found = await context.search(partial(series.points, query))
        return answer(found)

    @routes.get("/v1/series/markers", response_model=models.Markers)
    async def marked(
        source: _Source, subject: _Subject, field: _Field, since: _Since = None, until: _Until = None,
        limit: Annotated[int, Query(ge=1, le=MOST, description="the newest so many")] = MOST,
        all: _All = False,  # noqa: A002
    ) -> Response:  # fmt: skip
        """The patterns of a series in a span, oldest first; where there are more, the newest."""

        def found() -> Any:
            recorded, since_ns, until_ns = span(source, subject, since, until)
            return markers(
                context.journals, series, recorded, subject, field, since_ns, until_ns, everything=all,
                limit=limit,
            )  # fmt: skip

        return answer(await context.search(found))

    return routes
