"""`report`: a day, a week, the controls; what the Functions app would cost, how often detectors were right;
what was not executed."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import moment, when
from observer_core.cli.opened import Reader, reading
from observer_core.cli.output import hint, json_line, say, table

if TYPE_CHECKING:
    from observer_core.runtime.gate.report import NonExecution
    from observer_core.runtime.reports.config import Form, Lang
    from observer_core.runtime.reports.facts import Ground
    from observer_core.runtime.reports.making import Report
    from observer_core.runtime.study.cost import Measured, Prices
    from observer_core.runtime.study.feedback import Precision

app = typer.Typer(help="Reports.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Reports."""


class Language(StrEnum):
    """What `--lang` may say."""

    KOREAN = "ko"
    ENGLISH = "en"


Date = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="A day of it, as 2026-11-23. Default: the last one that is over."),
]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it there as one HTML file.")]
Markdown = Annotated[Path | None, typer.Option("--md", metavar="FILE", help="Write it there as Markdown.")]
Lang_ = Annotated[Language | None, typer.Option("--lang", help="Default: lang of [reports].")]
OneDomain = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of this domain. Default: the live one, or the only one.")
]
Stamp = Annotated[
    bool, typer.Option("--stamp", help="Let it say when it was made; else equal records give equal files.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The figures alone, as one line of JSON.")]


@app.command()
def daily(
    ctx: typer.Context, date: Date = None, html: Html = None, md: Markdown = None, lang: Lang_ = None,
    domain: OneDomain = None, stamp: Stamp = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell what a day came to: availability first, then incidents, decisions, deliveries, growth.

    Markdown on standard output, unless it is to be written to files. A day is that of the zone of [reports].
    """
    from observer_core.runtime.reports.making import report

    with reading(ctx) as reader:
        _give(
            reader, report(_ground(reader), "daily", domain=domain, date=date), html, md, lang, stamp, as_json
        )


@app.command()
def weekly(
    ctx: typer.Context, date: Date = None, html: Html = None, md: Markdown = None, lang: Lang_ = None,
    domain: OneDomain = None, stamp: Stamp = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell what a week, from Monday on, came to.

    As `report daily`.
    """
    from observer_core.runtime.reports.making import report

    with reading(ctx) as reader:
        _give(
            reader,
            report(_ground(reader), "weekly", domain=domain, date=date),
            html,
            md,
            lang,
            stamp,
            as_json,
        )


@app.command()
def control(
    ctx: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="From this time on: RFC 3339, or 90d before the domain's present. Default: 30 days.",
        ),
    ] = None,
    html: Html = None, md: Markdown = None, lang: Lang_ = None, domain: OneDomain = None,
    stamp: Stamp = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Tell which pre-trade controls there are, when each last acted, its tests, and the evidence.

    Each control with its policy, the cases of [reports], the alert latency against 5 s, and how long records
    are kept. Exit code 1 when a case is not as expected.
    """
    from observer_core.runtime.reports.making import control_report

    with reading(ctx) as reader:
        ground = _ground(reader)
        name = ground.domain(domain)
        since_ns = None if since is None else moment(since, partial(ground.now_ns, name))
        found = control_report(ground, domain=name, since_ns=since_ns)
        _give(reader, found, html, md, lang, stamp, as_json)
    if any(outcome.failures for outcome in found.facts.outcomes):
        raise typer.Exit(FINDING)


def _ground(reader: Reader) -> Ground:
    from observer_core.runtime.reports.facts import Ground

    return Ground(reader.journals, reader.settings, reader.gate)


def _give(
    reader: Reader, found: Report, html: Path | None, md: Path | None, lang: Language | None, stamp: bool,
    as_json: bool,
) -> None:  # fmt: skip
    from observer_core.runtime.reports.writing import write
    from observer_core.shared.clock import SystemClock

    if as_json:
        json_line(found.to_json())
        return
    made_ns = SystemClock().now_ns() if stamp else None
    language: Lang = reader.settings.reports.lang if lang is None else lang.value
    files: tuple[tuple[Path | None, Form], ...] = ((html, "html"), (md, "md"))
    wanted = [(path, form) for path, form in files if path is not None]
    for path, form in wanted:
        write(path, found.text(form, language, made_ns))
        hint(f"observer: wrote {path}")
    if not wanted:
        say(found.text("md", language, made_ns).rstrip("\n"))


@app.command()
def cost(
    ctx: typer.Context,
    prices: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A price table. Default: the dated one of the package."),
    ] = None,
    subjects: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="Subjects of each source, two fields each.")
    ] = 100,
    seconds: Annotated[
        int | None, typer.Option(min=60, metavar="N", help="How long to simulate. Default: by the cadence.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Measure the storage operations of the configured sources in the Functions app.

    Simulated in memory, quiet, with the real stages and hints: nothing is asked of an account.
    """
    from observer_core.runtime.study.cost import BUDGET, Prices, measure

    settings = Invocation.of(ctx).settings()
    table_of_prices = Prices.load(prices)
    runs = [
        measure(settings, instances=count, subjects=subjects, seconds=seconds) for count in (1, 2)
    ]  # fmt: skip
    if as_json:
        json_line({
            "budget": BUDGET, "prices": table_of_prices.canonical(),
            "runs": [_plain(run, table_of_prices) for run in runs],
        })  # fmt: skip
        return
    for run in runs:
        _tell(run, table_of_prices, BUDGET)


@app.command()
def detectors(
    ctx: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One detector and pattern a line.")] = False,
) -> None:
    """Show how often each detector was right, by what `observer feedback` has recorded.

    Of the patterns that somebody has judged, with the 95 % interval of the true share.
    """
    from observer_core.runtime.study.feedback import precision

    with reading(ctx) as reader:
        found = [(name, row) for name in reader.domains(domain) for row in precision(reader.journals, name)]
    if as_json:
        for name, row in found:
            low, high = row.interval
            json_line({
                "domain": name, "detector": row.detector, "pattern": row.pattern, "found": row.found,
                "right": row.right, "wrong": row.wrong, "low": round(low, 4), "high": round(high, 4),
            })  # fmt: skip
        return
    if not found:
        say("no pattern has been recognised yet")
        return
    table(
        ("domain", "detector", "pattern", "found", "right", "wrong", "precision"),
        [
            (name, row.detector, row.pattern, str(row.found), str(row.right), str(row.wrong), _share(row))
            for name, row in found
        ],
    )
    if not any(row.judged for _, row in found):
        say("nothing was judged yet: observer feedback PATTERN true|false --author WHO")


@app.command()
def nonexecution(
    ctx: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on: RFC 3339, or 2h before the domain's newest."),
    ] = None,
    caller: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this caller asked the gate.")
    ] = None,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One domain a line.")] = False,
) -> None:
    """Show what was asked, allowed, denied, suppressed and not observed, and why.

    Of how much comes first: all that the gate recorded, and all that a policy matched.
    """
    from observer_core.runtime.gate.report import non_execution

    with reading(ctx) as reader:
        found = []
        for name in reader.domains(domain):
            newest = partial(reader.newest_ns, name)
            since_ns = None if since is None else moment(since, newest)
            found.append(non_execution(reader.journals, name, since_ns=since_ns, caller=caller))
    for row in found:
        if as_json:
            json_line(row.to_json())
        else:
            _tell_non_execution(row)


def _tell_non_execution(row: NonExecution) -> None:
    asked = f"{when(row.first_ns)} to {when(row.last_ns)}" if row.evaluated else "nobody asked the gate"
    say(f"domain {row.domain}: {asked}", "bold")
    table(
        ("", "count", "share"),
        [
            ("evaluated", str(row.evaluated), ""),
            ("  allowed", str(row.allowed), _percent(row.allowed, row.evaluated)),
            ("  denied", str(row.denied), _percent(row.denied, row.evaluated)),
            ("    not observed", str(row.not_observed), _percent(row.not_observed, row.evaluated)),
            ("denied, not recorded", str(row.not_recorded), ""),
            ("policy matches", str(row.matched), ""),
            ("  acted on", str(row.acted), _percent(row.acted, row.matched)),
            ("  suppressed", str(row.suppressed), _percent(row.suppressed, row.matched)),
        ],
    )
    why = [
        *((f"denied: {code}", count, row.denied) for code, count in row.denials.most_common()),
        *(
            (f"suppressed: {code} ({policy})", count, row.suppressed)
            for (policy, code), count in row.suppressions.most_common()
        ),
    ]
    if why:
        table(
            ("reason", "count", "share"),
            [(name, str(count), _percent(count, whole)) for name, count, whole in why],
        )
    if len(row.callers) > 1:
        table(
            ("caller", "evaluated", "allowed", "denied"),
            [
                (name, str(sum(counts)), str(counts[0]), str(counts[1]))
                for name, counts in sorted(row.callers.items())
            ],
        )
    say()


def _percent(count: int, whole: int) -> str:
    return f"{count / whole:.1%}" if whole else "-"


def _share(row: Precision) -> str:
    low, high = row.interval
    return f"{row.right / row.judged:.0%} ({low:.0%} to {high:.0%})" if row.judged else "-"


def _plain(run: Measured, prices: Prices) -> dict[str, Any]:
    return {
        "instances": run.instances, "seconds": run.seconds, "snapshots": run.snapshots,
        "observations": run.observations, "operations_per_snapshot": run.per_snapshot,
        "stages": {stage: dict(counts) for stage, counts in run.stages.items()},
        "executions": dict(run.executions), "month": run.month(prices),
        "per_million_observations": run.per_million_observations(prices),
    }  # fmt: skip


def _tell(run: Measured, prices: Prices, budget: float) -> None:
    turns = "one instance" if run.instances == 1 else f"{run.instances} instances taking turns"
    say(f"{turns}: {run.snapshots} quiet snapshots of {run.subjects} subjects in {run.seconds} s", "bold")
    kinds = sorted({kind for counts in run.stages.values() for kind in counts})
    table(
        ("operations a snapshot", *kinds, "calls"),
        [
            (stage, *(f"{counts[kind] / run.snapshots:.2f}" for kind in kinds),
             f"{run.executions[stage] / run.snapshots:.2f}")
            for stage, counts in run.stages.items()
        ],
    )  # fmt: skip
    verdict = "within" if run.per_snapshot <= budget else "over"
    say(
        f"billable operations a snapshot: {run.per_snapshot:.2f}, {verdict} the budget of {budget:.0f} "
        "(polls not counted)"
    )
    month = run.month(prices)
    parts = ", ".join(f"{name} {amount:.2f}" for name, amount in month.items())
    say(f"a month at this cadence: {sum(month.values()):.2f} {prices.currency} ({parts})")
    say(f"a million observations: {run.per_million_observations(prices):.4f} {prices.currency}")
    say(f"prices: {prices.region}, dated {prices.dated}; replace them with --prices FILE")
    say()
