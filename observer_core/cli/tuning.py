"""`tune`: thresholds for a wanted rate of alarms, from stored history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.moments import moment
from observer_core.cli.opened import reading
from observer_core.cli.output import hint, json_line, progress, say, table

if TYPE_CHECKING:
    from observer_core.runtime.study.tune import Proposal, Tuned


def tune(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Whose stored snapshots to take.")],
    alarms_per_day: Annotated[
        float, typer.Option(min=0.001, max=100_000, metavar="RATE", help="How many alarms a day are wanted.")
    ],
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on, or 30d back from the newest. Default: all."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(metavar="PATTERN[,…]", help="Only these patterns, which share the rate. Default: all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Propose thresholds for a wanted rate of alarms.

    The recogniser runs over the stored snapshots with a ladder of thresholds; the rate is shared
    evenly by the patterns that alarm. Nothing is changed: what is proposed is printed as a diff.
    """
    from observer_core.runtime.study.tune import diff
    from observer_core.runtime.study.tune import tune as run

    patterns = [name.strip() for name in (pattern or "").split(",") if name.strip()]
    with reading(ctx) as reader, progress("tune") as advance:
        journals, settings = reader.journals, reader.settings
        newest = (
            journals.open(f"snapshots.{name}").head().time_ns for name in settings.parts_of(source)
        )  # fmt: skip
        since_ns = None if since is None else moment(since, lambda: max(newest))
        found = run(
            journals, settings, source, alarms_per_day,
            patterns=patterns, since_ns=since_ns, progress=advance,
        )  # fmt: skip
        lines = diff(found, settings)
    if as_json:
        _as_json(found, lines)
    else:
        _tell(found, lines)
    for warning in _warnings(found):
        hint(f"observer: {warning}")


def _as_json(found: Tuned, lines: list[str]) -> None:
    json_line({
        "source": found.source, "alarms_per_day": found.wanted, "days": found.days,
        "snapshots": found.snapshots, "warnings": _warnings(found), "diff": lines,
        "patterns": [
            {
                "pattern": one.tunable.pattern, "key": one.tunable.path, "now": one.now,
                "proposed": one.then, "a_day_now": one.a_day_now, "a_day_then": one.a_day_then,
                "share": one.share, "nearest": None if one.nearest is None else list(one.nearest),
            }
            for one in found.proposals
        ],
    })  # fmt: skip


def _tell(found: Tuned, lines: list[str]) -> None:
    say(
        f"{found.source}: {found.days:.2f} days, {found.snapshots:,} snapshots counted, "
        f"{found.runs} runs; wanted {found.wanted:g} alarms a day",
        "bold",
    )
    rows = [
        (
            one.tunable.pattern, one.tunable.path, f"{one.now:g}", f"{one.then:g}",
            f"{one.a_day_now:.2f}", f"{one.a_day_then:.2f}", _remark(one),
        )
        for one in found.proposals
        if one.share
    ]  # fmt: skip
    quiet = [one.tunable.pattern for one in found.proposals if not one.share]
    table(("pattern", "key", "now", "proposed", "a day now", "then", ""), [*rows, _total(found.proposals)])
    if quiet:
        say(f"no alarm with any threshold that was tried: {', '.join(quiet)}")
    say()
    for line in lines:
        say(line, {"+": "green", "-": "red"}.get(line[0]))
    say(
        "nothing was changed: put the lines into the configuration yourself"
        if lines
        else "the thresholds in force are the ones that would be proposed"
    )


def _remark(one: Proposal) -> str:
    if one.nearest is None:
        return ""
    return f"cannot be brought to {one.share:.2f}; nearest {one.nearest[0]:.2f} at {one.nearest[1]:g}"


def _total(proposals: tuple[Proposal, ...]) -> tuple[str, ...]:
    now, then = sum(one.a_day_now for one in proposals), sum(one.a_day_then for one in proposals)
    return ("all", "", "", "", f"{now:.2f}", f"{then:.2f}", "")


def _warnings(found: Tuned) -> list[str]:
    from observer_core.runtime.study.tune import ENOUGH

    said = []
    if found.expected < ENOUGH:
        said.append(
            f"this history holds {found.expected:.1f} alarms of a pattern at the wanted rate; with fewer "
            f"than {ENOUGH:g} the proposals are uncertain"
        )
    return said
