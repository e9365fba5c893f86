"""Policies in TOML: what is read, what is refused and in which words."""

from pathlib import Path
from typing import Any

import pytest
from desk import MINUTE, policy
from pydantic import ValidationError

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.policy import RESERVED, load_policies
from observer_core.decision_pipeline.presets import DEFAULT_POLICIES
from observer_core.shared.errors import ConfigError

GOOD = """
[[policy]]
name = "halt"
version = 2
owner = "risk desk"
description = "Halts a subject on a spike."
verdict = "block"
scope = "source"
until = "1h30m"
cooldown = "5m"
min_score = 0.7
severity = "critical"
shadow = true
[policy.match]
types = ["pattern.spike"]
subjects = ["BTC/*"]
min_severity = "warning"
"""


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "policies.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_gives_its_policies_in_order(tmp_path: Path) -> None:
    second = GOOD.replace('"halt"', '"watch"').replace('"1h30m"', '"resumed"').replace('cooldown = "5m"', "")
    first, other = load_policies(file(tmp_path, GOOD + second))
    assert (first.name, first.version, first.until, first.cooldown) == ("halt", 2, 90 * MINUTE, 5 * MINUTE)
    assert (first.scope, first.min_score, first.shadow, first.severity) == ("source", 0.7, True, "critical")
    assert first.match.subjects == ("BTC/*",)
    assert (other.name, other.until) == ("watch", "resumed")


def test_the_canonical_form_reads_back_equal(tmp_path: Path) -> None:
    config = DecisionConfig(policies=(*load_policies(file(tmp_path, GOOD)), *DEFAULT_POLICIES))
    assert DecisionConfig.model_validate(config.canonical()) == config
    assert config.canonical()["policies"][0]["until"] == "1h30m"


def test_an_empty_file_has_no_policies(tmp_path: Path) -> None:
    assert load_policies(file(tmp_path, "")) == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version = 2", "version = 0", "policy 'halt': version: Input should be greater than 0; found 0"),
        ("version = 2", 'version = "two"', "version"),
        ('owner = "risk desk"', "", "policy 'halt': owner: missing; it must be given"),
        ('owner = "risk desk"', 'onwer = "risk desk"', "onwer: unknown key"),
        ("types = ", "typs = ", "match.typs: unknown key"),
        ('types = ["pattern.spike"]', "types = []", "match.types"),
        (
            'verdict = "block"',
            'verdict = "panic"',
            "verdict: Input should be 'judgment', 'block' or 'non_exec",
        ),
        ('until = "1h30m"', "", 'a block needs until = a duration such as "15m", or "resumed"'),
        ('until = "1h30m"', 'until = "soon"', "until: 'soon' is not a duration"),
        ('until = "1h30m"', 'until = "0s"', 'expected a duration above zero (15m) or "resumed"'),
        ('until = "1h30m"', "until = true", "expected a duration above zero"),
        ('until = "1h30m"', 'until = "resumed"', "could leave a standing condition unblocked"),
        (
            'verdict = "block"',
            'verdict = "judgment"',
            "until belongs to a block; remove it from a judgment policy",
        ),
        ("min_score = 0.7", "min_score = 7", "min_score"),
        ('name = "halt"', 'name = "Halt!"', "policy 'Halt!': name"),
        ('name = "halt"', "", "policy 'number 1': name: missing"),
        ('name = "halt"', 'name = "risk"', "policy 'risk': the name is the pipeline's own"),
        ("[[policy]]", "[policy]", "policy: found one table; write [[policy]], with two brackets"),
        ("[[policy]]", "polcy = 1\n[[policy]]", "polcy: unknown key; only [[policy]] tables"),
        ("version = 2", "version = ", "not TOML"),
    ],
)
def test_a_wrong_policy_names_file_policy_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = file(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as raised:
        load_policies(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="policy 'halt': the name is given twice"):
        load_policies(file(tmp_path, GOOD + GOOD))
    with pytest.raises(ValidationError, match="the name is given twice"):
        DecisionConfig(policies=(policy(), policy()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere.toml: cannot be read"):
        load_policies(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("name", RESERVED)
def test_the_pipelines_own_names_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="the pipeline's own"):
        DecisionConfig(policies=(policy(name=name),))


def test_the_presets_close_what_must_not_be_traded() -> None:
    from desk import Desk, event

    desk = Desk(*DEFAULT_POLICIES)
    cases: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
        ({"kind": "feed.stale", "severity": "warning", "subject": "A"}, {"subject:A": ["stale-feed"]}),
        ({"kind": "feed.unavailable", "source": "kraken"}, {"source:kraken": ["source-unavailable"]}),
        ({"kind": "feed.halted", "source": "upbit"}, {"source:upbit": ["venue-halt"]}),
        ({"kind": "pattern.spike", "subject": "B"}, {"subject:B": ["price-spike"]}),
        ({"kind": "pattern.level_shift", "subject": "C"}, {"subject:C": ["level-shift"]}),
        ({"kind": "pattern.price_shock", "subject": "F"}, {"subject:F": ["price-shock"]}),
        ({"kind": "pattern.relation_break", "subject": "H"}, {"subject:H": ["relation-break"]}),
        ({"kind": "pattern.crossed_book", "subject": "I"}, {"subject:I": ["crossed-book"]}),
        ({"kind": "pattern.spread_blowout", "subject": "J"}, {"subject:J": ["spread-blowout"]}),
        ({"kind": "pattern.drawdown", "subject": "K"}, {}),
        ({"kind": "pattern.variance_shift", "subject": "D"}, {}),
        ({"kind": "feed.flat", "subject": "E"}, {}),
    ]
    expected: dict[str, list[str]] = {}
    for given, blocks in cases:
        assert desk.take(event(**given))
        expected.update(blocks)
        assert desk.blocked() == expected


def test_a_glob_never_takes_what_says_that_something_is_over() -> None:
    from desk import Desk, event

    for kind in ("feed.resumed", "feed.reopened", "pattern.relation_restored", "incident.resolved"):
        assert Desk(policy(match={"types": ["*", kind[:-1] + "?"]})).take(event(kind)) == []
        (block,) = Desk(policy(match={"types": [kind]})).take(event(kind))
        assert block.verdict == "block"
