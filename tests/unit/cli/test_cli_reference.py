"""docs/cli.md describes exactly the commands and options that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from observer_core.cli.app import app

TEXT = (Path(__file__).resolve().parents[3] / "docs/cli.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `observer (.+?)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield " ".join(path), command


ROOT = typer.main.get_command(app)
COMMANDS = dict(commands(ROOT))


def options(command: Any) -> set[str]:
    return {
        name
        for item in command.params
        if item.param_type_name != "argument" and item.name != "help"
        for name in (*item.opts, *item.secondary_opts)
    }


def described(section: str) -> set[str]:
    cells = re.findall(r"^\| (.+?) \|", section, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(--?[a-z][a-z-]*)`", cell)}


def test_every_command_is_described_and_nothing_else() -> None:
    assert set(SECTIONS) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_of_a_command_is_described_and_no_other(path: str) -> None:
    assert described(SECTIONS[path]) == options(COMMANDS[path])


def test_the_global_options_are_described() -> None:
    everywhere = TEXT.partition("## Everywhere")[2].partition("\n## ")[0]
    assert described(everywhere) == options(ROOT)


@pytest.mark.parametrize("path", COMMANDS)
def test_every_argument_is_described(path: str) -> None:
    arguments = [item for item in COMMANDS[path].params if item.param_type_name == "argument"]
    for item in arguments:
        name = (item.metavar or item.name).replace("[", "").replace("]", "")
        assert f"| `{name}` |" in SECTIONS[path]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_explains_itself(path: str) -> None:
    assert COMMANDS[path].help
    assert all(item.help for item in COMMANDS[path].params)
