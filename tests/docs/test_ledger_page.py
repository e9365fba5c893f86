"""docs/ledger.md: its commands run in its order, its settings load, its tables name what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from observer_core.runtime.audit.ledger_config import BlobPlace, FilePlace, WebhookPlace
from observer_core.runtime.audit.reconcile import CODES
from observer_core.runtime.settings import Settings
from tests.support.pages import blocks, commands, furnish, said_to, text_of

PAGE = text_of("ledger.md")
SETTINGS = blocks(PAGE, "toml")
COMMANDS = commands(PAGE)


def test_its_commands_run_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    furnish(tmp_path, SETTINGS[0])
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        said_to(command)
    assert (tmp_path / "elsewhere/anchors.ndjson").read_text().count("\n") == 1
    assert (tmp_path / "audit/INSTRUCTIONS.txt").is_file()
    assert (tmp_path / "audit.tar.gz").is_file()


@pytest.mark.parametrize("text", SETTINGS)
def test_its_settings_load(text: str) -> None:
    assert Settings(**tomllib.loads(text)).permits.key_file is not None


def test_it_names_every_place_and_every_key_of_it() -> None:
    rows = dict(re.findall(r'^\| `kind = "(\w+)"` \| (.+?) \|', PAGE, re.M))
    for place in (FilePlace, BlobPlace, WebhookPlace):
        kind = place.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]
        assert set(re.findall(r"`(\w+)(?: =|`)", rows.pop(kind))) >= set(place.model_fields) - {"kind"}
    assert rows == {}


def test_it_explains_every_finding_of_reconcile() -> None:
    table = PAGE.partition("| finding | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| (.+?) \|", table, re.M)) >= {"`no_allow`"}
    assert set(re.findall(r"`([a-z]+_[a-z]+)`", re.sub(r"\|[^|]+\|$", "", table, flags=re.M))) == set(CODES)
