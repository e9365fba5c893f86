"""`retention`: how long records are kept, what goes, and what must not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.gate import Author, Reason
from observer_core.cli.invocation import FINDING
from observer_core.cli.moments import moment, second, when
from observer_core.cli.opened import reading
from observer_core.cli.output import hint, json_line, say, size, table

if TYPE_CHECKING:
    from observer_core.retention.cutting import Cut

app = typer.Typer(help="How long records are kept, and what must not go.", no_args_is_help=True)
hold = typer.Typer(help="Keep records that would go, for a court or an auditor.", no_args_is_help=True)
app.add_typer(hold, name="hold")


@app.command()
def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One journal a line.")] = False,
) -> None:
    """List how long each journal is kept, by which rule, and from where on it is there."""
    from observer_core.retention.holds import standing
    from observer_core.runtime.retaining import Retention, spelled
    from observer_core.shared.clock import SystemClock

    with reading(ctx) as reader:
        retention = Retention(reader.journals, reader.settings, SystemClock())
        terms, holds = retention.terms(), standing(reader.journals)
        present = {name: retention.present_ns(name) for name in reader.journals.domains()}
        found: list[dict[str, Any]] = []
        for name, term in terms.items():
            journal, domain = reader.journals.open(name), reader.journals.domain_of(name) or ""
            base, head = journal.base(), journal.head()
            found.append({
                "journal": name, "domain": domain, "keep": spelled(term), "rule": term.rule,
                "first": base.position + 1, "last": head.position, "removed": base.position,
                "removed_bytes": base.length, "removed_ns": base.pruned_ns or None,
                "before_ns": None if term.keep_ns is None else present[domain] - term.keep_ns,
                "holds": [one.id for one in holds if one.takes(name)],
            })  # fmt: skip
    warning = reader.settings.retention.warning
    if as_json:
        for item in found:
            json_line(item)
    else:
        table(
            ("journal", "kept", "records", "removed", "older than", "holds", "rule"),
            [
                (item["journal"], item["keep"], f"{item['first']} to {item['last']}",
                 f"{item['removed']} ({size(item['removed_bytes'])})" if item["removed"] else "-",
                 second(item["before_ns"]) if item["before_ns"] else "-", ", ".join(item["holds"]) or "-",
                 item["rule"])
                for item in found
            ],
        )  # fmt: skip
    if warning is not None:
        hint(f"warning: {warning}")


@app.command()
def run(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and why the rest stays; remove nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Remove what is older than it is kept, now.

    An Observer that runs does it once a day by itself; both may work at once. Each removal is a record in
    operations.local. Exit code 1 when a journal was left out, with the reason.
    """
    from observer_core.cli.principal import os_user
    from observer_core.runtime.retaining import Retention
    from observer_core.shared.clock import SystemClock

    def tell(cut: Cut) -> None:
        if not as_json:
            say(_told(cut, "would go" if dry_run else "removed"))

    with reading(ctx) as reader:
        retention = Retention(reader.journals, reader.settings, SystemClock())
        rules = bool(reader.settings.retention.rule)
        done = retention.run(dry_run=dry_run, author=os_user(), tell=tell)
    if as_json:
        json_line(done.to_json())
    else:
        for item in done.kept:
            say(f"{item.journal}: {item.records:,} records that are old enough stay: {item.why}", "yellow")
        for name, why in done.skipped.items():
            say(f"{name}: left out: {why}", "yellow")
        if not rules:
            say("everything is kept forever: there is no [[retention.rule]]")
        elif not done.cuts and not done.kept and not done.skipped:
            say("nothing is older than it is kept")
    if done.warning is not None:
        hint(f"warning: {done.warning}")
    if done.skipped:
        raise typer.Exit(FINDING)


def _told(cut: Cut, what: str) -> str:
    about = f"{size(cut.length)} of lines, {size(cut.stored)} packed"
    text = (
        f"{cut.journal}: records {cut.first:,} to {cut.last:,} ({second(cut.first_ns)} to "
        f"{second(cut.last_ns)}) {what}: {about}; {cut.rule}"
    )
    if cut.excerpted:
        text += f"; {cut.excerpted:,} that are cited or still count stay in {size(cut.excerpt)}"
    return f"{text}  [{cut.record}]" if cut.record else text


@hold.command()
def add(
    ctx: typer.Context,
    journals: Annotated[
        list[str], typer.Argument(metavar="GLOB...", help="Journals: decisions.live, 'snapshots.*', '*'.")
    ],
    author: Author,
    reason: Reason,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Records from then on. Default: the first.")
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="TIME", help="Records up to then. Default: all that come.")
    ] = None,
) -> None:
    """Let nothing of some journals go, whatever the rules say, until the hold is ended."""
    from observer_core.cli.principal import os_user
    from observer_core.retention import holds
    from observer_core.shared.clock import SystemClock

    now_ns = SystemClock().now_ns()
    from_ns, to_ns = (None if text is None else moment(text, lambda: now_ns) for text in (start, to))
    with reading(ctx) as reader:
        made = holds.add(
            reader.journals, journals, author=author, reason=reason, now_ns=now_ns, from_ns=from_ns,
            to_ns=to_ns, principal=os_user(),
        )  # fmt: skip
        gone = [
            f"{name} up to record {base.position:,}"
            for name in reader.journals.names()
            if made.takes(name)
            and (base := reader.journals.open(name).base()).position
            and (from_ns is None or from_ns <= base.time_ns)
        ]
    say(f"{made.ref}  {made.text}")
    if gone:
        hint(f"removed before it was asked for: {', '.join(gone)}")


@hold.command("end")
def end_hold(
    ctx: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="As `retention hold ls` shows it.")],
    author: Author,
    reason: Reason,
) -> None:
    """End a hold; what only it has kept goes with the next run."""
    from observer_core.cli.principal import os_user
    from observer_core.retention import holds
    from observer_core.shared.clock import SystemClock

    with reading(ctx) as reader:
        ended = holds.end(
            reader.journals, identity, author=author, reason=reason, now_ns=SystemClock().now_ns(),
            principal=os_user(),
        )  # fmt: skip
    say(f"{ended.text} has ended")


@hold.command()
def ls(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One hold a line.")] = False,
) -> None:
    """List the holds that stand."""
    from observer_core.retention.holds import standing

    with reading(ctx) as reader:
        found = standing(reader.journals)
    if as_json:
        for one in found:
            json_line(one.to_json())
        return
    if not found:
        say("no hold stands")
        return
    table(
        ("id", "journals", "from", "to", "since", "author", "reason"),
        [
            (one.id, ", ".join(one.journals), when(one.from_ns), when(one.to_ns), when(one.since_ns),
             one.author, one.reason)
            for one in found
        ],
    )  # fmt: skip
