"""Commands to the gate: closing, opening, and letting another person's request be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from observer_core.decision_pipeline.commands import check_request, parse_command
from observer_core.decision_pipeline.scopes import DOMAIN
from observer_core.runtime.acts.ground import LATEST_NS, Asked, By, Ground, Unknown
from observer_core.shared.clock import format_time, parse_duration
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref
from observer_core.shared.records import Note
from observer_core.snapshot_engine.names import fault
from observer_core.storage.once import Once

_OF_WHAT_IS_TO_COME: Final = frozenset(("block", "kill", "override"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One of `commands.COMMANDS`. `duration`: how long from now, `request`: what a confirm confirms.

    Without `domain` it is the one that observes the scope; a confirm is of its request's.
    """

    command: str
    scope: str = "*"
    domain: str | None = None
    duration: str | None = None
    policy: str | None = None
    request: str | None = None


def command(ground: Ground, wanted: Wanted, by: By, once: Once | None = None) -> Asked:
    """Asks the domain for it; `InputError` where it cannot be meant, and then nothing is recorded.

    Whether it can be done is for the decide stage to say, which says so in a record.
    """
    confirms = wanted.command == "confirm"
    domain = _domain_of_request(ground, wanted) if confirms else ground.domain_of(wanted.scope, wanted.domain)
    if (told := ground.told(domain, once)) is not None:
        return told
    now_ns = ground.now_ns(domain)
    until_ns = None if wanted.duration is None else now_ns + parse_duration(wanted.duration)
    if until_ns is not None and until_ns >= LATEST_NS:
        raise InputError(f"{wanted.duration} from now is after the year 2261; leave it out for no end")
    body: dict[str, Any] = {
        "command": wanted.command, "scope": wanted.scope, **by.to_json(), "until_ns": until_ns,
        "policy": wanted.policy, **({} if wanted.request is None else {"request": wanted.request}),
    }  # fmt: skip
    parse_command(body, "", now_ns)
    until = "" if until_ns is None else f" until {format_time(until_ns)}"
    text = f"{wanted.command} {wanted.request or wanted.scope} in domain {domain}{until}"
    if wanted.command in _OF_WHAT_IS_TO_COME:
        text += _unobserved(ground, wanted.scope, domain)
    waits = wanted.command in ground.settings.control.two_person
    return ground.ask(domain, "command", body, now_ns, text, once, needs_confirmation=waits)


def _unobserved(ground: Ground, scope: str, domain: str) -> str:
    """That nobody observes what the scope names, which may be a slip; `InputError` where nobody ever can."""
    level, _, name = scope.partition(":")
    if level == "subject":
        known = ground.gate.subjects(domain)
    else:
        known = [item.partition(".")[2] for item in ground.journals.names("snapshots", domain)]
        known += [part for item in ground.settings.source for part in ground.settings.parts_of(item.name)]
    if scope == DOMAIN or name in known:
        return ""
    if (problem := fault(name)) is not None:
        raise InputError(f"scope: {scope!r} closes nothing: the name {problem}; * alone is the whole domain")
    if name != name.strip():
        raise InputError(f"scope: {scope!r} has a blank that no name there has; take it out")
    return f"; nobody observes {name} there now"


def _domain_of_request(ground: Ground, wanted: Wanted) -> str:
    check_request(wanted.request)
    journal, position = parse_ref(str(wanted.request))
    (domain,) = ground.domains(journal.partition(".")[2])
    if wanted.domain not in (None, domain):
        raise InputError(f"{wanted.request} asks domain {domain}, not {wanted.domain}")
    commands = ground.journals.open(journal)
    record = commands.entry(position).record if 1 <= position <= commands.head().position else None
    if not isinstance(record, Note) or record.kind != "command":
        raise Unknown(f"no command was asked by {wanted.request}")
    return domain
