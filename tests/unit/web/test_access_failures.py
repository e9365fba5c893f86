"""Wrong credentials by address: bounded in number, in time and in memory."""

from __future__ import annotations

import pytest

from observer_core.web.failures import ADDRESSES, PER_WINDOW, WINDOW_S, Failures, address_of


class Watch:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_are_looked_into_and_then_none_until_the_first_is_old() -> None:
    watch = Watch()
    failures = Failures(watch)
    found = []
    for _ in range(PER_WINDOW):
        found.append(failures.add("a"))
        watch.now += 1
    assert [item.wait_s for item in found] == [None] * PER_WINDOW
    assert [item.last for item in found] == [False] * (PER_WINDOW - 1) + [True]
    assert failures.add("a").wait_s == WINDOW_S - PER_WINDOW
    watch.now += WINDOW_S - PER_WINDOW - 0.5
    assert failures.add("a").wait_s == 1
    watch.now += 0.5
    assert failures.add("a").wait_s is None
    assert failures.add("a").wait_s == 1


def test_insisting_does_not_make_the_wait_longer() -> None:
    watch = Watch()
    failures = Failures(watch)
    for _ in range(PER_WINDOW + 50):
        failures.add("a")
    watch.now += WINDOW_S
    assert failures.add("a").wait_s is None


def test_one_address_is_not_the_other() -> None:
    failures = Failures(Watch())
    for _ in range(PER_WINDOW + 1):
        failures.add("a")
    assert failures.add("b").wait_s is None


def test_the_memory_is_bounded_and_forgets_who_was_right_for_longest() -> None:
    failures = Failures(Watch())
    for _ in range(PER_WINDOW):
        failures.add("first")
        failures.add("second")
    for number in range(ADDRESSES - 2):
        failures.add(str(number))
    failures.add("first")
    failures.add("one more")
    assert len(failures) == ADDRESSES
    assert failures.add("first").wait_s is not None
    assert failures.add("second").wait_s is None


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("203.0.113.7", 5), "203.0.113.7"),
        (("::ffff:203.0.113.7", 5), "203.0.113.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("a" * 100, 5), "a" * 64),
        (("", 5), "unknown"),
        (None, "unknown"),
    ],
)
def test_who_has_an_address_of_ipv6_has_many(client: tuple[str, int] | None, address: str) -> None:
    assert address_of({"type": "http", "client": client}) == address


def test_what_a_client_says_of_where_it_is_is_not_believed() -> None:
    scope = {"type": "http", "client": ("203.0.113.7", 5), "headers": [(b"x-forwarded-for", b"198.51.100.1")]}
    assert address_of(scope) == "203.0.113.7"
