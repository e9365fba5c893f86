"""`observer backup`: what each command says, as text and as JSON, and how it ends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from observer_core.cli.app import app
from observer_core.shared.canonical import decode
from observer_core.storage.local import LocalStorage
from tests.support.toys import Chain

Run = Callable[..., Result]
SETTINGS = """
[backup]
to = { kind = "folder", path = "elsewhere" }
keep = { last = 1, daily = 0, weekly = 0, monthly = 0 }
grace = "0s"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command, in a folder with a store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text(SETTINGS)
    storage = LocalStorage(tmp_path / "data/observer", durability="normal")
    Chain(storage, total=60).run()
    storage.close()

    def invoke(*words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == code, done.output
        return done

    return invoke


def values(result: Result) -> list[dict[str, Any]]:
    return [decode(line.encode()) for line in result.stdout.splitlines()]


def test_the_whole_way_as_json(run: Run) -> None:
    (made,) = values(run("backup", "create", "--json"))
    assert (made["number"], made["journals"], made["faults"]) == (1, 3, {})
    run("backup", "create")
    listed = values(run("backup", "ls", "--json"))
    assert [(item["number"], item["encrypted"]) for item in listed] == [(1, False), (2, False)]
    assert all(item["verified_ns"] for item in listed)
    checked = values(run("backup", "verify", "--all", "--live", "--json"))
    assert [(item["number"], item["depth"], item["findings"]) for item in checked] == [
        (1, "content", 0), (2, "content", 0),
    ]  # fmt: skip
    assert checked[0]["digest"] == made["digest"]
    (restored,) = values(run("backup", "restore", "1", "--to", "new", "--json"))
    assert (restored["digest"], restored["cut"]) == (made["digest"], {})
    (would,) = values(run("backup", "prune", "--dry-run", "--json"))
    (gone,) = values(run("backup", "prune", "--json"))
    assert would["backups"] == gone["backups"] == [1]
    assert [item["number"] for item in values(run("backup", "ls", "--json"))] == [2]


def test_it_says_how_to_run_on_what_was_restored(run: Run, tmp_path: Path) -> None:
    run("backup", "create")
    said = run("backup", "restore", "--to", "new").stdout
    assert f'set data_dir = "{tmp_path / "new"}"' in said
    assert "observer backup create --adopt" in said
    assert run("--data-dir", "new", "backup", "create", code=2).stderr.count("--adopt") == 1
    run("--data-dir", "new", "backup", "create", "--adopt")


def test_a_damaged_one_is_a_finding(run: Run, tmp_path: Path) -> None:
    run("backup", "create")
    victim = max((tmp_path / "elsewhere/objects").rglob("?" * 64), key=lambda path: path.stat().st_size)
    victim.write_bytes(b"")
    said = run("backup", "verify", code=1).stdout
    assert f"{victim.name}: " in said
    finding, *_ = [item for item in values(run("backup", "verify", "--json", code=1)) if "detail" in item]
    assert victim.name in finding["detail"]
    manifest = next((tmp_path / "elsewhere/manifests").iterdir())
    manifest.write_bytes(manifest.read_bytes()[:50])
    assert "damaged: it hashes to something else" in run("backup", "ls").stdout
    assert values(run("backup", "ls", "--json"))[0]["damaged"]
    run("backup", "verify", code=1)
    run("backup", "create")
    run("backup", "verify", code=1)  # of the first one it is still said
    assert "hashes to something else" in run("backup", "prune", code=2).stderr
    run("backup", "prune", "--drop", "1")
    run("backup", "verify")


def test_a_broken_journal_is_a_finding_too(run: Run, tmp_path: Path) -> None:
    segment = next((tmp_path / "data/observer/patterns").rglob("*.ndjson"))
    segment.write_bytes(segment.read_bytes().replace(b"value", b"VALUE", 1))
    said = run("backup", "create", code=1)
    assert "✗ journal 'patterns.first' is broken" in said.stdout
    assert "observer fsck" in said.stderr
    assert run("backup", "verify", code=1).stdout.count("the store was broken when it was made") == 1


def test_where_there_is_nothing_it_says_so(run: Run, tmp_path: Path) -> None:
    assert "there is no backup in" in run("backup", "verify", code=2).stderr
    assert "there is no backup in" in run("backup", "restore", "--to", "new", code=2).stderr
    run("backup", "create")
    assert "there is no backup 7" in run("backup", "restore", "7", "--to", "new", code=2).stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    assert "is not empty" in run("backup", "restore", "--to", "full", code=2).stderr
    assert "never over data" in run("backup", "restore", "--to", "data/observer", code=2).stderr
    (tmp_path / "config/observer.toml").unlink()
    assert "names no place" in run("backup", "ls", code=2).stderr
    assert "has no keep" in run("backup", "prune", "--from", "elsewhere", code=2).stderr


def test_when_the_store_is_gone_the_place_is_enough(run: Run, tmp_path: Path) -> None:
    run("backup", "create")
    shutil.rmtree(tmp_path / "data")
    run("backup", "verify")
    run("backup", "verify", "--live", code=2)
    run("backup", "prune", code=2)
    assert "run `observer ingest`" in run("backup", "create", code=2).stderr
    run("backup", "restore", "--to", "data/observer")
    run("verify")


def test_encrypted_ones_say_what_they_need(run: Run, tmp_path: Path) -> None:
    printed = run("backup", "key", "keys/id").stdout.strip()
    with (tmp_path / "config/observer.toml").open("a") as file:
        file.write(printed + "\n")
    run("backup", "create")
    assert values(run("backup", "ls", "--json"))[0]["encrypted"] is True
    assert "its content needs --identity" in run("backup", "verify").stdout
    assert "every chain is whole" in run("backup", "verify", "--identity", "keys/id").stdout
    assert "--identity FILE" in run("backup", "restore", "--to", "new", code=2).stderr
    shutil.rmtree(tmp_path / "data")
    assert "all else needs --identity" in run("backup", "verify").stdout
    run("backup", "restore", "--to", "new2", "--identity", "keys/id")
    assert "File exists" in run("backup", "key", "keys/id", code=2).stderr
