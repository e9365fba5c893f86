"""Lint: every error of a file with its policy and key; what can never do what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.decision_pipeline.policy import Policy
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.findings import DETECTORS
from observer_core.pattern_record.market.family import MarketPatterns
from observer_core.runtime.study.policy_lint import CONDITIONS, EVIDENCE, lint, strange
from observer_core.shared.conditions import event_kind, pattern_of
from observer_core.shared.errors import ConfigError
from observer_core.shared.records import Event, PatternRecord
from observer_core.storage.memory import MemoryStorage
from tests.support.market import observer, recording, take
from tests.support.market_feed import Market, walk

TWO_WRONG = """
[[policy]]
name = "a"
version = 0
onwer = "x"
description = "d"
verdict = "block"
match = { types = ["pattern.spike"], typs = ["x"] }

[[policy]]
name = "b"
version = 1
owner = "x"
description = "d"
verdict = "block"
match = { types = ["feed.stale"] }

[[policy]]
name = "b"
version = 1
owner = "x"
description = "d"
verdict = "release"
match = { types = ["feed.resumed"] }
release = ["nowhere"]
"""


def told(tmp_path: Path, text: str) -> list[tuple[str, str, str]]:
    path = tmp_path / "p.toml"
    path.write_text(text, "utf-8")
    return [(remark.level, remark.policy, remark.key) for remark in lint(path)]


def test_every_error_is_told_with_its_policy_and_key(tmp_path: Path) -> None:
    assert told(tmp_path, TWO_WRONG) == [
        ("error", "a", "version"), ("error", "a", "owner"), ("error", "a", "match.typs"),
        ("error", "a", "onwer"), ("error", "b", ""), ("error", "b", "release"),
    ]  # fmt: skip


def test_a_name_given_twice_and_one_of_the_pipelines_own(tmp_path: Path) -> None:
    one = TWO_WRONG.partition('[[policy]]\nname = "b"')[2].partition("[[policy]]")[0] + 'until = "resumed"\n'
    text = '[[policy]]\nname = "b"' + one.replace("feed.stale", "pattern.crossed_book")
    assert told(tmp_path, text) == []
    assert told(tmp_path, text + text) == [("error", "b", "name")]
    assert told(tmp_path, text.replace('"b"', '"operator"')) == [("error", "operator", "name")]


def test_what_is_no_toml_or_no_policies_is_one_error(tmp_path: Path) -> None:
    assert told(tmp_path, "x = ") == [("error", "", "")]
    assert told(tmp_path, "polcy = 1") == [("error", "", "")]
    with pytest.raises(ConfigError, match="there is no such file"):
        lint(tmp_path / "nowhere.toml")


def of(*others: Policy, **given: Any) -> list[tuple[str, str]]:
    base = {"name": "p", "version": 1, "owner": "o", "description": "d", "verdict": "block", "until": "5m"}
    if "all" not in given:
        base["match"] = {"types": ["pattern.price_shock"]}
    policy = Policy.model_validate({**base, **given})
    return [(remark.key, remark.text) for remark in strange(policy, (policy, *others))]


@pytest.mark.parametrize(
    ("given", "key", "text"),
    [
        ({"match": {"types": ["pattern.shock"]}}, "match.types", "'pattern.shock' matches no event type"),
        ({"match": {"types": ["feed.resu*"]}}, "match.types", "must be named in full"),
        (
            {"match": {"types": ["pattern.spike"], "evidence": {"sigma": {"min": 3}}}},
            "match.evidence.sigma",
            "none of these events has 'sigma', so it never matches; there are: expected, high",
        ),
        ({"enter": {"x": 5}, "leave": {"x": 2}}, "enter", "none of these events has 'x'"),
        (
            {"per": "domain", "while": {"types": ["pattern.spike"]}},
            "while.types",
            "no such event begins a condition",
        ),
        (
            {"per": "subject", "while": {"types": ["feed.unavailable"]}},
            "while.types",
            "about a whole source",
        ),
        (
            {
                "per": "source", "within": "5m",
                "all": [
                    {"types": ["feed.stale"], "sources": ["a"]}, {"types": ["feed.flat"], "sources": ["b"]},
                ],
            },
            "per",
            "they never agree",
        ),
        ({"until": "resumed"}, "until", "has no recovery of its own"),
        ({"until": "5m", "escalate": {"after": "5m"}}, "escalate.after", "has ended by then"),
        (
            {"until": {"match": {"types": ["pattern.*"]}}},
            "until.match",
            "it would end and begin at once",
        ),
        ({"until": {"match": {"types": ["feed.sta*"]}}}, "until.match.types", "never releases anything"),
    ],
)  # fmt: skip
def test_what_can_never_do_what_it_says_is_a_warning(given: dict[str, Any], key: str, text: str) -> None:
    ((found, why),) = of(**given)
    assert found == key
    assert text in why


def test_who_blocks_on_silence_is_told_of_the_silence_of_a_whole_venue(tmp_path: Path) -> None:
    path = tmp_path / "policies.toml"
    stale = TWO_WRONG.split("[[policy]]")[2].replace('name = "b"', 'name = "stale"') + 'until = "resumed"\n'
    path.write_text("[[policy]]" + stale)
    (remark,) = lint(path)
    assert (remark.level, remark.policy, remark.key) == ("warning", "stale", "match.types")
    assert "feed.halted" in remark.text
    path.write_text("[[policy]]" + stale.replace('"feed.stale"', '"feed.stale", "feed.halted"'))
    assert lint(path) == []


def test_a_release_of_another_owners_block_is_a_warning() -> None:
    held = Policy.model_validate(
        {"name": "held", "version": 1, "owner": "risk", "description": "d", "verdict": "block",
         "until": "5m", "match": {"types": ["feed.stale"]}}
    )  # fmt: skip
    ((key, text),) = of(held, verdict="release", release=["held"], until=None)
    assert (key, text) == ("release", "held has another owner, risk: do they know?")


@pytest.mark.parametrize(
    "given",
    [
        {"match": {"types": ["pattern.*"], "evidence": {"sigmas": {"min": 3}}}},
        {"match": {"types": ["*"]}, "until": "resumed"},
        {"enter": {"score": 0.9}, "leave": {"score": 0.6}},
        {"per": "domain", "while": {"types": ["incident.opened"]}},
        {
            "match": {"types": ["pattern.volatility_regime"], "evidence": {"regime": {"min": 1}}},
            "until": {"match": {"types": ["pattern.volatility_regime"], "evidence": {"regime": {"max": 0}}}},
        },
    ],
)
def test_what_may_well_be_meant_is_no_warning(given: dict[str, Any]) -> None:
    assert of(**given) == []


# ---------------------------------------------------------------------- what it knows is so


def test_every_pattern_of_the_recogniser_is_known() -> None:
    market = MarketPatterns(RecogniserConfig().market)
    for pattern in (*DETECTORS, *market.detectors):
        assert event_kind(pattern) in EVIDENCE
        assert pattern_of(event_kind(pattern)) == pattern
    assert set(EVIDENCE) >= CONDITIONS


def seen(tmp_path: Path) -> Iterator[tuple[str, set[str]]]:
    """What patterns and incidents of made-up markets really carry."""
    market = Market()
    prices = [*walk(600), *walk(120, seed=2, step_bp=60.0, start=101.0), *walk(600, seed=3, start=90.0)]
    records: list[PatternRecord] = market.prices(prices)
    book = Market()
    for n, price in enumerate(walk(600)):
        half = price * (0.02 if 300 <= n < 310 else -0.001 if 400 <= n < 410 else 0.0002)
        volume = 5e6 if n == 500 else 20.0 + n % 7
        records += book.give({"bid": price - half, "ask": price + half, "volume": volume})
    for record in records:
        yield f"pattern.{record.pattern}", set(record.evidence)
    it = observer(tmp_path, MemoryStorage(), recognise={"market": {"prices": []}})
    take(it, recording(tmp_path / "desk.csv", range(300)))
    for entry in it.journals.open("events.desk").scan():
        if isinstance(entry.record, Event):
            kind, data = entry.record.type.removeprefix("io.qts.observer."), entry.record.data
            yield kind, set(data["evidence"]) if "evidence" in data else set()


def test_the_evidence_that_events_carry_is_the_one_that_is_known(tmp_path: Path) -> None:
    kinds = set()
    for kind, names in seen(tmp_path):
        kinds.add(kind)
        assert names <= EVIDENCE[kind], kind
    assert kinds >= {
        "pattern.price_shock", "pattern.volatility_regime", "pattern.spread_blowout", "pattern.spread_normal",
        "pattern.crossed_book", "pattern.volume_surge", "pattern.spike", "feed.stale", "feed.resumed",
        "incident.opened",
    }  # fmt: skip
