"""Errors as RFC 9457 problem details: what was expected, what came, what to do; no path, no traceback."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from observer_core.logs.redaction import MASK, is_secret, without_paths
from observer_core.shared.errors import (
    Conflict,
    DomainMismatch,
    EpochMoved,
    InputError,
    LimitExceeded,
    ObserverError,
    StorageFull,
    StorageUnavailable,
)

MEDIA_TYPE: Final = "application/problem+json"
JSON: Final = "application/json"
_MOST_ERRORS: Final = 10
_MOST_SHOWN: Final = 60
_SECONDS_FULL: Final = 30
_SECONDS_AWAY: Final = 5


class Problem(Exception):
    """A request that is answered with an error."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] | None = None, **extensions: Any
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.extensions = status, detail, headers, extensions


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **extensions: Any
) -> Response:
    """The answer; its title is the status' own phrase."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse({**body, **extensions}, status, headers, MEDIA_TYPE)


async def answer(request: Request, error: Exception) -> Response:
    """The answer to what a handler raised on purpose; anything else is the guard's."""
    if isinstance(error, HTTPException):
        template = _DETAILS.get(error.status_code)
        if error.detail == _UNREADABLE:
            template = _NO_JSON
        detail = error.detail if template is None else template.format(request=request)
        headers = _allowed(request) if error.status_code == 405 else error.headers
        return problem(error.status_code, detail, headers)
    if isinstance(error, RequestValidationError):
        return _misunderstood(request, error)
    if isinstance(error, Problem):
        return problem(error.status, without_paths(error.detail), error.headers, **error.extensions)
    if isinstance(error, DomainMismatch):
        return problem(409, without_paths(str(error)))
    if isinstance(error, InputError):
        return problem(400, without_paths(str(error)))
    if isinstance(error, LimitExceeded):
        return problem(413, "what was sent is too large to be stored at once; send it in smaller parts")
    if isinstance(error, StorageFull):
        detail = "the storage is full; nothing of this request was taken: free some space, then send it again"
        return problem(503, detail, {"Retry-After": str(_SECONDS_FULL)})
    if isinstance(error, StorageUnavailable | Conflict | EpochMoved):
        detail = (
            "the storage cannot answer now; send the request again (a push: with the same Idempotency-Key)"
        )
        return problem(503, detail, {"Retry-After": str(_SECONDS_AWAY)})
    raise error


def _misunderstood(request: Request, error: RequestValidationError) -> Response:
    """What was asked does not have its form: 400, or 415 where a body is not JSON at all."""
    found = error.errors()
    if any(item["loc"] == ("body",) and isinstance(item.get("input"), bytes) for item in found):
        kind = request.headers.get("content-type", "")
        detail = f"content type {kind[:100]!r} is not taken; expected {JSON}"
        return problem(415, detail, {"Accept": JSON})
    details = [without_paths(_explained(item)) for item in found[:_MOST_ERRORS]]
    more = f"; and {len(found) - _MOST_ERRORS} more" if len(found) > _MOST_ERRORS else ""
    return problem(400, "; ".join(details) + more, errors=details)


def _explained(item: Mapping[str, Any]) -> str:
    """Where, what was expected, what came."""
    kind, message, context = item["type"], item["msg"], item.get("ctx") or {}
    place, *path = item["loc"]
    if kind == "json_invalid":
        return f"the body is not JSON: {context.get('error', message)} at character {path[0]}"
    name = _name(place, path)
    if kind == "missing":
        return f"{name} is missing; it must be given"
    if kind == "extra_forbidden":
        return f"{name} is unknown; remove it or check its spelling"
    found = MASK if any(is_secret(str(part)) for part in path) else _shown(item.get("input"))
    if kind == "value_error":
        return f"{name} is {found}; {message.removeprefix('Value error, ')}"
    if kind in ("literal_error", "enum"):
        return f"{name} is {found}; {context['expected'].replace(chr(39), '')} was expected"
    if message.startswith("Input should be "):
        expected = message.removeprefix("Input should be ").partition(", unable")[0]
        return f"{name} is {found}; {expected} was expected"
    return f"{name} is {found}; {message[:1].lower()}{message[1:]}"


def _name(place: object, path: list[Any]) -> str:
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    if not name:
        return f"the {place}"
    return f"header {name}"[:_MOST_SHOWN] if place == "header" else name[: 3 * _MOST_SHOWN]


def _shown(value: Any) -> str:
    """What came, short; an object or an array is not shown: it may be large, and hold a secret."""
    if isinstance(value, str):
        return repr(value if len(value) <= _MOST_SHOWN else value[:_MOST_SHOWN] + "…")
    named = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return named[value]
    if isinstance(value, int | float):
        return str(value)[:_MOST_SHOWN]
    return "an array" if isinstance(value, list | tuple) else "an object"


def _allowed(request: Request) -> dict[str, str]:
    """The methods of all routes of this path. Whatever answers GET answers HEAD."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    found: set[str] = set()
    for route in iter_route_contexts(request.app.routes):
        if route.path_regex.match(path):
            found.update(route.methods or ())
    if "GET" in found:
        found.add("HEAD")
    return {"Allow": ", ".join(sorted(found))}


HANDLERS: Final[dict[Any, Any]] = {
    HTTPException: answer, Problem: answer, ObserverError: answer, RequestValidationError: answer,
}  # fmt: skip
_UNREADABLE: Final = "There was an error parsing the body"
_NO_JSON: Final = "the body cannot be read; JSON in UTF-8, not nested too deeply, was expected"
_DETAILS: Final = {
    404: "there is nothing at {request.url.path}; GET / lists what there is",
    405: "{request.method} is not possible at {request.url.path}; see the Allow header",
}
