"""`verify`, `digest`, `replay --verify`: is everything what was committed, and does it follow?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING
from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, progress, say, size
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.audit.replay import Replayed
    from observer_core.storage.verify import Verified

Json = Annotated[bool, typer.Option("--json", help="One journal a line.")]


def verify(
    ctx: typer.Context,
    journals: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOURNAL]...", help="For example decisions.live. Default: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check that the stored bytes are those committed.

    Exit code 1 at a fault, with the first broken position and what is wrong with it: gap
    (positions or bytes are missing), predecessor (a commit does not follow the one
    before it) or hash (the bytes are not those that were committed).
    """
    from observer_core.storage.verify import verify as check

    results: list[Verified] = []
    with reading(ctx) as reader, progress("verify") as advance:
        names = reader.named(journals)
        for name in names:
            results.append(check(reader.journals.open(name)))
            advance(len(results), len(names))
    for found in results:
        _tell_verified(found, as_json)
    if any(found.fault for found in results):
        raise typer.Exit(FINDING)


def _tell_verified(found: Verified, as_json: bool) -> None:
    fault = found.fault
    if as_json:
        broken = {"position": fault.position, "fault": fault.fault, "detail": fault.detail} if fault else None
        json_line({"journal": found.journal, "records": found.records, "bytes": found.size,
                   "head": found.head.hex(), "removed": found.base, "fault": broken})  # fmt: skip
    elif fault is None:
        stored = f"{found.records:>10} records  {size(found.size):>10}"
        say(f"✓ {found.journal:<28} {stored}  {found.head.hex()[:16]}{_removed(found.base)}")
    else:
        say(
            f"✗ {found.journal:<28} broken at position {fault.position} ({fault.fault}): {fault.detail}",
            "bold red",
        )


def _removed(base: int) -> str:
    return f"  (records 1 to {base} were removed by retention)" if base else ""


def digest(ctx: typer.Context, as_json: Json = False) -> None:
    """Print every journal's head, and one hash over all."""
    from observer_core.runtime.audit.replay import digest_of

    with reading(ctx) as reader:
        names = reader.journals.names()
        heads = [(name, reader.journals.open(name).head()) for name in names]
        total = digest_of(reader.journals)
    if as_json:
        for name, head in heads:
            json_line(
                {"journal": name, "position": head.position, "hash": head.hash.hex(), "epoch": head.epoch}
            )
        json_line({"total": total})
        return
    for name, head in heads:
        say(f"{head.hash.hex()}  {head.position:>10}  {name}")
    say(f"{total}  {'total':>10}")


def replay(
    ctx: typer.Context,
    check: Annotated[
        bool, typer.Option("--verify", help="Compare what is computed with what is stored.")
    ] = False,
    domain: Annotated[str | None, typer.Option(help="Only this domain.")] = None,
    as_json: Json = False,
) -> None:
    """Compute all again, and compare.

    Derived series, patterns, events and decisions, from what the stages were given. Writes nothing. Exit
    code 1 when a record differs from the stored one.
    """
    if not check:
        raise InputError("replay computes again and compares: say `observer replay --verify`")
    import observer_core
    from observer_core.runtime.audit.replay import computed
    from observer_core.runtime.audit.replay import replay as compute

    results: list[tuple[Replayed, float]] = []
    with reading(ctx) as reader, progress("replay") as advance:
        chosen = reader.domains(domain)
        names = [name for found in chosen for name in computed(reader.journals, found)]
        for name in names:
            began = time.perf_counter()
            found = compute(reader.journals, name, observer_core.__version__)
            results.append((found, time.perf_counter() - began))
            advance(len(results), len(names))
    for found, seconds in results:
        _tell_replayed(found, seconds, as_json)
    _tell_total([found for found, _ in results], sum(seconds for _, seconds in results), as_json)
    if not all(found.equal for found, _ in results):
        raise typer.Exit(FINDING)


def _tell_replayed(found: Replayed, seconds: float, as_json: bool) -> None:
    if as_json:
        json_line({
            "journal": found.journal, "equal": found.equal, "records": found.records,
            "external": found.external, "entries": found.entries, "observations": found.observations,
            "stored": found.stored.hex(), "computed": found.computed.hex(), "problem": found.problem,
            "needs_version": found.needs_version, "removed": found.base, "not_computed_to": found.since,
            "seconds": round(seconds, 3),
        })  # fmt: skip
        return
    speed = _speed(found.observations, found.entries, seconds)
    if found.equal:
        say(f"✓ {found.journal:<28} {found.records:>8} records from {found.entries} entries{speed}  "
            f"{found.stored.hex()[:16]}")  # fmt: skip
    else:
        problem = found.problem or f"stored {found.stored.hex()[:16]}, computed {found.computed.hex()[:16]}"
        say(f"✗ {found.journal:<28} different: {problem}", "bold red")
    if found.since:
        say(
            f"  records up to {found.since} were not computed again: retention has removed what they follow "
            f"from{_removed(found.base)}; their chain is whole"
        )  # fmt: skip
    if found.needs_version is not None:
        say(f"  part of it was written by version {found.needs_version}: replay that part with it", "yellow")


def _tell_total(results: list[Replayed], seconds: float, as_json: bool) -> None:
    total: dict[str, Any] = {
        "journals": len(results), "equal": sum(found.equal for found in results),
        "entries": sum(found.entries for found in results),
        "observations": sum(found.observations for found in results), "seconds": round(seconds, 3),
    }  # fmt: skip
    if as_json:
        json_line({"total": total})
        return
    speed = _speed(total["observations"], total["entries"], seconds)
    say(f"{total['equal']} of {total['journals']} journals are equal to their own computation{speed}")


def _speed(observations: int, entries: int, seconds: float) -> str:
    count, what = (observations, "observations") if observations else (entries, "entries")
    return f", {count / max(seconds, 1e-9):,.0f} {what} a second" if count else ""
