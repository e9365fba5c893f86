"""Non-execution: what was withheld, and by whom.

Each check looks at a policy that matched and either lets it act (None) or returns the
reason why not. The first reason stands, and is recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from observer_core.decision_pipeline.blocking import Blocks
from observer_core.decision_pipeline.policy import Policy
from observer_core.decision_pipeline.signals import Signal
from observer_core.shared.clock import format_time
from observer_core.shared.records import Json

Check = Callable[[Blocks, Policy, Signal, str], Json | None]


def low_confidence(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    if signal.score >= policy.min_score:
        return None
    text = f"the score {signal.score:.2f} is below the {policy.min_score:.2f} that {policy.name} acts on"
    return {"code": "low_confidence", "text": text, "score": signal.score, "min_score": policy.min_score}


def no_action(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    if policy.verdict != "non_execution":
        return None
    return {"code": "policy", "text": f"{policy.name} says not to act: {policy.description}"}


def overridden(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    override = blocks.override_of(policy.name, scope, (signal.source,)) if policy.verdict == "block" else None
    if override is None:
        return None
    text = f"overridden by {override.author} until {format_time(override.until_ns)}: {override.reason}"
    return {"code": "overridden", "text": text, "author": override.author, "until_ns": override.until_ns}


def duplicate(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    """A repeat while blocked does not extend the block: its end stays predictable."""
    block = blocks.find(policy.name, scope) if policy.verdict == "block" else None
    if block is None or block.lifted:
        return None
    text = f"{scope} is already blocked by {policy.name} since {format_time(block.since_ns)}"
    return {"code": "duplicate", "text": text, "since_ns": block.since_ns, "until_ns": block.until_ns}


def cooldown(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    until_ns = blocks.resting.get(f"{policy.name} {scope}", 0)
    if until_ns <= signal.time_ns:
        return None
    text = f"{policy.name} rests on {scope} until {format_time(until_ns)}"
    return {"code": "cooldown", "text": text, "until_ns": until_ns}


def shadow(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    if not policy.shadow:
        return None
    return {"code": "shadow", "text": f"{policy.name} only watches: it would have given a {policy.verdict}"}


CHECKS: tuple[Check, ...] = (low_confidence, no_action, overridden, duplicate, cooldown, shadow)


def withheld(blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Json | None:
    """The first reason not to act; None to act."""
    for check in CHECKS:
        reason = check(blocks, policy, signal, scope)
        if reason is not None:
            return reason
    return None
