"""What a backup's files look like: compressed, and encrypted for whoever may restore.

Contents are encrypted for age recipients (X25519), so the machine that makes backups cannot read them
back, and whoever takes it over cannot read older data than it holds. What it must read to add to them, the
index, is encrypted (AES-256-GCM) with a key that the store keeps in a row, and that lies beside the
backups encrypted for the same recipients. Names are an HMAC of the content under a key derived from that one:
plain hashes would tell whoever sees the names whether a content that he knows or guesses is there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from observer_core.shared.errors import ConfigError, InputError, StorageCorrupt

_LEVEL: Final = 6
_PACKED: Final = b"PAR1"
"""How a Parquet file begins, which is compressed already."""
_NONCE: Final = 12


class Seal(Protocol):
    """How contents become files and names. `key` identifies the index's key; None: nothing is encrypted."""

    @property
    def key(self) -> str | None: ...
    @property
    def opens(self) -> bool:
        """Whether contents can be read back, not only the index."""

    def name(self, digest: bytes) -> str:
        """Of a content with this sha256."""

    def close(self, content: bytes, *, index: bool) -> bytes:
        """What is stored. Of equal contents it may differ."""

    def open(self, stored: bytes, size: int, *, index: bool) -> bytes:
        """The content of `size` bytes; `StorageCorrupt` when it is not what was stored."""


class Plain:
    """Compressed where that makes it smaller; named by sha256."""

    key = None
    opens = True

    def name(self, digest: bytes) -> str:
        return digest.hex()

    def close(self, content: bytes, *, index: bool) -> bytes:
        return _smaller(content)

    def open(self, stored: bytes, size: int, *, index: bool) -> bytes:
        return _whole(stored, size)


@dataclass(frozen=True)
class IndexKey:
    """The key of an index, and for whom it is. Never shown."""

    secret: bytes = field(repr=False)
    recipients: tuple[str, ...]

    @staticmethod
    def new(recipients: Sequence[str]) -> IndexKey:
        return IndexKey(secrets.token_bytes(32), tuple(sorted(recipients)))

    @property
    def id(self) -> str:
        """Other recipients need another one: what was encrypted before, they could not read."""
        return self.derived(b"id " + " ".join(self.recipients).encode()).hex()[:16]

    def derived(self, what: bytes) -> bytes:
        return hmac.digest(self.secret, what, "sha256")

    def for_recipients(self) -> bytes:
        """The key itself, as it lies beside the backups."""
        return _encrypted("\n".join((self.secret.hex(), *self.recipients)).encode(), self.recipients)

    @staticmethod
    def read(stored: bytes, identity: Identity) -> IndexKey:
        secret, *recipients = identity.decrypted(stored).decode().split("\n")
        return IndexKey(bytes.fromhex(secret), tuple(recipients))


class Sealed:
    """Encrypted, and named so that names say nothing. Without `identity` only the index can be read."""

    def __init__(self, key: IndexKey, identity: Identity | None = None) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._key, self._identity = key, identity
        self._names = key.derived(b"names")
        self._index = AESGCM(key.derived(b"index"))

    def __repr__(self) -> str:
        return f"Sealed({self._key.id!r})"

    @property
    def key(self) -> str:
        return self._key.id

    @property
    def opens(self) -> bool:
        return self._identity is not None

    def name(self, digest: bytes) -> str:
        return hmac.digest(self._names, digest, "sha256").hex()

    def close(self, content: bytes, *, index: bool) -> bytes:
        smaller = _smaller(content)
        if not index:
            return _encrypted(smaller, self._key.recipients)
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._index.encrypt(nonce, smaller, None)

    def open(self, stored: bytes, size: int, *, index: bool) -> bytes:
        from cryptography.exceptions import InvalidTag

        if index:
            try:
                return _whole(self._index.decrypt(stored[:_NONCE], stored[_NONCE:], None), size)
            except (InvalidTag, ValueError):
                raise StorageCorrupt("it does not decrypt: it is not what was written") from None
        if self._identity is None:
            raise InputError(
                "this backup is encrypted: give the identity of one of its recipients (--identity FILE)"
            )
        return _whole(self._identity.decrypted(stored), size)


def _smaller(content: bytes) -> bytes:
    if not content.startswith(_PACKED):
        packed = zlib.compress(content, _LEVEL)
        if len(packed) < len(content):
            return b"z" + packed
    return b"r" + content


def _whole(data: bytes, size: int) -> bytes:
    """Never more than `size` bytes, whatever somebody has put there."""
    content = data[1:]
    if data[:1] == b"z":
        try:
            content = zlib.decompressobj().decompress(content, size + 1)
        except zlib.error as error:
            raise StorageCorrupt(f"it does not decompress: {error}") from None
    if len(content) != size or data[:1] not in (b"z", b"r"):
        raise StorageCorrupt(f"it is not the {size} bytes that were written")
    return content


# ---------------------------------------------------------------------- age


class Identity:
    """The secret keys of an age identity file. Never shown."""

    def __init__(self, keys: Sequence[Any]) -> None:
        self._keys = list(keys)

    def __repr__(self) -> str:
        return f"Identity({', '.join(self.recipients)})"

    @property
    def recipients(self) -> list[str]:
        """For whom has to be encrypted, so that this can decrypt."""
        return [str(key.to_public()) for key in self._keys]

    @staticmethod
    def read(path: Path) -> Identity:
        """`ConfigError` when there is none, or others than its owner may read it."""
        age = _age()
        try:
            with path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise ConfigError(
                        f"the identity {path} may be read by others than its owner; chmod 600 {path}"
                    )
                text = file.read().decode("ascii", "replace")
        except OSError as error:
            raise ConfigError(f"the identity {path} cannot be read: {error.strerror}") from None
        lines = [line.strip() for line in text.splitlines()]
        try:
            keys = [age.x25519.Identity.from_str(line) for line in lines if line and line[0] != "#"]
        except age.IdentityError:
            keys = []
        if not keys:
            raise ConfigError(f"{path} is no identity of age: a line AGE-SECRET-KEY-1… was expected")
        return Identity(keys)

    @staticmethod
    def make(path: Path) -> str:
        """Writes a new identity to a file that is not there yet; gives its recipient."""
        key = _age().x25519.Identity.generate()
        recipient = str(key.to_public())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"# public key: {recipient}\n{key}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write the identity {path}: {error.strerror}") from None
        return recipient

    def decrypted(self, stored: bytes) -> bytes:
        age = _age()
        try:
            content: bytes = age.decrypt(stored, self._keys)
        except age.DecryptError as error:
            raise StorageCorrupt(
                f"it does not decrypt ({error}): it is not what was written, or for another identity"
            ) from None
        return content


def check_recipients(recipients: Sequence[str]) -> None:
    """`ConfigError` names the one that is none."""
    age = _age()
    for text in recipients:
        try:
            age.x25519.Recipient.from_str(text)
        except age.RecipientError as error:
            raise ConfigError(f"{text!r} is no recipient of age: {error}") from None


def _encrypted(content: bytes, recipients: Sequence[str]) -> bytes:
    age = _age()
    stored: bytes = age.encrypt(content, [age.x25519.Recipient.from_str(text) for text in recipients])
    return stored


def _age() -> Any:
    try:
        import pyrage as found
    except ImportError:
        raise ConfigError(
            "encrypted backups need pyrage, which is not installed: pip install 'qts-observer[backup]'"
        ) from None
    return found


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
