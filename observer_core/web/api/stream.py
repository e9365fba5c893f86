"""GET /v1/events/stream: events as they come, as Server-Sent Events.

The id of an event is a cursor, so a browser that was cut off goes on exactly behind what it had
(`Last-Event-ID`). What is sent is read in small steps, and the next step only once the client has taken
the last, so a slow client costs no memory; one that takes nothing for long is let go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Final

import orjson
import structlog
from fastapi import APIRouter, Depends, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from observer_core.runtime.acts.ground import Ground
from observer_core.runtime.reading.feed import After, Fed, Feed
from observer_core.runtime.reading.filters import Filter
from observer_core.runtime.reading.listing import check
from observer_core.web.access import caller_of, needs
from observer_core.web.api import models
from observer_core.web.api.acting import named
from observer_core.web.api.context import Context
from observer_core.web.api.filters import Domain, MinSeverity, Source, Subject, glob
from observer_core.web.problems import Problem
from observer_core.web.waiting import Waiting

MEDIA_TYPE: Final = "text/event-stream"
MAX_STREAMS: Final = 16
HEARTBEAT_S: Final = 10.0
_EVERY_S: Final = 0.1
_RETRY_MS: Final = 2_000
_AT_ONCE: Final = 200
_PATIENCE_S: Final = 30.0
_log = structlog.get_logger("observer.web")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_DESCRIBED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Each event's data is a RecordItem, its id the cursor behind it.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    501: {"model": models.ProblemDetails, "description": "Not in a Functions app: use the long poll."},
}
_Cursor = Annotated[
    str | None,
    Query(min_length=1, max_length=4_000, description="where to begin: `next` of the long poll, or `now`"),
]
_Last = Annotated[
    str | None,
    Header(alias="Last-Event-ID", min_length=1, max_length=4_000, description="what a browser had last"),
]


def router(context: Context) -> APIRouter:
    """/v1/events/stream."""
    routes = APIRouter(dependencies=[Depends(needs("read"))])
    ground = Ground(context.journals, context.observer.settings, context.gate)
    near = context.observer.settings.storage.kind == "local"
    waiting = Waiting("streams of events", near=near, most=MAX_STREAMS)

    @routes.get("/v1/events/stream", response_class=StreamingResponse, responses=_DESCRIBED)
    async def stream(
        request: Request, domain: Domain = None, source: Source = None, subject: Subject = None,
        type: Annotated[str | None, glob("only types that match (`pattern.*`, `feed.stale`)")] = None,  # noqa: A002
        severity: MinSeverity = None, after: _Cursor = None, last_event_id: _Last = None,
    ) -> Response:  # fmt: skip
        """Events as they come, as Server-Sent Events.

        From now on, or behind `Last-Event-ID` (a browser sends it when it connects again), else behind
        `after`. A comment comes at least every 10 seconds.
        """
        if context.runtime == "functions":
            detail = (
                "a Functions app cannot hold a stream open; use the long poll instead: "
                "v1/events?after=now&wait=25, and then with `next` as `after`"
            )
            raise Problem(501, detail)
        wanted = Filter(domain=domain, source=source, subject=subject, what=type, severity=severity)
        await named(context.read(partial(check, ground, wanted)))
        feed = Feed(context.journals, wanted)
        start = await context.read(partial(feed.start, last_event_id or after))
        events = _Events(context, feed, waiting, request.app.state, caller_of(request).until_ns)
        return _Stream(events.chunks(start), waiting)

    return routes


class _Events:
    """What one client is sent. Ends when the server stops, and when his token does."""

    def __init__(
        self, context: Context, feed: Feed, waiting: Waiting, state: Any, until_ns: int | None
    ) -> None:
        self._context, self._feed, self._waiting, self._state = context, feed, waiting, state
        self._until_ns = until_ns

    async def chunks(self, after: After) -> AsyncIterator[bytes]:
        yield b"retry: %d\n%s" % (_RETRY_MS, _beat(after))
        while not self._stopping:
            beat = time.monotonic()
            found = await self._next(after, HEARTBEAT_S)
            after = found.after
            if self._stopping:
                return
            if found.lines:
                yield b"".join(
                    b"id: %s\ndata: %s\n\n" % (behind.text().encode(), orjson.dumps(line.item()))
                    for line, behind in found.lines
                )
            elif time.monotonic() - beat >= HEARTBEAT_S:
                yield _beat(after)

    async def _next(self, start: After, wait: float) -> Fed:
        async def look(found: Fed | None) -> Fed:
            after = start if found is None else found.after
            return await self._context.read(partial(self._feed.since, after, _AT_ONCE))

        return await self._waiting.until(
            look, lambda found: bool(found.lines) or self._stopping, Fed.moved, wait, _EVERY_S
        )

    @property
    def _stopping(self) -> bool:
        if self._until_ns is not None and self._context.observer.clock.now_ns() >= self._until_ns:
            return True
        return bool(getattr(self._state, "stopping", False))


class _Stream(StreamingResponse):
    """Holds a place for as long as it is sent."""

    media_type = MEDIA_TYPE

    def __init__(self, chunks: AsyncIterator[bytes], waiting: Waiting) -> None:
        super().__init__(chunks, headers=_HEADERS)
        self._waiting = waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._waiting.one():
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async def patiently(message: Message) -> None:
            async with asyncio.timeout(_PATIENCE_S):
                await send(message)

        try:
            await super().stream_response(patiently)
        except TimeoutError:
            _log.info("a client of the event stream has taken nothing for too long", seconds=_PATIENCE_S)


def _beat(after: After) -> bytes:
    """A comment; the id moves a client on past what it is not sent."""
    return b": \nid: %s\n\n" % after.text().encode()
