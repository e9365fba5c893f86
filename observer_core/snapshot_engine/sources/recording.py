"""Recordings (CSV, NDJSON, each also gzipped, and Parquet) as a deterministic sequence of snapshots.

A *load* is what some files hold beyond what is ingested already. Its id, its rows and
its snapshots follow from the files' content and the mapping alone, so a load that was
interrupted after n snapshots goes on with `snapshots(n)`, and a file that is ingested a
second time adds nothing, under whatever name. A file that has grown adds its new rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from observer_core.shared.config import identity
from observer_core.shared.ids import derive
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.recorded.content import Content, KnownFile, RecordingError
from observer_core.snapshot_engine.recorded.csv_rows import CsvRows
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig
from observer_core.snapshot_engine.recorded.ndjson_rows import NdjsonRows
from observer_core.snapshot_engine.recorded.parquet_rows import ParquetRows
from observer_core.snapshot_engine.recorded.table import Subjects, Table
from observer_core.snapshot_engine.recorded.timeline import Timeline, arrange

__all__ = ["KnownFile", "Load", "Part", "RecordingConfig", "RecordingError", "plan"]

_OTHER_PACKINGS = {b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@dataclass(frozen=True, slots=True)
class Part:
    """What a load takes of one file: rows `rows_from` to `rows_to` of its first `bytes` unpacked bytes."""

    path: str
    sha256: str
    bytes: int
    rows_from: int
    rows_to: int


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Rows to ingest. `rows` counts them; in an `origin` they are numbered from 0 through all parts."""

    id: str
    source: str
    parts: tuple[Part, ...]
    rows: int
    notes: tuple[str, ...]
    _timeline: Timeline = field(repr=False)
    _known: tuple[KnownFile, ...] = field(repr=False)

    @property
    def total(self) -> int:
        """The number of its snapshots."""
        return len(self._timeline)

    def snapshots(self, start: int = 0) -> Iterator[Snapshot]:
        """The snapshots from number `start` on; the same ones whenever they are asked for."""
        return self._timeline.snapshots(self.source, self.id, start)

    def rows_before(self, start: int) -> int:
        """How many rows stand in the snapshots before number `start`."""
        return int(self._timeline.row_starts[start])

    def known_after(self) -> list[KnownFile]:
        """What is known about its files once all its snapshots are ingested."""
        return list(self._known)


def plan(
    paths: Sequence[str],
    source: str,
    config: RecordingConfig,
    known: Sequence[KnownFile] = (),
    pinned: Sequence[Part] = (),
) -> Load:
    """What `paths` hold beyond `known`, merged into one stream.

    `pinned` are parts of a load that was interrupted: of their files, only what that
    load saw is read, so that it can be finished first although they have grown since.
    Raises `RecordingError` for anything in the files that cannot be used.
    """
    subjects, tables, parts = Subjects(), [], []
    notes: list[str] = []
    found: list[KnownFile] = []
    columns: list[str] = []
    upto = {part.path: part for part in pinned}
    for path in paths:
        opened = _read(path, source, config, subjects, [*known, *found], upto.get(path))
        tables.append(opened.table)
        parts.append(opened.part)
        found += opened.known
        notes += opened.notes
        columns += [name for name in opened.columns if name not in columns]
    for name in config.fields or ():
        if paths and name not in columns:
            raise RecordingError(
                ", ".join(paths),
                f"has no field {name!r}; it has: {', '.join(columns[:40])}. Name one of these",
            )
    rows = sum(len(table) for table in tables)
    marks = [mark for part in parts for mark in (part.sha256, part.rows_from, part.rows_to)]
    return Load(
        id=derive("load", source, identity(config.canonical()), *marks), source=source, parts=tuple(parts),
        rows=rows, notes=tuple(notes), _timeline=arrange(tables, subjects.names, config.delay_ns),
        _known=tuple(found),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Opened:
    table: Table
    part: Part
    known: list[KnownFile]
    notes: list[str]
    columns: list[str]


def _read(
    path: str,
    source: str,
    config: RecordingConfig,
    subjects: Subjects,
    known: Sequence[KnownFile],
    pin: Part | None,
) -> _Opened:
    with Content(path, None if pin is None else pin.bytes) as content:
        for magic, packing in _OTHER_PACKINGS.items():
            if content.magic.startswith(magic):
                raise RecordingError(path, f"is packed with {packing}; unpack it, or pack it with gzip")
        if not content.stored_bytes:
            raise RecordingError(path, "is empty; expected a header line and rows")
        constant = 0 if config.subject else subjects[config.subject_name or source]
        if content.magic.startswith(b"PAR1"):
            opened = _read_parquet(content, config, subjects, known, constant)
        else:
            opened = _read_lines(content, config, subjects, known, constant)
    if pin is not None and opened.part.sha256 != pin.sha256:
        raise RecordingError(
            path, "is not what it was when its ingestion began, so that cannot be finished; "
            "put the earlier file back (it may have grown, nothing else)",
        )  # fmt: skip
    return opened


def _read_parquet(
    content: Content, config: RecordingConfig, subjects: Subjects, known: Sequence[KnownFile], constant: int
) -> _Opened:
    digest, size = content.whole()
    before = next((k.rows for k in known if (k.sha256, k.bytes) == (digest, size)), 0)
    rows = ParquetRows(content.path, config, subjects)
    table = Table(fields={}) if before else rows.read(constant)
    if not before and not len(table):
        raise RecordingError(content.path, "has a header but no rows; expected at least one row")
    after = KnownFile(digest, size, before + len(table))
    return _opened(content, table, before, after, rows.columns, rows.left_out)


def _read_lines(
    content: Content, config: RecordingConfig, subjects: Subjects, known: Sequence[KnownFile], constant: int
) -> _Opened:
    head = content.head().lstrip()
    if not head:
        raise RecordingError(content.path, "is empty; expected a header line and rows")
    name = content.path.lower().removesuffix(".gz")
    is_json = head.startswith(b"{") or name.endswith((".ndjson", ".jsonl", ".json"))
    rows = (NdjsonRows if is_json else CsvRows)(content, config, subjects)
    match = content.longest_known(known)
    before, skip = (match.rows, match.bytes) if match else (0, 0)
    table = rows.read(constant, skip)
    if not before and not len(table) and not content.notes:
        raise RecordingError(content.path, "has a header but no rows; expected at least one row")
    after = KnownFile(content.sha256, content.bytes, before + len(table))
    opened = _opened(content, table, before, after, rows.columns, rows.left_out)
    last = content.last_line
    if last.strip() and len(table) and (is_json or b'"' not in last):
        # Should that line be continued after all, then all but it is known, and it comes again, whole.
        lines = content.bytes - len(last)
        opened.known.append(KnownFile(content.sha256_before_last_line, lines, after.rows - 1))
    return opened


def _opened(
    content: Content, table: Table, before: int, after: KnownFile, columns: list[str], left_out: list[str]
) -> _Opened:
    notes = list(content.notes)
    if left_out:
        notes.append(f"{content.path}: left out, for they do not hold numbers: {', '.join(left_out)}")
    part = Part(content.path, after.sha256, after.bytes, before, after.rows)
    return _Opened(table, part, [after], notes, columns)
