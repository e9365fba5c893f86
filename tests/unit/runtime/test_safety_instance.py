"""One Observer a data folder; what is designed to work beside it does, and a dead one never blocks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.runtime.standalone import single_instance
from observer_core.storage.verify import verify
from tests.support.alone import stored
from tests.support.market import MINUTES, eventually, recording

ROOT = Path(__file__).resolve().parents[3]
OBSERVER = [sys.executable, "-c", "from observer_core.cli import main; main()"]
CONFIG = """
durability = "normal"
[[source]]
name = "host"
kind = "system"
interval = "50ms"
file_systems = []
[backup]
to = { kind = "folder", path = "copies" }
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*OBSERVER, *words], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def done(folder: Path, *words: str) -> str:
    """As a process of its own, to its end."""
    process = start(folder, *words)
    told, error = process.communicate(timeout=100)
    assert process.returncode == 0, told + error
    return told


def here(folder: Path, *words: str, code: int = 0) -> str:
    """In this process, which is not the one that runs."""
    result = CliRunner().invoke(app, ["--root", str(folder), *words])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(folder, "run", "--port", "0", "--no-console")
    try:
        eventually(lambda: (folder / "data/observer/patterns").exists() or process.poll(), 60)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ingestion_maintenance_and_backups_run_beside_it(
    folder: Path, running: subprocess.Popen[str]
) -> None:
    recording(folder / "desk.csv")
    options = ["--source", "desk", "--time", "ts", "--subject", "name", "--bar", "1m"]
    here(folder, "ingest", str(folder / "desk.csv"), *options)
    here(folder, "maintain")
    here(folder, "backup", "create")
    assert running.poll() is None
    second = start(folder, "run", "--port", "0", "--no-console")
    _, error = second.communicate(timeout=60)
    assert second.returncode == 2
    assert f"another Observer (process {running.pid}) runs on" in error
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == 0
    journals = stored(folder)
    assert journals.open("snapshots.desk").head().position == MINUTES + 1
    assert all(verify(journals.open(name)).fault is None for name in journals.names())


def test_the_lock_of_a_process_that_was_killed_does_not_block(
    folder: Path, running: subprocess.Popen[str]
) -> None:
    lock = folder / "data/observer/.lock"
    assert lock.read_text() == str(running.pid)
    running.kill()
    running.communicate()
    assert lock.read_text() == str(running.pid), "its file is still there"
    assert json.loads(here(folder, "status", "--json"))["running"] is None
    done(folder, "run", "--port", "0", "--no-console", "--for", "1s")


def test_neither_does_the_number_of_a_process_that_lives(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("1")
    with single_instance(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_safe_mode_by_the_command_line_is_shown_by_status_and_denies_at_the_gate(folder: Path) -> None:
    done(folder, "run", "--port", "0", "--no-console", "--for", "2s", "--safe-mode")
    found = json.loads(here(folder, "status", "--json"))["safe_mode"]
    assert found["on"]
    assert found["since_ns"]
    assert "SAFE MODE since " in here(folder, "status")
    told = here(folder, "gate", "check", "anything", "--json", code=1)
    assert json.loads(told)["reasons"][-1]["code"] == "safe_mode"
    done(folder, "run", "--port", "0", "--no-console", "--for", "1s")
    assert json.loads(here(folder, "status", "--json"))["safe_mode"] == {"on": False, "since_ns": None}
