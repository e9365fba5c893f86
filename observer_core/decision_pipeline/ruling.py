"""The one way in which the pipeline writes a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observer_core.shared.ids import derive
from observer_core.shared.records import Decision, Json, Severity, Verdict

_SECOND = ("escalated", "released")


def rule(
    verdict: Verdict,
    scope: str,
    *,
    policy: str,
    version: int = 1,
    reason: Json,
    time_ns: int,
    causation: tuple[str, ...],
    severity: Severity = "info",
    until_ns: int | None = None,
    evidence: Mapping[str, Any] | None = None,
    also: tuple[str, ...] = (),
) -> Decision:
    """A decision whose id follows from what it says. `reason` has a `code`, a `text` and numbers.

    `also`: what tells it apart from another one of the same verdict, scope, policy, cause and time. What a
    policy does to a block that it, or another one, has just set is such another one.
    """
    also = (*also, reason["code"]) if reason["code"] in _SECOND else also
    return Decision(
        id=derive("decision", policy, scope, verdict, *causation, time_ns, *also), verdict=verdict,
        scope=scope, policy=policy, policy_version=version, reasons=(reason,), time_ns=time_ns,
        causation=causation, severity=severity, until_ns=until_ns, evidence=evidence or {},
    )  # fmt: skip
