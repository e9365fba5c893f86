"""What the sections of all reports have in common: commands that list records, bins of time, remarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from observer_core.runtime.reports.charts import Tick
from observer_core.runtime.reports.document import Basis, Block, Remark, Table
from observer_core.runtime.reports.period import DAY_NS, Period, midnight
from observer_core.runtime.reports.words import Words
from observer_core.shared.clock import SECOND, format_time

_HOUR_NS = 3600 * SECOND
_LONG_NS = 3 * DAY_NS


def listing(what: str, domain: str, period: Period, more: str = "") -> str:
    """The command that lists the records of a kind in the period."""
    until = format_time(period.until_ns - 1)
    return (
        f"observer {what} ls --domain {domain} --since {format_time(period.start_ns)} --until {until}"
        f" --limit 0{f' {more}' if more else ''}"
    )


def asking(table: str, period: Period, domain: str) -> str:
    """The question in SQL that gives the records of a kind in the period: for a person to ask."""
    since, until = format_time(period.start_ns), format_time(period.until_ns)
    where = f"domain = '{domain}' AND time >= '{since}' AND time < '{until}'"
    return f'observer sql "SELECT * FROM {table} WHERE {where}"'  # noqa: S608


def basis(
    words: Words, terms: Sequence[str], records: Iterable[str] = (), commands: Sequence[str] = ()
) -> Basis:
    """`terms`: the keys of definitions, `term.<key>` and `means.<key>`."""
    return Basis(
        [(words(f"term.{key}"), words(f"means.{key}")) for key in terms],
        [record for record in records if record], commands,
    )  # fmt: skip


def listed(words: Words, table: Table, most: int, count: int | None = None) -> list[Block]:
    """The table with its first rows, and how many there are in all; nothing where it has none."""
    if not table.rows:
        return []
    count = len(table.rows) if count is None else count
    note = (
        words("table.more", shown=min(most, len(table.rows)), count=f"{count:,}")
        if count > most
        else table.note
    )
    return [Table(table.title, table.head, table.rows[:most], table.numbers, table.codes, note)]


def unsure(words: Words, sure: bool) -> list[Block]:
    return [] if sure else [Remark(words("remark.unsure"), warn=True)]


def bins(period: Period) -> list[tuple[int, int]]:
    """The period in equal stretches: hours of a day, four hours of a week, days of more."""
    whole_ns = period.end_ns - period.start_ns
    step_ns = _HOUR_NS if whole_ns < _LONG_NS else 4 * _HOUR_NS if whole_ns < 10 * DAY_NS else DAY_NS
    return [
        (start, min(start + step_ns, period.end_ns))
        for start in range(period.start_ns, period.end_ns, step_ns)
    ]  # fmt: skip


def counted(times: Iterable[int], stretches: Sequence[tuple[int, int]]) -> list[float]:
    """How many moments lie in each of them."""
    found = [0.0] * len(stretches)
    if stretches:
        first, step = stretches[0][0], stretches[0][1] - stretches[0][0]
        for time_ns in times:
            place = (time_ns - first) // step
            if 0 <= place < len(found):
                found[place] += 1
    return found


def labels(words: Words, period: Period, stretches: Sequence[tuple[int, int]]) -> list[str]:
    """Below columns: every third hour of a day, every day of a week, every fifth of more."""
    step_ns = stretches[0][1] - stretches[0][0] if stretches else 1
    every = 3 if step_ns < 2 * _HOUR_NS else 6 if step_ns < DAY_NS else 5
    tell = words.clock if step_ns < 2 * _HOUR_NS else words.day
    return [tell(start) if not place % every else "" for place, (start, _) in enumerate(stretches)]


def ticks(words: Words, period: Period) -> list[Tick]:
    """Below lanes: every third hour of a day; otherwise the midnights, not more than ten."""
    whole_ns = period.end_ns - period.start_ns
    if whole_ns < _LONG_NS:
        return [
            Tick(at, words.clock(at)) for at in range(period.start_ns, period.end_ns + 1, 3 * _HOUR_NS)
        ]  # fmt: skip
    from datetime import timedelta

    days = (period.last_day - period.first_day).days + 1
    step = -(-days // 10)
    moments = [
        midnight(period.first_day + timedelta(days=day), period.zone) for day in range(0, days + 1, step)
    ]
    return [Tick(at, words.day(at)) for at in moments if period.start_ns <= at <= period.end_ns]


def cells(period: Period) -> int:
    """Characters that a lane has as text."""
    return 48 if period.end_ns - period.start_ns < _LONG_NS else 56
