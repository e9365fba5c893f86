"""The publish stage: order, ids, types and times of events."""

from typing import Any

import pytest

from observer_core.event_bus.publisher import Publisher, PublisherConfig, PublisherState
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Event, Note, PatternRecord, decode_record
from observer_core.shared.stage import Entry

MINUTE = 60 * SECOND
T0 = 1_700_000_000 * SECOND


def pattern(at: int = T0, kind: str = "spike", **changes: Any) -> PatternRecord:
    values: dict[str, Any] = {
        "id": "p", "pattern": kind, "series": (("binance", "BTC/USDT", "price"),), "score": 0.9,
        "severity": "warning", "direction": "up", "tags": ("price",), "detector": "ewz/1",
        "evidence": {"value": 1.0}, "snapshot": "snapshots.binance@7", "event_ns": at - SECOND,
        "time_ns": at, "cadence_ns": SECOND,
    }  # fmt: skip
    return PatternRecord(**{**values, **changes})


class Run:
    """A publisher and its state, fed one record at a time."""

    def __init__(self, **config: Any) -> None:
        self.stage = Publisher("live", PublisherConfig(**config))
        self.state: PublisherState = self.stage.initial()
        self.position = 0

    def take(self, record: Any, journal: str = "patterns.binance") -> list[Event]:
        self.position += 1
        return list(self.stage.transition(self.state, Entry(journal, self.position, record)))

    def tick(self, at: int) -> list[Event]:
        return self.take(Note(kind="tick", time_ns=at, body={}), "clock.live")


def short(events: list[Event]) -> list[str]:
    return [event.type.removeprefix("io.qts.observer.") for event in events]


def test_a_pattern_becomes_an_event_that_cites_it() -> None:
    event = Run().take(pattern(severity="info"))[0]
    assert event.type == "io.qts.observer.pattern.spike"
    assert event.source == "/qts/observer/live/binance"
    assert (event.subject, event.partitionkey) == ("BTC/USDT", "binance/BTC/USDT")
    assert (event.sequence, event.causationid) == ("00000000000000000001", "patterns.binance@1")
    assert (event.time_ns, event.severitytext) == (T0, "info")
    assert event.data["series"] == [["binance", "BTC/USDT", "price"]]
    assert event.data["snapshot"] == "snapshots.binance@7"
    assert event.data["cadence_ns"] == SECOND
    assert decode_record(event.encode(0)) == event


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("feed_stale", "feed.stale"),
        ("feed_resumed", "feed.resumed"),
        ("feed_flat", "feed.flat"),
        ("feed_unavailable", "feed.unavailable"),
        ("feed_available", "feed.available"),
        ("venue_halt", "feed.halted"),
        ("venue_resumed", "feed.reopened"),
        ("level_shift", "pattern.level_shift"),
    ],
)
def test_feed_patterns_have_types_of_their_own(kind: str, expected: str) -> None:
    assert short(Run().take(pattern(kind=kind, severity="info"))) == [expected]


def test_a_pattern_over_several_subjects_has_its_source_as_subject() -> None:
    several = (("binance", "BTC/USDT", "price"), ("binance", "ETH/USDT", "price"))
    assert Run().take(pattern(series=several, severity="info"))[0].subject == "binance"
    one = (("binance", "BTC/USDT", "price"), ("binance", "BTC/USDT", "volume"))
    assert Run().take(pattern(series=one, severity="info"))[0].subject == "BTC/USDT"


def test_sequence_counts_all_events_of_all_sources() -> None:
    run = Run()
    run.take(pattern())
    other = pattern(series=(("kraken", "BTC/USD", "price"),))
    events = run.take(other, "patterns.kraken")
    assert [int(event.sequence) for event in events] == [3, 4]


def test_time_never_decreases_across_sources() -> None:
    run = Run()
    run.take(pattern(T0 + MINUTE, severity="info"))
    assert run.take(pattern(T0, severity="info"), "patterns.kraken")[0].time_ns == T0 + MINUTE


def test_equal_input_gives_equal_ids_and_another_position_another() -> None:
    run, again = Run(), Run()
    first = run.take(pattern())
    assert [event.id for event in again.take(pattern())] == [event.id for event in first]
    ids = {event.id for event in [*first, *run.take(pattern())]}
    assert len(ids) == 3


def test_a_quarantined_record_is_told_and_so_is_its_return() -> None:
    run = Run()
    body = {
        "input": "snapshots.binance",
        "position": 9,
        "error": "ValueError: x",
        "attempts": 3,
        "scopes": ["source:binance"],
    }
    (event,) = run.take(Note(kind="quarantine", time_ns=T0, body=body))
    assert (short([event]), event.severitytext, event.subject) == (["quarantined"], "critical", "binance")
    assert event.data == body
    assert event.correlationid == ""
    (event,) = run.take(Note(kind="redrive", time_ns=T0, body=body))
    assert (short([event]), event.severitytext) == (["redriven"], "info")


@pytest.mark.parametrize("kind", ["epoch", "domain", "recovery", "lifecycle"])
def test_notes_of_the_journals_own_life_give_nothing_and_move_no_time(kind: str) -> None:
    run = Run()
    assert run.take(Note(kind=kind, time_ns=T0 * 2, body={})) == []
    assert run.state.time_ns == 0


def test_the_configuration_is_given_in_full() -> None:
    config = PublisherConfig(venues={"binance-0": "binance"})
    given = dict(Publisher("live", config).config())
    assert given.pop("domain") == "live"
    assert given["venues"] == {"binance-0": "binance"}
    assert PublisherConfig(**given) == config
    assert set(given) == set(PublisherConfig.model_fields)


def test_dump_and_load_in_mid_stream_change_nothing() -> None:
    straight, cut = Run(), Run()
    records = [
        pattern(T0),
        pattern(T0 + 1, kind="feed_stale"),
        pattern(T0 + MINUTE, kind="feed_resumed", severity="info"),
        pattern(T0 + 60 * MINUTE, severity="critical"),
    ]
    for record in records:
        expected = straight.take(record)
        blob = cut.stage.dump(cut.state)
        cut.state = cut.stage.load(blob)
        assert cut.stage.dump(cut.state) == blob
        assert cut.take(record) == expected
    assert cut.stage.views(cut.state) == straight.stage.views(straight.state)


def test_a_state_of_version_1_is_taken_over() -> None:
    run = Run(venues={"binance": "exchange"})
    series = ["binance", "BTC/USDT", "price"]
    incident = {
        "id": "1", "source": "binance", "severity": "warning", "opened_ns": T0, "last_ns": T0,
        "quiet_ns": 15 * MINUTE, "cause": "patterns.binance@1", "cadence_ns": SECOND, "announced": 1,
        "seen": [[*series, T0, 0.9]], "standing": [series, ["binance", "", ""]],
        "patterns": {"feed_stale": 1, "feed_unavailable": 1},
    }  # fmt: skip
    old = {"time_ns": T0, "sequence": 7, "views_version": 3, "incidents": [incident]}
    run.state = run.stage.load(encode(old))
    at = T0 + 100 * MINUTE
    assert run.tick(at) == []
    for kind in ("feed_resumed", "feed_available"):
        assert run.take(pattern(at, kind, severity="info"))[0].correlationid == "1"
    (resolved,) = run.tick(at + 99 * MINUTE)
    assert (resolved.time_ns, resolved.subject) == (at + 15 * MINUTE, "exchange")
    assert int(resolved.sequence) == 10
