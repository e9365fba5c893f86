"""`observer retention`: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import OPTIONS, recording, run

RULES = """
[[retention.rule]]
journals = "snapshots.*"
keep = "1d"

[[retention.rule]]
keep = "90d"
"""


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(RULES)
    assert run(tmp_path, "ingest", recording(tmp_path / "desk.csv"), *OPTIONS).exit_code == 0
    return tmp_path


def test_show_lists_terms(desk: Path) -> None:
    done = run(desk, "retention", "show", "--json")
    found = {item["journal"]: item for item in map(json.loads, done.stdout.splitlines())}
    assert found["snapshots.desk"]["keep"] == "1d"
    assert found["snapshots.desk"]["rule"] == "snapshots.*: 1d"
    assert (found["snapshots.desk"]["first"], found["snapshots.desk"]["removed"]) == (1, 0)
    assert found["decisions.desk"]["keep"] == "1826d"
    table = run(desk, "retention", "show").stdout
    assert "decisions.desk" in table
    assert "at least 1826d" in table


def test_a_low_floor_is_warned_of_on_standard_error(desk: Path) -> None:
    (desk / "config/observer.toml").write_text('[retention]\ndecisions_floor = "30d"\n')
    for words in (("show",), ("run", "--dry-run")):
        done = run(desk, "retention", *words)
        assert done.exit_code == 0
        assert "decisions_floor is 30d" in done.stderr
    assert "kept forever" in done.stdout


def test_nothing_to_do_says_so(desk: Path) -> None:
    done = run(desk, "retention", "run")
    assert done.exit_code == 0
    assert done.stdout == "nothing is older than it is kept\n"
    told = json.loads(run(desk, "retention", "run", "--dry-run", "--json").stdout)
    assert told == {
        "dry_run": True, "complete": True, "warning": None, "cuts": [], "kept": [], "skipped": {},
    }  # fmt: skip


def test_holds_are_added_listed_and_ended(desk: Path) -> None:
    assert run(desk, "retention", "hold", "ls").stdout == "no hold stands\n"
    who = ("--author", "counsel", "--reason", "case 7")
    made = run(desk, "retention", "hold", "add", "snapshots.*", "decisions.desk", *who, "--to", "2018-05-01")
    assert made.exit_code == 0
    assert "on snapshots.*, decisions.desk from the beginning to 2018-05-01" in made.stdout
    (one,) = map(json.loads, run(desk, "retention", "hold", "ls", "--json").stdout.splitlines())
    assert (one["author"], one["reason"]) == ("counsel", "case 7")
    assert one["journals"] == ["snapshots.*", "decisions.desk"]
    assert one["id"] in run(desk, "retention", "hold", "ls").stdout
    shown = run(desk, "retention", "show", "--json").stdout.splitlines()
    held = {item["journal"] for item in map(json.loads, shown) if item["holds"]}
    assert held == {"snapshots.desk", "decisions.desk"}
    assert run(desk, "retention", "hold", "end", one["id"], *who).exit_code == 0
    assert run(desk, "retention", "hold", "ls").stdout == "no hold stands\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hold", "end", "abc"), "there is no hold 'abc'"),
        (("hold", "add", "snapshot.*"), "no journal fits 'snapshot.*'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(desk: Path, words: tuple[str, ...], message: str) -> None:
    done = run(desk, "retention", *words, "--author", "a", "--reason", "r")
    assert done.exit_code == 2
    assert message in done.stderr
