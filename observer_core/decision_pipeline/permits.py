"""Permit receipts: what an allow said, to whom, for how long, and what it rested on. Pure.

A receipt is a JSON Web Signature in compact form (RFC 7515) signed with Ed25519 (`EdDSA`,
RFC 8037): three base64url parts, which any JOSE library verifies with the public key and
nothing else. The claims `sub`, `jti`, `iat` and `exp` are those of RFC 7519, so a JWT
library also enforces the end (whole seconds, rounded down: never later than the exact
`expires_ns`). `rests` names each journal that the answer was read from with how many
records it had and the hash of its chain there: whoever has the journals, or an export of them,
can check that these were the journals. This module reads and writes the parts; keys are
others' business (`safety.signing`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field, model_validator

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.config import Config, DurationNs, EnvSecret
from observer_core.shared.errors import InputError, RecordError
from observer_core.shared.records import Evaluation, Json

TYPE: Final = "qts-permit+jwt"
ISSUER: Final = "qts-observer"
LONGEST: Final = 64 * 1024
_HASH = re.compile(r"[0-9a-f]{64}")


class PermitsConfig(Config):
    """`[permits]`: with a key, an allow can return a receipt.

    `key_file` is a private key that only its owner may read, `key` names the variable of the
    environment that holds one (on Azure a Key Vault reference). `lifetime`: a receipt ends
    after so long, and never later than the answer itself is valid. `trusted`: files of
    public keys whose receipts count too, those of keys that are no longer signed with, say.
    """

    key: EnvSecret | None = None
    key_file: Path | None = None
    lifetime: Annotated[DurationNs, Field(ge=SECOND, le=86_400 * SECOND)] = 30 * SECOND
    trusted: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _one_key(self) -> PermitsConfig:
        if self.key is not None and self.key_file is not None:
            raise ValueError("key (of the environment) and key_file are two keys; give one of them")
        return self


class Rest(NamedTuple):
    """What an answer rested on of one journal: its records up to `position`, whose chain has `hash`."""

    position: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """`answer` is the gate journal's record (`gate.live@17`).

    `epoch` and `policies` (the epoch's identity) say which configuration the decisions were made by.
    """

    answer: str
    caller: str
    action: str
    resource: str
    resource_type: str
    domain: str
    issued_ns: int
    expires_ns: int
    rests: Mapping[str, Rest]
    epoch: int = 0
    policies: str = ""

    @staticmethod
    def of(
        record: Evaluation, answer: str, domain: str, rests: Mapping[str, Rest], lifetime_ns: int,
        epoch: int = 0, policies: str = "",
    ) -> Permit:  # fmt: skip
        """What a recorded allow permits; `InputError` for a denial."""
        if record.verdict != "allow":
            raise InputError(f"{answer} is a denial; there is no permit for it")
        return Permit(
            answer=answer, caller=record.caller, action=record.action, resource=record.resource,
            resource_type=record.resource_type, domain=domain, issued_ns=record.time_ns,
            expires_ns=min(record.valid_until_ns, record.time_ns + lifetime_ns), rests=rests, epoch=epoch,
            policies=policies,
        )  # fmt: skip

    def claims(self) -> Json:
        return {
            "iss": ISSUER, "sub": self.caller, "jti": self.answer, "iat": self.issued_ns // SECOND,
            "exp": self.expires_ns // SECOND,
            "permit": {
                "action": self.action, "resource": self.resource, "resource_type": self.resource_type,
                "domain": self.domain, "issued_ns": self.issued_ns, "expires_ns": self.expires_ns,
                "rests": {name: list(rest) for name, rest in self.rests.items()},
                "epoch": self.epoch, "policies": self.policies,
            },
        }  # fmt: skip

    @staticmethod
    def read(claims: Any) -> Permit:
        """The permit of a receipt's claims; `InputError` names the one that cannot be used."""
        inner = _typed(claims, "permit", dict)
        rests = {}
        for name, value in _typed(inner, "rests", dict).items():
            if not (
                isinstance(value, list) and len(value) == 2 and _is_int(value[0]) and value[0] >= 0
                and isinstance(value[1], str) and _HASH.fullmatch(value[1])
            ):  # fmt: skip
                raise InputError(f"the receipt's rests.{name} is not a position and a sha256 in hex")
            rests[name] = Rest(value[0], value[1])
        permit = Permit(
            answer=_typed(claims, "jti", str), caller=_typed(claims, "sub", str), rests=rests,
            **{name: _typed(inner, name, str) for name in ("action", "resource", "resource_type", "domain",
                                                           "policies")},
            **{name: _typed(inner, name, int) for name in ("issued_ns", "expires_ns", "epoch")},
        )  # fmt: skip
        if claims != permit.claims():
            raise InputError(
                "the receipt's claims contradict each other, or there are more of them than a permit has "
                f"(iss {ISSUER!r}, iat and exp in whole seconds of issued_ns and expires_ns)"
            )
        return permit

    def lapse(self, at_ns: int) -> str | None:
        """Why it does not hold at that moment; None when it does."""
        if at_ns < self.issued_ns:
            return f"it holds from {format_time(self.issued_ns)} on, not yet at {format_time(at_ns)}"
        if at_ns >= self.expires_ns:
            return f"it has expired at {format_time(self.expires_ns)}; asked about is {format_time(at_ns)}"
        return None


class Receipt(NamedTuple):
    """A receipt taken apart: nothing of it is to be believed before the signature is verified.

    `key`: the id of the key it says it is signed with. `signed`: the bytes that the signature is over.
    """

    key: str
    signed: bytes
    signature: bytes
    claims: Any


def unsigned(permit: Permit, key: str) -> bytes:
    """The bytes to sign, which are also the first two parts of the receipt."""
    header = {"alg": "EdDSA", "kid": key, "typ": TYPE}
    return _base64url(encode(header)) + b"." + _base64url(encode(permit.claims()))


def assembled(signed: bytes, signature: bytes) -> str:
    return (signed + b"." + _base64url(signature)).decode()


def taken_apart(text: str) -> Receipt:
    """`InputError` says what is wrong with a text that is no receipt."""
    parts = text.strip().split(".")
    if len(parts) != 3 or len(text) > LONGEST:
        raise InputError(
            f"a receipt has three base64url parts joined by dots, {LONGEST} characters at most; "
            f"found {len(parts)} parts, {len(text)} characters"
        )
    header, claims, signature = (_from_base64url(part) for part in parts)
    try:
        found = decode(header)
        values = decode(claims)
    except RecordError as error:
        raise InputError(f"the receipt's header or claims are not JSON: {error}") from None
    if not isinstance(found, dict) or found.get("alg") != "EdDSA" or found.get("typ") != TYPE:
        raise InputError(f'the receipt\'s header is not that of a permit: "alg":"EdDSA","typ":"{TYPE}"')
    if "crit" in found or not isinstance(found.get("kid"), str):
        raise InputError('the receipt\'s header needs "kid", the id of its key, and no "crit"')
    return Receipt(found["kid"], f"{parts[0]}.{parts[1]}".encode(), signature, values)


def _typed(values: Any, name: str, kind: type) -> Any:
    found = values.get(name) if isinstance(values, dict) else None
    if not isinstance(found, kind) or isinstance(found, bool):
        raise InputError(f"the receipt's claim {name!r} is missing, or no {kind.__name__}")
    return found


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _from_base64url(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    # One spelling only: other spellings of the same bytes would be other receipts for the same permit.
    if not text or _base64url(data).decode() != text:
        raise InputError("a part of the receipt is not base64url without padding")
    return data
