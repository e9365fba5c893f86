"""Korean."""
from __future__ import annotations
from typing import Final
KOREAN: Final[dict[str, str]] = {}
