"""docs/routing.md: its configuration is loaded, its commands exist, its sinks are those that there are."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.event_bus import subscriptions
from observer_core.runtime.settings import load

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "routing.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


def test_its_configuration_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    settings = load(root=tmp_path, config_dir=tmp_path, **tomllib.loads(block))
    assert settings.routing().named() == {"desk", "pager"}
    assert [rule.name for rule in settings.inhibit] == ["halt"]


def test_the_table_has_every_sink_and_no_other() -> None:
    union = get_args(subscriptions.Sink)[0]
    kinds = {get_args(sink.model_fields["kind"].annotation)[0] for sink in get_args(union)}
    rows = PAGE.partition("| kind |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", rows, re.MULTILINE)) == kinds


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_understood(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    assert words[0] == "observer"
    done = CliRunner().invoke(app, ["--root", str(tmp_path), *words[1:]])
    assert "no Observer data" in done.output, done.output
