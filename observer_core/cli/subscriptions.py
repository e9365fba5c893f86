"""`subscriptions`: who is given what, how far they are, and giving it to them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.gate import Author, Reason
from observer_core.cli.invocation import Invocation
from observer_core.cli.moments import moment
from observer_core.cli.opened import Reader, observing, reading, takes_it
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.acts.ground import Asked, By, Ground
    from observer_core.runtime.acts.subscriptions import Action
    from observer_core.storage.journal import Journal

app = typer.Typer(help="What subscribers are given.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The subscription.")]
Domain = Annotated[str | None, typer.Option(help="The domain, if there are several.")]


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
        ("name", "domain", "stream", "state", "sink", "waiting", "attempts"),
        [
            (item["name"], item["domain"], item["stream"], item["state"], item["sink"],
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
    rate: Annotated[float, typer.Option(min=0.01, metavar="N", help="Records a second at most.")] = 20.0,
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
    from observer_core.runtime.deliveries import sender

    with observing(Invocation.of(ctx).settings()) as observer:
        it = sender(observer, name, chosen)
        try:
            count = it.replay(start, end, rate=rate)
        finally:
            it.close()
    say(f"{count} records of {stream.name}@{start} to {end} were sent again to {name}")
    say(f"what became of each is in results.{chosen}-{name}")


@app.command()
def add(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML with one [[subscription]] table.")],
    author: Author,
    reason: Reason,
    domain: Domain = None,
) -> None:
    """Add a subscription while everything runs.

    Those in the configuration are changed there. A record may hold no secret: sinks that need one
    belong into the configuration.
    """
    from pydantic import ValidationError

    from observer_core.event_bus.subscriptions import SubscriptionConfig
    from observer_core.runtime.acts import subscriptions as acts
    from observer_core.runtime.settings import read_toml
    from observer_core.shared.config import explain

    tables = read_toml(file).get("subscription")
    if not isinstance(tables, list) or len(tables) != 1:
        raise InputError(f"{file}: expected one [[subscription]] table")
    try:
        config = SubscriptionConfig.model_validate(tables[0])
    except ValidationError as error:
        raise explain(error, str(file)) from None
    chosen = domain or config.domains[0]
    _ask(ctx, author, reason, lambda ground, by: acts.add(ground, config, chosen, by))


@app.command()
def pause(ctx: typer.Context, name: Name, author: Author, reason: Reason, domain: Domain = None) -> None:
    """Send nothing for now; what comes meanwhile waits."""
    _act(ctx, name, "pause", author, reason, domain)


@app.command()
def resume(ctx: typer.Context, name: Name, author: Author, reason: Reason, domain: Domain = None) -> None:
    """Send again, first what has waited."""
    _act(ctx, name, "resume", author, reason, domain)


@app.command()
def remove(ctx: typer.Context, name: Name, author: Author, reason: Reason, domain: Domain = None) -> None:
    """Send nothing any more; one of the configuration comes back when it is removed there and added anew."""
    _act(ctx, name, "remove", author, reason, domain)


def _act(ctx: typer.Context, name: str, action: Action, author: str, reason: str, domain: str | None) -> None:
    from observer_core.runtime.acts import subscriptions as acts

    _ask(ctx, author, reason, lambda ground, by: acts.act(ground, name, action, domain, by))


def _ask(ctx: typer.Context, author: str, reason: str, act: Callable[[Ground, By], Asked]) -> None:
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts.ground import By

    with reading(ctx) as reader:
        asked = act(reader.ground, By(author, reason, os_user()))
        told = takes_it(reader, asked.domain)
    say(f"{asked.ref}  {asked.text}")
    say(told)


def _listed(reader: Reader) -> list[dict[str, Any]]:
    from observer_core.runtime.deliveries import progress, subscriptions
    from observer_core.runtime.masking import masked_sink

    return [
        {"name": name, "domain": domain, "stream": f"{config.stream}.{domain}",
         "sink": masked_sink(config.sink), **asdict(progress(reader.journals, domain, config))}
        for domain in reader.domains()
        for name, config in subscriptions(reader.journals, reader.settings, domain).items()
    ]  # fmt: skip


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
