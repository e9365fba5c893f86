"""The emulator of the tests themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support import azurite


def test_without_node_the_tests_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azurite, "FOLDER", tmp_path)
    (tmp_path / "package-lock.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(azurite.AzuriteMissing, match=r"need Azurite: install Node\.js 20"):
        azurite.install()


def test_an_emulator_that_does_not_start_is_an_error_with_its_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("address in use")
    process = subprocess.Popen(["false"])
    process.wait()
    with pytest.raises(azurite.AzuriteMissing, match=r"exit code 1\):\naddress in use"):
        azurite._connection_string(process, log)
