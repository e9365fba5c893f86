"""docs/storage.md: its settings load, its tables are those that there are, its notebook runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from observer_core.maintenance.config import MaintenanceConfig
from observer_core.runtime.lake.database import NAMES

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "storage.md").read_text()
OBSERVER = Path(sys.executable).with_name("observer")


def test_the_settings_are_those_that_there_are() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    found = tomllib.loads(block)["maintenance"]
    assert MaintenanceConfig.model_validate(found).compaction.hour_bytes == 4_194_304
    assert set(found) == set(MaintenanceConfig.model_fields)
    compaction = MaintenanceConfig().compaction
    assert set(found["compaction"]) == set(type(compaction).model_fields)


def test_the_tables_are_those_that_there_are() -> None:
    names = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## SQL")[2], re.M)
    assert tuple(names) == NAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The S&P 500 of twenty years, taken in and packed."""
    folder = tmp_path_factory.mktemp("lake")
    for part in ("examples", "config"):
        shutil.copytree(ROOT / part, folder / part)
    took = (
        "ingest examples/sp500-2000.csv --source sp500 --as SPX --time date --zone America/New_York --bar 1d"
    )
    run(folder, *took.split(), "--durability", "normal")
    run(folder, "maintain")
    return folder


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [OBSERVER, *words], cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_commands_run(folder: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 3
    for command in commands:
        assert run(folder, *shlex.split(command)[1:]).strip()


def test_the_notebook_runs_from_top_to_bottom(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    book = json.loads((ROOT / "examples" / "lake.ipynb").read_text())
    names: dict[str, Any] = {}
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert names["shocks"][0]["year"] >= 2000
    assert {row["verdict"] for row in names["decided"]} >= {"block", "release"}
    assert len({row["subject"] for row in names["around"]}) == 1
    assert len(names["around"]) >= 5
