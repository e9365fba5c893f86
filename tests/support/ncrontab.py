"""NCRONTAB, as the Functions host reads it: six fields, seconds first."""

from __future__ import annotations

from datetime import datetime
from typing import Final

FIELDS: Final = (
    ("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23),
    ("day", 1, 31), ("month", 1, 12), ("day of week", 0, 6),
)  # fmt: skip


class Schedule:
    """The moments of one expression; `ValueError` names the field that is wrong."""

    def __init__(self, text: str) -> None:
        parts = text.split()
        if len(parts) != len(FIELDS):
            raise ValueError(f"{text!r} has {len(parts)} fields; six were expected, seconds first")
        self._sets = [_values(part, *field) for part, field in zip(parts, FIELDS)]

    def matches(self, moment: datetime) -> bool:
        values = (
            moment.second, moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7,
        )  # fmt: skip
        return all(value in found for value, found in zip(values, self._sets))


def _values(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            start, stop = (low, high) if span == "*" else (int(first), int(last) if dash else int(first))
            every = int(step) if slash else 1
        except ValueError:
            raise ValueError(f"{part!r} is no {name}") from None
        if slash and span != "*" and not dash:
            stop = high
        if not (low <= start <= stop <= high and every >= 1):
            raise ValueError(f"{part!r} is outside {low}-{high} ({name})")
        found.update(range(start, stop + 1, every))
    return frozenset(found)
