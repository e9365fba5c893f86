"""The commands on a storage account, and what they say when there is none."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path

import pytest

from tests.unit.cli.conftest import OPTIONS, recording, run

SETTING = "AzureWebJobsStorage"
_prefixes = count(1)


@pytest.fixture
def account(azurite: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An account that nobody has used yet."""
    monkeypatch.setenv(SETTING, azurite)
    monkeypatch.setenv("OBSERVER_STORAGE__PREFIX", f"cli{next(_prefixes)}")
    return azurite


def on_azure(folder: Path, *words: str | Path) -> str:
    done = run(folder, "--storage", "azure", *words)
    assert done.exit_code == 0, (words, done.output)
    return done.stdout


def test_a_recording_gives_the_same_heads_as_in_files_and_every_reader_works(
    account: str, tmp_path: Path
) -> None:
    path = recording(tmp_path / "desk.csv")
    run(tmp_path, "ingest", path, *OPTIONS)
    on_azure(tmp_path, "ingest", path, *OPTIONS)
    heads = on_azure(tmp_path, "digest", "--json")
    assert heads == run(tmp_path, "digest", "--json").stdout
    assert "nothing new" in on_azure(tmp_path, "ingest", path, *OPTIONS)
    assert on_azure(tmp_path, "digest", "--json") == heads
    on_azure(tmp_path, "verify")
    on_azure(tmp_path, "replay", "--verify")
    for kind in ("snapshots", "patterns", "events", "decisions", "incidents"):
        here = run(tmp_path, kind, "ls", "--json").stdout
        assert on_azure(tmp_path, kind, "ls", "--json") == here != ""
    decision = json.loads(on_azure(tmp_path, "decisions", "ls", "--json").splitlines()[0])["id"]
    assert on_azure(tmp_path, "explain", decision) == run(tmp_path, "explain", decision).stdout
    for word in ("B/USD", "C/USD"):
        here, there = (run(tmp_path, *words, "gate", "check", word) for words in ((), ("--storage", "azure")))
        assert (here.exit_code, here.stdout) == (there.exit_code, there.stdout)
    assert "storage account 'devstoreaccount1', prefix" in on_azure(tmp_path, "status")
    assert on_azure(tmp_path, "quarantine", "ls") == "nothing is quarantined\n"
    assert on_azure(tmp_path, "dlq", "ls") == "there are no dead letters\n"


def test_operators_act_on_it(account: str, tmp_path: Path) -> None:
    on_azure(tmp_path, "ingest", recording(tmp_path / "desk.csv"), *OPTIONS)
    said = on_azure(
        tmp_path, "gate", "close", "subject:C/USD", "--for", "1h", "--author", "kim", "--reason", "drill"
    )
    assert "Whoever works this storage account takes it with its next tick." in said


def test_the_observer_runs_on_it(account: str, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "observer.toml").write_text(
        '[[source]]\nname = "host"\nkind = "system"\ninterval = "500ms"\nhost = "h"\nfile_systems = []\n'
    )
    on_azure(tmp_path, "run", "--for", "4s", "--port", "0", "--no-console")
    found = on_azure(tmp_path, "snapshots", "ls", "--source", "host", "--json").splitlines()
    assert len(found) >= 3
    on_azure(tmp_path, "verify")
    on_azure(tmp_path, "replay", "--verify")
    assert not (tmp_path / "data").exists()


def test_doctor_tries_the_account(account: str, tmp_path: Path) -> None:
    found = run(tmp_path, "--storage", "azure", "doctor").stdout
    assert re.search(r"✓ storage account\s.*'devstoreaccount1', prefix 'cli\d+'", found)
    for service in ("blobs", "tables", "queues", "poison queues"):
        assert re.search(rf"^✓ {service}\s", found, re.M), service
    assert "journal.db" not in found


def test_an_account_without_data_says_so(account: str, tmp_path: Path) -> None:
    done = run(tmp_path, "--storage", "azure", "status")
    assert done.exit_code == 2
    assert "no Observer data in storage account 'devstoreaccount1'" in done.stderr


def test_without_a_connection_it_says_which_setting_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SETTING, raising=False)
    done = run(tmp_path, "--storage", "azure", "status")
    assert done.exit_code == 2
    assert (
        "give a connection string in AzureWebJobsStorage, or AzureWebJobsStorage__accountName" in done.stderr
    )


def test_an_account_that_does_not_answer_is_told_without_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = "".join(f"{name}Endpoint=http://127.0.0.1:1/a;" for name in ("Blob", "Queue", "Table"))
    monkeypatch.setenv(SETTING, f"AccountName=a;AccountKey=c2VjcmV0;{endpoints}")
    done = run(tmp_path, "--storage", "azure", "status")
    assert done.exit_code == 2
    assert "127.0.0.1:1" in done.stderr
    assert "c2VjcmV0" not in done.output
