"""Files and SQLite: the embedded backend.

Segments are files, rows and queues are tables of `journal.db` (WAL). Two promises can
be chosen (`durability`):

* `full`: what `append` and `commit` return from survives a power failure.
* `normal`: it survives the death of the process; a power failure may take the newest
  commits. Rows may then outlive the bytes they point to, so `Journals.recover` runs at
  the next start (`volatile` is True).

SQLite's automatic WAL checkpoints would stall the hot path by milliseconds, so they are
off: somebody calls `checkpoint` (the standalone runtime does it in a thread).
"""

from __future__ import annotations

from pathlib import Path

from observer_core.shared.clock import Clock, SystemClock
from observer_core.storage.archive.pack import EXTENSION
from observer_core.storage.local.database import Database
from observer_core.storage.local.files import (
    Durability,
    LocalBlobs,
    LocalSegments,
    make_directories,
    os_errors,
)
from observer_core.storage.local.queues import LocalQueues
from observer_core.storage.local.tables import LocalTables

__all__ = ["Durability", "LocalStorage"]


class LocalStorage:
    """`root` holds the segments' folders, `state/` for blobs, and `journal.db`."""

    def __init__(self, root: Path, *, durability: Durability = "full", clock: Clock | None = None) -> None:
        with os_errors(f"open data folder {str(root)!r}"):
            make_directories(root.absolute(), durable=True)
        self.root = root
        self.durability = durability
        self.volatile = durability == "normal"
        self._database = Database(root / "journal.db", durability)
        self.segments = LocalSegments(root, durability)
        self.blobs = LocalBlobs(root / "state", durability)
        self.archives = LocalBlobs(root, durability, suffix=EXTENSION)
        self.tables = LocalTables(self._database)
        self.queues = LocalQueues(self._database, clock or SystemClock())

    def group(self) -> _Group:
        return _Group(self.segments, self.tables, self._database)

    def settle(self) -> None:
        if self.segments.in_group:
            self.segments.settle()
            self.tables.settle()
            self._database.settle()

    def checkpoint(self) -> None:
        self._database.checkpoint()

    def close(self) -> None:
        self.segments.close()
        self._database.close()


class _Group:
    """`with` a group. Written out, because the hot path enters one at every step."""

    __slots__ = ("_inner", "_segments", "_tables", "_transaction")

    def __init__(self, segments: LocalSegments, tables: LocalTables, database: Database) -> None:
        self._segments, self._tables, self._transaction = segments, tables, database.transaction()

    def __enter__(self) -> None:
        self._inner = self._segments.in_group
        if not self._inner:
            self._transaction.__enter__()
            self._tables.begin()
            self._segments.begin()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._inner:
            return
        # What was committed before an ordinary error is whole, and stands.
        undone = None if isinstance(error, Exception) else error
        try:
            if undone is None:  # bytes are synced before the rows that point to them are committed
                self._segments.settle()
                self._tables.settle()
        except BaseException as failure:
            undone = failure
            raise
        finally:
            self._segments.end()
            self._tables.end()
            self._transaction.__exit__(None, undone, None)
