"""docs/retention.md: its commands run in its order, its settings load, its tables name every key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from observer_core.retention.config import FIVE_YEARS_NS, FLOORED, RetentionConfig, RetentionRule, term_of
from observer_core.runtime.settings import Settings
from tests.support.pages import blocks, commands, furnish, said_to, text_of

PAGE = text_of("retention.md")
SETTINGS = blocks(PAGE, "toml")
COMMANDS = commands(PAGE)


def test_its_commands_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    furnish(tmp_path, SETTINGS[0])
    assert len(COMMANDS) >= 7
    said = {command: said_to(command) for command in COMMANDS}
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
