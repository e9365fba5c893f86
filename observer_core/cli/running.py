"""`run`: the standalone Observer; `push`: observations from standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.invocation import FINDING, START_ANEW, Invocation
from observer_core.cli.opened import observing
from observer_core.cli.output import hint, json_line, say
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings
    from observer_core.runtime.standalone import Standalone
    from observer_core.web.server import WebServer

_MOST_REJECTED = 20
_NDJSON = "application/x-ndjson"


def run(
    ctx: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="N", help="Where it answers; 0: any free port."),
    ] = None,
    console: Annotated[bool, typer.Option("--console/--no-console", help="Show what is going on.")] = True,
    safe_mode: Annotated[
        bool, typer.Option("--safe-mode", help="Observe and record, act on nothing.")
    ] = False,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="Stop after so long (30s, 1h).")
    ] = None,
) -> None:
    """Run the standalone Observer.

    Until SIGTERM or Ctrl-C, or for as long as --for says. It goes on exactly where it was.
    """
    from observer_core.shared.clock import SECOND, parse_duration

    seconds = None if duration is None else parse_duration(duration) / SECOND
    settings = Invocation.of(ctx).settings(
        web=None if port is None else {"port": port}, safety={"safe_mode": True} if safe_mode else None
    )
    from observer_core.runtime.standalone import run as stand_alone

    if not stand_alone(settings, _web, console=console, seconds=seconds):
        hint("observer: too much memory was in use for too long; start it anew, it goes on where it was")
        raise typer.Exit(START_ANEW)


def _web(running: Standalone) -> WebServer:
    from observer_core.web.app import create_app
    from observer_core.web.server import WebServer

    web = running.settings.web
    app = create_app(
        running.observer, health=running.health, metrics=running.metrics, gate=running.gate,
        push=running.pushed, asked=running.asked,
    )  # fmt: skip
    return WebServer(app, web.host, web.port, tokens=bool(web.token))


def push(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The source that the observations are of.")],
    domain: Annotated[
        str | None, typer.Option(help="The domain of a source that is not configured.", show_default="live")
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Commit each line as it comes, not all at the end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON a commit.")] = False,
) -> None:
    """Take observations from standard input.

    NDJSON, into a source; prints where they stand.

    A line is a row, {"subject": "BTC/USDT", "price": 1.5}, or columns, {"subjects": […],
    "fields": {…}}; with "time" or as of now. Lines that cannot be used are named on standard
    error and make the exit code 1; all others are taken. When none can be, it is 2.
    """
    from observer_core.snapshot_engine.sources.push import PushError, parse_push

    rejected: list[str] = []
    taken = 0
    settings = Invocation.of(ctx).settings()
    name = _domain(settings, source, domain)
    zone = next((item.zone for item in settings.source if item.name == source and item.kind == "push"), None)
    with observing(settings) as observer:
        for first, body in _numbered(_lines() if stream else _bodies()):
            now_ns = observer.clock.now_ns()
            try:
                snapshots, refused = parse_push(source, body, _NDJSON, now_ns, zone)
            except PushError as error:
                snapshots, refused = [], list(error.rejected)
            rejected += [f"row {first + row}: {why}" for row, why in refused]
            if not snapshots:
                continue
            observer.guards.require_space()
            head = observer.writer(source, name, "live", now_ns).write(snapshots)
            where = f"snapshots.{source}@{head.position}"
            if as_json:
                json_line({"ref": where, "position": head.position, "snapshots": len(snapshots)})
            else:
                say(f"{where}  {len(snapshots)} snapshots")
            taken += len(snapshots)
            sys.stdout.flush()
    if not taken and rejected:
        raise InputError("; ".join(rejected[:_MOST_REJECTED]))
    for why in rejected[:_MOST_REJECTED]:
        hint(f"observer: not taken: {why}")
    if rejected:
        hint(f"observer: {len(rejected)} lines were not taken, all others were")
        raise typer.Exit(FINDING)


def _numbered(bodies: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each body with the number of lines before it."""
    before = 0
    for body in bodies:
        yield before, body
        before += len(body.splitlines())


def _domain(settings: Settings, source: str, asked: str | None) -> str:
    from observer_core.runtime.source_kinds import LIVE, PushSourceConfig

    for item in settings.source:
        if item.name == source:
            if not isinstance(item, PushSourceConfig):
                raise InputError(
                    f"source {source!r} is configured as {item.kind}; push goes to a source of kind push, "
                    "or to one that is not configured"
                )
            if asked is not None and asked != item.domain:
                raise InputError(f"source {source!r} is configured in domain {item.domain!r}, not {asked!r}")
            return item.domain
    return asked or LIVE


def _lines() -> Iterator[bytes]:
    return iter(sys.stdin.buffer.readline, b"")


def _bodies() -> Iterator[bytes]:
    """Standard input in parts that can be taken at once, cut at the ends of lines."""
    from observer_core.snapshot_engine.sources.push import MAX_BODY_BYTES

    if sys.stdin.isatty():
        hint("observer: reading NDJSON from the terminal; end with Ctrl-D")
    part: list[bytes] = []
    length = 0
    empty = True
    for line in _lines():
        if part and length + len(line) > MAX_BODY_BYTES:
            yield b"".join(part)
            part, length = [], 0
        part.append(line)
        length += len(line)
        empty = empty and not line.strip()
    if empty:
        raise InputError("standard input holds no observation; expected one JSON object a line")
    yield b"".join(part)
