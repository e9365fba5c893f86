"""sources: what is configured, one collection by hand, examples that can be used."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tests.unit.cli.conftest import run

HOST = '[[source]]\nname = "host"\nkind = "system"\ninterval = "5s"\nhost = "h"\nfile_systems = []\n'
DOWN = (
    '[[source]]\nname = "down"\nkind = "http"\nurl = "http://127.0.0.1:1/secret-path"\nallow_private = true\n'
    'subject_name = "X"\nfields = { price = "p" }\n'
)
PUSHED = '[[source]]\nname = "desk"\nkind = "push"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "observer.toml").write_text(HOST + DOWN + PUSHED)
    return tmp_path


def test_they_are_listed_without_paths_that_may_be_secret(folder: Path) -> None:
    shown = run(folder, "sources", "ls").stdout
    for text in ("host", "this machine", "http://127.0.0.1:1", "POST /v1/snapshots/desk"):
        assert text in shown
    assert "secret-path" not in shown
    found = [json.loads(line) for line in run(folder, "sources", "ls", "--json").stdout.splitlines()]
    assert [(item["name"], item["interval_ns"]) for item in found] == [
        ("host", 5_000_000_000), ("down", 60_000_000_000), ("desk", 60_000_000_000),
    ]  # fmt: skip


def test_without_sources_the_way_to_one_is_shown(tmp_path: Path) -> None:
    assert "sources add-example KIND" in run(tmp_path, "sources", "ls").stdout


def test_a_collection_by_hand_shows_values_quality_and_time(folder: Path) -> None:
    done = run(folder, "sources", "test", "host")
    assert done.exit_code == 0, done.output
    for text in ("status    ", "took      ", "holds     1 subjects", "system.memory.utilization", "quality"):
        assert text in done.stdout
    assert json.loads(run(folder, "sources", "test", "host", "--json").stdout)["subjects"] == ["h"]
    assert not (folder / "data").exists()


def test_one_that_does_not_answer_is_a_finding_with_its_reason(folder: Path) -> None:
    done = run(folder, "sources", "test", "down")
    assert done.exit_code == 1
    assert "status    unavailable: OutboundError: http://127.0.0.1:1 cannot be reached" in done.stdout


@pytest.mark.parametrize("name", ["desk", "ghost"])
def test_only_what_is_asked_can_be_tested(folder: Path, name: str) -> None:
    done = run(folder, "sources", "test", name)
    assert done.exit_code == 2
    assert "that is asked at its own cadence; there are: down, host" in done.stderr


@pytest.mark.parametrize("kind", ["system", "http", "prometheus", "push", "recording"])
def test_each_example_is_one_source_of_its_kind(tmp_path: Path, kind: str) -> None:
    text = run(tmp_path, "sources", "add-example", kind).stdout
    assert [item["kind"] for item in tomllib.loads(text)["source"]] == [kind]
    assert text.startswith("#")
