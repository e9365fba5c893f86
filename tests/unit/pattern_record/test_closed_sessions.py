"""A closed market: nothing is to be expected of it, nothing is learnt, and the gate says why it is shut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.decision_pipeline.gate import GateAnswer
from observer_core.pattern_record.config import RecogniserConfig, Stale
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.pattern_record.state import _ARRAYS, RecogniserState
from observer_core.pattern_record.window import FLOAT_ROWS, ONSETS
from observer_core.runtime.gate.reader import Gate
from observer_core.shared.clock import SECOND, ManualClock, parse_time
from observer_core.shared.ids import shard_of
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from tests.support.market import observer

MINUTE = 60 * SECOND
START = 1_700_000_000 * SECOND
CLOSED = {"*": ("closed_session",)}
SUBJECTS = ("A", "B")
MOVES = (0.0, 0.3, -0.2, 0.1, -0.4, 0.2, 0.05)


class Feed:
    """A recogniser and what it has said; a snapshot a minute."""

    def __init__(self) -> None:
        self.recogniser = Recogniser("in", RecogniserConfig(stale=Stale(min_arrivals=5)))
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []
        self.position, self.now = 0, START

    def give(self, *values: float, minutes: int = 1, **more: Any) -> Sequence[PatternRecord]:
        self.now += minutes * MINUTE
        self.position += 1
        snapshot = Snapshot(
            source="in", event_ns=self.now, ingest_ns=self.now, subjects=SUBJECTS[: len(values)],
            fields={"x": np.array(values, np.float64)} if values else {}, **more,
        )  # fmt: skip
        found = self.recogniser.transition(self.state, Entry("snapshots.in", self.position, snapshot))
        self.records += found
        return found

    def usual(self, count: int) -> None:
        for _ in range(count):
            move = MOVES[self.position % len(MOVES)]
            self.give(100 + move, 50 - move)

    def fail(self, **more: Any) -> Sequence[PatternRecord]:
        return self.give(status="unavailable", error="503", **more)

    def feed(self) -> dict[str, Any]:
        found: dict[str, Any] = self.recogniser.views(self.state)["feed"]
        return found


@pytest.fixture
def feed() -> Feed:
    it = Feed()
    it.usual(100)
    assert it.records == []
    return it


def arrays(state: RecogniserState) -> dict[str, bytes]:
    return {name: getattr(state, name)[:, : state.size].tobytes() for name, _, _ in _ARRAYS}


# ---------------------------------------------------------------------- the recogniser


def test_a_closed_market_changes_what_is_known_of_no_series(feed: Feed) -> None:
    before, clock, tick = arrays(feed.state), feed.state.clock, feed.state.tick
    cadence, intervals = feed.state.cadence, feed.state.intervals
    for minute in range(200):
        assert feed.give(1e6 * (minute % 2), -5.0, quality=CLOSED) == []
    assert arrays(feed.state) == before
    assert (feed.state.clock, feed.state.tick) == (clock, tick)
    assert (feed.state.cadence, feed.state.intervals) == (cadence, intervals)
    assert (feed.state.last_ingest, feed.state.reachable) == (feed.now, False)


def test_after_a_weekend_everything_is_as_it_was_on_friday() -> None:
    """But for the moments since which a shift may have begun, and how long ago it all began."""
    through, without = Feed(), Feed()
    for it in (through, without):
        it.usual(100)
    position = through.position
    for _ in range(300):
        through.give(1.0, 2.0, quality=CLOSED, minutes=10)
    through.position = position
    for it in (through, without):
        it.usual(1)
    kept = [row for row in range(FLOAT_ROWS) if row not in range(ONSETS, ONSETS + 4)]
    np.testing.assert_array_equal(through.state.values[kept, :2], without.state.values[kept, :2])
    for it in (through, without):
        it.usual(100)
        it.give(150.0, 50.0)

    def said(it: Feed) -> list[object]:
        return [(r.pattern, r.score, {**r.evidence, "return_period_ns": 0}) for r in it.records]

    assert said(through) == said(without)
    assert {r.pattern for r in through.records} == {"spike"}


def test_no_series_falls_silent_over_a_weekend(feed: Feed) -> None:
    for _ in range(500):
        feed.give(quality=CLOSED)
    feed.usual(20)
    assert feed.records == []
    assert feed.feed()["stale"] == []


def test_a_series_that_does_not_come_back_on_monday_is_noticed_as_late_as_on_any_day(feed: Feed) -> None:
    def minutes_until_noticed(it: Feed) -> int:
        for minute in range(60):
            if any(record.pattern == "feed_stale" for record in it.give(100.0, math.nan)):
                return minute
        raise AssertionError("never")

    usual = Feed()
    usual.usual(101)
    for _ in range(500):
        feed.give(quality=CLOSED)
    feed.usual(1)
    assert minutes_until_noticed(feed) == minutes_until_noticed(usual)


def test_silence_that_began_before_the_close_goes_on_after_it(feed: Feed) -> None:
    for _ in range(20):
        feed.give(100.0, math.nan)
    assert [record.pattern for record in feed.records] == ["feed_stale"]
    for _ in range(50):
        feed.give(100.0, 50.0, quality=CLOSED)
    assert feed.feed()["stale"] == ["B"], "rows of a closed market are no return"
    (back,) = feed.give(100.0, 50.0)
    assert back.pattern == "feed_resumed"
    assert back.evidence["silence_ns"] < 30 * MINUTE


def test_a_source_that_fails_while_it_is_closed_is_no_outage(feed: Feed) -> None:
    for _ in range(50):
        assert feed.fail(quality=CLOSED) == []
    feed.usual(5)
    assert feed.records == []
    assert feed.feed()["status"] == "ok"


def test_a_source_that_fails_when_it_opens_is_one(feed: Feed) -> None:
    feed.fail(quality=CLOSED)
    assert [record.pattern for record in feed.fail()] == ["feed_unavailable"]


def test_an_outage_that_began_before_the_close_ends_with_the_first_answer_after_it(feed: Feed) -> None:
    feed.fail()
    for _ in range(50):
        assert feed.give(100.0, 50.0, quality=CLOSED) == []
    (back,) = feed.give(100.0, 50.0)
    assert (back.pattern, back.evidence["outage_ns"]) == ("feed_available", 51 * MINUTE)


def test_closed_and_open_are_told_in_the_views_once_each(feed: Feed) -> None:
    assert not feed.feed()["closed"]
    versions = [feed.recogniser.views_version(feed.state)]
    for closed in (True, True, True, False, False, True):
        feed.give(100.0, 50.0, quality=CLOSED if closed else {})
        assert bool(feed.feed()["closed"]) is closed
        versions.append(feed.recogniser.views_version(feed.state))
    assert [after - before for before, after in pairwise(versions)] == [1, 0, 0, 1, 0, 1]


def test_whether_it_is_closed_outlasts_a_restart(feed: Feed) -> None:
    feed.give(100.0, 50.0, quality=CLOSED)
    again = feed.recogniser.load(feed.recogniser.dump(feed.state))
    assert again.closed is True
    assert feed.recogniser.dump(again) == feed.recogniser.dump(feed.state)


def test_a_closed_subject_of_another_shard_is_not_told_as_closed_for_ever(feed: Feed) -> None:
    feed.give(100, 50, quality=dict.fromkeys(SUBJECTS, ("closed_session",)))
    for part in (0, 1):
        shard = Recogniser("in", RecogniserConfig(), (part, 2))
        mine = [subject for subject in SUBJECTS if shard_of(subject, 2) == part]
        assert shard.views(shard.load(feed.recogniser.dump(feed.state)))["feed"]["closed"] == mine


def test_one_subject_that_is_closed_does_not_close_the_others(feed: Feed) -> None:
    before = arrays(feed.state)["values"]
    feed.give(100.1, 1e6, quality={"B": ("closed_session",)})
    assert feed.feed()["closed"] == ["B"]
    values = np.frombuffer(before).reshape(-1, 2)
    np.testing.assert_array_equal(feed.state.values[:, 1], values[:, 1])
    assert not np.array_equal(feed.state.values[:, 0], values[:, 0])


@pytest.mark.parametrize("quality", [{"*": ("partial_bar",)}, {"A": ("partial_bar",), "B": ("partial_bar",)}])
def test_a_bar_that_is_not_at_its_end_is_no_news(feed: Feed, quality: dict[str, tuple[str, ...]]) -> None:
    before = arrays(feed.state)
    assert feed.give(1e6, 1e6, quality=quality) == []
    after = arrays(feed.state)
    assert after["values"] == before["values"]
    assert after["times"] == before["times"], "nor an arrival"


def test_bars_that_are_never_at_their_end_are_silence(feed: Feed) -> None:
    for _ in range(20):
        feed.give(100.0, 50.0, quality={"B": ("partial_bar",)})
    assert [(r.pattern, r.series[0][1]) for r in feed.records] == [("feed_stale", "B")]


def test_partial_and_whole_bars_may_take_turns(feed: Feed) -> None:
    """As of an exchange that gives the bar at hand too: the values are those of the whole ones alone."""
    alone = Feed()
    alone.usual(100)
    for turn in range(40):
        move = MOVES[turn % len(MOVES)]
        feed.give(1e6, 1e-6, minutes=0, quality={"*": ("partial_bar",)})
        feed.give(100 + move, 50 - move)
        alone.give(100 + move, 50 - move)
    np.testing.assert_array_equal(feed.state.values[:, :2], alone.state.values[:, :2])
    assert feed.records == alone.records == []


# ---------------------------------------------------------------------- the gate

SESSION = {"zone": "UTC", "weekly": {"mon": "09:00-10:00"}}
MONDAY = parse_time("2024-01-01T09:59:00Z")
SOURCES = [
    {"name": "feed", "kind": "push", "max_age": "5s", "normalise": {"session": SESSION}},
    {"name": "other", "kind": "push", "max_age": "5s"},
]


class Desk:
    """A live domain whose source `feed` closes at ten, second by second."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(MONDAY)
        self.observer = observer(folder, clock=self.clock, source=SOURCES, max_lag="3s")
        self.gate = Gate(self.observer.journals, self.observer.settings, self.clock)

    def second(self, *, source: str = "feed", fails: bool = False) -> None:
        self.clock.advance(SECOND)
        now = self.clock.now_ns()
        self.observer.writer(source, "live", "live", now).write([Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=() if fails else SUBJECTS,
            fields={} if fails else {"x": np.array([100.0, 50.0 + now // SECOND % 3])},
            status="unavailable" if fails else "ok", error="503" if fails else None,
        )])  # fmt: skip
        domain = self.observer.domain("live")
        domain.tick()
        domain.refresh()
        domain.work(refresh=True)

    def until_it_closes(self, **options: Any) -> None:
        while self.clock.now_ns() < MONDAY + MINUTE:
            self.second(**options)


def reasons(answer: GateAnswer) -> list[tuple[str, str]]:
    return sorted((reason["code"], reason["text"]) for reason in answer.reasons)


def codes(answer: GateAnswer) -> set[str]:
    return {reason["code"] for reason in answer.reasons}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_the_gate_is_shut_while_the_market_is_and_says_so(desk: Desk) -> None:
    for _ in range(20):
        desk.second()
    assert desk.gate.check("A").decision == "allow"
    desk.until_it_closes()
    answer = desk.gate.check("A")
    assert answer.decision == "deny"
    (reason,) = answer.reasons
    assert (reason["code"], reason["source"]) == ("session_closed", "feed")
    assert "is closed" in reason["text"]
    assert desk.gate.check("A", on_unknown="allow").decision == "deny"


def test_asked_about_a_moment_it_says_what_it_said_then(desk: Desk) -> None:
    told: dict[int, GateAnswer] = {}
    for turn in range(75):
        desk.second(fails=turn in (50, 51, 52, 66, 67))
        if turn > 2:
            told[desk.clock.now_ns()] = desk.gate.check("A")
    assert {code for answer in told.values() for code in codes(answer)} >= {
        "session_closed", "source_unavailable",
    }  # fmt: skip
    for moment, answer in told.items():
        then = desk.gate.check("A", at_ns=moment)
        assert (then.decision, reasons(then)) == (answer.decision, reasons(answer)), moment - MONDAY


def test_a_source_that_did_not_answer_when_it_closed_is_closed_now_and_then(desk: Desk) -> None:
    for _ in range(50):
        desk.second()
    desk.until_it_closes(fails=True)
    desk.second(fails=True)
    desk.second()
    now = desk.gate.check("A")
    assert "session_closed" in codes(now)
    assert "source_unavailable" not in codes(now)
    assert reasons(desk.gate.check("A", at_ns=desk.clock.now_ns())) == reasons(now)


def test_a_closed_market_that_is_not_asked_any_more_is_stale_too(desk: Desk) -> None:
    desk.until_it_closes()
    desk.second()
    for _ in range(10):
        desk.second(source="other")
    assert {"session_closed", "source_stale"} <= codes(desk.gate.check("A"))


def test_another_source_of_the_subject_does_not_open_the_gate(desk: Desk) -> None:
    desk.until_it_closes()
    for _ in range(3):
        desk.second()
        desk.second(source="other")
    answer = desk.gate.check("A")
    assert [reason["source"] for reason in answer.reasons] == ["feed"]
    assert codes(answer) == {"session_closed"}


def test_the_gate_opens_with_the_first_snapshot_of_the_next_session(desk: Desk) -> None:
    for _ in range(20):
        desk.second()
    desk.until_it_closes()
    for _ in range(5):
        desk.second()
    desk.clock.set(MONDAY - 59 * MINUTE + 7 * 86_400 * SECOND - 3 * SECOND)
    desk.second()
    desk.second()
    assert "session_closed" in codes(desk.gate.check("A"))
    for _ in range(3):
        desk.second()
    answer = desk.gate.check("A")
    assert (answer.decision, answer.reasons) == ("allow", ())
    found = [e.record for e in desk.observer.journals.open("patterns.feed").scan()]
    assert not [record for record in found if isinstance(record, PatternRecord)]
