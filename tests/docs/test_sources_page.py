"""docs/sources.md: its configuration loads, and it names every kind and flag; so does the example file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from observer_core.runtime import settings
from observer_core.runtime.settings import Settings
from observer_core.runtime.source_kinds import SourceConfig
from observer_core.shared.records import QUALITY_FLAGS
from observer_core.snapshot_engine.derived import Kind
from observer_core.snapshot_engine.normalise import Normaliser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text("utf-8")
EXAMPLE = ROOT / "config" / "observer.example.toml"
PACKAGED = ROOT / "observer_core" / "runtime" / "sources.example.toml"
KINDS = {get_args(item.model_fields["kind"].annotation)[0] for item in get_args(get_args(SourceConfig)[0])}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """All blocks of the page as one file."""
    blocks = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= len(KINDS)
    path = tmp_path_factory.mktemp("page") / "observer.toml"
    path.write_text("\n".join(blocks), "utf-8")
    return settings.load(path)


@pytest.fixture(scope="module")
def example() -> Settings:
    return settings.load(EXAMPLE)


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def test_the_blocks_of_the_page_are_sources_of_every_kind(page: Settings) -> None:
    assert {item.kind for item in page.source} == KINDS


def test_the_example_has_every_kind(example: Settings) -> None:
    assert {item.kind for item in example.source} == KINDS


def test_the_example_is_the_file_that_add_example_prints_from() -> None:
    assert EXAMPLE.is_symlink()
    assert EXAMPLE.resolve() == PACKAGED


def test_what_is_configured_can_be_normalised(page: Settings, example: Settings) -> None:
    for found in (page, example):
        for item in found.source:
            Normaliser(found.normaliser(item.name))


def test_every_flag_has_a_row_in_the_table_of_flags() -> None:
    flags = re.findall(r"^\| `(\w+)` \|", section("Quality flags"), re.MULTILINE)
    assert set(flags) == set(QUALITY_FLAGS)


def test_every_kind_has_a_section_and_a_row() -> None:
    assert set(re.findall(r"^### (\w+)$", section("The kinds"), re.MULTILINE)) == KINDS
    for kind in KINDS:
        assert f"| `{kind}` |" in PAGE.partition("\n## ")[0]


def test_every_formula_of_a_derived_series_is_there() -> None:
    for kind in get_args(Kind):
        assert f"| `{kind}` |" in section("The kinds")
