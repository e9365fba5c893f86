"""`reconcile`: fills against what the gate allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import moment, second
from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say, table
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.audit.reconcile import Reconciled

_SHOWN = 20


def reconcile(
    ctx: typer.Context,
    fills: Annotated[Path, typer.Argument(metavar="FILLS.csv", help="What was filled: a CSV with a header.")],
    domain: Annotated[str | None, typer.Option(help="The domain, if there are several.")] = None,
    window: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long after an allow, or a permit's end, a fill may come."),
    ] = "1m",
    identity: Annotated[
        str | None,
        typer.Option("--id", metavar="COL", help="The column of ids. Default: id, if there is one."),
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="COL", help="The column of times. Default: time.")
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(metavar="COL", help="The column of instruments. Default: instrument.")
    ] = None,
    side: Annotated[
        str | None, typer.Option(metavar="COL", help="The column of sides. Default: side, if there is one.")
    ] = None,
    quantity: Annotated[
        str | None,
        typer.Option(metavar="COL", help="The column of quantities. Default: quantity, if there is one."),
    ] = None,
    price: Annotated[
        str | None, typer.Option(metavar="COL", help="The column of prices. Default: price, if there is one.")
    ] = None,
    permit: Annotated[
        str | None,
        typer.Option(metavar="COL", help="The column of receipts. Default: permit, if there is one."),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="The column of the gate's records (gate.live@17). Default: answer, if there is one.",
        ),
    ] = None,
    zone: Annotated[str | None, typer.Option(metavar="TZ", help="What times without a zone are in.")] = None,
    delimiter: Annotated[str, typer.Option(metavar="TEXT", help="What separates the columns.")] = ",",
    keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--key", metavar="PUB", help="A public key to trust, instead of those of the configuration."
        ),
    ] = None,
    caller: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what the gate answered to this caller.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Count allows from this time on. Default: from before the first fill."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help="Count allows up to this time. Default: the last fill.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="The summary as a line of JSON, then one finding or unfilled allow a line."
        ),
    ] = False,
) -> None:
    """List fills without a permit or an allow, fills while blocked, and allows without fills.

    By its receipt, else by the gate's record that it names, else by the newest allow before it that
    fits. Exit code 1 when a fill is in question; an allow that was not filled is none.
    """
    from observer_core.runtime.audit.fills import read_fills
    from observer_core.runtime.audit.permits import trusted_keys
    from observer_core.runtime.audit.reconcile import reconcile as compare
    from observer_core.shared.clock import parse_duration

    if len(delimiter) != 1:
        raise InputError(f"--delimiter is {delimiter!r}; one character was expected")
    given = {"id": identity, "time": time, "instrument": instrument, "side": side, "quantity": quantity,
             "price": price, "permit": permit, "answer": answer}  # fmt: skip
    columns = {name: column for name, column in given.items() if column is not None}
    window_ns = parse_duration(window)
    rows = read_fills(fills, columns, zone=zone, delimiter=delimiter)
    trusted = {}
    if any(row.permit for row in rows):
        trusted = trusted_keys(Invocation.of(ctx).settings(), keys or ())
        if not trusted:
            raise InputError(
                f"{fills} has receipts, and no key is trusted: give --key PUB, or configure [permits]"
            )
    with reading(ctx) as reader:
        name = reader.one_domain(domain, "there may be several domains that fills are of")

        def at(text: str | None) -> int | None:
            return None if text is None else moment(text, lambda: reader.newest_ns(name))

        done = compare(
            reader.journals, name, rows, window_ns=window_ns, keys=trusted, since_ns=at(since),
            until_ns=at(until), caller=caller,
        )  # fmt: skip
    _print(done) if as_json else _tell(done)
    if done.findings:
        raise typer.Exit(FINDING)


def _print(done: Reconciled) -> None:
    json_line(done.summary())
    for found in done.findings:
        json_line(found.to_json())
    for allow in done.unfilled:
        json_line({"code": "unfilled", "answer": allow.ref, "caller": allow.record.caller,
                   "instrument": allow.record.resource, "action": allow.record.action,
                   "time_ns": allow.record.time_ns})  # fmt: skip


def _tell(done: Reconciled) -> None:
    say(
        f"{done.fills} fills: {done.by_permit} by permit, {done.by_answer} by the answer they name, "
        f"{done.by_match} by a recorded allow, {done.uncovered} without; {done.while_blocked} while blocked"
    )
    say(
        f"{done.allows} allows: {done.filled} filled, {len(done.unfilled)} without a fill, "
        f"{done.open} too young to say"
    )
    if done.findings:
        rows: list[Any] = [
            (second(found.fill.time_ns), found.fill.id, found.fill.instrument, found.code, found.text)
            for found in done.findings
        ]
        table(("time", "fill", "instrument", "finding", "why"), rows)
    for allow in done.unfilled[:_SHOWN]:
        record = allow.record
        say(f"no fill for {allow.ref}: {record.caller} {record.action} {record.resource} "
            f"{second(record.time_ns)}")  # fmt: skip
    if len(done.unfilled) > _SHOWN:
        say(f"and {len(done.unfilled) - _SHOWN} more allows without a fill; --json lists all")
