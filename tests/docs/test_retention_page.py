"""docs/retention.md: its commands run in its order, its settings load, its tables name every key."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.retention.config import FIVE_YEARS_NS, FLOORED, RetentionConfig, RetentionRule, term_of
from observer_core.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/retention.md").read_text()
SETTINGS = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


def test_its_commands_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples/sp500-2000.csv", tmp_path / "examples")
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(SETTINGS[0])
    assert len(COMMANDS) >= 7
    said = {}
    for command in COMMANDS:
        name, *words = shlex.split(command)
        assert name == "observer"
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, f"{command}\n{done.output}"
        said[command] = done.output
    assert "not packed yet" in said["observer retention run --dry-run"]
    assert "snapshots.sp500: records 1 to" in said["observer maintain"]
    assert re.search(r"snapshots\.sp500 .* 90d ", said["observer retention show"])
    assert "stay: hold" in said["observer retention run"]


@pytest.mark.parametrize("text", SETTINGS)
def test_its_settings_load_and_mean_what_is_said(text: str) -> None:
    config = Settings(**tomllib.loads(text)).retention
    assert config.warning is None
    names = ("snapshots.gold", "snapshots.x", "patterns.x")
    kept = [term_of(config, name, "live").keep_ns for name in names]
    assert [None if ns is None else ns // (86_400 * 10**9) for ns in kept] == [None, 90, 365]


def test_it_names_every_key_and_every_kind_that_the_floor_keeps() -> None:
    of_a_rule = PAGE.partition("| key of a rule |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", of_a_rule, re.M)) == set(RetentionRule.model_fields)
    rest = PAGE.partition("| key of `[retention]` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", rest, re.M)) == set(RetentionConfig.model_fields)
    floor = re.search(r"`decisions_floor` \| `1826d` \| .*the journals (.*?)\. A lower", rest)
    assert floor is not None
    assert set(re.findall(r"`(\w+)`", floor[1])) == FLOORED
    assert FIVE_YEARS_NS == 1826 * 86_400 * 10**9
