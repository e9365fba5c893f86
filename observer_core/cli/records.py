"""`snapshots`, `patterns`, `events`, `decisions`, `incidents`: list the newest, or follow.

Annotations of commands are evaluated where they stand: each group has an option named after its kind.
"""

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.ending import end
from observer_core.cli.opened import Reader, reading
from observer_core.cli.output import Lines, json_line, raw_line
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.audit.stored import Stored
    from observer_core.runtime.reading.filters import Filter, Kind
    from observer_core.runtime.reading.listing import Range
    from observer_core.shared.records import Severity

SourceOption = Annotated[str | None, typer.Option(help="Only of this source.")]
DomainOption = Annotated[str | None, typer.Option(help="Only of this domain.")]
SubjectOption = Annotated[str | None, typer.Option(metavar="GLOB", help="Only about subjects that match it.")]
SeverityOption = Annotated[
    str | None, typer.Option(metavar="LEVEL", help="At least info, warning or critical.")
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="From this time on: RFC 3339 (UTC without a zone), or 2h before the domain's newest.",
    ),
]
UntilOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="Up to this time, given as for --since.")
]
LimitOption = Annotated[int, typer.Option(min=0, metavar="N", help="So many of the newest; 0: all.")]
AllOption = Annotated[
    bool, typer.Option("--all", help="The journal's own notes too: epochs, quarantines, redrives, …")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One record a line, exactly the stored bytes.")]
FollowOption = Annotated[
    bool, typer.Option("--follow/--no-follow", help="Go on with what is committed next.")
]


def add_groups(app: typer.Typer) -> None:
    """One group a kind of record."""
    app.add_typer(_snapshots(), name="snapshots")
    app.add_typer(_graded("patterns", "--kind", "Only patterns that match (level_shift, feed_*)."))
    app.add_typer(_graded("events", "--type", "Only types that match (pattern.*, feed.stale)."))
    app.add_typer(
        _graded(
            "decisions", "--verdict", "Only verdicts that match (judgment, block, release, non_execution)."
        )
    )
    app.add_typer(_incidents(), name="incidents")


def _graded(kind: str, option: str, about: str) -> typer.Typer:
    """Patterns, events and decisions: they have a severity, and a kind under a name of its own."""
    app = _app(kind)
    WhatOption = Annotated[str | None, typer.Option(option, metavar="GLOB", help=about)]  # noqa: N806 - an annotation

    @app.command()
    def ls(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, what: WhatOption = None, severity: SeverityOption = None,
        since: SinceOption = None, until: UntilOption = None, limit: LimitOption = 20,
        notes: AllOption = False, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        """List the newest that match, oldest first."""
        wanted = _filter(source, domain, subject, what, severity, notes)
        _list(ctx, kind, wanted, (since, until), limit, as_json)

    @app.command()
    def tail(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, what: WhatOption = None, severity: SeverityOption = None,
        limit: LimitOption = 10, notes: AllOption = False, follow: FollowOption = True,
        as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        """Print the last that match, then each new one."""
        _tail(ctx, kind, _filter(source, domain, subject, what, severity, notes), limit, follow, as_json)

    return app


def _snapshots() -> typer.Typer:
    """Snapshots have no severity, but quality flags."""
    app = _app("snapshots")
    FlagOption = Annotated[  # noqa: N806 - an annotation
        str | None,
        typer.Option(metavar="GLOB", help="Only with a quality flag that matches (gap, duplicate, *)."),
    ]

    @app.command()
    def ls(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, flag: FlagOption = None, since: SinceOption = None,
        until: UntilOption = None, limit: LimitOption = 20, notes: AllOption = False,
        as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        """List the newest that match, oldest first."""
        wanted = _filter(source, domain, subject, flag, None, notes)
        _list(ctx, "snapshots", wanted, (since, until), limit, as_json)

    @app.command()
    def tail(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, flag: FlagOption = None, limit: LimitOption = 10,
        notes: AllOption = False, follow: FollowOption = True, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        """Print the last that match, then each new one."""
        wanted = _filter(source, domain, subject, flag, None, notes)
        _tail(ctx, "snapshots", wanted, limit, follow, as_json)

    return app


def _incidents() -> typer.Typer:
    """Incidents are told by events; a listing shows each once, as it stands."""
    app = _app("incidents")
    KindOption = Annotated[  # noqa: N806 - an annotation
        str | None, typer.Option(metavar="GLOB", help="Only incidents with a pattern that matches.")
    ]
    OpenOption = Annotated[bool, typer.Option("--open", help="Only those that are not resolved.")]  # noqa: N806

    @app.command()
    def ls(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, kind: KindOption = None, severity: SeverityOption = None,
        since: SinceOption = None, until: UntilOption = None, limit: LimitOption = 20,
        only_open: OpenOption = False,
        as_json: Annotated[bool, typer.Option("--json", help="One incident a line.")] = False,
    ) -> None:  # fmt: skip
        """List incidents as they stand.

        As their last event left them; the one that changed last stands at the end.
        """
        from itertools import islice

        from observer_core.cli.incidents import COLUMNS, as_told, cells
        from observer_core.runtime.reading.incidents import folded

        wanted = _filter(source, domain, subject, kind, severity, False)
        with reading(ctx) as reader:
            ranges = _ranges(reader, _kind("events"), wanted, (since, until))
            found = list(islice(folded(ranges, wanted, only_open=only_open), limit or None))
        show = Lines(COLUMNS)
        for incident in reversed(found):
            json_line(as_told(incident)) if as_json else show(cells(incident))

    @app.command()
    def tail(
        ctx: typer.Context, source: SourceOption = None, domain: DomainOption = None,
        subject: SubjectOption = None, severity: SeverityOption = None, limit: LimitOption = 10,
        follow: FollowOption = True, as_json: JsonOption = False,
    ) -> None:  # fmt: skip
        """Print the last changes, then each new one."""
        wanted = _filter(source, domain, subject, "incident.*", severity, False)
        _tail(ctx, "events", wanted, limit, follow, as_json)

    app.command()(end)
    return app


def _app(kind: str) -> typer.Typer:
    return typer.Typer(name=kind, help=f"List or follow {kind}.", no_args_is_help=True)


def _kind(name: str) -> "Kind":
    from observer_core.runtime.reading.filters import KINDS

    return KINDS[name]


def _filter(
    source: str | None, domain: str | None, subject: str | None, what: str | None, severity: str | None,
    notes: bool,
) -> "Filter":  # fmt: skip
    from observer_core.runtime.reading.filters import Filter

    return Filter(
        source=source, domain=domain, subject=subject, what=what, severity=_severity(severity), notes=notes
    )


def _severity(text: str | None) -> "Severity | None":
    from observer_core.shared.records import SEVERITIES

    if text is None:
        return None
    for severity in SEVERITIES:
        if text == severity:
            return severity
    raise InputError(f"--severity {text!r} is not one; expected {', '.join(SEVERITIES)}")


def _list(
    ctx: typer.Context, name: str, wanted: "Filter", times: tuple[str | None, str | None], limit: int,
    as_json: bool,
) -> None:  # fmt: skip
    from observer_core.runtime.reading.listing import last_of

    kind = _kind(name)
    with reading(ctx) as reader:
        found = last_of(_ranges(reader, kind, wanted, times), kind.sieve(wanted), limit)
        _print(found, _printer(name, as_json))


def _tail(ctx: typer.Context, name: str, wanted: "Filter", limit: int, go_on: bool, as_json: bool) -> None:
    from observer_core.runtime.reading.listing import follow, journals_of, last_of

    kind = _kind(name)
    sieve = kind.sieve(wanted)
    with reading(ctx) as reader:
        show = _printer(name, as_json)
        ranges = _ranges(reader, kind, wanted, (None, None))
        _print(last_of(ranges, sieve, limit) if limit else iter(()), show)
        sys.stdout.flush()
        if not go_on:
            return
        seen = {r.journal.name: r.last for r in ranges}
        for stored in follow(lambda: journals_of(reader.journals, kind, wanted), seen, sieve):
            if stored is None:
                sys.stdout.flush()
            else:
                show(stored)


def _ranges(
    reader: Reader, kind: "Kind", wanted: "Filter", times: tuple[str | None, str | None]
) -> list["Range"]:
    """The positions of each journal that the times leave."""
    from observer_core.runtime.reading.listing import ranges

    return ranges(reader.ground, kind, wanted, *times)


def _printer(name: str, as_json: bool) -> Callable[["Stored"], Any]:
    from observer_core.cli.kinds import SHOWN

    if as_json:
        return lambda stored: raw_line(stored.raw)
    shown = SHOWN[name]
    show = Lines(shown.columns)
    return lambda stored: show(shown.cells(stored))


def _print(records: Iterator["Stored"], show: Callable[["Stored"], Any]) -> None:
    for stored in records:
        show(stored)
