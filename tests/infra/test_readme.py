"""infra/README.md says what the .tf files say."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.infra.programs import INFRA

SCRIPT = INFRA / "scripts" / "readme_tables.py"
FOLDERS = [INFRA, *sorted(path for path in (INFRA / "modules").iterdir() if path.is_dir())]


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["readme_tables"] = module
    spec.loader.exec_module(module)
    return module


tables = _script()


def test_the_tables_are_those_of_the_files() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_difference_is_found() -> None:
    text = (INFRA / "README.md").read_text()
    assert tables.written(text.replace("| `cost_center` |", "| `cost_centre` |")) == text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_module_has_its_tables(folder: Path) -> None:
    mark = "." if folder == INFRA else f"modules/{folder.name}"
    assert f"<!-- tables: {mark} -->" in (INFRA / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_nothing_escapes_the_script_and_everything_is_described(folder: Path) -> None:
    found = tables.declared(folder)
    written = {
        (kind, name)
        for path in folder.glob("*.tf")
        for kind, name in re.findall(r'^\s*(variable|output)\s+"(\w+)"', path.read_text(), re.MULTILINE)
    }
    assert {(item.kind, item.name) for item in found} == written
    for item in found:
        assert item.description.endswith("."), item.name
        if item.kind == "variable":
            nullable = item.arguments.get("default") == "null"
            assert item.arguments["nullable"] == str(nullable).lower(), item.name
            assert item.arguments["type"] != "any", item.name


def test_a_type_of_several_lines_comes_on_one() -> None:
    assert (
        tables._line("object({\n    a = number\n    bb = optional(list(string), [])\n  })")
        == "object({ a = number, bb = optional(list(string), []) })"
    )
