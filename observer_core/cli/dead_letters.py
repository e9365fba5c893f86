"""`dlq`: messages that no function could work, records that no subscriber took, and how they come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import when
from observer_core.cli.opened import observing, reading
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.automation.dead_letters import DeadLetters, Letter
    from observer_core.runtime.acts.ground import Asked, By

app = typer.Typer(help="What the Functions app, or a delivery, gave up on.", no_args_is_help=True)
Ids = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="Which letters: the first characters will do.")
]
Author = Annotated[str, typer.Option(help="Who does this; recorded.")]
Reason = Annotated[str, typer.Option(help="Why; recorded.")]
Every = Annotated[bool, typer.Option("--all", help="Every letter that waits.")]
_SHOWN = 60


@app.command()
def ls(
    ctx: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Also those that were redriven or dropped.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One letter a line.")] = False,
) -> None:
    """List the letters that wait for somebody, and what the poison queues still hold.

    Exit code 1 when there is any.
    """
    from observer_core.runtime.acts.letters import text_of

    with _opened(ctx) as (letters, waiting):
        found = [letter for letter in letters.letters() if every or letter.state == "buried"]
        queued = waiting()
    if as_json:
        for letter in found:
            json_line(_plain(letter))
    else:
        if found:
            table(
                ("id", "buried", "queue", "tried", "state", "message"),
                [
                    (letter.id[:12], when(letter.buried_ns), letter.queue, str(letter.dequeue_count),
                     letter.state, text_of(letter)[:_SHOWN])
                    for letter in found
                ],
            )  # fmt: skip
            say("when the cause is mended: observer dlq redrive ID --author YOU --reason WHY")
        for queue, count in queued.items():
            say(f"{queue}: {count} not buried yet; the app's poison function takes them when it runs")
        if not found and not queued:
            say("there are no dead letters")
    if queued or any(letter.state == "buried" for letter in found):
        raise typer.Exit(FINDING)


@app.command()
def show(
    ctx: typer.Context,
    identity: Annotated[
        str, typer.Argument(metavar="ID", help="Which letter: the first characters will do.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Show one letter whole."""
    with _opened(ctx) as (letters, _):
        values = _plain(letters.letter(identity))
    if as_json:
        json_line(values)
        return
    for name, value in values.items():
        if value is not None:
            say(f"{name:14} {when(value) if name.endswith('_ns') else value}")


@app.command()
def redrive(
    ctx: typer.Context, author: Author, reason: Reason, ids: Ids = None, every: Every = False
) -> None:
    """Send letters to their queues, or subscribers, again.

    A message says only where to look, so sending one too often repeats nothing; a subscriber knows a
    record by its id.
    """

    from observer_core.runtime.acts import letters as acts

    def resend(body: Mapping[str, Any]) -> None:
        with observing(Invocation.of(ctx).settings()) as observer:
            acts.resend(observer, body)

    _each(
        ctx, ids, every, author, reason, lambda letters, letter, by: acts.redrive(letters, letter, by, resend)
    )


@app.command()
def drop(ctx: typer.Context, author: Author, reason: Reason, ids: Ids = None, every: Every = False) -> None:
    """Record that letters need no answer any more. Nothing is deleted."""

    from observer_core.runtime.acts import letters as acts

    _each(ctx, ids, every, author, reason, acts.drop)


def _each(
    ctx: typer.Context, ids: list[str] | None, every: bool, author: str, reason: str,
    act: Callable[[DeadLetters, Letter, By], Asked],
) -> None:  # fmt: skip
    from observer_core.cli.principal import os_user
    from observer_core.runtime.acts.ground import By

    if bool(ids) == every:
        raise InputError("say which letters: their IDs, or --all for every one that waits")
    with _opened(ctx) as (letters, _):
        if every:
            chosen = [letter for letter in letters.letters() if letter.state == "buried"]
        else:
            chosen = [letters.letter(identity) for identity in ids or ()]
        for letter in chosen:
            say(f"{letter.id[:12]}  {act(letters, letter, By(author, reason, os_user())).text}")
    if not chosen:
        say("there are no dead letters")


@contextmanager
def _opened(ctx: typer.Context) -> Iterator[tuple[DeadLetters, Callable[[], dict[str, int]]]]:
    from observer_core.automation.dead_letters import DeadLetters
    from observer_core.runtime.handlers import STAGES
    from observer_core.shared.clock import SystemClock

    prefix = Invocation.of(ctx).settings().queue_prefix
    with reading(ctx) as reader:
        queues = reader.journals.storage.queues

        def waiting() -> dict[str, int]:
            names = [f"{prefix}-{stage}-poison" for stage in STAGES]
            return {name: count for name in names if (count := queues.length(name))}

        yield DeadLetters(reader.journals, queues, SystemClock()), waiting


def _plain(letter: Letter) -> dict[str, Any]:
    from observer_core.runtime.acts.letters import text_of

    return {**asdict(letter), "body": text_of(letter)}
