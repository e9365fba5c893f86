"""The decide stage: events, commands and time become decisions, and the views the gate reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from observer_core.decision_pipeline.blocking import Block, Blocks
from observer_core.decision_pipeline.commands import obey, parse_command, refuse
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.judgment import Risks
from observer_core.decision_pipeline.non_execution import withheld
from observer_core.decision_pipeline.policy import RESUMED, Matcher, Policy, span
from observer_core.decision_pipeline.presets import QUARANTINE
from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.signals import Signal, read_event, read_note
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision, Event, Note
from observer_core.shared.stage import Entry
from observer_core.shared.timers import Timers

_KINDS = ("tick", "command", "quarantine", "redrive")
_MAX_KNOWN_TYPES = 1024


@dataclass(slots=True)
class PipelineState:
    timers: Timers
    blocks: Blocks
    risks: Risks
    time_ns: int = 0


class DecisionPipeline:
    """Judges, blocks, releases and records what it withheld.

    Reads `events.<domain>`, `commands.<domain>` and the domain's clock. Time is the
    domain's and never decreases; timers due at or before an entry's time fire before it,
    stamped with their due moment, in order of (due, kind, key). So neither batches nor
    the calls of `advance` change what is written.
    """

    name = "decide"
    version = "2"

    def __init__(self, domain: str, config: DecisionConfig | None = None) -> None:
        self.domain = domain
        self._config = config or DecisionConfig()
        self._policies = [(policy, Matcher(policy.match)) for policy in (QUARANTINE, *self._config.policies)]
        self._by_type: dict[str, list[tuple[Policy, Matcher]]] = {}
        self._steps = (self._recover, self._judge, self._decide)

    def config(self) -> Mapping[str, Any]:
        return {"domain": self.domain, **self._config.canonical()}

    def initial(self) -> PipelineState:
        timers = Timers()
        return PipelineState(timers, Blocks(timers), Risks(self._config.judgment, timers))

    def transition(self, state: PipelineState, entry: Entry) -> Sequence[Decision]:
        record = entry.record
        if not isinstance(record, Event | Note) or (isinstance(record, Note) and record.kind not in _KINDS):
            return ()
        now_ns = max(state.time_ns, record.time_ns)
        decisions = self._fire(state, now_ns)
        state.time_ns = now_ns
        if isinstance(record, Event):
            decisions += self._take(state, read_event(record, entry.ref, now_ns))
        elif record.kind == "command":
            decisions += self._obey(state, record.body, entry.ref)
        elif record.kind != "tick":
            decisions += self._take(state, read_note(record, entry.ref, now_ns))
        return decisions

    def advance(self, state: PipelineState, through_ns: int) -> Sequence[Decision]:
        return self._fire(state, through_ns)

    def views(self, state: PipelineState) -> Mapping[str, Any]:
        """`block.<number>` rows with the blocked scopes, `risk`, and `quarantine` if anything is."""
        return state.blocks.rows.views(state.risks.levels)

    def views_version(self, state: PipelineState) -> int:
        return state.blocks.version + state.risks.version

    def dump(self, state: PipelineState) -> bytes:
        return encode({
            "time_ns": state.time_ns, "timers": state.timers.armed(),
            "blocking": state.blocks.dump(), "judgment": state.risks.dump(),
        })  # fmt: skip

    def load(self, blob: bytes) -> PipelineState:
        value = decode(blob)
        timers = Timers((due_ns, kind, key) for due_ns, kind, key in value["timers"])
        state = PipelineState(timers, Blocks(timers), Risks(self._config.judgment, timers), value["time_ns"])
        state.blocks.load(value["blocking"])
        state.risks.load(value["judgment"])
        return state

    def _fire(self, state: PipelineState, through_ns: int) -> list[Decision]:
        decisions: list[Decision] = []
        while (due := state.timers.pop(through_ns)) is not None:
            due_ns, kind, key = due
            state.time_ns = max(state.time_ns, due_ns)
            match kind:
                case "block":
                    decisions += state.blocks.expire(key, due_ns)
                case "override":
                    decisions += state.blocks.end_override(key, due_ns)
                case "risk":
                    decisions += state.risks.fall(key, due_ns)
        return decisions

    def _take(self, state: PipelineState, signal: Signal) -> list[Decision]:
        return [decision for step in self._steps for decision in step(state, signal)]

    def _recover(self, state: PipelineState, signal: Signal) -> list[Decision]:
        return state.blocks.recover(signal.ended, signal.time_ns, signal.ref)

    def _judge(self, state: PipelineState, signal: Signal) -> list[Decision]:
        return state.risks.add(signal)

    def _decide(self, state: PipelineState, signal: Signal) -> list[Decision]:
        return [
            self._apply(state.blocks, policy, signal, scope)
            for policy, matcher in self._interested(signal)
            if matcher.takes(signal)
            for scope in signal.scopes_at(policy.scope)
        ]

    def _interested(self, signal: Signal) -> list[tuple[Policy, Matcher]]:
        known = self._by_type.get(signal.full)
        if known is None:
            if len(self._by_type) >= _MAX_KNOWN_TYPES:
                self._by_type.clear()
            known = [(p, m) for p, m in self._policies if m.takes_type(signal.full, signal.kind)]
            self._by_type[signal.full] = known
        return known

    def _apply(self, blocks: Blocks, policy: Policy, signal: Signal, scope: str) -> Decision:
        """What the policy decides, or why it was withheld."""
        severity = policy.severity or signal.severity
        reason = withheld(blocks, policy, signal, scope)
        if reason is None and policy.verdict == "block":
            block = _block(policy, signal, scope)
            lifted = blocks.find(policy.name, scope)
            return blocks.set(
                block.with_claims_of(lifted) if lifted else block, signal.time_ns, (signal.ref,)
            )
        if reason is None:
            if policy.cooldown:
                rest_ns = span(policy.cooldown, signal.cadence_ns)
                blocks.rest(f"{policy.name} {scope}", signal.time_ns + rest_ns)
            reason = {"code": "matched", "text": f"{policy.name}: {signal.text}"}
            verdict = policy.verdict
        else:
            _remember(blocks, policy, signal, scope, reason["code"])
            verdict = "non_execution"
        return rule(
            verdict, scope, policy=policy.name, version=policy.version, reason=reason,
            time_ns=signal.time_ns, causation=(signal.ref,), severity=severity, evidence=signal.evidence,
        )  # fmt: skip

    def _obey(self, state: PipelineState, body: Mapping[str, Any], ref: str) -> list[Decision]:
        try:
            command = parse_command(body, ref, state.time_ns)
        except InputError as error:
            return [refuse(body, error, ref, state.time_ns)]
        return obey(command, state.blocks)


def _remember(blocks: Blocks, policy: Policy, signal: Signal, scope: str, code: str) -> None:
    """What was withheld now may have to hold later: a further condition, or a block once an override ends."""
    standing = blocks.find(policy.name, scope)
    if standing is not None and code in ("duplicate", "overridden"):
        blocks.join(standing, signal.begun, signal.source)
    elif code == "overridden":
        blocks.hold_up(_block(policy, signal, scope))


def _block(policy: Policy, signal: Signal, scope: str) -> Block:
    resumed = policy.until == RESUMED
    for_ns = None if resumed else span(int(policy.until or 0), signal.cadence_ns)
    return Block(
        policy=policy.name, version=policy.version, scope=scope, sources={signal.source},
        severity=policy.severity or signal.severity,
        reason={"code": "matched", "text": f"{policy.name}: {signal.text}", "for_ns": for_ns},
        evidence=signal.evidence, until_ns=None if for_ns is None else signal.time_ns + for_ns,
        cooldown_ns=span(policy.cooldown, signal.cadence_ns) if policy.cooldown else 0, cause=signal.ref,
        conditions=set(signal.begun) if resumed else set(),
    )  # fmt: skip
