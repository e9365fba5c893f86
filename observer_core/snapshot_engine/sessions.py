"""When a market is open: a weekly schedule in the configuration, or an exchange's own calendar.

Without one a source is open around the clock. Calendars come from the package `exchange_calendars` (extra
`calendars`), which is imported when one is named.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import AfterValidator, model_validator

from observer_core.shared.clock import SECOND, zone_of
from observer_core.shared.config import Config, Zone
from observer_core.shared.errors import ConfigError

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: Final[tuple[Day, ...]] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(([01]\d|2[0-3]):([0-5]\d)|24:00)")
_REMEMBERED_DAYS: Final = 64


def _hours(text: str) -> str:
    for part in text.split(","):
        if not _HOURS.fullmatch(part.strip()):
            raise ValueError("expected hours as 09:30-16:00; several with a comma between them")
    return text


Hours = Annotated[str, AfterValidator(_hours)]


class SessionConfig(Config):
    """Either `calendar` (an exchange's ISO code: XNYS, XKRX), or `weekly` hours in `zone`.

    Hours that end at or before their start end the next day. `special` gives single days other
    hours, `holidays` none.
    """

    calendar: str | None = None
    zone: Zone | None = None
    weekly: Mapping[Day, Hours] = {}
    holidays: tuple[date, ...] = ()
    special: Mapping[date, Hours] = {}

    @model_validator(mode="after")
    def _one_way(self) -> SessionConfig:
        if (self.calendar is None) == (not self.weekly):
            raise ValueError("give calendar (an exchange's code) or weekly hours, and not both")
        if self.weekly and self.zone is None:
            raise ValueError("weekly hours need the zone that they are in (Asia/Seoul)")
        if self.calendar is not None and (self.zone or self.holidays or self.special):
            raise ValueError("a calendar brings its own zone, holidays and special days")
        return self


class Sessions(Protocol):
    """Half-open sessions: the moment of the close belongs to no session."""

    def opened_ns(self, moment_ns: int, until_ns: int | None = None) -> int | None:
        """When the session that `moment_ns` lies in began; None while it is closed.

        With `until_ns`: the last session that the time from `moment_ns` up to it touches.
        """


def sessions_of(config: SessionConfig) -> Sessions:
    """`ConfigError` when the calendar is not known, or its package not installed."""
    return Weekly(config) if config.calendar is None else Calendar(config.calendar)


class Weekly:
    """Hours of a week in a time zone, daylight saving included."""

    def __init__(self, config: SessionConfig) -> None:
        assert config.zone is not None
        self._config, self._zone = config, zone_of(config.zone)
        self._known: dict[date, list[tuple[int, int]]] = {}

    def opened_ns(self, moment_ns: int, until_ns: int | None = None) -> int | None:
        until_ns = until_ns or moment_ns + 1
        day, last = self._day(moment_ns) - timedelta(days=1), self._day(until_ns)
        found = None
        while day <= last:
            for start, end in self._sessions(day):
                if start < until_ns and moment_ns < end and (found is None or start > found):
                    found = start
            day += timedelta(days=1)
        return found

    def _day(self, moment_ns: int) -> date:
        return datetime.fromtimestamp(moment_ns // SECOND, self._zone).date()

    def _sessions(self, day: date) -> list[tuple[int, int]]:
        found = self._known.get(day)
        if found is None:
            if len(self._known) >= _REMEMBERED_DAYS:
                self._known.clear()
            found = self._known[day] = [self._bounds(day, part.strip()) for part in self._hours(day)]
        return found

    def _hours(self, day: date) -> list[str]:
        if day in self._config.special:
            return self._config.special[day].split(",")
        if day in self._config.holidays or _DAYS[day.weekday()] not in self._config.weekly:
            return []
        return self._config.weekly[_DAYS[day.weekday()]].split(",")

    def _bounds(self, day: date, hours: str) -> tuple[int, int]:
        first, last = hours.split("-")
        # By the clock on the wall: where daylight saving skips an hour, moments may come the other way.
        last_day = day + timedelta(days=1) if last <= first else day
        return self._moment(day, first), self._moment(last_day, last)

    def _moment(self, day: date, clock: str) -> int:
        if clock == "24:00":
            day, clock = day + timedelta(days=1), "00:00"
        hour, minute = map(int, clock.split(":"))
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self._zone)
        return int(local.timestamp()) * SECOND


class Calendar:
    """The sessions of an exchange as `exchange_calendars` knows them: breaks, early closes, holidays."""

    def __init__(self, name: str) -> None:
        try:
            import exchange_calendars
        except ImportError:
            raise ConfigError(
                f"session calendar {name!r} needs the package exchange_calendars: "
                "install qts-observer[calendars], or give weekly hours"
            ) from None
        self._name, self._library = name, exchange_calendars
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._from_ns = self._to_ns = 0
        self._bounds = date.min, date.max
        """What days the package knows of this exchange."""
        self._read(None)

    def opened_ns(self, moment_ns: int, until_ns: int | None = None) -> int | None:
        if not self._from_ns <= moment_ns < self._to_ns:
            self._read(moment_ns)
        place = bisect_left(self._starts, until_ns or moment_ns + 1) - 1
        return self._starts[place] if place >= 0 and moment_ns < self._ends[place] else None

    def _read(self, moment_ns: int | None) -> None:
        """The calendar a year around a moment; without one, around today."""
        options: dict[str, Any] = {}
        if moment_ns is not None:
            around = datetime.fromtimestamp(moment_ns // SECOND, zone_of("UTC")).date()
            first, last = self._bounds
            options = {
                "start": max(around - timedelta(days=366), first),
                "end": min(around + timedelta(days=366), last),
            }
        try:
            calendar = self._library.get_calendar(self._name, **options)
        except (self._library.errors.InvalidCalendarName, ValueError) as error:
            raise ConfigError(f"session calendar {self._name!r}: {error}") from None
        low, high = calendar.bound_min(), calendar.bound_max()
        self._bounds = (low.date() if low else date.min, high.date() if high else date.max)
        schedule = calendar.schedule
        columns = {
            name: schedule[name].dt.as_unit("ns") for name in ("open", "break_start", "break_end", "close")
        }
        whole = columns["break_start"].isna()
        spans = [
            *zip(columns["open"][whole], columns["close"][whole], strict=True),
            *zip(columns["open"][~whole], columns["break_start"][~whole], strict=True),
            *zip(columns["break_end"][~whole], columns["close"][~whole], strict=True),
        ]
        spans.sort()
        self._starts = [int(start.value) for start, _ in spans]
        self._ends = [int(end.value) for _, end in spans]
        self._from_ns = self._starts[0] if moment_ns is None else min(self._starts[0], moment_ns)
        self._to_ns = self._ends[-1] if moment_ns is None else max(self._ends[-1], moment_ns + 1)
