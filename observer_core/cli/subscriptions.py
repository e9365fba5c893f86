"""`subscriptions`: who is given what, how far they are, and giving it to them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import Invocation
from observer_core.cli.masking import masked_sink
from observer_core.cli.moments import moment
from observer_core.cli.opened import Reader, observing, reading
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.storage.journal import Journal

app = typer.Typer(help="What subscribers are given.", no_args_is_help=True)


@app.command()
def ls(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One subscription and domain a line.")] = False,
) -> None:
    """List subscriptions and how far each is."""
    with reading(ctx) as reader:
        found = _listed(reader)
    if as_json:
        for item in found:
            json_line(item)
        return
    if not found:
        say("no subscription is configured; add [[subscription]] to the configuration")
        return
    table(
        ("name", "domain", "stream", "sink", "delivered to", "waiting", "attempts"),
        [
            (item["name"], item["domain"], item["stream"], item["sink"],
             "-" if item["position"] is None else str(item["position"]),
             "-" if item["lag"] is None else str(item["lag"]), str(item["attempt"]))
            for item in found
        ],
    )  # fmt: skip


@app.command()
def replay(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The subscription.")],
    first: Annotated[
        int | None, typer.Option("--from", min=1, metavar="N", help="From this position on.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="From this time on: RFC 3339, or 2h before the newest.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="N|TIME", help="Up to this position or time.", show_default="the newest"),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="The domain, if there are several.")] = None,
) -> None:
    """Send what matches again.

    Marked as a replay; the subscriber's cursor does not move.
    """
    if (first is None) == (since is None):
        raise InputError("say where to begin: --from POSITION or --since TIME")
    with reading(ctx) as reader:
        chosen = reader.one_domain(domain, f"subscription {name} may be of any domain")
        stream = reader.journals.open(f"{_config(reader, name).stream}.{chosen}")
        start = first if first is not None else stream.position_at(_time(reader, chosen, str(since)) - 1) + 1
        end = _end(reader, chosen, stream, to)
    if end < start:
        raise InputError(f"there is nothing to send: {stream.name} has no positions {start} to {end}")
    from observer_core.runtime.deliveries import deliverer

    with observing(Invocation.of(ctx).settings()) as observer:
        sender = deliverer(observer, name, chosen)
        try:
            count = sender.replay(start, end)
        finally:
            sender.close()
    say(f"{count} records of {stream.name}@{start} to {end} were sent again to {name}")
    say(f"what became of each is in results.{chosen}-{name}")


def _listed(reader: Reader) -> list[dict[str, Any]]:
    found = []
    for config in reader.settings.subscription:
        for domain in reader.domains():
            if domain not in config.domains:
                continue
            stream = reader.journals.open(f"{config.stream}.{domain}")
            cursor = reader.journals.open(f"results.{domain}-{config.name}").checkpoint(stream.name)
            position = None if cursor is None else cursor["position"]
            found.append({
                "name": config.name, "domain": domain, "stream": stream.name,
                "sink": masked_sink(config.sink), "position": position,
                "lag": None if position is None else stream.head().position - position,
                "attempt": 0 if cursor is None else cursor["attempt"],
            })  # fmt: skip
    return found


def _config(reader: Reader, name: str) -> Any:
    for config in reader.settings.subscription:
        if config.name == name:
            return config
    known = ", ".join(item.name for item in reader.settings.subscription)
    raise InputError(f"there is no subscription {name!r}; configured are {known or 'none'}")


def _time(reader: Reader, domain: str, text: str) -> int:
    return moment(text, lambda: reader.newest_ns(domain))


def _end(reader: Reader, domain: str, stream: Journal, to: str | None) -> int:
    newest = stream.head().position
    if to is None:
        return newest
    if to.isdecimal() and len(to) < 9:
        return min(int(to), newest)
    return stream.position_at(_time(reader, domain, to))
