"""`maintain`: one round of maintenance by hand; `fsck`: does the storage hold what its rows say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.invocation import FINDING
from observer_core.cli.moments import when
from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say, size

if TYPE_CHECKING:
    from observer_core.maintenance.compaction import Packing


def maintain(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Pack what has closed, and remove what nothing needs any more.

    An Observer that runs does it every hour by itself; both may work at once. What can be read stays
    the same, but for what [retention] lets go once a day. Exit code 1 when a journal was left out,
    with the reason.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.maintaining import Maintenance
    from observer_core.runtime.retaining import Retention
    from observer_core.shared.clock import SystemClock

    with reading(ctx) as reader:
        retention = Retention(reader.journals, reader.settings, SystemClock())
        work = Maintenance(reader.journals, SystemClock(), reader.settings.maintenance, retention)
        packs = work.packs
        done = work.round(
            dry_run=dry_run, author=os_user(), tell=(lambda _: None) if as_json else _tell
        )  # fmt: skip
    if as_json:
        json_line(done.to_json())
    else:
        if not packs:
            say("nothing is packed: pyarrow is not installed (the extra parquet), or it is switched off")
        for swept in done.swept:
            say(
                f"{swept.journal}: removed {swept.segments} segments, {swept.rows} rows and "
                f"{swept.archives} files that nothing needs"
            )
        for what, found in (("older states", done.states), ("expired keys", done.keys)):
            for name, count in found.items():
                say(f"{name}: {count} {what}{' would go' if dry_run else ' removed'}")
        for cut in done.retained:
            say(f"{cut.journal}: records {cut.first:,} to {cut.last:,} removed by retention ({cut.rule})")
        for name, why in done.skipped.items():
            say(f"{name}: left out: {why}", "yellow")
        if not done.did_anything and not done.retained and not done.skipped:
            say("there is nothing to do")
    if done.skipped:
        raise typer.Exit(FINDING)


def _tell(packing: Packing) -> None:
    what = f"{packing.journal}: records {packing.first:,} to {packing.last:,} ({when(packing.last_ns)})"
    if not packing.stored:
        say(f"{what} would be packed: {size(packing.length)} of lines")
    else:
        joined = f", from {packing.merged} files" if packing.merged else ""
        say(f"{what}: {size(packing.length)} of lines, {size(packing.stored)} packed{joined}")


def fsck(
    ctx: typer.Context,
    mend: Annotated[
        bool, typer.Option("--mend", help="Remove what only takes room; nothing else is touched.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One finding a line.")] = False,
) -> None:
    """Find what is missing, short, wrongly counted or left over, and say how to mend it.

    Looks at names, sizes and counts; `verify` reads the bytes. Exit code 1 when something is left.
    """
    from dataclasses import asdict

    from observer_core.maintenance.fsck import check, remove

    left = count = 0
    with reading(ctx) as reader:
        for finding in check(reader.journals):
            count += 1
            mended = mend and finding.harmless
            if mended:
                remove(reader.journals, finding)
            left += not mended
            if as_json:
                json_line({**asdict(finding), "mended": mended})
            else:
                say(f"{finding.journal}: {finding.place}: {finding.detail}", "dim" if mended else "yellow")
                say(f"  {'removed' if mended else finding.remedy}")
        names = len(reader.journals.names())
    if not count and not as_json:
        say(f"{names} journals: everything is there, and nothing besides")
    if left:
        raise typer.Exit(FINDING)
