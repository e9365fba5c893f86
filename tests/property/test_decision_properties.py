"""Batches, the calls of `advance` and restarts change nothing; blocks end by records only."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "decision_pipeline"))
from desk import DAY, MINUTE, T0, event, policy

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.history import fold
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.decision_pipeline.signals import ABSENCES
from observer_core.event_bus.publisher import Publisher, PublisherConfig
from observer_core.shared.records import AnyRecord, Decision, Event, Note, PatternRecord, Record
from observer_core.shared.stage import Entry, Stage

CONFIG = DecisionConfig.model_validate(
    {
        "policies": (
            policy(name="spike", match={"types": ["pattern.spike"]}, until="7m", cooldown="3m"),
            policy(name="wide", match={"types": ["pattern.*"]}, scope="source", until="11m", min_score=0.7),
            policy(name="held", match={"types": ["pattern.level_shift"]}, until="resumed"),
            policy(name="stale", match={"types": ["feed.stale"]}, until="resumed"),
            policy(name="dark", match={"types": ["feed.unavailable"]}, scope="domain", until="resumed"),
            policy(name="look", match={"types": ["*"]}, verdict="judgment", cooldown="2m"),
            policy(name="ghost", match={"types": ["*"]}, shadow=True),
            policy(name="thrice", match={"types": ["pattern.*"], "fields": ["price"]}, count=2, within="5m",
                   scope="source", distinct="subject", until="resumed"),
            policy(name="twice", match={"types": ["pattern.*"]}, count=2, within="10m",
                   escalate={"times": 2, "within": "30m", "until": "40m"}),
            policy(name="both", per="subject", within="10m", until="resumed",
                   all=[{"types": ["feed.stale"]}, {"types": ["pattern.spike"], "sources": ["kraken"]}]),
            policy(name="wherever", per="domain", within="3m", scope="source", until="30m",
                   all=[{"types": ["feed.unavailable"]}, {"types": ["pattern.*"]}],
                   escalate={"after": "20m", "scope": "domain"}),
            policy(name="meanwhile", match={"types": ["pattern.spike"]}, per="source", cooldown="1m",
                   **{"while": {"types": ["feed.stale", "pattern.volatility_regime"]}}),
            policy(name="calm", until={"match": {"types": ["pattern.volatility_regime"],
                   "evidence": {"regime": {"max": 0}}}, "at_most": "1h"}, scope="source",
                   match={"types": ["pattern.*"], "evidence": {"regime": {"min": 1}}},
                   escalate={"after": "10m", "severity": "critical"}),
            policy(name="between", match={"types": ["pattern.volatility_regime"]},
                   enter={"regime": 2}, leave={"regime": 0}),
            policy(name="open", match={"types": ["feed.resumed", "pattern.volatility_regime"]},
                   verdict="release", release=["spike", "twice", "calm", "held"], cooldown="1m"),
        ),
        "judgment": {"leak": "2m", "elevated": 2.0, "critical": 5.0},
    }
)  # fmt: skip

SUBJECTS = st.sampled_from(["A", "B"])
SOURCES = st.sampled_from(["binance", "kraken"])
SEVERITY = st.sampled_from(["info", "warning", "critical"])
SCORES = st.sampled_from([0.3, 0.65, 0.7, 1.0])
STEPS = st.sampled_from([0, 0, 1, MINUTE // 2, MINUTE, 3 * MINUTE, 10 * MINUTE])
KINDS = st.sampled_from(
    [
        "pattern.spike",
        "pattern.level_shift",
        "pattern.volatility_regime",
        "feed.stale",
        "feed.resumed",
        "feed.unavailable",
        "feed.available",
    ]
)
SCOPES = st.sampled_from(["*", "subject:A", "subject:B", "source:binance", "pair:A"])


@st.composite
def events(draw: st.DrawFn) -> AnyRecord:
    kind = draw(st.one_of(KINDS, st.sampled_from(["incident.resolved", "quarantined", "redriven"])))
    source, data = draw(SOURCES), {"score": draw(SCORES), "cadence_ns": draw(st.sampled_from([0, MINUTE]))}
    if kind in ("quarantined", "redriven"):
        data |= {
            "input": source,
            "position": draw(st.integers(1, 2)),
            "scopes": [f"source:{source}"],
            "series": [],
        }
    if kind == "pattern.volatility_regime":
        data["evidence"] = {"regime": draw(st.integers(0, 2)), "before": draw(st.integers(0, 2))}
    if kind.startswith(("pattern.", "feed.")) and draw(st.booleans()):
        data["series"] = [[source, subject, "price"] for subject in ("A", "B")]
    incident = draw(st.sampled_from(["", "i1", "i2"]))
    return event(kind, source=source, subject=draw(SUBJECTS), severity=draw(SEVERITY), correlationid=incident,
                 data={**data, "id": incident})  # fmt: skip


@st.composite
def notes(draw: st.DrawFn) -> AnyRecord:
    kind = draw(st.sampled_from(["tick", "command", "command", "quarantine", "redrive", "epoch"]))
    if kind == "command":
        command = draw(st.sampled_from(["block", "release", "override", "rearm", "?"]))
        until = draw(st.sampled_from([None, T0 + 5 * MINUTE, T0 + 30 * MINUTE, T0 + DAY]))
        body = {"command": command, "scope": draw(SCOPES), "author": draw(st.sampled_from(["kim", ""])),
                "reason": "drill", "until_ns": until}  # fmt: skip
    else:
        body = {
            "input": "x",
            "position": draw(st.integers(1, 2)),
            "scopes": draw(st.sampled_from([[], ["subject:A"]])),
        }
    return Note(kind=kind, time_ns=T0, body=body)


@st.composite
def patterns(draw: st.DrawFn) -> AnyRecord:
    kind = draw(KINDS).replace("pattern.", "").replace("feed.", "feed_")
    source = draw(SOURCES)
    subjects = draw(st.lists(SUBJECTS, min_size=1, max_size=2, unique=True))
    return PatternRecord(
        id="p", pattern=kind, series=tuple((source, subject, "price") for subject in subjects),
        score=draw(SCORES), severity=draw(SEVERITY), direction="up", tags=(), detector="d/1", evidence={},
        snapshot="s@1", event_ns=T0, time_ns=T0, cadence_ns=draw(st.sampled_from([0, MINUTE, 20 * MINUTE])),
    )  # fmt: skip


def at_times(records: st.SearchStrategy[AnyRecord]) -> st.SearchStrategy[list[AnyRecord]]:
    """Records at times that mostly grow; some come late."""
    return st.lists(st.tuples(STEPS, st.booleans(), records), max_size=25).map(_timed)


def _timed(drawn: list[tuple[int, bool, Any]]) -> list[AnyRecord]:
    now, timed = T0, []
    for step, late, record in drawn:
        now += step
        timed.append(replace(record, time_ns=now - MINUTE if late else now))
    return timed


def run(stage: Stage[Any], records: Sequence[AnyRecord]) -> tuple[list[Record], bytes, Any]:
    state, made = stage.initial(), []
    for number, record in enumerate(records, 1):
        made += stage.transition(state, Entry("input.live", number, record))
    made += stage.advance(state, T0 + 2 * DAY)
    return made, stage.dump(state), stage.views(state)


def disturbed(
    stage: Stage[Any], records: Sequence[AnyRecord], data: st.DataObject
) -> tuple[list[Record], bytes, Any]:
    """As `run`, with restarts and calls of `advance` up to the next entry's time wherever drawn."""
    state, made = stage.initial(), []
    for number, record in enumerate(records, 1):
        for share in data.draw(st.lists(st.sampled_from([0.0, 0.3, 0.9, 1.0]), max_size=3)):
            through = T0 + int((record.time_ns - T0) * share)
            made += stage.advance(state, through)
        if data.draw(st.booleans()):
            blob = stage.dump(state)
            state = stage.load(blob)
            assert stage.dump(state) == blob
        version, views = stage.views_version(state), stage.views(state)
        made += stage.transition(state, Entry("input.live", number, record))
        if stage.views_version(state) == version:
            assert stage.views(state) == views
    made += stage.advance(state, T0 + 2 * DAY)
    return made, stage.dump(state), stage.views(state)


@given(at_times(st.one_of(events(), notes())), st.data())
def test_decisions_do_not_depend_on_advance_or_restarts(
    records: list[AnyRecord], data: st.DataObject
) -> None:
    stage = DecisionPipeline("live", CONFIG)
    assert disturbed(stage, records, data) == run(stage, records)


@given(at_times(st.one_of(patterns(), notes())), st.data())
def test_events_do_not_depend_on_advance_or_restarts(records: list[AnyRecord], data: st.DataObject) -> None:
    stage = Publisher("live", PublisherConfig())
    assert disturbed(stage, records, data) == run(stage, records)


@given(at_times(st.one_of(events(), notes())))
def test_the_records_alone_give_the_views_after_every_entry(records: list[AnyRecord]) -> None:
    stage = DecisionPipeline("live", CONFIG)
    state, made = stage.initial(), []
    for number, record in enumerate(records, 1):
        made += stage.transition(state, Entry("input.live", number, record))
        assert fold(made).views() == stage.views(state)


@given(at_times(st.one_of(events(), notes())))
def test_time_never_decreases_and_ids_never_repeat(records: list[AnyRecord]) -> None:
    made, _, _ = run(DecisionPipeline("live", CONFIG), records)
    times = [record.time_ns for record in made]
    assert times == sorted(times)
    ids = [record.id for record in made if isinstance(record, Decision)]
    assert len(set(ids)) == len(ids)
    for record in made:
        record.encode(1)


@given(at_times(st.one_of(patterns(), notes())))
def test_events_are_in_one_total_order_with_ids_of_their_own(records: list[AnyRecord]) -> None:
    made: list[Any] = run(Publisher("live"), records)[0]
    assert [int(item.sequence) for item in made] == list(range(1, len(made) + 1))
    assert [item.time_ns for item in made] == sorted(item.time_ns for item in made)
    assert len({item.id for item in made}) == len(made)


@given(at_times(st.one_of(events(), notes())))
def test_missing_data_end_no_block(records: list[AnyRecord]) -> None:
    made = [d for d in run(DecisionPipeline("live", CONFIG), records)[0] if isinstance(d, Decision)]
    for decision in made:
        if decision.reasons[0]["code"] in ("recovered", "until", "released"):
            cause = records[int(decision.causation[-1].partition("@")[2]) - 1]
            kind = cause.type.removeprefix("io.qts.observer.") if isinstance(cause, Event) else "redriven"
            assert kind not in ABSENCES


@given(at_times(st.one_of(events(), notes())))
def test_no_block_ends_without_a_release_record_and_each_at_its_end(records: list[AnyRecord]) -> None:
    made = [d for d in run(DecisionPipeline("live", CONFIG), records)[0] if isinstance(d, Decision)]
    standing: dict[tuple[str, str], Decision] = {}
    for decision in made:
        key = (decision.policy, decision.scope)
        for block in standing.values():
            assert block.until_ns is None or decision.time_ns <= block.until_ns
        if decision.verdict == "block":
            if key in standing:
                assert decision.policy == "operator" or decision.reasons[0]["code"] == "escalated"
            standing[key] = decision
        elif decision.verdict == "release":
            standing.pop(key, None)
    assert all(block.until_ns is None for block in standing.values())
