"""Cases: what a table may say, and how a step that is not as expected is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.policy import Policy, load_policies
from observer_core.runtime.study.policy_cases import Case, Outcome, load_cases, run
from observer_core.shared.errors import ConfigError

HALT = Policy.model_validate(
    {"name": "halt", "version": 1, "owner": "o", "description": "d", "verdict": "block", "until": "5m",
     "match": {"types": ["pattern.spike"]}}
)  # fmt: skip
HELD = HALT.model_copy(update={"name": "held"}).model_validate(
    {**HALT.canonical(), "name": "held", "until": "resumed", "match": {"types": ["feed.stale"]}}
)


def tried(*steps: dict[str, Any]) -> Outcome:
    return run(DecisionConfig(policies=(HALT, HELD)), Case.model_validate({"name": "c", "steps": steps}))


def problems(*steps: dict[str, Any]) -> list[tuple[int, str]]:
    return [(failure.number, text) for failure in tried(*steps).failures for text in failure.problems]


SPIKE = {"at": "0s", "event": "pattern.spike"}
CONFIG = Path(__file__).parents[3] / "config"


def test_the_shipped_policies_do_what_their_cases_say_and_each_has_one() -> None:
    policies = load_policies(CONFIG / "policies.toml")
    outcomes = [
        run(DecisionConfig(policies=policies), case) for case in load_cases(CONFIG / "policy_cases.toml")
    ]
    assert [(outcome.case.name, list(outcome.failures)) for outcome in outcomes if outcome.failures] == []
    assert {policy.name for policy in policies} <= frozenset().union(*(outcome.acted for outcome in outcomes))


def test_what_is_as_expected_has_no_failures() -> None:
    outcome = tried(
        {**SPIKE, "expect": [{"verdict": "block", "policy": "halt", "scope": "subject:SUBJECT", "for": "5m",
                              "code": "matched", "severity": "critical"}], "blocked": ["subject:SUBJECT"]},
        {"at": "1m", "event": "pattern.spike", "expect": [{"verdict": "non_execution", "code": "duplicate"}]},
        {"at": "5m", "expect": [{"verdict": "release"}], "blocked": []},
        {"at": "6m", "event": "feed.stale", "expect": [{"verdict": "block", "for": "open"}]},
        {"at": "7m", "event": "pattern.volume_surge", "expect": []},
    )  # fmt: skip
    assert outcome.failures == []
    assert outcome.acted >= {"halt", "held"}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"expect": []},
            ["not expected: block halt subject:SUBJECT (matched) for 5m: halt: pattern.spike on"],
        ),
        (
            {"expect": [{"verdict": "judgment"}]},
            ["expected judgment any policy any scope", "not expected: blo"],
        ),
        (
            {"expect": [{"verdict": "block", "for": "6m"}]},
            ["expected block any policy any scope for 6m", "not"],
        ),
        (
            {"expect": [{"verdict": "block"}, {"verdict": "block", "policy": "held", "for": "open"}]},
            ["expected block held any scope without an end of its own"],
        ),
        ({"blocked": []}, ["expected subject:SUBJECT to be open, it is blocked by halt"]),
        ({"blocked": ["*", "subject:SUBJECT"]}, ["expected * to be blocked, it is open"]),
    ],
)
def test_what_is_not_as_expected_is_told_with_both(more: dict[str, Any], told: list[str]) -> None:
    found = problems({**SPIKE, **more})
    assert [number for number, _ in found] == [1] * len(told)
    for (_, text), beginning in zip(found, told, strict=True):
        assert text.startswith(beginning)


def test_what_is_due_by_a_step_has_happened_before_its_event() -> None:
    found = {"verdict": "release"}, {"verdict": "block"}
    assert problems(SPIKE, {"at": "5m", "event": "pattern.spike", "expect": list(found)}) == []


def test_the_vaguer_expectation_takes_what_the_stricter_one_leaves() -> None:
    both = [{"verdict": "block"}, {"verdict": "block", "policy": "halt"}]
    found = problems({**SPIKE, "expect": both})
    assert [text for _, text in found] == ["expected block any policy any scope"]


def test_operators_take_part() -> None:
    assert problems(
        {"at": "0s", "command": "block", "scope": "*", "for": "1h", "blocked": ["*"]},
        {"at": "1m", "command": "override", "scope": "*", "for": "10m", "expect": []},
        {**SPIKE, "at": "2m", "expect": [{"verdict": "non_execution", "code": "overridden"}]},
        {"at": "3m", "command": "release", "scope": "*", "expect": [{"verdict": "release"}], "blocked": []},
    ) == []  # fmt: skip


def test_an_event_may_be_about_several_series_or_a_whole_source() -> None:
    series = [["s", "A", "price"], ["s", "B", "price"]]
    assert problems({**SPIKE, "source": "s", "series": series, "blocked": ["source:s"]}) == []
    assert problems({**SPIKE, "source": "s", "subject": "", "blocked": ["source:s"]}) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "not TOML"),
        ("cases = []", "cases: unknown key"),
        ("", "case: missing"),
        ('[[case]]\nname = "c"\nsteps = []', "case.0.steps"),
        ('[[case]]\nname = "c"\nsteps = [{ at = "soon" }]', "case.0.steps.0.at: 'soon' is not a duration"),
        ('[[case]]\nname = "c"\nsteps = [{ at = "0s", evnt = "x" }]', "case.0.steps.0.evnt: unknown key"),
        ('[[case]]\nname = "c"\nsteps = [{ at = "1m" }, { at = "0s" }]', "at = '0s' stands behind '1m'"),
        (
            '[[case]]\nname = "c"\nsteps = [{ at = "0s", event = "x", command = "block" }]',
            "give an event or a command",
        ),
        (
            '[[case]]\nname = "c"\nsteps = [{ at = "0s", command = "explode" }]',
            "expected one of block, release",
        ),
        (
            '[[case]]\nname = "c"\nsteps = [{ at = "0s", expect = [{ verdict = "blok" }] }]',
            "case.0.steps.0.expect.0.verdict",
        ),
    ],
)
def test_what_is_no_case_is_refused_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cases.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as raised:
        load_cases(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
