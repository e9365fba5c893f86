"""`sources`: what is configured, one collection by hand, and an example of each kind."""

from __future__ import annotations

import math
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import span, when
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.shared.records import Snapshot
    from observer_core.snapshot_engine.normalise import NormaliserConfig
    from observer_core.snapshot_engine.source import Collected

app = typer.Typer(help="What is observed.", no_args_is_help=True)
_SHOWN = 20


class SourceKind(StrEnum):
    """The kinds that `add-example` knows."""

    SYSTEM = "system"
    HTTP = "http"
    PROMETHEUS = "prometheus"
    MARKET = "market"
    PUSH = "push"
    RECORDING = "recording"
    DERIVED = "derived"


@app.command()
def ls(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One source a line.")] = False
) -> None:
    """List the configured sources."""
    rows = [_source(item) for item in Invocation.of(ctx).settings().source]
    if as_json:
        for row in rows:
            json_line(row)
    elif rows:
        table(
            ("source", "kind", "domain", "every", "what"),
            [
                (row["name"], row["kind"], row["domain"], span(row["interval_ns"] or 0), row["what"])
                for row in rows
            ],
        )  # fmt: skip
    else:
        say("no source is configured; `observer sources add-example KIND` shows one")


@app.command("test")
def try_out(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A source that is asked at its own cadence.")],
    as_json: Annotated[bool, typer.Option("--json", help="The snapshot as one line of JSON.")] = False,
) -> None:
    """Make one real collection, and show what would be recorded.

    Normalised, with its quality flags and how long it took; nothing is stored. Exit code 1
    when the source is unavailable.
    """
    from observer_core.runtime.collecting import Bulkhead
    from observer_core.runtime.sources import live_sources
    from observer_core.shared.clock import SystemClock
    from observer_core.snapshot_engine.source import unavailable

    settings = Invocation.of(ctx).settings()
    found = live_sources(settings, only=name)
    if not found:
        asked = [item.name for item in settings.source if item.kind not in ("push", "recording", "derived")]
        known = ", ".join(sorted(asked)) or "none"
        raise InputError(f"there is no source {name!r} that is asked at its own cadence; there are: {known}")
    live, now_ns = found[0], SystemClock().now_ns()
    started = time.perf_counter()
    collected = Bulkhead(live).collect(now_ns)
    seconds = time.perf_counter() - started
    live.source.close()
    config = settings.normaliser(name)
    try:
        moments = _normalised(collected, config)
    except InputError as error:
        moments = [unavailable(name, now_ns, error)]
    if as_json:
        for snapshot in moments:
            say(snapshot.encode(0).decode())
    elif moments:
        _tell(moments[-1], seconds, config)
        if len(moments) > 1:
            say(f"and {len(moments) - 1} moments before it; --json shows all")
    else:
        say(f"it answered within {seconds * 1000:.1f} ms, and has nothing that is over")
    if moments and moments[-1].status == "unavailable":
        raise typer.Exit(FINDING)


def _normalised(collected: Collected, config: NormaliserConfig) -> list[Snapshot]:
    from observer_core.snapshot_engine.normalise import Normaliser
    from observer_core.snapshot_engine.source import History

    normaliser = Normaliser(config)
    state = normaliser.initial()
    moments = collected.snapshots if isinstance(collected, History) else (collected,)
    return [normaliser.apply(state, snapshot) for snapshot in moments]


@app.command("add-example")
def add_example(
    kind: Annotated[SourceKind, typer.Argument(metavar="KIND", help="Which kind of source.")],
) -> None:
    """Print a commented example of one kind, to be copied into config/observer.toml."""
    text = (Path(__file__).parent.parent / "runtime" / "sources.example.toml").read_text("utf-8")
    parts = text.split("\n\n")
    found = [part for part in parts if f'kind = "{kind.value}"' in part]
    say("\n\n".join(part.strip() for part in found))


def _source(item: Any) -> dict[str, Any]:
    interval = getattr(item, "interval", None)
    return {
        "name": item.name, "kind": item.kind, "domain": item.domain, "interval_ns": interval,
        "what": _what(item),
    }  # fmt: skip


def _what(item: Any) -> str:
    match item.kind:
        case "http":
            return _host(item.url)
        case "prometheus":
            return f"{_host(item.url)}: {', '.join(item.metrics)}"
        case "push":
            return f"POST /v1/snapshots/{item.name}"
        case "market":
            return f"{item.exchange}: {item.data} of {', '.join(item.symbols)}"
        case "derived":
            return ", ".join(f"{series.subject} {series.field}" for series in item.series)
        case "recording":
            return ", ".join(map(str, item.paths))
    return "this machine"


def _host(url: str) -> str:
    """Without the path, which often is a secret."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _tell(snapshot: Snapshot, seconds: float, config: NormaliserConfig) -> None:
    from observer_core.shared.records import ALL
    from observer_core.snapshot_engine.units import recorded

    say(f"status    {snapshot.status}" + (f": {snapshot.error}" if snapshot.error else ""))
    say(f"of        {when(snapshot.event_ns)}, known {when(snapshot.ingest_ns)}")
    say(f"took      {seconds * 1000:.1f} ms")
    say(f"holds     {len(snapshot.subjects)} subjects, {len(snapshot.fields)} fields")
    if flags := snapshot.quality.get(ALL):
        say(f"quality   {', '.join(flags)}", "yellow")
    if not snapshot.subjects:
        return
    rows = [
        (subject, *(_number(snapshot, name, place) for name in snapshot.fields),
         ", ".join(snapshot.quality.get(subject, ())) or "-")
        for place, subject in enumerate(snapshot.subjects[:_SHOWN])
    ]  # fmt: skip
    units = {name: f" [{recorded(unit)}]" for name, unit in config.units.items()}
    table(("subject", *(name + units.get(name, "") for name in snapshot.fields), "quality"), rows)
    if len(snapshot.subjects) > _SHOWN:
        say(f"… and {len(snapshot.subjects) - _SHOWN} more subjects; --json shows all")


def _number(snapshot: Snapshot, field: str, place: int) -> str:
    exact = snapshot.decimals.get(field, {}).get(snapshot.subjects[place])
    value = snapshot.fields[field][place]
    return exact or ("-" if math.isnan(value) else f"{value:g}")
