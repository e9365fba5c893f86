"""`evaluate`: stored alarms against labelled windows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.moments import span
from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say

if TYPE_CHECKING:
    from observer_core.runtime.study.evaluate import Evaluation


def evaluate(
    ctx: typer.Context,
    labels: Annotated[
        Path,
        typer.Option(metavar="FILE", help="CSV: from, to; and source, subject, field where they matter."),
    ],
    domain: Annotated[str | None, typer.Option(help="Which domain, if there are several.")] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Which patterns are alarms. Default: all but feed_*."),
    ] = None,
    zone: Annotated[str | None, typer.Option(metavar="TZ", help="What times without a zone are in.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Compare the stored alarms with labelled windows.

    Precision, recall, the median delay, alarms a day, and the scores of the Numenta benchmark's
    three profiles.
    """
    from observer_core.runtime.study.evaluate import evaluate as compare
    from observer_core.runtime.study.evaluate import read_labels, stored_alarms

    windows = read_labels(labels, zone)
    with reading(ctx) as reader:
        name = reader.one_domain(domain, "labels are of one time line")
        alarms, days = stored_alarms(reader.journals, name, kind or _ALARMS)
    found = compare(alarms, windows, days)
    if as_json:
        json_line({
            "domain": name, "alarms": found.alarms, "hits": found.hits, "windows": found.windows,
            "found": len(found.delays_ns), "precision": found.precision, "recall": found.recall,
            "delay_ns": found.delay_ns, "days": found.days, "alarms_a_day": found.alarms_a_day,
            "nab": dict(found.nab),
        })  # fmt: skip
    else:
        _tell(found)


_ALARMS = ("[!f]*", "f[!e]*", "fe[!e]*", "fee[!d]*", "feed[!_]*")
"""Whatever is not called feed_…: those say how the feed is, not the data."""


def _tell(found: Evaluation) -> None:
    precision = "-" if found.precision is None else f"{found.precision:.1%}"
    a_day = "-" if found.alarms_a_day is None else f"{found.alarms_a_day:.2f}"
    say(f"precision   {precision} ({found.hits} of {found.alarms} alarms in a window)")
    say(f"recall      {found.recall:.1%} ({len(found.delays_ns)} of {found.windows} windows found)")
    delay = "-" if found.delay_ns is None else span(found.delay_ns)
    say(f"delay       {delay} (median, from a window's beginning)")
    say(f"alarms      {a_day} a day over {found.days:.2f} days")
    profiles = ", ".join(f"{name} {score:.1f}" for name, score in found.nab.items())
    say(f"NAB         {profiles} (100: every window at its beginning, and nothing else)")
