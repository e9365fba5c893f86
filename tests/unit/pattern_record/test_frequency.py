"""Severity by how common an alarm is in its own series."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.pattern_record import frequency
from observer_core.pattern_record.config import Frequency, Limits, RecogniserConfig, Spike
from observer_core.pattern_record.frequency import KEPT, Clusters, Habit, Memory
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.pattern_record.units import Severity
from observer_core.shared.errors import RecordError
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
START = 1_600_000_000_000_000_000
CUTS = Severity(warning=0.55, critical=0.6)
CONFIG = RecogniserConfig(
    limits=Limits(refractory=3, sustained=5, rise=1.0), spike=Spike(threshold=6.0, severity=CUTS)
)


class Hours:
    """A source an hour, of named series about 100 ± 1; what is given is added to one of them."""

    def __init__(self, config: RecogniserConfig = CONFIG, subjects: tuple[str, ...] = ("a",)) -> None:
        self.recogniser = Recogniser("host", config)
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []
        self.subjects, self.hour = subjects, 0

    def give(self, hours: int = 1, **extra: float) -> None:
        for _ in range(hours):
            values = [
                100.0 + math.sin(1.7 * self.hour * self.hour + sum(map(ord, name))) + extra.get(name, 0.0)
                for name in self.subjects
            ]
            self.take(self.snapshot(self.subjects, values))

    def snapshot(self, subjects: tuple[str, ...], values: list[float], status: str = "ok") -> Snapshot:
        now = START + self.hour * HOUR
        return Snapshot(
            source="host", event_ns=now, ingest_ns=now, subjects=subjects, status=status,
            fields={"load": np.array(values)}, error=None if status == "ok" else "timeout",
        )  # fmt: skip

    def take(self, snapshot: Snapshot) -> None:
        self.hour += 1
        found = self.recogniser.transition(self.state, Entry("snapshots.host", self.hour, snapshot))
        self.records += [record for record in found if isinstance(record, PatternRecord)]

    def days(self, count: int, size: float = 60.0) -> None:
        """Each ends in a spike."""
        for day in range(count):
            self.give(23)
            self.give(**{self.subjects[0]: size + day % 3})

    def spikes(self, subject: str = "a") -> list[PatternRecord]:
        return [
            r
            for r in self.records
            if (r.pattern, r.direction) == ("spike", "up") and r.series[0][1] == subject
        ]


def days(record: PatternRecord) -> float:
    return float(record.evidence["return_period_ns"] / DAY)


def test_the_first_of_a_quiet_series_is_as_grave_as_its_score() -> None:
    run = Hours()
    run.give(100 * 24)
    run.give(a=60.0)
    (spike,) = run.spikes()
    assert (spike.severity, spike.evidence["recurrences"]) == ("critical", 0)
    assert days(spike) == 100.0


def test_a_series_that_spikes_daily_is_told_so_after_a_week_and_not_before() -> None:
    run = Hours()
    run.give(48)
    run.days(60)
    spikes = run.spikes()
    assert len(spikes) == 60
    assert [r.severity for r in spikes[:4]] == ["critical"] * 4
    lowered = next(at for at, r in enumerate(spikes) if r.severity == "info")
    assert spikes[lowered].time_ns - START >= 7 * DAY
    assert lowered < 14
    assert {r.severity for r in spikes[14:] if r.evidence["recurrences"] > 20} == {"info"}
    assert all(days(r) < 3.0 for r in spikes[14:] if r.evidence["recurrences"] > 20)


def test_what_is_stronger_than_ever_is_never_lowered_however_common_the_weaker_are() -> None:
    run = Hours()
    run.give(48)
    run.days(60)
    run.give(12)
    run.give(a=4000.0)
    assert (run.spikes()[-1].severity, run.spikes()[-1].evidence["recurrences"]) == ("critical", 0)


def test_a_habit_of_weeks_is_a_warning() -> None:
    run = Hours()
    run.give(48)
    for _ in range(20):
        run.give(13 * 24)
        run.give(a=60.0)
    first, *_, last = run.spikes()
    assert first.severity == "critical"
    assert (last.severity, round(days(last))) == ("warning", 13)


def test_the_second_shock_of_a_storm_is_not_commoner_for_the_first() -> None:
    run = Hours()
    run.give(48)
    for _ in range(8):
        run.give(4)
        run.give(a=60.0 + run.hour)
    spikes = run.spikes()
    assert [r.evidence["recurrences"] for r in spikes] == [0, 0, 0, 0, 0, 1, 1, 1]
    assert [round(days(r) * 24) for r in spikes[:5]] == [52, 57, 62, 67, 72]


def test_a_habit_that_ended_long_ago_is_one_no_more() -> None:
    run = Hours()
    run.give(48)
    run.days(40)
    run.give(90 * 24)
    run.give(a=60.0)
    last = run.spikes()[-1]
    assert (last.severity, days(last) >= 90.0) == ("critical", True)


def test_each_series_and_direction_has_a_past_of_its_own() -> None:
    together, alone = Hours(subjects=("a", "b")), Hours(subjects=("b",))
    together.give(48)
    together.days(30)
    together.give(10)
    alone.give(together.hour)
    together.give(a=-60.0, b=60.0)
    alone.give(b=60.0)
    down = [r for r in together.records if r.pattern == "spike" and r.direction == "down"]
    assert [(r.series[0][1], r.evidence["recurrences"]) for r in down] == [("a", 0)]
    assert together.spikes("b") == alone.spikes("b")
    assert [r.severity for r in alone.spikes("b")] == ["critical"]


def test_a_series_that_came_later_has_a_shorter_past() -> None:
    run = Hours()
    run.give(20 * 24)
    run.subjects = ("a", "late")
    run.give(10 * 24)
    run.give(a=60.0, late=60.0)
    assert (days(run.spikes()[0]), days(run.spikes("late")[0])) == (30.0, 10.0)


def test_an_outage_each_day_stays_as_grave_as_it_is() -> None:
    run = Hours()
    for _ in range(40):
        run.give(23)
        run.take(run.snapshot((), [], status="unavailable"))
    lost = [r for r in run.records if r.pattern == "feed_unavailable"]
    assert {r.severity for r in lost} == {"critical"}
    assert not any("return_period_ns" in r.evidence for r in lost)
    assert len(lost) == 40


@pytest.mark.parametrize(
    ("pattern", "counts"),
    [("spike", True), ("anomaly", True), ("price_shock", True), ("bad_tick", False), ("feed_flat", False),
     ("venue_halt", False), ("drawdown", False), ("drawdown_over", False), ("crossed_book", False)],
)  # fmt: skip
def test_conditions_and_feeds_are_not_judged_by_how_often_they_come(pattern: str, counts: bool) -> None:
    assert frequency.calibrated(pattern) == counts


@pytest.mark.parametrize(
    "off",
    [{"frequency": Frequency(enabled=False)},
     {"spike": Spike(threshold=6.0, severity=CUTS.model_copy(update={"calibrated": False}))}],
)  # fmt: skip
def test_switched_off_the_score_alone_decides_but_the_past_is_kept(off: dict[str, object]) -> None:
    run, on = Hours(CONFIG.model_copy(update=off)), Hours()
    for it in (run, on):
        it.give(48)
        it.days(30)
    assert {r.severity for r in run.spikes()} == {"critical"}
    assert not any("return_period_ns" in r.evidence for r in run.spikes())
    on.state = on.recogniser.load(run.recogniser.dump(run.state))
    on.give(23)
    on.give(a=60.0)
    assert on.spikes()[-1].severity == "info"


def test_of_many_at_once_the_gravest_counts_and_each_says_how_rare_it_is() -> None:
    run = Hours(CONFIG.model_copy(update={"group_over": 2}), ("a", "b", "c"))
    run.give(48)
    run.days(30)
    run.give(23)
    run.give(a=60.0, b=60.0, c=60.0)
    record = run.records[-1]
    (common,) = (at for at, one in enumerate(record.series) if one[1] == "a")
    assert record.severity == "critical"
    assert record.evidence["return_period_ns"][common] < 2 * DAY
    assert [n for at, n in enumerate(record.evidence["recurrences"]) if at != common] == [0, 0]


@pytest.mark.parametrize("stop", [60, 300, 1000])
def test_a_state_that_was_dumped_goes_on_with_equal_records(stop: int) -> None:
    through, resumed = Hours(subjects=("a", "b")), Hours(subjects=("b", "a"))
    for run in (through, resumed):
        run.give(48)
        run.days(50)
    other = Hours(subjects=("a", "b"))
    other.give(48)
    while other.hour < through.hour:
        other.give(**({"a": 60.0 + (other.hour // 24 - 2) % 3} if other.hour % 24 == 23 else {}))
        if other.hour == stop:
            other.state = other.recogniser.load(other.recogniser.dump(other.state))
    assert [r.encode(1) for r in other.records] == [r.encode(1) for r in through.records]
    assert other.recogniser.dump(other.state) == through.recogniser.dump(through.state)


def test_a_subject_that_moved_to_another_shard_takes_its_past_along() -> None:
    run = Hours(subjects=("a", "b"))
    run.give(48)
    run.days(10)
    assert {key[2] for key in run.state.alarms} == {"a"}
    parts = [Recogniser("host", CONFIG, (part, 2)) for part in (0, 1)]
    kept = [{key[2] for key in part.load(run.recogniser.dump(run.state)).alarms} for part in parts]
    assert sorted(kept, key=len) == [set(), {"a"}]


def test_observations_of_a_day_make_clusters_of_five() -> None:
    assert frequency.length_ns(60e9) == frequency.length_ns(4 * HOUR) == DAY
    assert frequency.length_ns(float(DAY)) == 5 * DAY


def test_what_learnt_limits_hide_from_the_score_is_compared_all_the_same() -> None:
    first = frequency.strength("spike", 20 / (20 + 8), {"limit": 8.0})
    again = frequency.strength("spike", 25 / (25 + 12), {"limit": 12.0})
    assert (round(first, 6), round(again, 6)) == (20.0, 25.0)
    assert frequency.strength("level_shift", 0.54, {"limit": 15.0}) == frequency.strength(
        "level_shift", 0.5, {}
    )
    assert math.isfinite(frequency.strength("spike", 1.0, {"limit": 1.7e308}))


def reference(alarms: list[tuple[int, float]], length: int) -> list[tuple[int, int]]:
    """Recurrences and return period from the whole list, without a memory of its own."""
    said, starts, best = [], list[int](), list[float]()
    for now, strength in alarms:
        goes_on = bool(starts) and now - starts[-1] < length
        earlier = len(starts) - goes_on
        kept = range(max(0, len(starts) - KEPT), earlier)
        since = starts[-KEPT - 1] if len(starts) > KEPT else 0
        alike = [at for at in kept if best[at] >= 0.8 * strength]
        waited = now - starts[alike[-1]] if alike else 0
        said.append((len(alike), max((now - since) // (1 + len(alike)), waited)))
        if goes_on:
            best[-1] = max(best[-1], strength)
        else:
            starts.append(now)
            best.append(strength)
    return said


alarms = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([1.0, 1.2, 2.0, 3.5])), max_size=150)


@given(alarms, st.integers(1, 30), st.integers(0, 150))
def test_the_memory_says_what_the_whole_list_would(
    steps: list[tuple[int, float]], length: int, stop: int
) -> None:
    memory: Memory = {("spike", "up", "a", "load"): Clusters(0)}
    now, given_alarms, said = 0, [], []
    for number, (step, strength) in enumerate(steps):
        now += step
        given_alarms.append((now, strength))
        if number == stop:
            memory = frequency.load(frequency.dump(memory))
        habit = memory["spike", "up", "a", "load"].add(strength, now, length)
        said.append((habit.recurrences, habit.return_period_ns))
        assert (habit.at_most_ns is None) == (habit.recurrences == 0)
        assert habit.at_most_ns is None or habit.at_most_ns >= habit.return_period_ns
    assert said == reference(given_alarms, length)
    assert len(frequency.dump(memory)) <= 16 * KEPT + 100


@pytest.mark.parametrize(
    ("known", "age", "most"),
    [(None, 400, "critical"), (6, 400, "info"), (6, 6, "critical"), (7, 400, "warning"), (29, 30, "warning"),
     (29, 29, "critical"), (30, 400, "critical")],
)  # fmt: skip
def test_the_cuts(known: int | None, age: int, most: str) -> None:
    habit = Habit(3, DAY, None if known is None else known * DAY)
    assert habit.cap(age * DAY, Frequency()) == most


def test_the_cuts_can_be_set_in_order_only() -> None:
    rare = Frequency(warning="1h", critical="1d")
    assert Habit(3, HOUR, 2 * HOUR).cap(DAY, rare) == "warning"
    assert Frequency.model_validate(rare.canonical()) == rare
    with pytest.raises(ValidationError, match="warning must not be longer than critical"):
        Frequency(warning="40d")


def test_time_that_stands_or_goes_back_is_no_rarity_below_nothing() -> None:
    seen = Clusters(100)
    said = [seen.add(1.0, now, 10) for now in (50, 200, 100, 210)]
    assert all(habit.return_period_ns >= 0 for habit in said)


def test_bytes_that_were_cut_are_no_memory() -> None:
    memory: Memory = {("spike", "up", "a", "load"): Clusters(0)}
    memory["spike", "up", "a", "load"].add(1.0, DAY, DAY)
    with pytest.raises(RecordError, match="do not fit"):
        frequency.load(frequency.dump(memory)[:-8])
