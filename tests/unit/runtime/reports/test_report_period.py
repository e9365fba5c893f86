"""Days and weeks of a zone, and what is said of those that cannot be reported."""

from __future__ import annotations

from datetime import date

import pytest

from observer_core.runtime.reports.period import DAY_NS, period, stretch
from observer_core.runtime.reports.telling.parts import bins, counted
from observer_core.shared.clock import SECOND, parse_time
from observer_core.shared.errors import InputError

NOW_NS = parse_time("2026-03-11T01:00:00Z")  # a Wednesday, 10 o'clock in Seoul


def test_without_a_date_it_is_the_last_day_that_is_over_there() -> None:
    found = period("daily", "Asia/Seoul", NOW_NS)
    assert found.first_day == found.last_day == date(2026, 3, 10)
    assert found.is_over
    assert found.start_ns == parse_time("2026-03-09T15:00:00Z")


def test_a_week_begins_on_monday_whatever_day_of_it_is_given() -> None:
    for day in ("2026-03-02", "2026-03-08"):
        found = period("weekly", "UTC", NOW_NS, day)
        assert (found.first_day, found.last_day) == (date(2026, 3, 2), date(2026, 3, 8))
    assert period("weekly", "UTC", NOW_NS).first_day == date(2026, 3, 2)


def test_days_are_as_long_as_they_are_where_clocks_are_put_forward() -> None:
    spring = period("daily", "America/New_York", NOW_NS, "2026-03-08")
    assert spring.length_ns == 23 * 3600 * SECOND
    assert sum(end - start for start, end in bins(spring)) == spring.length_ns


def test_one_that_is_not_over_is_told_up_to_the_present_and_what_is_known_now_counts() -> None:
    found = period("daily", "Asia/Seoul", NOW_NS, "2026-03-11")
    assert not found.is_over
    assert found.until_ns == NOW_NS + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-03-12", "the day of 2026-03-12 has not begun: in Asia/Seoul the domain has come to {now}"),
        ("tomorrow", "'tomorrow' is no date; one like 2026-11-23 was expected"),
        ("0001-01-01", None),
    ],
)  # fmt: skip
def test_what_is_no_period_is_said_in_words(text: str, message: str | None) -> None:
    if message is None:  # long ago is a period, if an empty one
        assert period("daily", "Asia/Seoul", NOW_NS, text).is_over
        return
    with pytest.raises(InputError) as raised:
        period("daily", "Asia/Seoul", NOW_NS, text)
    assert str(raised.value) == message.format(now="2026-03-11 10:00")


def test_a_stretch_that_begins_after_the_present_is_none() -> None:
    with pytest.raises(InputError, match="2026-03-12 01:00 is not before the domain's present"):
        stretch("UTC", NOW_NS + DAY_NS, NOW_NS)


def test_a_span_is_clipped_to_what_is_told() -> None:
    found = period("daily", "UTC", NOW_NS, "2026-03-11")
    assert found.clip(found.start_ns - 5, found.start_ns + 7) == 7
    assert found.clip(found.until_ns - 3, found.until_ns + 99) == 3
    assert found.clip(found.until_ns, found.until_ns + 1) == 0


def test_moments_are_counted_in_the_stretch_that_they_lie_in() -> None:
    found = period("daily", "UTC", NOW_NS, "2026-03-10")
    hours = bins(found)
    assert len(hours) == 24
    times = [
        found.start_ns,
        found.start_ns + 3600 * SECOND,
        found.end_ns - 1,
        found.end_ns,
        found.start_ns - 1,
    ]
    assert counted(times, hours) == [1.0, 1.0, *([0.0] * 21), 1.0]
