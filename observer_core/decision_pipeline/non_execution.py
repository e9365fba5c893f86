"""Non-execution: what was withheld, and by whom.

Each check looks at a policy that matched and either lets it act (None) or returns the
reason why not. The first reason stands, and is recorded.
"""

from __future__ import annotations

from collections.abc import Callable

from observer_core.decision_pipeline.blocking import Block, Blocks, Override
from observer_core.decision_pipeline.rules import Fired, Rule
from observer_core.shared.clock import format_time
from observer_core.shared.records import Json

Check = Callable[[Blocks, Rule, Fired], Json | None]


def low_confidence(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    policy, score = rule.policy, fired.signal.score
    if score >= policy.min_score:
        return None
    text = f"the score {score:.2f} is below the {policy.min_score:.2f} that {policy.name} acts on"
    return {"code": "low_confidence", "text": text, "score": score, "min_score": policy.min_score}


def not_entered(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    """Between `leave` and `enter` a block that stands goes on, and none begins."""
    policy = rule.policy
    if policy.enter is None or rule.entered(fired) or blocks.find(policy.name, fired.scope) is not None:
        return None
    ((name, enter),) = policy.enter.items()
    text = f"{name} {fired.number:g} has not reached the {enter:g} that {policy.name} acts on"
    return {"code": "not_entered", "text": text, "number": fired.number, "enter": enter}


def no_action(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    policy = rule.policy
    if policy.verdict != "non_execution":
        return None
    return {"code": "policy", "text": f"{policy.name} says not to act: {policy.description}"}


def overridden(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    policy = rule.policy
    blocking = policy.verdict == "block"
    override = blocks.override_of(policy.name, fired.scope, fired.sources) if blocking else None
    return None if override is None else overridden_by(override)


def overridden_by(override: Override) -> Json:
    text = f"overridden by {override.author} until {format_time(override.until_ns)}: {override.reason}"
    return {"code": "overridden", "text": text, "author": override.author, "until_ns": override.until_ns}


def duplicate(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    """A repeat while blocked does not extend the block: its end stays predictable."""
    policy = rule.policy
    block = blocks.find(policy.name, fired.scope) if policy.verdict == "block" else None
    return None if block is None or block.lifted else already(block)


def already(block: Block) -> Json:
    text = f"{block.scope} is already blocked by {block.policy} since {format_time(block.since_ns)}"
    return {"code": "duplicate", "text": text, "since_ns": block.since_ns, "until_ns": block.until_ns}


def cooldown(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    policy, scope = rule.policy, fired.scope
    until_ns = blocks.resting.get(f"{policy.name} {scope}", 0)
    if until_ns <= fired.signal.time_ns:
        return None
    text = f"{policy.name} rests on {scope} until {format_time(until_ns)}"
    return {"code": "cooldown", "text": text, "until_ns": until_ns}


def nothing_to_release(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    names = rule.policy.release
    if names is None or any(blocks.find(name, fired.scope) for name in names):
        return None
    text = f"no block by {' or '.join(names)} stands on {fired.scope}"
    return {"code": "nothing_to_release", "text": text}


def shadow(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    policy = rule.policy
    if not policy.shadow:
        return None
    return {"code": "shadow", "text": f"{policy.name} only watches: it would have given a {policy.verdict}"}


CHECKS: tuple[Check, ...] = (
    low_confidence, not_entered, no_action, overridden, duplicate, nothing_to_release, cooldown, shadow,
)  # fmt: skip


def withheld(blocks: Blocks, rule: Rule, fired: Fired) -> Json | None:
    """The first reason not to act; None to act."""
    for check in CHECKS:
        reason = check(blocks, rule, fired)
        if reason is not None:
            return reason
    return None
