"""Patterns, events, decisions and all others: a line a row, with the columns that queries filter by.

The line itself is the truth; the columns beside it are copies of what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from observer_core.shared.canonical import decode
from observer_core.shared.records import decode_record
from observer_core.storage.archive.parquet import DELTA, arrow, read, values, write

_COPIED: Final = ("kind", "id", "subject", "type", "scope", "verdict", "pattern", "severity", "policy")


def pack(first: int, lines: Sequence[bytes]) -> dict[str, bytes]:
    encodings = {"position": DELTA, "time_ns": DELTA, "line": "PLAIN"}
    return {"records": write(columns(first, lines)["records"], encodings, {"observer": "records 1"})}


def columns(first: int, lines: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """The columns of `records`."""
    pa = arrow()
    times: list[int] = []
    copies: dict[str, list[str | None]] = {name: [] for name in _COPIED}
    for line in lines:
        value = decode(line)
        times.append(decode_record(line).time_ns)
        for name, column in copies.items():
            column.append(_copy(value, name))
    found: dict[str, Any] = {
        "position": pa.array(range(first, first + len(lines)), pa.int64()),
        "time_ns": pa.array(times, pa.int64()),
        "line": pa.array([line.decode() for line in lines], pa.string()),
    }
    for name, column in copies.items():
        if any(item is not None for item in column):
            found[name] = pa.array(column, pa.string())
    return {"records": found}


def unpack(files: Mapping[str, bytes]) -> list[bytes]:
    return [line.encode() for line in values(read(files["records"], "records").column("line"))]


def _copy(value: Mapping[str, Any], name: str) -> str | None:
    if name == "kind" and "specversion" in value:
        return "event"
    found = value.get("severitytext" if name == "severity" and "specversion" in value else name)
    return found if isinstance(found, str) else None
