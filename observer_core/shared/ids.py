"""Ids are derived from what they name, never random: the same input gives the same id anywhere."""

from __future__ import annotations

import hashlib
from functools import lru_cache


def derive(*parts: str | int) -> str:
    """32 hex digits that identify `parts`, whatever they contain.

    Parts are length-prefixed before hashing, so ("a", "bc") and ("ab", "c") differ,
    as do 1 and "1".
    """
    named = []
    for part in parts:
        text = str(part)
        size = len(text) if text.isascii() else len(text.encode())
        named.append(f"{'i' if isinstance(part, int) else 's'}{size}:{text}")
    return hashlib.sha256("".join(named).encode()).hexdigest()[:32]


def ref(journal: str, position: int) -> str:
    """How one record cites another: `journal@position`."""
    return f"{journal}@{position}"


def trace_of(snapshot: str) -> tuple[str, str]:
    """The W3C trace that a snapshot (`journal@position`) begins, and the id of its first span.

    `printf JOURNAL@POSITION | sha256sum` gives both: 32 hex digits, and the 16 that follow.
    """
    digest = hashlib.sha256(snapshot.encode()).hexdigest()
    return digest[:32], digest[32:48]


def parse_ref(text: str) -> tuple[str, int]:
    """The journal and position of a `journal@position`; `ValueError` otherwise."""
    journal, _, position = text.rpartition("@")
    if not journal or not position.isdecimal():
        raise ValueError(f"expected JOURNAL@POSITION, found {text!r}")
    return journal, int(position)


@lru_cache(maxsize=200_000)
def shard_of(subject: str, count: int) -> int:
    """Which of `count` shards a subject belongs to: the same everywhere and always.

    With one shard more, a share of 1/(count + 1) of all subjects moves, all of it to the new one.
    Source: Lamping and Veach, "A fast, minimal memory, consistent hash algorithm" (2014).
    """
    key = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big")
    found, following = 0, 0
    while following < count:
        found = following
        key = (key * 2862933555777941757 + 1) % 2**64
        following = int((found + 1) * (2**31 / ((key >> 33) + 1)))
    return found
