"""policy lint, test, diff, backtest and whatif, on the small market."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Observer, run

HOUR = """
[[policy]]
name = "stale-feed"
version = 9
owner = "risk"
description = "An hour."
match = { types = ["feed.stale", "feed.halted"] }
verdict = "block"
until = "1h"
"""
CASES = """
[[case]]
name = "an hour it is"
steps = [
  { at = "0m", event = "feed.stale", blocked = ["subject:SUBJECT"] },
  { at = "60m", blocked = [] },
]

[[case]]
name = "thought to be longer"
steps = [
  { at = "0m", event = "feed.stale" },
  { at = "60m", blocked = ["subject:SUBJECT"] },
]
"""


@pytest.fixture
def hour(tmp_path: Path) -> Path:
    path = tmp_path / "hour.toml"
    path.write_text(HOUR)
    return path


@pytest.fixture
def nothing(tmp_path: Path) -> Path:
    path = tmp_path / "nothing.toml"
    path.write_text("")
    return path


# ---------------------------------------------------------------------- lint and test


def test_lint_says_nothing_of_what_is_right(tmp_path: Path, hour: Path) -> None:
    done = run(tmp_path, "policy", "lint", hour)
    assert (done.exit_code, done.stdout) == (0, f"{hour}: nothing to remark\n")


def test_lint_names_file_policy_and_key(tmp_path: Path, hour: Path) -> None:
    hour.write_text(HOUR.replace("owner", "onwer").replace("feed.stale", "feed.stail"))
    done = run(tmp_path, "policy", "lint", hour)
    assert done.exit_code == 1
    assert f"{hour}: policy 'stale-feed': owner: error: missing; it must be given" in done.stdout
    hour.write_text(HOUR.replace('feed.stale", "feed.halted', "feed.stail"))
    done = run(tmp_path, "policy", "lint", hour, "--json")
    assert done.exit_code == 1
    remark = json.loads(done.stdout)
    assert (remark["level"], remark["policy"], remark["key"]) == ("warning", "stale-feed", "match.types")


def test_lint_of_a_file_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    done = run(tmp_path, "policy", "lint", tmp_path / "nowhere.toml")
    assert done.exit_code == 2
    assert "there is no such file" in done.stderr


def test_cases_are_told_one_by_one_and_a_failure_with_its_step(tmp_path: Path, hour: Path) -> None:
    cases = tmp_path / "cases.toml"
    cases.write_text(CASES)
    done = run(tmp_path, "policy", "test", hour, cases)
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "✓ an hour it is",
        "✗ thought to be longer",
        "    step 2, at 1h",
        "        expected subject:SUBJECT to be blocked, it is open",
        "1 of 2 cases are as expected",
    ]
    cases.write_text(CASES.partition('\n[[case]]\nname = "thought')[0])
    done = run(tmp_path, "policy", "test", hour, cases, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {"case": "an hour it is", "ok": True, "failures": []}


def test_policies_that_no_case_tries_are_named(tmp_path: Path, hour: Path) -> None:
    hour.write_text(HOUR + HOUR.replace("stale-feed", "never").replace("feed.stale", "feed.flat"))
    cases = tmp_path / "cases.toml"
    cases.write_text(CASES)
    done = run(tmp_path, "policy", "test", hour, cases)
    assert "no case makes these decide anything: never" in done.stderr


# ---------------------------------------------------------------------- history


def test_diff_prints_what_would_be_decided_otherwise(look: Observer, hour: Path) -> None:
    done = look("policy", "diff", hour)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.endswith("block → block"))
    assert lines[at + 1].startswith("  - block subject:B/USD by stale-feed v1: ")
    assert lines[at + 2].startswith("  + block subject:B/USD until 2018-04-04T03:")
    assert "desk: " in done.stdout
    found = [json.loads(line) for line in look("policy", "diff", hour, "--json").stdout.splitlines()]
    both = [item for item in found if item["before"] and item["after"]]
    assert [item["after"][0]["policy_version"] for item in both] == [9]


def test_since_and_domain_choose(look: Observer, hour: Path) -> None:
    assert look("policy", "diff", hour, "--since", "1s", "--json", "--domain", "desk").stdout == ""
    done = look("policy", "diff", hour, "--domain", "live")
    assert done.exit_code == 2
    assert "there is no domain 'live'; known are desk" in done.stderr


def test_backtest_tells_how_often_and_how_long(look: Observer, hour: Path) -> None:
    done = look("policy", "backtest", hour)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[1] == ["policy", "scope", "times", "blocked", "longest", "share"]
    assert rows[2][:5] == ["stale-feed", "all", "1", "1h", "1h"]
    assert rows[3][:4] == ["subject:B/USD", "1", "1h", "1h"]
    assert rows[4][:4] == ["in", "all", "1", "1h"]
    policy, total = (
        json.loads(line) for line in look("policy", "backtest", hour, "--json").stdout.splitlines()
    )
    assert policy["scopes"]["subject:B/USD"]["blocked_ns"] == total["all"]["blocked_ns"] == 3600 * 10**9


def test_whatif_shows_every_difference_and_the_time_blocked(look: Observer, nothing: Path) -> None:
    done = look("whatif", "--policy", nothing)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[:2] == ["--- desk (recorded)", "+++ desk (under other policies)"]
    assert not any(line.startswith("+ ") for line in lines)
    assert any(line.startswith("- 2018-") and "block subject:B/USD by stale-feed" in line for line in lines)
    scope = next(line.split() for line in lines if line.startswith("subject:B/USD"))
    assert scope[2] == "0s"


def test_nothing_is_written(look: Observer, hour: Path) -> None:
    before = look("digest").stdout
    for words in (("policy", "diff", hour), ("policy", "backtest", hour), ("whatif", "--policy", hour)):
        assert look(*words).exit_code == 0
    assert look("digest").stdout == before


@pytest.mark.parametrize("words", [("policy", "diff"), ("policy", "backtest"), ("whatif", "--policy")])
def test_policies_that_cannot_be_used_are_an_error(
    look: Observer, hour: Path, words: tuple[str, ...]
) -> None:
    hour.write_text(HOUR.replace("1h", "soon"))
    done = look(*words, hour)
    assert done.exit_code == 2
    assert "policy 'stale-feed': until: 'soon' is not a duration" in done.stderr
