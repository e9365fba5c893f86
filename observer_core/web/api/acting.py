"""What all acts have in common: who says so, a key that lets a request be done once, and the answer.

Acts have a thread of their own: a kill switch never waits behind what somebody reads.
"""

from __future__ import annotations

import hashlib
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, TypeVar

import structlog
from fastapi import APIRouter, Header
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from observer_core.runtime.acts.ground import Asked, By, Unknown
from observer_core.shared.canonical import encode
from observer_core.shared.errors import StorageError
from observer_core.storage.once import KeyReused, Once
from observer_core.web.access import caller_of
from observer_core.web.api import models
from observer_core.web.api.context import Context, answer
from observer_core.web.problems import Problem

T = TypeVar("T")
_log = structlog.get_logger("observer.web")

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=255,
        description="the same request under the same key is recorded once within a day",
    ),
]  # fmt: skip
ACCEPTED: Final[dict[int | str, dict[str, Any]]] = {
    202: {
        "description": "It is recorded.",
        "headers": {
            "Location": {
                "description": "Where its outcome will be; where nobody has to obey it, the record itself.",
                "schema": {"type": "string"},
            }
        },
    },
    422: {
        "model": models.ProblemDetails,
        "description": "The Idempotency-Key was used with another body; nothing was recorded.",
    },
}


class Acting:
    """One thread that acts. `threads`: its name, for another one beside it."""

    def __init__(self, context: Context, threads: str = "acts") -> None:
        self._context = context
        self._thread = ThreadPoolExecutor(1, threads)

    def router(self, tag: str) -> APIRouter:
        """Routes whose thread ends with the application."""

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[None]:
            try:
                yield
            finally:
                self.stop()

        return APIRouter(tags=[tag], lifespan=lifespan)

    def stop(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def ask(
        self, act: Callable[[], Asked], *, stage: str | None = None, journal: str | None = None
    ) -> Response:
        """202 for what `act` has recorded; `Problem` for a key that is another request's.

        `stage`: the stream of the stage that obeys it, which says what became of it; `journal`: that of a
        stage that has something to do now.
        """

        def work() -> Asked:
            asked = act()
            self._tell(journal if stage is None else f"{stage}.{asked.domain}")
            return asked

        try:
            asked = await get_running_loop().run_in_executor(self._thread, work)
        except KeyReused as error:
            raise Problem(422, str(error)) from None
        return _accepted(asked, has_outcome=stage is not None)

    def _tell(self, journal: str | None) -> None:
        """It is recorded: nobody who could not be told makes that undone, he finds it by himself."""
        if journal is None:
            return
        try:
            self._context.asked(journal)
        except StorageError as error:
            _log.warning("what was asked is obeyed later: no hint could be sent", error=str(error)[:300])

    def once(self, request: Request, act: BaseModel | None, key: str | None) -> Once | None:
        """The key with a digest of what is asked, and of where."""
        if key is None:
            return None
        if not key.isprintable():
            raise Problem(400, "Idempotency-Key has characters that cannot be shown; leave them out")
        asked = {} if act is None else act.model_dump(mode="json")
        digest = hashlib.sha256(encode([request.url.path, asked])).hexdigest()
        who = caller_of(request).principal or ""
        return Once(who, key, digest, self._context.observer.clock.now_ns())


def by(request: Request, author: str | None, reason: str) -> By:
    """Who says so: as the body has it, or as he is logged in."""
    caller = caller_of(request)
    name = author or caller.name
    if name is None:
        raise Problem(400, "author is missing; say who you are, for the record")
    return By(name, reason, caller.principal).checked()


def path_of(ref: str) -> str:
    """Where the outcome of a request is."""
    return f"/v1/commands/{ref}"


def _accepted(asked: Asked, *, has_outcome: bool) -> Response:
    outcome = path_of(asked.ref) if has_outcome else None
    body = {
        "ref": asked.ref, "outcome": outcome, "text": asked.text,
        "needs_confirmation": asked.needs_confirmation,
    }  # fmt: skip
    return answer(body, 202, headers={"Location": outcome or f"/v1/records/{asked.ref}"})


async def named(work: Awaitable[T]) -> T:
    """The result; 404 where the path names what is not there."""
    try:
        return await work
    except Unknown as error:
        raise Problem(404, str(error)) from None
