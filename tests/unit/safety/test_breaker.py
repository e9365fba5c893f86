"""The circuit breaker: when a source is let be, for how long, and that it is always tried again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.safety.breaker import Breaker, BreakerConfig
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND

T0 = 1_700_000_000 * SECOND
CONFIG = BreakerConfig(failures=3, pause=10 * SECOND, longest=60 * SECOND)
ALMOST_ONE = 1 - 2**-53


def failed(times: int, *, jitter: float = 0.0, config: BreakerConfig = CONFIG) -> Breaker:
    """After so many failures in a row, each tried as soon as it was allowed to."""
    breaker, now = Breaker(), T0
    for _ in range(times):
        now = max(now, breaker.until_ns)
        breaker = breaker.at(now, config).failed(now, config, jitter)
    return breaker


# ---------------------------------------------------------------------- transitions


def test_fewer_failures_than_allowed_leave_it_closed() -> None:
    assert failed(2) == Breaker("closed", failures=2)


def test_the_failure_that_is_one_too_many_opens_it() -> None:
    assert failed(3) == Breaker("open", failures=3, trips=1, until_ns=T0 + 5 * SECOND)


def test_one_failure_is_enough_where_one_is_allowed() -> None:
    assert failed(1, config=BreakerConfig(failures=1)).state == "open"


def test_a_success_between_failures_begins_the_count_anew() -> None:
    breaker = failed(2).succeeded()
    assert breaker == Breaker()
    assert breaker.failed(T0, CONFIG, 0.0).state == "closed"


def test_it_is_half_open_from_the_end_of_its_pause_on_and_not_before() -> None:
    breaker = failed(3)
    assert breaker.at(breaker.until_ns - 1, CONFIG) is breaker
    assert breaker.at(breaker.until_ns, CONFIG) == breaker._replace(state="half_open")
    assert breaker.at(breaker.until_ns + 10**18, CONFIG).state == "half_open"


def test_a_pause_that_a_wrong_clock_began_far_ahead_is_over() -> None:
    breaker = failed(3)
    assert breaker.at(breaker.until_ns - CONFIG.longest, CONFIG) is breaker
    assert breaker.at(breaker.until_ns - CONFIG.longest - 1, CONFIG).state == "half_open"


@pytest.mark.parametrize("breaker", [Breaker(), failed(2), failed(3)._replace(state="half_open")])
def test_time_changes_nothing_but_an_open_circuit(breaker: Breaker) -> None:
    assert breaker.at(T0 + 10**18, CONFIG) is breaker


def test_what_is_tried_half_open_closes_it_or_opens_it_at_once() -> None:
    half = failed(3).at(T0 + 5 * SECOND, CONFIG)
    assert half.succeeded() == Breaker()
    again = half.failed(T0 + 5 * SECOND, CONFIG, 0.0)
    assert (again.state, again.failures, again.trips) == ("open", 4, 2)


def test_after_a_success_the_first_pause_is_short_again() -> None:
    breaker = failed(7).succeeded()
    for _ in range(3):
        breaker = breaker.failed(T0, CONFIG, 0.0)
    assert breaker.until_ns - T0 == 5 * SECOND


# ---------------------------------------------------------------------- pauses


def pauses(count: int, jitter: float, config: BreakerConfig = CONFIG) -> list[int]:
    """How long it is let be each time it opens."""
    breaker, now, found = Breaker(), T0, []
    while len(found) < count:
        breaker = breaker.at(now, config).failed(now, config, jitter)
        if breaker.state == "open":
            found.append(breaker.until_ns - now)
            now = breaker.until_ns
    return found


def test_the_pause_doubles_up_to_the_longest() -> None:
    assert [pause / SECOND for pause in pauses(6, 0.0)] == [5, 10, 20, 30, 30, 30]


def test_jitter_is_half_of_the_pause_and_no_more() -> None:
    assert [pause / SECOND for pause in pauses(5, ALMOST_ONE)] == [10, 20, 40, 60, 60]
    assert [pause / SECOND for pause in pauses(5, 0.5)] == [7.5, 15, 30, 45, 45]


def test_a_circuit_that_opened_a_thousand_times_waits_no_longer_than_the_longest() -> None:
    config = BreakerConfig(failures=1, pause=SECOND, longest=10**18)
    found = pauses(1000, ALMOST_ONE, config)
    assert found == sorted(found)
    assert found[-1] == SECOND << 20


# ---------------------------------------------------------------------- what is written down


@pytest.mark.parametrize(
    "breaker", [Breaker(), failed(2), failed(3), failed(3).at(2 * T0, CONFIG), failed(9)]
)
def test_it_comes_back_from_json(breaker: Breaker) -> None:
    assert Breaker.of(decode(encode(breaker.to_json()))) == breaker


def test_a_circuit_that_never_opened_says_little() -> None:
    assert failed(2).to_json() == {"state": "closed", "failures": 2}
    assert failed(3).to_json() == {
        "state": "open", "failures": 3, "trips": 1, "until_ns": T0 + 5 * SECOND,
    }  # fmt: skip


def test_what_it_was_before_does_not_disturb_the_reading() -> None:
    assert Breaker.of({**failed(3).to_json(), "was": "closed"}) == failed(3)
    assert Breaker.of({**Breaker().to_json(), "was": "half_open"}) == Breaker()


def test_of_nothing_it_is_closed() -> None:
    assert Breaker.of(None) == Breaker()


# ---------------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"failures": 0}, "greater than 0"),
        ({"pause": "0s"}, "greater than 0"),
        ({"longest": "0s"}, "greater than 0"),
        ({"pause": "2m"}, "longest is shorter than pause"),
        ({"pause": "10s", "longest": "9s"}, "longest is shorter than pause"),
        ({"pause": "soon"}, "not a duration"),
        ({"pauses": "1s"}, "Extra inputs"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        BreakerConfig(**given_)


def test_pause_and_longest_may_be_the_same() -> None:
    config = BreakerConfig.model_validate({"failures": 1, "pause": "4s", "longest": "4s"})
    assert [pause / SECOND for pause in pauses(3, 0.0, config)] == [2, 2, 2]


# ---------------------------------------------------------------------- whatever happens


@given(
    failures=st.integers(1, 5),
    pause=st.integers(2, 10**12),
    longer=st.integers(0, 10**13),
    steps=st.lists(
        st.tuples(st.booleans(), st.floats(0, ALMOST_ONE), st.integers(0, 10**12)), min_size=1, max_size=60
    ),
)
def test_it_never_asks_more_often_than_allowed_and_always_opens_a_way_back(
    failures: int, pause: int, longer: int, steps: list[tuple[bool, float, int]]
) -> None:
    config = BreakerConfig(failures=failures, pause=pause, longest=pause + longer)
    breaker, now, row = Breaker(), T0, 0
    not_before, trips = T0, 0
    for works, jitter, later in steps:
        now += later
        breaker = Breaker.of(breaker.to_json()).at(now, config)
        if breaker.state == "open":
            assert now < not_before
            assert breaker.until_ns == not_before
            continue
        assert now >= not_before
        if works:
            breaker, row, trips = breaker.succeeded(), 0, 0
            assert breaker == Breaker()
            continue
        breaker, row = breaker.failed(now, config, jitter), row + 1
        assert breaker.failures == row
        assert (breaker.state == "open") == (row >= failures)
        if breaker.state == "open":
            expected = min(pause * 2**trips, config.longest)
            trips += 1
            not_before = breaker.until_ns
            assert expected // 2 <= not_before - now <= expected
            assert breaker.at(not_before, config).state == "half_open"
