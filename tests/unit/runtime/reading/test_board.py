"""The board says of every subject exactly what the gate would answer it, however things stand."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.decision_pipeline.gate import (
    GateInputs,
    GateRequest,
    SourceState,
    StageState,
    evaluate,
)
from observer_core.decision_pipeline.scopes import source_scope, subject_scope
from observer_core.runtime.reading.board import CLOSING, Groups, board, state_of, steady

NOW = 1_000
SUBJECTS = ("A", "B", "C", "D/USD", "*", "source:one")
SOURCES = ("one", "two", "three")
SCOPES = ("*", *map(source_scope, SOURCES), *map(subject_scope, (*SUBJECTS, "nobody")))
some = st.frozensets(st.sampled_from(SUBJECTS))
moments = st.none() | st.integers(NOW - 120, NOW + 120)
levels = st.sampled_from(["calm", "elevated", "critical"])
entries = st.builds(
    lambda policy, since_ns, until_ns: {
        "policy": policy, "version": 1, "severity": "critical", "reason": "why", "since_ns": since_ns,
        "until_ns": until_ns, "decision": f"d-{policy}",
    },
    st.sampled_from(["kill", "operator", "price-shock"]), st.integers(1, NOW), st.none() | st.integers(1, 3),
)  # fmt: skip


def source(name: str) -> st.SearchStrategy[SourceState]:
    return st.builds(
        SourceState, name=st.just(name), status=st.sampled_from(["ok", "ok", "unavailable"]),
        through_ns=moments, snapshot_ns=moments, max_age_ns=st.integers(1, 60), subjects=some,
        stale_subjects=some, closed=st.just(frozenset()) | some, error=st.none() | st.just("refused"),
    )  # fmt: skip


sources = st.lists(st.sampled_from(SOURCES), unique=True).flatmap(
    lambda names: st.tuples(*map(source, names)).map(list)
)
stages = st.lists(
    st.builds(
        StageState, name=st.sampled_from(["publish", "decide"]), through_ns=moments,
        max_lag_ns=st.integers(1, 60),
    ),
    max_size=2,
)  # fmt: skip
risks: st.SearchStrategy[dict[str, object]] = st.just({}) | st.fixed_dictionaries(
    {
        "overall": levels,
        "subjects": st.dictionaries(st.sampled_from(SUBJECTS), levels),
        "sources": st.dictionaries(st.sampled_from(SOURCES), levels),
    }
)
inputs = st.builds(
    GateInputs, sources=sources, stages=stages, risk=risks,
    blocks=st.dictionaries(st.sampled_from(SCOPES), st.lists(entries, min_size=1, max_size=2), max_size=3),
    quarantined=st.frozensets(st.sampled_from(SCOPES), max_size=2),
)  # fmt: skip


def subjects_of(given_: GateInputs) -> set[str]:
    """All that are observed, or that something stands on."""
    observed = {str(subject) for source in given_.sources for subject in source.subjects}  # type: ignore[attr-defined]
    scopes = {*given_.blocks, *given_.quarantined}
    return observed | {scope.removeprefix("subject:") for scope in scopes if scope.startswith("subject:")}


@given(inputs)
@settings(max_examples=150)
def test_every_row_is_the_answer_of_the_gate(found: GateInputs) -> None:
    shown = board(found, Groups(found), "live", NOW)
    rows = {row["subject"]: row for row in shown["rows"]}
    assert rows.keys() == subjects_of(found)
    assert len(rows) == len(shown["rows"])
    for subject, row in rows.items():
        answer = evaluate(GateRequest(subject, NOW, "live"), found)
        assert [shown["reasons"][place] for place in row["reasons"]] == list(answer.reasons)
        assert row["state"] == state_of(answer)
        assert (row["state"] == "open") == (answer.decision == "allow")
        assert (row["state"] == "blocked") == any(reason["code"] in CLOSING for reason in answer.reasons)
        assert row["risk"] == (answer.risk if found.risk else "unknown")
        blocks = [reason for reason in answer.reasons if reason["code"] == "blocked"]
        assert row["since_ns"] == min((block["since_ns"] for block in blocks), default=None)
        ends = [block["until_ns"] for block in blocks]
        endless = not ends or None in ends or any(r["code"] == "quarantined" for r in answer.reasons)
        assert row["until_ns"] == (None if endless else max(ends))
        assert row["sources"] == [source.name for source in found.sources if subject in source.subjects]
    assert len({str(reason) for reason in shown["reasons"]}) == len(shown["reasons"])
    assert set(shown["scopes"]) == {*found.blocks, *found.quarantined}


@given(inputs, st.integers(-200, 200))
@settings(max_examples=150)
def test_counts_are_those_of_the_rows_and_hold_as_long_as_is_said(found: GateInputs, later: int) -> None:
    now_ns, groups = NOW + later, Groups(found)
    since_ns, until_ns = steady(found, now_ns)
    assert since_ns <= now_ns < until_ns
    expected = Counter(
        state_of(evaluate(GateRequest(subject, now_ns, "live"), found)) for subject in subjects_of(found)
    )
    for moment in (now_ns, since_ns, until_ns - 1):
        counts = groups.counts(found, "live", moment)
        assert {state: count for state, count in counts.items() if count} == expected
    assert board(found, groups, "live", now_ns)["counts"] == counts


def test_rows_that_need_a_look_come_first_then_the_risky_ones_then_by_name() -> None:
    fresh = {"status": "ok", "through_ns": NOW, "snapshot_ns": NOW, "max_age_ns": 5}
    found = GateInputs(
        sources=[
            SourceState(name="one", subjects=frozenset("abcdefg"), stale_subjects=frozenset("de"), **fresh)  # type: ignore[arg-type]
        ],
        stages=[StageState(name="decide", through_ns=NOW, max_lag_ns=5)],
        blocks={
            "subject:g": [{"policy": "p", "version": 1, "reason": "r", "since_ns": 7, "until_ns": 9,
                           "decision": "d"}],
        },
        risk={"overall": "critical", "subjects": {"c": "critical", "b": "elevated", "e": "elevated"},
              "sources": {}},
    )  # fmt: skip
    shown = board(found, Groups(found), "live", NOW)
    assert [row["subject"] for row in shown["rows"]] == ["g", "e", "d", "c", "b", "a", "f"]
    assert shown["counts"] == {"blocked": 1, "unknown": 2, "open": 4}
    assert (shown["rows"][0]["since_ns"], shown["rows"][0]["until_ns"]) == (7, 9)


def test_a_domain_of_which_nothing_is_known_has_no_rows() -> None:
    nothing = GateInputs(sources=(), stages=())
    shown = board(nothing, Groups(nothing), "live", NOW)
    assert (shown["rows"], shown["reasons"]) == ([], [])
    assert shown["counts"] == {"blocked": 0, "unknown": 0, "open": 0}
