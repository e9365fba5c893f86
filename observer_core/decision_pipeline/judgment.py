"""Judgment: the risk state of each subject, as points in a bucket that leaks in the domain's time.

An event adds weight(severity) × score points; one point leaks every `leak`. The level
rises at `elevated` and `critical` and falls at the lower `elevated_leave` and
`critical_leave` (hysteresis). The level at any moment follows from the last addition:
points(t) = max(0, points(t0) − (t − t0) / leak), so it does not matter how often it is
looked at. Each change of level is a decision with its arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Annotated

from pydantic import Field, model_validator

from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.signals import Signal
from observer_core.decision_pipeline.views import RISK_LEVELS, RiskLevel
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.records import Decision, Json, Severity
from observer_core.shared.timers import Timers

LEAK_CADENCES = 5
"""A point takes at least this many cadences of the data to leak."""

Points = Annotated[float, Field(ge=0)]
_SEVERITY: dict[RiskLevel, Severity] = {"calm": "info", "elevated": "warning", "critical": "critical"}


class Weights(Config):
    """Points that an event of score 1 adds."""

    info: Points = 0.0
    warning: Points = 1.0
    critical: Points = 3.0


class JudgmentConfig(Config):
    """Levels are in points; one point leaks every `leak`; a bucket holds `capacity` at most."""

    weights: Weights = Weights()
    leak: Annotated[DurationNs, Field(gt=0)] = 300 * SECOND
    elevated: Points = 2.0
    elevated_leave: Points = 1.0
    critical: Points = 5.0
    critical_leave: Points = 3.0
    capacity: Points = 10.0

    @model_validator(mode="after")
    def _levels_are_in_order(self) -> JudgmentConfig:
        ordered = (
            self.elevated_leave < self.elevated < self.critical <= self.capacity
            and self.elevated_leave < self.critical_leave < self.critical
        )
        if not ordered:
            raise ValueError(
                "expected elevated_leave < elevated < critical <= capacity "
                "and elevated_leave < critical_leave < critical"
            )
        return self


@dataclass(slots=True, kw_only=True)
class Bucket:
    """`points` as they were at `at_ns`."""

    level: RiskLevel = "calm"
    points: float = 0.0
    at_ns: int = 0
    leak_ns: int = 0
    cause: str = ""

    def left(self, now_ns: int) -> float:
        return max(0.0, self.points - (now_ns - self.at_ns) / self.leak_ns) if self.points else 0.0


class Risks:
    """The buckets of a domain, by scope."""

    def __init__(self, config: JudgmentConfig, timers: Timers) -> None:
        self._config, self._timers = config, timers
        self._weights = config.weights.model_dump()
        self._leave = {"critical": config.critical_leave, "elevated": config.elevated_leave, "calm": 0.0}
        self._buckets: dict[str, Bucket] = {}
        self.levels: dict[str, RiskLevel] = {}
        self.version = 0

    def add(self, signal: Signal) -> list[Decision]:
        """The signal's points; a decision when they change the level."""
        added = self._weights[signal.severity] * signal.score
        if not signal.risky or added <= 0:
            return []
        scope = signal.own_scope
        bucket = self._buckets.setdefault(scope, Bucket())
        before, left = bucket.points, bucket.left(signal.time_ns)
        bucket.leak_ns = max(
            bucket.leak_ns if left else 0, self._config.leak, LEAK_CADENCES * signal.cadence_ns
        )
        bucket.points = min(left + added, self._config.capacity)
        bucket.at_ns, bucket.cause = signal.time_ns, signal.ref
        level = self._risen(bucket)
        arithmetic = {"before": before, "leak": before - left, "add": added, "after": bucket.points,
                      "leak_ns": bucket.leak_ns, "capacity": self._config.capacity}  # fmt: skip
        return self._to(scope, bucket, level, signal.time_ns, arithmetic, signal.evidence)

    def fall(self, scope: str, due_ns: int) -> list[Decision]:
        """The bucket has leaked down to where its level is left; an empty one is forgotten."""
        bucket = self._buckets[scope]
        if bucket.level == "calm":
            del self._buckets[scope]
            return []
        after = self._leave[bucket.level]
        arithmetic = {"before": bucket.points, "leak": bucket.points - after, "add": 0.0, "after": after,
                      "leak_ns": bucket.leak_ns}  # fmt: skip
        return self._to(scope, bucket, _below(bucket.level), due_ns, arithmetic, {})

    def dump(self) -> Json:
        buckets = {scope: _plain(bucket) for scope, bucket in self._buckets.items()}
        return {"buckets": buckets, "version": self.version}

    def load(self, value: Json) -> None:
        self._buckets = {scope: Bucket(**plain) for scope, plain in value["buckets"].items()}
        self.levels = {scope: b.level for scope, b in self._buckets.items() if b.level != "calm"}
        self.version = value["version"]

    def _risen(self, bucket: Bucket) -> RiskLevel:
        if bucket.points >= self._config.critical:
            return "critical"
        if bucket.points >= self._config.elevated and bucket.level == "calm":
            return "elevated"
        return bucket.level

    def _to(
        self, scope: str, bucket: Bucket, level: RiskLevel, time_ns: int, arithmetic: Json, evidence: Json
    ) -> list[Decision]:  # fmt: skip
        was, bucket.level = bucket.level, level
        above = bucket.points - self._leave[level]
        self._timers.arm(max(time_ns, bucket.at_ns + math.ceil(above * bucket.leak_ns)), "risk", scope)
        if was == level:
            return []
        self.version += 1
        if level == "calm":
            del self.levels[scope]
        else:
            self.levels[scope] = level
        text = f"risk of {scope} went from {was} to {level} at {arithmetic['after']:.2f} points"
        reason = {"code": "risk", "text": text, "level": level, "from": was, **arithmetic}
        return [
            rule("judgment", scope, policy="risk", reason=reason, time_ns=time_ns, causation=(bucket.cause,),
                 severity=_SEVERITY[level], evidence=evidence)
        ]  # fmt: skip


def _plain(bucket: Bucket) -> Json:
    return {item.name: getattr(bucket, item.name) for item in fields(bucket)}


def _below(level: RiskLevel) -> RiskLevel:
    return RISK_LEVELS[RISK_LEVELS.index(level) - 1]
