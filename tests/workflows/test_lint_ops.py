"""scripts/lint_ops.sh finds what it is there for, in a repository of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".venv-ops" / "bin"
NEEDED = (
    "jactionlint",
    "zizmor",
    "check-jsonschema",
    "yamllint",
    "detect-secrets-hook",
    "shellcheck",
    "shfmt",
)
PATH = f"{TOOLS}:{os.environ['PATH']}"
WORKFLOW = """\
name: one
on: push
permissions: {}
concurrency: { group: one }
jobs:
  one:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
        with:
          persist-credentials: false
"""
DEPENDABOT = """\
version: 2
updates:
  - package-ecosystem: pip
    directory: /
    schedule: { interval: weekly }
    cooldown: { default-days: 7 }
"""
ACTION = """\
name: one
description: one
runs:
  using: composite
  steps:
    - run: echo one
      shell: bash
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    missing = [tool for tool in NEEDED if shutil.which(tool, path=PATH) is None]
    if missing:
        said = f"needs {', '.join(missing)}: make ops-tools"
        pytest.fail(said) if os.environ.get("CI") == "true" else pytest.skip(said)
    for name, text in (
        ("workflows/one.yml", WORKFLOW), ("dependabot.yml", DEPENDABOT), ("actions/one/action.yml", ACTION),
    ):  # fmt: skip
        path = tmp_path / ".github" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "lint_ops.sh", tmp_path / "scripts")
    for name in (".yamllint.yml", ".github/zizmor.yml"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "--quiet", "."], cwd=tmp_path, check=True)
    assert lint(tmp_path, "--baseline").returncode == 0
    return tmp_path


def lint(
    repository: Path, *arguments: str, path: str = PATH, ci: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "scripts/lint_ops.sh", *arguments], cwd=repository, capture_output=True, text=True,
        timeout=100, check=False, env={"PATH": path, "HOME": str(repository), "CI": ci},
    )  # fmt: skip


def test_what_is_as_it_should_be_passes(repository: Path) -> None:
    run = lint(repository)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 workflows" in run.stdout


TWO = ".github/workflows/two.yml"
PLANTED = {
    # In parts, so that no scanner takes this file for the place where it leaked.
    "a secret": ("settings.py", 'password = "' + "hunter2-and-" + 'more-of-it"\n', "settings.py"),
    "an action that is not pinned": (TWO, WORKFLOW.replace(
        "3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "v7"), "unpinned"),
    "an expression in a script": (
        TWO, WORKFLOW + "      - run: echo ${{ github.event.head_commit.message }}\n", "inject"),
    "a job that is none": (TWO, WORKFLOW.replace("runs-on", "runs-om"), "runs-om"),
    "an update that is none": (
        ".github/dependabot.yml", DEPENDABOT.replace("weekly", "sometimes"), "dependabot"),
    "YAML that repeats itself": ("values.yaml", "a: 1\na: 2\n", "duplication"),
    "a script with a mistake": ("bin/run", "#!/bin/sh\nrm -rf $1/x\n", "SC2086"),
    "a script that is not formatted": (
        "run.sh", "#!/bin/sh\nif true; then\n  echo\nfi\n", "shfmt has findings"),
}  # fmt: skip


@pytest.mark.parametrize("what", PLANTED)
def test_what_should_not_be_there_is_found(repository: Path, what: str) -> None:
    name, text, said = PLANTED[what]
    path = repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    run = lint(repository)
    assert run.returncode == 1, run.stdout + run.stderr
    assert said in run.stdout + run.stderr


def test_a_secret_that_is_known_to_be_none_passes_and_its_baseline_stays(repository: Path) -> None:
    name, text, _ = PLANTED["a secret"]
    (repository / name).write_text(text)
    assert lint(repository, "--baseline").returncode == 0
    (repository / name).write_text(f"# moved\n\n{text}")
    before = (repository / ".secrets.baseline").read_bytes()
    run = lint(repository)
    assert run.returncode == 0, run.stdout + run.stderr
    assert (repository / ".secrets.baseline").read_bytes() == before


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_a_missing_tool_is_named_and_fails_in_ci(
    repository: Path, tmp_path: Path, ci: str, code: int
) -> None:
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in (
        "bash",
        "dirname",
        "git",
        "mktemp",
        "cp",
        "rm",
        "xargs",
        *(set(NEEDED) - {"zizmor", "shfmt"}),
    ):
        found = shutil.which(name, path=PATH)
        assert found is not None
        (bin_ / name).symlink_to(found)
    run = lint(repository, path=str(bin_), ci=ci)
    assert run.returncode == code, run.stdout + run.stderr
    assert "SKIPPED zizmor: neither in .venv-ops nor on PATH; make ops-tools installs it" in run.stderr
    assert "SKIPPED shfmt: not on PATH; install the distribution's package shfmt" in run.stderr
