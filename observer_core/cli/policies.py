"""`policy` and `whatif`: are policies right, and what would they have done?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import moment, span, when
from observer_core.cli.opened import Reader, reading
from observer_core.cli.output import hint, json_line, progress, say, table
from observer_core.shared.clock import format_duration

if TYPE_CHECKING:
    from observer_core.decision_pipeline.config import DecisionConfig
    from observer_core.runtime.study.policy_cases import Outcome
    from observer_core.runtime.study.whatif import Backtest, Blocked, Flip, Flips, History
    from observer_core.shared.records import Decision

app = typer.Typer(help="Check, test and compare policies.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A TOML file of [[policy]] tables.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="From this time on, or 30d back from the newest. Default: all."),
]
Domain = Annotated[str | None, typer.Option(metavar="NAME", help="Only this domain. Default: all.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON value a line.")]


@app.command()
def lint(file: File, as_json: Json = False) -> None:
    """Find what is wrong or strange in a file of policies.

    Errors keep it from being used; warnings are of what can never do what it says. Exit code 1 where
    there is any.
    """
    from observer_core.runtime.study.policy_lint import lint as check

    remarks = check(file)
    for remark in remarks:
        if as_json:
            json_line({"file": str(file), "level": remark.level, "policy": remark.policy, "key": remark.key,
                       "text": remark.text})  # fmt: skip
        else:
            where = ": ".join(
                part
                for part in (str(file), f"policy {remark.policy!r}" if remark.policy else "", remark.key)
                if part
            )
            say(
                f"{where}: {remark.level}: {remark.text}", "bold red" if remark.level == "error" else "yellow"
            )
    if remarks:
        raise typer.Exit(FINDING)
    if not as_json:
        say(f"{file}: nothing to remark")


@app.command("test")
def cases(
    ctx: typer.Context,
    file: File,
    table_of_cases: Annotated[Path, typer.Argument(metavar="CASES", help="A TOML file of [[case]] tables.")],
    as_json: Json = False,
) -> None:
    """Try policies on cases: events in, verdicts expected.

    Exit code 1 when a case is not as expected.
    """
    from observer_core.decision_pipeline.policy import load_policies
    from observer_core.runtime.study.policy_cases import load_cases, run

    config = _config(ctx, file)
    outcomes = [run(config, case) for case in load_cases(table_of_cases)]
    for outcome in outcomes:
        _tell_case(outcome, as_json)
    acted = {name for outcome in outcomes for name in outcome.acted}
    idle = [policy.name for policy in load_policies(file) if policy.name not in acted]
    if not as_json:
        failed = sum(bool(outcome.failures) for outcome in outcomes)
        say(f"{len(outcomes) - failed} of {len(outcomes)} cases are as expected")
        if idle:
            hint(f"observer: no case makes these decide anything: {', '.join(idle)}")
    if any(outcome.failures for outcome in outcomes):
        raise typer.Exit(FINDING)


@app.command()
def diff(
    ctx: typer.Context, file: File, since: Since = None, domain: Domain = None, as_json: Json = False
) -> None:  # fmt: skip
    """Decide recorded events anew, and print each that would lead to something else.

    Another verdict, scope or end of the same event or command. What follows from time alone, and the
    risk state, is left out: `observer whatif` shows it. Nothing is written.
    """
    from observer_core.runtime.study.whatif import flips

    config = _config(ctx, file)
    with reading(ctx) as reader:
        for name in reader.domains(domain):
            history = _redecide(reader, name, config)
            since_ns = _since(reader, name, since)
            _tell_flips(history, flips(history, since_ns), since_ns, as_json)


@app.command()
def backtest(
    ctx: typer.Context, file: File, since: Since = None, domain: Domain = None, as_json: Json = False
) -> None:  # fmt: skip
    """Tell how often and how long each policy would have blocked.

    Scope by scope and in all, with the share of the time. Policies that only watch (shadow) are shown as
    if they blocked; the last line is without them. Nothing is written.
    """
    from observer_core.runtime.study.whatif import acting
    from observer_core.runtime.study.whatif import backtest as count

    config = _config(ctx, file)
    with reading(ctx) as reader:
        for name in reader.domains(domain):
            history = _redecide(reader, name, acting(config))
            found = count(history, config.policies, _since(reader, name, since))
            _backtest_json(found) if as_json else _tell_backtest(found)


def whatif(
    ctx: typer.Context,
    policy: Annotated[Path, typer.Option(metavar="FILE", help="A TOML file of [[policy]] tables.")],
    since: Since = None,
    domain: Domain = None,
    as_json: Json = False,
) -> None:
    """Show the same history under other policies, as a diff of decisions.

    Every decision that would not have been, or would have been: ends of blocks, escalations and the risk
    state too; then how long each scope would have been blocked. Nothing is written.
    """
    from observer_core.runtime.study.whatif import difference

    config = _config(ctx, policy)
    with reading(ctx) as reader:
        for name in reader.domains(domain):
            history = _redecide(reader, name, config)
            since_ns = _since(reader, name, since)
            _tell_difference(history, difference(history, since_ns), since_ns, as_json)


def _config(ctx: typer.Context, file: Path) -> DecisionConfig:
    """What is in force but for the policies, which are those of the file."""
    from observer_core.decision_pipeline.policy import load_policies

    policies = load_policies(file)
    settings = Invocation.of(ctx).settings()
    # The policies in force may be unusable: that is no reason not to look at others.
    return (
        settings.model_copy(update={"policies": None}).decisions().model_copy(update={"policies": policies})
    )


def _redecide(reader: Reader, domain: str, config: DecisionConfig) -> History:
    from observer_core.runtime.study.whatif import redecide

    with progress(f"decide {domain}") as advance:
        return redecide(reader.journals, domain, config, advance)


def _since(reader: Reader, domain: str, since: str | None) -> int:
    return 0 if since is None else moment(since, lambda: reader.newest_ns(domain))


# ---------------------------------------------------------------------- telling


def _tell_case(outcome: Outcome, as_json: bool) -> None:
    failures = outcome.failures
    if as_json:
        json_line({
            "case": outcome.case.name, "ok": not failures,
            "failures": [
                {"step": one.number, "at": format_duration(one.at_ns), "problems": list(one.problems)}
                for one in failures
            ],
        })  # fmt: skip
        return
    say(f"{'✗' if failures else '✓'} {outcome.case.name}", "bold red" if failures else None)
    for failure in failures:
        say(f"    step {failure.number}, at {format_duration(failure.at_ns)}")
        for problem in failure.problems:
            say(f"        {problem}")


def _tell_flips(history: History, found: Flips, since_ns: int, as_json: bool) -> None:
    if as_json:
        for flip in found.flips:
            json_line({
                "domain": history.domain, "ref": flip.ref, "time_ns": flip.time_ns,
                "before": [_plain(decision) for decision in flip.before],
                "after": [_plain(decision) for decision in flip.after],
            })  # fmt: skip
        return
    for flip in found.flips:
        _tell_flip(flip)
    say(
        f"{history.domain}: {len(found.flips):,} of {found.entries:,} events and commands that led to a "
        f"decision would lead to another one, {_period(history, since_ns)}",
        "bold",
    )
    changes: dict[str, int] = {}
    for flip in found.flips:
        changes[flip.change] = changes.get(flip.change, 0) + 1
    for change, count in sorted(changes.items(), key=lambda item: (-item[1], item[0])):
        say(f"  {count:>8,}  {change}")


def _tell_flip(flip: Flip) -> None:
    say(f"{when(flip.time_ns)}  {flip.ref}  {flip.change}", "bold")
    for sign, decisions, style in (("-", flip.before, "red"), ("+", flip.after, "green")):
        for decision in decisions:
            say(f"  {sign} {_line(decision)}", style)


def _tell_difference(
    history: History, lines: list[tuple[str, Decision]], since_ns: int, as_json: bool
) -> None:  # fmt: skip
    if as_json:
        for sign, decision in lines:
            json_line({"domain": history.domain, "sign": sign, "decision": _plain(decision)})
        return
    say(f"--- {history.domain} (recorded)")
    say(f"+++ {history.domain} (under other policies)")
    for sign, decision in lines:
        say(f"{sign} {when(decision.time_ns)}  {_line(decision)}", {"+": "green", "-": "red"}[sign])
    gone = sum(sign == "-" for sign, _ in lines)
    say(
        f"{history.domain}: {gone:,} decisions would not have been, {len(lines) - gone:,} others would, "
        f"{_period(history, since_ns)}",
        "bold",
    )
    _tell_blocked(history, since_ns)


def _tell_blocked(history: History, since_ns: int) -> None:
    """Every scope that is blocked for another time."""
    from observer_core.runtime.study.whatif import Blocked, standing

    start = max(since_ns, history.began_ns)
    times: list[dict[str, Blocked]] = []
    for decisions in (history.recorded, history.decided):
        times.append({})
        for (_, scope), spans in standing(decisions, start, history.ended_ns).items():
            times[-1].setdefault(scope, Blocked()).add(spans)
    was, now = times
    rows = [
        (scope, span(was.get(scope, Blocked()).blocked_ns), span(now.get(scope, Blocked()).blocked_ns))
        for scope in sorted(was.keys() | now.keys())
        if was.get(scope, Blocked()).blocked_ns != now.get(scope, Blocked()).blocked_ns
    ]
    if rows:
        table(("scope", "blocked", "would be"), rows)


def _tell_backtest(found: Backtest) -> None:
    length = found.until_ns - found.since_ns
    say(
        f"{found.domain}: {when(found.since_ns)} to {when(found.until_ns)}, {span(length)}",
        "bold",
    )
    rows = []
    for tested in found.policies:
        policy = tested.policy
        watching = " (only watches)" if policy.shadow else ""
        if policy.verdict != "block":
            count = tested.verdicts[policy.verdict]
            rows.append((policy.name, f"{policy.verdict}{watching}", f"{count:,}", "", "", ""))
            continue
        rows.append((policy.name, f"all{watching}", *_cells(found, tested.total)))
        rows += [("", scope, *_cells(found, blocked)) for scope, blocked in tested.scopes.items()]
    rows.append(("in all", "", *_cells(found, found.total)))
    table(("policy", "scope", "times", "blocked", "longest", "share"), rows)


def _cells(found: Backtest, blocked: Blocked) -> tuple[str, str, str, str]:
    share = f"{100 * found.share(blocked):.2f} %"
    return f"{blocked.blocks:,}", span(blocked.blocked_ns), span(blocked.longest_ns), share


def _backtest_json(found: Backtest) -> None:
    def plain(blocked: Blocked) -> dict[str, Any]:
        return {
            "blocks": blocked.blocks, "blocked_ns": blocked.blocked_ns, "longest_ns": blocked.longest_ns,
            "share": found.share(blocked),
        }  # fmt: skip

    for tested in found.policies:
        json_line({
            "domain": found.domain, "policy": tested.policy.name, "version": tested.policy.version,
            "shadow": tested.policy.shadow, "verdicts": dict(tested.verdicts), **plain(tested.total),
            "scopes": {scope: plain(blocked) for scope, blocked in tested.scopes.items()},
        })  # fmt: skip
    json_line({
        "domain": found.domain, "since_ns": found.since_ns, "until_ns": found.until_ns,
        "all": plain(found.total),
    })  # fmt: skip


def _period(history: History, since_ns: int) -> str:
    return f"from {when(max(since_ns, history.began_ns))} to {when(history.ended_ns)}"


def _line(decision: Decision) -> str:
    until = f" until {when(decision.until_ns)}" if decision.until_ns else ""
    why = decision.reasons[0].get("text", decision.reasons[0]["code"])
    return (
        f"{decision.verdict} {decision.scope}{until} by {decision.policy} v{decision.policy_version}: {why}"
    )


def _plain(decision: Decision) -> dict[str, Any]:
    from observer_core.shared.canonical import decode

    found: dict[str, Any] = decode(decision.encode(decision.epoch))
    return found
