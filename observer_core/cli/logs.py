"""`logs`: the end of a log file, and what went wrong lately."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.output import STYLES, json_line, say
from observer_core.shared.errors import InputError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
_FOLLOW_SECONDS = 0.2
_STYLES = {**STYLES, "error": "bold red", "debug": "dim"}


class File(StrEnum):
    """What `--file` may say."""

    OBSERVER = "observer"
    SNAPSHOT = "snapshot"
    PATTERN = "pattern"
    DECISION = "decision"


class Level(StrEnum):
    """What `--level` may say."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@app.callback()
def _group() -> None:
    """Read the log files."""


@app.command()
def tail(
    ctx: typer.Context,
    file: Annotated[File, typer.Option(help="Which log.")] = File.OBSERVER,
    level: Annotated[
        Level | None, typer.Option(help="This one or graver; lines without a level are always shown.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many.")] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is written from now on, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a line.")] = False,
) -> None:
    """Show the end of a log file, newest last.

    Of all that was rotated away too, as far as that is needed. Secrets are masked.
    """
    from observer_core.runtime.reading import logs

    folder, show = _folder(ctx, file), json_line if as_json else _tell
    least: Any = None if level is None else level.value
    if lines:
        for line in logs.tail(folder, file.value, lines, least)["lines"]:
            show(line)
    if follow:
        try:
            for line in logs.follow(folder, file.value, _wait, least):
                show(line)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


@app.command()
def errors(
    ctx: typer.Context,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="From when on: a time, or so long ago (24h).")
    ] = "24h",
    level: Annotated[Level, typer.Option(help="This one or graver.")] = Level.ERROR,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON an event.")] = False,
) -> None:
    """Show what went wrong lately, by event.

    How often, when first and last, and the newest line of each. Exit code 1 when there is any.
    """
    from observer_core.runtime.reading import logs
    from observer_core.shared.clock import moment

    found = logs.errors(_folder(ctx, File.OBSERVER), moment(since, time.time_ns), level.value)
    for group in found:
        if as_json:
            json_line(group.to_json())
            continue
        times = f"{group.count}×, {group.first} to {group.last}" if group.count > 1 else group.last
        say(f"{group.level:<8}  {group.logger}: {group.event}  ({times})", _STYLES.get(group.level))
        more = _fields(group.newest)
        if more:
            say(f"          {more}")
    if found:
        raise typer.Exit(FINDING)
    if not as_json:
        say(f"nothing of level {level.value} or graver since {since}")


def _folder(ctx: typer.Context, file: File) -> Path:
    from observer_core.runtime.reading.logs import FILES

    folder = Invocation.of(ctx).settings().paths.logs
    if not (folder / FILES[file.value]).is_file():
        raise InputError(
            f"there is no {FILES[file.value]} in {folder}; `observer run` writes it (--log-dir names another "
            "folder). What the Functions app logs is in Application Insights"
        )
    return folder


def _wait() -> bool:
    import sys

    sys.stdout.flush()
    time.sleep(_FOLLOW_SECONDS)
    return True


def _tell(line: dict[str, Any]) -> None:
    level, more = line["level"] or "-", _fields(line)
    logger = line["fields"].get("logger", "-")
    text = f"{line['time'] or '-'}  {level:<8}  {logger}: {line['event']}{'  ' + more if more else ''}"
    say(text, _STYLES.get(level))
    if trace := line["fields"].get("exception"):
        say(str(trace))


def _fields(line: dict[str, Any]) -> str:
    from observer_core.shared.canonical import encode

    shown = {name: value for name, value in line["fields"].items() if name not in ("logger", "exception")}
    return " ".join(
        f"{name}={value if isinstance(value, str) and value.isprintable() else encode(value).decode()}"
        for name, value in shown.items()
    )
