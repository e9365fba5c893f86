"""What the page has of others is what was published, under a licence that is shipped with it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
VENDOR = ROOT / "observer_core/web/page/vendor"
PACKAGES = ROOT / "scripts/page"
MANIFEST: list[dict[str, Any]] = json.loads((VENDOR / "MANIFEST.json").read_text())
each = pytest.mark.parametrize("entry", MANIFEST, ids=[entry["file"] for entry in MANIFEST])


def test_every_file_is_listed() -> None:
    listed = {entry["file"] for entry in MANIFEST} | {entry["licence_file"] for entry in MANIFEST}
    types = {path.name for path in VENDOR.glob("*.d.ts")}
    assert {path.name for path in VENDOR.iterdir()} - types == listed | {"MANIFEST.json"}


@each
def test_a_file_is_the_one_that_was_vendored(entry: dict[str, Any]) -> None:
    assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


@each
def test_its_licence_is_here_and_named_in_the_notice(entry: dict[str, Any]) -> None:
    assert entry["licence"] in ("MIT", "Apache-2.0")
    text = (VENDOR / entry["licence_file"]).read_text()
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License"}[entry["licence"]] in text
    assert entry["licence_file"] in (ROOT / "NOTICE").read_text()


@each
def test_its_version_is_the_locked_one(entry: dict[str, Any]) -> None:
    lock = json.loads((PACKAGES / "package-lock.json").read_text())["packages"]
    assert lock[f"node_modules/{entry['package']}"]["version"] == entry["version"]


@each
def test_it_loads_nothing_but_its_neighbours(entry: dict[str, Any]) -> None:
    text = re.sub(r"^\s*//.*$", "", (VENDOR / entry["file"]).read_text(), flags=re.MULTILINE)
    neighbours = {other["file"] for other in MANIFEST}
    assert set(re.findall(r'from"\./([^"]+)"', text)) <= neighbours
    assert not re.search(r"""\bfrom\s*["'](?!\./)|\bimport\s*\(|@import|url\(|sourceMappingURL""", text)


def test_the_packages_are_locked_and_no_host_is_named() -> None:
    text = (PACKAGES / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    wanted = json.loads((PACKAGES / "package.json").read_text())
    named = {**wanted["dependencies"], **wanted["devDependencies"]}
    assert {name: locked[f"node_modules/{name}"]["version"] for name in named} == named
    assert all(found["integrity"].startswith("sha512-") for name, found in locked.items() if name)
    assert "://" not in text
