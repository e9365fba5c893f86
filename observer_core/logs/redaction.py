"""Secrets never reach a log or an answer: masked by the name of their key, their type, or their look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pydantic import SecretBytes, SecretStr

MASK: Final = "***"
_DEPTH: Final = 12
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_KEY = re.compile(
    r"(?:^|[^a-z])(?:secret|token|password|passwd|passphrase|authorization|credential|cookie|signature|"
    r"(?:[a-z]*(?:api|access|account|private|shared|signing))?key|connection_?string|sas)s?(?:$|[^a-z])"
)
_SECRET_TEXT = (
    (re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"), MASK),
    (re.compile(r"\bqts_[\w-]{20,}"), MASK),
    (re.compile(r"(?i)\b(bearer|basic|token)\s+[\w.~+/-]{8,}=*"), rf"\1 {MASK}"),
    (
        re.compile(
            r"(?i)\b(sig|signature|accountkey|sharedaccesskey|password|passwd|pwd|secret|token|api_?key|"
            r"client_secret)=[^\s&;\"']+"
        ),
        rf"\1={MASK}",
    ),
)
# At the start or behind a space, quote, bracket, = or comma: not the slash inside BTC/USDT or a URL.
_ABSOLUTE = re.compile(r"(?:(?<=^)|(?<=[\s'\"(\[=,]))(?:[A-Za-z]:\\|/)[^\s'\"()\[\],:;]+")


def redact(key: str, value: Any, depth: int = 0) -> Any:
    """`value` as it may be shown under `key`: containers copied, secrets in them masked."""
    if isinstance(value, SecretStr | SecretBytes) or (value is not None and is_secret(key)):
        return MASK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        if depth == _DEPTH:
            return "…"
        return {name: redact(str(name), item, depth + 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return "…" if depth == _DEPTH else [redact(key, item, depth + 1) for item in value]
    return value


@lru_cache(4096)
def is_secret(key: str) -> bool:
    """Whether a value of this name is one: `token`, `api_key`, `clientSecret`, but not `monkey`."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key).lower()) is not None


def redact_text(text: str) -> str:
    """Text without user:password in URLs, our tokens and others', `sig=`, `AccountKey=` and the like."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def without_paths(text: str) -> str:
    """Text that may leave this machine: no secrets, and of absolute paths only the last part."""
    return _ABSOLUTE.sub(_last_part, redact_text(text))


def _last_part(path: re.Match[str]) -> str:
    return "…/" + re.split(r"[/\\]", path[0].rstrip("/\\"))[-1]
