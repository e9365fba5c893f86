"""The configured sources that are asked at their own cadence."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from observer_core.runtime.settings import Settings, secret
from observer_core.runtime.source_kinds import (
    AskedSource,
    HttpSourceConfig,
    MarketSourceConfig,
    PrometheusSourceConfig,
    SystemSourceConfig,
)
from observer_core.safety.breaker import BreakerConfig
from observer_core.safety.pace import Pace
from observer_core.shared.clock import SECOND
from observer_core.snapshot_engine.sessions import sessions_of
from observer_core.snapshot_engine.source import Source
from observer_core.snapshot_engine.sources.market_exchange import check_exchange

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


def check_sources(settings: Settings) -> None:
    """`ConfigError` for what a source names and this machine does not have: a calendar, an exchange."""
    for item in settings.source:
        config = settings.normaliser(item.name)
        if config.session is not None:
            sessions_of(config.session)
        if isinstance(item, MarketSourceConfig):
            check_exchange(item.exchange)


def live_sources(settings: Settings, only: str | None = None) -> list[LiveSource]:
    """The live sources in the order of the configuration, or one of them alone."""
    asked = [item for item in settings.source if isinstance(item, AskedSource) and only in (None, item.name)]
    paces = _paces(asked)
    return [
        LiveSource(_source(item, paces.get(_host(item))), item.deadline, item.breaker, item.shards)
        for item in asked
    ]


def _paces(asked: Sequence[AskedSource]) -> dict[str, Pace]:
    """The pace of each host: the least that any of its sources allows."""
    rates: dict[str, float] = {}
    for item in asked:
        if isinstance(item, HttpSourceConfig | PrometheusSourceConfig):
            rates[_host(item)] = min(item.max_rate, rates.get(_host(item), item.max_rate))
    return {host: Pace(rate) for host, rate in rates.items()}


def _host(item: AskedSource) -> str:
    return urlsplit(item.url).netloc if isinstance(item, HttpSourceConfig | PrometheusSourceConfig) else ""


def _source(item: AskedSource, pace: Pace | None) -> Source:
    match item:
        case SystemSourceConfig():
            from observer_core.snapshot_engine.sources.system import SystemSource

            return SystemSource(item.name, item.system())
        case HttpSourceConfig():
            from observer_core.snapshot_engine.sources.http_api import HttpApiSource

            return HttpApiSource(item.name, item, secret, pace)
        case PrometheusSourceConfig():
            from observer_core.snapshot_engine.sources.prometheus import PrometheusSource

            return PrometheusSource(item.name, item, secret, pace)
        case MarketSourceConfig():
            from observer_core.snapshot_engine.sources.market import MarketSource

            return MarketSource(item.name, item)
