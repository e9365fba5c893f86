"""Times, durations and ids as people and records spell them."""

from __future__ import annotations

import pytest

from observer_core.shared.clock import (
    ManualClock,
    SystemClock,
    format_duration,
    format_time,
    parse_duration,
    parse_time,
)
from observer_core.shared.errors import InputError
from observer_core.shared.ids import derive, parse_ref, ref

T = 1522886460_000000000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-04-05T00:01:00Z", T), ("2018-04-05T09:01:00+09:00", T),
        ("2018-04-05 00:01:00.5Z", T + 500_000_000),
        ("2018-04-05T00:01:00.123456789Z", T + 123_456_789), ("1522886460", T), ("1522886460000", T),
        ("1522886460000000", T), ("1522886460000000000", T),
    ],
)  # fmt: skip
def test_a_time_is_read(text: str, expected: int) -> None:
    assert parse_time(text) == expected


def test_a_time_without_a_zone_needs_one() -> None:
    with pytest.raises(InputError, match="has no zone; write one behind it"):
        parse_time("2018-04-05T09:01:00")
    assert parse_time("2018-04-05T09:01:00", "Asia/Seoul") == T
    with pytest.raises(InputError, match="'Mars' is not an IANA time zone"):
        parse_time("2018-04-05T09:01:00", "Mars")


@pytest.mark.parametrize("text", ["", "yesterday", "2018-13-01T00:00:00Z", "99999999999999999999"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize("ns", [0, 1, T, T + 1, 4102444800_999999999, -1, -86_400_000_000_000])
def test_a_time_is_written_as_it_is_read(ns: int) -> None:
    assert parse_time(format_time(ns)) == ns


@pytest.mark.parametrize(
    ("text", "ns"), [("250ms", 250_000_000), ("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000)]
)
def test_a_duration_is_read_and_written(text: str, ns: int) -> None:
    assert parse_duration(text) == ns
    assert parse_duration(format_duration(ns)) == ns


@pytest.mark.parametrize("text", ["", "5", "m", "1m x", "-1s"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(InputError, match="is not a duration: expected one like"):
        parse_duration(text)


def test_clocks_never_go_back_and_never_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine's clock is set back by 50: until it has caught up, half of what passes is counted."""
    passed, wall = iter([0, 0, 20, 40, 60, 100]), iter([100, 70, 90, 110, 150])
    monkeypatch.setattr("observer_core.shared.clock.time.monotonic_ns", lambda: next(passed))
    monkeypatch.setattr("observer_core.shared.clock.time.time_ns", lambda: next(wall))
    clock = SystemClock()
    assert [clock.now_ns() for _ in range(5)] == [100, 110, 120, 130, 150]
    manual = ManualClock(10)
    manual.set(5)
    assert manual.now_ns() == 10


def test_ids_tell_parts_apart() -> None:
    ids = {derive("a", "bc"), derive("ab", "c"), derive("abc"), derive("1"), derive(1), derive("a", "b", "c")}
    assert len(ids) == 6
    assert derive("a", 1) == derive("a", 1) == "919759daf83ac5e831de5b14203413be"


def test_references_are_read_back() -> None:
    assert parse_ref(ref("snapshots.binance", 12)) == ("snapshots.binance", 12)
    with pytest.raises(ValueError, match="expected JOURNAL@POSITION"):
        parse_ref("snapshots.binance")
