"""The one way in which the pipeline writes a decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from observer_core.shared.ids import derive
from observer_core.shared.records import Decision, Json, Severity, Verdict


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
) -> Decision:
    """A decision whose id follows from what it says. `reason` has a `code`, a `text` and numbers."""
    return Decision(
        id=derive("decision", policy, scope, verdict, *causation, time_ns), verdict=verdict, scope=scope,
        policy=policy, policy_version=version, reasons=(reason,), time_ns=time_ns, causation=causation,
        severity=severity, until_ns=until_ns, evidence=evidence or {},
    )  # fmt: skip
