"""Stops before the disk is full: what is left then is enough to close the gate, and to be told why.

Below `least` bytes the space counts as short until a quarter more than that is free again: it does not go
back and forth at the edge. A disk that cannot be asked leaves things as they were: its own errors tell.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def free_bytes(folder: Path) -> int:
    """What anybody but root may still write on the disk of a folder, or of the nearest one that exists."""
    return shutil.disk_usage(next(at for at in (folder, *folder.parents) if at.exists())).free


class FreeSpace:
    """Of one folder. Asking costs microseconds; from any thread."""

    def __init__(self, folder: Path, least: int, free: Callable[[Path], int] = free_bytes) -> None:
        self._folder, self._free = folder, free
        self.least, self.enough = least, least + least // 4
        self.free: int | None = None
        """As it was when it was last asked."""
        self._short = False

    def is_short(self) -> bool:
        """Whether too little is left now."""
        if self.least:
            try:
                self.free = free = self._free(self._folder)
            except OSError:
                return self._short
            self._short = free < (self.enough if self._short else self.least)
        return self._short
