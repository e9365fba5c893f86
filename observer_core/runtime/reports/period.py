"""The stretch of time that a report is about: a day or a week of a zone, as far as it has come.

A report of a period that is over rests on nothing that comes after it, so it can be made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, Literal

from observer_core.shared.clock import SECOND, zone_of
from observer_core.shared.errors import InputError

Kind = Literal["daily", "weekly", "control"]
DAY_NS: Final = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Period:
    """From `start_ns` to before `end_ns`, midnights of `zone`. `until_ns`: how far it is told."""

    kind: Kind
    zone: str
    start_ns: int
    end_ns: int
    until_ns: int

    @property
    def is_over(self) -> bool:
        return self.until_ns >= self.end_ns

    @property
    def length_ns(self) -> int:
        return self.until_ns - self.start_ns

    @property
    def first_day(self) -> date:
        return day_of(self.start_ns, self.zone)

    @property
    def last_day(self) -> date:
        return day_of(self.end_ns - 1, self.zone)

    def clip(self, from_ns: int, to_ns: int) -> int:
        """How much of a span lies in what is told."""
        return max(0, min(to_ns, self.until_ns) - max(from_ns, self.start_ns))


def day_of(time_ns: int, zone: str) -> date:
    return datetime.fromtimestamp(time_ns // SECOND, zone_of(zone)).date()


def midnight(day: date, zone: str) -> int:
    """When a day begins there."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone_of(zone)).timestamp()) * SECOND


def period(kind: Literal["daily", "weekly"], zone: str, now_ns: int, text: str | None = None) -> Period:
    """The day, or the week from Monday on, that `text` is a date of; without it the last that is over.

    `now_ns`: the domain's present. `InputError` for what is no date, or has not begun.
    """
    today = day_of(now_ns, zone)
    length = timedelta(days=1 if kind == "daily" else 7)
    day = today - length if text is None else _date(text)
    first = day if kind == "daily" else day - timedelta(days=day.weekday())
    try:
        start_ns, end_ns = midnight(first, zone), midnight(first + length, zone)
    except (OverflowError, ValueError):
        raise InputError(f"{first} is beyond the times that records have") from None
    if start_ns >= now_ns:
        what = "the day" if kind == "daily" else "the week"
        raise InputError(
            f"{what} of {first} has not begun: in {zone} the domain has come to {_clock(now_ns, zone)}"
        )
    return Period(kind, zone, start_ns, end_ns, min(end_ns, now_ns + 1))  # what is known now counts


def stretch(zone: str, since_ns: int, now_ns: int) -> Period:
    """From then on up to the domain's present; `InputError` where that is nothing."""
    if since_ns >= now_ns:
        raise InputError(
            f"{_clock(since_ns, zone)} is not before the domain's present, {_clock(now_ns, zone)} ({zone})"
        )
    return Period("control", zone, since_ns, now_ns + 1, now_ns + 1)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is no date; one like 2026-11-23 was expected") from None


def _clock(time_ns: int, zone: str) -> str:
    return datetime.fromtimestamp(time_ns // SECOND, zone_of(zone)).strftime("%Y-%m-%d %H:%M")
