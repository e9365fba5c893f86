"""Folding what stood at a cut and then what is kept gives what folding everything gives, at any cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.decision_pipeline.history import fold
from observer_core.retention.standing import standing_of
from observer_core.shared.records import (
    RECOVERIES,
    Decision,
    Note,
    PatternRecord,
    Snapshot,
    decode_record,
)

SCOPES = ("subject:a", "subject:b", "source:x", "*")


def decision(number: int, verdict: Any, scope: str, policy: str, **reason: Any) -> Decision:
    return Decision(
        id=f"{number:032x}", verdict=verdict, scope=scope, policy=policy, policy_version=1, time_ns=number,
        reasons=({"code": "x", "text": "t", **reason},), causation=("events.d@1",),
    )  # fmt: skip


def _decision(number: int, kind: str, scope: str, policy: str, which: int) -> Decision:
    match kind:
        case "block" | "release":
            return decision(number, kind, scope, policy)
        case "risk":
            return decision(number, "judgment", scope, "risk", level=("calm", "elevated", "critical")[which])
        case "override":
            return decision(number, "release", scope, "override", author="a")
        case "override_ended":
            return decision(number, "judgment", scope, "override", code=kind)
        case "asked":
            more = {"command": "kill", "author": "a", "principal": "p", "expires_ns": 9}
            more["code"] = "needs_confirmation"
            return decision(number, "non_execution", scope, "operator", request=number, **more)
    return decision(number, "judgment", scope, "operator", code="confirmed", request=number - 1 - which)


KINDS = ("block", "release", "risk", "override", "override_ended", "asked", "confirmed")
CHOICES = st.tuples(
    st.sampled_from(KINDS), st.sampled_from(SCOPES), st.sampled_from(("p", "q")), st.integers(0, 2)
)  # fmt: skip


def cut(journal: str, lines: list[bytes], cuts: list[int]) -> list[int]:
    """What stood at the last of some cuts, each fold beginning with what the one before has left."""
    standing: list[int] = []
    begin = 0
    for end in sorted(cuts):
        tracker = standing_of(journal)
        for position in [*standing, *range(begin + 1, end + 1)]:
            tracker.apply(position, lines[position - 1])
        standing, begin = sorted(tracker.positions()), end
    return standing


@settings(max_examples=200, deadline=None)
@given(st.lists(CHOICES, max_size=40), st.lists(st.integers(0, 40), min_size=1, max_size=3))
def test_of_decisions(choices: list[tuple[str, str, str, int]], cuts: list[int]) -> None:
    decisions = [_decision(number, *choice) for number, choice in enumerate(choices, 1)]
    lines = [one.encode(1) for one in decisions]
    ends = [min(end, len(lines)) for end in cuts]
    kept = [decisions[at - 1] for at in cut("decisions.d", lines, ends)]
    assert fold([*kept, *decisions[max(ends) :]]).views() == fold(decisions).views()
    assert len(kept) <= len(SCOPES) * 4 + 3


def test_of_quarantined_entries() -> None:
    def note(kind: str, position: int, count: int = 0) -> bytes:
        body = {"input": "events.d", "position": position, "count": count}
        return Note(kind=kind, time_ns=1, body=body).encode(1)

    lines = [note("quarantine", 1), note("quarantine", 2), note("redrive", 1, 1), note("redrive", 2)]
    assert cut("decisions.d", lines, [4]) == [1]
    assert cut("decisions.d", lines, [1, 4]) == [1]


def pattern(kind: str, *subjects: str) -> bytes:
    return PatternRecord(
        id="i", pattern=kind, series=tuple(("x", subject, "p") for subject in subjects), score=0.7,
        severity="info", direction="none", tags=(), detector="d", evidence={}, snapshot="snapshots.x@1",
        event_ns=1, time_ns=1,
    ).encode(1)  # fmt: skip


def test_of_patterns_the_conditions_that_are_not_over() -> None:
    lines = [
        pattern("feed_stale", "a", "b"), pattern("feed_resumed", "a"), pattern("spike", "a"),
        pattern("drawdown", "c"), pattern("feed_stale", "c"), pattern("drawdown_over", "c"),
    ]  # fmt: skip
    assert cut("patterns.x", lines, [6]) == [1, 2, 5]  # of 1 only b stands, so 2 must be known too
    assert cut("patterns.x", [*lines, pattern("feed_resumed", "b")], [3, 7]) == [5]


CONDITIONS = st.tuples(
    st.sampled_from(("feed_stale", "feed_resumed", "drawdown", "drawdown_over")),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CONDITIONS, max_size=30), st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_of_patterns(choices: list[tuple[str, list[str]]], cuts: list[int]) -> None:
    lines = [pattern(kind, *subjects) for kind, subjects in choices]
    ends = [min(end, len(lines)) for end in cuts]
    kept = [lines[at - 1] for at in cut("patterns.x", lines, ends)]
    assert open_conditions([*kept, *lines[max(ends) :]]) == open_conditions(lines)


def open_conditions(lines: list[bytes]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for record in map(decode_record, lines):
        assert isinstance(record, PatternRecord)
        subjects = [series[1] for series in record.series]
        if record.pattern in RECOVERIES:
            found |= {(RECOVERIES[record.pattern], subject) for subject in subjects}
        else:
            found -= {(record.pattern, subject) for subject in subjects}
    return found


def snapshot(**values: float) -> bytes:
    return Snapshot(
        source="x", event_ns=1, ingest_ns=1, subjects=tuple(values),
        fields={"p": np.array(list(values.values()))},
    ).encode(1)  # fmt: skip


@pytest.mark.parametrize("cuts", [[5], [1, 5], [2, 3, 5]])
def test_of_snapshots_the_newest_that_has_a_value_of_each_series(cuts: list[int]) -> None:
    nan = float("nan")
    lines = [
        snapshot(a=1, gone=2), snapshot(a=1, b=2), snapshot(a=nan, b=2), snapshot(a=nan, b=nan),
        snapshot(b=3),
    ]  # fmt: skip
    assert cut("snapshots.x", lines, cuts) == [1, 2, 4, 5]
    assert all(isinstance(decode_record(line), Snapshot) for line in lines)


def test_of_others_nothing() -> None:
    assert cut("events.d", [snapshot(a=1)], [1]) == []
