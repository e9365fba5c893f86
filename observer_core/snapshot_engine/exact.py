"""Numbers as sources write them, and the decimals that a double cannot hold.

A decimal text of up to 15 digits comes back from its double as it was. What has more is kept as
text beside the column, so that nothing of what a source said exactly is lost.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import orjson

from observer_core.shared.records import Column
from observer_core.snapshot_engine.names import shown

_ALWAYS_EXACT: Final = 15
_LONGEST: Final = 80
_NOT_IN_NUMBERS: Final = 'tfnuN[{"\\ \t\n\r'
_DECIMAL: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def column(values: Sequence[Any]) -> tuple[Column, dict[int, str], dict[int, str]]:
    """A column of finite numbers; what it cannot hold exactly; and what was no number, both by place.

    Decimal texts count as numbers, None as missing. What is no number (booleans, NaN and infinities
    included) is NaN in the column, and the third answer says what came.
    """
    found = _texts(values) if values and type(values[0]) is str else _numbers(values)
    if found is None:
        return _one_by_one(values)
    return found, _inexact(values, found), {}


def _texts(values: Sequence[Any]) -> Column | None:
    """All of them decimal texts, read by a JSON parser at once: five times as fast as one by one."""
    try:
        joined = ",".join(values)
        if any(map(joined.__contains__, _NOT_IN_NUMBERS)):
            return None
        found = np.array(orjson.loads(f"[{joined}]"), np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if len(found) == len(values) and np.isfinite(found).all() else None


def _numbers(values: Sequence[Any]) -> Column | None:
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        found = np.array(list(map(float, values)), np.float64)
    except OverflowError:
        return None
    return found if np.isfinite(found).all() else None


def _inexact(values: Sequence[Any], found: Column) -> dict[int, str]:
    if values and type(values[0]) is str:
        if max(map(len, values)) <= _ALWAYS_EXACT:
            return {}
        doubtful = [place for place, value in enumerate(values) if len(value) > _ALWAYS_EXACT]
    else:
        doubtful = [place for place, value in enumerate(values) if type(value) is int and abs(value) >> 53]
    return {place: str(values[place]) for place in doubtful if _lost(values[place], float(found[place]))}


def _lost(value: str | int, number: float) -> bool:
    return Decimal(value) != Decimal(repr(number))


def _one_by_one(values: Sequence[Any]) -> tuple[Column, dict[int, str], dict[int, str]]:
    found = np.full(len(values), math.nan)
    texts: dict[int, str] = {}
    refused: dict[int, str] = {}
    for place, value in enumerate(values):
        if value is None:
            continue
        number = _number(value)
        if number is None:
            refused[place] = shown(value)
            continue
        found[place] = number
        if type(value) is not float and _lost(value, number):
            texts[place] = str(value)
    return found, texts, refused


def _number(value: Any) -> float | None:
    if type(value) not in (str, int, float):
        return None
    if type(value) is str and (len(value) > _LONGEST or not _DECIMAL.fullmatch(value)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
