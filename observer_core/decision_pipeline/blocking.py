"""Blocks: what is closed, why, until when. A block ends by a release record and by nothing else.

Blocks of several policies may stand on one scope; each ends on its own: at its time,
when every condition that it waits for has ended, or by a command. Missing data ends
none. An override lifts blocks for a while: those that would still stand when it ends are
set again; shortly before, a record warns of it. What is set by hand (an operator's block, the
kill switch) no policy, no condition and no override ends; the kill switch has no end either.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any

from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.scopes import DOMAIN, source_scope
from observer_core.decision_pipeline.views import BlockRows, block_entry, override_entry
from observer_core.shared.clock import format_time
from observer_core.shared.records import Decision, Json, Severity
from observer_core.shared.timers import Timers

OPERATOR = "operator"
KILL = "kill"
BY_HAND = (OPERATOR, KILL)
"""Blocks that only a command ends, or the end that an operator gave them."""
_NAMED = 16
"""A record names so many blocks; it always counts them all."""


@dataclass(slots=True, kw_only=True)
class Block:
    """A block, and what holds it.

    `sources` are those whose events ask for it. `lifted`: an override ended it for a
    while, or kept it from being set. `entry` is what the view says of it.
    """

    policy: str
    version: int
    scope: str
    sources: set[str]
    severity: Severity
    reason: Json
    evidence: Json
    until_ns: int | None
    cooldown_ns: int
    cause: str
    conditions: set[str] = field(default_factory=set)
    lifted: bool = False
    since_ns: int = 0
    entry: Json = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.policy} {self.scope}"

    def with_claims_of(self, other: Block) -> Block:
        """This block, also held by what holds `other`."""
        ends = (self.until_ns, other.until_ns)
        until_ns = None if None in ends else max(end for end in ends if end is not None)
        return replace(
            self, until_ns=until_ns, conditions=self.conditions | other.conditions,
            sources=self.sources | other.sources,
        )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Override:
    """`principal`: who its author was proved to be. `entry` is what the view says of it."""

    scope: str
    author: str
    reason: str
    until_ns: int
    cause: str
    principal: str | None = None
    entry: Json = field(default_factory=dict)

    def covers(self, policy: str, scope: str, sources: Iterable[str]) -> bool:
        """By its scope, or because no other source asks for it. What was set by hand is never covered."""
        if policy in BY_HAND:
            return False
        return self.scope in (DOMAIN, scope) or {self.scope} == set(map(source_scope, sources))


class Blocks:
    """The blocks and overrides of a domain, and how long policies rest between acts."""

    def __init__(self, timers: Timers, warn_before_ns: int = 0) -> None:
        self._timers = timers
        self._warn_before_ns = warn_before_ns
        self._by_scope: dict[str, dict[str, Block]] = {}
        self._waiting: dict[str, set[str]] = {}
        self.overrides: dict[str, Override] = {}
        self.resting: dict[str, int] = {}
        self.rows = BlockRows()
        self.version = 0

    def find(self, policy: str, scope: str) -> Block | None:
        return self._by_scope.get(scope, {}).get(policy)

    def stands(self, policy: str, scope: str) -> bool:
        """Whether there is one, lifted or not."""
        return self.find(policy, scope) is not None

    def at(self, scope: str) -> list[Block]:
        """The blocks of exactly this scope, lifted ones included, by policy."""
        return [block for _, block in sorted(self._by_scope.get(scope, {}).items())]

    def override_of(self, policy: str, scope: str, sources: Iterable[str]) -> Override | None:
        """The override that lasts longest of those that cover such a block."""
        covering = [o for o in self.overrides.values() if o.covers(policy, scope, sources)]
        return max(covering, key=lambda o: (o.until_ns, o.scope), default=None)

    def set(self, block: Block, time_ns: int, causation: tuple[str, ...]) -> Decision:
        """The block stands from `time_ns` on, instead of one of the same policy and scope."""
        decision = rule(
            "block", block.scope, policy=block.policy, version=block.version, reason=block.reason,
            time_ns=time_ns, causation=causation, severity=block.severity, until_ns=block.until_ns,
            evidence=block.evidence,
        )  # fmt: skip
        block.lifted, block.since_ns, block.entry = False, time_ns, block_entry(decision)
        self._keep(block)
        self._show(block.scope)
        return decision

    def hold_up(self, block: Block) -> None:
        """Remembers a block that an override withheld."""
        block.lifted = True
        self._keep(block)

    def join(self, block: Block, conditions: Iterable[str], source: str) -> None:
        """A further event asks for this block; if it waits for conditions, it waits for these too."""
        block.sources.add(source)
        if block.conditions:
            block.conditions.update(conditions)
            for condition in conditions:
                self._waiting.setdefault(condition, set()).add(block.key)

    def waiting(self, prefix: str) -> list[str]:
        """The conditions that blocks wait for and that begin so."""
        return [condition for condition in self._waiting if condition.startswith(prefix)]

    def recover(
        self, ended: Iterable[str], time_ns: int, ref: str, by: str | None = None
    ) -> list[Decision]:  # fmt: skip
        """Releases the blocks for which the last condition has ended. `by`: the signal they waited for."""
        released = []
        for condition in ended:
            for key in sorted(self._waiting.pop(condition, ())):
                block = self._of(key)
                block.conditions.discard(condition)
                if not block.conditions:
                    text = f"recovered: what caused the block has ended ({condition})"
                    reason = {"code": "recovered", "text": text}
                    if by is not None:
                        reason = {"code": "until", "text": f"what the block waited for has come: {by}"}
                    released += self._end(block, time_ns, (ref,), reason)
        return released

    def expire(self, key: str, due_ns: int) -> list[Decision]:
        block = self._of(key)
        text = f"the block's end has come ({format_time(due_ns)})"
        return self._end(block, due_ns, (block.cause,), {"code": "expired", "text": text})

    def cut(self, block: Block, time_ns: int, causation: tuple[str, ...], reason: Json) -> Decision:
        """Ends a block before its time, a lifted one too."""
        block.lifted = False
        return self._end(block, time_ns, causation, reason)[0]

    def override(
        self, override: Override, time_ns: int, causation: tuple[str, ...] = (), by: Json | None = None
    ) -> list[Decision]:
        """Lifts what the override covers. First its own record, then one a lifted block.

        `by`: who, as it is recorded. The record names what stays closed: what was set by hand.
        """
        causation = causation or (override.cause,)
        standing = self.overrides.get(override.scope)
        text = f"overridden by {override.author} until {format_time(override.until_ns)}: {override.reason}"
        reason = {
            "code": "override", "text": text, "author": override.author, "principal": override.principal,
            "until_ns": override.until_ns, **(by or {}),
        }  # fmt: skip
        lifts = [b for b in self._all() if not b.lifted and override.covers(b.policy, b.scope, b.sources)]
        stays = [b for b in self._all() if b.policy in BY_HAND and _meets(override.scope, b.scope)]
        longer = {"longer_than_ns": standing.until_ns} if standing else {}
        begun = rule(
            "release", override.scope, policy="override",
            reason={**reason, "lifts": _named(lifts), "stays": _named(stays), **longer}, time_ns=time_ns,
            causation=causation, severity="warning", until_ns=override.until_ns,
        )  # fmt: skip
        override.entry = override_entry(begun)
        self.overrides[override.scope] = override
        self.version += 1
        self._timers.arm(override.until_ns, "override", override.scope)
        warned_ns = override.until_ns - self._warn_before_ns
        if self._warn_before_ns and warned_ns > time_ns:
            self._timers.arm(warned_ns, "warn", override.scope)
        else:
            self._timers.disarm("warn", override.scope)
        decisions = [begun]
        for block in lifts:
            decisions.append(self._released(block, time_ns, causation, reason))
            block.lifted = True
            self._show(block.scope)
        return decisions

    def warn(self, scope: str, due_ns: int) -> list[Decision]:
        """The override will end soon: says so, and what stands again then, as things are now."""
        override = self.overrides[scope]
        again = self._lifted_by(override)
        text = (
            f"the override by {override.author} ends at {format_time(override.until_ns)}; "
            f"{_counted(len(again))} again then"
        )
        reason = {
            "code": "override_ends_soon", "text": text, "author": override.author,
            "principal": override.principal, "until_ns": override.until_ns, "again": _named(again),
        }  # fmt: skip
        return [
            rule("judgment", scope, policy="override", reason=reason, time_ns=due_ns,
                 causation=(override.cause,), severity="warning")
        ]  # fmt: skip

    def end_override(
        self, scope: str, time_ns: int, causation: tuple[str, ...] = (), by: Json | None = None
    ) -> list[Decision]:  # fmt: skip
        """First the override's end, then each lifted block that would still stand, set again.

        `by`: who ended it before its time, with the text that says so.
        """
        override = self.overrides[scope]
        again = self._lifted_by(override)
        del self.overrides[scope]
        self.version += 1
        self._timers.disarm("override", scope)
        self._timers.disarm("warn", scope)
        causation = causation or (override.cause,)
        text = f"the override by {override.author} has ended; {_counted(len(again))} again"
        reason = {"code": "override_ended", "text": text, "again": _named(again), **(by or {})}
        decisions = [
            rule("judgment", scope, policy="override", reason=reason, time_ns=time_ns, causation=causation)
        ]
        return [*decisions, *(self.set(block, time_ns, (block.cause, *causation)) for block in again)]

    def rest(self, key: str, until_ns: int) -> None:
        self.resting[key] = until_ns

    def dump(self) -> Json:
        return {
            "blocks": [_plain(block) for block in self._all()],
            "overrides": [_plain(self.overrides[scope]) for scope in sorted(self.overrides)],
            "resting": self.resting,
            "version": self.version,
        }

    def load(self, value: Json) -> None:
        for plain in value["blocks"]:
            sets = {"conditions": set(plain["conditions"]), "sources": set(plain["sources"])}
            block = Block(**{**plain, **sets})
            self._keep(block)
            self._show(block.scope)
        self.overrides = {plain["scope"]: Override(**plain) for plain in value["overrides"]}
        for override in self.overrides.values():
            override.entry = override.entry or {  # version 1 kept none
                "scope": override.scope, "author": override.author, "principal": None, "since_ns": 0,
                "until_ns": override.until_ns, "decision": "",
            }  # fmt: skip
        self.resting, self.version = value["resting"], value["version"]

    def _lifted_by(self, override: Override) -> list[Block]:
        """The lifted blocks that no other override lifts too."""
        others = [other for other in self.overrides.values() if other is not override]
        return [
            block
            for block in self._all()
            if block.lifted and not any(o.covers(block.policy, block.scope, block.sources) for o in others)
        ]

    def _end(self, block: Block, time_ns: int, causation: tuple[str, ...], reason: Json) -> list[Decision]:
        """Forgets the block. A lifted one leaves no record: its release was written when it was lifted."""
        self._forget(block)
        if block.cooldown_ns:
            self.rest(block.key, time_ns + block.cooldown_ns)
        return [] if block.lifted else [self._released(block, time_ns, causation, reason)]

    def _released(self, block: Block, time_ns: int, causation: tuple[str, ...], reason: Json) -> Decision:
        return rule(
            "release", block.scope, policy=block.policy, version=block.version, reason=reason,
            time_ns=time_ns, causation=causation, severity=block.severity,
            evidence={"since_ns": block.since_ns, "block": block.entry.get("decision")},
        )  # fmt: skip

    def _all(self) -> list[Block]:
        return [block for scope in sorted(self._by_scope) for block in self.at(scope)]

    def _of(self, key: str) -> Block:
        policy, _, scope = key.partition(" ")
        return self._by_scope[scope][policy]

    def _keep(self, block: Block) -> None:
        self._by_scope.setdefault(block.scope, {})[block.policy] = block
        for condition in block.conditions:
            self._waiting.setdefault(condition, set()).add(block.key)
        if block.until_ns is None:
            self._timers.disarm("block", block.key)
        else:
            self._timers.arm(block.until_ns, "block", block.key)

    def _forget(self, block: Block) -> None:
        del self._by_scope[block.scope][block.policy]
        if not self._by_scope[block.scope]:
            del self._by_scope[block.scope]
        for condition in block.conditions:
            waiting = self._waiting[condition]
            waiting.discard(block.key)
            if not waiting:
                del self._waiting[condition]
        self._timers.disarm("block", block.key)
        self._show(block.scope)

    def _show(self, scope: str) -> None:
        """Brings the scope's view row up to date."""
        entries = [block.entry for block in self.at(scope) if not block.lifted]
        self.version += 1
        self.rows.show(scope, entries)


def _meets(scope: str, other: str) -> bool:
    return DOMAIN in (scope, other) or scope == other


def _named(blocks: list[Block]) -> Json:
    return {"count": len(blocks), "blocks": [block.key for block in blocks[:_NAMED]]}


def _counted(count: int) -> str:
    return "1 block stands" if count == 1 else f"{count or 'no'} blocks stand"


def _plain(value: Any) -> Json:
    plain = {item.name: getattr(value, item.name) for item in fields(value)}
    return {name: sorted(item) if isinstance(item, set) else item for name, item in plain.items()}
