"""`ledger`: anchors over all journals, what they say of the store now, and exports for an auditor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING
from observer_core.cli.moments import moment, when
from observer_core.cli.opened import Reader, reading
from observer_core.cli.output import hint, json_line, progress, raw_line, say, size
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.audit.ledger import Compared
    from observer_core.storage.ledger import Anchor

app = typer.Typer(help="Anchors over all journals, and exports for an auditor.", no_args_is_help=True)


@app.command()
def verify(
    ctx: typer.Context,
    anchors: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Anchors kept outside (NDJSON); also those of [ledger]'s place."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One journal a line.")] = False,
) -> None:
    """Check every journal's chain, and all of them against the anchors.

    Against those of the ledger itself, and against those that were kept outside: only these show
    that a whole journal was written anew. Exit code 1 at a fault, with the journal and from where on.
    """
    from observer_core.runtime.audit.ledger import inside, place_of
    from observer_core.runtime.audit.ledger import verify as compare
    from observer_core.storage.ledger import LEDGER, read_anchors

    with reading(ctx) as reader, progress("ledger") as advance:
        own, faults = inside(reader.journals)
        found: dict[str, list[Anchor]] = {LEDGER: own}
        outside: list[str] = []
        for path in anchors or ():
            found[str(path)], wrong = read_anchors(_lines(path), str(path))
            outside.append(str(path))
            faults += wrong
        place = place_of(reader.settings)
        if place is not None:
            try:
                lines = place.read()
                if lines is not None:
                    found[repr(place)], wrong = read_anchors(lines, repr(place))
                    outside.append(repr(place))
                    faults += wrong
            finally:
                place.close()
        results = []
        for result in compare(reader.journals, found):
            results.append(result)
            advance(len(results), len(results) + 1)
    counts = {where: len(items) for where, items in found.items()}
    if as_json:
        for result in results:
            json_line(_plain(result))
        json_line({"anchors": counts, "outside": outside, "faults": faults})
    else:
        _tell(results, counts, outside, faults)
    if faults or not all(result.sound for result in results):
        raise typer.Exit(FINDING)


@app.command()
def anchor(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="The anchor as one line of JSON, exactly the stored bytes.")
    ] = False,
) -> None:
    """Record where all journals stand, and send it to [ledger]'s place.

    The line of --json may be kept anywhere else; `ledger verify --anchors` takes it.
    """
    from observer_core.runtime.audit.ledger import Ledger, place_of
    from observer_core.shared.clock import SystemClock

    with reading(ctx) as reader:
        place = place_of(reader.settings)
        try:
            ledger = Ledger(reader.journals, SystemClock(), place)
            made = ledger.anchor()
            sent = ledger.send()
        finally:
            if place is not None:
                place.close()
    if as_json:
        raw_line(made.line)
    else:
        say(f"{ledger.journal.name}@{made.position}  {len(made.heads)} journals  root {made.root}")
    if place is None:
        hint("[ledger] names no place outside the store: keep the line of --json elsewhere yourself")
    elif not as_json:
        say(f"sent {sent} to {place!r}")


@app.command()
def export(
    ctx: typer.Context,
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="A folder, or a .tar, .tar.gz or .tgz file; not there yet.")
    ],
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on: RFC 3339, or 30d before the newest."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Up to this time, given as for --since.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The summary as one line of JSON.")] = False,
) -> None:
    """Write journals for an auditor, with instructions that need only sha256sum.

    Records exactly as they are stored, the chain after each, what each decision follows from, and
    the anchors. What a decision of the range follows from is in it, where that is older, too.
    """
    from observer_core.runtime.audit.export import export as write

    with reading(ctx) as reader:
        if domain is not None:
            reader.domains(domain)
        since_ns, until_ns = (_moment(reader, domain, text) for text in (since, until))
        if since_ns is not None and until_ns is not None and since_ns > until_ns:
            raise InputError(f"--since {when(since_ns)} is after --until {when(until_ns)}")
        done = write(reader.journals, out, domain=domain, since_ns=since_ns, until_ns=until_ns)
    if as_json:
        json_line({"path": str(done.path), "journals": done.journals, "records": done.records,
                   "bytes": done.size, "manifest": done.manifest})  # fmt: skip
        return
    say(f"wrote {done.records} records of {done.journals} journals ({size(done.size)}) to {done.path}")
    say(f"sha256 of MANIFEST.sha256: {done.manifest}")
    say("Tell the auditor that sum by another way; INSTRUCTIONS.txt says how to check everything.")


def _moment(reader: Reader, domain: str | None, text: str | None) -> int | None:
    if text is None:
        return None
    names = reader.domains(domain)
    return moment(text, lambda: max((reader.newest_ns(name) for name in names), default=0))


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"anchors {path} cannot be read: {error.strerror}") from None


def _plain(found: Compared) -> dict[str, Any]:
    fault, wrong = found.verified.fault, found.disagreement
    return {
        "journal": found.journal, "records": found.verified.records, "head": found.verified.head.hex(),
        "agreed": found.agreed, "before_what_is_kept": found.before,
        "fault": None if fault is None else {
            "position": fault.position, "fault": fault.fault, "detail": fault.detail},
        "disagreement": None if wrong is None else {
            "fault": wrong.fault, "after": wrong.after, "position": wrong.position, "anchor": wrong.where,
            "anchored_ns": wrong.time_ns, "detail": wrong.detail},
    }  # fmt: skip


def _tell(
    results: list[Compared], counts: dict[str, int], outside: list[str], faults: list[str]
) -> None:  # fmt: skip
    for result in results:
        fault, wrong = result.verified.fault, result.disagreement
        if result.sound:
            removed = f"  ({result.before} before what is kept)" if result.before else ""
            stood = f"{result.verified.records:>10} records  {result.agreed:>6} anchored{removed}"
            say(f"✓ {result.journal:<28} {stood}")
        if fault is not None:
            say(
                f"✗ {result.journal:<28} broken at position {fault.position} ({fault.fault}): {fault.detail}",
                "bold red",
            )
        if wrong is not None:
            say(
                f"✗ {result.journal:<28} {wrong.fault} after position {wrong.after}: {wrong.detail} "
                f"(anchor of {when(wrong.time_ns)} in {wrong.where})",
                "bold red",
            )
    for text in faults:
        say(f"✗ {text}", "bold red")
    for where, count in counts.items():
        say(f"{count} anchors in {where}{'' if where in outside else ', which is part of the store'}")
    if not outside:
        hint(
            "no anchor from outside the store was compared, so a store written anew as a whole would not "
            "show: give --anchors FILE, or configure [ledger]"
        )
