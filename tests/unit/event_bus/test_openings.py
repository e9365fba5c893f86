"""When patterns are more than chance brings."""

import random
from typing import Any

from observer_core.shared.records import Event, PatternRecord
from tests.unit.event_bus.test_publisher import MINUTE, T0, Run, pattern, short

HOUR = 60 * MINUTE


def metric(at: int, *numbers: int, **changes: Any) -> PatternRecord:
    return pattern(at, series=tuple(("host", "web", f"m{n}") for n in numbers), cadence_ns=MINUTE, **changes)


def known_host(alarms: int = 12) -> tuple[Run, int]:
    """A host of 30 metrics that all had their mild alarms, and one that spikes every hour."""
    run = Run()
    for n in range(30):
        run.take(metric(T0 - 40 * HOUR + n * 10 * MINUTE, n, severity="info"))
    for n in range(alarms):
        run.take(metric(T0 - (alarms - n) * HOUR, 33))
    run.tick(T0 - MINUTE)
    return run, T0


def opened(events: list[Event]) -> list[Event]:
    return [event for event in events if event.type.endswith("incident.opened")]


def test_one_metric_that_spikes_all_the_time_opens_an_incident_no_more() -> None:
    run, at = known_host()
    assert short(run.take(metric(at, 33, severity="critical"))) == ["pattern.spike", "incident.opened"]
    run.tick(at + HOUR)
    for hour in range(2, 6):
        assert short(run.take(metric(at + hour * HOUR, 33, severity="critical"))) == ["pattern.spike"]


def test_several_metrics_at_one_moment_open_one_and_bring_all_that_waited() -> None:
    run, at = known_host()
    mild = run.take(metric(at, 1, 2, severity="info"))
    lone = run.take(metric(at + MINUTE, 3))
    assert [event.correlationid for event in (*mild, *lone)] == ["", ""]
    events = run.take(metric(at + 2 * MINUTE, 4))
    (incident,) = opened(events)
    assert events[0].correlationid == incident.correlationid
    assert incident.data["earlier"] == [event.causationid for event in (*mild, *lone)]
    assert incident.data["series_count"] == 4
    assert incident.data["first_ns"] == [at, at, at + MINUTE, at + 2 * MINUTE]
    assert incident.data["started"] == [["host", "web", "m3"]]


def test_what_waited_longer_than_the_window_is_no_company() -> None:
    run, at = known_host()
    run.take(metric(at, 1, 2, 3, severity="info"))
    run.take(metric(at, 4))
    assert opened(run.take(metric(at + 4 * MINUTE, 5))) == []


def test_mild_alarms_alone_open_nothing_however_many() -> None:
    run, at = known_host()
    assert opened(run.take(metric(at, *range(30), severity="info"))) == []


def test_a_source_of_few_series_opens_one_each_time() -> None:
    run = Run()
    for number in range(10):
        field = "xy"[number % 2]
        events = run.take(pattern(T0 + number * 5 * HOUR, series=(("push", "p", field),)))
        assert len(opened(events)) == 1
        run.tick(T0 + number * 5 * HOUR + 4 * HOUR)


def test_noise_does_not_hide_a_feed_that_dies() -> None:
    run, at = known_host()
    series = (("host", "web", "m5"),)
    assert opened(run.take(pattern(at, "feed_stale", series=series)))
    run, at = known_host()
    assert opened(run.take(pattern(at, "feed_unavailable", series=(("host", "*", "*"),))))


def test_of_thousands_of_subjects_one_more_stale_is_nobodys_alarm_and_many_are() -> None:
    run = Run()
    told, at = noisy_venue(run, 200)
    assert opened(told)[-1].time_ns < T0 + 2 * HOUR
    assert [event.type.rpartition(".")[2] for event in told if "incident" in event.type][-1] == "resolved"
    assert run.stage.views(run.state) == {"incidents": {"open": []}}
    many = tuple(("venue", f"S{number}", "bid") for number in range(40))
    assert opened(run.take(pattern(at + HOUR, "feed_stale", series=many)))


def noisy_venue(run: Run, count: int) -> tuple[list[Event], int]:
    """A subject falls silent for five minutes, another one every 20 minutes."""
    told, at = [], T0
    for number in range(count):
        at += 20 * MINUTE
        told += run.take(stale(at, f"S{number}"))
        told += run.take(pattern(at + 5 * MINUTE, "feed_resumed", series=stale(at, f"S{number}").series))
    return told, at


def stale(at: int, subject: str) -> PatternRecord:
    return pattern(at, "feed_stale", series=(("venue", subject, "bid"), ("venue", subject, "ask")))


def test_a_condition_that_ended_while_it_waited_holds_nothing_open() -> None:
    run = Run()
    at = noisy_venue(run, 60)[1] + HOUR
    assert opened(run.take(stale(at, "S1"))) == []
    resumed = run.take(pattern(at + MINUTE, "feed_resumed", series=stale(at, "S1").series))
    assert resumed[0].correlationid == ""
    many = tuple(("venue", f"S{number}", "bid") for number in range(2, 40))
    (incident,) = opened(run.take(pattern(at + 2 * MINUTE, "feed_stale", series=many)))
    assert (incident.data["standing"], incident.data["series_count"]) == (38, 40)


def test_chance_can_be_set() -> None:
    run = Run(chance=100.0)
    for n in range(30):
        run.take(metric(T0 + n * HOUR, n, severity="info"))
    for n in range(30, 40):
        assert opened(run.take(metric(T0 + n * 5 * HOUR, 33)))


def test_usual_noise_belongs_to_an_open_incident_and_makes_it_no_longer() -> None:
    run, at = known_host()
    incident = run.take(metric(at, 1, 2, 3, 4))[0].correlationid
    for minute in range(5, 60, 5):
        noise = run.take(metric(at + minute * MINUTE, 33))
        assert noise[-1].correlationid == (incident if minute < 15 else "")
    assert run.stage.views(run.state) == {"incidents": {"open": []}}


def test_an_alarm_that_is_mild_itself_can_be_the_company_that_was_missing() -> None:
    run, at = known_host()
    run.take(metric(at, 1, 2))
    (incident,) = opened(run.take(metric(at, 3, 4, severity="info")))
    assert incident.severitytext == "warning"
    assert incident.data["series_count"] == 4


def test_independent_alarms_of_many_series_open_one_incident_a_day_at_most() -> None:
    """200 metrics with a warning every five days and two mild alarms a day each."""
    chance, run, at = random.Random(1), Run(), T0
    found = []
    while at < T0 + 240 * HOUR:
        at += max(1, round(chance.expovariate(200 * 2.2) * 24 * 60)) * MINUTE
        severity = "warning" if chance.random() < 1 / 11 else "info"
        found += opened(run.take(metric(at, chance.randrange(200), severity=severity)))
    assert len([event for event in found if event.time_ns < T0 + 48 * HOUR]) <= 6
    assert len([event for event in found if event.time_ns >= T0 + 48 * HOUR]) <= 8
