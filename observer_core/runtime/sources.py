"""The configured sources that are asked at their own cadence."""

from __future__ import annotations

from observer_core.runtime.settings import (
    HttpSourceConfig,
    PrometheusSourceConfig,
    Settings,
    SystemSourceConfig,
    secret,
)
from observer_core.snapshot_engine.source import Source


def live_sources(settings: Settings) -> list[tuple[Source, int]]:
    """Each live source with the longest time that one collection may take, in nanoseconds."""
    found: list[tuple[Source, int]] = []
    for item in settings.source:
        if isinstance(item, SystemSourceConfig):
            from observer_core.snapshot_engine.sources.system import SystemSource

            found.append((SystemSource(item.name, item.system()), item.deadline))
        elif isinstance(item, HttpSourceConfig):
            from observer_core.snapshot_engine.sources.http_api import HttpApiSource

            found.append((HttpApiSource(item.name, item, secret), item.deadline))
        elif isinstance(item, PrometheusSourceConfig):
            from observer_core.snapshot_engine.sources.prometheus import PrometheusSource

            found.append((PrometheusSource(item.name, item, secret), item.deadline))
    return found
