"""feedback, and report detectors: what people say of patterns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from observer_core.runtime.study.feedback import Precision
from tests.unit.cli.conftest import Observer, run


def lines(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def shock(folder: Path) -> str:
    found = lines(run(folder, "patterns", "ls", "--kind", "price_shock", "--json").stdout)
    return str(found[0]["id"])


def row(folder: Path, pattern: str) -> dict[str, object]:
    found = lines(run(folder, "report", "detectors", "--json").stdout)
    return next(item for item in found if item["pattern"] == pattern)


def test_a_pattern_is_judged_and_the_newest_word_counts(own: Path) -> None:
    identity = shock(own)
    assert (row(own, "price_shock")["right"], row(own, "price_shock")["wrong"]) == (0, 0)
    done = run(own, "feedback", identity[:10], "true", "--author", "kim", "--note", "a real one")
    assert done.exit_code == 0
    ref, _, said = done.stdout.partition("  ")
    assert (ref[:14], said) == ("patterns.desk@", "right, says kim\n")
    assert (row(own, "price_shock")["right"], row(own, "price_shock")["wrong"]) == (1, 0)
    run(own, "feedback", ref, "false", "--author", "lee")
    assert (row(own, "price_shock")["right"], row(own, "price_shock")["wrong"]) == (0, 1)
    assert run(own, "verify").exit_code == 0


def test_what_is_said_of_a_decision_or_an_event_is_said_of_its_patterns(own: Path) -> None:
    decisions = lines(run(own, "decisions", "ls", "--verdict", "block", "--json").stdout)
    events = lines(run(own, "events", "ls", "--json").stdout)
    event = next(item for item in events if "pattern.price_shock" in str(item["type"]))
    for follows in (event, decisions[-1]):
        done = run(own, "feedback", str(follows["id"]), "true", "--author", "kim", "--json")
        assert json.loads(done.stdout)["right"] is True
        assert all(str(name).startswith("patterns.desk@") for name in json.loads(done.stdout)["patterns"])


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("x@y@z", "expected JOURNAL@POSITION, found 'x@y@z'; `observer patterns ls` shows them"),
        ("ffff0000", "there is no pattern or event or decision whose id begins with 'ffff0000'"),
        ("patterns.nobody@1", "there is no journal 'patterns.nobody'"),
        ("patterns.desk@100000", "patterns.desk has records 1 to"),
        ("patterns.desk@1", "follows from no pattern"),
        ("snapshots.desk@2", "follows from no pattern"),
    ],
)
def test_what_is_no_pattern_cannot_be_judged(look: Observer, ref: str, message: str) -> None:
    done = look("feedback", ref, "true", "--author", "kim")
    assert done.exit_code == 2
    assert message in done.stderr


def test_before_anybody_has_judged_the_report_says_how(look: Observer) -> None:
    done = look("report", "detectors")
    assert done.exit_code == 0
    assert "nothing was judged yet: observer feedback PATTERN true|false --author WHO" in done.stdout


@pytest.mark.parametrize(
    ("right", "wrong", "low", "high"),
    [(0, 0, 0.0, 1.0), (10, 0, 0.7225, 1.0), (5, 5, 0.2366, 0.7634), (0, 3, 0.0, 0.5615)],
)
def test_the_interval_is_wilsons(right: int, wrong: int, low: float, high: float) -> None:
    found = Precision("ewma_spike", "spike", 20, right, wrong).interval
    assert found == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))
