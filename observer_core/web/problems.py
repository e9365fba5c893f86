"""Errors as RFC 9457 problem details: what was expected, what came, what to do; no path, no traceback."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from observer_core.logs.redaction import without_paths
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
        detail = error.detail if template is None else template.format(request=request)
        return problem(error.status_code, detail, error.headers)
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


HANDLERS: Final[dict[Any, Any]] = {HTTPException: answer, Problem: answer, ObserverError: answer}
_DETAILS: Final = {
    404: "there is nothing at {request.url.path}; GET / lists what there is",
    405: "{request.method} is not possible at {request.url.path}; see the Allow header",
}
