"""Bodies of requests: bounded while they are read, in size and in time."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observer_core.web.problems import Problem

MOST: Final = 256 * 1024
_SECONDS: Final = 10.0
_OWN: Final = "/v1/snapshots/"
"""Pushes are larger, and have a limit of their own."""


class BoundedBodies:
    """ASGI middleware: 413 and 408 for a body that is too large or does not arrive, whoever reads it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_OWN):
            await self._app(scope, receive, send)
            return
        length, whole, end = 0, False, asyncio.get_running_loop().time() + _SECONDS

        async def bounded() -> Message:
            nonlocal length, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(end):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _late()) from None
            length += len(message.get("body", b""))
            if length > MOST:
                raise HTTPException(413, _large(MOST))
            whole = not message.get("more_body", False)
            return message

        await self._app(scope, bounded, send)


async def small_body(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes; `Problem` when it is larger or does not arrive."""
    body = b""
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise Problem(413, _large(most))
    except TimeoutError:
        raise Problem(408, _late()) from None
    except ClientDisconnect:
        raise Problem(400, "the connection ended before the body did") from None
    return body


def _large(most: int) -> str:
    return f"the body has more than {most:,} bytes; send it in smaller parts"


def _late() -> str:
    return f"the body did not arrive within {_SECONDS:.0f} s"
