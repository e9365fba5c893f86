"""What the machine could do: the least a durable, detecting tick costs when written by hand.

Encode one snapshot, append it to one file, keep an EW z-score and a CUSUM a series, commit
two rows to SQLite. No chain, no flags, no stages, no recovery: the floor, not a product.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import orjson


class Limit:
    """One tick is `tick(time_ns, columns)`; `full` adds the two syncs of durability."""

    def __init__(self, root: Path, subjects: tuple[str, ...], fields: int, *, full: bool) -> None:
        root.mkdir(parents=True)
        self._file = os.open(root / "ticks.ndjson", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._full = full
        self._path = root / "ticks.db"
        self._db = sqlite3.connect(self._path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        self._db.execute("CREATE TABLE rows (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        self._subjects = orjson.Fragment(orjson.dumps(subjects))
        n = len(subjects) * fields
        self._mean, self._variance = np.zeros(n), np.ones(n)
        self._up, self._down = np.zeros(n), np.zeros(n)
        self._offset = 0
        self._count = 0
        self.alarms = 0

    def tick(self, time_ns: int, columns: dict[str, np.ndarray]) -> None:
        line = orjson.dumps(
            {"time_ns": time_ns, "subjects": self._subjects, "fields": columns},
            option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE,
        )
        os.write(self._file, line)
        if self._full:
            os.fdatasync(self._file)
        self._detect(np.concatenate(list(columns.values())))
        self._count += 1
        row = orjson.dumps({"offset": self._offset, "length": len(line), "time_ns": time_ns})
        self._offset += len(line)
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("INSERT INTO rows VALUES (?, ?)", (f"r.{self._count:020d}", row))
        self._db.execute("INSERT OR REPLACE INTO rows VALUES ('head', ?)", (row,))
        self._db.execute("COMMIT")

    def _detect(self, x: np.ndarray) -> None:
        residual = x - self._mean
        z = residual / np.sqrt(self._variance)
        self._mean += 0.02 * residual
        self._variance += 0.02 * (residual * residual - self._variance)
        np.maximum(self._up + z - 0.5, 0.0, out=self._up)
        np.maximum(self._down - z - 0.5, 0.0, out=self._down)
        if (np.abs(z) > 8.0).any() or (self._up > 30.0).any() or (self._down > 30.0).any():
            self.alarms += 1

    def sync(self) -> None:
        """From another thread, with a connection of its own."""
        with closing(sqlite3.connect(self._path)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        self._db.close()
        os.close(self._file)
