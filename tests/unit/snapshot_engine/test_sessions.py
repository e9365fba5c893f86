"""Sessions: when a market is open, by weekly hours in its own time zone or by an exchange's calendar."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.shared.clock import SECOND, parse_time, zone_of
from observer_core.shared.errors import ConfigError
from observer_core.snapshot_engine.sessions import SessionConfig, Sessions, Weekly, sessions_of

NEW_YORK, SEOUL, UTC = "America/New_York", "Asia/Seoul", "UTC"


def weekly(zone: str = UTC, **options: Any) -> Sessions:
    """`options` beside days of the week: holidays, special."""
    others = {name: options.pop(name) for name in ("holidays", "special") if name in options}
    return sessions_of(SessionConfig(zone=zone, weekly=options, **others))


def opened(sessions: Sessions, text: str, zone: str = UTC) -> str | None:
    """When the session of that moment began, both as the clock on the wall of `zone` says."""
    found = sessions.opened_ns(parse_time(text, zone))
    return found and f"{datetime.fromtimestamp(found // SECOND, zone_of(zone)):%m-%dT%H:%M}"


# ---------------------------------------------------------------------- weekly hours
# 2024-01-01 is a Monday.


def test_the_moment_of_the_opening_belongs_to_a_session_and_that_of_the_close_does_not() -> None:
    sessions = weekly(mon="09:30-16:00")
    opening, close = parse_time("2024-01-01T09:30", UTC), parse_time("2024-01-01T16:00", UTC)
    assert sessions.opened_ns(opening - 1) is None
    assert sessions.opened_ns(opening) == opening
    assert sessions.opened_ns(close - 1) == opening
    assert sessions.opened_ns(close) is None


def test_a_day_without_hours_is_closed() -> None:
    sessions = weekly(mon="00:00-24:00", wed="00:00-24:00")
    assert opened(sessions, "2024-01-02T12:00") is None
    assert opened(sessions, "2024-01-03T12:00") == "01-03T00:00"


def test_a_session_over_midnight_belongs_to_the_day_that_it_began() -> None:
    sessions = weekly(SEOUL, mon="22:00-05:00")
    assert opened(sessions, "2024-01-01T21:59", SEOUL) is None
    assert opened(sessions, "2024-01-01T23:00", SEOUL) == "01-01T22:00"
    assert opened(sessions, "2024-01-02T04:59", SEOUL) == "01-01T22:00"
    assert opened(sessions, "2024-01-02T05:00", SEOUL) is None
    assert opened(sessions, "2024-01-02T23:00", SEOUL) is None
    assert opened(sessions, "2024-01-01T03:00", SEOUL) is None, "Sunday had none"


def test_over_midnight_of_sunday_too() -> None:
    sessions = weekly(sun="18:00-17:00")
    assert opened(sessions, "2024-01-01T16:59") == "12-31T18:00"
    assert opened(sessions, "2024-01-01T17:00") is None


def test_two_sessions_a_day_have_a_break_between_them() -> None:
    sessions = weekly(mon="09:00-11:30, 12:30-15:30")
    found = [opened(sessions, f"2024-01-01T{clock}") for clock in ("11:29", "11:30", "12:29", "12:30")]
    assert found == ["01-01T09:00", None, None, "01-01T12:30"]
    assert opened(sessions, "2024-01-01T15:30") is None


def test_a_day_may_end_at_24() -> None:
    sessions = weekly(mon="00:00-24:00")
    last = parse_time("2024-01-02T00:00", UTC)
    assert sessions.opened_ns(last - 1) == parse_time("2024-01-01T00:00", UTC)
    assert sessions.opened_ns(last) is None


def test_days_that_follow_one_another_are_sessions_of_their_own() -> None:
    sessions = weekly(mon="00:00-24:00", tue="00:00-24:00")
    assert opened(sessions, "2024-01-02T00:00") == "01-02T00:00"


def test_hours_that_end_as_they_begin_are_a_whole_day() -> None:
    sessions = weekly(mon="09:00-09:00")
    assert opened(sessions, "2024-01-02T08:59") == "01-01T09:00"
    assert opened(sessions, "2024-01-02T09:00") is None


def test_the_day_is_that_of_the_zone() -> None:
    sessions = weekly(SEOUL, tue="00:00-24:00")
    assert opened(sessions, "2024-01-01T14:59") is None
    assert opened(sessions, "2024-01-01T15:00") is not None


def test_the_same_moments_are_answered_alike_after_many_others() -> None:
    """Days are remembered, not all of them."""
    sessions = weekly(mon="09:00-10:00")
    before = opened(sessions, "2024-01-01T09:30")
    for week in range(200):
        assert sessions.opened_ns(parse_time("2024-01-01T09:30", UTC) + week * 7 * 86_400 * SECOND)
    assert opened(sessions, "2024-01-01T09:30") == before
    assert len(sessions._known) <= 65  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- daylight saving


@pytest.mark.parametrize(
    ("day", "opening", "close"),
    [
        ("2024-03-08", "14:30", "21:00"), ("2024-03-11", "13:30", "20:00"),
        ("2024-11-01", "13:30", "20:00"), ("2024-11-04", "14:30", "21:00"),
    ],
)  # fmt: skip
def test_hours_keep_to_the_clock_on_the_wall(day: str, opening: str, close: str) -> None:
    sessions = weekly(NEW_YORK, mon="09:30-16:00", fri="09:30-16:00")
    start = parse_time(f"{day}T{opening}", UTC)
    assert sessions.opened_ns(start) == start
    assert sessions.opened_ns(start - 1) is None
    end = parse_time(f"{day}T{close}", UTC)
    assert sessions.opened_ns(end - 1) == start
    assert sessions.opened_ns(end) is None


@pytest.mark.parametrize(("day", "hours"), [("2024-03-10", 23), ("2024-11-03", 25), ("2024-06-02", 24)])
def test_a_day_is_as_long_as_it_is(day: str, hours: int) -> None:
    sessions = weekly(NEW_YORK, sun="00:00-24:00")
    start = parse_time(f"{day}T00:00", NEW_YORK)
    assert sessions.opened_ns(start + hours * 3600 * SECOND - 1) == start
    assert sessions.opened_ns(start + hours * 3600 * SECOND) is None


@pytest.mark.parametrize("hours", ["02:30-03:00", "02:00-02:59", "02:15-03:10"])
def test_hours_that_the_clock_skips_are_not_a_day_long(hours: str) -> None:
    """On 10 March 2024 New York went from 02:00 to 03:00."""
    sessions = weekly(NEW_YORK, sun=hours)
    assert opened(sessions, "2024-03-10T12:00", NEW_YORK) is None
    assert opened(sessions, "2024-03-11T01:00", NEW_YORK) is None


def test_an_hour_that_comes_twice_is_open_twice_when_the_session_spans_it() -> None:
    sessions = weekly(NEW_YORK, sun="00:30-02:00")
    for moment in ("2024-11-03T05:30Z", "2024-11-03T06:30Z"):  # 01:30, before and after
        assert sessions.opened_ns(parse_time(moment)) == parse_time("2024-11-03T04:30Z")
    assert sessions.opened_ns(parse_time("2024-11-03T07:00Z")) is None


# ---------------------------------------------------------------------- holidays and special days


def test_a_holiday_has_no_session() -> None:
    sessions = weekly(mon="09:00-17:00", tue="09:00-17:00", holidays=["2024-01-01"])
    assert opened(sessions, "2024-01-01T12:00") is None
    assert opened(sessions, "2024-01-02T12:00") == "01-02T09:00"
    assert opened(sessions, "2024-01-08T12:00") == "01-08T09:00"


def test_a_session_that_began_before_a_holiday_goes_on_into_it() -> None:
    sessions = weekly(mon="22:00-05:00", tue="22:00-05:00", holidays=["2024-01-02"])
    assert opened(sessions, "2024-01-02T04:00") == "01-01T22:00"
    assert opened(sessions, "2024-01-02T23:00") is None
    assert opened(sessions, "2024-01-03T04:00") is None


def test_a_special_day_has_its_own_hours_be_it_a_holiday_or_a_day_without_any() -> None:
    special = {"2024-01-01": "10:00-11:00", "2024-01-06": "12:00-13:00,14:00-15:00"}
    sessions = weekly(mon="09:00-17:00", special=special, holidays=["2024-01-01"])
    assert opened(sessions, "2024-01-01T09:30") is None
    assert opened(sessions, "2024-01-01T10:30") == "01-01T10:00"
    assert opened(sessions, "2024-01-01T11:30") is None
    assert opened(sessions, "2024-01-06T14:30") == "01-06T14:00"
    assert opened(sessions, "2024-01-08T09:30") == "01-08T09:00"


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "give calendar .* or weekly hours, and not both"),
        ({"calendar": "XNYS", "zone": UTC, "weekly": {"mon": "09:00-10:00"}}, "and not both"),
        ({"holidays": ["2024-01-01"], "zone": UTC}, "give calendar"),
        ({"weekly": {"mon": "09:00-10:00"}}, "weekly hours need the zone"),
        ({"calendar": "XNYS", "zone": UTC}, "a calendar brings its own zone"),
        ({"calendar": "XNYS", "holidays": ["2024-01-01"]}, "a calendar brings its own zone"),
        ({"calendar": "XNYS", "special": {"2024-01-01": "09:00-10:00"}}, "a calendar brings its own zone"),
        ({"zone": "Mars/Olympus", "weekly": {"mon": "09:00-10:00"}}, "is not an IANA time zone"),
        ({"zone": UTC, "weekly": {"monday": "09:00-10:00"}}, "Input should be 'mon'"),
        ({"zone": UTC, "weekly": {"mon": "09:00-10:00"}, "holidays": ["2024-02-30"]}, "date"),
        ({"zone": UTC, "weekly": {"mon": "09:00-10:00"}, "hours": 1}, "Extra inputs"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SessionConfig.model_validate(config)


@pytest.mark.parametrize(
    "hours",
    ["", "09:00", "9:00-10:00", "09:00-25:00", "24:00-25:00", "09:60-10:00", "09:00-24:01", "09:00 - 10:00",
     "09:00-10:00,", "09:00-10:00;11:00-12:00", "٠٩:00-10:00"],
)  # fmt: skip
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ValidationError, match="expected hours as 09:30-16:00"):
        SessionConfig(zone=UTC, weekly={"mon": hours})
    with pytest.raises(ValidationError, match="expected hours as 09:30-16:00"):
        SessionConfig.model_validate({"zone": UTC, "weekly": {"mon": "09:00-10:00"},
                                      "special": {"2024-01-01": hours}})  # fmt: skip


def test_its_canonical_form_is_json_and_gives_it_back() -> None:
    config = SessionConfig.model_validate({
        "zone": SEOUL, "weekly": {"mon": "09:00-15:30"}, "holidays": ["2024-01-01"],
        "special": {"2024-01-02": "10:00-12:00"},
    })  # fmt: skip
    assert SessionConfig.model_validate(config.canonical()) == config
    assert config.canonical()["special"] == {"2024-01-02": "10:00-12:00"}


# ---------------------------------------------------------------------- whatever the hours

clocks = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(
    hours=st.dictionaries(
        st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
        st.tuples(clocks, clocks),
        min_size=1,
    ),
    zone=st.sampled_from([UTC, NEW_YORK, SEOUL, "Australia/Lord_Howe", "Europe/Berlin"]),
    second=st.integers(1_704_067_200, 1_735_689_600),
)
def test_a_session_is_one_span_that_begins_where_it_says(
    hours: dict[Any, tuple[str, str]], zone: str, second: int
) -> None:
    config = SessionConfig(zone=zone, weekly={day: f"{a}-{b}" for day, (a, b) in hours.items()})
    sessions, moment = Weekly(config), second * SECOND
    found = sessions.opened_ns(moment)
    if found is None:
        return
    assert found <= moment < found + 25 * 3600 * SECOND
    assert sessions.opened_ns(found) is not None
    local = datetime.fromtimestamp(found // SECOND, zone_of(zone))
    starts = {a for a, _ in hours.values()}
    skipped = local.hour in (2, 3)  # an opening that the clock skips is where it would have been
    assert f"{local:%H:%M}" in starts or skipped


# ---------------------------------------------------------------------- exchange calendars


@pytest.fixture(scope="module")
def new_york() -> Sessions:
    pytest.importorskip("exchange_calendars")
    return sessions_of(SessionConfig(calendar="XNYS"))


@pytest.fixture(scope="module")
def hong_kong() -> Sessions:
    pytest.importorskip("exchange_calendars")
    return sessions_of(SessionConfig(calendar="XHKG"))


def test_an_early_close_closes_early(new_york: Sessions) -> None:
    opening = parse_time("2024-11-29T14:30Z")
    close = parse_time("2024-11-29T18:00Z")  # 13:00, the day after Thanksgiving
    assert new_york.opened_ns(opening - 1) is None
    assert new_york.opened_ns(opening) == opening
    assert new_york.opened_ns(close - 1) == opening
    assert new_york.opened_ns(close) is None


@pytest.mark.parametrize("moment", ["2024-11-28T16:00Z", "2024-11-30T16:00Z", "2024-12-25T16:00Z"])
def test_holidays_and_weekends_are_closed(new_york: Sessions, moment: str) -> None:
    assert new_york.opened_ns(parse_time(moment)) is None


def test_a_lunch_break_is_closed(hong_kong: Sessions) -> None:
    morning, afternoon = parse_time("2024-11-29T01:30Z"), parse_time("2024-11-29T05:00Z")
    at_noon = parse_time("2024-11-29T04:00Z")
    assert hong_kong.opened_ns(at_noon - 1) == morning
    assert hong_kong.opened_ns(at_noon) is None
    assert hong_kong.opened_ns(afternoon - 1) is None
    assert hong_kong.opened_ns(afternoon) == afternoon
    assert hong_kong.opened_ns(parse_time("2024-11-29T08:00Z")) is None


def test_a_day_without_an_afternoon_ends_at_noon(hong_kong: Sessions) -> None:
    assert hong_kong.opened_ns(parse_time("2024-12-24T03:00Z")) == parse_time("2024-12-24T01:30Z")
    assert hong_kong.opened_ns(parse_time("2024-12-24T06:00Z")) is None


def test_moments_beyond_what_a_calendar_is_read_for_at_first(new_york: Sessions) -> None:
    """Forwards and backwards: what was read for one must not be believed of another."""
    for day in ("1987-10-19", "2035-06-15", "1987-10-20", "2024-11-29"):
        opening = parse_time(f"{day}T09:30", NEW_YORK)
        assert new_york.opened_ns(opening) == opening
        assert new_york.opened_ns(opening - 1) is None
    assert new_york.opened_ns(parse_time("1987-10-17T12:00", NEW_YORK)) is None


def test_a_calendar_that_is_not_known_is_told() -> None:
    pytest.importorskip("exchange_calendars")
    with pytest.raises(ConfigError, match="session calendar 'XXXX': .*does not exist"):
        sessions_of(SessionConfig(calendar="XXXX"))


def test_a_calendar_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import_ = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "exchange_calendars":
            raise ImportError(name)
        return import_(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs the package exchange_calendars: install qts-observer\[cal"):
        sessions_of(SessionConfig(calendar="XNYS"))
