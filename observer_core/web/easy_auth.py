"""Who App Service authentication ("Easy Auth") says is signed in: its X-MS-CLIENT-PRINCIPAL header.

Bounded, and refused whole when any of it is not as expected. Whether it may be believed at all is
decided elsewhere: where App Service does not stand before the app, anybody can write that header.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final

import orjson

PRINCIPAL: Final = "x-ms-client-principal"
MAX_BYTES: Final = 64 * 1024
MAX_CLAIMS: Final = 1_000
_LONGEST: Final = 256
_ISSUER: Final = ("iss",)
_IDS: Final = (
    ("http://schemas.microsoft.com/identity/claims/objectidentifier", "oid"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/nameidentifier", "sub"),
)
"""What names a person in his issuer's directory, the steadiest first, in both spellings."""
_NAMES: Final = (
    ("preferred_username",),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "email"),
    ("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "name"),
)
_ROLE_TYPES: Final = frozenset(("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"))


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person (or a program) in the directory of `issuer`."""

    issuer: str
    id: str
    name: str
    roles: tuple[str, ...]


def signed_in(header: str) -> SignedIn:
    """Who that is; `ValueError` says what is wrong, without showing it."""
    claims = _claims(_decoded(header))
    issuer = _one(claims, _ISSUER)
    ids = [found for types in _IDS if (found := _one(claims, types)) is not None]
    if issuer is None or not ids:
        raise ValueError("it names no issuer (iss), or nobody (oid, sub)")
    names = [found for types in _NAMES if (found := _one(claims, types)) is not None]
    roles = tuple(dict.fromkeys(value for kind, value in claims if kind in _ROLE_TYPES))
    return SignedIn(issuer, ids[0], names[0] if names else ids[0], roles)


def _decoded(header: str) -> dict[str, Any]:
    if len(header) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        text = base64.b64decode(header.encode("ascii") + b"=" * (-len(header) % 4), validate=True)
        value = orjson.loads(text)
    except (UnicodeEncodeError, binascii.Error, orjson.JSONDecodeError):
        raise ValueError("it is not base64 of JSON") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def _claims(value: dict[str, Any]) -> list[tuple[str, str]]:
    claims = value.get("claims")
    if not isinstance(claims, list) or len(claims) > MAX_CLAIMS:
        raise ValueError(f"its claims are no list of at most {MAX_CLAIMS:,}")
    found = []
    for claim in claims:
        kind, text = (claim.get("typ"), claim.get("val")) if isinstance(claim, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(text, str):
            raise ValueError("a claim of it has no typ and val that are texts")
        found.append((kind, text))
    return found


def _one(claims: list[tuple[str, str]], types: tuple[str, ...]) -> str | None:
    """The value of the claim of these types, if there is one; it must be one."""
    values = {text for kind, text in claims if kind in types}
    if not values:
        return None
    if len(values) > 1:
        raise ValueError(f"it has several claims {types[-1]}")
    (value,) = values
    if not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise ValueError(f"its claim {types[-1]} is empty, not printable, or over {_LONGEST} characters")
    return value
