"""Change points inside the recogniser: of the series asked for, equal to those of `observer detect`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.pattern_record.change_points import FULL, ChangePointFamily, Times
from observer_core.pattern_record.config import ChangePointPattern, RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.study.detecting import detect
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import RecordError
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig

STEP = 60 * SECOND
START = 1_700_000_000 * SECOND
SHIFT = 150
CONFIG = ChangePointPattern()
SHAPES = ChangePointPattern(shape=True)


def value(n: int, subject: str = "a", jump: float = 5.0) -> float:
    place = "abcdefgh".index(subject)
    noise = math.sin(1.9 * n * n + place) + math.sin(0.7 * n * n * n + 2 * place)
    return round(noise + jump * (n >= SHIFT + 10 * place), 4)


def beat(n: int) -> float:
    """Repeats every 25 observations; another way from 600 on."""
    phase = n % 25 / 25
    shape = 4 * math.exp(-((phase - 0.5) ** 2) / 0.01) if n < 600 else 2 * phase % 1.0 * 4
    return round(shape + 0.05 * math.sin(1.9 * n * n), 4)


class Run:
    """A recogniser of a source whose change points are asked for."""

    def __init__(
        self, config: ChangePointPattern | None = CONFIG, shard: tuple[int, int] | None = None
    ) -> None:
        self.recogniser = Recogniser("host", RecogniserConfig(change_points=config), shard)
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []

    def give(
        self,
        n: int,
        values: dict[str, float],
        *,
        field: str = "load",
        at: int | None = None,
        **quality: tuple[str, ...],
    ) -> None:
        now = START + (n * STEP if at is None else at)
        snapshot = Snapshot(
            source="host", event_ns=now, ingest_ns=now, subjects=tuple(values),
            fields={field: np.array(list(values.values()))}, quality=quality,
        )  # fmt: skip
        found = self.recogniser.transition(self.state, Entry("snapshots.host", n + 1, snapshot))
        self.records += [record for record in found if record.pattern.startswith("change_point")]

    def carry(self) -> None:
        self.state = self.recogniser.load(self.recogniser.dump(self.state))

    def changes(self, subject: str = "a") -> list[tuple[int, int, str]]:
        """Onset, observation at which it was declared, and kind."""
        return [
            (
                (record.evidence["onset_ns"] - START) // STEP,
                (record.time_ns - START) // STEP,
                record.evidence["kind"],
            )
            for record in self.records
            if record.pattern == "change_point" and record.series[0][1] == subject
        ]


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    run = Run(None)
    for n in range(200):
        run.give(n, {"a": value(n)})
    assert run.records == []
    assert "change_points" not in run.state.families


def test_a_change_has_its_own_time_and_that_of_its_onset() -> None:
    run = Run()
    for n in range(250):
        run.give(n, {"a": value(n)})
    (record,) = run.records
    evidence = record.evidence
    assert (record.pattern, record.detector, record.direction) == ("change_point", "change_point/3", "up")
    assert (evidence["kind"], evidence["onset_ns"]) == ("level", START + SHIFT * STEP)
    assert record.time_ns == START + (SHIFT + evidence["steps"]) * STEP
    assert 0 < evidence["steps"] < 12
    assert evidence["after"] - evidence["before"] == pytest.approx(5.0, abs=1.0)
    assert evidence["statistic"] >= evidence["limit"]
    assert record.score == evidence["statistic"] / (evidence["statistic"] + evidence["limit"])


@pytest.mark.parametrize("signal", [value, beat])
def test_the_changes_are_those_of_detect_on_the_same_values(signal: object, tmp_path: Path) -> None:
    rows = [(n, signal(n)) for n in range(900)]  # type: ignore[operator]
    path = tmp_path / "file.csv"
    path.write_text("ts,load\n" + "".join(f"{(START + n * STEP) // SECOND},{x}\n" for n, x in rows))
    mapping = RecordingConfig(time="ts", zone="UTC", fields=("load",), subject_name="a")
    found = detect(path, mapping, change_points=True).changes["load"]
    run = Run(SHAPES)
    for n, x in rows:
        run.give(n, {"a": x})
    assert run.changes() == [(change.onset, change.declared, change.kind) for change in found] != []
    assert [r.evidence["statistic"] for r in run.records] == [change.statistic for change in found]


def test_a_change_of_shape_is_one_without_direction() -> None:
    run = Run(SHAPES)
    for n in range(900):
        run.give(n, {"a": beat(n)})
    assert "shape" in [kind for _, _, kind in run.changes()]
    shape = next(record for record in run.records if record.evidence["kind"] == "shape")
    assert shape.direction == "none"
    assert (shape.evidence["onset_ns"] - START) / STEP == pytest.approx(600, abs=25)


@pytest.mark.parametrize("stop", [0, 19, 100, SHIFT + 2, SHIFT + 8, 200])
def test_a_state_that_was_dumped_goes_on_with_equal_records(stop: int) -> None:
    through, resumed = Run(), Run()
    for n in range(SHIFT + 100):
        values = {subject: value(n, subject) for subject in ("abc" if n % 5 else "ba")}
        through.give(n, values)
        resumed.give(n, values)
        if n == stop:
            resumed.carry()
    assert [r.encode(1) for r in resumed.records] == [r.encode(1) for r in through.records] != []
    assert resumed.recogniser.dump(resumed.state) == through.recogniser.dump(through.state)


def test_a_state_with_shapes_carries_over_wherever_it_is_dumped() -> None:
    through, resumed = Run(SHAPES), Run(SHAPES)
    for n in range(800):
        through.give(n, {"a": beat(n)})
        resumed.give(n, {"a": beat(n)})
        if n % 7 == 0:
            resumed.carry()
    assert [r.encode(1) for r in resumed.records] == [r.encode(1) for r in through.records] != []
    assert resumed.recogniser.dump(resumed.state) == through.recogniser.dump(through.state)


def test_a_series_alone_and_among_others_in_any_order_has_the_same_changes() -> None:
    together, alone = Run(), Run()
    for n in range(SHIFT + 60):
        order = "cab" if n % 3 else "bac"
        together.give(n, {subject: value(n, subject) for subject in order})
        alone.give(n, {"a": value(n)})
    assert together.changes() == alone.changes() != []


def test_only_series_that_match_are_watched() -> None:
    run = Run(ChangePointPattern(subjects=("web-*", "db"), fields=("l?ad",)))
    for n in range(SHIFT + 60):
        run.give(2 * n, {"web-1": value(n), "db": value(n), "mail": value(n)}, at=n * STEP)
        run.give(2 * n + 1, {"db": value(n)}, field="users", at=n * STEP + SECOND)
    assert {record.series[0][1:] for record in run.records} == {("web-1", "load"), ("db", "load")}
    assert list(run.state.families["change_points"].watched) == [("web-1", "load"), ("db", "load")]


def test_the_first_that_appear_are_watched_and_the_rest_is_told_once() -> None:
    run = Run(ChangePointPattern(most=2))
    for n in range(SHIFT + 80):
        values = {"d": math.nan, "a": value(n)} if n < 5 else {s: value(n, s) for s in "dcab"}
        run.give(n, values)
        if n in (3, 5, 90):
            run.carry()
    assert list(run.state.families["change_points"].watched) == [("a", "load"), ("d", "load")]
    (told,) = [record for record in run.records if record.pattern == FULL]
    assert (told.series, told.severity) == ((("host", "c", "load"),), "info")
    assert (told.evidence["most"], told.evidence["left_out"]) == (2, 2)
    assert (told.time_ns - START) // STEP == 5
    assert {record.series[0][1] for record in run.records if record is not told} == {"a", "d"}


def test_subjects_that_belong_to_another_shard_make_room() -> None:
    config = ChangePointPattern(most=2)
    run = Run(config)
    for n in range(30):
        run.give(n, {subject: value(n, subject) for subject in "abcdefgh"})
    part = Run(config, shard=(0, 2))
    part.state = part.recogniser.load(run.recogniser.dump(run.state))
    own = part.state.families["change_points"]
    kept = [subject for subject, _ in own.watched]
    here = sorted(set("abcdefgh") - part.recogniser._foreign(part.state))
    assert len(kept) < 2
    for n in range(30, 40):
        part.give(n, {subject: value(n, subject) for subject in here})
    assert len(own.watched) == 2
    assert {subject for subject, _ in own.watched} <= set(here)


def test_rows_that_are_no_news_are_not_learnt() -> None:
    run = Run()
    for n in range(30):
        run.give(n, {"a": value(n), "b": value(n)})
    before = ChangePointFamily(CONFIG).dump(run.state.families["change_points"])
    run.give(30, {"a": 99.0, "b": math.nan}, a=("duplicate",))
    run.give(31, {"a": 99.0, "b": math.nan}, a=("stale",))
    assert ChangePointFamily(CONFIG).dump(run.state.families["change_points"]) == before


def test_series_that_come_go_and_return_have_the_onset_of_their_own_observations() -> None:
    run = Run()
    for n in range(100, 1000):
        if n < 160 or n >= 500:
            run.give(n, {"a": value(n - 350 if n >= 500 else n - 100, jump=8.0)})
    ((onset, declared, kind),) = run.changes()
    assert kind == "level"
    assert 500 <= onset < declared < 520


def test_bad_input_neither_breaks_nor_is_told() -> None:
    run = Run(SHAPES)
    rows = [math.nan, 1e300, -1e300, 0.0, -0.0, 5e-324, 1e17, math.inf]
    with np.errstate(all="raise", under="ignore"):
        for n in range(400):
            run.give(n, {"a": rows[n % len(rows)], "b": 7.25, "c": math.nan}, at=(n - n % 3) * STEP)
    for record in run.records:
        numbers = [x for x in record.evidence.values() if not isinstance(x, str)]
        assert all(math.isfinite(x) for x in numbers)
        assert 0.5 <= record.score <= 1.0
    assert run.changes("b") == run.changes("c") == []
    run.carry()


def test_ten_thousand_series_at_once_are_no_change() -> None:
    run = Run(ChangePointPattern(most=8))
    for n in range(3):
        run.give(n, {f"s{k}": float(k) for k in range(10_000)})
    assert [record.pattern for record in run.records] == [FULL]
    assert (run.records[0].evidence["most"], run.records[0].evidence["left_out"]) == (8, 9_992)


def test_a_configuration_that_asks_for_less_forgets_the_rest() -> None:
    run = Run(SHAPES)
    for n in range(30):
        run.give(n, {"a": value(n), "b": value(n), "c": value(n)})
    family = ChangePointFamily(ChangePointPattern(subjects=("b", "c"), most=1))
    own = family.load(ChangePointFamily(SHAPES).dump(run.state.families["change_points"]))
    assert list(own.watched) == [("b", "load")]
    assert own.watched["b", "load"].march.lanes[0].shapes is None


def test_other_bytes_are_no_state() -> None:
    family = ChangePointFamily(CONFIG)
    run = Run()
    run.give(0, {"a": 1.0})
    blob = family.dump(run.state.families["change_points"])
    with pytest.raises(RecordError, match="expected change points of format 1"):
        family.load(b'{"format":0}\n')
    with pytest.raises(RecordError, match="change points: expected"):
        family.load(blob[:-8])


def test_the_state_of_a_series_is_bounded() -> None:
    family, run = ChangePointFamily(SHAPES), Run(SHAPES)
    for n in range(3000):
        run.give(n, {"a": beat(n % 600)})
    (lane,) = run.state.families["change_points"].watched["a", "load"].march.lanes
    assert lane.shapes
    shapes = len(lane.shapes.body())
    blob = family.dump(run.state.families["change_points"])
    assert shapes < 2048 * 52
    assert len(blob) - shapes < 17_000


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"subjects": []}, "at least 1 item"),
        ({"fields": []}, "at least 1 item"),
        ({"most": 0}, "between 1 and 4096 series"),
        ({"series": ["a"]}, "Extra inputs"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ChangePointPattern.model_validate(settings)


@given(st.integers(1, 2500), st.integers(-5, 10**9), st.integers(0, 2499))
def test_times_of_even_steps_are_exact(count: int, step: int, back: int) -> None:
    times = Times()
    for n in range(count):
        times.add(7 + n * step)
    if back < count:
        assert times.at(back) == 7 + (count - 1 - back) * step


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=900), st.integers(0, 899))
def test_times_are_exact_when_new_and_near_when_old(gaps: list[int], back: int) -> None:
    moments = np.cumsum(gaps).tolist()
    times = Times()
    for moment in moments:
        times.add(moment)
    if back < len(moments):
        row, slack = len(moments) - 1 - back, back // 63
        found = times.at(back)
        assert moments[max(0, row - slack)] <= found <= moments[min(len(moments) - 1, row + slack)]
