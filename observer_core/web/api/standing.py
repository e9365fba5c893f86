"""What stands: blocks (and those that stood), overrides, requests, silences, subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from observer_core.decision_pipeline.scopes import DOMAIN, source_scope, subject_scope
from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.reading import blocks as reading
from observer_core.runtime.reading.standing import Asked, silences, subscribers
from observer_core.runtime.reading.status import DomainState, States
from observer_core.shared.clock import moment
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context, answer

_One = Annotated[str | None, Query(max_length=80, description="the first there is, if left out")]
_All = Annotated[str | None, Query(max_length=80, description="only this domain; else all")]
_Time = Annotated[
    str | None, Query(min_length=1, max_length=64, description="RFC 3339, or a span before the newest (`2h`)")
]


def router(context: Context) -> APIRouter:
    """/v1/blocks, /v1/overrides, /v1/requests, /v1/silences, /v1/subscriptions."""
    routes = APIRouter(tags=["state"], dependencies=[Depends(needs("read"))])
    settings = context.observer.settings
    states = States(context.journals, settings, context.gate, context.desk.views)
    ground = Ground(context.journals, settings, context.gate)
    history, asked = reading.History(context.journals), Asked(context.journals)

    def read_blocks(
        domain: str | None, standing: bool, scope: str | None, subject: str | None, since: str | None,
        until: str | None, limit: int, cursor: str | None,
    ) -> Json:  # fmt: skip
        after = None if cursor is None else reading.Place.of(cursor)
        state = states.of(domain)

        def newest() -> int:
            return ground.newest_ns(state.view.name)

        wanted = reading.Wanted(
            _takes(state, scope, subject), 0 if since is None else moment(since, newest),
            2**63 if until is None else moment(until, newest), limit, after,
        )  # fmt: skip
        if standing:
            return reading.standing(state.blocks, wanted)
        return history.read(state.view.name, state.blocks, wanted)

    @routes.get("/v1/blocks", response_model=models.BlockPage)
    async def blocks(
        domain: _One = None,
        standing: Annotated[bool, Query(description="those that stand now; else also those that did")] = True,
        scope: Annotated[str | None, Query(min_length=1, max_length=300, description="a glob")] = None,
        subject: Annotated[
            str | None,
            Query(min_length=1, max_length=256, description="all that close it: its own, its sources', `*`"),
        ] = None,
        since: _Time = None,
        until: _Time = None,
        limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
        cursor: Annotated[str | None, Query(min_length=1, max_length=200)] = None,
    ) -> Response:
        """What is blocked, or was: newest first.

        With `since` and `until`, what stood at some time between them, whenever it began. One that another
        took the place of ended there. `reaches_ns`: from when on nothing is missing, where the history
        is too long to be gone through (null: nothing is).
        """
        work = partial(read_blocks, domain, standing, scope, subject, since, until, limit, cursor)
        return answer(await named((context.read if standing else context.search)(work)))

    def read_one(domain: str | None, pick: Callable[[DomainState], Iterable[Json]]) -> Json:
        return {"items": list(pick(states.of(domain))), "next": None}

    def read_all(domain: str | None, pick: Callable[[DomainState], Iterable[Json]]) -> Json:
        found = states.read() if domain is None else [states.of(domain)]
        return {"items": [item for state in found for item in pick(state)], "next": None}

    @routes.get("/v1/overrides", response_model=models.Page[models.Override])
    async def overrides(domain: _One = None) -> Response:
        """The overrides that stand: which blocks are lifted, by whom, why, until when."""

        def pick(state: DomainState) -> Iterable[Json]:
            return (asked.override(state.view.name, entry) for entry in state.overrides)

        return answer(await named(context.read(partial(read_one, domain, pick))))

    @routes.get("/v1/requests", response_model=models.Page[models.ConfirmationRequest])
    async def requests(domain: _One = None) -> Response:
        """The commands that wait for a second person, the oldest first."""

        def pick(state: DomainState) -> Iterable[Json]:
            return map(asked.request, state.requests)

        return answer(await named(context.read(partial(read_one, domain, pick))))

    @routes.get("/v1/silences", response_model=models.Page[models.Silence])
    async def silenced(domain: _All = None) -> Response:
        """The silences that are not over: what nobody is told of."""

        def pick(state: DomainState) -> Iterable[Json]:
            return silences(state.view.name, state.silences)

        return answer(await named(context.read(partial(read_all, domain, pick))))

    @routes.get("/v1/subscriptions", response_model=models.Page[models.Subscription])
    async def subscriptions(domain: _All = None) -> Response:
        """Who is told of what, and how far each is. Of a sink no secret is shown."""

        def pick(state: DomainState) -> Iterable[Json]:
            return subscribers(context.journals, settings, state.view.name)

        return answer(await named(context.read(partial(read_all, domain, pick))))

    return routes


def _takes(state: DomainState, scope: str | None, subject: str | None) -> Callable[[str], bool]:
    covering: set[str] | None = None
    if subject is not None:
        sources = [source.name for source in state.view.inputs.sources if subject in source.subjects]
        covering = {DOMAIN, subject_scope(subject), *map(source_scope, sources)}

    def takes(name: str) -> bool:
        return (covering is None or name in covering) and (scope is None or fnmatchcase(name, scope))

    return takes
