"""One SQLite file in WAL mode, a connection a thread."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from observer_core.shared.errors import StorageCorrupt, StorageError, StorageFull, StorageUnavailable
from observer_core.storage.local.files import Durability, os_errors


class Database:
    """One SQLite file, a connection a thread."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._synchronous = "FULL" if durability == "full" else "NORMAL"
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self.writing = threading.Lock()
        self._lock = threading.Lock()
        with os_errors(f"open {path.name}"), suppress(FileExistsError):
            # As readable as the segments, also where the folder is not ours: rows hold keys of backups.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        with self.errors("open"):
            self.connection().executescript(_SCHEMA)

    def connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, isolation_level=None, timeout=10.0, check_same_thread=False,
                cached_statements=64,
            )  # fmt: skip
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.execute("PRAGMA cache_size = -16384")
            self._local.connection = connection
            with self._lock:
                self._all.append(connection)
        return connection

    def transaction(self) -> _Transaction:
        """All that is executed inside, or nothing; inside another one it is a part of that."""
        return _Transaction(self)

    def settle(self) -> None:
        """Commits the transaction that this thread is in, and begins another one."""
        with self.errors("commit"):
            self.connection().execute("COMMIT")
            self.connection().execute("BEGIN IMMEDIATE")

    def errors(self, what: str) -> _Errors:
        """What SQLite raises inside is raised as an error of the storage, which could not do `what`."""
        return _Errors(self, what)

    def translate(self, error: sqlite3.Error, what: str) -> StorageError:
        name = getattr(error, "sqlite_errorname", "") or ""
        text = f"{what} in {self._path.name}: {error}"
        if name.startswith("SQLITE_FULL"):
            return StorageFull(text)
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StorageCorrupt(
                f"{text}. The index is damaged: restore it from a backup, or move {self._path} away "
                "to keep the segments"
            )
        return StorageUnavailable(text)

    def checkpoint(self) -> None:
        with self.errors("checkpoint"):
            self.connection().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        # It syncs nothing where a reader, or another checkpoint, is in its way.
        self._sync_log()

    def _sync_log(self) -> None:
        # SQLite has no locks on this file, which closing it would take away.
        with os_errors("sync the write-ahead log"):
            try:
                descriptor = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return  # a file system on which SQLite cannot keep one
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        with self._lock:
            connections, self._all = self._all, []
        for connection in connections:
            connection.close()
        self._local = threading.local()


class _Errors:
    __slots__ = ("_database", "_what")

    def __init__(self, database: Database, what: str) -> None:
        self._database, self._what = database, what

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise self._database.translate(error, self._what) from error


class _Transaction:
    """`with` a transaction. Written out, because the hot path enters two at every commit."""

    __slots__ = ("_connection", "_database", "_inner")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        database = self._database
        try:
            self._connection = connection = database.connection()
            self._inner = connection.in_transaction
            if self._inner:
                connection.execute("SAVEPOINT one")
                return connection
            # Threads of this process take turns here: SQLite itself would make them poll.
            database.writing.acquire()
            try:
                connection.execute("BEGIN IMMEDIATE")
            except BaseException:
                database.writing.release()
                raise
        except sqlite3.Error as error:
            raise database.translate(error, "commit") from error
        return connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self._connection.execute("RELEASE one" if self._inner else "COMMIT")
            else:
                self._undo()
        except BaseException as failure:
            self._undo()
            error = failure
            if not isinstance(failure, sqlite3.Error):
                raise
        finally:
            if not self._inner:
                self._database.writing.release()
        if isinstance(error, sqlite3.Error):
            raise self._database.translate(error, "commit") from error

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK TO one" if self._inner else "ROLLBACK")


_SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    partition TEXT NOT NULL, key TEXT NOT NULL, etag INTEGER NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (partition, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body BLOB NOT NULL,
    visible_ns INTEGER NOT NULL, dequeue_count INTEGER NOT NULL DEFAULT 0, receipt INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS visible ON messages (queue, visible_ns);
"""
