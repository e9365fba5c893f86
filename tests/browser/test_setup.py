"""What the tests of the page need, and what happens where it is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.browser import hostile
from tests.browser.chromium import ROOT, launched_or_skipped
from tests.browser.recorder import settings_of
from tests.support.market import heads

FOLDER = ROOT / "tests" / "browser"


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which there are a shell and its tools, but neither a Chromium nor apt-get."""
    for name in ("sh", "dirname", "id", "tail", "mktemp", "rm"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    return {"PATH": str(tmp_path), "HOME": str(tmp_path)}


def test_axe_is_locked_and_no_host_is_named() -> None:
    text = (FOLDER / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(found["integrity"].startswith("sha512-") for name, found in locked.items() if name)
    assert "://" not in text


def test_setup_goes_on_without_a_chromium_and_says_what_to_do(bare: dict[str, str]) -> None:
    done = subprocess.run(
        ["sh", "scripts/get_chromium.sh"], cwd=ROOT, env=bare, capture_output=True, text=True, check=True
    )
    assert "no apt-get to install chromium with" in done.stderr
    assert "SKIPPED Chromium: none that runs" in done.stderr
    assert "apt-get install chromium" in done.stderr


def test_without_a_chromium_tests_are_skipped_but_where_they_must_run_they_fail(
    bare: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", bare["PATH"])
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"sh scripts/get_chromium\.sh"), launched_or_skipped():
        pass
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"sh scripts/get_chromium\.sh"), launched_or_skipped():
        pass


def test_the_data_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    found = []
    for name in ("once", "again"):
        hostile.make(tmp_path / name)
        storage = LocalStorage(settings_of(tmp_path / name).paths.data)
        found.append(heads(Journals(storage, worker=name)))
        storage.close()
    assert found[0] == found[1]
