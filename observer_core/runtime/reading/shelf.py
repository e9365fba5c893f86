"""How much the block files may take together; those that nobody has asked for go first."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from observer_core.runtime.reading.columns import Block

_GIB: Final = 1 << 30
LEFT_FREE: Final = 2 * _GIB
"""More than what makes the health check warn: a cache is never the cause of that."""
_TAG: Final = "Signature: 8a477f597d28d172789f06886806bc55\n# Made anew when it is deleted.\n"
_log = structlog.get_logger("observer.series")

Drop = Callable[[Block], None]


class Shelf:
    """The folder of all block files. Safe to use from several threads."""

    def __init__(self, folder: Path, limit: int, left_free: int = LEFT_FREE) -> None:
        self.folder = folder
        self._limit, self._left_free = limit, left_free
        self._blocks: dict[Path, tuple[int, int, Block, Drop]] = {}
        self._uses = 0
        self._size = 0
        self._writable = True
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        return self._size

    def now(self) -> int:
        """Blocks used from now on are newer than this."""
        with self._lock:
            self._uses += 1
            return self._uses

    def put(self, block: Block, drop: Drop, *, used: bool = False) -> None:
        """`drop` is called, without any lock, when the block has to go. Its owner then `take`s it away."""
        with self._lock:
            self._uses += 1
            self._blocks[block.path] = (
                self._uses if used else 0,
                block.span[1] if block.span else 0,
                block,
                drop,
            )
            self._size += block.size

    def take(self, block: Block) -> None:
        with self._lock:
            if self._blocks.pop(block.path, None) is not None:
                self._size -= block.size

    def used(self, block: Block) -> None:
        with self._lock:
            self._uses += 1
            if block.path in self._blocks:
                _, newest, block, drop = self._blocks[block.path]
                self._blocks[block.path] = (self._uses, newest, block, drop)

    def has_room(self, size: int, *, since: int | None = None) -> bool:
        """Whether `size` bytes fit; `since`: when blocks not used after that moment may go for them."""
        if not self._writable or not self._is_free(size):
            return False
        with self._lock:
            left = self._limit - self._size - size
            if left >= 0 or since is None:
                return left >= 0
            return left + sum(item[2].size for item in self._blocks.values() if item[0] <= since) >= 0

    def trim(self) -> None:
        """Drops what was used longest ago until all is within the limit."""
        with self._lock:
            over, going = self._size - self._limit, []
            if over > 0:
                for _, _, block, drop in sorted(self._blocks.values(), key=lambda item: item[:2]):
                    if over <= 0:
                        break
                    going.append((block, drop))
                    over -= block.size
        for block, drop in going:
            drop(block)

    def failed(self, error: Exception) -> None:
        """A file could not be written; nothing is built ahead any more in this process."""
        if self._writable:
            _log.warning("series are not kept on disk", error=str(error))
        self._writable = False

    def prepare(self) -> None:
        """Marks the folder for backup programs."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            tag = self.folder / "CACHEDIR.TAG"
            if not tag.exists():
                tag.write_text(_TAG)
        except OSError as error:
            self.failed(error)

    def _is_free(self, size: int) -> bool:
        try:
            return shutil.disk_usage(self.folder).free - size >= self._left_free
        except OSError:
            return False
