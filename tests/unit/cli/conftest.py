"""A small recorded market: A, B and C report each minute; B falls silent, A jumps and stays there."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.testing
from typer.testing import CliRunner, Result

from observer_core.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
START_MINUTE = 25_380_000  # 2018-04-04T00:00Z
SILENT_FROM, JUMP_AT, MINUTES = 150, 200, 260
COMMAND = [sys.executable, "-c", "from observer_core.cli import main; main()"]
OPTIONS = ["--source", "desk", "--time", "ts", "--subject", "name", "--bar", "1m"]

# Putting some forty commands together takes longer than most of them: once is enough.
typer.testing._get_command = functools.cache(typer.testing._get_command)

Observer = Callable[..., Result]


def rows(minutes: range) -> Iterator[str]:
    for minute in minutes:
        for place, name in enumerate(("A/USD", "B/USD", "C/USD")):
            if name == "B/USD" and minute >= SILENT_FROM:
                continue
            price = 100 + 10 * place + 0.05 * ((minute * (7 + place)) % 11 - 5)
            if name == "A/USD" and minute >= JUMP_AT:
                price *= 1.2
            yield f"{(START_MINUTE + minute) * 60},{name},{price:.3f}"


def recording(path: Path, minutes: range = range(MINUTES)) -> Path:
    path.write_text("\n".join(["ts,name,price", *rows(minutes)]) + "\n")
    return path


def run(folder: Path, *words: str | Path, stdin: str | None = None) -> Result:
    """`observer WORDS` in this process, with `folder` as root."""
    return CliRunner().invoke(app, ["--root", str(folder), *map(str, words)], input=stdin)


def process(folder: Path, *words: str) -> subprocess.Popen[str]:
    """`observer WORDS` as a process of its own."""
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal: whoever runs the tests in the background ignores SIGINT, and so would it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


@pytest.fixture(scope="session")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root folder with the recording in it. For reading only."""
    folder = tmp_path_factory.mktemp("ingested")
    recording(folder / "desk.csv")
    done = run(folder, "ingest", folder / "desk.csv", *OPTIONS, "--durability", "normal")
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def look(ingested: Path) -> Observer:
    """`observer` on the shared data."""
    return lambda *words: run(ingested, *words)


@pytest.fixture
def own(ingested: Path, tmp_path: Path) -> Path:
    """A copy of the shared data, to be changed."""
    folder = tmp_path / "own"
    shutil.copytree(ingested, folder)
    return folder


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OBSERVER_", "QTS_OBSERVER")):
            monkeypatch.delenv(name)
