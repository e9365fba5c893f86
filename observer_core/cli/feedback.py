"""`feedback`: whether a pattern was right, as a record."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say


class Word(StrEnum):
    """What may be said of a pattern."""

    TRUE = "true"
    FALSE = "false"


def feedback(
    ctx: typer.Context,
    record: Annotated[
        str,
        typer.Argument(
            metavar="RECORD", help="patterns.SOURCE@N, or an event or decision that follows from it."
        ),
    ],
    word: Annotated[Word, typer.Argument(metavar="WORD", help="true or false: was it right?")],
    author: Annotated[str, typer.Option(metavar="WHO", help="Who says so.")],
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, in words.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Say whether a pattern was right.

    A record with its author; the newest word on a pattern counts. `observer report detectors`
    adds them up.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.audit.stored import by_id
    from observer_core.runtime.study.feedback import judged
    from observer_core.shared.clock import SystemClock
    from observer_core.shared.ids import ref

    right = word is Word.TRUE
    with reading(ctx) as reader:
        if "@" not in record:
            record = ref(*by_id(reader.journals, record, ("patterns", "events", "decisions")))
        patterns = judged(
            reader.journals, SystemClock(), record, right=right, author=author, note=note,
            principal=os_user(),
        ).patterns  # fmt: skip
    if as_json:
        json_line({"patterns": patterns, "right": right})
    else:
        for pattern in patterns:
            say(f"{pattern}  {'right' if right else 'wrong'}, says {author}")
