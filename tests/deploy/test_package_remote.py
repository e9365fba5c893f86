"""deploy_ops.sh remote: over an ssh and an scp that work here, in the login folder of somebody else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.packages import NAME, Deployment, run

ROOT = Path(__file__).resolve().parents[2]
# Options first, each with its value; then what ssh takes as the host, `--` and the command.
SSH = """#!/usr/bin/env bash
echo "ssh $*" >>"$CALLS"
while [[ $1 == -* ]]; do shift 2; done
[[ $1 == ops@far.example && $2 == -- ]] || exit 97
[[ -z ${FAILS:-} || $3 != *"$FAILS"* ]] || { echo "Connection closed" >&2; exit 255; }
cd "$FAR" && HOME=$FAR exec bash -c "$3"
"""
SCP = """#!/usr/bin/env bash
echo "scp $*" >>"$CALLS"
[[ ${FAILS:-} != scp ]] || { echo "lost connection" >&2; exit 1; }
to=${!#}
cp "${@: -2:1}" "$FAR/${to#ops@far.example:}"
if [[ -n ${GARBLED:-} ]]; then echo x >>"$FAR/${to#ops@far.example:}"; fi
"""


class Far:
    """Another machine, in a folder of this one."""

    def __init__(self, folder: Path, package: Path, venvs: Path) -> None:
        self.package = package
        self.deployment = Deployment.new(folder / "far" / "obs", venvs)
        self.folder = folder / "far"
        self.calls = folder / "calls"
        bin_ = folder / "bin"
        bin_.mkdir()
        for name, text in (("ssh", SSH), ("scp", SCP)):
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        self.environment = {
            "PATH": f"{bin_}:{os.environ['PATH']}", "CALLS": str(self.calls), "FAR": str(self.folder),
            **self.deployment.environment,
        }  # fmt: skip

    def remote(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        command = [ROOT / "deploy_ops.sh", "remote", *arguments]
        return run(command, cwd=self.folder, env={**self.environment, **environment})


@pytest.fixture
def far(tmp_path: Path, package: Callable[..., Path], venvs: Path) -> Iterator[Far]:
    made = Far(tmp_path, package(), venvs)
    yield made
    made.deployment.kill()


def test_it_is_brought_there_and_runs(far: Far) -> None:
    theirs = far.deployment.home / "incoming" / "order.csv"
    theirs.parent.mkdir()
    theirs.touch()
    done = far.remote("--no-docker", "ops@far.example:obs", far.package)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "200 OK" in far.deployment.health()
    assert f"== {far.deployment.linked()}" in done.stdout
    assert not (far.deployment.home / ".incoming").exists()
    assert theirs.exists(), "it was not ours"
    calls = far.calls.read_text().splitlines()
    assert len(calls) == 6
    assert all("-o StrictHostKeyChecking=yes" in call for call in calls)
    again = far.remote("ops@far.example:obs", far.package)
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.parametrize(
    ("fails", "step"),
    [
        ("mkdir", "make a folder on ops@far.example"),
        ("scp", "copy the package"),
        ("sha256sum", "compare its sha256"),
        ("tar ", "unpack"),
        ("start_ops", "start"),
    ],
)
def test_a_step_that_fails_is_the_last(fails: str, step: str, far: Far) -> None:
    done = far.remote("--no-docker", "ops@far.example:obs", far.package, FAILS=fails)
    assert done.returncode == 2
    assert f"failed with exit code {1 if fails == 'scp' else 255}: {step}" in done.stderr
    assert fails.strip() in far.calls.read_text().splitlines()[-1]
    assert far.deployment.linked() == ""


def test_what_was_garbled_on_the_way_is_not_unpacked(far: Far) -> None:
    done = far.remote("--no-docker", "ops@far.example:obs", far.package, GARBLED="1")
    assert done.returncode == 2
    assert "compare its sha256 on ops@far.example with " in done.stderr
    assert not (far.deployment.home / ".incoming" / NAME).exists()
    assert "start_ops" not in far.calls.read_text()


def test_a_dry_run_does_nothing(far: Far) -> None:
    done = far.remote("--dry-run", "ops@far.example", far.package)
    assert done.returncode == 0
    assert far.calls.read_text() == ""
    assert "would copy the package: scp" in done.stdout
    assert "qts-observer/.incoming/qts_ops_deploy/start_ops.sh --home qts-observer upgrade" in done.stdout


@pytest.mark.parametrize(
    "target", ["-oProxyCommand=x", "ops@far.example:a;b", "ops@far.example:-r", "a b", "", "ops@far:$HOME"]
)
def test_a_target_that_would_be_more_than_that_is_refused(target: str, far: Far) -> None:
    done = far.remote(target, far.package)
    assert done.returncode == 2
    assert far.calls.read_text() == ""


def test_a_package_whose_name_reads_as_a_machine_is_a_file(far: Far) -> None:
    (far.folder / "far.example:x.tar.gz").write_bytes(far.package.read_bytes())
    done = far.remote("--dry-run", "ops@far.example", "far.example:x.tar.gz")
    assert f" {far.folder}/far.example:x.tar.gz ops@far.example:" in done.stdout


def test_without_a_package_it_says_so(far: Far, tmp_path: Path) -> None:
    done = far.remote("ops@far.example", tmp_path / "none.tar.gz")
    assert done.returncode == 2
    assert "build it first" in done.stderr
