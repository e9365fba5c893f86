"""docs/functions.md names every function, setting and command of the Functions app, and no others."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "functions.md").read_text()
HOST = json.loads((ROOT / "host.json").read_text())
SETTINGS = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
FUNCTIONS = set(
    re.findall(r"^(?:async )?def ([a-z]\w*)\(", (ROOT / "function_app.py").read_text(), re.MULTILINE)
)
COMMANDS = [
    line.partition("#")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.splitlines()
]


def column(heading: str) -> set[str]:
    """What stands in code style in the first column of the table with that first heading."""
    rows = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE))


def test_the_table_has_every_function_and_no_other() -> None:
    poison = {name for name in FUNCTIONS if name.endswith("_poison")}
    assert len(poison) == 7
    assert column("function") == FUNCTIONS - poison | {"…_poison"}


def test_every_setting_of_the_example_is_explained() -> None:
    assert set(SETTINGS) <= column("setting")


def test_every_setting_that_is_explained_exists() -> None:
    for name in re.findall(r"`(OBSERVER_[A-Z_]+)`", PAGE):
        field, _, inner = name.removeprefix("OBSERVER_").lower().partition("__")
        if name in SETTINGS or name == "OBSERVER_STORAGE__PREFIX":
            continue
        assert field in Settings.model_fields, name
        assert not inner


def test_the_crowd_of_a_queue_is_what_host_json_says() -> None:
    queues = HOST["extensions"]["queues"]
    assert f"up to {queues['batchSize'] + queues['newBatchThreshold']} messages" in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_exist_with_their_options(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "observer"
    run = CliRunner().invoke(app, [*words, "--help"])
    assert run.exit_code == 0, run.output
    assert "Usage" in run.output


def test_it_has_commands() -> None:
    assert len(COMMANDS) >= 3
