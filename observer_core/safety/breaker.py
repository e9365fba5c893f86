"""A circuit breaker: a source that fails again and again is left alone, and then tried with care.

Pure: a state and what happened give the next state. The state is written down with the snapshots
of the source, so any process goes on from it, and an auditor sees when the source was not asked.

    closed      every collection is made; `failures` of them in a row open the circuit
    open        none is made before `until_ns`
    half_open   one is: it closes the circuit, or opens it again for twice as long

Source: Nygard, "Release It!" (2018), chapter 5; the pause grows as in "Exponential backoff and
jitter" (AWS Architecture Blog, 2015), with half of it fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, PositiveInt, model_validator

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs

State = Literal["closed", "open", "half_open"]
_DOUBLED_AT_MOST: Final = 20


class BreakerConfig(Config):
    """After `failures` in a row nothing is asked for `pause`, then for twice as long, up to `longest`."""

    failures: PositiveInt = 5
    pause: Annotated[DurationNs, Field(gt=0)] = 5 * SECOND
    longest: Annotated[DurationNs, Field(gt=0)] = 60 * SECOND

    @model_validator(mode="after")
    def _the_longest_is_longest(self) -> BreakerConfig:
        if self.longest < self.pause:
            raise ValueError("longest is shorter than pause")
        return self


class Breaker(NamedTuple):
    """One source's. `trips`: how often the circuit has opened since it was last closed."""

    state: State = "closed"
    failures: int = 0
    trips: int = 0
    until_ns: int = 0

    def at(self, now_ns: int, config: BreakerConfig) -> Breaker:
        """As time alone makes it: an open circuit is half open once its pause is over.

        A pause that would be longer than any was begun by a clock that was wrong: it is over, too.
        """
        if self.state != "open" or 0 < self.until_ns - now_ns <= config.longest:
            return self
        return self._replace(state="half_open")

    def succeeded(self) -> Breaker:
        return Breaker()

    def failed(self, now_ns: int, config: BreakerConfig, jitter: float) -> Breaker:
        """`jitter` in [0, 1): which part of the other half of the pause is waited."""
        failures = self.failures + 1
        if self.state == "closed" and failures < config.failures:
            return self._replace(failures=failures)
        pause = min(config.pause << min(self.trips, _DOUBLED_AT_MOST), config.longest)
        until_ns = now_ns + pause // 2 + round(pause / 2 * jitter)
        return Breaker("open", failures, self.trips + 1, until_ns)

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"state": self.state, "failures": self.failures}
        return {**value, "trips": self.trips, "until_ns": self.until_ns} if self.trips else value

    @staticmethod
    def of(value: Mapping[str, Any] | None) -> Breaker:
        """The inverse of `to_json`; a closed one for None."""
        return (
            Breaker() if value is None else Breaker(**{name: value.get(name, 0) for name in Breaker._fields})
        )
