"""docs/deployment.md: its commands are run in their order, on real packages; its tables are the code's."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.conftest import package, shared, venvs
from tests.support import packages
from tests.support.packages import Deployment

__all__ = ["package", "shared", "venvs"]
PAGE = (packages.ROOT / "docs" / "deployment.md").read_text("utf-8")
README = (packages.ROOT / "deploy" / "README.md").read_text("utf-8")
ELSEWHERE = ("container", "remote", "images", "azure")
BLOCK = re.compile(r"^```sh ?(\w*)\n(.*?)^```", re.M | re.S)


@dataclass(frozen=True)
class Command:
    """A line of the page, and the exit codes that it says are answers."""

    line: str
    codes: frozenset[int]


def commands(kind: str, text: str = PAGE) -> list[Command]:
    found = []
    for where, block in BLOCK.findall(text):
        for line in block.splitlines() if where == kind else ():
            if line.startswith("#"):
                continue
            command, _, remark = re.sub(r"\s+# ", "\0", line, count=1).partition("\0")
            code = re.match(r"exit (\d+): \S", remark)
            found.append(Command(command.strip(), frozenset({0, *([int(code[1])] if code else [])})))
    return found


@pytest.fixture
def machine(tmp_path: Path, package, venvs: Path) -> Iterator[Deployment]:  # type: ignore[no-untyped-def]
    """A folder with the package, and what pip would install."""
    shutil.copy(package(), tmp_path / f"{packages.NAME}.tar.gz")
    newer = package("0.2.0", ("deploy/config/observer.toml", "# a new default\n"))
    shutil.copy(newer, tmp_path / "newer.tar.gz")
    made = Deployment.new(tmp_path / "qts-observer", venvs)
    yield made
    made.kill()


@pytest.mark.timeout(300)
def test_the_commands_run_in_their_order(machine: Deployment, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    script = ["set -u -o pipefail", 'fell() { echo "FELL $1 $2" >&2; exit 99; }']
    for command in commands(""):
        line = re.sub(r"\bPACKAGE\b", "../newer.tar.gz", command.line)
        line = re.sub(r"\bHOSTNAME\b", socket.gethostname(), line).replace(":8000", f":{machine.port}")
        allowed = "|".join(map(str, sorted(command.codes)))
        script += [line, f"code=$?; case $code in {allowed}) ;; *) fell $code {shlex.quote(line)} ;; esac"]
    done = packages.run(["bash", "-c", "\n".join(script)], cwd=tmp_path, env=machine.environment, seconds=250)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert machine.linked().startswith("0.1.0-"), "it was not rolled back"
    assert machine.linked("previous").startswith("0.2.0-")


def test_the_package_is_built_as_it_says(tmp_path: Path) -> None:
    tree = packages.copy_of_checkout(tmp_path / "tree")
    for command in commands("build"):
        if command.line == "make setup":
            continue  # CI does
        done = packages.run(
            ["bash", "-c", command.line], cwd=tree,
            env={"PYTHON": sys.executable, "SOURCE_DATE_EPOCH": packages.EPOCH},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [found for where in ELSEWHERE for found in commands(where)],
    ids=lambda command: command.line[:50],
)
def test_what_is_for_elsewhere_can_be_read(command: Command) -> None:
    assert subprocess.run(["bash", "-n", "-c", command.line], check=False).returncode == 0
    program, *words = [word for word in shlex.split(command.line) if not re.match(r"[A-Z_]+=", word)]
    if program.startswith(("infra/", "scripts/")):
        assert os.access(packages.ROOT / program, os.X_OK)
        text = (packages.ROOT / program).read_text()
        assert {word for word in words if word.startswith("--") and word not in text} == set()
    if program.endswith("_ops.sh"):
        file = {"start_ops.sh": "deploy/start_ops.sh"}.get(Path(program).name, Path(program).name)
        text = (packages.ROOT / file).read_text()
        assert re.search(rf"^(?:    )?{words[0]}(?:[ )]|\(\))", text, re.M), command.line
        if words[0] != "observer":
            assert {word for word in words if word.startswith("--") and word not in text} == set()


def test_what_is_for_elsewhere_says_so() -> None:
    for where, block in BLOCK.findall(PAGE):
        assert where in ("", "build", *ELSEWHERE)
        assert block.startswith(f"# {where}: not run by the test\n") == (where in ELSEWHERE)
    assert len(commands("")) > 20


@pytest.mark.parametrize("page", ["deployment.md", "README.md"])
def test_every_chapter_that_is_linked_to_is_there(page: str) -> None:
    text = PAGE if page == "deployment.md" else README
    for target, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", text):
        linked = (packages.ROOT / "docs" / target).read_text() if target else text
        headings = re.findall(r"^#+ (.+)$", linked, re.M)
        known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in known, f"{target}#{anchor}"


def test_what_azure_is_asked_for_is_called_as_terraform_calls_it() -> None:
    infra = packages.ROOT / "infra"
    [group] = re.findall(
        r'name +\= "\$\{var\.name_prefix\}(-\w+)"',
        (infra / "modules/resource_group/main.tf").read_text(),
    )
    assert set(re.findall(r"PROJECT-ENVIRONMENT([\w-]*)", PAGE)) == {group}
    outputs = set(re.findall(r'^output "(\w+)"', (infra / "outputs.tf").read_text(), re.M))
    asked = re.findall(r"output -raw (\w+)", PAGE + (packages.ROOT / "docs" / "ci_cd.md").read_text())
    assert asked
    assert set(asked) <= outputs


def test_commands_and_settings_are_those_that_there_are() -> None:
    script = (packages.ROOT / "deploy" / "start_ops.sh").read_text()
    told = set(re.findall(r"^\| `(\w+)", README.partition("## Commands")[2].partition("\n## ")[0], re.M))
    taken = re.search(r"^ +(start \| stop .+)\)$", script, re.M)
    assert taken is not None
    assert told == {*taken[1].split(" | "), "observer"}
    compose = (packages.ROOT / "docker-compose.yml").read_text()
    for name in re.findall(r"`(QTS_\w+)`", PAGE + README):
        assert f"${{{name}:" in compose
    for option in re.findall(
        r"^\| `(--\w+)", PAGE.partition("## The package")[2].partition("\n## ")[0], re.M
    ):
        assert option in (packages.ROOT / "deploy_ops.sh").read_text()
    assert os.access(packages.ROOT / "deploy_ops.sh", os.X_OK)
    assert os.access(packages.ROOT / "deploy" / "start_ops.sh", os.X_OK)
