"""What is printed: whole lines to a pipe, tables and colours to a terminal, exact bytes as JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

STYLES = {
    "critical": "bold red", "warning": "yellow", "elevated": "yellow", "open": "yellow", "stale": "yellow",
    "unavailable": "bold red", "block": "bold red", "release": "green", "deny": "bold red",
    "allow": "bold green",
}  # fmt: skip
"""How a cell with exactly this text looks on a terminal."""

_WIDE = 100_000
Advance = Callable[[int, int], None]


def raw_line(data: bytes) -> None:
    """Stored bytes and a newline, exactly."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data + b"\n")


def json_line(value: Any) -> None:
    """`value` as one line of canonical JSON."""
    from observer_core.shared.canonical import encode

    raw_line(encode(value))


def say(text: str = "", style: str | None = None) -> None:
    """A line on standard output."""
    if style is not None and sys.stdout.isatty():
        console().print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    else:
        print(text)


def hint(text: str) -> None:
    """A line for the person, on standard error, so that it never mixes with results."""
    typer.echo(text, err=True)


def console() -> Console:
    """Standard output; into a pipe without colours and without a right margin."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDE, color_system=None)


def tree(root: Tree) -> None:
    console().print(root, highlight=False)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns under `headers`."""
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in [headers, *rows]) for i in range(len(headers))]
        for row in [headers, *rows]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, header_style="dim")
    for header in headers:
        shown.add_column(header, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    console().print(shown)


class Lines:
    """Record after record in columns of fixed widths, so that following looks like listing."""

    def __init__(self, columns: Sequence[tuple[str, int]]) -> None:
        self._columns = columns
        self._tty = sys.stdout.isatty()
        self._console = console() if self._tty else None
        self._headed = False

    def __call__(self, cells: Sequence[str]) -> None:
        if not self._headed and self._tty:
            self._print([name for name, _ in self._columns], "dim")
        self._headed = True
        self._print(cells)

    def _print(self, cells: Sequence[str], style: str = "") -> None:
        padded = [cell.ljust(width) for cell, (_, width) in zip(cells, self._columns, strict=True)]
        if self._console is None:
            print("  ".join(padded).rstrip())
            return
        from rich.text import Text

        line = Text("  ").join(
            Text(text, STYLES.get(cell, style)) for text, cell in zip(padded, cells, strict=True)
        )
        line.rstrip()
        self._console.print(line, soft_wrap=True, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[Advance]:
    """A bar on standard error while that is a terminal; `advance(done, total)` moves it.

    Nothing may be printed while it stands.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with shown as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def size(count: float) -> str:
    """Bytes for people: `1.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
