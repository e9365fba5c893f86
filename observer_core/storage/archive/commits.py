"""The commits of a stretch, a row each: what replay, the gate of then and readers by time go by.

Hashes are not kept: they follow from the lines, and from the hash that the stretch begins with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import StorageCorrupt
from observer_core.storage.archive.parquet import DELTA, arrow, read, values, write
from observer_core.storage.rows import CommitRow, InputRange, chain

_NUMBERS: Final = ("first", "last", "seq", "first_ns", "last_ns", "through_ns", "epoch")


def pack(rows: Sequence[CommitRow]) -> bytes:
    pa = arrow()
    columns: dict[str, Any] = {
        name: pa.array([getattr(row, name) for row in rows], pa.int64()) for name in _NUMBERS
    }
    columns["commit"] = pa.array([row.commit for row in rows], pa.string())
    inputs = [
        encode([item.to_json() for item in row.inputs]).decode() if row.inputs else None for row in rows
    ]
    columns["inputs"] = pa.array(inputs, pa.string())
    encodings = {**dict.fromkeys(_NUMBERS, DELTA), "commit": "DELTA_BYTE_ARRAY", "inputs": "DELTA_BYTE_ARRAY"}
    return write(columns, encodings, {"observer": "commits 1"})


def unpack(data: bytes, lines: Sequence[bytes], previous: bytes, segment: str) -> list[CommitRow]:
    """The rows as they were, but that they point into `segment`, where the lines stand one after another."""
    table = read(data, "commits")
    found = {name: values(table.column(name)) for name in (*_NUMBERS, "commit", "inputs")}
    rows = []
    place, offset = 0, 0
    for said in _rows(found):
        count = said["last"] - said["first"] + 1
        part = lines[place : place + count]
        if len(part) != count:
            raise StorageCorrupt(f"{segment} holds {len(lines)} records, its commits speak of more")
        length = sum(map(len, part)) + count
        after = chain(previous, part)
        rows.append(
            CommitRow(**said, segment=segment, offset=offset, length=length, previous=previous, hash=after)
        )
        place, offset, previous = place + count, offset + length, after
    if place != len(lines):
        raise StorageCorrupt(f"{segment} holds {len(lines)} records, its commits speak of {place}")
    return rows


def _rows(found: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    names = (*_NUMBERS, "commit")
    for numbers, inputs in zip(zip(*(found[name] for name in names)), found["inputs"]):
        ranges: Iterable[Any] = () if inputs is None else decode(inputs.encode())
        yield {
            **dict(zip(names, numbers)), "inputs": tuple(InputRange.from_json(item) for item in ranges),
        }  # fmt: skip
