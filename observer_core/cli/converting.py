"""`convert`: what a venue sent, as it was captured, into rows for `ingest`."""

from __future__ import annotations

import gzip
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal

import typer

from observer_core.cli.output import hint
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.snapshot_engine.recorded.captures import Captures


def convert(
    captures: Annotated[
        list[Path],
        typer.Argument(metavar="CAPTURE...", help="What cryptofeed recorded (also .gz); merged by time."),
    ],
    venue: Annotated[Literal["binance", "kraken", "upbit"], typer.Option(help="The venue that sent it.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where rows go; .gz: packed. Replaced once all is converted.",
            show_default="standard output",
        ),
    ] = None,
) -> None:
    """Make NDJSON rows of captured exchange messages.

    A row stands at the moment of receipt, with exactly the digits that came. What makes
    no row is counted; a line that cannot be understood ends the conversion.
    """
    from observer_core.snapshot_engine.recorded.captures import Captures

    if out is not None:
        _check_target(out, captures)
    found = Captures([str(path) for path in captures], venue)
    count, subjects = 0, set()
    with _standard_output() if out is None else _replacing(out) as file:
        for row in found:
            file.write(row.encode() + b"\n")
            count += 1
            subjects.add(row.subject)
    _tell(found, venue, count, len(subjects), out)


def _check_target(out: Path, captures: Sequence[Path]) -> None:
    if out.exists() and not out.is_file():
        raise InputError(f"--out {out}: is no regular file; name one, or a file that does not exist yet")
    if out.exists() and any(path.exists() and path.samefile(out) for path in captures):
        raise InputError(f"--out {out}: is one of the captures, which are not overwritten; name another file")


@contextmanager
def _standard_output() -> Iterator[IO[bytes]]:
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


@contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """What is written becomes `target` at the end, whole; nothing is left of it after a failure."""
    target = target.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as raw:
            if target.name.lower().endswith(".gz"):
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _tell(found: Captures, venue: str, count: int, subjects: int, out: Path | None) -> None:
    for note in found.notes:
        hint(f"  note      {note}")
    hint(f"{count} rows of {subjects} subjects of {venue}")
    skipped = ", ".join(f"{number} {kind}" for kind, number in found.skipped.most_common())
    hint(f"  skipped   {found.skipped.total()}{': ' + skipped if skipped else ''}")
    if found.moved:
        hint(f"  moved     {found.moved}, by nanoseconds: their subject had a row at that time already")
    if count:
        hint("look next:")
        file = "FILE" if out is None else shlex.quote(str(out))
        hint(f"  observer ingest {file} --source {venue} --time time --subject subject")
