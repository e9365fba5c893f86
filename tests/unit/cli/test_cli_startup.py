"""Starting, failing and being interrupted: what every command has in common."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import observer_core
from observer_core.cli import app as app_module
from observer_core.cli import opened
from observer_core.shared.errors import StorageFull
from tests.unit.cli.conftest import COMMAND, OPTIONS, ROOT, Observer, process, recording, run

READERS = [
    ("status",), ("snapshots", "ls"), ("patterns", "ls"), ("events", "tail"), ("decisions", "ls"),
    ("incidents", "ls"), ("gate", "check", "A/USD"), ("explain", "00"), ("verify",), ("digest",),
    ("replay", "--verify"), ("quarantine", "ls"), ("subscriptions", "ls"),
]  # fmt: skip
HEAVY = ("numpy", "pydantic", "orjson", "rich", "sqlite3", "observer_core.runtime")


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_reader_without_data_says_what_to_do_and_creates_nothing(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    refused = run(tmp_path, *words)
    assert refused.exit_code == 2
    data = tmp_path / "data/observer"
    assert refused.stderr == (
        f"observer: no Observer data in {data}; run `observer ingest` or `observer run` first\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_readers_register_no_journal_and_change_no_record(own: Path) -> None:
    before = run(own, "digest").stdout
    for words in READERS:
        run(own, *words, *(("--no-follow",) if "tail" in words else ()))
    assert run(own, "digest").stdout == before


def test_help_imports_nothing_that_takes_long() -> None:
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print([m for m in {HEAVY} if m in sys.modules]))\n"
        "from observer_core.cli import main\n"
        "main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[]"
    assert "Commands:" in shown.stdout


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == f"observer {observer_core.__version__}\n"


def test_global_options_may_stand_after_the_command(ingested: Path, look: Observer, tmp_path: Path) -> None:
    data = ingested / "data/observer"
    expected = look("digest").stdout
    for words in (["digest", "--data-dir", data], ["digest", f"--data-dir={data}"]):
        assert run(tmp_path, *words).stdout == expected


@pytest.mark.parametrize("words", [("nix",), ("ingest",), ("verify", "--nix"), ("gate", "check")])
def test_wrong_usage_ends_with_2(look: Observer, words: tuple[str, ...]) -> None:
    refused = look(*words)
    assert refused.exit_code == 2
    assert "Usage:" in refused.stderr


def test_an_error_is_one_message_and_no_traceback(own: Path) -> None:
    (own / "data/observer/journal.db").write_bytes(b"this is not a database" * 100)
    for path in (own / "data/observer").glob("journal.db-*"):
        path.unlink()
    refused = run(own, "status")
    assert refused.exit_code == 2
    assert refused.stderr.startswith(
        "observer: open in journal.db: file is not a database. The index is damaged"
    )
    assert "Traceback" not in refused.stderr


def test_a_configuration_that_cannot_be_used_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("durabilty = 'full'\n")
    refused = run(tmp_path, "status", "--config", tmp_path / "bad.toml")
    assert refused.exit_code == 2
    assert "durabilty: unknown key" in refused.stderr


def test_a_defect_ends_with_2_and_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise KeyError("defect")

    monkeypatch.setattr(app_module, "app", broken)
    with pytest.raises(SystemExit) as ended:
        app_module.main()
    assert ended.value.code == 2
    assert "KeyError: 'defect'" in capsys.readouterr().err


def test_a_reader_of_the_output_that_goes_away_is_no_failure(ingested: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [*COMMAND, "snapshots", "ls", "--json"],
        cwd=ingested, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=write, stderr=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_progress_bar_never_mixes_with_the_results(own: Path) -> None:
    terminal, behind = pty.openpty()
    shown = subprocess.run(
        [*COMMAND, "replay", "--verify", "--json"], cwd=own, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=behind, check=True,
    ).stdout  # fmt: skip
    os.close(behind)
    assert b"replay" in os.read(terminal, 65536)
    os.close(terminal)
    assert [json.loads(line).get("equal") for line in shown.splitlines()] == [True, True, True, None]


def test_a_terminal_gets_colours_and_every_word(own: Path) -> None:
    terminal, behind = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "60"}
    environment.pop("NO_COLOR", None)
    subprocess.run(
        [*COMMAND, "decisions", "ls", "--limit", "1"],
        cwd=own, env=environment, stdout=behind, stderr=behind, check=True,
    )  # fmt: skip
    os.close(behind)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "\x1b[" in shown
    assert run(own, "decisions", "ls", "--limit", "1").stdout.split()[-1] in shown


def test_readers_work_while_another_process_writes(own: Path, tmp_path: Path) -> None:
    recording(own / "desk.csv", range(1200))
    writer = process(own, "ingest", "desk.csv", *OPTIONS, "--batch", "5", "--durability", "normal")
    try:
        looked = 0
        while writer.poll() is None or not looked:
            for words in (("status",), ("verify",), ("gate", "check", "A/USD", "--json"), ("events", "ls")):
                found = run(own, *words)
                assert found.exit_code in (0, 1 if words[0] == "gate" else 0), found.output
            looked += 1
        assert writer.returncode == 0, writer.stderr and writer.stderr.read()
    finally:
        writer.kill()


def test_an_interrupted_ingestion_keeps_what_is_done_and_goes_on_with_the_same_command(
    tmp_path: Path,
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    for folder in (whole, stopped):
        folder.mkdir()
        recording(folder / "desk.csv", range(1000))
    run(whole, "ingest", whole / "desk.csv", *OPTIONS, "--durability", "normal")
    ingestion = process(stopped, "ingest", "desk.csv", *OPTIONS, "--batch", "1")
    journal = stopped / "data/observer/decisions"
    try:
        while not journal.exists() and ingestion.poll() is None:
            time.sleep(0.01)
        ingestion.send_signal(signal.SIGINT)
        _, told = ingestion.communicate(timeout=20)
    finally:
        ingestion.kill()
    assert ingestion.returncode == 130, told
    assert "snapshots are done and committed; the same command goes on from there" in told
    assert "Traceback" not in told
    assert run(stopped, "verify").exit_code == 0
    again = run(stopped, "ingest", stopped / "desk.csv", *OPTIONS, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["already"] > 0
    assert run(stopped, "digest").stdout == run(whole, "digest").stdout


def test_an_observer_is_not_closed_over_a_failure(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from observer_core.runtime.observer import Observer as Core
    from observer_core.runtime.settings import load

    closed: list[Any] = []
    monkeypatch.setattr(Core, "close", lambda self: closed.append(self))
    with pytest.raises(StorageFull), opened.observing(load(root=own)):
        raise StorageFull("no space left")
    assert closed == []
    with opened.observing(load(root=own)) as observer:
        pass
    assert closed == [observer]
    observer.storage.close()


def test_run_hands_over_the_settings_with_the_options_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from observer_core.runtime import standalone

    seen: dict[str, Any] = {}

    def went_well(settings: Any, serve: Any, **options: Any) -> bool:
        seen.update(settings=settings, **options)
        return True

    monkeypatch.setattr(standalone, "run", went_well)
    assert run(tmp_path, "run", "--port", "0", "--no-console", "--for", "1m30s").exit_code == 0
    assert seen["settings"].web.port == 0
    assert seen["settings"].paths.root == tmp_path
    assert (seen["console"], seen["seconds"]) == (False, 90.0)


def test_run_answers_on_its_port_and_stops_by_itself(tmp_path: Path) -> None:
    running = process(tmp_path, "run", "--port", "0", "--no-console", "--for", "500ms")
    _, told = running.communicate(timeout=30)
    assert running.returncode == 0, told
    status = json.loads(run(tmp_path, "status", "--json").stdout)
    assert status["running"] is None
    assert run(tmp_path, "verify").exit_code == 0
