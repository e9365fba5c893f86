"""`detect`: what this is worth on a file of one's own, without any set-up."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.moments import second
from observer_core.cli.output import hint, json_line, say, table
from observer_core.shared.errors import ConfigError

if TYPE_CHECKING:
    from observer_core.runtime.study.detecting import Detected

_SHOWN = 20


def detect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, NDJSON (each also .gz) or Parquet.")],
    time_column: Annotated[
        str, typer.Option("--time", metavar="COL", help="The column of times (ISO 8601 or epoch).")
    ],
    value: Annotated[str, typer.Option(metavar="COL[,COL]", help="The number columns to look at.")],
    zone: Annotated[str, typer.Option(metavar="TZ", help="What times without a zone are in.")] = "UTC",
    delimiter: Annotated[str, typer.Option(help="What separates the columns of a CSV file.")] = ",",
    scores: Annotated[
        Path | None, typer.Option(metavar="OUT.csv", help="Where a score for every row goes.")
    ] = None,
    change_points: Annotated[
        bool, typer.Option("--change-points", help="Where level, trend, variance or shape change, too.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="OUT.png", help="Where a picture of it goes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Find what is unusual in a file.

    An anomaly score in [0, 1] for every row, an alarm from 0.5 on; with the change points; and the
    patterns that a source of these rows would give. Nothing is stored.
    """
    from observer_core.cli.ingesting import mapping_of
    from observer_core.runtime.study.detecting import detect as run

    names = [name.strip() for name in value.split(",")]
    mapping = mapping_of(
        "detect", time=time_column, zone=zone, fields=names, subject_name="value", delimiter=delimiter
    )
    found = run(file, mapping, change_points=change_points)
    if scores is not None:
        scores.write_text(found.csv(), "utf-8")
    if plot is not None:
        _draw(found, plot)
    (_as_json if as_json else _tell)(found)
    for path in (scores, plot):
        if path is not None:
            hint(f"observer: wrote {path}")


def _as_json(found: Detected) -> None:
    json_line({
        "rows": len(found.times_ns), "columns": list(found.columns), "notes": list(found.notes),
        "alarms": [
            {"row": a.row, "time_ns": a.time_ns, "column": a.column, "value": a.value, "score": a.score,
             "channels": list(a.channels)}
            for a in found.alarms
        ],
        "change_points": [
            {"column": column, "onset": c.onset, "declared": c.declared, "kind": c.kind,
             "statistic": c.statistic}
            for column, changes in found.changes.items() for c in changes
        ],
        "patterns": dict(Counter(record.pattern for record in found.patterns)),
    })  # fmt: skip


def _tell(found: Detected) -> None:
    say(f"{len(found.times_ns):,} rows, {len(found.columns)} columns, {len(found.alarms)} alarms", "bold")
    for note in found.notes:
        say(f"  note  {note}", "yellow")
    if found.alarms:
        table(
            ("row", "time", "column", "value", "score", "what left its range"),
            [
                (
                    str(a.row),
                    second(a.time_ns),
                    a.column,
                    f"{a.value:g}",
                    f"{a.score:.3f}",
                    ", ".join(a.channels),
                )
                for a in found.alarms[:_SHOWN]
            ],
        )
    _more(len(found.alarms))
    changes = [(column, change) for column, some in found.changes.items() for change in some]
    if changes:
        say(f"{len(changes)} change points", "bold")
        rows = [
            (
                str(c.onset),
                second(found.times_ns[c.onset]),
                str(c.declared),
                column,
                c.kind,
                f"{c.statistic:.1f}",
            )
            for column, c in changes[:_SHOWN]
        ]
        table(("from row", "time", "declared at row", "column", "kind", "statistic"), rows)
    _more(len(changes))
    kinds = Counter(f"{record.pattern} ({record.severity})" for record in found.patterns)
    say("patterns of a source: " + (", ".join(f"{n} {kind}" for kind, n in kinds.most_common()) or "none"))


def _more(count: int) -> None:
    if count > _SHOWN:
        say(f"… and {count - _SHOWN} more; --json shows all")


def _draw(found: Detected, path: Path) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        raise ConfigError("--plot needs matplotlib: install qts-observer[plot]") from None
    mpl.use("Agg")
    from datetime import UTC, datetime

    from matplotlib import pyplot

    times = [datetime.fromtimestamp(ns / 1e9, UTC) for ns in found.times_ns]
    figure, axes = pyplot.subplots(
        len(found.columns), 1, sharex=True, squeeze=False, figsize=(12, 3.2 * len(found.columns)),
        layout="constrained",
    )  # fmt: skip
    for column, (axis,) in zip(found.columns, axes, strict=True):
        axis.plot(times, found.values[column], color="#35608f", linewidth=0.8)
        axis.set_title(column, loc="left", fontsize=10)
        for alarm in (a for a in found.alarms if a.column == column and not math.isnan(a.value)):
            axis.plot(times[alarm.row], alarm.value, "o", color="#c0392b", markersize=5)
        for change in found.changes.get(column, ()):
            axis.axvline(times[change.onset], color="#7a4f9a", linestyle="--", linewidth=1)
    axes[0][0].set_title("dots: alarms   dashed: change points", loc="right", fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
