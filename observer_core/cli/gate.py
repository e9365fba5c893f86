"""`gate`: may this subject be acted on? And the commands that close and open it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from observer_core.cli.invocation import FINDING
from observer_core.cli.moments import moment, span, when
from observer_core.cli.opened import reading, takes_it
from observer_core.cli.output import STYLES, json_line, say, table

if TYPE_CHECKING:
    from observer_core.decision_pipeline.gate import GateAnswer
    from observer_core.shared.records import Evaluation

app = typer.Typer(help="Ask the gate, or close and open it.", no_args_is_help=True)

Scope = Annotated[
    str, typer.Argument(metavar="SCOPE", help="subject:NAME, source:NAME, or * for the domain.")
]
Everything = Annotated[
    str, typer.Argument(metavar="SCOPE", help="subject:NAME, source:NAME, or * for the domain.")
]
Author = Annotated[str, typer.Option(help="Who does this; recorded.")]
Reason = Annotated[str, typer.Option(help="Why; recorded.")]
Domain = Annotated[str | None, typer.Option(help="The domain, where the scope does not tell.")]


@app.command()
def check(
    ctx: typer.Context,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="For example BTC/USDT.")],
    domain: Annotated[
        str | None, typer.Option(help="The domain to ask.", show_default="the one that observes it")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="What was the answer then? RFC 3339, or 2h before the newest."),
    ] = None,
    on_unknown: Annotated[
        Literal["deny", "allow"], typer.Option(help="The answer for a subject that no source observes.")
    ] = "deny",
    as_json: Annotated[bool, typer.Option("--json", help="The answer as one line of JSON.")] = False,
) -> None:
    """Allow (exit code 0) or deny (1), with the reasons.

    With --at also what somebody was told nearest to then, from the gate's own records.
    """
    from observer_core.runtime.gate.report import asked_nearest

    with reading(ctx) as reader:
        name = domain or reader.gate.find_domain(subject)
        at_ns = None if at is None else moment(at, lambda: reader.newest_ns(name))
        answer = reader.gate.check(subject, domain=name, at_ns=at_ns, on_unknown=on_unknown)
        asked = None if at_ns is None else asked_nearest(reader.journals, name, subject, at_ns)
    if as_json:
        json_line({**answer.to_json(), **({} if at_ns is None else {"asked": _asked(name, asked)})})
    else:
        _tell(answer)
        if at_ns is not None:
            _tell_asked(name, asked, at_ns)
    if answer.decision != "allow":
        raise typer.Exit(FINDING)


@app.command()
def close(
    ctx: typer.Context, scope: Scope, author: Author, reason: Reason,
    duration: Annotated[
        str | None,
        typer.Option(
            "--for", metavar="DURATION", help="Open again after so long.", show_default="until released"
        ),
    ] = None,
    domain: Domain = None,
) -> None:  # fmt: skip
    """Block a scope.

    A release ends the block, or its end does; `gate kill` closes so that neither can.
    """
    _command(ctx, "block", scope, author, reason, domain, duration)


@app.command()
def kill(
    ctx: typer.Context, author: Author, reason: Reason, scope: Everything = "*", domain: Domain = None
) -> None:  # fmt: skip
    """Set the kill switch of a scope.

    It has no end, and no policy, condition, release or override opens it: only `gate unkill`.
    """
    _command(ctx, "kill", scope, author, reason, domain)


@app.command()
def unkill(
    ctx: typer.Context, author: Author, reason: Reason, scope: Everything = "*", domain: Domain = None
) -> None:  # fmt: skip
    """Re-arm the kill switch of exactly this scope.

    What else blocks it stays.
    """
    _command(ctx, "unkill", scope, author, reason, domain)


@app.command()
def confirm(
    ctx: typer.Context,
    request: Annotated[
        str, typer.Argument(metavar="REQUEST", help="The record that asked, commands.DOMAIN@N.")
    ],
    author: Author, reason: Reason,
) -> None:  # fmt: skip
    """Have done what another person asked.

    The setting control.two_person says which commands wait for that.
    """
    _command(ctx, "confirm", "*", author, reason, None, request=request)


@app.command()
def requests(
    ctx: typer.Context,
    domain: Annotated[
        str | None, typer.Option(help="The domain to look at.", show_default="all of them")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One request or override a line.")] = False,
) -> None:
    """List what waits for a second person, and the overrides that stand."""
    with reading(ctx) as reader:
        found = {
            name: reader.journals.open(f"decisions.{name}").views().get("control", {})
            for name in reader.domains(domain)
        }
    _list_control(found, as_json=as_json)


@app.command()
def release(
    ctx: typer.Context, scope: Scope, author: Author, reason: Reason,
    policy: Annotated[
        str | None, typer.Option(help="Only the block of this policy.", show_default="all of the scope")
    ] = None,
    domain: Domain = None,
) -> None:  # fmt: skip
    """End the blocks of exactly this scope."""
    _command(ctx, "release", scope, author, reason, domain, policy=policy)


@app.command()
def override(
    ctx: typer.Context, scope: Scope, author: Author, reason: Reason,
    duration: Annotated[str, typer.Option("--for", metavar="DURATION", help="How long.")],
    domain: Domain = None,
) -> None:  # fmt: skip
    """Lift the policies' blocks of a scope for a while.

    A block that an operator set stays.
    """
    _command(ctx, "override", scope, author, reason, domain, duration)


@app.command()
def rearm(ctx: typer.Context, scope: Scope, author: Author, reason: Reason, domain: Domain = None) -> None:
    """End an override early.

    The blocks that it lifted stand again.
    """
    _command(ctx, "rearm", scope, author, reason, domain)


def _tell(answer: GateAnswer) -> None:
    say(
        f"{answer.decision} {answer.subject} (domain {answer.domain}, risk {answer.risk})",
        STYLES[answer.decision],
    )
    for reason in answer.reasons:
        say(f"  {reason['code']}: {reason['text']}")
    say(f"  rests on data of {when(answer.as_of_ns)}, valid until {when(answer.valid_until_ns)}")


def _asked(domain: str, found: tuple[int, Evaluation] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    position, record = found
    return {
        "id": f"gate.{domain}@{position}", "time_ns": record.time_ns, "caller": record.caller,
        "action": record.action, "decision": "allow" if record.verdict == "allow" else "deny",
        "reasons": list(record.reasons),
    }  # fmt: skip


def _tell_asked(domain: str, found: tuple[int, Evaluation] | None, at_ns: int) -> None:
    if found is None:
        say("  nobody asked around then")
        return
    position, record = found
    away = record.time_ns - at_ns
    how_far = "then" if not away else f"{span(abs(away))} {'later' if away > 0 else 'earlier'}"
    said = "allow" if record.verdict == "allow" else "deny"
    codes = ", ".join(str(reason["code"]) for reason in record.reasons)
    say(
        f"  {record.caller} asked ({record.action}) at {when(record.time_ns)}, {how_far}, and was told "
        f"{said}{f' ({codes})' if codes else ''}: gate.{domain}@{position}"
    )


def _list_control(found: dict[str, dict[str, Any]], *, as_json: bool) -> None:
    rows = [
        {"domain": name, "what": what, **entry}
        for name, control in found.items()
        for what, entries in (("request", "requests"), ("override", "overrides"))
        for entry in control.get(entries, ())
    ]
    if as_json:
        for row in rows:
            json_line(row)
    elif rows:
        table(
            ("domain", "what", "scope", "by", "since", "until"),
            [
                (row["domain"], f"{row['command']} {row['request']}" if "request" in row else "override",
                 row["scope"], " ".join(filter(None, (row["author"], row["principal"]))),
                 when(row["since_ns"]), when(row.get("expires_ns") or row["until_ns"]))
                for row in rows
            ],
        )  # fmt: skip
    else:
        say("nothing waits for a second person, and no override stands")


def _command(
    ctx: typer.Context, command: str, scope: str, author: str, reason: str, domain: str | None,
    duration: str | None = None, policy: str | None = None, request: str | None = None,
) -> None:  # fmt: skip
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts.commands import Wanted
    from observer_core.runtime.acts.commands import command as ask
    from observer_core.runtime.acts.ground import By
    from observer_core.shared.clock import format_duration

    wanted = Wanted(
        command=command, scope=scope, domain=domain, duration=duration, policy=policy, request=request
    )
    with reading(ctx) as reader:
        asked = ask(reader.ground, wanted, By(author, reason, os_user()))
        told, control = takes_it(reader, asked.domain), reader.settings.control
    say(f"{asked.ref}  {asked.text}")
    say(told)
    if asked.needs_confirmation:
        within = format_duration(control.confirm_within)
        say(f"It then waits {within} for another person: observer gate confirm {asked.ref}", "yellow")
