"""Tokens: random, given once to whoever is to call, and kept nowhere; what is kept is their sha256.

32 random bytes cannot be guessed, so a plain hash keeps them: there is nothing for a slow one to slow down.
The prefix lets people, and programs that look for secrets that have leaked, see what it is.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

PREFIX: Final = "qts_"
_BYTES: Final = 32


def new_token() -> str:
    """`qts_` and 32 random bytes, in base64url."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(token: str) -> bytes:
    """The sha256 of a token, or of whatever is said to be one."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
