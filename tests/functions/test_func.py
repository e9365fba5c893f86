"""`make func`: the host over a real Azurite, or a message that says what is missing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTS = (10000, 10001, 10002)
FAKE_FUNC = """#!{python}
import json, os, pathlib, socket, sys
for port in (10000, 10001, 10002):
    socket.create_connection(("127.0.0.1", port), 5).close()
seen = {{"arguments": sys.argv[1:], "virtual_env": os.environ.get("VIRTUAL_ENV"),
    "settings": json.loads(pathlib.Path("local.settings.json").read_text())}}
pathlib.Path("seen.json").write_text(json.dumps(seen))
"""


class Checkout:
    """What the script needs, in a folder of its own, with exactly the programs that a test gives it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in ("sh", "dirname", "mkdir", "cp", "sleep"):
            self.program(name)
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / "local.settings.json.example", folder)
        (folder / "tests").mkdir()
        (folder / "tests" / "azurite").symlink_to(ROOT / "tests" / "azurite")
        (folder / ".venv313" / "bin").mkdir(parents=True)
        (folder / ".venv313" / "bin" / "activate").write_text("VIRTUAL_ENV=.venv313; export VIRTUAL_ENV\n")

    def program(self, name: str, script: str | None = None) -> None:
        path = self.bin / name
        if script is None:
            found = shutil.which(name)
            assert found is not None
            path.symlink_to(found)
        else:
            path.write_text(script)
            path.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "scripts/func.sh", *arguments], cwd=self.folder, capture_output=True, text=True,
            timeout=60, env={"PATH": str(self.bin), "HOME": str(self.folder)},
        )  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_without_core_tools_it_says_what_to_install(checkout: Checkout) -> None:
    run = checkout.run()
    assert run.returncode == 2
    assert "install the package azure-functions-core-tools-4" in run.stderr
    assert "`make test` runs the same app" in run.stderr
    assert not (checkout.folder / "local.settings.json").exists()


def test_without_node_it_says_so(checkout: Checkout) -> None:
    checkout.program("func", "#!/bin/sh\n")
    run = checkout.run()
    assert (run.returncode, run.stderr) == (
        2, "func: needs Node.js 20 with npm, for Azurite, the storage emulator.\n",
    )  # fmt: skip


def test_without_python_3_13_it_says_so(checkout: Checkout) -> None:
    checkout.program("func", "#!/bin/sh\n")
    checkout.program("node")
    run = checkout.run()
    assert run.returncode == 2
    assert "needs a Python 3.13 on PATH or under pyenv" in run.stderr


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_host_starts_once_azurite_answers_and_azurite_ends_with_it(checkout: Checkout) -> None:
    if any(map(in_use, PORTS)):
        pytest.skip("somebody else's Azurite has the usual ports")
    checkout.program("func", FAKE_FUNC.format(python=sys.executable))
    checkout.program("node")
    checkout.program("make", "#!/bin/sh\n")  # the environments are there already
    checkout.program("python3.13", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    run = checkout.run("--verbose")
    assert run.returncode == 0, run.stderr
    seen = (checkout.folder / "seen.json").read_text()
    assert '"arguments": ["start", "--verbose"]' in seen
    assert '"virtual_env": ".venv313"' in seen
    assert '"AzureWebJobsStorage": "UseDevelopmentStorage=true"' in seen
    assert (checkout.folder / "data" / "azurite").is_dir()
    assert not any(map(in_use, PORTS))


def test_local_settings_that_are_there_are_kept(checkout: Checkout) -> None:
    (checkout.folder / "local.settings.json").write_text("{}")
    checkout.program("func", "#!/bin/sh\nexit 7\n")
    checkout.program("node", "#!/bin/sh\nexit 0\n")  # all ports answer
    checkout.program("make", "#!/bin/sh\n")
    checkout.program("python3.13", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    run = checkout.run()
    assert run.returncode == 7  # what the host has said
    assert "using the Azurite that runs" in run.stdout
    assert (checkout.folder / "local.settings.json").read_text() == "{}"


def test_azurite_that_cannot_start_is_no_endless_wait(checkout: Checkout) -> None:
    checkout.program("func", "#!/bin/sh\nexit 7\n")
    checkout.program("node", "#!/bin/sh\nexit 1\n")
    checkout.program("make", "#!/bin/sh\n")
    checkout.program("python3.13", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    run = checkout.run()
    assert run.returncode == 2
    assert "Azurite has ended; are the ports 10000 to 10002 free?" in run.stderr


def test_the_makefile_runs_it() -> None:
    dry = subprocess.run(
        ["make", "-n", "func", "ARGS=--port 7072"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert dry.stdout.strip() == "sh scripts/func.sh --port 7072"
