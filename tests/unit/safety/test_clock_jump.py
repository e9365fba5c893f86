"""A clock that is set, and a machine that sleeps: noticed, told apart, and remembered for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from observer_core.safety.clock_jump import WARN_SECONDS, ClockJumps, Jump
from observer_core.shared.clock import SECOND, parse_time

START = parse_time("2026-11-28T12:00:00Z")
HOUR = 3600 * SECOND


class Machine:
    """Its clocks: the wall, the one that only runs, and the one that also counts sleep."""

    def __init__(self, *, counts_sleep: bool = True) -> None:
        self.wall, self.running, self.slept = START, 5 * SECOND, 0
        self.counts_sleep = counts_sleep
        self.jumps = ClockJumps(
            2 * SECOND, lambda: self.wall, lambda: self.running,
            lambda: self.running + self.slept if self.counts_sleep else None,
        )  # fmt: skip

    def passes(self, ns: int) -> Jump | None:
        self.wall += ns
        self.running += ns
        return self.jumps.look()

    def sleeps(self, ns: int) -> Jump | None:
        self.wall += ns
        self.slept += ns
        return self.passes(SECOND // 2)

    def sets(self, by_ns: int) -> Jump | None:
        self.wall += by_ns
        return self.passes(SECOND // 2)


def test_forward_and_back_are_told_with_the_moment() -> None:
    it = Machine()
    assert it.passes(HOUR) is None
    jump = it.sets(90 * SECOND)
    assert jump is not None
    assert (jump.by_ns, jump.forward, jump.asleep) == (90 * SECOND, True, False)
    assert str(jump) == "the clock was set forward by 1m30s at 2026-11-28T13:01:30.5Z"
    assert it.passes(SECOND) is None, "once"
    back = it.sets(-90 * SECOND)
    assert back is not None
    assert not back.forward
    assert str(back) == "the clock was set back by 1m30s at 2026-11-28T13:00:02Z"


def test_sleep_is_told_apart_where_the_system_knows() -> None:
    jump = Machine().sleeps(HOUR)
    assert jump is not None
    assert jump.asleep
    assert str(jump) == "the machine slept for 1h up to 2026-11-28T13:00:00.5Z"
    jump = Machine(counts_sleep=False).sleeps(HOUR)
    assert jump is not None
    assert not jump.asleep
    assert jump.by_ns == HOUR


@given(st.lists(st.integers(-2 * SECOND, 2 * SECOND)))
def test_small_corrections_never_add_up(steps: list[int]) -> None:
    it = Machine()
    assert all(it.sets(step) is None for step in steps)
    assert it.jumps.newest() is None


@given(st.lists(st.integers(-HOUR, HOUR), max_size=20))
def test_all_jumps_together_are_what_the_clock_was_set_by(steps: list[int]) -> None:
    it = Machine()
    found = [jump.by_ns for step in steps if (jump := it.sets(step)) is not None]
    assert found == [step for step in steps if abs(step) > 2 * SECOND]


def test_it_is_forgotten_after_ten_minutes() -> None:
    it = Machine()
    jump = it.sets(HOUR)
    it.passes(int(WARN_SECONDS) * SECOND)
    assert it.jumps.newest() == jump
    it.passes(SECOND)
    assert it.jumps.newest() is None


def test_a_process_that_is_stopped_between_two_readings_sees_no_jump() -> None:
    wall, running = [START], [0]
    stops = iter([0, 0, 30 * SECOND, 0, 0, 0, 0, 0, 0, 0])

    def monotonic() -> int:
        stopped = next(stops, 0)
        running[0] += stopped
        wall[0] += stopped
        return running[0]

    jumps = ClockJumps(2 * SECOND, lambda: wall[0], monotonic, lambda: None)
    for _ in range(3):
        wall[0] += SECOND
        running[0] += SECOND
        assert jumps.look() is None


def test_the_machines_own_clocks_agree() -> None:
    jumps = ClockJumps(2 * SECOND)
    assert jumps.look() is None
