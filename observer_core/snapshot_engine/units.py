"""Units: what a field comes in, and what it is recorded in.

Codes are UCUM's where it has one (https://ucum.org/ucum), as OpenTelemetry writes them, beside the names
that people use. Everything of one dimension is recorded in one unit:

| dimension | recorded in | may come in |
|---|---|---|
| share | `1` | `percent` (`%`), `permille`, `bp` |
| time | `s` | `ns`, `us`, `ms`, `min`, `h`, `d` |
| size | `By` | `KiBy`, `MiBy`, `GiBy`, `kBy`, `MBy`, `GBy`, `bit` |
| money | as it comes | a currency's code: `USD`, `KRW`, `USDT` |
| count | as it comes | `{trade}`, any name in braces |
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import Annotated, Final

from pydantic import AfterValidator

from observer_core.shared.records import Column

_KNOWN: Final[dict[str, tuple[str, int, int]]] = {
    "1": ("1", 1, 1), "percent": ("1", 1, 100), "%": ("1", 1, 100), "permille": ("1", 1, 1000),
    "bp": ("1", 1, 10_000),
    "s": ("s", 1, 1), "ns": ("s", 1, 10**9), "us": ("s", 1, 10**6), "ms": ("s", 1, 1000),
    "min": ("s", 60, 1), "h": ("s", 3600, 1), "d": ("s", 86_400, 1),
    "By": ("By", 1, 1), "bit": ("By", 1, 8), "kBy": ("By", 1000, 1), "MBy": ("By", 10**6, 1),
    "GBy": ("By", 10**9, 1), "KiBy": ("By", 1 << 10, 1), "MiBy": ("By", 1 << 20, 1),
    "GiBy": ("By", 1 << 30, 1),
}  # fmt: skip
_AS_IT_COMES: Final = re.compile(r"[A-Z][A-Z0-9]{2,9}|\{[a-z_]{1,30}\}")
_EXACT: Final = Context(prec=200)


def _unit(text: str) -> str:
    if text in _KNOWN or _AS_IT_COMES.fullmatch(text):
        return text
    raise ValueError(
        f"is no unit; expected one of {', '.join(_KNOWN)}, a currency's code (USD), "
        "or a name in braces ({trade})"
    )


Unit = Annotated[str, AfterValidator(_unit)]
"""What a field comes in."""


def recorded(unit: str) -> str:
    """The unit that such a field is recorded in."""
    return _KNOWN[unit][0] if unit in _KNOWN else unit


def is_recorded_as_it_comes(unit: str) -> bool:
    return unit not in _KNOWN or _KNOWN[unit][1:] == (1, 1)


def convert(column: Column, unit: str) -> Column:
    """The column in the unit that is recorded; one rounding, the same on every machine."""
    _, times, over = _KNOWN[unit]
    return column * float(times) if over == 1 else column / float(over)


def convert_text(text: str, unit: str) -> str:
    """The same of an exact decimal, exactly: a quotient by a power of ten or two ends."""
    _, times, over = _KNOWN[unit]
    quotient = _EXACT.divide(_EXACT.multiply(Decimal(text), Decimal(times)), Decimal(over))
    return format(_EXACT.normalize(quotient), "f")
