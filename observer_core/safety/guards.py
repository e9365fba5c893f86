"""What one process must heed before it acts or writes: safe mode, the disk, its memory, its clock."""

from __future__ import annotations

from pathlib import Path

from observer_core.safety.clock_jump import ClockJumps
from observer_core.safety.config import SafetyConfig
from observer_core.safety.free_space import FreeSpace
from observer_core.safety.memory import Memory, cgroup_limit
from observer_core.shared.config import format_size
from observer_core.shared.errors import StorageFull

SAFE_MODE = "the Observer is in safe mode: it observes and records, and acts on nothing"


class Guards:
    """For any thread. The disk is that of `data`; None where nothing is kept on one."""

    def __init__(self, config: SafetyConfig, data: Path | None) -> None:
        self.safe_mode = config.safe_mode
        self.space = None if data is None else FreeSpace(data, config.least_free)
        limit = config.most_memory
        if limit is None and (allowed := cgroup_limit()) is not None:
            limit = allowed * 9 // 10
        self.memory = Memory(limit)
        self.clock = ClockJumps(config.clock_jump)

    def short_of_space(self) -> str | None:
        """Why nothing more is to be written now, if so."""
        space = self.space
        if space is None or not space.is_short():
            return None
        free = "?" if space.free is None else format_size(space.free >> 20 << 20)
        least, enough = format_size(space.least), format_size(space.enough)
        return (
            f"only {free} are free on the disk of the data folder: below {least} ([safety] least_free) "
            f"nothing is taken in until {enough} are free again"
        )

    def require_space(self) -> None:
        """`StorageFull` when nothing more is to be written."""
        why = self.short_of_space()
        if why is not None:
            raise StorageFull(why)

    def withheld(self) -> str | None:
        """Why nothing is delivered now, if so."""
        return SAFE_MODE if self.safe_mode else self.short_of_space()
