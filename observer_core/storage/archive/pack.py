"""Which files a stretch of a journal becomes. `pack` has read them back before it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from observer_core.shared.errors import StorageCorrupt
from observer_core.storage.archive import commits, records, snapshots
from observer_core.storage.rows import CommitRow

EXTENSION: Final = ".parquet"


def pack(journal: str, rows: Sequence[CommitRow], lines: Sequence[bytes]) -> dict[str, bytes]:
    """The files by name: `records`, `values` (of snapshots) and `commits`; they give lines and rows back."""
    first = rows[0].first
    packer = snapshots.pack if journal.startswith("snapshots.") else records.pack
    files = {**packer(first, lines), "commits": commits.pack(rows)}
    again, found = unpack(files, rows[0].previous, "")
    if again != list(lines) or len(found) != len(rows) or not all(map(_same, rows, found)):
        raise StorageCorrupt(f"{journal}@{first}: its Parquet does not read back as what was packed")
    return files


def unpack(files: Mapping[str, bytes], previous: bytes, segment: str) -> tuple[list[bytes], list[CommitRow]]:
    """The lines, byte for byte, and the commits; `StorageCorrupt` when the files do not fit together.

    `previous`: the hash before the stretch; `segment`: what the rows are to say that they point into.
    """
    lines = snapshots.unpack(files) if "values" in files else records.unpack(files)
    return lines, commits.unpack(files["commits"], lines, previous, segment)


def _same(row: CommitRow, again: CommitRow) -> bool:
    return again._replace(segment=row.segment, offset=row.offset) == row
