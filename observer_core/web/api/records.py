"""Stored records: in pages, newest first, or one by its ref or id; events also as they come (long poll).

With what is folded from them: incidents, and what a decision follows from.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.reading.feed import Fed, Feed
from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.listing import Cursor, Page, check, page, ranges
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import incidents, lineage, models, stream
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
from observer_core.web.etags import NOT_KEPT
from observer_core.web.problems import Problem
from observer_core.web.waiting import Wait, Waiting

_WAIT_S: Final = 25.0
_After = Annotated[
    str | None,
    Query(
        min_length=1, max_length=4_000,
        description="`next` of an earlier answer with `after`, or `now`: events as they come, oldest first",
    ),
]  # fmt: skip
_Ref = Annotated[str, Path(max_length=256, description="`journal@position`")]
_Id = Annotated[str, Path(max_length=256, description="its id, 8 digits or more of it, or its ref")]


def router(context: Context) -> APIRouter:
    """/v1/snapshots, /v1/patterns, /v1/events, /v1/decisions, /v1/records, /v1/incidents."""
    routes = APIRouter(tags=["records"], dependencies=[Depends(needs("read"))])
    ground = Ground(context.journals, context.observer.settings, context.gate)
    finder = Finder(context.journals)
    context.observer.guards.memory.droppable(finder.let_go)
    waiting = Waiting("events", near=context.observer.settings.storage.kind == "local")
    # Before /v1/events/{id}.
    routes.include_router(stream.router(context))
    routes.include_router(incidents.router(context, finder))
    routes.include_router(lineage.router(context, finder))

    def read_page(
        name: str, wanted: Filter, since: str | None, until: str | None, limit: int, cursor: str | None
    ) -> Page:
        kind, after = KINDS[name], None if cursor is None else Cursor.of(cursor)
        return page(ranges(ground, kind, wanted, since, until, after), kind.sieve(wanted), limit)

    async def list_page(
        name: str, wanted: Filter, since: str | None, until: str | None, limit: int, cursor: str | None
    ) -> Response:
        work = partial(read_page, name, wanted, since, until, limit, cursor)
        return answer((await named(context.search(work))).to_json())

    async def one(kind: str, text: str) -> Response:
        return answer((await named(context.search(partial(finder.find, kind, text)))).item())

    async def await_events(wanted: Filter, after: str, limit: int, wait: float) -> Response:
        await named(context.read(partial(check, ground, wanted)))
        feed = Feed(context.journals, wanted)
        start = await context.read(partial(feed.start, after))

        async def look(found: Fed | None) -> Fed:
            return await context.read(partial(feed.since, start if found is None else found.after, limit))

        with waiting.one():
            fed = await waiting.until(look, lambda found: bool(found.lines), Fed.moved, wait)
        items: list[Json] = [line.item() for line, _ in fed.lines]
        return answer({"items": items, "next": fed.after.text()}, headers=NOT_KEPT)

    @routes.get("/v1/snapshots", response_model=models.Page[models.RecordItem])
    async def snapshots(
        domain: Domain = None, source: Source = None, subject: Subject = None,
        flag: Annotated[str | None, glob("only with a quality flag that matches")] = None,
        since: Since = None, until: Until = None, limit: Limit = LIMIT, cursor: Next = None,
    ) -> Response:  # fmt: skip
        """Snapshots, newest first.

        A page ends early when its snapshots are large; `next` goes on.
        """
        wanted = Filter(domain=domain, source=source, subject=subject, what=flag)
        return await list_page("snapshots", wanted, since, until, limit, cursor)

    @routes.get("/v1/patterns", response_model=models.Page[models.RecordItem])
    async def patterns(
        domain: Domain = None, source: Source = None, subject: Subject = None,
        kind: Annotated[str | None, glob("only patterns that match (`level_shift`, `feed_*`)")] = None,
        severity: MinSeverity = None, since: Since = None, until: Until = None, limit: Limit = LIMIT,
        cursor: Next = None,
    ) -> Response:  # fmt: skip
        """Patterns, newest first."""
        wanted = Filter(domain=domain, source=source, subject=subject, what=kind, severity=severity)
        return await list_page("patterns", wanted, since, until, limit, cursor)

    @routes.get("/v1/events", response_model=models.Page[models.RecordItem])
    async def events(
        domain: Domain = None, source: Source = None, subject: Subject = None,
        type: Annotated[str | None, glob("only types that match (`pattern.*`, `feed.stale`)")] = None,  # noqa: A002
        severity: MinSeverity = None, since: Since = None, until: Until = None, limit: Limit = LIMIT,
        cursor: Next = None, after: _After = None, wait: Wait = _WAIT_S,
    ) -> Response:  # fmt: skip
        """Events, newest first; with `after` those that come, oldest first.

        With `after` it answers as soon as there is one, or when `wait` is over, and `next` is the `after` of
        the next request. To miss nothing between a list and what comes: ask for `after=now&wait=0` first.
        What is about a whole source passes a filter by subject.
        """
        wanted = Filter(domain=domain, source=source, subject=subject, what=type, severity=severity)
        if after is None:
            return await list_page("events", wanted, since, until, limit, cursor)
        for name, value in (("cursor", cursor), ("since", since), ("until", until)):
            if value is not None:
                raise Problem(400, f"{name} goes with a list, after with what comes: leave one of them out")
        return await await_events(wanted, after, limit, wait)

    @routes.get("/v1/decisions", response_model=models.Page[models.RecordItem])
    async def decisions(
        domain: Domain = None, source: Source = None, subject: Subject = None,
        verdict: Annotated[
            str | None, glob("only verdicts that match (judgment, block, release, non_execution)")
        ] = None,
        severity: MinSeverity = None, since: Since = None, until: Until = None, limit: Limit = LIMIT,
        cursor: Next = None,
    ) -> Response:  # fmt: skip
        """Decisions, newest first.

        What is about a whole source or domain passes a filter by subject.
        """
        wanted = Filter(domain=domain, source=source, subject=subject, what=verdict, severity=severity)
        return await list_page("decisions", wanted, since, until, limit, cursor)

    @routes.get("/v1/records/{ref}", response_model=models.RecordItem)
    async def record(ref: _Ref) -> Response:
        """One record of any journal by its ref."""
        return answer((await named(context.read(partial(finder.of_ref, ref)))).item())

    @routes.get("/v1/events/{id}", response_model=models.RecordItem)
    async def event(id: _Id) -> Response:  # noqa: A002
        """One event by its id or ref."""
        return await one("events", id)

    @routes.get("/v1/decisions/{id}", response_model=models.RecordItem)
    async def decision(id: _Id) -> Response:  # noqa: A002
        """One decision by its id or ref."""
        return await one("decisions", id)

    return routes
