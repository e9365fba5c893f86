"""What stands before every request: a check of its Host, and an answer whatever goes wrong behind it."""

from __future__ import annotations

import ipaddress
import secrets

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observer_core.web.problems import problem

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_log = structlog.get_logger("observer.web")


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address, an IPv6 one with or without brackets) is this machine alone."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware. With `loopback_only`, a request must name this machine in its Host header:
    a page on the Internet that had its name resolve to 127.0.0.1 does not (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, loopback_only: bool) -> None:
        self._app = app
        self._loopback_only = loopback_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if self._loopback_only and not is_loopback(_name(host)):
            detail = (
                f"this Observer answers to localhost, 127.0.0.1 and [::1] only, found Host {host[:100]!r}"
            )
            await problem(421, detail)(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except Exception as error:
            identity = secrets.token_hex(8)
            _log.exception("request failed", id=identity, method=scope["method"], path=scope["path"][:300])
            if started:
                raise error from None
            detail = f"something went wrong here; the log has it under {identity}"
            await problem(500, detail, id=identity)(scope, receive, send_guarded)


def _name(host: str) -> str:
    """The Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
