"""What can be configured as a source: one class a kind, and what all of them have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.safety.breaker import BreakerConfig
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, Name, Zone
from observer_core.snapshot_engine.derived import DerivedConfig
from observer_core.snapshot_engine.normalise import NormaliserConfig
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig
from observer_core.snapshot_engine.shards import shard_names
from observer_core.snapshot_engine.sources.http_api import HttpApiConfig
from observer_core.snapshot_engine.sources.market import MarketConfig
from observer_core.snapshot_engine.sources.prometheus import PrometheusConfig
from observer_core.snapshot_engine.sources.system import SystemConfig

LIVE = "live"
_DAY = 86_400 * SECOND
_TIMEFRAMES = {
    "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": _DAY, "w": 7 * _DAY, "M": 31 * _DAY,
    "y": 366 * _DAY,
}  # fmt: skip


class _AnySource(Config):
    name: Name
    domain: Name = LIVE
    normalise: NormaliserConfig = NormaliserConfig()
    recognise: RecogniserConfig | None = None
    """Instead of the general `[recognise]`."""
    venue: Name | None = None
    """What its incidents are of; default: its name. Sources of one venue have their incidents together."""
    max_age: DurationNs | None = None
    """Data older than this closes the gate; default: the larger of 5 s and 3 × the interval."""


class _Asked(_AnySource):
    """A source that is asked at its own cadence."""

    deadline: Annotated[DurationNs, Field(gt=0)] = 10 * SECOND
    """A collection that takes longer has failed; nobody waits for it."""
    breaker: BreakerConfig = BreakerConfig()
    shards: Annotated[int, Field(ge=1, le=100)] = 1
    """In how many parts its subjects are worked: `<name>-0`, `<name>-1`, …, a journal each."""


class SystemSourceConfig(_Asked, SystemConfig):
    """This machine, through psutil."""

    kind: Literal["system"]

    def system(self) -> SystemConfig:
        return SystemConfig(**{name: getattr(self, name) for name in SystemConfig.model_fields})


class HttpSourceConfig(_Asked, HttpApiConfig):
    """Any HTTP API that answers with JSON."""

    kind: Literal["http"]


class PrometheusSourceConfig(_Asked, PrometheusConfig):
    """A Prometheus text endpoint."""

    kind: Literal["prometheus"]


class MarketSourceConfig(_Asked, MarketConfig):
    """An exchange's public data, through ccxt."""

    kind: Literal["market"]

    @property
    def bar_ns(self) -> int | None:
        """The length of the bars that it gives (of a month, the longest); None: it gives moments."""
        if self.data == "trades":
            return self.bar
        return int(self.timeframe[:-1]) * _TIMEFRAMES[self.timeframe[-1]] if self.data == "candles" else None

    @model_validator(mode="after")
    def _its_bars_can_be_in_time(self) -> MarketSourceConfig:
        bar_ns, delay_ns = self.normalise.bar or self.bar_ns, self.normalise.max_delay
        if bar_ns is not None and delay_ns is not None and delay_ns <= bar_ns:
            raise ValueError(
                "normalise.max_delay is not longer than a bar: every bar would be stale when it is known"
            )
        return self


class RecordingSourceConfig(_AnySource):
    """Files replayed at `rate` snapshots a second, in a domain of their own."""

    kind: Literal["recording"]
    paths: Annotated[tuple[Path, ...], Field(min_length=1)]
    rate: PositiveFloat = 100.0
    mapping: RecordingConfig


class PushSourceConfig(_AnySource):
    """Whatever is posted to `/v1/snapshots/<name>`, or piped into `observer push`."""

    kind: Literal["push"]
    interval: Annotated[DurationNs, Field(gt=0)] = 60 * SECOND
    zone: Zone | None = None
    """What times without a zone are in; without it they are refused."""


class DerivedSourceConfig(_AnySource, DerivedConfig):
    """Series computed from those of other sources."""

    kind: Literal["derived"]

    @model_validator(mode="after")
    def _is_written_as_it_is_derived(self) -> DerivedSourceConfig:
        if self.normalise != NormaliserConfig():
            raise ValueError(
                "a derived source has no normalise: its inputs are normalised already; remove it"
            )
        return self

    def derived(self) -> DerivedConfig:
        return DerivedConfig(series=self.series, tolerance=self.tolerance)


AskedSource = SystemSourceConfig | HttpSourceConfig | PrometheusSourceConfig | MarketSourceConfig
SourceConfig = Annotated[
    AskedSource | RecordingSourceConfig | PushSourceConfig | DerivedSourceConfig, Field(discriminator="kind")
]


def parts_of(item: SourceConfig) -> tuple[str, ...]:
    """The names under which it is recorded: its shards', or its own."""
    return shard_names(item.name, item.shards) if isinstance(item, _Asked) else (item.name,)
