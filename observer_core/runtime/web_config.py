"""`[web]`: where the port is, and who may do what there."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SecretStr,
    StringConstraints,
    model_validator,
)

from observer_core.safety.tokens import PREFIX
from observer_core.shared.clock import format_time, parse_time
from observer_core.shared.config import Config
from observer_core.shared.errors import InputError

Scope = Literal["read", "push", "operate", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "push", "operate", "admin")
INCLUDES: Final[dict[Scope, tuple[Scope, ...]]] = {
    "read": ("read",),
    "push": ("push",),
    "operate": ("operate", "read"),
    "admin": ("admin", "operate", "read"),
}
"""What a scope gives: nobody operates what he cannot see; observations are sent by whoever is to, only."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _time(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time with its zone was expected, like 2027-01-01T00:00:00Z")
        value = value.isoformat()
    if not isinstance(value, str):
        raise ValueError("a time was expected, like 2027-01-01T00:00:00Z")
    try:
        return parse_time(value)
    except InputError as error:
        raise ValueError(str(error)) from None


Time = Annotated[int, BeforeValidator(_time), PlainSerializer(format_time, return_type=str)]
"""Nanoseconds, written as an RFC 3339 time with its zone."""
Scopes = Annotated[tuple[Scope, ...], Field(min_length=1)]
TokenName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
HostName = Annotated[
    str, StringConstraints(to_lower=True, pattern=r"^(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])$")
]


class TokenConfig(Config):
    """Somebody's token: its sha256 (`observer token new` makes both), never itself.

    `caller`: the only AuthZEN subject.id it may ask as. `until`: it is refused from then on.
    """

    name: TokenName
    sha256: SecretStr
    scopes: Scopes
    caller: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    until: Time | None = None

    @model_validator(mode="after")
    def _holds_no_token(self) -> TokenConfig:
        # Here, where what came is not shown: it may be the token itself, put in by mistake.
        if self.name.startswith(PREFIX):
            raise ValueError(f"name begins with {PREFIX}, as a token does; name whose token it is")
        if _SHA256.fullmatch(self.sha256.get_secret_value()) is None:
            raise ValueError(
                "sha256 is not the 64 hexadecimal digits (lower case) of a token's sha256; "
                "the token itself must not be written here: `observer token new NAME` prints what to write"
            )
        return self


class WebConfig(Config):
    """`host` beyond this machine needs a `token`; with one, every request does, from this machine too.

    `hosts`: the Host headers that are answered besides this machine's own names. Where none is given, a
    server that listens wider answers to all: who has no token gets nothing, under whatever name he asks.
    `easy_auth`: believe who App Service says is signed in (Functions app only). `function_key_scopes`:
    what whoever has a function key may do: read and push, and operate too where nobody can be known
    better. Where somebody can, he would be a second person with the key alone.
    """

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    token: tuple[TokenConfig, ...] = ()
    hosts: tuple[HostName, ...] = ()
    easy_auth: bool = False
    function_key_scopes: Scopes | None = None

    @model_validator(mode="after")
    def _each_token_is_one(self) -> WebConfig:
        if name := _twice([item.name for item in self.token]):
            raise ValueError(f"token name {name!r} is given twice; each token needs its own")
        digests = [item.sha256.get_secret_value() for item in self.token]
        if (digest := _twice(digests)) is not None:
            names = [item.name for item in self.token if item.sha256.get_secret_value() == digest]
            raise ValueError(f"tokens {' and '.join(names)} are one and the same; make one for each")
        return self

    @model_validator(mode="after")
    def _other_names_need_tokens(self) -> WebConfig:
        if self.hosts and not self.token:
            raise ValueError(
                "hosts names what else this server is called, which others would ask it by; that needs a "
                "[[web.token]]: `observer token new NAME --scopes read` makes one"
            )
        return self

    def key_scopes(self) -> tuple[Scope, ...]:
        """What whoever has a function key may do."""
        if self.function_key_scopes is not None:
            return self.function_key_scopes
        return ("read", "push") if self.token or self.easy_auth else ("read", "push", "operate")


def all_of(scopes: tuple[Scope, ...]) -> frozenset[Scope]:
    """The scopes, with those that they include."""
    return frozenset(inner for scope in scopes for inner in INCLUDES[scope])


def _twice(values: list[Any]) -> Any:
    return next((value for value in values if values.count(value) > 1), None)
