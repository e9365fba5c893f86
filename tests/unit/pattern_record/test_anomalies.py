"""The anomaly score inside the recogniser: where it is asked for, and equal to that of `observer detect`."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from observer_core.pattern_record.config import AnomalyPattern, RecogniserConfig
from observer_core.pattern_record.detectors.anomaly import Anomaly
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.pattern_record.state import RecogniserState
from observer_core.runtime.study.detecting import detect
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import RecordError
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.recorded.mapping import RecordingConfig

STEP = 300 * SECOND
START = 1_700_000_000 * SECOND
CONFIG = RecogniserConfig(anomaly=AnomalyPattern(**Anomaly().model_dump()))
JUMP = 500


def value(n: int, series: int = 0) -> float:
    wave = 10 + math.sin((n + 11 * series) / 9) + 0.3 * math.sin(1.7 * n * n + series)
    return round(wave + (25 if n == JUMP + series else 0), 4)


class Run:
    """A recogniser over three series of which some may be missing."""

    def __init__(self, config: RecogniserConfig = CONFIG) -> None:
        self.recogniser = Recogniser("host", config)
        self.state = self.recogniser.initial()
        self.records: list[PatternRecord] = []

    def give(self, n: int, subjects: tuple[str, ...] = ("a", "b", "c"), **quality: tuple[str, ...]) -> None:
        now = START + n * STEP
        values = [value(n, "abc".index(name)) for name in subjects]
        snapshot = Snapshot(
            source="host", event_ns=now, ingest_ns=now, subjects=subjects,
            fields={"load": np.array(values)}, quality=quality,
        )  # fmt: skip
        found = self.recogniser.transition(self.state, Entry("snapshots.host", n + 1, snapshot))
        self.records += [record for record in found if isinstance(record, PatternRecord)]

    def anomalies(self) -> list[tuple[str, int]]:
        return [
            (record.series[0][1], (record.time_ns - START) // STEP)
            for record in self.records
            if record.pattern == "anomaly"
        ]


def test_nothing_is_scored_unless_it_is_asked_for() -> None:
    run = Run(RecogniserConfig())
    for n in range(600):
        run.give(n)
    assert run.anomalies() == []
    assert "anomaly" not in run.state.families


def test_by_default_only_what_is_plain_is_an_anomaly() -> None:
    run = Run(RecogniserConfig(anomaly=AnomalyPattern()))
    for n in range(600):
        run.give(n)
    assert run.anomalies() == [("a", JUMP), ("b", JUMP + 1), ("c", JUMP + 2)]


def test_a_jump_is_an_anomaly_of_its_series_with_what_grew() -> None:
    run = Run()
    for n in range(600):
        run.give(n)
    assert {("a", JUMP), ("b", JUMP + 1), ("c", JUMP + 2)} <= set(run.anomalies())
    found = next(
        r
        for r in run.records
        if (r.pattern, r.series[0][1]) == ("anomaly", "a") and r.time_ns == START + JUMP * STEP
    )
    assert (found.detector, found.direction) == ("anomaly/2", "up")
    assert found.evidence["growth_value"] > 0
    assert found.score == found.evidence["score"]
    assert run.state.families["anomaly"].period == 288


def test_the_scores_are_those_of_detect_on_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("ts,load\n" + "".join(f"{(START + n * STEP) // SECOND},{value(n)}\n" for n in range(700)))
    alarms = detect(path, RecordingConfig(time="ts", zone="UTC", fields=("load",), subject_name="a")).alarms
    run = Run()
    for n in range(700):
        run.give(n, ("a",))
    assert run.anomalies() == [("a", alarm.row) for alarm in alarms] != []
    assert [r.score for r in run.records if r.pattern == "anomaly"] == [alarm.score for alarm in alarms]


@pytest.mark.parametrize("stop", [1, 10, 17, 18, 300, JUMP, JUMP + 1])
def test_a_state_that_was_dumped_goes_on_with_equal_records(stop: int) -> None:
    through, resumed = Run(), Run()
    for n in range(JUMP + 40):
        subjects = ("a", "b", "c") if n % 5 else ("b", "a")
        through.give(n, subjects)
        resumed.give(n, subjects)
        if n == stop:
            resumed.state = resumed.recogniser.load(resumed.recogniser.dump(resumed.state))
    assert [r.encode(1) for r in resumed.records] == [r.encode(1) for r in through.records]
    assert resumed.recogniser.dump(resumed.state) == through.recogniser.dump(through.state)


def test_a_series_alone_and_among_others_in_any_order_has_the_same_scores() -> None:
    together, alone = Run(), Run()
    for n in range(JUMP + 40):
        together.give(n, ("c", "a", "b") if n % 3 else ("a", "c", "b"))
        alone.give(n, ("a",))
    of_a = [found for found in together.anomalies() if found[0] == "a"]
    assert of_a == alone.anomalies() != []


def test_rows_that_are_no_news_are_not_learnt() -> None:
    run = Run()
    for n in range(JUMP):
        run.give(n)
    before = run.state.families["anomaly"].values.copy()
    run.give(JUMP, a=("duplicate",), b=("stale",), c=("partial_bar",))
    assert run.anomalies() == [found for found in run.anomalies() if found[1] < JUMP]
    assert (run.state.families["anomaly"].values == before).all()


def test_a_configuration_that_asks_no_more_forgets_the_scores_and_nothing_else() -> None:
    run, plain = Run(), Run(RecogniserConfig())
    for n in range(50):
        run.give(n)
        plain.give(n)
    state = plain.recogniser.load(run.recogniser.dump(run.state))
    assert isinstance(state, RecogniserState)
    assert plain.recogniser.dump(state) == plain.recogniser.dump(plain.state)


def test_bytes_that_are_cut_are_no_state() -> None:
    run = Run()
    for n in range(30):
        run.give(n)
    with pytest.raises(RecordError, match="recogniser state of 3 series: expected"):
        run.recogniser.load(run.recogniser.dump(run.state)[:-8])
