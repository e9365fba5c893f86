"""The life of an incident: opened, updated, resolved."""

from dataclasses import replace

from test_publisher import MINUTE, SECOND, T0, Run, pattern, short


def test_a_grave_pattern_opens_an_incident_right_after_its_event() -> None:
    run = Run()
    first, opened = run.take(pattern())
    assert opened.type == "io.qts.observer.incident.opened"
    assert first.correlationid == opened.correlationid == opened.data["id"]
    assert opened.data["state"] == "open"
    assert opened.data["patterns"] == {"spike": 1}
    assert (opened.data["opened_ns"], opened.data["last_ns"]) == (T0, T0)
    view = {"id": opened.data["id"], "severity": "warning", "since_ns": T0, "source": "binance"}
    assert run.stage.views(run.state) == {"incidents": {"open": [view]}}


def test_an_info_pattern_belongs_to_no_incident() -> None:
    run = Run()
    assert [event.correlationid for event in run.take(pattern(severity="info"))] == [""]
    run.take(pattern())
    assert [event.correlationid for event in run.take(pattern(severity="info"))] == [""]


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
    second = run.take(pattern(series=(("kraken", "BTC/USD", "price"),)), "patterns.kraken")[1]
    assert first.correlationid != second.correlationid
    assert second.subject == "kraken"


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
        run.take(pattern(at, series=((source, "X", "price"),)), f"patterns.{source}")
    ended = run.tick(T0 + 60 * MINUTE)
    assert [event.subject for event in ended] == ["coinbase", "kraken", "binance"]


def test_a_recovery_from_nothing_belongs_to_no_incident_and_opens_none() -> None:
    run = Run()
    assert [e.correlationid for e in run.take(pattern(kind="feed_resumed"))] == [""]
    run.take(pattern())
    assert [e.correlationid for e in run.take(pattern(T0 + MINUTE, kind="feed_resumed"))] == [""]
    assert run.tick(T0 + 60 * MINUTE)[0].time_ns == T0 + 15 * MINUTE
