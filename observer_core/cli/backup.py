"""`backup`: copies of the whole store in another place; made, listed, checked, brought back, thinned out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import moment, when
from observer_core.cli.opened import reading
from observer_core.cli.output import hint, json_line, progress, say, size, table
from observer_core.shared.errors import InputError, ObserverError

if TYPE_CHECKING:
    from observer_core.backup.vault import Vault
    from observer_core.backup.verifying import Checked, Finding
    from observer_core.runtime.backups import Backups
    from observer_core.storage.ports import Storage

app = typer.Typer(help="Copies of the whole store in another place.", no_args_is_help=True)

From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="PLACE",
        help="A folder, a .tar file, or azure:CONNECTION/CONTAINER. Default: [backup] to.",
    ),
]  # fmt: skip
Key = Annotated[
    Path | None,
    typer.Option("--identity", metavar="FILE", help="The age identity, where backups are encrypted."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, a value a line.")]


@app.command()
def create(
    ctx: typer.Context,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="A folder, a new .tar file, or azure:CONNECTION/CONTAINER. Default: [backup] to.",
        ),
    ] = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Go on where another store's backups are: it is gone for good.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a backup now.

    An Observer may run meanwhile. What the backup before it has is not copied again; a .tar file holds all
    of it. Exit code 1 when a journal is broken: it is copied as far as it is sound.
    """
    from observer_core.backup.place import NewTar
    from observer_core.cli.principal import os_user
    from observer_core.runtime.backups import place_of

    began = time.perf_counter()
    with _backups(ctx) as (backups, _):
        settings = Invocation.of(ctx).settings()
        place = NewTar(Path(to)) if to is not None and to.endswith(".tar") else place_of(settings, to)
        try:
            made = backups.create(place, author=os_user(), adopt=adopt)
        finally:
            place.close()
    manifest, seconds = made.manifest, time.perf_counter() - began
    if as_json:
        json_line({"number": manifest.number, "time_ns": manifest.time_ns, "digest": made.digest,
                   "journals": made.journals, "records": manifest.records, "written": manifest.written,
                   "objects": manifest.objects, "place": repr(place), "faults": dict(made.faults),
                   "seconds": round(seconds, 3)})  # fmt: skip
    else:
        say(f"backup {manifest.number} of {manifest.records:,} records in {made.journals} journals: "
            f"{size(manifest.written)} written to {place!r} in {seconds:.1f} s")  # fmt: skip
        say(f"digest {made.digest}")
        for fault in made.faults.values():
            say(f"✗ {fault}", "bold red")
    if made.faults:
        hint("it was copied as far as it is sound; `observer verify` and `observer fsck` say more")
        raise typer.Exit(FINDING)


@app.command()
def ls(ctx: typer.Context, place: From = None, as_json: Json = False) -> None:
    """List the backups that there are."""
    from observer_core.backup.objects import Damaged

    with _vault(ctx, place, None) as (vault, _):
        verified = vault.catalogue.verified()
        rows: list[list[str]] = []
        for number in vault.catalogue.names():
            try:
                it = vault.catalogue.read(number)
            except Damaged as error:
                rows.append([str(number), "-", "-", "-", "-", "-", f"damaged: {error.detail}"])
                if as_json:
                    json_line({"number": number, "damaged": error.detail})
                continue
            if as_json:
                json_line({"number": number, "time_ns": it.time_ns, "records": it.records,
                           "written": it.written, "objects": it.objects, "store": it.store,
                           "version": it.build.version, "encrypted": it.seal is not None,
                           "verified_ns": verified.get(number), "file": it.file})  # fmt: skip
            sealed, whole = "yes" if it.seal else "no", when(verified.get(number))
            rows.append([str(number), when(it.time_ns), f"{it.records:,}", size(it.written),
                         sealed, it.build.version, whole])  # fmt: skip
    if not as_json:
        table(["number", "made", "records", "written", "encrypted", "version", "found whole"], rows)


@app.command()
def verify(
    ctx: typer.Context,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[NUMBER]...", help="Default: the newest.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every backup that there is.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Also compare with the store as it is now.")] = False,
    place: From = None,
    identity: Key = None,
    as_json: Json = False,
) -> None:
    """Read backups back, and compute every chain again from them alone.

    An encrypted one without its identity is checked as far as that goes, which is said. What is damaged is
    put again by the next `create`. Exit code 1 at a fault.
    """
    from observer_core.runtime.backups import check
    from observer_core.shared.clock import SystemClock

    with _vault(ctx, place, identity) as (vault, backups), progress("verify") as advance:
        names = list(vault.catalogue.names())
        if not names:
            raise InputError(f"there is no backup in {vault.place!r}; make one: observer backup create")
        chosen = names if everything else numbers
        seen: list[str] = []

        def tell(name: str) -> None:
            seen.append(name)
            advance(len(seen), len(seen) + 1)

        if backups is not None:
            checked, whole = backups.verify(
                vault.place, chosen, identity=identity, beside=live, tell=tell
            )  # fmt: skip
        elif live:
            raise InputError("there is no store here to compare with: leave --live out")
        else:
            checked, whole = check(vault, chosen, None, 0, SystemClock().now_ns(), tell)
    for item in checked:
        _tell(item, as_json)
    for finding in whole:
        _tell_finding(finding, as_json)
    if whole or any(item.findings for item in checked):
        raise typer.Exit(FINDING)


def _tell(item: Checked, as_json: bool) -> None:
    if as_json:
        json_line({"number": item.number, "depth": item.depth, "journals": item.journals,
                   "records": item.records, "contents": item.contents, "bytes": item.size,
                   "digest": item.digest, "findings": len(item.findings)})  # fmt: skip
    elif not item.findings:
        what = f"{item.journals} journals, {item.records:,} records, {size(item.size)}"
        say({
            "content": f"✓ backup {item.number:<6} {what}: every chain is whole  {item.digest[:16]}",
            "files": f"✓ backup {item.number:<6} {what}: every file is as it was written; its content needs "
                     "--identity",
            "outside": f"✓ backup {item.number:<6} is there; all else needs --identity",
        }[item.depth])  # fmt: skip
    for finding in item.findings:
        _tell_finding(finding, as_json)


def _tell_finding(finding: Finding, as_json: bool) -> None:
    if as_json:
        json_line({"backup": finding.backup, "journal": finding.journal, "detail": finding.detail})
    else:
        where = f"backup {finding.backup}" + (f", {finding.journal}" if finding.journal else "")
        say(f"✗ {where}: {finding.detail}", "bold red")


@app.command()
def restore(
    ctx: typer.Context,
    to: Annotated[
        str,
        typer.Option(metavar="DIR", help="An empty folder, or azure:CONNECTION/PREFIX; never over data."),
    ],
    number: Annotated[int | None, typer.Argument(metavar="[NUMBER]", help="Default: the newest.")] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="As it was known then: RFC 3339, or 2h before the backup."),
    ] = None,
    place: From = None,
    identity: Key = None,
    as_json: Json = False,
) -> None:
    """Make a store of a backup, in a new place.

    With --until each journal ends with the last commit that was known then. Nothing that runs is changed:
    what is to be done to run on it is said at the end. Broken off, the same command goes on.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.backups import restore as bring_back
    from observer_core.shared.clock import SystemClock

    began = time.perf_counter()
    with _vault(ctx, place, identity) as (vault, _), progress("restore") as advance:
        seen: list[str] = []

        def tell(name: str) -> None:
            seen.append(name)
            advance(len(seen), len(seen) + 1)

        def newest() -> int:
            found = vault.catalogue.newest() if number is None else vault.catalogue.read(number)
            return found.time_ns if found else 0

        until_ns = None if until is None else moment(until, newest)
        manifest, done = bring_back(
            vault, to, SystemClock(), number=number, until_ns=until_ns, author=os_user(), tell=tell
        )  # fmt: skip
    seconds = time.perf_counter() - began
    if as_json:
        json_line({"number": manifest.number, "to": to, "digest": done.digest, "records": done.records,
                   "journals": dict(done.journals), "cut": dict(done.cut), "until_ns": until_ns,
                   "seconds": round(seconds, 3)})  # fmt: skip
        return
    say(f"restored backup {manifest.number} of {when(manifest.time_ns)} to {to}: {done.records:,} records in "
        f"{len(done.journals)} journals, every chain verified, in {seconds:.1f} s")  # fmt: skip
    say(f"digest {done.digest}")
    for name, was in done.cut.items():
        say(f"  {name}: {done.journals.get(name, 0):,} of {was:,} records")
    say("Nothing runs on it yet. To run on it, stop the Observer and")
    if to.startswith("azure:"):
        connection, _, prefix = to.removeprefix("azure:").partition("/")
        say(f'  set [storage] connection = "{connection}"' + (f' and prefix = "{prefix}"' if prefix else ""))
    else:
        say(f'  set data_dir = "{Path(to).absolute()}" (or OBSERVER_DATA_DIR, or --data-dir), and start it')
    if manifest.store:
        say("To go on with the same place of backups afterwards: observer backup create --adopt")


@app.command()
def prune(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")
    ] = False,
    drop: Annotated[
        list[int] | None,
        typer.Option(metavar="NUMBER", help="Also this one, even where it is damaged. May be repeated."),
    ] = None,
    place: From = None,
    identity: Key = None,
    as_json: Json = False,
) -> None:
    """Remove the backups that [backup] keep does not name.

    Contents that no backup needs go when they have not been needed for [backup] grace.
    """
    from observer_core.cli.principal import os_user

    with _vault(ctx, place, identity) as (vault, backups):
        if backups is None:
            raise InputError("there is no store here whose backups these are; prune where the Observer runs")
        done = backups.prune(
            vault.place, author=os_user(), dry_run=dry_run, identity=identity, drop=drop or ()
        )
    if as_json:
        json_line({"backups": list(done.backups), "contents": done.contents, "waiting": done.waiting,
                   "dry_run": dry_run})  # fmt: skip
        return
    would = "would be removed" if dry_run else "removed"
    say(f"{len(done.backups)} backups {would}{': ' if done.backups else ''}"
        f"{', '.join(map(str, done.backups))}")  # fmt: skip
    say(f"{done.contents} contents {would}, {done.waiting} are not needed and wait for [backup] grace")


@app.command()
def key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where it is written; not there yet.")],
) -> None:
    """Make an age identity: who has this file can restore encrypted backups.

    Keep it away from the machine that is backed up, twice. What is printed is public, and goes into [backup].
    """
    from observer_core.backup.sealing import Identity

    recipient = Identity.make(file)
    say(f'encrypt = {{ recipients = ["{recipient}"] }}')
    hint(f"{file} is the secret; without it nobody can restore what is encrypted for it")


# ---------------------------------------------------------------------- what a command works on


@contextmanager
def _backups(ctx: typer.Context) -> Iterator[tuple[Backups, Storage]]:
    """Of the store that there is."""
    from observer_core.runtime.backups import Backups
    from observer_core.runtime.observer import this_build
    from observer_core.shared.clock import SystemClock

    with reading(ctx) as reader:
        storage = reader.journals.storage
        yield Backups(storage, reader.settings, SystemClock(), this_build()), storage


@contextmanager
def _vault(
    ctx: typer.Context, text: str | None, identity: Path | None
) -> Iterator[tuple[Vault, Backups | None]]:
    """A place of backups, also where the store is gone."""
    from observer_core.runtime.backups import place_of, vault_at

    place = place_of(Invocation.of(ctx).settings(), text)
    try:
        if not _has_store(ctx):
            yield vault_at(place, None, identity), None
            return
        with _backups(ctx) as (backups, storage):
            yield vault_at(place, storage, identity), backups
    finally:
        place.close()


def _has_store(ctx: typer.Context) -> bool:
    """Not where it is gone, or cannot be reached: what was backed up can."""
    try:
        with reading(ctx):
            return True
    except ObserverError:
        return False
