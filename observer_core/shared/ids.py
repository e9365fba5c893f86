"""Ids are derived from what they name, never random: the same input gives the same id anywhere."""

from __future__ import annotations

import hashlib


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


def parse_ref(text: str) -> tuple[str, int]:
    """The journal and position of a `journal@position`; `ValueError` otherwise."""
    journal, _, position = text.rpartition("@")
    if not journal or not position.isdecimal():
        raise ValueError(f"expected JOURNAL@POSITION, found {text!r}")
    return journal, int(position)
