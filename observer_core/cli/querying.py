"""`sql`: questions in SQL over everything stored; `export`: records as a file for other programs."""

from __future__ import annotations

import math
import sys
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated, Any

import typer

from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say
from observer_core.shared.errors import InputError


def sql(
    ctx: typer.Context,
    statement: Annotated[
        str, typer.Argument(metavar="SELECT", help="One statement; - reads it from standard input.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Into a .parquet or .csv file instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One row a line.")] = False,
) -> None:
    """Ask in SQL over all stored records.

    Tables: snapshots (a row a subject, a column a field), collections (a row a snapshot), patterns, events,
    decisions, evaluations, deliveries, routes.
    """
    from observer_core.runtime.lake.database import drawn, lake, rows, write

    text = sys.stdin.read() if statement == "-" else statement
    with reading(ctx) as reader, lake(reader.journals) as connection:
        if out is not None:
            say(f"{write(connection, text, out):,} rows in {out}")
        elif as_json:
            for row in rows(connection, text):
                json_line({name: _plain(value) for name, value in row.items()})
        else:
            say(drawn(connection, text))


def export(
    ctx: typer.Context,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="One of those that `observer sql` knows.")],
    out: Annotated[Path, typer.Argument(metavar="FILE", help="What to write: .parquet or .csv.")],
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this time on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Up to this time.")] = None,
    domain: Annotated[str | None, typer.Option(help="Only of this domain.")] = None,
) -> None:
    """Write stored records to a file that other programs read."""
    from observer_core.cli.moments import moment
    from observer_core.runtime.lake.database import NAMES, lake, write

    if table not in NAMES:
        raise InputError(f"there is no table {table!r}; there are {', '.join(NAMES)}")
    with reading(ctx) as reader, lake(reader.journals) as connection:
        name = None
        if domain or since or until:
            name = reader.one_domain(domain, "times are those of a domain")
        wanted = [] if name is None else ["domain = '{}'".format(name.replace("'", "''"))]
        for sign, text in ((">=", since), ("<=", until)):
            if text is not None:
                at_ns = moment(text, lambda: reader.newest_ns(str(name)))
                wanted.append(f"time {sign} make_timestamp_ns({at_ns})")
        where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
        statement = f"SELECT * FROM {table}{where} ORDER BY time, journal, position"
        say(f"{write(connection, statement, out):,} rows in {out}")


def _plain(value: Any) -> Any:
    """As JSON has it: a moment is RFC 3339, everything that JSON has no word for its text."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime):
        return value.isoformat() + ("" if value.tzinfo else "Z")
    return value.isoformat() if isinstance(value, date | time) else str(value)
