"""Policies in TOML: what is read, what is refused and in which words."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.policy import RESERVED, load_policies
from observer_core.decision_pipeline.presets import DEFAULT_POLICIES
from observer_core.shared.errors import ConfigError
from tests.unit.decision_pipeline.desk import MINUTE, policy

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
    assert (first.name, first.version, first.cooldown) == ("halt", 2, 5 * MINUTE)
    assert first.until is not None
    assert first.until.after == 90 * MINUTE
    assert (first.scope, first.min_score, first.shadow, first.severity) == ("source", 0.7, True, "critical")
    assert first.match.subjects == ("BTC/*",)
    assert other.name == "watch"
    assert other.until is not None
    assert other.until.resumed


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
            "verdict: Input should be 'judgment', 'block', 'release' or 'non_exec",
        ),
        ('until = "1h30m"', "", 'a block needs until = a duration such as "15m", "resumed" or { match'),
        ('until = "1h30m"', 'until = "soon"', "until: 'soon' is not a duration"),
        ('until = "1h30m"', 'until = "0s"', 'expected a duration above zero (15m), "resumed", or'),
        ('until = "1h30m"', 'until = { match = { typs = ["x"] } }', "until.match.typs: unknown key"),
        ('until = "1h30m"', 'until = { at_most = "1h" }', "until: expected a duration (15m), "),
        (
            'until = "1h30m"',
            'until = { match = { types = ["feed.*", "feed.stale"] } }',
            "until.match: feed.stale says that data are missing, and that never releases anything",
        ),
        ('owner = "risk desk"', 'owner = "x"\ncount = 3', 'count and all need within = "10m"'),
        ('owner = "risk desk"', 'owner = "x"\nwithin = "3m"', "nothing else has one"),
        ('owner = "risk desk"', 'owner = "x"\ncount = 1\nwithin = "1m"', "count: Input should be greater"),
        (
            'owner = "risk desk"',
            'owner = "x"\ncount = 2\nwithin = "1m"\ndistinct = "source"',
            "distinct belongs to a count, and must be narrower than scope",
        ),
        (
            'owner = "risk desk"',
            'owner = "x"\nwhile = { types = ["feed.stale"] }',
            'all and while need per = "subject", "source" or "domain"',
        ),
        (
            'owner = "risk desk"',
            'owner = "x"\nall = [{ types = ["a"] }, { types = ["b"] }]',
            "expected match = { … }, or all = ",
        ),
        ('owner = "risk desk"', 'owner = "x"\nenter = { score = 1 }', "enter and leave belong together"),
        (
            'owner = "risk desk"',
            'owner = "x"\nenter = { score = 0.8 }\nleave = { ratio = 0.5 }',
            "enter and leave must bound the same number",
        ),
        (
            'owner = "risk desk"',
            'owner = "x"\nescalate = { after = "1h", scope = "source" }',
            "escalate.scope must be wider than scope, which is source",
        ),
        (
            'owner = "risk desk"',
            'owner = "x"\nescalate = { times = 3, within = "1h", until = "5m" }',
            "escalate.until must be longer than until",
        ),
        ('owner = "risk desk"', 'owner = "x"\nescalate = { times = 3 }', "times and within belong"),
        ('owner = "risk desk"', 'owner = "x"\nrelease = ["halt"]', "a release policy, and no other"),
        (
            'min_severity = "warning"',
            "evidence = { sigmas = {} }",
            "evidence.sigmas: expected min, max or eq",
        ),
        ('min_severity = "warning"', "evidence = { sigmas = { min = 3, max = 2 } }", "nothing would match"),
        (
            'min_severity = "warning"',
            "evidence = { sigmas = { equals = 3, max = 2 } }",
            "equals stands alone",
        ),
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
        ({"kind": "pattern.drawdown", "subject": "K", "data": {"evidence": {"fall_bp": 699}}}, {}),
        (
            {"kind": "pattern.drawdown", "subject": "L", "data": {"evidence": {"fall_bp": 700}}},
            {"subject:L": ["drawdown"]},
        ),
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


RICH: list[dict[str, Any]] = [
    {"count": 3, "within": "10m", "distinct": "field"},
    {"per": "domain", "while": {"types": ["feed.stale"]}},
    {"per": "source", "within": "5m", "all": [{"types": ["a"]}, {"types": ["b"], "tags": ["x*"]}]},
    {"until": {"match": {"types": ["a"], "evidence": {"x": {"equals": "y"}}}, "per": "source"}},
    {"until": {"match": {"types": ["a"]}, "at_most": "2h"}, "escalate": {"after": "1h", "scope": "domain"}},
    {"enter": {"ratio": 5}, "leave": {"ratio": 2.5}, "until": "1h"},
    {"verdict": "release", "release": ["other"]},
]


@pytest.mark.parametrize("given", RICH)
def test_every_form_reads_back_equal_and_is_spelled_as_it_was(given: dict[str, Any]) -> None:
    config = DecisionConfig(policies=(policy(**given), policy(name="other")))
    plain = config.canonical()["policies"][0]
    assert DecisionConfig.model_validate(config.canonical()) == config
    assert plain.keys() >= given.keys()
    if isinstance(given.get("until"), str):
        assert plain["until"] == given["until"]


@pytest.mark.parametrize("name", ["nowhere", "look", "operator", "quarantine"])
def test_only_blocks_of_policies_there_are_can_be_released(name: str) -> None:
    others = (policy(name="look", verdict="judgment"), policy(name="held"))
    with pytest.raises(ValidationError, match="is no policy here that blocks; there are: held"):
        DecisionConfig(policies=(*others, policy(verdict="release", release=[name])))


def test_the_default_policies_have_distinct_names_and_say_why() -> None:
    assert len({item.name for item in DEFAULT_POLICIES}) == len(DEFAULT_POLICIES)
    assert all(item.description.endswith(".") for item in DEFAULT_POLICIES)
