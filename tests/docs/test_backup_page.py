"""docs/backup.md: its commands run in its order, its settings load, its tables name what there is."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from observer_core.backup.config import BackupConfig, ContainerTarget, FolderTarget
from observer_core.runtime.settings import Settings
from tests.support.pages import blocks, commands, furnish, said_to, text_of

PAGE = text_of("backup.md")
SETTINGS = blocks(PAGE, "toml")
COMMANDS = commands(PAGE)


def test_its_commands_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    furnish(tmp_path, SETTINGS[0], rows=800)
    assert len(COMMANDS) >= 15
    said = {}
    for command in COMMANDS:
        words = shlex.split(command)
        if "--from" in words and "elsewhere/backups" in words:  # all that is left is the place
            shutil.rmtree(tmp_path / "config", ignore_errors=True)
        said[command] = said_to(command)
        if "month.tar" in command:
            (tmp_path / "config").mkdir(exist_ok=True)
            (tmp_path / "config/observer.toml").write_text(SETTINGS[0])
    (until,) = [text for command, text in said.items() if "--until" in command]
    left = re.search(r"snapshots.sp500: (\d+) of 801 records", until)
    assert left
    assert 700 < int(left[1]) < 760
    assert len(list((tmp_path / "elsewhere/backups/manifests").iterdir())) == 2
    for folder in ("restored", "then", "again", "from-a-file"):
        assert (tmp_path / folder / "journal.db").is_file()
    printed = said["observer backup key keys/backup.age"]
    recipient = re.search(r'encrypt = \{ recipients = \["age1\w+"\] \}', printed)
    assert recipient
    assert Settings(**tomllib.loads(f"[backup]\n{recipient[0]}")).backup.encrypt is not None


@pytest.mark.parametrize("text", SETTINGS)
def test_its_settings_load(text: str) -> None:
    assert Settings(**tomllib.loads(text)).backup.keep is not None


def test_it_names_every_place_and_every_key() -> None:
    rows = dict(re.findall(r'^\| `kind = "(\w+)"` \| (.+?) \|', PAGE, re.M))
    for target in (FolderTarget, ContainerTarget):
        kind = target.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        assert set(re.findall(r"`(\w+)`", rows.pop(kind))) >= set(target.model_fields) - {"kind"}
    assert rows == {}
    table = PAGE.partition("| key | meaning |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(BackupConfig.model_fields)


def test_it_names_every_file_that_a_place_has(tmp_path: Path) -> None:
    table = PAGE.partition("| file at the place | what |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([\w.]+?)(?:/[^`]*)?`", "".join(re.findall(r"^\| ([^|]+) \|", table, re.M))))
    from observer_core.backup import keeping, manifest, objects, vault

    folders = (manifest._FOLDER, manifest._VERIFIED, objects.FOLDER, vault._KEYS)
    files = {manifest._PRUNED, manifest._DAMAGED, manifest.UNFINISHED, keeping._DOOMED}
    assert named == files | {text.partition("/")[0] for text in folders}
