"""Fills of a CSV file: what was traded, as a broker or venue reports it. Read whole, or refused.

A reconciliation that leaves out rows that it cannot read would tell of an order that is not there.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Final

from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError

COLUMNS: Final = ("id", "time", "instrument", "side", "quantity", "price", "permit", "answer")
_NEEDED: Final = ("time", "instrument")
_SHOWN: Final = 5
_LEAST, _MOST = Decimal("1e-30"), Decimal("1e30")


@dataclass(frozen=True, slots=True)
class Fill:
    """One row. `permit` is a receipt, `answer` the record of the gate that allowed it (`gate.live@17`)."""

    line: int
    id: str
    time_ns: int
    instrument: str
    side: str | None = None
    quantity: Decimal | None = None
    price: Decimal | None = None
    permit: str | None = None
    answer: str | None = None


def read_fills(
    path: Path, columns: Mapping[str, str], *, zone: str | None = None, delimiter: str = ","
) -> list[Fill]:
    """All fills, in the order of their times. `columns` names those that are called otherwise.

    `InputError` names the lines and columns that cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, delimiter=delimiter, strict=True)
            header = list(rows.fieldnames or ())
            names = _names(path, header, columns)
            faults: list[str] = []
            fills = list(_fills(rows, names, zone, faults))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected UTF-8 text with {delimiter!r} between columns: {error}") from None
    if faults:
        more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(f"{path}: {'; '.join(faults[:_SHOWN])}{more}. Nothing was compared")
    return sorted(fills, key=lambda fill: (fill.time_ns, fill.line))


def _names(path: Path, header: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    wanted = {name: columns.get(name, name) for name in COLUMNS}
    missing = [
        column
        for name, column in wanted.items()
        if column not in header and (name in columns or name in _NEEDED)
    ]
    if missing:
        raise InputError(
            f"{path}: there is no column {missing[0]!r}; its first line names "
            f"{', '.join(header) or 'nothing'}. Say which column is which (--time COL, --instrument COL, …)"
        )
    return {name: column for name, column in wanted.items() if column in header}


def _fills(
    rows: csv.DictReader[str], names: Mapping[str, str], zone: str | None, faults: list[str]
) -> Iterator[Fill]:
    for row in rows:
        line = rows.line_num
        texts = {name: (row.get(column) or "").strip() for name, column in names.items()}
        if None in row or None in row.values():
            faults.append(f"line {line} has not as many columns as the first line")
            continue
        try:
            instrument = texts["instrument"]
            if not instrument:
                raise InputError(f"{names['instrument']} is empty; an instrument was expected")
            yield Fill(
                line=line, id=texts.get("id") or f"line {line}",
                time_ns=parse_time(texts["time"], zone), instrument=instrument,
                side=texts.get("side", "").lower() or None,
                quantity=_number(texts.get("quantity", ""), names.get("quantity", "")),
                price=_number(texts.get("price", ""), names.get("price", "")),
                permit=texts.get("permit") or None, answer=texts.get("answer") or None,
            )  # fmt: skip
        except InputError as error:
            faults.append(f"line {line}: {error}")


def _number(text: str, column: str) -> Decimal | None:
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not _LEAST <= value <= _MOST:
        raise InputError(f"{column} is {text[:40]!r}; a number above 0 was expected")
    return value
