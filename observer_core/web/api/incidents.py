"""Incidents as they stand, and what became of one."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.incidents import Incidents, incident
from observer_core.runtime.reading.listing import Cursor, ranges
from observer_core.runtime.reading.timeline import detail
from observer_core.shared.records import Event, Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer
from observer_core.web.api.filters import (
    LIMIT,
    Domain,
    Limit,
    MinSeverity,
    Next,
    Since,
    Source,
    Subject,
    Until,
    glob,
)

_Open = Annotated[bool | None, Query(description="only those that are open, or only those that are resolved")]


def router(context: Context, finder: Finder) -> APIRouter:
    """/v1/incidents."""
    routes = APIRouter(dependencies=[Depends(needs("read"))])
    ground = Ground(context.journals, context.observer.settings, context.gate)
    incidents = Incidents(context.journals, finder)

    def read_page(
        wanted: Filter, is_open: bool | None, since: str | None, until: str | None, limit: int,
        cursor: str | None,
    ) -> Json:  # fmt: skip
        after = None if cursor is None else Cursor.of(cursor)
        places = ranges(ground, KINDS["events"], Filter(domain=wanted.domain), since, until, after)
        found = incidents.page(places, wanted, limit, is_open=is_open)
        events = ((line, line.record) for line in found.lines)
        items = [incident(event, line.ref) for line, event in events if isinstance(event, Event)]
        return {**found.to_json(), "items": items}

    @routes.get("/v1/incidents", response_model=models.Page[models.IncidentItem])
    async def listed(
        open: _Open = None, domain: Domain = None, source: Source = None, subject: Subject = None,  # noqa: A002
        kind: Annotated[str | None, glob("only those with a pattern that matches")] = None,
        severity: MinSeverity = None, since: Since = None, until: Until = None, limit: Limit = LIMIT,
        cursor: Next = None,
    ) -> Response:  # fmt: skip
        """Incidents, the one that changed last first, each as its newest event left it.

        `since` and `until` are about that last change; `source` is a source of it, or its venue.
        """
        wanted = Filter(domain=domain, source=source, subject=subject, what=kind, severity=severity)
        work = partial(read_page, wanted, open, since, until, limit, cursor)
        return answer(await named(context.search(work)))

    @routes.get("/v1/incidents/{id}", response_model=models.Incident)
    async def one(
        id: Annotated[str, Path(max_length=256, description="its id, or 8 digits or more of it")],  # noqa: A002
    ) -> Response:
        """One incident, with all that became of it: oldest first, the newest 500 entries."""
        return answer(await named(context.search(lambda: detail(context.journals, incidents.find(id)))))

    return routes
