"""A page of docs/ whose settings load and whose commands run, one after another, in a folder of their own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from observer_core.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
RECORDING = "examples/sp500-2000.csv"


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    """What stands in its fences of that language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(text: str) -> list[str]:
    """What it types at a prompt, line by line."""
    return [line.removeprefix("$ ") for block in blocks(text, "console") for line in block.splitlines()]


def furnish(folder: Path, config: str, *, rows: int | None = None) -> None:
    """The shipped recording (its first `rows`) and a configuration, where a newcomer has them."""
    lines = (ROOT / RECORDING).read_text().splitlines(keepends=True)
    kept = lines if rows is None else lines[: rows + 1]
    for name, text in ((RECORDING, "".join(kept)), ("config/observer.toml", config)):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def said_to(command: str) -> str:
    """What `observer …` prints in this folder; it must succeed."""
    name, *words = shlex.split(command)
    assert name == "observer"
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{command}\n{done.output}"
    return done.output
