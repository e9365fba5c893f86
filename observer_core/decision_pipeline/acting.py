"""Acting: what a policy that fired decides, what makes that graver, or why it was withheld."""

from __future__ import annotations

from observer_core.decision_pipeline.blocking import Block, Blocks
from observer_core.decision_pipeline.memory import Item, Memory
from observer_core.decision_pipeline.non_execution import already, overridden_by, withheld
from observer_core.decision_pipeline.policy import Escalate, Policy, span
from observer_core.decision_pipeline.rules import Fired, Rule
from observer_core.decision_pipeline.ruling import rule as write
from observer_core.decision_pipeline.scopes import DOMAIN, source_scope
from observer_core.shared.clock import format_duration, format_time
from observer_core.shared.records import Decision, Json, Verdict
from observer_core.shared.timers import Timers

ESCALATED = "escalated"
_REPEATS = ("duplicate", "cooldown")


def apply(blocks: Blocks, memory: Memory, rule: Rule, fired: Fired) -> list[Decision]:
    """What the policy decides, or why it was withheld."""
    policy, signal, scope = rule.policy, fired.signal, fired.scope
    reason = withheld(blocks, rule, fired)
    if reason is not None:
        _remember(blocks, rule, fired, reason["code"])
        return [_written(policy, fired, "non_execution", reason)]
    if policy.verdict == "block":
        block, lifted = _block(rule, fired), blocks.find(policy.name, scope)
        block = block.with_claims_of(lifted) if lifted else block
        decision = blocks.set(block, signal.time_ns, fired.causes)
        return [decision, *_acted(blocks, memory, policy, fired, block)]
    if policy.cooldown:
        blocks.rest(f"{policy.name} {scope}", signal.time_ns + span(policy.cooldown, signal.cadence_ns))
    if policy.verdict == "release":
        return _release(blocks, policy, fired)
    return [
        _written(policy, fired, policy.verdict, _matched(policy, fired)),
        *_acted(blocks, memory, policy, fired, None),
    ]


def watch(timers: Timers, policy: Policy, decision: Decision) -> None:
    """Begins to wait until a block has stood so long that it escalates, and ends it with the block."""
    more = policy.escalate
    if more is None or more.after is None:
        return
    key = f"{decision.policy} {decision.scope}"
    if decision.verdict == "release":
        timers.disarm("escalate", key)
    elif decision.verdict == "block" and decision.reasons[0]["code"] != ESCALATED:
        after_ns = span(more.after, decision.evidence.get("cadence_ns", 0))
        timers.arm(decision.time_ns + after_ns, "escalate", key)


def stood(blocks: Blocks, policy: Policy, key: str, due_ns: int) -> list[Decision]:
    """The block has stood as long as its policy's `escalate.after`."""
    block, more = blocks.find(policy.name, key.partition(" ")[2]), policy.escalate
    if block is None or block.lifted or more is None or more.after is None:
        return []
    text = f"it has stood since {format_time(block.since_ns)}"
    return _raise(blocks, policy, more, block, due_ns, (block.cause,), text)


def _written(policy: Policy, fired: Fired, verdict: Verdict, reason: Json) -> Decision:
    signal = fired.signal
    # A repeat follows from its own event; what the others led to has been decided.
    causes = (signal.ref,) if reason["code"] in _REPEATS else fired.causes
    return write(
        verdict, fired.scope, policy=policy.name, version=policy.version, reason=reason,
        time_ns=signal.time_ns, causation=causes, severity=policy.severity or signal.severity,
        evidence=signal.evidence,
    )  # fmt: skip


def _matched(policy: Policy, fired: Fired) -> Json:
    return {"code": "matched", "text": f"{policy.name}: {fired.text}", **fired.details}


def _release(blocks: Blocks, policy: Policy, fired: Fired) -> list[Decision]:
    found = (blocks.find(name, fired.scope) for name in policy.release or ())
    reason = {
        **_matched(policy, fired), "code": "released",
        "text": f"released by {policy.name}: {fired.text}", "by": policy.name, "version": policy.version,
    }  # fmt: skip
    return [
        blocks.cut(block, fired.signal.time_ns, fired.causes, reason) for block in found if block is not None
    ]


def _remember(blocks: Blocks, rule: Rule, fired: Fired, code: str) -> None:
    """What was withheld now may have to hold later: a further condition, or a block once an override ends."""
    policy = rule.policy
    standing = blocks.find(policy.name, fired.scope)
    if standing is not None and code in ("duplicate", "overridden"):
        conditions = _conditions(rule, fired)
        for source in sorted(fired.sources):
            blocks.join(standing, conditions, source)
        for scope in _wider(policy, standing):
            raised = blocks.find(policy.name, scope)
            if raised is not None:
                blocks.join(raised, conditions, fired.signal.source)
    elif code == "overridden" and not policy.shadow:
        blocks.hold_up(_block(rule, fired))


def _conditions(rule: Rule, fired: Fired) -> list[str]:
    until = rule.policy.until
    if until is not None and until.resumed:
        return list(fired.begun)
    waits = rule.policy.leave is not None or (until is not None and until.match is not None)
    return rule.tokens(fired.claims) if waits else []


def _block(rule: Rule, fired: Fired) -> Block:
    policy, signal = rule.policy, fired.signal
    longest = None if policy.until is None else policy.until.longest
    for_ns = None if longest is None else span(longest, signal.cadence_ns)
    return Block(
        policy=policy.name, version=policy.version, scope=fired.scope, sources=set(fired.sources),
        severity=policy.severity or signal.severity, reason={**_matched(policy, fired), "for_ns": for_ns},
        evidence=signal.evidence, until_ns=None if for_ns is None else signal.time_ns + for_ns,
        cooldown_ns=span(policy.cooldown, signal.cadence_ns) if policy.cooldown else 0, cause=signal.ref,
        conditions=set(_conditions(rule, fired)),
    )  # fmt: skip


# ---------------------------------------------------------------------- escalation


def _acted(
    blocks: Blocks, memory: Memory, policy: Policy, fired: Fired, block: Block | None
) -> list[Decision]:  # fmt: skip
    """The policy has acted; so many times within so long make it graver."""
    more, signal = policy.escalate, fired.signal
    if more is None or more.times is None:
        return []
    within_ns = span(more.within or 0, signal.cadence_ns)
    item = Item(
        ref=signal.ref, time_ns=signal.time_ns, until_ns=signal.time_ns + within_ns, source=signal.source,
        text=signal.text,
    )  # fmt: skip
    items = memory.add(f"{policy.id} times", fired.scope, item, more.times)
    if len(items) < more.times:
        return []
    text = f"it has acted {len(items)} times within {format_duration(within_ns)}"
    causes = tuple(dict.fromkeys(one.ref for one in items))[-50:]
    if block is not None:
        return _raise(blocks, policy, more, block, signal.time_ns, causes, text)
    scopes = _widened(more, fired.scope, fired.sources)
    return [
        _graver(policy, more, scope, signal.time_ns, causes, fired.scope, text, signal.evidence)
        for scope in scopes
    ]


def _raise(
    blocks: Blocks, policy: Policy, more: Escalate, block: Block, time_ns: int, causes: tuple[str, ...],
    why: str,
) -> list[Decision]:  # fmt: skip
    if more.scope is None and more.until is None:
        return [_graver(policy, more, block.scope, time_ns, causes, block.scope, why, block.evidence)]
    cadence_ns = block.evidence.get("cadence_ns", 0)
    until_ns = block.until_ns if more.until is None else time_ns + span(more.until, cadence_ns)
    decisions = []
    for scope in _widened(more, block.scope, block.sources):
        text = f"{policy.name}: {block.scope} is raised to {more.severity} on {scope}: {why}"
        raised = Block(
            policy=policy.name, version=policy.version, scope=scope, sources=set(block.sources),
            severity=more.severity, reason={"code": ESCALATED, "text": text, "from": block.scope},
            evidence=block.evidence, until_ns=until_ns, cooldown_ns=block.cooldown_ns, cause=block.cause,
            conditions=set(block.conditions),
        )  # fmt: skip
        decisions.append(_set(blocks, policy, raised, block, time_ns, causes))
    return decisions


def _set(
    blocks: Blocks, policy: Policy, raised: Block, block: Block, time_ns: int, causes: tuple[str, ...]
) -> Decision:  # fmt: skip
    """The raised block; or that an override covers it, or that one stands, which waits for this too now."""
    scope, standing = raised.scope, blocks.find(policy.name, raised.scope)
    override = blocks.override_of(policy.name, scope, raised.sources)
    if override is not None:
        if standing is None:
            blocks.hold_up(raised)
        else:
            _join(blocks, standing, raised)
        reason = overridden_by(override)
    elif standing is None or standing.lifted or scope == block.scope:
        return blocks.set(raised.with_claims_of(standing) if standing else raised, time_ns, causes)
    else:
        _join(blocks, standing, raised)
        reason = already(standing)
    return write(
        "non_execution", scope, policy=policy.name, version=policy.version, reason=reason, time_ns=time_ns,
        causation=causes, severity=raised.severity, evidence=raised.evidence, also=(ESCALATED, block.scope),
    )  # fmt: skip


def _join(blocks: Blocks, standing: Block, raised: Block) -> None:
    for source in sorted(raised.sources):
        blocks.join(standing, raised.conditions, source)


def _graver(
    policy: Policy, more: Escalate, scope: str, time_ns: int, causes: tuple[str, ...], origin: str, why: str,
    evidence: Json,
) -> Decision:  # fmt: skip
    text = f"{policy.name}: {origin} is raised to {more.severity}: {why}"
    return write(
        "judgment", scope, policy=policy.name, version=policy.version,
        reason={"code": ESCALATED, "text": text, "from": origin}, time_ns=time_ns, causation=causes,
        severity=more.severity, evidence=evidence, also=(origin,),
    )  # fmt: skip


def _wider(policy: Policy, block: Block) -> list[str]:
    """The scopes, other than its own, to which a block is raised."""
    more = policy.escalate
    if more is None or more.scope is None:
        return []
    return _widened(more, block.scope, block.sources)


def _widened(more: Escalate, scope: str, sources: set[str] | frozenset[str]) -> list[str]:
    match more.scope:
        case "source":
            return [source_scope(source) for source in sorted(sources)]
        case "domain":
            return [DOMAIN]
    return [scope]
