"""Levels of risk: in points, where each is entered and left, and what the judgment's numbers are."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import Field, model_validator

from observer_core.decision_pipeline.views import RISK_LEVELS, RiskLevel
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.records import Json

Points = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Limits(Protocol):
    """Where levels are entered, and the lower points at which they are left."""

    @property
    def elevated(self) -> float: ...
    @property
    def elevated_leave(self) -> float: ...
    @property
    def critical(self) -> float: ...
    @property
    def critical_leave(self) -> float: ...


def _in_order(limits: Limits) -> bool:
    return (
        limits.elevated_leave < limits.elevated < limits.critical
        and limits.elevated_leave < limits.critical_leave < limits.critical
    )


class Weights(Config):
    """Points that an event of score 1 adds."""

    info: Points = 0.0
    warning: Points = 1.0
    critical: Points = 3.0


class Levels(Config):
    """In points: where a level is entered, and the lower ones where it is left."""

    elevated: Points
    elevated_leave: Points
    critical: Points
    critical_leave: Points

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> Levels:
        if not _in_order(self):
            raise ValueError(
                "expected elevated_leave < elevated < critical and elevated_leave < critical_leave < critical"
            )
        return self


class SourceLevels(Levels):
    """For the total of a source."""

    elevated: Points = 12.0
    elevated_leave: Points = 8.0
    critical: Points = 30.0
    critical_leave: Points = 20.0


class DomainLevels(Levels):
    """For the total of the domain."""

    elevated: Points = 20.0
    elevated_leave: Points = 14.0
    critical: Points = 50.0
    critical_leave: Points = 35.0


class JudgmentConfig(Config):
    """Levels are in points; one point leaks every `leak`; a bucket holds `capacity` at most.

    `source` and `domain` hold the levels of the totals. By default they are above `capacity`: no
    subject alone raises them.
    """

    weights: Weights = Weights()
    leak: Annotated[DurationNs, Field(gt=0)] = 300 * SECOND
    elevated: Points = 2.0
    elevated_leave: Points = 1.0
    critical: Points = 5.0
    critical_leave: Points = 3.0
    capacity: Points = 10.0
    source: SourceLevels = SourceLevels()
    domain: DomainLevels = DomainLevels()

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> JudgmentConfig:
        if not (_in_order(self) and self.critical <= self.capacity):
            raise ValueError(
                "expected elevated_leave < elevated < critical <= capacity "
                "and elevated_leave < critical_leave < critical"
            )
        return self


def risen(level: RiskLevel, points: float, limits: Limits) -> RiskLevel:
    if points >= limits.critical:
        return "critical"
    return "elevated" if points >= limits.elevated and level == "calm" else level


def leave(limits: Limits, level: RiskLevel) -> float:
    return {"critical": limits.critical_leave, "elevated": limits.elevated_leave, "calm": 0.0}[level]


def below(level: RiskLevel) -> RiskLevel:
    return RISK_LEVELS[max(0, RISK_LEVELS.index(level) - 1)]


def plain(limits: Limits) -> Json:
    names = ("elevated", "elevated_leave", "critical", "critical_leave")
    return {name: getattr(limits, name) for name in names}
