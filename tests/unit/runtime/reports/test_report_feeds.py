"""Availability, coverage and uptime against slow counts, and against journals in which it is plain."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reports.feeds import Feed, feeds
from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.silences import silences
from observer_core.runtime.reports.stretch import Stretches
from observer_core.runtime.reports.uptime import uptime
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Note, PatternRecord, Snapshot
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

START_NS = 1_772_409_600 * SECOND
AGE = 30
SOURCE = {"name": "desk", "kind": "push", "interval": 10 * SECOND, "max_age": AGE * SECOND}


def at(second: float) -> int:
    return START_NS + round(second * SECOND)


def told(start: float, until: float, end: float | None = None) -> Period:
    return Period("daily", "UTC", at(start), at(until if end is None else end), at(until))


def journals_with(snapshots: Sequence[Snapshot]) -> Journals:
    journals = Journals(MemoryStorage(), worker="w")
    journal = journals.open("snapshots.desk", "live")
    for snapshot in snapshots:
        journal.commit(journal.head(), Commit(records=[snapshot]))
    return journals


def snapshot(
    second: float, status: str = "ok", subjects: Sequence[str] = ("A",), late: float = 0.0
) -> Snapshot:
    names = () if status == "unavailable" else tuple(subjects)
    return Snapshot(
        source="desk", event_ns=at(second - late), ingest_ns=at(second), subjects=names,
        fields={"price": np.full(len(names), 1.5)} if names else {}, status=status,  # type: ignore[arg-type]
        error="HTTP 503" if status == "unavailable" else None,
    )  # fmt: skip


def feed(journals: Journals, period: Period, **more: object) -> Feed:
    settings = Settings(source=({**SOURCE, **more},))  # type: ignore[arg-type]
    gate = Gate(journals, settings, ManualClock(period.until_ns))
    (found,) = feeds(Stretches(journals, period), settings, gate, "live")
    return found


def test_a_failure_is_out_from_the_failed_collection_to_the_next_with_data() -> None:
    found = feed(
        journals_with([snapshot(0), snapshot(10, "unavailable"), snapshot(20, "unavailable"), snapshot(30)]),
        told(0, 40),
    )
    (outage,) = found.outages
    assert (outage.from_ns, outage.to_ns, outage.why) == (at(10), at(30), "failed")
    assert (outage.error, outage.record) == ("HTTP 503", "snapshots.desk@2")
    assert (found.came, found.failed, found.expected, found.out_ns) == (2, 2, 4, 20 * SECOND)
    assert found.available == 0.5


def test_silence_is_out_from_when_the_gate_takes_the_data_no_more() -> None:
    found = feed(journals_with([snapshot(0), snapshot(50)]), told(0, 60))
    (outage,) = found.outages
    assert (outage.from_ns, outage.to_ns, outage.why, outage.record) == (at(AGE), at(50), "silent", "")


def test_what_was_down_before_the_period_is_down_in_it_and_only_what_lies_in_it_counts() -> None:
    journals = journals_with([snapshot(0), snapshot(10, "unavailable"), snapshot(100)])
    found = feed(journals, told(50, 120))
    assert [(one.from_ns, one.to_ns) for one in found.outages] == [(at(50), at(100))]
    assert found.outages[0].record == "snapshots.desk@2"
    assert found.longest_ns == 50 * SECOND


def test_a_source_that_never_gave_anything_was_never_there() -> None:
    found = feed(Journals(MemoryStorage(), worker="w"), told(0, 60))
    assert (found.available, found.came, found.coverage) == (0.0, 0, None)


def test_a_source_is_watched_from_its_first_record_on() -> None:
    found = feed(journals_with([snapshot(40), snapshot(50)]), told(0, 60))
    assert (found.watched_from_ns, found.expected, found.available) == (at(40), 2, 1.0)


def test_only_market_hours_can_be_out() -> None:
    weekly = {"mon": "00:00-12:00,14:00-16:00"}  # it begins on a Monday
    normalise = {"session": {"zone": "UTC", "weekly": weekly}}
    hour = 3600
    found = feed(journals_with([snapshot(11 * hour)]), told(10 * hour, 20 * hour), normalise=normalise)
    assert [(one.from_ns, one.to_ns) for one in found.outages] == [
        (at(11 * hour + AGE), at(12 * hour)), (at(14 * hour), at(16 * hour)),
    ]  # fmt: skip
    assert found.watched_ns == 3 * hour * SECOND
    assert found.expected is None


def test_a_market_that_is_closed_meanwhile_is_not_missed() -> None:
    normalise = {"session": {"zone": "UTC", "weekly": {"mon": "00:00-12:00"}}}
    found = feed(
        journals_with([snapshot(12 * 3600 - 20)]), told(12 * 3600 - 20, 20 * 3600), normalise=normalise
    )
    assert (found.outages, found.available) == ([], 1.0)


def test_coverage_is_the_share_of_the_subjects_of_the_period_that_a_collection_names() -> None:
    many = [snapshot(10 * n, subjects=("A", "B") if n else ("A", "B", "C")) for n in range(4)]
    found = feed(journals_with(many), told(0, 40))
    assert (found.subjects, found.named, found.coverage) == (3, 9, 0.75)
    assert found.worst == [("C", 0.25)]


def test_names_that_look_like_the_record_are_names() -> None:
    tricky = ('"subjects":["X"]', '"status":"unavailable",', '},"source":"', "\\", '"')
    found = feed(journals_with([snapshot(0, subjects=tricky)]), told(0, 10))
    assert (found.came, found.failed, found.subjects) == (1, 0, len(tricky))


def test_how_late_it_was_is_told_by_its_median_and_95_percent() -> None:
    found = feed(journals_with([snapshot(10 * n, late=n) for n in range(1, 101)]), told(0, 1010))
    assert found.late_ns == (51 * SECOND, 95 * SECOND)


@pytest.mark.parametrize("seed", range(20))
def test_availability_is_what_a_count_of_every_second_gives(seed: int) -> None:
    chance = random.Random(seed)
    taken, second = list[Snapshot](), 0
    while second < 900:
        taken.append(snapshot(second, chance.choice(["ok", "ok", "ok", "partial", "unavailable"])))
        second += chance.choice([5, 10, 10, 10, 25, 31, 70])
    start, until = sorted(chance.sample(range(10, 900), 2))
    found = feed(journals_with(taken), told(start, until))
    down = sum(_is_out(taken, moment + 0.5) for moment in range(start, until))
    assert found.out_ns == down * SECOND
    assert found.came == sum(
        one.status != "unavailable" and at(start) <= one.ingest_ns < at(until) for one in taken
    )
    assert all(at(start) <= one.from_ns < one.to_ns <= at(until) for one in found.outages)


def _is_out(taken: Sequence[Snapshot], second: float) -> bool:
    before = [one for one in taken if one.ingest_ns <= at(second)]
    good = [one for one in before if one.status != "unavailable"]
    if not good:
        return True
    return before[-1].status == "unavailable" or at(second) > good[-1].ingest_ns + AGE * SECOND


# ---------------------------------------------------------------------- the clock


def ticking(seconds: Sequence[float]) -> Journals:
    journals = Journals(MemoryStorage(), worker="w")
    clock = journals.open("clock.live", "live")
    for second in seconds:
        clock.commit(clock.head(), Commit(records=[Note(kind="tick", time_ns=at(second), body={})]))
    return journals


def test_uptime_is_the_time_without_pauses_of_the_clock() -> None:
    journals = ticking([*range(0, 100, 10), *range(300, 400, 10)])
    body = {"event": "start", "from_ns": at(90), "to_ns": at(300), "duration_ns": 0, "ended": "unclean"}
    operations = journals.open("operations.local", "operations")
    operations.commit(operations.head(), Commit(records=[Note(kind="lifecycle", time_ns=at(300), body=body)]))
    found = uptime(Stretches(journals, told(0, 400)), "live", 60 * SECOND)
    assert found is not None
    (down,) = found.down
    assert (down.from_ns, down.to_ns, down.how, down.record) == (
        at(90), at(300), "unclean", "operations.local@1",
    )  # fmt: skip
    assert found.share == 1 - 210 / 400


def test_a_pause_over_the_end_is_told_by_what_was_recorded_before_it() -> None:
    """A report that is made while nobody runs is the same as one that is made after the next start."""

    def note(second: float, **body: object) -> Note:
        return Note(kind="lifecycle", time_ns=at(second), body=body)

    for clean in (False, True):
        journals = ticking(range(0, 100, 10))
        operations = journals.open("operations.local", "operations")
        if clean:
            operations.commit(operations.head(), Commit(records=[note(95, event="stop", reason="asked")]))
        before = uptime(Stretches(journals, told(0, 200)), "live", 60 * SECOND)
        gap = {"from_ns": at(90), "to_ns": at(300), "ended": "clean" if clean else "unclean"}
        operations.commit(operations.head(), Commit(records=[note(300, event="start", **gap)]))
        clock = journals.open("clock.live")
        clock.commit(clock.head(), Commit(records=[Note(kind="tick", time_ns=at(301), body={})]))
        after = uptime(Stretches(journals, told(0, 200)), "live", 60 * SECOND)
        assert before == after
        assert before is not None
        (down,) = before.down
        assert (down.from_ns, down.to_ns) == (at(90), at(200))
        assert (down.how, down.record) == (("clean", "operations.local@1") if clean else ("unknown", ""))


def test_a_clock_that_never_ticked_again_is_down_to_the_end_and_counts_from_its_first_tick() -> None:
    found = uptime(Stretches(ticking([100, 110]), told(0, 310)), "live", 60 * SECOND)
    assert found is not None
    assert (found.watched_ns, found.down_ns, found.longest_ns) == (210 * SECOND, 200 * SECOND, 200 * SECOND)


def test_a_day_on_which_nobody_ran_is_all_down() -> None:
    found = uptime(Stretches(ticking([0, 10]), told(100, 200)), "live", 60 * SECOND)
    assert found is not None
    assert (found.share, found.ticks) == (0.0, 0)


def test_there_is_no_uptime_where_there_is_no_clock() -> None:
    assert uptime(Stretches(Journals(MemoryStorage(), worker="w"), told(0, 10)), "live", SECOND) is None


# ---------------------------------------------------------------------- silent series


def pattern(second: float, name: str, *fields: str) -> PatternRecord:
    return PatternRecord(
        id=f"{name}{second}", pattern=name, series=tuple(("desk", "A", field) for field in fields), score=0.6,
        severity="warning", direction="none", tags=(), detector="stale/2", evidence={}, snapshot="s@1",
        event_ns=at(second), time_ns=at(second),
    )  # fmt: skip


def test_a_silence_lasts_from_the_record_of_its_begin_to_that_of_its_end() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    patterns = journals.open("patterns.desk", "live")
    for one in (
        pattern(10, "feed_stale", "bid", "ask"), pattern(40, "feed_resumed", "bid"),
        pattern(60, "spike", "bid"), pattern(70, "feed_resumed", "ask"), pattern(80, "feed_stale", "last"),
    ):  # fmt: skip
        patterns.commit(patterns.head(), Commit(records=[one]))
    found = silences(Stretches(journals, told(30, 100)), "live")
    assert [(one.series[2], one.length_ns // SECOND, one.to_ns) for one in found.shown] == [
        ("ask", 40, at(70)), ("last", 20, None), ("bid", 10, at(40)),
    ]  # fmt: skip
    assert (found.standing["stale"], found.total_ns["stale"]) == (1, 70 * SECOND)
    assert found.patterns["spike", "warning"] == 1
