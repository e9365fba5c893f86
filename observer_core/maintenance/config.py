"""`[maintenance]`: how often the storage is looked after, and how."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from observer_core.maintenance.compaction import CompactionConfig
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs


class MaintenanceConfig(Config):
    """`every`: so often by itself; `0s` never. `keys_for`: so long an idempotency key is remembered."""

    every: Annotated[DurationNs, Field(ge=0)] = 3600 * SECOND
    keys_for: Annotated[DurationNs, Field(ge=86_400 * SECOND)] = 7 * 86_400 * SECOND
    compaction: CompactionConfig = CompactionConfig()
