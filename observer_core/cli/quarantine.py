"""`quarantine ls` and `redrive`: what was set aside unread, and how it comes back."""

from __future__ import annotations

from typing import Annotated

import typer

from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say, table

app = typer.Typer(help="What stages could not work on.", no_args_is_help=True)


@app.command()
def ls(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One quarantined entry a line.")] = False,
) -> None:
    """List what is set aside, and how to redrive it."""
    from observer_core.runtime.acts.quarantine import listed

    with reading(ctx) as reader:
        found = list(listed(reader.journals))
    if as_json:
        for item in found:
            json_line(item)
        return
    if not found:
        say("nothing is quarantined")
        return
    table(
        ("stage's journal", "entry", "attempts", "closes", "error"),
        [
            (item["journal"], f"{item['input']}@{item['position']}", str(item["attempts"]),
             ", ".join(item["scopes"]), item["error"])
            for item in found
        ],
    )  # fmt: skip
    first = found[0]
    say(
        f"when the cause is mended: observer redrive {first['journal']} {first['input']} {first['position']} "
        "--author YOU --reason WHY"
    )


def redrive(
    ctx: typer.Context,
    stage_journal: Annotated[
        str, typer.Argument(metavar="STAGE_JOURNAL", help="For example patterns.binance.")
    ],
    input_journal: Annotated[
        str, typer.Argument(metavar="INPUT_JOURNAL", help="For example snapshots.binance.")
    ],
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="Where the entry stands.")],
    author: Annotated[str, typer.Option(help="Who does this; recorded.")],
    reason: Annotated[str, typer.Option(help="Why; recorded.")],
) -> None:
    """Give a quarantined entry to its stage again.

    At a new position; its quarantine ends.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts import quarantine
    from observer_core.runtime.acts.ground import By

    with reading(ctx) as reader:
        by = By(author, reason, os_user())
        asked = quarantine.redrive(reader.journals, stage_journal, input_journal, position, by)
    say(asked.text)
