"""`silences`: nothing that they take is told while they last; everything is recorded all the same."""

from __future__ import annotations

from typing import Annotated

import typer

from observer_core.cli.gate import Author, Domain, Reason
from observer_core.cli.moments import moment, when
from observer_core.cli.opened import reading, takes_it
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

app = typer.Typer(help="Keep subscribers from being told, for a while.", no_args_is_help=True)

Globs = list[str] | None


@app.command()
def ls(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One silence a line.")] = False,
) -> None:
    """List the silences that are not over."""
    from observer_core.runtime.acts.silences import spelled

    with reading(ctx) as reader:
        found = [
            {"domain": domain, **silence}
            for domain in reader.domains()
            for silence in reader.journals.open(f"routes.{domain}")
            .views()
            .get("silences", {})
            .get("silences", [])
        ]
    if as_json:
        for item in found:
            json_line(item)
        return
    if not found:
        say("no silence stands")
        return
    table(
        ("id", "domain", "from", "to", "what", "author", "reason"),
        [
            (item["id"], item["domain"], when(item["start_ns"]), when(item["end_ns"]),
             spelled(item["match"]), item["author"], item["reason"])
            for item in found
        ],
    )  # fmt: skip


@app.command()
def add(
    ctx: typer.Context,
    author: Author,
    reason: Reason,
    types: Annotated[Globs, typer.Option("--type", metavar="GLOB", help="Only such types (feed.*).")] = None,
    sources: Annotated[Globs, typer.Option("--source", metavar="GLOB", help="Only of such sources.")] = None,
    subjects: Annotated[Globs, typer.Option("--subject", metavar="GLOB", help="Only such subjects.")] = None,
    tags: Annotated[Globs, typer.Option("--tag", metavar="GLOB", help="Only with such a tag.")] = None,
    duration: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long, from its start.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="When it begins.", show_default="now")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="TIME", help="When it ends.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Silence a whole domain.")] = False,
    domain: Domain = None,
) -> None:
    """Tell nobody of what matches, for a while; what was kept from whom is recorded."""
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts import silences
    from observer_core.runtime.acts.ground import By
    from observer_core.shared.clock import parse_duration

    given = {"types": types, "sources": sources, "subjects": subjects, "tags": tags}
    match = {name: globs for name, globs in given.items() if globs}
    if not match and not everything:
        raise InputError("say what to silence (--type, --source, --subject, --tag), or --all of a domain")
    if (duration is None) == (to is None):
        raise InputError("say how long: --for DURATION or --to TIME")

    def span(now_ns: int) -> tuple[int, int]:
        start_ns = now_ns if start is None else moment(start, lambda: now_ns)
        end_ns = moment(to, lambda: now_ns) if to is not None else start_ns + parse_duration(str(duration))
        return start_ns, end_ns

    with reading(ctx) as reader:
        asked = silences.add(reader.ground, domain, match, span, By(author, reason, os_user()))
        told = takes_it(reader, asked.domain)
    say(f"{asked.ref}  {asked.text}")
    say(told)


@app.command()
def end(
    ctx: typer.Context,
    silence: Annotated[str, typer.Argument(metavar="ID", help="As `silences ls` shows it.")],
    author: Author,
    reason: Reason,
) -> None:
    """End a silence before its time."""
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts import silences
    from observer_core.runtime.acts.ground import By

    with reading(ctx) as reader:
        asked = silences.end(reader.ground, silence, By(author, reason, os_user()))
        told = takes_it(reader, asked.domain)
    say(f"{asked.ref}  {asked.text}")
    say(told)
