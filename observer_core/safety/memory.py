"""Ends a process that grows too large, in its own good order, before the kernel kills it.

Above the limit whoever has registered lets go of what can be read again (`drop`), and what that frees
is given back to the system. A process that is still above it after `patience` has to go (`is_over`): it
stops gracefully and is started anew, where a kill by the kernel would strike at any step and say nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import inspect
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil

LOOK_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 60.0
_UNLIMITED: Final = 1 << 60
"""Version 1 says "no limit" by a number of that order."""


def resident_bytes() -> int:
    """What this process has in memory."""
    return int(psutil.Process().memory_info().rss)


def cgroup_limit(root: Path = Path("/")) -> int | None:
    """What the control groups of this process allow, version 1 or 2; None where they allow everything.

    The least of its group's and all those above it.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    return min((limit for file in _files(root, lines) if (limit := _limit(file)) is not None), default=None)


def _files(root: Path, lines: list[str]) -> Iterator[Path]:
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be that outside of it: then the group itself is at the top.
        group = base / path.lstrip("/")
        yield from (at / name for at in (group, *group.parents) if at.is_relative_to(base))


def _limit(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None


def give_back() -> None:
    """Returns what was freed to the system: an allocator keeps it otherwise, and it counts as used."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only the GNU C library has it
        ctypes.CDLL(None).malloc_trim(0)


class Memory:
    """Of this process. `look` from one thread, all else from any."""

    def __init__(
        self, limit: int | None, resident: Callable[[], int] = resident_bytes,
        monotonic: Callable[[], float] = time.monotonic, patience: float = PATIENCE_SECONDS,
    ) -> None:  # fmt: skip
        """`limit`: None or 0, and nothing is ever too much."""
        self.limit, self._resident, self._monotonic = limit or None, resident, monotonic
        self._patience = patience
        self.used: int | None = None
        """As it was when it was last looked at, before anything was dropped."""
        self._next = monotonic()
        self._over_since: float | None = None
        self._droppable: list[Callable[[], Callable[[], None] | None]] = []
        """Each gives what to call, None when its object is no more."""

    def droppable(self, drop: Callable[[], None]) -> None:
        """Asked to let go of what can be read again; a method only as long as its object lives."""
        held = weakref.WeakMethod(drop) if inspect.ismethod(drop) else lambda: drop
        self._droppable = [item for item in self._droppable if item() is not None] + [held]

    def look(self) -> bool:
        """Looks when that is due, and drops what can be while there is too much; whether it did."""
        now = self._monotonic()
        if self.limit is None or now < self._next:
            return False
        self._next = now + LOOK_SECONDS
        self.used = self._resident()
        if self.used <= self.limit:
            self._over_since = None
            return False
        if self._over_since is None:
            self._over_since = now
        self.drop()
        return True

    def resident(self) -> int:
        """What this process has in memory now."""
        return self._resident()

    @property
    def is_short(self) -> bool:
        """Whether there was too much when it was last looked at."""
        return self._over_since is not None

    @property
    def is_over(self) -> bool:
        """Whether there has been too much for too long, whatever was dropped."""
        since = self._over_since
        return since is not None and self._monotonic() - since >= self._patience

    def drop(self) -> None:
        """Lets go of what can be read again."""
        for item in self._droppable:
            drop = item()
            if drop is not None:
                drop()
        give_back()
