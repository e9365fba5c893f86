"""A venue in several parts stops as one."""

from typing import Any

from observer_core.shared.records import Event
from tests.unit.event_bus.test_publisher import MINUTE, T0, Run, pattern, short

VENUES = {**{f"binance-{n}": "binance" for n in range(3)}, "ticks": "kraken", "trades": "kraken"}


def halt(run: Run, at: int, part: str, channel: str = "trades", kind: str = "venue_halt") -> list[Event]:
    series = ((part, "A", "price"), (part, "B", "price"))
    evidence: dict[str, Any] = {"channel": [channel, channel]}
    severity = "critical" if kind == "venue_halt" else "info"
    return run.take(pattern(at, kind, series=series, evidence=evidence, severity=severity, direction="none"))


def test_more_than_half_of_the_parts_are_the_venue() -> None:
    run = Run(venues=VENUES)
    first = halt(run, T0, "binance-1")
    assert short(first) == ["feed.halted", "incident.opened"]
    own, told, venue = halt(run, T0 + MINUTE, "binance-0")
    assert told.data["sources"] == ["binance-0", "binance-1"]
    assert (own.type, own.subject) == (venue.type, "binance-0")
    assert (venue.subject, venue.data["series"]) == ("binance", [["binance", "*", "trades"]])
    assert venue.data["evidence"] == {
        "channel": "trades", "halted": 2, "of": 3, "sources": ["binance-0", "binance-1"],
    }  # fmt: skip
    assert venue.correlationid == first[0].correlationid
    assert venue.id != own.id
    assert short(halt(run, T0 + MINUTE, "binance-2")) == ["feed.halted"]


def test_it_reopens_when_at_most_half_are_halted_still() -> None:
    run = Run(venues=VENUES)
    for part in ("binance-0", "binance-1", "binance-2"):
        halt(run, T0, part)
    at = T0 + 30 * MINUTE
    assert short(halt(run, at, "binance-0", kind="venue_resumed")) == ["feed.reopened"]
    own, venue = halt(run, at, "binance-1", kind="venue_resumed")
    assert (own.subject, venue.subject, venue.type) == ("binance-1", "binance", own.type)
    assert venue.data["series"] == [["binance", "*", "trades"]]
    assert run.tick(at + 99 * MINUTE) == []
    halt(run, at + 100 * MINUTE, "binance-2", kind="venue_resumed")
    assert short(run.tick(at + 200 * MINUTE)) == ["incident.resolved"]


def test_channels_and_venues_are_counted_apart() -> None:
    run = Run(venues=VENUES)
    events = halt(run, T0, "binance-0", "trades") + halt(run, T0, "binance-1", "quotes")
    events += halt(run, T0, "trades") + halt(run, T0, "upbit")
    assert [event.subject for event in events if event.type.endswith("halted")] == [
        "binance-0",
        "binance-1",
        "trades",
        "upbit",
    ]


def test_a_halt_repeated_counts_once() -> None:
    run = Run(venues=VENUES)
    halt(run, T0, "binance-0")
    assert short(halt(run, T0 + MINUTE, "binance-0")) == ["feed.halted"]
