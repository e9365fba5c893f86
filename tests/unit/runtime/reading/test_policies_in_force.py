"""The policies in force are those of the newest epoch, and their TOML is the policy again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.decision_pipeline.policy import Policy, load_policies
from observer_core.decision_pipeline.presets import DEFAULT_POLICIES, QUARANTINE
from observer_core.runtime.reading.policies import policies_in_force, policy_toml
from observer_core.shared.errors import InputError
from tests.support.market import MINUTE, Live

ROOT = Path(__file__).resolve().parents[4]
RICH: list[dict[str, Any]] = [
    {
        "name": "joined", "version": 2, "owner": "desk",
        "description": 'says "no" \\ and\ttabs,\nlines, \x7f 한국',
        "verdict": "block", "per": "subject", "within": "10m", "until": "1h30m", "cooldown": "5m",
        "all": [{"types": ["pattern.*"], "min_severity": "critical"},
                {"types": ["feed.stale"], "evidence": {"fall bp": {"min": -1e-05, "max": 1e16}}}],
    },
    {
        "name": "held", "version": 1, "owner": "desk", "description": "d", "verdict": "block",
        "match": {"types": ["feed.halted"], "tags": ["a"]},
        "until": {"match": {"types": ["venue.up"]}, "per": "domain", "at_most": "1d"},
    },
    {
        "name": "while", "version": 1, "owner": "desk", "description": "d", "verdict": "judgment",
        "match": {"types": ["pattern.*"]}, "while": {"types": ["feed.stale"]}, "per": "source",
        "shadow": True, "count": 3, "within": "1m", "distinct": "field", "scope": "source",
    },
    {
        "name": "bounded", "version": 1, "owner": "desk", "description": "d", "verdict": "block",
        "match": {"types": ["pattern.*"]}, "enter": {"score": 0.8}, "leave": {"score": 0.5},
        "escalate": {"times": 2, "within": "1h", "scope": "source"},
    },
]  # fmt: skip


def again(text: str) -> Policy:
    (table,) = tomllib.loads(text)["policy"]
    return Policy.model_validate(table)


@pytest.mark.parametrize(
    "policy", [*DEFAULT_POLICIES, QUARANTINE, *map(Policy.model_validate, RICH)], ids=str
)
def test_the_text_of_a_policy_is_the_policy_again(policy: Policy) -> None:
    assert again(policy_toml(policy.canonical())) == policy


def test_the_texts_of_a_file_are_a_file(tmp_path: Path) -> None:
    shipped = load_policies(ROOT / "config/policies.toml")
    file = tmp_path / "policies.toml"
    file.write_text("\n".join(policy_toml(policy.canonical()) for policy in shipped), "utf-8")
    assert load_policies(file) == shipped


def test_a_text_says_what_was_given_and_not_what_goes_without_saying() -> None:
    text = policy_toml(DEFAULT_POLICIES[0].canonical())
    assert text.startswith('[[policy]]\nname = "stale-feed"\nversion = 1\n')
    assert 'match = { types = ["feed.stale"] }\n' in text
    assert "min_score" not in text


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, values, max_size=4))
@settings(max_examples=150)
def test_what_is_no_policy_is_written_in_full_and_reads_back(given_: dict[str, Any]) -> None:
    assert tomllib.loads(policy_toml(given_)) == given_


def test_what_another_version_understands_as_a_policy_is_written_in_full() -> None:
    later = {"name": "x", "verdict": "block", "brand_new": [1, 2], "until": None}
    (table,) = tomllib.loads(policy_toml(later))["policy"]
    assert table == {"name": "x", "verdict": "block", "brand_new": [1, 2]}


def test_what_toml_cannot_say_is_refused() -> None:
    with pytest.raises(InputError, match="None cannot be written"):
        policy_toml({"x": [None]})


def test_policies_are_those_of_the_newest_epoch_not_of_the_settings(tmp_path: Path) -> None:
    live = Live(tmp_path)
    journals = live.observer.journals
    assert policies_in_force(journals, "live") == {
        "domain": "live", "epoch": 0, "version": None, "items": [],
    }  # fmt: skip
    live.clock.advance(MINUTE)
    live.second()
    live.observer.domain("live").work(flush=True)
    found = policies_in_force(journals, "live")
    assert (found["epoch"], found["version"]) == (1, "1.0")
    assert [item["name"] for item in found["items"]] == [policy.name for policy in DEFAULT_POLICIES]
    assert [again(item["text"]) for item in found["items"]] == list(DEFAULT_POLICIES)
    assert found["items"][0]["settings"] == DEFAULT_POLICIES[0].canonical()
