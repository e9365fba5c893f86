"""`incidents end`: for an incident that no recovery will ever end."""

from __future__ import annotations

from typing import Annotated

import typer

from observer_core.cli.gate import Author, Reason
from observer_core.cli.opened import reading, takes_it
from observer_core.cli.output import say


def end(
    ctx: typer.Context,
    incident: Annotated[
        str, typer.Argument(metavar="ID", help="Which incident: the first characters will do.")
    ],
    author: Author,
    reason: Reason,
    domain: Annotated[
        str | None, typer.Option(help="The domain to look in.", show_default="all of them")
    ] = None,
) -> None:
    """End an incident that will not end by itself: what held it may never recover.

    It opens nothing: blocks that wait for the incident stay until `gate release`.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts import incidents
    from observer_core.runtime.acts.ground import By

    with reading(ctx) as reader:
        asked = incidents.end(reader.ground, incident, domain, By(author, reason, os_user()))
        told = takes_it(reader, asked.domain)
    say(f"{asked.ref}  {asked.text}")
    say(told)
