"""The configured sources that are asked at their own cadence."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from observer_core.runtime.settings import (
    AskedSource,
    HttpSourceConfig,
    MarketSourceConfig,
    PrometheusSourceConfig,
    Settings,
    SystemSourceConfig,
    secret,
)
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.clock import SECOND
from observer_core.snapshot_engine.source import Source

_BREAKER = BreakerConfig()


@dataclass(frozen=True, slots=True)
class LiveSource:
    """A source and how it is asked: how long it may take, when it is let be, in how many shards."""

    source: Source
    deadline_ns: int = 10 * SECOND
    breaker: BreakerConfig = _BREAKER
    shards: int = 1
    jitter: Callable[[], float] = field(default=random.random, compare=False)

    @property
    def name(self) -> str:
        return self.source.name


def live_sources(settings: Settings) -> list[LiveSource]:
    """The live sources in the order of the configuration."""
    return [
        LiveSource(_source(item), item.deadline, item.breaker, item.shards)
        for item in settings.source
        if isinstance(item, AskedSource)
    ]


def _source(item: AskedSource) -> Source:
    match item:
        case SystemSourceConfig():
            from observer_core.snapshot_engine.sources.system import SystemSource

            return SystemSource(item.name, item.system())
        case HttpSourceConfig():
            from observer_core.snapshot_engine.sources.http_api import HttpApiSource

            return HttpApiSource(item.name, item, secret)
        case PrometheusSourceConfig():
            from observer_core.snapshot_engine.sources.prometheus import PrometheusSource

            return PrometheusSource(item.name, item, secret)
        case MarketSourceConfig():
            from observer_core.snapshot_engine.sources.market import MarketSource

            return MarketSource(item.name, item)
