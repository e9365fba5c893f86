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

import errno
import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from observer_core.shared.clock import Clock, SystemClock
from observer_core.shared.errors import (
    Conflict,
    LimitExceeded,
    NotFound,
    StorageCorrupt,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from observer_core.storage.ports import APPEND_BYTES, Message, Op, Row, check_message, check_transaction

Durability = Literal["full", "normal"]
_OPEN_FILES = 64
_SYNC_EACH = 200
"""Beyond so many files one `sync` of everything is faster; on Linux it waits until all is written."""


@contextmanager
def _os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, what) from error


def _translate(error: OSError, what: str) -> StorageUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{what}: no space left on the device")
    return StorageUnavailable(f"{what}: {error.strerror or error}")


class LocalSegments:
    def __init__(self, root: Path, durability: Durability) -> None:
        self._root = root
        self._full = durability == "full"
        self._open: OrderedDict[str, int] = OrderedDict()
        self._dirty: set[str] = set()
        self._lock = threading.Lock()
        self._group = threading.local()

    def append(self, name: str, data: bytes) -> int:
        if len(data) > APPEND_BYTES:
            raise LimitExceeded(f"an append of {len(data)} bytes to {name!r}; {APPEND_BYTES} are possible")
        try:
            with self._lock:
                return self._append(name, data)
        except OSError as error:
            raise _translate(error, f"append to segment {name!r}") from error

    def _append(self, name: str, data: bytes) -> int:
        descriptor = self._open.get(name)
        if descriptor is None:
            descriptor = self._open_for_append(name)
        try:
            # Never the rest alone: another process may have appended behind the first part.
            while os.write(descriptor, data) < len(data):
                pass
            # O_APPEND leaves the position behind what was written, whoever else appends.
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
            waiting: set[str] | None = getattr(self._group, "names", None)
            if waiting is not None:
                waiting.add(name)
            elif self._full:
                os.fdatasync(descriptor)
        except OSError:
            # Half a line may stand there now; opening the segment again ends it.
            os.close(self._open.pop(name))
            raise
        if not self._full:
            self._dirty.add(name)
        return offset

    @property
    def in_group(self) -> bool:
        return getattr(self._group, "names", None) is not None

    @contextmanager
    def group(self) -> Iterator[None]:
        """In this thread, what is appended inside is synced once, when leaving."""
        self._group.names = set()
        try:
            yield
            self.settle()
        finally:
            self._group.names = None

    def settle(self) -> None:
        names, self._group.names = self._group.names, set()
        if self._full:
            with _os_errors("sync segments"), self._lock:
                for name in names:
                    descriptor = self._open.get(name)
                    if descriptor is None:
                        descriptor = self._open_for_append(name)
                    os.fdatasync(descriptor)

    def _open_for_append(self, name: str) -> int:
        path = self._root / name
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            _make_directories(path.parent, durable=self._full)
            descriptor = os.open(path, flags | os.O_CREAT, 0o640)
            if self._full:
                _sync_directory(path.parent)
        else:
            try:
                _end_torn_line(descriptor)
            except OSError:
                os.close(descriptor)
                raise
        self._open[name] = descriptor
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def read(self, name: str, offset: int, length: int) -> bytes:
        with _os_errors(f"read segment {name!r}"):
            if name in self._open:
                with self._lock:
                    descriptor = self._open.get(name)
                    if descriptor is not None:
                        return self._read(descriptor, name, offset, length)
            try:
                descriptor = os.open(self._root / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound("segment", name) from None
            try:
                return self._read(descriptor, name, offset, length)
            finally:
                os.close(descriptor)

    def _read(self, descriptor: int, name: str, offset: int, length: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise StorageCorrupt(
                    f"segment {name!r} ends at byte {offset + len(data)}, {offset + length} were committed"
                )
            data += more
        return data

    def size(self, name: str) -> int:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            raise NotFound("segment", name) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        base = self._root / prefix.rpartition("/")[0]
        names = []
        for folder, _, files in os.walk(base):
            inside = Path(folder).relative_to(self._root)
            names += [str(inside / file) for file in files if file.endswith(".ndjson")]
        return iter(sorted(name for name in names if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        with _os_errors(f"delete segment {name!r}"), self._lock:
            descriptor = self._open.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)
            self._dirty.discard(name)
            (self._root / name).unlink(missing_ok=True)

    def sync(self, also: Iterable[str] = ()) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty.union(also), set()
        try:
            with _os_errors("sync segments"):
                self._sync(dirty)
        except BaseException:
            with self._lock:
                self._dirty |= dirty
            raise

    def _sync(self, names: set[str]) -> None:
        if len(names) > _SYNC_EACH:
            os.sync()
            return
        folders: set[Path] = set()
        for name in sorted(names):
            path = self._root / name
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            folders.update(parent for parent in path.parents if parent.is_relative_to(self._root))
        for folder in sorted(folders, reverse=True):
            _sync_directory(folder)

    def close(self) -> None:
        self.sync()
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])


def _make_directories(path: Path, *, durable: bool) -> None:
    if path.is_dir():
        return
    _make_directories(path.parent, durable=durable)
    path.mkdir(exist_ok=True, mode=0o750)
    if durable:
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_torn_line(descriptor: int) -> None:
    """A crash may have left half a line: end it, so that the file stays one JSON value a line."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


class LocalBlobs:
    def __init__(self, root: Path, durability: Durability) -> None:
        self._root = root
        self._full = durability == "full"

    def put(self, name: str, data: bytes) -> None:
        path = self._root / name
        with _os_errors(f"write blob {name!r}"):
            _make_directories(path.parent, durable=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
            try:
                with draft.open("wb") as file:
                    file.write(data)
                    file.flush()
                    # Synced in both modes: a row that names a blob must never outlive it.
                    os.fdatasync(file.fileno())
                draft.replace(path)
                _sync_directory(path.parent)
            finally:
                draft.unlink(missing_ok=True)

    def get(self, name: str) -> bytes:
        with _os_errors(f"read blob {name!r}"):
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                raise NotFound("blob", name) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        names = (str(path.relative_to(self._root)) for path in self._root.rglob("*") if path.is_file())
        return iter(sorted(name for name in names if name.startswith(prefix) and "/." not in f"/{name}"))

    def delete(self, name: str) -> None:
        with _os_errors(f"delete blob {name!r}"):
            (self._root / name).unlink(missing_ok=True)


class Database:
    """One SQLite file, a connection a thread."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self._synchronous = "FULL" if durability == "full" else "NORMAL"
        self._local = threading.local()
        self._all: list[sqlite3.Connection] = []
        self.writing = threading.Lock()
        self._lock = threading.Lock()
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

    @contextmanager
    def errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self.translate(error, what) from error

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

    def close(self) -> None:
        with self._lock:
            connections, self._all = self._all, []
        for connection in connections:
            connection.close()
        self._local = threading.local()


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


class LocalTables:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, partition: str, key: str) -> Row | None:
        with self._database.errors("read"):
            found = (
                self._database.connection()
                .execute("SELECT value, etag FROM rows WHERE partition = ? AND key = ?", (partition, key))
                .fetchone()
            )
        return None if found is None else Row(key, found[0], str(found[1]))

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        with self._database.errors("read"):
            found = (
                self._database.connection()
                .execute(
                    "SELECT key, value, etag FROM rows WHERE partition = ? AND key >= ? AND key < ? "
                    "ORDER BY key LIMIT ?",
                    (partition, low, high, -1 if limit is None else limit),
                )
                .fetchall()
            )
        return [Row(key, value, str(etag)) for key, value, etag in found]

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        check_transaction(partition, ops)
        with self._database.transaction() as connection:
            return [self._apply(connection, partition, op) for op in ops]

    def _apply(self, connection: sqlite3.Connection, partition: str, op: Op) -> str:
        if op.action == "replace":
            changed = connection.execute(
                "UPDATE rows SET value = ?, etag = etag + 1 WHERE partition = ? AND key = ? AND etag = ?",
                (op.value, partition, op.key, int(op.etag)),
            ).rowcount
            if not changed:
                raise Conflict(partition, op.key)
            return str(int(op.etag) + 1)
        if op.action == "insert":
            try:
                connection.execute("INSERT INTO rows VALUES (?, ?, 1, ?)", (partition, op.key, op.value))
            except sqlite3.IntegrityError:
                raise Conflict(partition, op.key, "a row") from None
            return "1"
        if op.action == "delete":
            connection.execute("DELETE FROM rows WHERE partition = ? AND key = ?", (partition, op.key))
            return ""
        found = connection.execute(
            "INSERT INTO rows VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE "
            "SET value = excluded.value, etag = etag + 1 RETURNING etag",
            (partition, op.key, op.value),
        ).fetchone()
        return str(found[0])


class LocalQueues:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def send(self, queue: str, body: bytes, *, delay_ns: int = 0) -> None:
        check_message(queue, body)
        with self._database.errors("send"):
            self._database.connection().execute(
                "INSERT INTO messages (queue, body, visible_ns) VALUES (?, ?, ?)",
                (queue, body, self._clock.now_ns() + delay_ns),
            )

    def receive(self, queue: str, *, count: int = 1, visibility_ns: int = 30_000_000_000) -> list[Message]:
        now = self._clock.now_ns()
        with self._database.errors("receive"):
            found = (
                self._database.connection()
                .execute(
                    "UPDATE messages SET visible_ns = ?, dequeue_count = dequeue_count + 1, "
                    "receipt = receipt + 1 WHERE id IN (SELECT id FROM messages WHERE queue = ? "
                    "AND visible_ns <= ? ORDER BY id LIMIT ?) RETURNING id, body, dequeue_count, receipt",
                    (now + visibility_ns, queue, now, count),
                )
                .fetchall()
            )
        return [Message(str(i), body, dequeues, str(receipt)) for i, body, dequeues, receipt in sorted(found)]

    def delete(self, queue: str, message: Message) -> None:
        with self._database.errors("delete"):
            self._database.connection().execute(
                "DELETE FROM messages WHERE id = ? AND queue = ? AND receipt = ?",
                (int(message.id), queue, int(message.receipt)),
            )

    def length(self, queue: str) -> int:
        with self._database.errors("count"):
            found = (
                self._database.connection()
                .execute("SELECT count(*) FROM messages WHERE queue = ?", (queue,))
                .fetchone()
            )
        return int(found[0])


class LocalStorage:
    """`root` holds the segments' folders, `state/` for blobs, and `journal.db`."""

    def __init__(self, root: Path, *, durability: Durability = "full", clock: Clock | None = None) -> None:
        with _os_errors(f"open data folder {str(root)!r}"):
            _make_directories(root.absolute(), durable=True)
        self.root = root
        self.durability = durability
        self.volatile = durability == "normal"
        self._database = Database(root / "journal.db", durability)
        self.segments = LocalSegments(root, durability)
        self.blobs = LocalBlobs(root / "state", durability)
        self.tables = LocalTables(self._database)
        self.queues = LocalQueues(self._database, clock or SystemClock())

    @contextmanager
    def group(self) -> Iterator[None]:
        if self.segments.in_group:
            yield
            return
        failed: Exception | None = None
        # Left from the right: bytes are synced before the rows that point to them are committed.
        with self._database.transaction(), self.segments.group():
            try:
                yield
            except Exception as error:
                failed = error  # what was committed before it is whole, and stands
        if failed is not None:
            raise failed

    def settle(self) -> None:
        if self.segments.in_group:
            self.segments.settle()
            self._database.settle()

    def checkpoint(self) -> None:
        self._database.checkpoint()

    def close(self) -> None:
        self.segments.close()
        self._database.close()
