"""What stands before every request, and answers whatever goes wrong behind it.

A request must ask for this server by a name of its own (DNS rebinding), and what would change something
must not come from another site's page: its body is JSON, which no form can send; its Origin, if it has
one, is this server; its Sec-Fetch-Site, if it has one, says the same. There are no cookies and no CORS
headers, ever. Where no tokens are asked for, these are what keeps a page on the Internet, opened on this
machine, from operating the Observer.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Sequence
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observer_core.logs.redaction import without_paths
from observer_core.snapshot_engine.sources.push import CONTENT_TYPES
from observer_core.web.problems import Problem, problem

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_HSTS: Final = "max-age=31536000"
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
_OWN: Final = frozenset(("same-origin", "none"))
_JSON: Final = ("application/json",)
_PUSHES: Final = "/v1/snapshots/"
_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
_PORTS: Final = {"http": ":80", "https": ":443"}
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
    """ASGI middleware. With `loopback_only`, or with `hosts`, a request must name this machine, or one of
    `hosts`, in its Host header: a page on the Internet that had its name resolve to 127.0.0.1 does not.

    `unproved`: nobody is asked who he is, so that nothing may come through a proxy, which would let in all
    whom it serves.
    """

    def __init__(
        self, app: ASGIApp, *, loopback_only: bool, hosts: Sequence[str] = (), unproved: bool = False
    ) -> None:
        self._app = app
        self._named = loopback_only or bool(hosts)
        self._hosts = frozenset(host.lower() for host in hosts)
        self._unproved = unproved

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
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", _HSTS)
            await send(message)

        try:
            self._check(scope, Headers(scope=scope))
        except Problem as found:
            refusal = problem(found.status, without_paths(found.detail), found.headers)
            await refusal(scope, receive, send_guarded)
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

    def _check(self, scope: Scope, headers: Headers) -> None:
        """`Problem` for a request that must not go on."""
        hosts = headers.getlist("host")
        host = hosts[0] if hosts else ""
        if self._named and (len(hosts) != 1 or not self._is_named(host)):
            names = ", ".join(("localhost, 127.0.0.1 and [::1]", *sorted(self._hosts)))
            raise Problem(421, f"this Observer answers to {names} only, found Host {host[:100]!r}")
        if self._unproved and (name := next((name for name in _FORWARDED if name in headers), None)):
            raise Problem(
                403, f"this came through a proxy ({name}), which lets in whomever it serves: configure a "
                "[[web.token]] (`observer token new`), or ask without the proxy"
            )  # fmt: skip
        if scope["method"] not in _SAFE:
            self._check_act(scope, headers, host)
        else:
            self._check_look(headers)

    def _is_named(self, host: str) -> bool:
        name = _name(host).lower().rstrip(".")
        return is_loopback(name) or name in self._hosts

    def _check_act(self, scope: Scope, headers: Headers, host: str) -> None:
        for origin in headers.getlist("origin"):
            if not self._is_own(origin.lower(), scope, host.lower()):
                raise Problem(
                    403, f"this came from a page of {origin[:100]!r}, which may change nothing here; this "
                    "server's own page may, and programs, which send no Origin"
                )  # fmt: skip
        site = headers.get("sec-fetch-site")
        if site is not None and site not in _OWN:
            raise Problem(
                403, f"this came from another site's page ({site[:50]}), which may change nothing here"
            )  # fmt: skip
        kind = headers.get("content-type", "")
        if "content-type" in headers or _has_body(headers):
            types = CONTENT_TYPES if scope["path"].startswith(_PUSHES) else _JSON
            if kind.partition(";")[0].strip().lower() not in types:
                expected = ", ".join(types)
                detail = f"content type {kind[:100]!r} is not taken; expected {expected}"
                raise Problem(415, detail, {"Accept": expected})

    def _is_own(self, origin: str, scope: Scope, host: str) -> bool:
        """Whether it is this server as it was asked. Where tokens are asked for, it may be behind a proxy
        that ends TLS, so that the page's https is http here.
        """
        scheme, _, at = origin.partition("://")
        if scheme != scope.get("scheme", "http") and (self._unproved or scheme != "https"):
            return False
        return at == host or at == host.removesuffix(_PORTS.get(scheme, ":")) or _name(at) in self._hosts

    @staticmethod
    def _check_look(headers: Headers) -> None:
        """Another site may link here, and may embed or fetch nothing: asking the gate makes a record."""
        site = headers.get("sec-fetch-site")
        if site is None or site in _OWN:
            return
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if not followed:
            raise Problem(403, f"this came from another site's page ({site[:50]}), which may only link here")


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0").strip() not in ("", "0") or "transfer-encoding" in headers


def _name(host: str) -> str:
    """The Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
