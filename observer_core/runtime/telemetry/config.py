"""`[telemetry]` and `[heartbeat]`: what leaves this machine about how the Observer is, and whereto.

Addresses and keys stand in the environment, under the names that are given here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, EnvSecret

Exporter = Literal["none", "otlp", "azure_monitor"]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
PING_TIMEOUT_NS = 5 * SECOND


class TelemetryConfig(Config):
    """`traces` and `metrics`: who is sent them, besides `/metrics`, which is always there.

    `sample`: the share of snapshots that are traced; which ones follows from their place, so that every
    process takes the same. `every`: how often metrics are sent. `series`: of a metric with labels so many
    series are told apart, the rest is one called `other`. `endpoint` and `headers` name the settings of
    the environment that say where an OTLP collector is (its base address) and what it is shown
    (`name=value,…`); `connection` the one with the connection string of Application Insights.
    """

    traces: Exporter = "none"
    metrics: Exporter = "none"
    sample: Annotated[float, Field(gt=0, le=1)] = 1.0
    every: Annotated[DurationNs, Field(ge=5 * SECOND)] = 60 * SECOND
    series: Annotated[int, Field(ge=10)] = 1_000
    endpoint: EnvName = "OTEL_EXPORTER_OTLP_ENDPOINT"
    headers: EnvName | None = None
    connection: EnvName = "APPLICATIONINSIGHTS_CONNECTION_STRING"


class HeartbeatConfig(Config):
    """`url`: who is told, every `every`, that the Observer is well; without it nobody is.

    Told while the loop turns and no health check fails, and not at all otherwise: whoever waits for it
    raises the alarm. `tell_failure`: a health that fails is told at `<url>/fail` instead, as
    healthchecks.io has it. `gap`: a pause of the live clock that is longer is recorded, and a warning of
    the health for `warn_for`.
    """

    url: EnvSecret | None = None
    every: Annotated[DurationNs, Field(ge=5 * SECOND)] = 60 * SECOND
    method: Literal["GET", "POST"] = "GET"
    timeout: Annotated[DurationNs, Field(gt=0, le=30 * SECOND)] = PING_TIMEOUT_NS
    allow_private: bool = False
    tell_failure: bool = False
    gap: Annotated[DurationNs, Field(gt=0)] = 60 * SECOND
    warn_for: Annotated[DurationNs, Field(ge=0)] = 3600 * SECOND

    @model_validator(mode="after")
    def _in_time(self) -> HeartbeatConfig:
        if self.timeout >= self.every:
            raise ValueError("timeout must be shorter than every: the next one is due by then")
        return self
