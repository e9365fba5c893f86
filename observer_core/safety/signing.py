"""Ed25519 keys: from a file that only its owner may read, or from a secret; never shown.

Neither `repr` nor an error holds anything of a private key. A key's id is its JWK
thumbprint (RFC 7638), so a new key has a new id by itself. `cryptography` is imported when
a key is used, and not before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from observer_core.shared.errors import ConfigError, InputError

_SEED: Final = 32
_EXISTS: Final = "{name} exists; a key is never written over: give another name"


class PublicKey:
    """Verifies. `id` names it in receipts."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.id = _thumbprint(raw)

    def __repr__(self) -> str:
        return f"PublicKey({self.id})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def verifies(self, signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            _public(self.raw).verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def pem(self) -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        found: bytes = _public(self.raw).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found.decode()

    def jwk(self) -> dict[str, str]:
        return {**_jwk(self.raw), "alg": "EdDSA", "kid": self.id, "use": "sig"}

    @staticmethod
    def read(text: str, where: str) -> list[PublicKey]:
        """The keys of a PEM, a JWK or a JWK set; `InputError` when there is none in it."""
        stripped = text.strip()
        try:
            if stripped.startswith("{"):
                value = json.loads(stripped)
                return [_from_jwk(item) for item in value.get("keys", [value])]
            from cryptography.hazmat.primitives.serialization import load_pem_public_key

            found = load_pem_public_key(stripped.encode())
            return [PublicKey(_raw(found))]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{where}: expected an Ed25519 public key (PEM, JWK or JWK set); "
                "`observer permit key show` prints one"
            ) from None


class SigningKey:
    """Signs. Not to be copied, pickled or printed."""

    def __init__(self, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = PublicKey(_raw(self._key.public_key()))

    @property
    def id(self) -> str:
        return self.public.id

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    def __reduce__(self) -> Any:
        raise TypeError("a signing key is not pickled")

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    @staticmethod
    def new() -> SigningKey:
        return SigningKey(os.urandom(_SEED))

    @staticmethod
    def read(text: str, where: str) -> SigningKey:
        """From a PEM (PKCS 8; `\\n` may stand for its line ends), or the 32 bytes of the key in base64."""
        stripped = text.strip().replace("\\n", "\n")
        try:
            if stripped.startswith("-----"):
                from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
                from cryptography.hazmat.primitives.serialization import load_pem_private_key

                found = load_pem_private_key(stripped.encode(), password=None)
                if not isinstance(found, Ed25519PrivateKey):
                    raise ValueError
                return SigningKey(found.private_bytes_raw())
            padded = stripped + "=" * (-len(stripped) % 4)
            seed = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
            if len(seed) != _SEED:
                raise ValueError
            return SigningKey(seed)
        except (ValueError, TypeError, binascii.Error):
            raise ConfigError(
                f"{where}: expected an Ed25519 private key without a password: PEM (PKCS 8), or 32 bytes in "
                "base64; `observer permit key new FILE` makes one. What was found is not shown"
            ) from None

    def pem(self) -> str:
        """The private key itself: for its file alone."""
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
        )

        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def read_key_file(path: Path) -> SigningKey:
    """The private key of a file; `ConfigError` unless it is there and only its owner may read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            f"the key file {path} cannot be read: {error.strerror}; `observer permit key new` makes one"
        ) from None
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode & 0o777
        if mode & 0o077:
            raise ConfigError(
                f"the key file {path} has mode {mode:04o}, so that others than its owner may read or change "
                f"it; chmod 600 {path}, and if it was open to others for long, make a new key"
            )
        text = file.read(64 * 1024).decode(errors="replace")
    return SigningKey.read(text, f"the key file {path}")


def write_key_file(path: Path, key: SigningKey) -> Path:
    """Writes a new file with mode 0600, and its public key beside it (`.pub`); gives the path of that."""
    public = path.with_name(path.name + ".pub")
    path.parent.mkdir(parents=True, exist_ok=True)
    for name in (path, public):
        if name.exists():
            raise InputError(_EXISTS.format(name=name))
    for name, text, mode in ((path, key.pem(), 0o600), (public, key.public.pem(), 0o644)):
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError:
            raise InputError(_EXISTS.format(name=name)) from None
        with open(descriptor, "w") as file:
            os.fchmod(descriptor, mode)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    return public


@lru_cache(maxsize=64)
def _public(raw: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(raw)


def _raw(key: Any) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not Ed25519")
    return key.public_bytes_raw()


def _jwk(raw: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()}


def _from_jwk(value: Any) -> PublicKey:
    if value["kty"] != "OKP" or value["crv"] != "Ed25519" or "d" in value:
        raise ValueError("not a public Ed25519 key")
    text = value["x"]
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    _public(raw)
    return PublicKey(raw)


def _thumbprint(raw: bytes) -> str:
    text = json.dumps(_jwk(raw), sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
