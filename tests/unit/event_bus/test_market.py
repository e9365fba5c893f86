"""Moves of several venues at once are one."""

from typing import Any

from observer_core.shared.clock import SECOND
from observer_core.shared.records import Event, PatternRecord
from tests.unit.event_bus.test_publisher import MINUTE, T0, Run, pattern, short

DAY = 86_400 * SECOND


def move(at: int, venue: str, subject: str = "BTC", kind: str = "price_shock", **more: Any) -> PatternRecord:
    return pattern(at, kind, series=((venue, subject, "price"),), **more)


def test_a_later_venue_joins_the_incident_of_the_first_and_that_is_told() -> None:
    run = Run()
    first = run.take(move(T0, "binance"))[1]
    events = run.take(move(T0 + MINUTE, "kraken"), "patterns.kraken")
    assert short(events) == ["pattern.price_shock", "incident.updated"]
    assert {event.correlationid for event in events} == {first.correlationid}
    assert events[1].data["sources"] == ["binance", "kraken"]
    assert events[1].subject == "binance"
    (shown,) = run.stage.views(run.state)["incidents"]["open"]
    assert (shown["source"], shown["venue"], shown["sources"]) == (
        "binance",
        "binance",
        ["binance", "kraken"],
    )
    assert short(run.take(move(T0 + 10 * MINUTE, "kraken", kind="level_shift"))) == ["pattern.level_shift"]
    assert len(run.tick(T0 + 60 * MINUTE)) == 1


def test_enough_subjects_of_enough_venues_are_one_market_shock_with_the_first_mover_first() -> None:
    run = Run()
    told = run.take(move(T0, "binance", "BTC", cadence_ns=SECOND, direction="down"))
    told += run.take(move(T0 + SECOND, "binance", "ETH", direction="down"))
    assert "pattern.market_shock" not in short(told)
    onset = {"onset_ns": T0 - 30 * SECOND}
    events = run.take(move(T0 + 2 * SECOND, "kraken", "BTC", score=0.95, direction="down", evidence=onset))
    assert short(events) == ["pattern.price_shock", "incident.updated", "pattern.market_shock"]
    shock = events[2]
    assert shock.correlationid == events[1].correlationid
    assert [series[:2] for series in shock.data["series"]] == [
        ["kraken", "BTC"],
        ["binance", "BTC"],
        ["binance", "ETH"],
    ]
    assert shock.data["sources"] == ["binance", "kraken"]
    assert (shock.data["direction"], shock.data["score"]) == ("down", 0.95)
    assert shock.data["evidence"]["subjects"] == 3
    assert shock.source.endswith("/kraken")
    more = run.take(move(T0 + 3 * SECOND, "upbit", "BTC"))
    assert "pattern.market_shock" not in short(more)


def test_moves_beyond_the_window_are_apart() -> None:
    run = Run()
    first = run.take(move(T0, "binance"))[0]
    assert run.take(move(T0 + 6 * MINUTE, "kraken"))[0].correlationid != first.correlationid


def test_the_window_is_a_cadence_at_least() -> None:
    run = Run()
    first = run.take(move(T0, "oslo", cadence_ns=DAY))[0]
    late = run.take(move(T0 + DAY // 2, "tokyo", cadence_ns=DAY))[0]
    assert late.correlationid == first.correlationid


def test_what_is_no_move_of_a_market_stays_apart() -> None:
    run = Run()
    first = run.take(move(T0, "binance"))[0].correlationid
    others = [
        pattern(T0 + 1, series=(("host", "web", "cpu"),)),
        pattern(T0 + 1, series=(("kraken", "BTC", "volume"),)),
        move(T0 + 1, "upbit", kind="volatility_regime", direction="down"),
        move(T0 + 1, "bitfinex", kind="feed_stale"),
    ]
    found = {run.take(other)[0].correlationid for other in others}
    assert len(found) == 4
    assert first not in found


def test_two_venues_that_each_had_an_incident_become_one_when_both_move() -> None:
    run = Run()
    older = run.take(move(T0, "binance", kind="level_shift"))[0].correlationid
    stale = run.take(pattern(T0 + MINUTE, "feed_stale", series=(("kraken", "LTC", "bid"),)))
    younger = stale[0].correlationid
    run.take(move(T0 + 2 * MINUTE, "binance"))
    events = run.take(move(T0 + 3 * MINUTE, "kraken", severity="critical"))
    assert short(events) == ["pattern.price_shock", "incident.resolved", "incident.updated"]
    _, resolved, updated = events
    assert (resolved.correlationid, resolved.data["merged_into"]) == (younger, older)
    assert resolved.data["state"] == "resolved"
    assert (updated.correlationid, updated.data["merged"]) == (older, [younger])
    assert updated.data["series_count"] == 3
    assert updated.severitytext == "critical"
    assert run.tick(T0 + 600 * MINUTE) == []
    resumed = run.take(pattern(T0 + 601 * MINUTE, "feed_resumed", series=(("kraken", "LTC", "bid"),)))
    assert resumed[0].correlationid == older
    assert [event.correlationid for event in run.tick(T0 + 700 * MINUTE)] == [older]


def test_moves_that_wait_in_several_venues_open_one_together() -> None:
    run = Run(chance=1e-6)
    for venue in ("binance", "kraken"):
        for number in range(40):
            run.take(move(T0 - DAY, venue, f"S{number}", severity="info"))
    waiting = [run.take(move(T0, venue, "S1")) for venue in ("binance", "kraken")]
    assert [event.correlationid for events in waiting for event in events] == ["", ""]
    events = run.take(move(T0 + SECOND, "binance", "S2"))
    assert short(events) == ["pattern.price_shock", "incident.opened", "pattern.market_shock"]
    assert events[1].data["earlier"] == [event.causationid for found in waiting for event in found]


def test_parts_of_one_venue_are_no_two_venues() -> None:
    run = Run(venues={"binance-0": "binance", "binance-1": "binance"})
    told: list[Event] = []
    for part, subject in (("binance-0", "A"), ("binance-1", "B"), ("binance-1", "C"), ("binance-0", "D")):
        told += run.take(move(T0, part, subject))
    opened = [event for event in told if event.type.endswith("opened")]
    assert [event.subject for event in opened] == ["binance"]
    assert "pattern.market_shock" not in short(told)
    assert {event.correlationid for event in told} == {opened[0].correlationid}
    assert run.tick(T0 + 60 * MINUTE)[0].data["sources"] == ["binance-0", "binance-1"]
