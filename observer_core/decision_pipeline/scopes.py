"""Scopes: what a decision speaks of, from one subject to the whole domain."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from observer_core.shared.ids import derive

Level = Literal["subject", "source", "domain"]

DOMAIN = "*"
BLOCK_ROWS = 32


def subject_scope(subject: str) -> str:
    return f"subject:{subject}"


def source_scope(source: str) -> str:
    return f"source:{source}"


def is_scope(text: object) -> bool:
    """Whether `text` is `subject:NAME`, `source:NAME` or `*`."""
    if not isinstance(text, str):
        return False
    level, _, name = text.partition(":")
    return text == DOMAIN or (level in ("subject", "source") and bool(name))


@lru_cache(maxsize=100_000)
def view_key(scope: str) -> str:
    """The key of the view row that holds the blocks of `scope`, among others.

    A bounded number of rows, however many scopes are blocked: all of them may change in
    one transaction, which takes 100 rows.
    """
    return f"block.{int(derive(scope)[:8], 16) % BLOCK_ROWS:02d}"
