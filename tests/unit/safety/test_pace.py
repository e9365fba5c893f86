"""How often a host is asked."""

from __future__ import annotations

import pytest

from observer_core.safety.pace import Pace


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def paced(rate: float) -> tuple[Pace, Time]:
    time = Time()
    return Pace(rate, now=lambda: time.now, sleep=time.sleep), time


def test_a_burst_of_one_second_is_free_and_then_each_request_waits_for_its_turn() -> None:
    pace, time = paced(4)
    for _ in range(8):
        pace.wait()
    assert time.slept == [pytest.approx(0.25)] * 4
    assert time.now == pytest.approx(101.0)


def test_what_was_not_used_is_kept_for_a_second_only() -> None:
    pace, time = paced(2)
    time.now += 1000
    for _ in range(3):
        pace.wait()
    assert time.slept == [pytest.approx(0.5)]


def test_less_than_one_request_a_second_is_possible() -> None:
    pace, time = paced(0.1)
    pace.wait()
    pace.wait()
    assert time.slept == [pytest.approx(10)]


def test_those_that_ask_at_the_same_time_go_one_after_the_other() -> None:
    time = Time()
    waits: list[float] = []
    pace = Pace(1, now=lambda: time.now, sleep=waits.append)
    for _ in range(4):
        pace.wait()
    assert waits == [1.0, 2.0, 3.0]
