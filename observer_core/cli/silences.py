"""`silences`: nothing that they take is told while they last; everything is recorded all the same."""

from __future__ import annotations

from typing import Annotated, Any

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
             _spelled(item["match"]), item["author"], item["reason"])
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
    from pydantic import ValidationError

    from observer_core.event_bus.router import SilenceRequest
    from observer_core.runtime import operate
    from observer_core.shared.clock import parse_duration
    from observer_core.shared.config import explain

    given = {"types": types, "sources": sources, "subjects": subjects, "tags": tags}
    match = {name: globs for name, globs in given.items() if globs}
    if not match and not everything:
        raise InputError("say what to silence (--type, --source, --subject, --tag), or --all of a domain")
    if (duration is None) == (to is None):
        raise InputError("say how long: --for DURATION or --to TIME")
    with reading(ctx) as reader:
        name = reader.one_domain(domain, "a silence is of one domain")
        now_ns = max(reader.gate.now_ns(name), reader.newest_ns(name))
        start_ns = now_ns if start is None else moment(start, lambda: now_ns)
        end_ns = moment(to, lambda: now_ns) if to is not None else start_ns + parse_duration(str(duration))
        if end_ns <= now_ns:
            raise InputError(f"the silence would end at {when(end_ns)}, and it is {when(now_ns)} in {name}")
        asked = {"match": match, "author": author, "reason": reason, "start_ns": start_ns, "end_ns": end_ns}
        try:
            SilenceRequest.model_validate(asked)
        except ValidationError as error:
            raise explain(error, "silence") from None
        ref = operate.ask(reader.journals, name, "silence", {"action": "add", **asked}, now_ns)
        told = takes_it(reader, name)
    say(f"{ref}  silence in domain {name} from {when(start_ns)} to {when(end_ns)}: {_spelled(match)}")
    say(told)


@app.command()
def end(
    ctx: typer.Context,
    silence: Annotated[str, typer.Argument(metavar="ID", help="As `silences ls` shows it.")],
    author: Author,
    reason: Reason,
) -> None:
    """End a silence before its time."""
    from observer_core.runtime import operate

    name = silence.rpartition("@")[0].partition(".")[2]
    with reading(ctx) as reader:
        views = reader.journals.open(f"routes.{name}").views() if name in reader.domains() else {}
        known = {item["id"] for item in views.get("silences", {}).get("silences", [])}
        if silence not in known:
            raise InputError(f"there is no silence {silence!r}; `observer silences ls` lists them")
        now_ns = max(reader.gate.now_ns(name), reader.newest_ns(name))
        body = {"action": "end", "id": silence, "author": author, "reason": reason}
        ref = operate.ask(reader.journals, name, "silence", body, now_ns)
        told = takes_it(reader, name)
    say(f"{ref}  end of silence {silence}")
    say(told)


def _spelled(match: dict[str, Any]) -> str:
    """The filters that keep anything out."""
    kept = {name: globs for name, globs in match.items() if isinstance(globs, list) and globs != ["*"]}
    return "; ".join(f"{name} {', '.join(globs)}" for name, globs in sorted(kept.items())) or "everything"
