"""`ingest`: recordings through all four stages."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from observer_core.cli.invocation import INTERRUPTED, Invocation
from observer_core.cli.opened import observing
from observer_core.cli.output import hint, json_line, progress, say

if TYPE_CHECKING:
    from observer_core.runtime.ingest import Ingested
    from observer_core.runtime.observer import Observer
    from observer_core.snapshot_engine.recorded.mapping import RecordingConfig

_STAGES = ("patterns", "events", "decisions")


def ingest(
    ctx: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="CSV, NDJSON (each also .gz) or Parquet.")
    ],
    source: Annotated[str, typer.Option(help="The name of what was recorded.")],
    time_column: Annotated[
        str, typer.Option("--time", metavar="COL", help="The column of times (ISO 8601 or epoch).")
    ],
    domain: Annotated[
        str | None, typer.Option(help="The time line it belongs to.", show_default="the source's name")
    ] = None,
    zone: Annotated[
        str | None, typer.Option(metavar="TZ", help="What times without a zone are in (UTC, Asia/Seoul).")
    ] = None,
    subject: Annotated[
        str | None, typer.Option(metavar="COL", help="The column that names each row's subject.")
    ] = None,
    subject_name: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="One subject for all rows.", show_default="the source's name"
        ),
    ] = None,
    fields: Annotated[
        str | None, typer.Option(metavar="A,B", help="The number columns to take.", show_default="all")
    ] = None,
    bar: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Rows are bars of this length (1m, 1d).")
    ] = None,
    stamp: Annotated[
        Literal["open", "close"], typer.Option(help="Which end of its bar a row's time is.")
    ] = "open",
    delimiter: Annotated[str, typer.Option(help="What separates the columns of a CSV file.")] = ",",
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", help="Snapshots a commit; the result does not depend on it.")
    ] = 500,
    durability: Annotated[
        Literal["full", "normal"] | None,
        typer.Option(
            help="full: a commit survives a power failure; normal: the newest may have to be redone."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one line of JSON.")] = False,
) -> None:
    """Take recordings through all four stages.

    Exactly once: a file that was ingested adds nothing, one that has grown adds its new
    rows, an interrupted ingestion goes on where it stopped.
    """
    from observer_core.runtime.ingest import ingest as run

    mapping = mapping_of(
        "ingest", time=time_column, zone=zone, subject=subject, subject_name=subject_name, bar=bar,
        stamp=stamp, fields=None if fields is None else [name.strip() for name in fields.split(",")],
        delimiter=delimiter,
    )  # fmt: skip
    settings = Invocation.of(ctx).settings(durability=durability)
    name = domain or source
    with observing(settings) as observer:
        before = _heads(observer, name)
        started = time.perf_counter()
        with progress(f"ingest {source}") as advance, _Interruptible(advance) as stop:
            try:
                done = run(
                    observer, files, source=source, domain=name, mapping=mapping, batch=batch,
                    progress=stop.advance,
                )  # fmt: skip
            except KeyboardInterrupt:
                done_so_far = f"{stop.done} of {stop.total or '?'} snapshots are done and committed"
                hint(f"observer: interrupted: {done_so_far}; the same command goes on from there")
                if not stop.between_commits:
                    raise
                raise typer.Exit(INTERRUPTED) from None
        seconds = time.perf_counter() - started
        counts = {stage: _counted(observer, stage, name, before) for stage in _STAGES}
    (_as_json if as_json else _tell)(source, name, done, seconds, counts)


class _Interruptible:
    """Ctrl-C lets the commit at hand finish; a second one, or one before the first commit, stops at once."""

    def __init__(self, advance: Callable[[int, int], None]) -> None:
        self._advance = advance
        self._asked = False
        self.between_commits = False
        self.done = self.total = 0

    def __enter__(self) -> _Interruptible:
        if threading.current_thread() is threading.main_thread():
            self._before = {
                number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)
            }
        else:
            self._before = {}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def advance(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self._advance(done, total)
        if self._asked:
            self.between_commits = True
            raise KeyboardInterrupt

    def _signalled(self, *_: object) -> None:
        if self._asked or not self.done:
            raise KeyboardInterrupt
        self._asked = True


def mapping_of(command: str, **values: Any) -> RecordingConfig:
    """What options of `command` say about a file; `ConfigError` names the option that cannot be used."""
    from pydantic import ValidationError

    from observer_core.shared.config import explain
    from observer_core.snapshot_engine.recorded.mapping import RecordingConfig

    try:
        return RecordingConfig.model_validate(values)
    except ValidationError as error:
        raise explain(error, f"options of {command}") from None


def _heads(observer: Observer, domain: str) -> Mapping[str, int]:
    journals = observer.journals
    return {name: journals.open(name).head().position for name in journals.names(domain=domain)}


def _counted(observer: Observer, stage: str, domain: str, before: Mapping[str, int]) -> Counter[str]:
    """The stage's new records by what they are; notes of the journal itself do not count."""
    return Counter(
        kind
        for name in observer.journals.names(stage, domain)
        for kind in _kinds(observer, name, before.get(name, 0) + 1)
    )


def _kinds(observer: Observer, name: str, first: int) -> Iterator[str]:
    from observer_core.event_bus.publisher import TYPE_PREFIX
    from observer_core.shared.records import Decision, Event, PatternRecord

    for entry in observer.journals.open(name).scan(first):
        match entry.record:
            case PatternRecord(pattern=kind) | Decision(verdict=kind):
                yield kind
            case Event(type=kind):
                yield kind.removeprefix(TYPE_PREFIX)


def _as_json(
    source: str, domain: str, done: Ingested, seconds: float, counts: Mapping[str, Counter[str]]
) -> None:
    json_line({
        "source": source, "domain": domain, "snapshots": done.snapshots, "rows": done.rows,
        "observations": done.observations, "already": done.already, "notes": list(done.notes),
        "seconds": round(seconds, 3), **{stage: dict(found) for stage, found in counts.items()},
    })  # fmt: skip


def _tell(
    source: str, domain: str, done: Ingested, seconds: float, counts: Mapping[str, Counter[str]]
) -> None:
    for note in done.notes:
        say(f"  note      {note}", "yellow")
    if not done.snapshots:
        say(f"nothing new: all {done.already} rows were in {source} already", "bold")
    else:
        already = f" ({done.already} rows were there already)" if done.already else ""
        say(f"{done.snapshots} snapshots of {source} with {done.observations} observations{already}", "bold")
    for stage, found in counts.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.most_common())
        say(f"  {stage:<9} {found.total()}{': ' + kinds if kinds else ''}")
    say(f"  took      {seconds:.2f} s, {done.observations / max(seconds, 1e-9):,.0f} observations a second")
    say("look next:")
    say(f"  observer incidents ls --domain {domain}")
    say(f"  observer decisions ls --domain {domain}     then  observer explain ID")
    say("  observer verify                        observer replay --verify")
