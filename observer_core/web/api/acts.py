"""What an operator asks: commands, silences, subscriptions, feedback; and what became of it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response

from observer_core.runtime.acts import commands, incidents, judging, outcomes, silences, subscriptions
from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.audit.stored import Stored
from observer_core.runtime.reading.lines import Line
from observer_core.shared.clock import parse_duration
from observer_core.shared.errors import InputError
from observer_core.shared.records import Json
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.acting import ACCEPTED, Acting, Key, by, named
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem

MAX_WAIT_S: Final = 20.0
MAX_WAITING: Final = 32
_NEAR_S: Final = 0.02
_FAR_S: Final = 1.0
_FILTERS: Final = ("types", "sources", "subjects", "tags")
_OPERATE, _ADMIN, _READ = Depends(needs("operate")), Depends(needs("admin")), Depends(needs("read"))

Ref = Annotated[str, Path(max_length=300, description="the record that asked: `commands.DOMAIN@N`")]
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_S, description="seconds; answers sooner when it is known")]


def router(context: Context) -> APIRouter:
    """/v1/commands, /v1/silences, …/incidents/{id}/end, /v1/subscriptions/{name}, /v1/feedback."""
    acting = Acting(context)
    ground = Ground(context.journals, context.observer.settings, context.gate)
    routes = acting.router("acts")
    waiting = _Waiting(context)

    @routes.post(
        "/v1/commands", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_OPERATE],
    )  # fmt: skip
    async def command(request: Request, act: models.CommandAct, key: Key = None) -> Response:
        """Close or open the gate.

        A block, its release, an override, its end, the kill switch, or a second person's confirmation.
        What cannot be meant is refused here. Whether it can be done is for its outcome to say.
        """
        wanted = commands.Wanted(
            command=act.command, scope=act.scope, domain=act.domain, duration=act.duration,
            policy=act.policy, request=act.request,
        )  # fmt: skip
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)
        return await acting.ask(partial(commands.command, ground, wanted, who, once), stage="decisions")

    @routes.get("/v1/commands/{ref}", response_model=models.Outcome, dependencies=[_READ])
    async def outcome(ref: Ref, wait: Wait = 0.0) -> Response:
        """What became of what was asked.

        Of a command, a silence, or something asked of a subscription: by the records of its stage."""
        return answer(await waiting.outcome(ref, wait))

    @routes.post(
        "/v1/silences", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_OPERATE],
    )  # fmt: skip
    async def silence(request: Request, act: models.SilenceAct, key: Key = None) -> Response:
        """Tell nobody of what matches, for a while.

        Everything is recorded all the same, and who was not told of what, too.
        """
        match = {name: given for name in _FILTERS if (given := getattr(act, name))}
        if bool(match) == act.everything:
            raise Problem(400, f"say what to silence: {', '.join(_FILTERS)}, or everything; not both")
        length_ns = parse_duration(act.duration)
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)

        def span(now_ns: int) -> tuple[int, int]:
            return now_ns, now_ns + length_ns

        work = partial(silences.add, ground, act.domain, match, span, who, once)
        return await acting.ask(work, stage="routes")

    @routes.post(
        "/v1/silences/{silence_id}/end", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_OPERATE],
    )  # fmt: skip
    async def end(
        request: Request, act: models.Act,
        silence_id: Annotated[str, Path(max_length=300, description="as GET /v1/silences shows it")],
        key: Key = None,
    ) -> Response:  # fmt: skip
        """End a silence before its time."""
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)
        work = partial(silences.end, ground, silence_id, who, once)
        return await named(acting.ask(work, stage="routes"))

    @routes.post(
        "/v1/incidents/{incident_id}/end", status_code=202, response_model=models.Asked,
        responses=ACCEPTED, dependencies=[_OPERATE],
    )  # fmt: skip
    async def end_incident(
        request: Request, act: models.Act,
        incident_id: Annotated[str, Path(max_length=64, description="the first characters will do")],
        key: Key = None,
    ) -> Response:  # fmt: skip
        """End an incident that no recovery will ever end.

        It opens nothing: blocks that wait for it stay until they are released.
        """
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)
        work = partial(incidents.end, ground, incident_id, None, who, once)
        return await named(acting.ask(work, stage="events"))

    @routes.post(
        "/v1/subscriptions/{name}", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_ADMIN],
    )  # fmt: skip
    async def subscription(
        request: Request, name: Annotated[str, Path(max_length=63)], act: models.SubscriptionAct,
        key: Key = None,
    ) -> Response:  # fmt: skip
        """Pause, resume or remove a subscription.

        While it is paused, what comes waits for it.
        """
        who, once = by(request, act.author, act.reason), acting.once(request, act, key)
        work = partial(subscriptions.act, ground, name, act.action, act.domain, who, once)
        return await named(acting.ask(work, stage="routes"))

    @routes.post(
        "/v1/feedback", status_code=202, response_model=models.Asked, responses=ACCEPTED,
        dependencies=[_OPERATE],
    )  # fmt: skip
    async def feedback(request: Request, act: models.FeedbackAct, key: Key = None) -> Response:
        """Say whether a pattern was right.

        Of a pattern, or of an event or a decision that follows from patterns; the newest word counts.
        """
        who, once = by(request, act.author, "feedback"), acting.once(request, act, key)
        work = partial(
            judging.judge, context.journals, context.observer.clock, act.ref, act.right, who, act.note, once
        )
        return await acting.ask(work)

    return routes


class _Waiting:
    """Outcomes, for those who wait for one too. A waiting request holds no thread."""

    def __init__(self, context: Context) -> None:
        self._context, self._waiting = context, 0
        near = context.observer.settings.storage.kind == "local"
        self._look_s = _NEAR_S if near else _FAR_S

    async def outcome(self, ref: str, wait: float) -> Json:
        """`models.Outcome`."""
        found = await self._read(ref)
        if found.state == "waiting" and wait:
            if self._waiting >= MAX_WAITING:
                raise Problem(503, f"{MAX_WAITING} clients wait for outcomes already", {"Retry-After": "1"})
            self._waiting += 1
            try:
                found = await self._wait(ref, wait)
            finally:
                self._waiting -= 1
        records = [_line(stored).item() for stored in found.records]
        return {"ref": found.ref, "state": found.state, "decisions": records, "text": found.text}

    async def _wait(self, ref: str, wait: float) -> outcomes.Outcome:
        end = asyncio.get_running_loop().time() + wait
        while True:
            left = end - asyncio.get_running_loop().time()
            await asyncio.sleep(min(self._look_s, max(0.0, left)))
            found = await self._read(ref)
            if found.state != "waiting" or left <= self._look_s:
                return found

    async def _read(self, ref: str) -> outcomes.Outcome:
        try:
            found: outcomes.Outcome = await named(
                self._context.read(partial(outcomes.outcome, self._context.journals, ref))
            )
        except InputError as error:
            raise Problem(404, str(error)) from None
        return found


def _line(stored: Stored) -> Line:
    return Line(
        stored.record.time_ns, stored.journal, stored.position, stored.raw, stored.segment, stored.offset
    )
