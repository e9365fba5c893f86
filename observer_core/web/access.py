"""Who calls, as it was proved, and what he may do.

Standalone without tokens everybody on this machine may do everything; with tokens, or in the Functions
app, nobody may do anything but look at what is open (`OPEN`) before he has said who he is. What is not
known to be right is refused: a token that is not known, or has ended; a signed-in user that cannot be
read; a request that did not come through the door that asks for a key. Secrets are compared in constant
time, with every one that is configured, and are never part of an answer, a log line or a record.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from observer_core.runtime.web_config import SCOPES, Scope, TokenConfig, WebConfig, all_of
from observer_core.safety.tokens import PREFIX, digest_of
from observer_core.shared.clock import Clock, format_time
from observer_core.web.easy_auth import PRINCIPAL, signed_in
from observer_core.web.failures import Failures, address_of
from observer_core.web.problems import Problem, answer

Proof = Literal["loopback", "token", "function_key", "easy_auth", "none"]
OPEN: Final = frozenset(("/", "/livez", "/readyz", "/health"))
"""What anybody may look at, and what lies under `OPEN_FOLDER`: the page without data, and statuses alone."""
OPEN_FOLDER: Final = "/assets/"
KEY_SHOWN: Final = "observer.key_shown"
"""In the ASGI scope of a request whose function key the Functions host has checked."""
_MOST: Final = 512
"""Characters of an Authorization header that is looked into."""
_ROLES: Final[dict[str, Scope]] = {f"Observer.{scope.capitalize()}": scope for scope in SCOPES}
"""What the app registration's roles, `Observer.Read` and so on, give."""
_log = structlog.get_logger("observer.web")


@dataclass(frozen=True, slots=True)
class Caller:
    """`principal`: who it was proved to be (None: nobody asked for proof); `name`: what to call him.

    `asks_as`: the only AuthZEN subject that he may ask the gate for (None: any). `until_ns`: when what
    proved it ends; an answer that goes on beyond it ends then.
    """

    name: str | None
    principal: str | None
    scopes: frozenset[Scope]
    proof: Proof
    asks_as: str | None = None
    until_ns: int | None = None


NOBODY: Final = Caller(None, None, frozenset(), "none")
ANYBODY_HERE: Final = Caller(None, None, frozenset(SCOPES), "loopback")


def caller_of(request: Request) -> Caller:
    """Who makes this request."""
    found: Caller = request.state.caller
    return found


@dataclass(frozen=True, slots=True)
class Needs:
    """A dependency: 401 unless it is known who calls, 403 unless he has `scope` (None: any will do)."""

    scope: Scope | None

    async def __call__(self, request: Request) -> None:
        caller = caller_of(request)
        if caller is NOBODY:
            raise unknown()
        if self.scope is not None and self.scope not in caller.scopes:
            have = ", ".join(scope for scope in SCOPES if scope in caller.scopes) or "none"
            raise Problem(
                403, f"this needs the scope {self.scope}; the scopes of this caller are: {have}",
                {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{self.scope}"'},
            )  # fmt: skip


def needs(scope: Scope | None) -> Needs:
    """A dependency: 403 unless the caller has `scope`; with None, 401 unless it is known who calls."""
    return Needs(scope)


def unknown() -> Problem:
    """Nobody has said who he is."""
    detail = (
        "who calls must be known here: send a token as `Authorization: Bearer qts_…` (`observer token new` "
        "makes one), or to the Functions app its key as x-functions-key"
    )
    return Problem(401, detail, {"WWW-Authenticate": 'Bearer realm="QTS Observer"'})


class Callers:
    """ASGI middleware: puts who calls where `caller_of` finds him, and lets nobody else pass.

    `here`: whoever reaches this server without a token is on this machine, and may do everything.
    `host`: the Functions host stands before it, and has checked a key where `KEY_SHOWN` is.
    `easy_auth`: App Service stands before it, and says who is signed in. `refused` counts, by reason.
    """

    def __init__(
        self, app: ASGIApp, *, web: WebConfig, clock: Clock, here: bool = False, host: bool = False,
        easy_auth: bool = False, refused: Callable[[str], None] = lambda reason: None,
        failures: Failures | None = None,
    ) -> None:  # fmt: skip
        self._app, self._clock, self._host, self._refused = app, clock, host, refused
        self._here = here and not web.token
        self._easy_auth = host and easy_auth
        self._key_holder = Caller("function key", "function_key", all_of(web.key_scopes()), "function_key")
        self._tokens = [_Kept.of(config) for config in web.token]
        self._failures = failures or Failures()

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # there are none: nobody would be asked for
            return
        try:
            caller = self._caller(scope, Headers(scope=scope))
            if caller is NOBODY and not _is_open(scope):
                self._refused("no_credentials")
                raise unknown()
        except Problem as problem:
            await (await answer(Request(scope), problem))(scope, receive, send)
            return
        scope["state"] = {**(scope.get("state") or {}), "caller": caller}
        await self._app(scope, receive, send)

    def _caller(self, scope: Connection, headers: Headers) -> Caller:
        given = headers.getlist("authorization")
        if self._host:
            # What else may stand there is for App Service, or for the host.
            if any(value.partition(" ")[2].lstrip().startswith(PREFIX) for value in given):
                return self._holder(given, scope)
            if not scope.get(KEY_SHOWN):
                return NOBODY
            if self._easy_auth and (told := headers.getlist(PRINCIPAL)):
                return self._signed_in(told, scope)
            return self._key_holder
        if self._here:
            return ANYBODY_HERE
        return self._holder(given, scope) if given else NOBODY

    def _holder(self, given: Sequence[str], scope: Connection) -> Caller:
        scheme, _, token = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer" or len(given[0]) > _MOST:
            raise self._failed(
                scope, "malformed", "one header `Authorization: Bearer qts_…` was expected, with a token"
            )
        kept = self._match(token.strip())
        if kept is None:
            detail = (
                "this token is not known here: it was mistyped, or has been taken out of the configuration"
            )
            raise self._failed(scope, "unknown token", detail)
        until_ns = kept.caller.until_ns
        if until_ns is not None and self._clock.now_ns() >= until_ns:
            detail = f"the token of {kept.caller.name} has ended at {format_time(until_ns)}; make another one"
            raise self._failed(scope, "ended token", detail, name=kept.caller.name)
        return kept.caller

    def _match(self, token: str) -> _Kept | None:
        """Every token is compared, and in constant time: how long it takes says nothing of any."""
        digest, found = digest_of(token), None
        for kept in self._tokens:
            if hmac.compare_digest(kept.digest, digest):
                found = kept
        return found

    def _signed_in(self, told: Sequence[str], scope: Connection) -> Caller:
        try:
            if len(told) > 1:
                raise ValueError("it is there more than once")
            user = signed_in(told[0])
        except ValueError as error:
            raise self._failed(
                scope, "unreadable principal", f"who is signed in cannot be read: {error}"
            ) from None
        scopes = tuple(_ROLES[role] for role in user.roles if role in _ROLES)
        return Caller(user.name, f"easy_auth:{user.issuer}/{user.id}", all_of(scopes), "easy_auth")

    def _failed(self, scope: Connection, reason: str, detail: str, **facts: str | None) -> Problem:
        """401; 429 for an address that has been wrong too often of late. Right credentials always pass."""
        address = address_of(scope)
        failed = self._failures.add(address)
        if failed.wait_s is not None:
            self._refused("too_many")
            text = "too many wrong credentials from this address of late; right ones are taken meanwhile"
            return Problem(429, text, {"Retry-After": str(failed.wait_s)})
        self._refused("wrong_credentials")
        more = {"more": "from there is not logged for a while"} if failed.last else {}
        _log.warning(
            "credentials refused", reason=reason, address=address, path=scope["path"][:300], **facts, **more
        )
        header = 'Bearer realm="QTS Observer", error="invalid_token"'
        return Problem(401, detail, {"WWW-Authenticate": header})


@dataclass(frozen=True, slots=True, repr=False)
class _Kept:
    digest: bytes
    caller: Caller

    @staticmethod
    def of(config: TokenConfig) -> _Kept:
        caller = Caller(
            config.name, f"token:{config.name}", all_of(config.scopes), "token", config.caller, config.until
        )  # fmt: skip
        return _Kept(bytes.fromhex(config.sha256.get_secret_value()), caller)


def _is_open(scope: Connection) -> bool:
    path = scope["path"]
    looks = scope["method"] in ("GET", "HEAD") and not scope.get("root_path")
    return looks and (path in OPEN or path.startswith(OPEN_FOLDER))
