"""docs/reports.md: its commands run, its settings load, its sections are those that reports have."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.runtime.reports.config import ReportsConfig
from observer_core.runtime.reports.words import texts

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/reports.md").read_text()
COMMANDS = re.findall(r"^\$ (.+)$", PAGE, re.M)


def test_its_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    took = (
        "ingest examples/sp500-2000.csv --source sp500 --as SPX --time date --zone America/New_York --bar 1d"
    )
    assert CliRunner().invoke(app, took.split()).exit_code == 0
    assert len(COMMANDS) == 3
    for command in COMMANDS:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert "2001-09-17" in Path("daily.html").read_text()
    assert "주간 보고서: sp500, 2001-09-17 – 2001-09-23" in Path("weekly.md").read_text()
    assert "Kill switch" in Path("control.html").read_text()


def test_its_settings_are_those_that_there_are() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    found = tomllib.loads(block)["reports"]
    assert set(found) == set(ReportsConfig.model_fields)
    assert ReportsConfig.model_validate(found).daily == "06:00"


def test_its_sections_are_those_that_reports_have() -> None:
    table = PAGE.partition("| section |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| ([A-Z][^|]+?) \|", table, re.M)
    of_days = {"availability", "incidents", "decisions", "withheld", "gate", "detectors", "deliveries",
               "growth", "upkeep", "changes"}  # fmt: skip
    assert set(rows) == {texts("en")[f"section.{name}"] for name in of_days}
