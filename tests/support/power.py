"""A power failure for files: what was not synced may be gone, be cut, or be zeros."""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
from pathlib import Path

import pytest

from observer_core.storage.local import LocalStorage

_WAL_HEADER, _FRAME_HEADER = 32, 24


class Power:
    """Knows what is durable under `root`: all of it at first, then what is synced.

    A file's bytes are durable up to its size when it was last synced, its name once its
    folder was. SQLite itself is not watched: with every commit it syncs its log (`full`), or not (`normal`);
    what it does at a checkpoint depends on who else is there, and is not relied on.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self._root = root
        self._sizes: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self.log_synced()
        for path in [root, *root.rglob("*")]:
            self._mark(path)
        patch.setattr(os, "fdatasync", self._sync)
        patch.setattr(os, "fsync", self._sync)

    def _mark(self, path: Path) -> None:
        info = path.stat()
        self._names[str(path)] = info.st_ino
        if stat.S_ISREG(info.st_mode):
            self._sizes[info.st_ino] = info.st_size

    def _sync(self, descriptor: int) -> None:
        info = os.fstat(descriptor)
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.endswith("journal.db-wal"):
            self.log_synced()
        elif stat.S_ISDIR(info.st_mode):
            folder = path
            for entry in os.scandir(folder):
                self._names[entry.path] = entry.inode()
        else:
            self._sizes[info.st_ino] = info.st_size

    def log_synced(self) -> None:
        """The write-ahead log has just been synced."""
        log = self._root / "journal.db-wal"
        self._log = _generation(log.read_bytes() if log.exists() else b"")

    def fail(self, target: Path, chance: random.Random, *, log_synced: bool = False) -> None:
        """Writes what is left to `target`, a folder that does not exist yet."""
        if log_synced:
            self.log_synced()
        target.mkdir()
        self._copy(self._root, target, chance)
        log = self._root / "journal.db-wal"
        data = log.read_bytes() if log.exists() else b""
        salts, end = _generation(data)
        kept = self._log[1] if self._log[0] == salts else min(_WAL_HEADER, end)
        (target / "journal.db-wal").write_bytes(data[: chance.randint(kept, end)])
        shutil.copy(self._root / "journal.db", target / "journal.db")

    def _copy(self, folder: Path, target: Path, chance: random.Random) -> None:
        for path in sorted(folder.iterdir()):
            if path.name.startswith("journal.db"):
                continue
            info = path.stat()
            if self._names.get(str(path)) != info.st_ino and chance.random() < 0.5:
                continue
            if path.is_dir():
                (target / path.name).mkdir()
                self._copy(path, target / path.name, chance)
                continue
            data = path.read_bytes()
            kept = data[: chance.randint(min(self._sizes.get(info.st_ino, 0), len(data)), len(data))]
            zeros = chance.randint(0, len(data) - len(kept)) if chance.random() < 0.5 else 0
            (target / path.name).write_bytes(kept + bytes(zeros))


class PoweredStorage(LocalStorage):
    """Local storage whose power may fail."""

    power: Power


def _generation(log: bytes) -> tuple[bytes, int]:
    """The salts of a write-ahead log since it was last begun anew, and where its frames end."""
    if len(log) < _WAL_HEADER:
        return b"", len(log)
    (page,) = struct.unpack(">I", log[8:12])
    salts, end = log[16:24], _WAL_HEADER
    while log[end + 8 : end + 16] == salts and end + _FRAME_HEADER + page <= len(log):
        end += _FRAME_HEADER + page
    return salts, end
