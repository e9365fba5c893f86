"""Bodies of requests: bounded while they are read."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect, Request

from observer_core.web.problems import Problem

_SECONDS: Final = 10.0


async def small_body(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes; `Problem` when it is larger or does not arrive."""
    body = b""
    try:
        async with asyncio.timeout(_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > most:
                    raise Problem(413, f"the body has more than {most:,} bytes; send it in smaller parts")
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {_SECONDS:.0f} s") from None
    except ClientDisconnect:
        raise Problem(400, "the connection ended before the body did") from None
    return body
