"""Commands: what an operator asks, with an author and a reason, or the reason it cannot be done.

Every command leaves a record: what it did, that it waits for a second person, or why nothing was
done. Reading one (`parse_command`) needs nothing but its body, so whoever takes commands from
people can refuse them before they are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from observer_core.decision_pipeline.blocking import KILL, OPERATOR, Block, Blocks, Override
from observer_core.decision_pipeline.control import MAX_REQUESTS, Person, Request, Requests
from observer_core.decision_pipeline.ruling import rule
from observer_core.decision_pipeline.scopes import DOMAIN, is_scope
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Decision, Json

COMMANDS = ("block", "release", "override", "rearm", "kill", "unkill", "confirm")
MAX_OVERRIDES = 256
"""More than these do not stand at once: all of them stand in one row of the views."""
_MAX_NAME = 256
_MAX_REASON = 2_000


@dataclass(frozen=True, slots=True)
class Command:
    """`block` and `release` close and open a scope; a release may name the one `policy` whose block it ends.

    `override` lifts the blocks of policies for a while; `rearm` ends an override early. `kill`
    closes a scope until `unkill`, which nothing else does. `confirm` lets another person's `request`
    (the record that asked) be done. `principal` is who the author was proved to be, `second` who
    has confirmed it, and `refs` the records that ask for it.
    """

    command: str
    scope: str
    author: str
    reason: str
    until_ns: int | None
    policy: str | None
    ref: str
    time_ns: int
    principal: str | None = None
    request: str | None = None
    second: Person | None = None
    refs: tuple[str, ...] = ()

    @property
    def person(self) -> Person:
        return Person(self.author, self.principal)

    @property
    def causation(self) -> tuple[str, ...]:
        return self.refs or (self.ref,)

    @property
    def who(self) -> str:
        return self.author if self.second is None else f"{self.author}, confirmed by {self.second.author}"

    def by(self) -> Json:
        """Who, as records say it."""
        by: Json = {"author": self.author, "principal": self.principal}
        if self.second is not None:
            by |= {"confirmed_by": self.second.author, "confirmed_principal": self.second.principal}
        return by


def parse_command(body: Mapping[str, Any], ref: str, time_ns: int) -> Command:
    """`InputError` names the key, what was expected and what came."""
    author, reason = _words(body, "author", _MAX_NAME), _words(body, "reason", _MAX_REASON)
    command, scope = body.get("command"), body.get("scope")
    until_ns, policy = body.get("until_ns"), body.get("policy")
    principal, request = body.get("principal"), body.get("request")
    if command not in COMMANDS:
        raise InputError(f"command: expected one of {', '.join(COMMANDS)}, found {command!r}")
    if command == "confirm":
        scope = DOMAIN  # that of what is confirmed counts
        check_request(request)
    if not is_scope(scope):
        raise InputError(f"scope: expected subject:NAME, source:NAME or *, found {scope!r}")
    if until_ns is None and command == "override":
        raise InputError("until_ns: an override needs an end")
    if until_ns is not None and command == "kill":
        raise InputError("until_ns: a kill switch has no end; leave it out, unkill ends it")
    if until_ns is not None and (type(until_ns) is not int or until_ns <= time_ns):
        raise InputError(f"until_ns: expected nanoseconds after {time_ns}, found {until_ns!r}")
    if policy is not None and not isinstance(policy, str):
        raise InputError(f"policy: expected a policy's name, found {policy!r}")
    if principal is not None:
        principal = _words(body, "principal", _MAX_NAME)
    return Command(
        command, str(scope), author, reason, until_ns, policy, ref, time_ns, principal,
        str(request) if command == "confirm" else None,
    )  # fmt: skip


def _words(body: Mapping[str, Any], key: str, longest: int) -> str:
    words = body.get(key)
    if not isinstance(words, str) or not words.strip():
        raise InputError(f"{key}: expected who or why in words, found {words!r}")
    if len(words) > longest:
        raise InputError(f"{key}: expected at most {longest} characters, found {len(words)}")
    return words


def check_request(request: object) -> None:
    """`InputError` where it does not name a record that asks."""
    try:
        journal, _ = parse_ref(request if isinstance(request, str) else "")
    except ValueError:
        journal = ""
    if not journal.startswith("commands."):
        raise InputError(f"request: expected the record that asked, commands.DOMAIN@N, found {request!r}")


def refuse(body: Mapping[str, Any], error: InputError, ref: str, time_ns: int) -> Decision:
    scope = str(body.get("scope"))
    scope = scope if is_scope(scope) else DOMAIN
    return _not_done(scope, {"code": "invalid_command", "text": str(error)[:500]}, (ref,), time_ns)


def obey(command: Command, blocks: Blocks, requests: Requests) -> list[Decision]:
    """Does what was asked, or has it wait; a command that changes nothing is recorded with the reason."""
    if command.command == "confirm":
        return _confirm(command, blocks, requests)
    needs_another = command.command in requests.config.two_person
    refused = _refusal(command, blocks)
    if refused is None and needs_another:
        request = _request(command, requests)
        refused = _refused_request(command, request, requests)
        if refused is None:
            return [requests.ask(request, command.time_ns)]
    return [refused] if refused is not None else _do(command, blocks)


# ---------------------------------------------------------------------- a second person


def _request(command: Command, requests: Requests) -> Request:
    return Request(
        ref=command.ref, command=command.command, scope=command.scope, author=command.author,
        principal=command.principal, reason=command.reason, until_ns=command.until_ns, policy=command.policy,
        expires_ns=command.time_ns + requests.config.confirm_within,
    )  # fmt: skip


def _refused_request(command: Command, request: Request, requests: Requests) -> Decision | None:
    twin = requests.twin_of(request)
    if twin is not None:
        text = f"{twin.ref}, asked by {twin.author}, waits for the same; confirm that one"
        return _nothing(command, "already_asked", text, request=twin.ref)
    if len(requests) >= MAX_REQUESTS:
        text = f"{MAX_REQUESTS} requests wait already; confirm some of them, or let them expire"
        return _nothing(command, "too_many_requests", text)
    return None


def _confirm(command: Command, blocks: Blocks, requests: Requests) -> list[Decision]:
    request = requests.find(command.request or "")
    if request is None:
        text = f"no request {command.request} waits: it was done, has expired, or there was none"
        return [_nothing(command, "no_such_request", text, request=command.request)]
    command = replace(command, scope=request.scope, refs=(request.ref, command.ref))
    if request.person.may_be(command.person):
        text = (
            f"{request.command} of {request.scope} needs a second person: {request.author} "
            f"({request.principal or 'no principal'}) asked, and {command.author} "
            f"({command.principal or 'no principal'}) may be the same"
        )
        return [_nothing(command, "same_person", text, request=request.ref)]
    confirmed = requests.confirm(request, command.person, command.time_ns, command.ref)
    asked = replace(
        command, command=request.command, author=request.author, principal=request.principal,
        reason=request.reason, until_ns=request.until_ns, policy=request.policy, second=command.person,
    )  # fmt: skip
    if request.until_ns is not None and request.until_ns <= command.time_ns:
        return [confirmed, _nothing(asked, "too_late", "it would have ended before it was confirmed")]
    refused = _refusal(asked, blocks)
    return [confirmed, *([refused] if refused is not None else _do(asked, blocks))]


# ---------------------------------------------------------------------- what is asked


def _refusal(command: Command, blocks: Blocks) -> Decision | None:
    """Why nothing is to be done; None when there is."""
    scope = command.scope
    match command.command:
        case "block":
            standing = blocks.find(OPERATOR, scope)
            if standing is not None and not _longer(command.until_ns, standing.until_ns):
                return _nothing(command, "duplicate", f"{scope} is already blocked at least that long")
        case "kill" if blocks.find(KILL, scope) is not None:
            return _nothing(command, "duplicate", f"the kill switch of {scope} is set already")
        case "unkill" if blocks.find(KILL, scope) is None:
            return _nothing(command, "nothing_to_unkill", f"no kill switch is set on exactly {scope}")
        case "rearm" if scope not in blocks.overrides:
            return _nothing(command, "nothing_to_rearm", f"no override stands on {scope}")
        case "override":
            before = blocks.overrides.get(scope)
            if before is not None and (command.until_ns or 0) <= before.until_ns:
                text = f"an override of {scope} stands at least that long; rearm ends it early"
                return _nothing(command, "duplicate", text)
            if before is None and len(blocks.overrides) >= MAX_OVERRIDES:
                text = f"{MAX_OVERRIDES} overrides stand already; rearm some of them"
                return _nothing(command, "too_many_overrides", text)
        case "release" if not _released_by(command, blocks):
            if blocks.find(KILL, scope) is not None and command.policy in (None, KILL):
                return _kept(command)
            by = f" by {command.policy}" if command.policy else ""
            return _nothing(command, "nothing_to_release", f"no block{by} stands on {scope}")
    return None


def _do(command: Command, blocks: Blocks) -> list[Decision]:
    scope, time_ns = command.scope, command.time_ns
    match command.command:
        case "block":
            return [_block(command, blocks, OPERATOR, "command", f"blocked by {command.who}")]
        case "kill":
            return [_block(command, blocks, KILL, "kill", f"kill switch set by {command.who}")]
        case "unkill":
            text = f"kill switch re-armed by {command.who}: {command.reason}"
            killed = blocks.find(KILL, scope)
            assert killed is not None
            reason = {"code": "unkill", "text": text, **command.by()}
            return [blocks.cut(killed, time_ns, command.causation, reason)]
        case "override":
            override = Override(
                scope=scope, author=command.author, principal=command.principal, reason=command.reason,
                until_ns=command.until_ns or 0, cause=command.causation[0],
            )  # fmt: skip
            return blocks.override(override, time_ns, command.causation, command.by())
        case "rearm":
            text = f"the override by {blocks.overrides[scope].author} was ended by {command.who}: "
            by = {**command.by(), "text": text + command.reason}
            return blocks.end_override(scope, time_ns, command.causation, by)
    return _release(command, blocks)


def _block(command: Command, blocks: Blocks, policy: str, code: str, text: str) -> Decision:
    """An operator may lengthen a block of his own, never shorten it without a release."""
    block = Block(
        policy=policy, version=1, scope=command.scope, sources=set(), severity="critical",
        reason={"code": code, "text": f"{text}: {command.reason}", **command.by()}, evidence={},
        until_ns=command.until_ns, cooldown_ns=0, cause=command.causation[0],
    )  # fmt: skip
    return blocks.set(block, command.time_ns, command.causation)


def _longer(until_ns: int | None, standing_ns: int | None) -> bool:
    return standing_ns is not None and (until_ns is None or until_ns > standing_ns)


def _released_by(command: Command, blocks: Blocks) -> list[Block]:
    """What the release ends: never the kill switch."""
    return [b for b in blocks.at(command.scope) if b.policy != KILL and command.policy in (None, b.policy)]


def _release(command: Command, blocks: Blocks) -> list[Decision]:
    text = f"released by {command.who}: {command.reason}"
    reason = {"code": "command", "text": text, **command.by()}
    decisions = [
        blocks.cut(block, command.time_ns, command.causation, reason)
        for block in _released_by(command, blocks)
    ]
    kept = command.policy is None and blocks.find(KILL, command.scope) is not None
    return [*decisions, _kept(command)] if kept else decisions


def _kept(command: Command) -> Decision:
    return _nothing(command, "kill_switch", f"the kill switch of {command.scope} stays; only unkill ends it")


def _nothing(command: Command, code: str, text: str, **more: Any) -> Decision:
    reason = {"code": code, "text": text, "command": command.command, **command.by(), **more}
    return _not_done(command.scope, reason, command.causation, command.time_ns)


def _not_done(scope: str, reason: Json, causation: tuple[str, ...], time_ns: int) -> Decision:
    return rule(
        "non_execution", scope, policy=OPERATOR, reason=reason, time_ns=time_ns, causation=causation,
        severity="warning",
    )  # fmt: skip
