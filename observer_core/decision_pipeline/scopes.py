"""Scopes: what a decision speaks of, from one subject to the whole domain."""

from __future__ import annotations

from typing import Literal

from observer_core.shared.ids import derive

Level = Literal["subject", "source", "domain"]

DOMAIN = "*"


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


def view_key(scope: str) -> str:
    """The key of the view row that holds the blocks of `scope`."""
    return f"block.{derive(scope)[:16]}"
