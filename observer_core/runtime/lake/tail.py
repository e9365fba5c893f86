"""What is not packed yet, in the shape of what is: the last hours of each journal, decoded in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from observer_core.storage.archive import records, snapshots
from observer_core.storage.archive.parquet import table
from observer_core.storage.journal import Journal

_LINES: Final = 5_000
_BYTES: Final = 8 * 1024 * 1024


def tail(journal: Journal, after: int) -> Iterator[dict[str, Any]]:
    """The tables of each stretch after position `after`, by the names of the files that they would be."""
    first = after + 1
    lines: list[bytes] = []
    size = 0
    for row, found in journal.raw(first):
        if not lines:
            first = row.first  # retention may have removed what was before
        lines += found
        size += row.length
        if len(lines) >= _LINES or size >= _BYTES:
            yield _tables(journal.name, first, lines)
            lines, size = [], 0
    if lines:
        yield _tables(journal.name, first, lines)


def _tables(journal: str, first: int, lines: Sequence[bytes]) -> dict[str, Any]:
    columns = snapshots.columns if journal.startswith("snapshots.") else records.columns
    return {name: table(found) for name, found in columns(first, lines).items()}
