"""`[safety]`: what the Observer does when it must not act, or cannot go on without doing harm."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, Size

MIB: Final = 1 << 20


class SafetyConfig(Config):
    """`safe_mode`: observe and record, act on nothing.

    `least_free`: with less left on the disk of the data folder nothing more is taken in; 0 switches that
    off. `most_memory`: with more in memory the process ends itself to be started anew (default: nine tenths
    of what its cgroup allows, and no limit where there is none; 0: no limit). `clock_jump`: a clock that is
    set by more is recorded.
    """

    safe_mode: bool = False
    least_free: Annotated[Size, Field(ge=0)] = 256 * MIB
    most_memory: Annotated[Size, Field(ge=0)] | None = None
    clock_jump: Annotated[DurationNs, Field(ge=SECOND // 10)] = 2 * SECOND
