"""docs/policies.md: its policies load, lint without remarks and pass its cases; its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.non_execution import CHECKS
from observer_core.decision_pipeline.policy import Policy, PolicyMatch, load_policies
from observer_core.decision_pipeline.presets import DEFAULT_POLICIES
from observer_core.decision_pipeline.signals import ABSENCES
from observer_core.runtime.study.policy_cases import load_cases, run
from observer_core.runtime.study.policy_lint import CONDITIONS, lint, strange

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All policies of the page as one file."""
    path = tmp_path_factory.mktemp("page") / "policies.toml"
    path.write_text("\n".join(blocks("toml")), "utf-8")
    return path


def test_every_block_loads_and_there_is_nothing_to_remark(page: Path) -> None:
    assert len(load_policies(page)) >= len(blocks("toml")) >= 8
    assert lint(page) == []


def test_the_cases_of_the_page_are_as_expected(page: Path, tmp_path: Path) -> None:
    (text,) = blocks("toml cases")
    path = tmp_path / "cases.toml"
    path.write_text(text, "utf-8")
    outcomes = [run(DecisionConfig(policies=load_policies(page)), case) for case in load_cases(path)]
    assert len(outcomes) == 3
    assert [(outcome.case.name, outcome.failures) for outcome in outcomes if outcome.failures] == []


def test_every_key_of_a_policy_is_described() -> None:
    names = {field.alias or name for name, field in Policy.model_fields.items()}
    assert {name for name in names if f"`{name}" not in PAGE} == set()
    assert {name for name in PolicyMatch.model_fields if f"`{name}`" not in PAGE} == set()


def test_the_table_of_presets_is_complete() -> None:
    table = PAGE.partition("## The presets")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [
        "stale-feed", "source-unavailable", "venue-halt", "price-shock", "drawdown", "relation-break",
        "crossed-book", "spread-blowout", "price-spike", "level-shift", "variance-shift", "market-state",
        "host-degraded", "data-quality", "flat-feed",
    ]  # fmt: skip
    assert [policy.name for policy in DEFAULT_POLICIES] == re.findall(
        r"^\| `([a-z-]+)` \|", table, re.MULTILINE
    )


def test_conditions_and_absences_are_named() -> None:
    assert {name for name in CONDITIONS - {"quarantined"} if f"`{name}`" not in PAGE} == set()
    assert {name for name in ABSENCES if f"`{name}`" not in PAGE} == set()
    names = {check.__name__ for check in CHECKS} - {"no_action"}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def test_nothing_is_to_be_remarked_of_presets_and_the_shipped_file() -> None:
    remarks = [remark for policy in DEFAULT_POLICIES for remark in strange(policy, DEFAULT_POLICIES)]
    assert [(remark.policy, remark.key) for remark in remarks] == []
    assert lint(ROOT / "config" / "policies.toml") == []
