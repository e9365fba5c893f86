"""`observer logs`: what it shows, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app

Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    (tmp_path / "logs").mkdir()

    def call(*words: str) -> Any:
        return CliRunner().invoke(app, ["--root", str(tmp_path), "logs", *words])

    return call


def write(folder: Path, hours: float, level: str, event: str, name: str = "observer", **more: Any) -> None:
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    line = {"timestamp": at, "level": level, "logger": "observer.x", "event": event, **more}
    with (folder / "logs" / f"{name}.log").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_errors_are_a_finding_and_older_ones_are_none(ask: Ask, tmp_path: Path) -> None:
    write(tmp_path, 30, "error", "old")
    write(tmp_path, 2, "info", "fine")
    done = ask("errors", "--since", "24h")
    assert (done.exit_code, done.output) == (0, "nothing of level error or graver since 24h\n")
    for number in range(3):
        write(tmp_path, 1, "error", "storage failed", attempt=number)
    write(tmp_path, 0.5, "critical", "worse", exception="Traceback …")
    done = ask("errors")
    assert done.exit_code == 1
    assert "observer.x: storage failed  (3×, " in done.output
    assert "attempt=2" in done.output
    assert "old" not in done.output
    assert ask("errors", "--since", "2d").output.count("observer.x: ") == 3
    done = ask("errors", "--json")
    groups = [json.loads(line) for line in done.output.splitlines()]
    assert done.exit_code == 1
    assert [(group["event"], group["count"]) for group in groups] == [("storage failed", 3), ("worse", 1)]
    assert groups[0]["first"] < groups[0]["last"]


def test_warnings_count_where_they_are_asked_for(ask: Ask, tmp_path: Path) -> None:
    write(tmp_path, 1, "warning", "odd")
    assert ask("errors").exit_code == 0
    assert ask("errors", "--level", "warning").exit_code == 1


def test_the_tail_shows_the_newest_lines_of_a_file(ask: Ask, tmp_path: Path) -> None:
    for number in range(30):
        write(tmp_path, 1, "error" if number % 10 == 5 else "info", f"e{number}", "decision", n=number)
    done = ask("tail", "--file", "decision", "-n", "2")
    assert [line.split("observer.x: ")[1] for line in done.output.splitlines()] == ["e28  n=28", "e29  n=29"]
    done = ask("tail", "--file", "decision", "--level", "error", "--json")
    assert [json.loads(line)["event"] for line in done.output.splitlines()] == ["e5", "e15", "e25"]


def test_a_traceback_is_shown_as_it_is(ask: Ask, tmp_path: Path) -> None:
    write(tmp_path, 1, "error", "failed", exception="Traceback\n  ValueError: no")
    assert "failed\nTraceback\n  ValueError: no\n" in ask("tail").output


@pytest.mark.parametrize("command", ["tail", "errors"])
def test_without_logs_it_says_where_they_would_be(ask: Ask, command: str) -> None:
    done = ask(command)
    assert done.exit_code == 2
    assert "there is no observer.log in" in done.output
    assert "Application Insights" in done.output


def test_a_time_that_is_none_is_refused(ask: Ask, tmp_path: Path) -> None:
    write(tmp_path, 1, "error", "bad")
    done = ask("errors", "--since", "yesterday")
    assert done.exit_code == 2
    assert "'yesterday' is not a time" in done.output


def test_following_shows_what_comes_and_ends_with_ctrl_c(ask: Ask, tmp_path: Path) -> None:
    write(tmp_path, 1, "info", "before")
    command = [sys.executable, "-c", "from observer_core.cli import main; main()"]
    running = subprocess.Popen(
        [*command, "--root", str(tmp_path), "logs", "tail", "--follow"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # Whoever runs the tests in the background has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert running.stdout is not None
    assert "before" in running.stdout.readline()
    seen = threading.Event()

    def go_on() -> None:
        while not seen.wait(0.1):  # it may not look at the file's end yet
            write(tmp_path, 0, "info", "while it runs")

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        assert "while it runs" in running.stdout.readline()
    finally:
        seen.set()
        writer.join()
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 0
    running.stdout.close()
