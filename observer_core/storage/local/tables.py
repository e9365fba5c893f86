"""Rows in SQLite. Inside a group they wait in memory and are written together when it ends."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence

from observer_core.shared.errors import Conflict
from observer_core.storage.local.database import Database
from observer_core.storage.ports import Op, Row, check_transaction

_UPSERT = (
    "INSERT INTO rows VALUES (?, ?, 1, ?) ON CONFLICT DO UPDATE SET value = excluded.value, etag = etag + 1"
)
_ETAG = "SELECT etag FROM rows WHERE partition = ? AND key = ?"


class LocalTables:
    """One thread's group has the write lock, so its conditions hold when its rows are written at last."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._local = threading.local()

    @property
    def _waiting(self) -> Waiting | None:
        return getattr(self._local, "waiting", None)

    def get(self, partition: str, key: str) -> Row | None:
        waiting = self._waiting
        if waiting is not None:
            known = waiting.rows.get((partition, key))
            if known is not None:
                value, etag = known
                if etag is not None:
                    return None if value is None else Row(key, value, str(etag))
                waiting.write()
        with self._database.errors("read"):
            found = (
                self._database.connection()
                .execute("SELECT value, etag FROM rows WHERE partition = ? AND key = ?", (partition, key))
                .fetchone()
            )
        return None if found is None else Row(key, found[0], str(found[1]))

    def query(self, partition: str, low: str, high: str, limit: int | None = None) -> list[Row]:
        if self._waiting is not None:
            self._waiting.write()
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
        waiting = self._waiting
        if waiting is not None:
            return waiting.commit(partition, ops)
        with self._database.transaction() as connection:
            return [_apply(connection, partition, op) for op in ops]

    def begin(self) -> None:
        """In this thread and inside a transaction: what is committed waits for `settle`, until `end`."""
        self._local.waiting = Waiting(self._database)

    def end(self) -> None:
        self._local.waiting = None

    def settle(self) -> None:
        """Writes what this thread's group holds back."""
        if self._waiting is not None:
            self._waiting.write()


Held = tuple[bytes | None, int | None]
"""A row that waits, and its etag: no value is a deletion, no etag one that only the database can tell."""


class Waiting:
    """The rows of one group. Conditions are checked when a commit is made, before any of it is taken."""

    def __init__(self, database: Database) -> None:
        self._database, self._connection = database, database.connection()
        self.rows: dict[tuple[str, str], Held] = {}

    def commit(self, partition: str, ops: Sequence[Op]) -> list[str]:
        for action, key, _, etag in ops:
            if action == "replace":
                found = self._etag(partition, key)
                if found != int(etag):
                    raise Conflict(partition, key, "none" if found is None else "another version")
            elif action == "insert" and self._etag(partition, key) is not None:
                raise Conflict(partition, key, "a row")
        return [self._take((partition, key), action, value, etag) for action, key, value, etag in ops]

    def _take(self, place: tuple[str, str], action: str, value: bytes, before: str) -> str:
        etag: int | None = 1
        if action == "delete":
            self.rows[place] = None, 0
            return ""
        if action == "replace":
            etag = int(before) + 1
        elif action == "upsert":
            known = self.rows.get(place)
            etag = None if known is None or known[1] is None else known[1] + 1
        self.rows[place] = value, etag
        return "" if etag is None else str(etag)

    def _etag(self, partition: str, key: str) -> int | None:
        place = (partition, key)
        known = self.rows.get(place)
        if known is not None:
            value, etag = known
            if etag is not None:
                return None if value is None else etag
            self.write()
        try:
            found = self._connection.execute(_ETAG, place).fetchone()
        except sqlite3.Error as error:
            raise self._database.translate(error, "read") from error
        return None if found is None else int(found[0])

    def write(self) -> None:
        """Into the open transaction."""
        known: list[tuple[str, str, int, bytes]] = []
        unknown: list[tuple[str, str, bytes]] = []
        gone: list[tuple[str, str]] = []
        for (partition, key), (value, etag) in self.rows.items():
            if value is None:
                gone.append((partition, key))
            elif etag is None:
                unknown.append((partition, key, value))
            else:
                known.append((partition, key, etag, value))
        with self._database.errors("commit"):
            if known:
                self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", known)
            if unknown:
                self._connection.executemany(_UPSERT, unknown)
            if gone:
                self._connection.executemany("DELETE FROM rows WHERE partition = ? AND key = ?", gone)
        self.rows.clear()


def _apply(connection: sqlite3.Connection, partition: str, op: Op) -> str:
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
    found = connection.execute(_UPSERT + " RETURNING etag", (partition, op.key, op.value)).fetchone()
    return str(found[0])
