"""The page's own files: what comes from outside stays text, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "observer_core/web/page"
OWN = [
    path
    for path in sorted(PAGE.rglob("*"))
    if path.is_file() and "vendor" not in path.parts and path.suffix in (".js", ".css", ".html", ".svg")
]
SCRIPTS = [path for path in OWN if path.suffix == ".js"]
_PARSES = re.compile(
    r"innerHTML|outerHTML|insertAdjacent|dangerouslySet|document\.write|DOMParser|createContextualFragment"
    r"|\beval\b|new Function|srcdoc|javascript:|setAttribute\(\s*[\"']on|\bsetHTML"
)
_HOST = re.compile(r"(?:https?:)?//(?!www\.w3\.org/)[a-z0-9-]+\.[a-z]", re.IGNORECASE)


def name(path: Path) -> str:
    return str(path.relative_to(PAGE))


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_no_text_is_ever_taken_for_markup_or_code(path: Path) -> None:
    assert _PARSES.findall(path.read_text()) == []


@pytest.mark.parametrize("path", OWN, ids=name)
def test_no_host_is_named(path: Path) -> None:
    assert _HOST.findall(path.read_text()) == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_imports_are_relative_and_there(path: Path) -> None:
    text = path.read_text()
    named = re.findall(r"""^(?:import|export)\b[^;]*?\bfrom\s+"([^"]+)";""", text, re.MULTILINE)
    code = re.sub(r"/\*\*.*?\*/", "", text, flags=re.DOTALL)
    named += re.findall(r"""\bimport\("([^"]+)"\)""", code)
    assert [target for target in named if not target.startswith((".", "./", "../"))] == []
    assert [target for target in named if not (path.parent / target).is_file()] == []


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_markup_has_no_style_and_no_handler_attribute(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"""\sstyle=(?!\$\{)|\son[a-z]+=""", text)


def test_the_first_file_runs_and_styles_nothing_inline() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text)
    assert re.search(r'<html lang="\w+">', text)
    assert "<noscript>" in text
    named = re.findall(r'(?:src|href)="(assets/[^"]+)"', text)
    assert [target for target in named if not (PAGE / target.removeprefix("assets/")).is_file()] == []


def test_the_declarations_of_the_api_are_those_of_its_models() -> None:
    made = runpy.run_path(str(ROOT / "scripts/page/api_types.py"))
    stored = (ROOT / "scripts/page/types/types.d.ts").read_text()
    assert stored == made["written"](), "run: make lint-page"
