"""Texts of records as they may stand in a file that people open."""

from __future__ import annotations

import re
from typing import Final

_LONGEST: Final = 600
# Control characters, and those that turn the direction of what follows them.
_HIDDEN: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def cleaned(text: str) -> str:
    """On one line, nothing hidden in it, and no longer than can be read."""
    text = _HIDDEN.sub("\ufffd", text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
