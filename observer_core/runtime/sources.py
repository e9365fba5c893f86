"""The configured sources that are asked at their own cadence."""

from __future__ import annotations

from observer_core.runtime.settings import Settings, SystemSourceConfig
from observer_core.snapshot_engine.source import Source


def live_sources(settings: Settings) -> list[tuple[Source, int]]:
    """Each live source with the longest time that one collection may take, in nanoseconds."""
    found: list[tuple[Source, int]] = []
    for item in settings.source:
        if isinstance(item, SystemSourceConfig):
            from observer_core.snapshot_engine.sources.system import SystemSource

            found.append((SystemSource(item.name, item.system()), item.deadline))
    return found
