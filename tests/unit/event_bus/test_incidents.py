"""The life of an incident: opened, updated, resolved."""

from dataclasses import replace

import pytest

from observer_core.event_bus.incidents import HOLDING
from observer_core.shared.clock import SECOND
from observer_core.shared.records import RECOVERIES, Note, PatternRecord
from tests.unit.event_bus.test_publisher import MINUTE, T0, Run, pattern, short


def test_a_grave_pattern_opens_an_incident_right_after_its_event() -> None:
    run = Run()
    first, opened = run.take(pattern())
    assert opened.type == "io.qts.observer.incident.opened"
    assert first.correlationid == opened.correlationid == opened.data["id"]
    assert opened.data["state"] == "open"
    assert opened.data["patterns"] == {"spike": 1}
    assert (opened.data["opened_ns"], opened.data["last_ns"]) == (T0, T0)
    view = {
        "id": opened.data["id"], "severity": "warning", "since_ns": T0, "source": "binance",
        "venue": "binance", "sources": ["binance"],
    }  # fmt: skip
    assert run.stage.views(run.state) == {"incidents": {"open": [view]}}


def test_an_info_pattern_opens_nothing_and_belongs_to_the_incident_of_its_moment() -> None:
    run = Run()
    assert [event.correlationid for event in run.take(pattern(severity="info"))] == [""]
    incident = run.take(pattern())[1].data["id"]
    mild = pattern(T0 + 2 * MINUTE, series=(("binance", "ETH/USDT", "volume"),), severity="info")
    assert run.take(mild)[0].correlationid == incident
    assert run.take(replace(mild, time_ns=T0 + 4 * MINUTE))[0].correlationid == ""
    (resolved,) = run.tick(T0 + 60 * MINUTE)
    assert resolved.time_ns == T0 + 15 * MINUTE
    assert resolved.data["series_count"] == 2


def test_the_bar_is_configurable() -> None:
    assert short(Run(incident_severity="critical").take(pattern())) == ["pattern.spike"]
    assert len(Run(incident_severity="info").take(pattern(severity="info"))) == 2


def test_a_further_pattern_joins_without_a_word_until_it_is_graver() -> None:
    run = Run()
    incident = run.take(pattern())[0].correlationid
    (joined,) = run.take(pattern(T0 + SECOND))
    assert joined.correlationid == incident
    version = run.stage.views_version(run.state)
    assert short(run.take(pattern(T0 + 2 * SECOND, severity="critical"))) == [
        "pattern.spike",
        "incident.updated",
    ]
    assert run.stage.views_version(run.state) > version
    assert run.stage.views(run.state)["incidents"]["open"][0]["severity"] == "critical"
    assert short(run.take(pattern(T0 + 3 * SECOND, severity="warning"))) == ["pattern.spike"]


def test_doubling_the_series_is_an_update() -> None:
    run = Run()
    told = []
    for number in range(8):
        series = (("binance", f"S{number}", "price"),)
        told.append(len(run.take(replace(pattern(T0 + number), series=series))) == 2)
    assert told == [True, True, False, True, False, False, False, True]


def test_sources_have_incidents_of_their_own() -> None:
    run = Run()
    first = run.take(pattern())[1]
    second = run.take(pattern(series=(("web-1", "cpu", "load"),)), "patterns.web-1")[1]
    assert first.correlationid != second.correlationid
    assert second.subject == "web-1"


def test_series_are_ranked_by_first_time_then_score_and_capped() -> None:
    run = Run()
    many = tuple(("binance", f"S{number:02d}", "price") for number in range(60))
    run.take(pattern(series=(("binance", "first", "price"),), score=0.1))
    run.take(pattern(T0 + 1, series=many, score=0.5))
    run.take(pattern(T0 + 1, series=(("binance", "S59", "price"),), score=0.8))
    (resolved,) = run.tick(T0 + 60 * MINUTE)
    data = resolved.data
    assert data["series_count"] == 61
    assert len(data["series"]) == len(data["first_ns"]) == len(data["scores"]) == 50
    assert [subject for _, subject, _ in data["series"][:3]] == ["first", "S59", "S00"]
    assert data["score"] == 0.8


def test_quiet_resolves_at_exactly_its_due_moment() -> None:
    run = Run()
    incident = run.take(pattern())[0].correlationid
    run.take(pattern(T0 + MINUTE))
    due = T0 + 16 * MINUTE
    assert run.tick(due - 1) == []
    (resolved,) = run.tick(due + 5 * MINUTE)
    assert resolved.type == "io.qts.observer.incident.resolved"
    assert (resolved.time_ns, resolved.correlationid) == (due, incident)
    assert resolved.causationid == "patterns.binance@2"
    assert resolved.data["state"] == "resolved"
    assert run.stage.views(run.state) == {"incidents": {"open": []}}


def test_what_is_due_fires_before_the_entry_that_shows_it() -> None:
    run = Run()
    first = run.take(pattern())[0].correlationid
    events = run.take(pattern(T0 + 15 * MINUTE))
    assert short(events) == ["incident.resolved", "pattern.spike", "incident.opened"]
    assert events[2].correlationid != first
    assert [event.time_ns for event in events] == [T0 + 15 * MINUTE] * 3


def test_advance_resolves_as_an_entry_would() -> None:
    by_entry, by_time = Run(), Run()
    by_entry.take(pattern())
    by_time.take(pattern())
    resolved = by_time.stage.advance(by_time.state, T0 + 99 * MINUTE)
    assert list(resolved) == by_entry.tick(T0 + 99 * MINUTE)
    assert by_time.stage.advance(by_time.state, T0 + 99 * MINUTE) == []


def test_quiet_is_three_cadences_for_slow_data() -> None:
    run = Run()
    day = 86_400 * SECOND
    run.take(pattern(cadence_ns=day))
    assert run.tick(T0 + 3 * day - 1) == []
    assert run.tick(T0 + 3 * day)[0].time_ns == T0 + 3 * day


def test_a_stale_feed_keeps_the_incident_open_until_every_series_resumed() -> None:
    run = Run()
    two = (("binance", "A", "price"), ("binance", "B", "price"))
    incident = run.take(pattern(kind="feed_stale", series=two))[0].correlationid
    assert run.tick(T0 + 500 * MINUTE) == []
    at = T0 + 501 * MINUTE
    (resumed,) = run.take(pattern(at, kind="feed_resumed", severity="info", series=two[:1]))
    assert resumed.correlationid == incident
    assert run.tick(T0 + 900 * MINUTE) == []
    at = T0 + 901 * MINUTE
    run.take(pattern(at, kind="feed_resumed", severity="info", series=two[1:]))
    (resolved,) = run.tick(T0 + 999 * MINUTE)
    assert resolved.time_ns == at + 15 * MINUTE


def test_an_unavailable_source_keeps_the_incident_open_until_it_is_available() -> None:
    run = Run()
    run.take(pattern(kind="feed_unavailable", series=(("binance", "binance", "status"),)))
    assert run.tick(T0 + 500 * MINUTE) == []
    at = T0 + 501 * MINUTE
    run.take(pattern(at, kind="feed_available", severity="info", series=(("binance", "binance", "status"),)))
    assert run.tick(at + 15 * MINUTE)[0].time_ns == at + 15 * MINUTE


def test_incidents_due_together_end_in_order_of_time_then_source() -> None:
    run = Run()
    for source in ("kraken", "coinbase", "binance"):
        at = T0 + (source == "binance")
        run.take(pattern(at, series=((source, "X", "load"),)), f"patterns.{source}")
    ended = run.tick(T0 + 60 * MINUTE)
    assert [event.subject for event in ended] == ["coinbase", "kraken", "binance"]


def test_a_recovery_from_nothing_belongs_to_no_incident_and_opens_none() -> None:
    run = Run()
    assert [e.correlationid for e in run.take(pattern(kind="feed_resumed"))] == [""]
    run.take(pattern())
    assert [e.correlationid for e in run.take(pattern(T0 + MINUTE, kind="feed_resumed"))] == [""]
    assert run.tick(T0 + 60 * MINUTE)[0].time_ns == T0 + 15 * MINUTE


def condition(at: int, kind: str, subject: str = "A", **changes: object) -> PatternRecord:
    return pattern(at, kind, series=(("binance", subject, "bid"),), **changes)


@pytest.mark.parametrize("kind", sorted(HOLDING))
def test_a_condition_holds_its_incident_until_its_recovery(kind: str) -> None:
    run = Run()
    incident = run.take(condition(T0, kind))[0].correlationid
    assert run.tick(T0 + 5000 * MINUTE) == []
    at = T0 + 5001 * MINUTE
    assert run.take(condition(at, RECOVERIES[kind], severity="info"))[0].correlationid == incident
    assert [event.time_ns for event in run.tick(at + 99 * MINUTE)] == [at + 15 * MINUTE]


@pytest.mark.parametrize("kind", ["drawdown", "correlation_break"])
def test_what_may_last_for_months_holds_nothing_open(kind: str) -> None:
    run = Run()
    run.take(condition(T0, kind))
    assert run.tick(T0 + 60 * MINUTE)[0].time_ns == T0 + 15 * MINUTE
    late = condition(T0 + 90 * MINUTE, RECOVERIES[kind], severity="critical")
    assert [event.correlationid for event in run.take(late)] == [""]


def test_a_recovery_ends_the_condition_of_its_own_kind_only() -> None:
    run = Run()
    run.take(condition(T0, "crossed_book"))
    run.take(condition(T0, "spread_blowout"))
    run.take(condition(T0 + MINUTE, "book_uncrossed"))
    assert run.tick(T0 + 500 * MINUTE) == []
    run.take(condition(T0 + 501 * MINUTE, "spread_normal"))
    assert len(run.tick(T0 + 600 * MINUTE)) == 1


def test_a_standing_condition_does_not_swallow_what_happens_hours_later() -> None:
    run = Run()
    stale = run.take(condition(T0, "feed_stale"))[0].correlationid
    at = T0 + 180 * MINUTE
    shock, opened = run.take(pattern(at, "price_shock"))
    assert opened.type.endswith("incident.opened")
    assert shock.correlationid != stale
    further = run.take(pattern(at + MINUTE, "price_shock"))[0]
    assert further.correlationid == shock.correlationid
    assert run.take(condition(at + 2 * MINUTE, "feed_resumed"))[0].correlationid == stale
    ended = run.tick(at + 60 * MINUTE)
    assert [event.correlationid for event in ended] == [shock.correlationid, stale]


def test_the_end_of_a_condition_takes_in_nothing_new_but_its_return() -> None:
    run = Run()
    stale = run.take(condition(T0, "feed_stale"))[0].correlationid
    at = T0 + 180 * MINUTE
    run.take(condition(at, "feed_resumed"))
    assert run.take(pattern(at + MINUTE, "price_shock"))[0].correlationid != stale
    back = run.take(condition(at + 2 * MINUTE, "feed_stale"))
    assert [event.correlationid for event in back] == [stale]


def test_more_than_the_return_of_a_condition_is_an_incident_of_its_own() -> None:
    run = Run()
    stale = run.take(condition(T0, "feed_stale"))[0].correlationid
    many = tuple(("binance", subject, "bid") for subject in "ABCDE")
    assert run.take(pattern(T0 + 180 * MINUTE, "feed_stale", series=many))[0].correlationid != stale


def test_what_comes_and_goes_every_minute_is_one_incident_with_a_count() -> None:
    run, told = Run(), []
    for minute in range(60):
        kind = "feed_resumed" if minute % 2 else "feed_stale"
        told += run.take(condition(T0 + minute * MINUTE, kind))
    assert short([event for event in told if "incident" in event.type]) == ["incident.opened"]
    (resolved,) = run.tick(T0 + 99 * MINUTE)
    assert resolved.data["flaps"] == 29
    assert resolved.data["patterns"] == {"feed_stale": 30, "feed_resumed": 30}


def test_trouble_that_returns_every_twenty_minutes_is_two_incidents() -> None:
    run, told = Run(), []
    for number in range(72):
        told += run.take(pattern(T0 + number * 20 * MINUTE))
    opened = [event for event in told if event.type.endswith("opened")]
    assert len(opened) == 2
    assert opened[1].data["follows"] == opened[0].data["id"]
    assert opened[1].data["quiet_ns"] == 30 * MINUTE


def test_quiet_times_grow_to_eight_times_and_are_forgotten_after_a_pause() -> None:
    run, at, quiet = Run(), T0, []
    for _ in range(6):
        opened = run.take(pattern(at))[-1]
        quiet.append(opened.data["quiet_ns"] // MINUTE)
        at += opened.data["quiet_ns"] + MINUTE
    assert quiet == [15, 30, 60, 120, 120, 120]
    opened = run.take(pattern(at + 200 * MINUTE))[-1]
    assert (opened.data["quiet_ns"], opened.data["follows"]) == (15 * MINUTE, "")


def test_what_follows_with_other_patterns_is_no_return() -> None:
    run = Run()
    run.take(pattern())
    assert run.take(pattern(T0 + 20 * MINUTE, "level_shift"))[-1].data["follows"] == ""


def test_series_moved_at_their_onset_and_started_is_what_moved_first() -> None:
    run = Run()
    pair = (("binance", "A", "price"), ("binance", "B", "price"))
    first = pattern(T0, "price_shock", series=pair, score=0.8, evidence={"onset_ns": [T0 - 5, T0 - 9]})
    run.take(first)
    later = pattern(T0 + 1, "level_shift", series=(("binance", "C", "price"),), evidence={"onset_ns": T0 - 7})
    run.take(later)
    run.take(pattern(T0 + 2, series=pair[:1], score=0.9, evidence={"onset_ns": T0 + MINUTE}))
    data = run.tick(T0 + 60 * MINUTE)[0].data
    assert [subject for _, subject, _ in data["series"]] == ["B", "C", "A"]
    assert data["first_ns"] == [T0 - 9, T0 - 7, T0 - 5]
    assert data["scores"] == [0.8, 0.9, 0.9]
    assert data["first_patterns"] == ["price_shock", "level_shift", "price_shock"]
    assert data["started"] == [["binance", "B", "price"]]


def test_series_of_one_record_keep_its_order_of_strength() -> None:
    run = Run()
    run.take(pattern(series=tuple(("binance", name, "price") for name in "CAB")))
    data = run.tick(T0 + 60 * MINUTE)[0].data
    assert [subject for _, subject, _ in data["series"]] == ["C", "A", "B"]
    assert data["started"] == data["series"]


def test_two_incidents_that_end_by_one_record_have_events_of_their_own() -> None:
    run = Run()
    run.take(condition(T0, "feed_stale", "A"))
    run.take(condition(T0 + 60 * MINUTE, "feed_stale", "B"))
    both = tuple(("binance", subject, "bid") for subject in "AB")
    run.take(pattern(T0 + 90 * MINUTE, "feed_resumed", series=both))
    ended = run.tick(T0 + 300 * MINUTE)
    assert len(ended) == len({event.id for event in ended}) == 2


# ---------------------------------------------------------------------- ended by hand


def asked(incident: str, at: int = T0 + MINUTE, **changes: object) -> Note:
    body = {"action": "end", "id": incident, "author": "kim", "reason": "delisted", **changes}
    return Note(kind="incident", time_ns=at, body=body)


def halted(run: Run) -> str:
    """An incident that a series which fell silent holds open."""
    opened = run.take(pattern(kind="feed_stale", severity="critical"))[1]
    assert run.tick(T0 + 600 * MINUTE) == []
    return str(opened.data["id"])


def test_an_operator_ends_an_incident_that_would_stay_open_for_ever() -> None:
    run = Run()
    incident = halted(run)
    (resolved,) = run.take(asked(incident, T0 + 601 * MINUTE, principal="token:kim"), "commands.live")
    assert resolved.type == "io.qts.observer.incident.resolved"
    assert (resolved.causationid, resolved.correlationid) == (f"commands.live@{run.position}", incident)
    assert (resolved.time_ns, resolved.data["state"]) == (T0 + 601 * MINUTE, "resolved")
    assert resolved.data["standing"] == 0
    assert resolved.data["ended"] == {
        "author": "kim", "reason": "delisted", "principal": "token:kim",
        "conditions": [["feed_stale", "binance", "BTC/USDT", "price"]],
    }  # fmt: skip
    assert run.stage.views(run.state) == {"incidents": {"open": []}}
    assert run.tick(T0 + 2000 * MINUTE) == []


def test_its_conditions_do_not_bring_it_back_but_a_new_pattern_opens_another() -> None:
    run = Run()
    incident = halted(run)
    at = T0 + 601 * MINUTE
    run.take(asked(incident, at), "commands.live")
    assert short(run.take(pattern(at + SECOND, kind="feed_resumed"))) == ["feed.resumed"]
    again = run.take(pattern(at + MINUTE, kind="feed_stale", severity="critical"))
    assert short(again) == ["feed.stale", "incident.opened"]
    assert again[1].data["id"] != incident
    assert again[1].data["follows"] == incident


def test_what_cannot_be_ended_is_recorded_with_the_reason() -> None:
    run = Run()
    incident = run.take(pattern())[1].data["id"]
    run.take(asked(incident), "commands.live")
    for name, changes, why in (
        (incident, {}, f"no incident {incident} is open"),
        ("<b>", {}, "no incident <b> is open"),
        (incident, {"action": "open"}, "action 'open' is unknown"),
    ):
        (note,) = run.take(asked(name, **changes), "commands.live")
        assert isinstance(note, Note)
        assert (note.body["id"], note.body["refused"], note.body["author"]) == (name, why, "kim")


def test_other_things_that_are_asked_of_the_domain_change_nothing() -> None:
    run = Run()
    run.take(pattern())
    before = run.stage.dump(run.state)
    for kind in ("command", "silence", "subscription"):
        assert run.take(Note(kind=kind, time_ns=T0 + MINUTE, body={"action": "end"}), "commands.live") == []
    assert run.stage.dump(run.state) == before


def test_what_was_due_ends_before_what_is_asked() -> None:
    run = Run()
    incident = run.take(pattern())[1].data["id"]
    resolved, note = run.take(asked(incident, T0 + 60 * MINUTE), "commands.live")
    assert (resolved.time_ns, "ended" in resolved.data) == (T0 + 15 * MINUTE, False)
    assert note.body["refused"]


def test_a_state_that_is_stored_in_between_ends_the_same_incident() -> None:
    whole, cut = Run(), Run()
    told = []
    for run in (whole, cut):
        incident = halted(run)
        if run is cut:
            run.state = run.stage.load(run.stage.dump(run.state))
        ended = run.take(asked(incident, T0 + 601 * MINUTE), "commands.live")
        again = run.take(pattern(T0 + 602 * MINUTE))
        told.append([record.encode(1) for record in (*ended, *again)])
        assert run.stage.dump(run.stage.load(run.stage.dump(run.state))) == run.stage.dump(run.state)
    assert told[0] == told[1]
