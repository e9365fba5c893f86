"""Secrets never reach a log or an answer: masked by the name of their key, their type, their look, or
because they are known: `know` is told each secret that the settings read, and what they hold of one.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit
from uuid import UUID

from pydantic import SecretBytes, SecretStr

MASK: Final = "***"
_DEPTH: Final = 12
_PLAIN: Final = (bool, int, float, date, time, Enum, UUID)
_LEAST_KNOWN: Final = 6
"""A shorter secret would mask what has nothing to do with it."""
_LEAST_PART: Final = 12
"""Of an address: a shorter part of its path is a word."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_KEY = re.compile(
    r"(?:^|[^a-z])(?:secret|token|password|passwd|passphrase|authorization|credential|cookie|signature|"
    r"(?:[a-z]*(?:api|access|account|private|shared|signing))?key|connection_?string|sas)s?(?:$|[^a-z])"
)
_NAME: Final = (
    r"(?<![\w.-])([\w.-]*(?:sig|signature|passw(?:or)?d|pwd|passphrase|secret|token|credential|"
    r"(?:api|access|account|private|shared|signing|secret|storage|subscription|instrumentation|functions)"
    r"(?:[_-]?access)?[_-]?key"
)
"""What secrets are called inside a text; one look at a word, however long it is."""
_VALUE: Final = r"""(?:b?"[^"]*"|b?'[^']*'|\\?["']?[^\s&;"'\\]+)"""
_SECRET_TEXT: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    (("://",), re.compile(r"(?<=://)[^/\s?#'\"<>]+(?=@)"), MASK),
    (("qts_",), re.compile(r"\bqts_[\w-]{20,}"), MASK),
    (("xox",), re.compile(r"\bxox[a-z]-[\w-]{8,}"), MASK),
    (("gh", "github_"), re.compile(r"\b(?:gh[a-z]_|github_pat_)\w{16,}"), MASK),
    (("eyj",), re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*"), MASK),
    (("age-secret-key-",), re.compile(r"\bAGE-SECRET-KEY-[0-9A-Z]+", re.IGNORECASE), MASK),
    (
        ("private key-----",),
        re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END|$)", re.DOTALL),
        rf"\1{MASK}\2",
    ),
    (
        ("://",),
        re.compile(
            r"(?i)(?<=://)((?:hooks\.slack|[\w.-]*\.webhook\.office|hc-ping|discord(?:app)?)\.com|"
            r"api\.telegram\.org)/[^\s'\"]+"
        ),
        rf"\1/{MASK}",
    ),
    # Before those that would take `Basic` for all of it.
    (
        ("authorization", "cookie", "-key"),
        re.compile(
            # But for what an answer tells a caller to send.
            r"(?i)(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie|(?:[a-z]+-)+key)\s*:"
            r"(?! ?Bearer qts_…)\s*[^\r\n\"',]+"
        ),
        rf"\1: {MASK}",
    ),
    (
        ("bearer", "basic", "token"),
        re.compile(r"(?i)\b(bearer|basic|token)\s+[\w.~+/-]{8,}=*"),
        rf"\1 {MASK}",
    ),
    (("=",), re.compile(rf"(?i){_NAME}))=\s*{_VALUE}"), rf"\1={MASK}"),
    (
        ("'", '"'),
        re.compile(rf"(?i){_NAME}|authorization|cookie))(\\?[\"'])\s*[:=]\s*{_VALUE}"),
        rf"\1\2: \2{MASK}\2",
    ),
    (("=",), re.compile(r"(?i)(?<=[?&])(code|key|auth)=[^\s&;\"'#]+"), rf"\1={MASK}"),
)
"""Where one of the words (in lower case) is not in a text, the pattern need not look for it."""
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
    if value is None or isinstance(value, _PLAIN) or type(value).__module__ == "numpy":
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return redact(key, {item.name: getattr(value, item.name) for item in fields(value)}, depth)
    return redact_text(repr(value))  # whoever writes it would show as much, and mask nothing


@lru_cache(4096)
def is_secret(key: str) -> bool:
    """Whether a value of this name is one: `token`, `api_key`, `clientSecret`, but not `monkey`."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key).lower()) is not None


def redact_text(text: str) -> str:
    """Text without what is known as a secret, who an address is asked as, our tokens and others', `sig=`,
    `"password": …`, `x-api-key: …` and the like.
    """
    if _known.pattern is not None:
        text = _known.pattern.sub(MASK, text)
    lower = text.lower()
    for words, pattern, replacement in _SECRET_TEXT:
        for word in words:
            if word in lower:
                text = pattern.sub(replacement, text)
                break
    return text


def know(secret: str) -> None:
    """From now on `secret` is masked wherever it stands in a text, and so are its parts that are secret:
    the path of an address, the keys of a connection string. Safe to repeat, from any thread.
    """
    _known.add(secret)


class _Known:
    """The secrets of this process."""

    def __init__(self) -> None:
        self.pattern: re.Pattern[str] | None = None
        self._texts: set[str] = set()
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        with self._lock:
            if secret in self._texts:
                return
            self._texts.update(text for text in _parts(secret) if len(text) >= _LEAST_KNOWN)
            # Longest first: a part of a secret must not keep the whole from being found.
            texts = sorted(self._texts, key=lambda text: (-len(text), text))
            self.pattern = re.compile("|".join(map(re.escape, texts))) if texts else None


def _parts(secret: str) -> Iterator[str]:
    """What is not to be seen of a secret, also as it is written inside an address."""
    pairs = [item.partition("=") for item in re.split("[;,]", secret) if "=" in item]
    named = [value.strip() for name, _, value in pairs if is_secret(name.strip())]
    if re.match(r"https?://", secret, re.IGNORECASE):
        try:
            where = urlsplit(secret)
        except ValueError:
            yield secret
            return
        found = [secret, f"{where.path}?{where.query}" if where.query else where.path]
        found += [part for part in where.path.split("/") if len(part) >= _LEAST_PART]
        found += [value for _, _, value in (pair.partition("=") for pair in where.query.split("&"))]
    elif len(pairs) > 1 or named:  # a connection string: where it leads may be seen
        # Of `Bearer abc` what is secret may stand alone elsewhere.
        found = named + [value.rpartition(" ")[2] for value in named]
    else:
        found = [secret]
    for text in found:
        yield text
        yield quote(text, safe="")
        yield unquote(text)


_known: Final = _Known()


def without_paths(text: str) -> str:
    """Text that may leave this machine: no secrets, and of absolute paths only the last part."""
    return _ABSOLUTE.sub(_last_part, redact_text(text))


def _last_part(path: re.Match[str]) -> str:
    return "…/" + re.split(r"[/\\]", path[0].rstrip("/\\"))[-1]
