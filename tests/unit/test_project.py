"""The files around the code keep what they promise."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import observer_core

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import check_tree  # noqa: E402

needs_git = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout"
)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PIN = re.compile(r"^([a-z0-9-]+)==([0-9][0-9a-z.]*)(?: ; (.+))?$")


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    found = [PIN.match(line) for line in lines if not line.lstrip().startswith("#")]
    assert all(found), f"{name}: a line is not an exact pin"
    return {match[1]: match[2] for match in found if match}


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert heads[0] == "Unreleased"
    unreleased = changelog.split("## [")[1]
    assert heads[1:2] == [observer_core.__version__] or f"towards {observer_core.__version__}" in unreleased


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_exact_pins_without_urls_or_indexes(name: str) -> None:
    text = (ROOT / name).read_text()
    assert pins(name)
    assert not re.search(r"://|^\s*-|@ ", text, re.MULTILINE)


def test_azurite_is_locked_with_all_it_needs_and_no_host_is_named() -> None:
    folder = ROOT / "tests/azurite"
    text = (folder / "package-lock.json").read_text()
    locked = json.loads(text)["packages"]
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(found["integrity"].startswith("sha512-") for name, found in locked.items() if name)
    assert "://" not in text


def test_every_dependency_is_pinned_and_both_lock_files_agree() -> None:
    runtime, dev = pins("requirements.txt"), pins("requirements-dev.txt")
    extras = PYPROJECT["project"]["optional-dependencies"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[\[>=<; ]", item)[0] for item in requirements}

    assert names(PYPROJECT["project"]["dependencies"]) <= runtime.keys()
    assert names(extras["dev"] + extras["parquet"]) <= dev.keys()
    assert runtime.items() <= dev.items()


def test_dependencies_are_lower_bounds_so_that_the_lock_file_alone_decides() -> None:
    for item in PYPROJECT["project"]["dependencies"]:
        # The Functions library has another line for each Python, and its runtime is the one that works there.
        bound = (
            r"(>=[0-9.]+(,<2)?|==1\.3\.0); python_version (<|>=) '3\.13'"
            if "functions" in item
            else r">=[0-9.]+"
        )
        assert re.fullmatch(r"[a-z-]+" + bound, item), item


def test_make_without_a_target_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[1] for line in shown.splitlines()} == set(phony[1].split())


@needs_git
def test_nothing_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {text}"
        for path in check_tree.tracked(ROOT)
        for number, _, text in check_tree.findings(path)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("index = https://py" + "pi.org/simple", True),
        ('"resolved": "https://registry.npm' + 'js.org/x"', True),
        ("see /ho" + "me/kim/observer", True),
        ("/ro" + "ot/.cache", True),
        ("cd /wo" + "rk/main", True),
        ("COPY . /home/qts/app", False),
        ("/app/data/observer and https://hooks.example/home/kim", False),
        ("from the project root/observer", False),
    ],
)
def test_the_check_of_the_tree_finds_what_it_is_for(tmp_path: Path, text: str, found: bool) -> None:
    path = tmp_path / "file.txt"
    path.write_text(f"first line\n{text}\n")
    assert [number for number, _, _ in check_tree.findings(path)] == ([2] if found else [])


def test_the_shipped_recording_is_the_one_whose_attribution_is_given() -> None:
    digest = hashlib.sha256((ROOT / "examples/sp500-2000.csv").read_bytes()).hexdigest()
    assert digest in (ROOT / "examples/README.md").read_text()
    assert "examples/sp500-2000.csv" in (ROOT / "NOTICE").read_text()


def test_the_wheel_holds_the_lock_file_the_licence_and_the_type_marker(tmp_path: Path) -> None:
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == f"qts_observer-{observer_core.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert archive.read("observer_core/requirements.txt") == (ROOT / "requirements.txt").read_bytes()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert b"observer = observer_core.cli:main" in archive.read(entry_points)
    assert "observer_core/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)
    assert {name.split("/")[0] for name in names} <= {"observer_core", wheel.name[:18] + ".dist-info"}
