"""POST /v1/evaluation and /v1/evaluations: OpenID AuthZEN Authorization API 1.0, evaluations only.

The AuthZEN subject is the caller (a strategy), the resource is the instrument. A denial is an answer
(200, `"decision": false`); a request that is none is a problem (400), and is not recorded. Search and
metadata of the specification are not offered; `/access/v1/…` are its default paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Header
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from observer_core.logs.redaction import without_paths
from observer_core.runtime.gate.desk import Answered, GateDesk, Question
from observer_core.shared.clock import format_time
from observer_core.shared.errors import InputError, ObserverError
from observer_core.snapshot_engine.names import fault
from observer_core.web.access import caller_of, needs
from observer_core.web.api import models
from observer_core.web.api.context import Context
from observer_core.web.bodies import small_body
from observer_core.web.openapi import body_of
from observer_core.web.problems import Problem, answer

MAX_EVALUATIONS: Final = 100
MAX_BODY: Final = 256 * 1024
_REQUEST_ID: Final = "X-Request-ID"
_TYPE: Final = "application/json"
_PARTS: Final[tuple[str, ...]] = ("subject", "action", "resource", "context")
_STOPS_AT: Final[Mapping[str, bool | None]] = {
    "execute_all": None, "deny_on_first_deny": False, "permit_on_first_permit": True,
}  # fmt: skip
"""The decision after which the rest is not evaluated."""


_RequestId = Annotated[str | None, Header(alias=_REQUEST_ID, description="is given back, and recorded")]


def router(context: Context) -> APIRouter:
    """/v1/evaluation and /v1/evaluations, also where the specification has them."""
    routes = APIRouter(tags=["gate"])
    door = EvaluationDoor(context.desk)
    for prefix in ("/v1", "/access/v1"):
        routes.add_api_route(
            f"{prefix}/evaluation", door.evaluation, methods=["POST"],
            response_model=models.EvaluationAnswer, openapi_extra=body_of(models.EvaluationRequest),
            dependencies=[Depends(needs("read"))],
        )  # fmt: skip
        routes.add_api_route(
            f"{prefix}/evaluations", door.evaluations, methods=["POST"],
            response_model=models.EvaluationsAnswer, openapi_extra=body_of(models.EvaluationsRequest),
            dependencies=[Depends(needs("read"))],
        )  # fmt: skip
    return routes


class EvaluationDoor:
    """The two endpoints over one desk."""

    def __init__(self, desk: GateDesk) -> None:
        self._desk = desk

    async def evaluation(self, request: Request, request_id: _RequestId = None) -> Response:
        """May a caller do something with an instrument.

        AuthZEN 1.0. A denial is an answer (200, `"decision": false`). Recorded before it is answered.
        """
        return await _identified(request, self._evaluation)

    async def evaluations(self, request: Request, request_id: _RequestId = None) -> Response:
        """Several questions at once, at most 100.

        AuthZEN 1.0. An item that is no question is a denial with `context.error`, in its place.
        """
        return await _identified(request, self._evaluations)

    async def _evaluation(self, request: Request) -> Response:
        question = _question(await _body(request), _identity(request), "", caller_of(request).asks_as)
        return _json(to_json(await self._ask(question)))

    async def _evaluations(self, request: Request) -> Response:
        body = await _body(request)
        identity, asks_as = _identity(request), caller_of(request).asks_as
        items = body.get("evaluations")
        if items is None or items == []:  # as the specification wants it: a single one
            return _json(to_json(await self._ask(_question(body, identity, "", asks_as))))
        if not isinstance(items, list):
            raise Problem(400, f"evaluations is {_kind(items)}; an array of objects was expected")
        if len(items) > MAX_EVALUATIONS:
            raise Problem(400, f"evaluations has {len(items)} items; at most {MAX_EVALUATIONS} are possible")
        stops_at = _STOPS_AT[_semantic(body.get("options"))]
        defaults: dict[str, Any] = {name: body[name] for name in _PARTS if name in body}

        async def one(number: int) -> dict[str, Any]:
            item = items[number]
            try:
                if not isinstance(item, dict):
                    raise Problem(400, f"evaluations[{number}] is {_kind(item)}; an object was expected")
                question = _question({**defaults, **item}, identity, f"evaluations[{number}].", asks_as)
                return to_json(await self._ask(question))
            except Problem as problem:
                error = {"status": problem.status, "message": without_paths(problem.detail)}
                return {"decision": False, "context": {"error": error}}

        if stops_at is None:
            found = await asyncio.gather(*map(one, range(len(items))))
        else:
            found = []
            for number in range(len(items)):
                found.append(await one(number))
                if found[-1]["decision"] is stops_at:
                    break
        return _json({"evaluations": found})

    async def _ask(self, question: Question) -> Answered:
        try:
            return await asyncio.wrap_future(self._desk.ask(question))
        except InputError as error:
            raise Problem(400, str(error)) from None


def to_json(answered: Answered) -> dict[str, Any]:
    """An answer in AuthZEN's words; what the Observer has to say stands in its context."""
    found = answered.answer
    return {
        "decision": answered.allowed,
        "context": {
            "id": answered.ref,
            "reasons": list(found.reasons),
            "domain": found.domain,
            "evaluated_at": format_time(answered.now_ns),
            "as_of": None if found.as_of_ns is None else format_time(found.as_of_ns),
            "valid_until": format_time(found.valid_until_ns),
            "risk": found.risk,
            **({} if answered.permit is None else {"permit": answered.permit}),
        },
    }


async def _identified(request: Request, work: Callable[[Request], Awaitable[Response]]) -> Response:
    """The answer, with the request's identifier whatever the answer is."""
    try:
        response = await work(request)
    except (Problem, ObserverError, HTTPException) as error:
        response = await answer(request, error)
    identity = request.headers.get(_REQUEST_ID)
    if identity is not None:
        response.headers[_REQUEST_ID] = identity
    return response


async def _body(request: Request) -> dict[str, Any]:
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != _TYPE:
        detail = f"content type {content_type[:100]!r} is not taken; expected {_TYPE}"
        raise Problem(415, detail, {"Accept": _TYPE})
    body = await small_body(request, MAX_BODY)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Problem(400, f"the body is {_kind(value)}; an object was expected")
    return value


def _question(value: Mapping[str, Any], request_id: str | None, where: str, asks_as: str | None) -> Question:
    subject = _entity(value, "subject", where, ("type", "id"))
    action = _entity(value, "action", where, ("name",))
    if asks_as is not None and subject["id"] != asks_as:
        raise Problem(
            403, f"{where}subject.id is {subject['id'][:100]!r}; this token may ask as {asks_as!r} only"
        )  # fmt: skip
    resource = _entity(value, "resource", where, ("type", "id"))
    context = value.get("context")
    if context is not None and not isinstance(context, dict):
        raise Problem(400, f"{where}context is {_kind(context)}; an object was expected")
    domain = (resource.get("properties") or {}).get("domain")
    if domain is not None and not isinstance(domain, str):
        raise Problem(400, f"{where}resource.properties.domain is {_kind(domain)}; a text was expected")
    return Question(
        caller=subject["id"], caller_type=subject["type"], action=action["name"], resource=resource["id"],
        resource_type=resource["type"], context=context or {}, domain=domain, request_id=request_id,
    )  # fmt: skip


def _entity(value: Mapping[str, Any], name: str, where: str, needed: tuple[str, ...]) -> dict[str, Any]:
    found = value.get(name)
    if not isinstance(found, dict):
        what = "missing" if found is None else _kind(found)
        raise Problem(400, f"{where}{name} is {what}; an object with {' and '.join(needed)} was expected")
    for key in needed:
        if problem := fault(found.get(key)):
            raise Problem(400, f"{where}{name}.{key} {problem}")
    properties = found.get("properties")
    if properties is not None and not isinstance(properties, dict):
        raise Problem(400, f"{where}{name}.properties is {_kind(properties)}; an object was expected")
    return found


def _semantic(options: Any) -> str:
    if options is None:
        return "execute_all"
    if not isinstance(options, dict):
        raise Problem(400, f"options is {_kind(options)}; an object was expected")
    semantic = options.get("evaluations_semantic", "execute_all")
    if not isinstance(semantic, str) or semantic not in _STOPS_AT:
        raise Problem(
            400, f"options.evaluations_semantic is {semantic!r:.100}; expected {', '.join(_STOPS_AT)}"
        )
    return semantic


def _identity(request: Request) -> str | None:
    """The request's identifier as it is recorded; it is echoed in full."""
    found = request.headers.get(_REQUEST_ID)
    return None if found is None else found[:128]


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type=_TYPE)
