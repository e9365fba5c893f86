"""Commands: what an operator asks, with an author and a reason, or the reason it cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from observer_core.decision_pipeline.blocking import OPERATOR, Block, Blocks, Override
from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.scopes import DOMAIN, is_scope
from observer_core.shared.errors import InputError
from observer_core.shared.records import Decision

COMMANDS = ("block", "release", "override", "rearm")


@dataclass(frozen=True, slots=True)
class Command:
    """`block` and `release` close and open a scope; a release may name the one `policy` whose block it ends.

    `override` lifts the blocks of policies for a while; `rearm` ends an override early.
    """

    command: str
    scope: str
    author: str
    reason: str
    until_ns: int | None
    policy: str | None
    ref: str
    time_ns: int


def parse_command(body: Mapping[str, Any], ref: str, time_ns: int) -> Command:
    """`InputError` names the key, what was expected and what came."""
    for key in ("author", "reason"):
        if not isinstance(body.get(key), str) or not body[key].strip():
            raise InputError(f"{key}: expected who or why in words, found {body.get(key)!r}")
    command, scope = body.get("command"), body.get("scope")
    until_ns, policy = body.get("until_ns"), body.get("policy")
    if command not in COMMANDS:
        raise InputError(f"command: expected one of {', '.join(COMMANDS)}, found {command!r}")
    if not is_scope(scope):
        raise InputError(f"scope: expected subject:NAME, source:NAME or *, found {scope!r}")
    if until_ns is None and command == "override":
        raise InputError("until_ns: an override needs an end")
    if until_ns is not None and (type(until_ns) is not int or until_ns <= time_ns):
        raise InputError(f"until_ns: expected nanoseconds after {time_ns}, found {until_ns!r}")
    if policy is not None and not isinstance(policy, str):
        raise InputError(f"policy: expected a policy's name, found {policy!r}")
    return Command(command, str(scope), body["author"], body["reason"], until_ns, policy, ref, time_ns)


def refuse(body: Mapping[str, Any], error: InputError, ref: str, time_ns: int) -> Decision:
    scope = str(body.get("scope"))
    return _not_done(scope if is_scope(scope) else DOMAIN, "invalid_command", str(error)[:500], ref, time_ns)


def obey(command: Command, blocks: Blocks) -> list[Decision]:
    """Does what was asked; a command that changes nothing is recorded with the reason."""
    match command.command:
        case "block":
            return [_block(command, blocks)]
        case "release":
            return _release(command, blocks)
        case "override":
            override = Override(
                scope=command.scope, author=command.author, reason=command.reason,
                until_ns=command.until_ns or 0, cause=command.ref,
            )  # fmt: skip
            return blocks.override(override, command.time_ns)
    if command.scope in blocks.overrides:
        return blocks.end_override(command.scope, command.time_ns, (command.ref,))
    return [_nothing(command, "nothing_to_rearm", f"no override stands on {command.scope}")]


def _block(command: Command, blocks: Blocks) -> Decision:
    """An operator may lengthen a block of his own, never shorten it without a release."""
    standing = blocks.find(OPERATOR, command.scope)
    if standing is not None and not _longer(command.until_ns, standing.until_ns):
        return _nothing(command, "duplicate", f"{command.scope} is already blocked at least that long")
    text = f"blocked by {command.author}: {command.reason}"
    block = Block(
        policy=OPERATOR, version=1, scope=command.scope, sources=set(), severity="critical",
        reason={"code": "command", "text": text, "author": command.author}, evidence={},
        until_ns=command.until_ns, cooldown_ns=0, cause=command.ref,
    )  # fmt: skip
    return blocks.set(block, command.time_ns, (command.ref,))


def _longer(until_ns: int | None, standing_ns: int | None) -> bool:
    return standing_ns is not None and (until_ns is None or until_ns > standing_ns)


def _release(command: Command, blocks: Blocks) -> list[Decision]:
    chosen = [b for b in blocks.at(command.scope) if command.policy in (None, b.policy)]
    if not chosen:
        by = f" by {command.policy}" if command.policy else ""
        return [_nothing(command, "nothing_to_release", f"no block{by} stands on {command.scope}")]
    return [blocks.release(b, command.time_ns, command.ref, command.author, command.reason) for b in chosen]


def _nothing(command: Command, code: str, text: str) -> Decision:
    return _not_done(command.scope, code, text, command.ref, command.time_ns)


def _not_done(scope: str, code: str, text: str, ref: str, time_ns: int) -> Decision:
    return rule(
        "non_execution", scope, policy=OPERATOR, reason={"code": code, "text": text},
        time_ns=time_ns, causation=(ref,), severity="warning",
    )  # fmt: skip
