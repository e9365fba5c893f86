"""GET /v1/gate/{subject}: may this subject be acted on, now or at a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BeforeValidator, WithJsonSchema
from starlette.responses import Response

from observer_core.decision_pipeline.gate import Answer
from observer_core.runtime.gate.desk import Question
from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import fault
from observer_core.web.access import needs
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer
from observer_core.web.etags import NOT_KEPT
from observer_core.web.problems import Problem

T = TypeVar("T")
_ANYBODY: Final = "anonymous"


def _moment(text: str) -> int:
    try:
        ns = parse_time(text)
    except InputError as error:
        hint = "; in a URL a + is written %2B" if " " in text else ""
        raise Problem(400, f"at: {error}{hint}") from None
    if not 0 <= ns < 2**63:
        raise Problem(400, f"at: {text!r} is outside the years 1970 to 2261")
    return ns


_At = Annotated[
    Annotated[int, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})]
    | None,
    Query(description="what was the answer at this moment (RFC 3339, or epoch s, ms, us, ns)"),
]
_OnUnknown = Annotated[Answer, Query(description="what a subject that no source observes is worth")]
_Domain = Annotated[str | None, Query(description="left out: where the subject is observed, `live` first")]


def router(context: Context) -> APIRouter:
    """/v1/gate/{subject}."""
    routes = APIRouter(tags=["gate"])

    @routes.get(
        "/v1/gate/{subject:path}", response_model=models.GateAnswered, dependencies=[Depends(needs("read"))]
    )
    async def gate(
        subject: Annotated[str, Path(description="a name as its source has it: BTC/USDT")],
        domain: _Domain = None, at: _At = None, on_unknown: _OnUnknown = "deny",
    ) -> Response:  # fmt: skip
        """May this subject be acted on, now or at a moment.

        Now: recorded before it is answered, as any evaluation; `id` is the record. At a moment: computed
        again from the records, and not recorded.
        """
        if problem := fault(subject):
            raise Problem(400, f"the subject {problem}")
        if at is not None:
            then = partial(context.gate.check, subject, domain=domain, at_ns=at, on_unknown=on_unknown)
            return answer((await _found(context.search(then))).to_json(), headers=NOT_KEPT)
        question = Question(
            caller=_ANYBODY, caller_type=_ANYBODY, action="check", resource=subject, intent=False,
            resource_type="subject", domain=domain, on_unknown=on_unknown,
        )  # fmt: skip
        answered = await _found(asyncio.wrap_future(context.desk.ask(question)))
        return answer({**answered.answer.to_json(), "id": answered.ref}, headers=NOT_KEPT)

    return routes


async def _found(work: Awaitable[T]) -> T:
    try:
        return await work
    except InputError as error:
        raise Problem(404, str(error)) from None
