"""The decide stage: events, commands and time become decisions, and the views the gate reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from observer_core.decision_pipeline.acting import apply, stood, watch
from observer_core.decision_pipeline.blocking import Blocks
from observer_core.decision_pipeline.commands import obey, parse_command, refuse
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.control import Requests
from observer_core.decision_pipeline.evidence import Feeds
from observer_core.decision_pipeline.judgment import Risks
from observer_core.decision_pipeline.memory import Memory
from observer_core.decision_pipeline.presets import QUARANTINE
from observer_core.decision_pipeline.rules import Interest, Rule
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
    memory: Memory
    requests: Requests
    feeds: Feeds
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
        self._rules = {policy.name: Rule(policy) for policy in (QUARANTINE, *self._config.policies)}
        self._by_type: dict[str, list[Interest]] = {}
        self._steps = (self._recover, self._judge, self._decide)

    def config(self) -> Mapping[str, Any]:
        return {"domain": self.domain, **self._config.canonical()}

    def initial(self) -> PipelineState:
        return self._empty(Timers())

    def transition(self, state: PipelineState, entry: Entry) -> Sequence[Decision]:
        record = entry.record
        if not isinstance(record, Event | Note) or (isinstance(record, Note) and record.kind not in _KINDS):
            return ()
        now_ns = max(state.time_ns, record.time_ns)
        decisions = self._fire(state, now_ns)
        state.time_ns = now_ns
        if isinstance(record, Event):
            decisions += self._watched(state, self._take(state, read_event(record, entry.ref, now_ns)))
        elif record.kind == "command":
            decisions += self._watched(state, self._obey(state, record.body, entry.ref))
        elif record.kind != "tick":
            decisions += self._watched(state, self._take(state, read_note(record, entry.ref, now_ns)))
        return decisions

    def advance(self, state: PipelineState, through_ns: int) -> Sequence[Decision]:
        return self._fire(state, through_ns)

    def views(self, state: PipelineState) -> Mapping[str, Any]:
        """`block.<number>` rows with the blocked scopes, `risk`; `control`, `quarantine` if there is any."""
        overrides = [override.entry for override in state.blocks.overrides.values()]
        return state.blocks.rows.views(state.risks.levels, overrides, state.requests.entries())

    def views_version(self, state: PipelineState) -> int:
        return state.blocks.version + state.risks.version + state.requests.version

    def dump(self, state: PipelineState) -> bytes:
        return encode({
            "time_ns": state.time_ns, "timers": state.timers.armed(),
            "blocking": state.blocks.dump(), "judgment": state.risks.dump(),
            "memory": state.memory.dump(), "control": state.requests.dump(),
            "feeds": state.feeds.dump(),
        })  # fmt: skip

    def load(self, blob: bytes) -> PipelineState:
        value = decode(blob)
        state = self._empty(Timers((due_ns, kind, key) for due_ns, kind, key in value["timers"]))
        state.time_ns = value["time_ns"]
        state.blocks.load(value["blocking"])
        state.risks.load(value["judgment"])
        state.memory.load(value.get("memory", {}))  # version 1 had none
        state.requests.load(value.get("control", {}))
        state.feeds.load(value.get("feeds", {}))
        return state

    def _empty(self, timers: Timers) -> PipelineState:
        control = self._config.control
        return PipelineState(
            timers, Blocks(timers, control.warn_before), Risks(self._config.judgment, timers),
            Memory(timers), Requests(timers, control), Feeds(),
        )  # fmt: skip

    def _watched(self, state: PipelineState, decisions: list[Decision]) -> list[Decision]:
        """With their evidence in full; blocks that escalate by standing are waited for, or no more."""
        for decision in decisions:
            rule = self._rules.get(decision.policy)
            if rule is not None:
                watch(state.timers, rule.policy, decision)
        return [state.feeds.on_the_sheet(decision) for decision in decisions]

    def _fire(self, state: PipelineState, through_ns: int) -> list[Decision]:
        decisions: list[Decision] = []
        while (due := state.timers.pop(through_ns)) is not None:
            due_ns, kind, key = due
            made = self._watched(state, self._due(state, kind, key, due_ns))
            if made:  # what leaves no record must not show in later ones
                state.time_ns = max(state.time_ns, due_ns)
            decisions += made
        return decisions

    def _due(self, state: PipelineState, kind: str, key: str, due_ns: int) -> list[Decision]:
        match kind:
            case "block":
                return state.blocks.expire(key, due_ns)
            case "override":
                return state.blocks.end_override(key, due_ns)
            case "warn":
                return state.blocks.warn(key, due_ns)
            case "request":
                return [state.requests.expire(key, due_ns)]
            case "risk":
                return state.risks.fall(key, due_ns)
            case "total":
                return state.risks.fall_total(key, due_ns)
            case "memory":
                state.memory.expire(key, due_ns)
            case "escalate":
                rule = self._rules.get(key.partition(" ")[0])
                return [] if rule is None else stood(state.blocks, rule.policy, key, due_ns)
        return []

    def _take(self, state: PipelineState, signal: Signal) -> list[Decision]:
        state.feeds.take(signal)
        return [decision for step in self._steps for decision in step(state, signal)]

    def _recover(self, state: PipelineState, signal: Signal) -> list[Decision]:
        state.memory.end(signal.ended, signal.time_ns)
        if signal.by_hand:  # opening the gate is for a release, which may take a second person
            return []
        decisions = state.blocks.recover(signal.ended, signal.time_ns, signal.ref)
        for interest in self._interested(signal):
            if interest.until:
                ended = interest.rule.ended(signal, state.blocks.waiting)
                decisions += state.blocks.recover(ended, signal.time_ns, signal.ref, signal.text)
        return decisions

    def _judge(self, state: PipelineState, signal: Signal) -> list[Decision]:
        return state.risks.add(signal)

    def _decide(self, state: PipelineState, signal: Signal) -> list[Decision]:
        decisions: list[Decision] = []
        for interest in self._interested(signal):
            rule = interest.rule
            if interest.during:
                rule.remember(state.memory, signal)
            if interest.parts:
                for fired in rule.fires(state.memory, signal, interest.parts, state.blocks.stands):
                    decisions += apply(state.blocks, state.memory, rule, fired)
        return decisions

    def _interested(self, signal: Signal) -> list[Interest]:
        known = self._by_type.get(signal.full)
        if known is None:
            if len(self._by_type) >= _MAX_KNOWN_TYPES:
                self._by_type.clear()
            found = (rule.interest(signal.full, signal.kind) for rule in self._rules.values())
            known = [interest for interest in found if interest is not None]
            self._by_type[signal.full] = known
        return known

    def _obey(self, state: PipelineState, body: Mapping[str, Any], ref: str) -> list[Decision]:
        try:
            command = parse_command(body, ref, state.time_ns)
        except InputError as error:
            return [refuse(body, error, ref, state.time_ns)]
        return obey(command, state.blocks, state.requests)
