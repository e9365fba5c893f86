"""Answers under /v1 that a client need not be sent twice: a strong ETag by the body's hash, and 304.

An answer that says its own `Cache-Control` is left alone (the gate's: each is another record), as are
streams and what is no JSON. A compressed answer is another representation and has another tag: the
same with the coding behind it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REVALIDATE: Final = "private, no-cache"
NOT_KEPT: Final = {"Cache-Control": "no-store"}
"""The headers of an answer that says so itself."""
_PREFIX: Final = "/v1/"
_JSON: Final = "application/json"
_MOST: Final = 16 * 1024 * 1024
_CODINGS: Final = ("-br", "-gzip", "-zstd")


def tag(body: bytes) -> str:
    """The ETag of a body as it is, before any coding."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def coded(etag: str, coding: str) -> str:
    """The ETag of the same body in a coding."""
    return f'{etag[:-1]}-{coding}"'


def known(if_none_match: str | None, etag: str) -> str | None:
    """The tag under which a client has the body already, in whatever coding; None when it has not."""
    if if_none_match is None:
        return None
    for candidate in if_none_match.split(","):
        opaque = candidate.strip().removeprefix("W/")
        if opaque == "*":
            return etag
        plain = opaque
        for coding in _CODINGS:
            plain = plain.removesuffix(coding + '"') + '"' if plain.endswith(coding + '"') else plain
        if plain == etag:
            return opaque
    return None


class Etags:
    """ASGI middleware, behind the one that compresses."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or not scope["path"].startswith(_PREFIX):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("if-none-match")
        held: Message | None = None

        async def tagged(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and _may_be_kept(message):
                held = message
                return
            start, held = held, None
            body = message.get("body", b"")
            if start is None or message.get("more_body") or len(body) > _MOST:
                if start is not None:
                    await send(start)
                await send(message)
                return
            etag = tag(body)
            headers = MutableHeaders(scope=start)
            headers["ETag"], headers["Cache-Control"] = etag, REVALIDATE
            same = known(asked, etag)
            if same is not None:
                headers["ETag"] = same
                headers.add_vary_header("Accept-Encoding")
                del headers["Content-Length"], headers["Content-Type"]
                start, message = {**start, "status": 304}, {**message, "body": b""}
            await send(start)
            await send(message)

        await self._app(scope, receive, tagged)


class CodedTags:
    """ASGI middleware, before the one that compresses: the tag of a compressed answer says how it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                coding, etag = headers.get("content-encoding"), headers.get("etag")
                if coding and etag and not etag.endswith(f'-{coding}"'):
                    headers["ETag"] = coded(etag, coding)
            await send(message)

        await self._app(scope, receive, marked)


def _may_be_kept(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return (
        start["status"] == 200 and kind == _JSON and "cache-control" not in headers and "etag" not in headers
    )
