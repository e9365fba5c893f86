"""start_ops.sh --no-docker: start, look, stop, upgrade, roll back, with real versions and data."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import packages
from tests.support.packages import Deployment, unpack

Package = Callable[..., Path]
NEW_DEFAULT = ("deploy/config/observer.toml", "# a new default\n")


@pytest.fixture
def running(deployment: Deployment, package: Package, tmp_path: Path) -> Deployment:
    deployment.well("start", "--no-docker", script=unpack(package(), tmp_path) / "start_ops.sh")
    return deployment


def test_the_days_of_an_operator(running: Deployment) -> None:
    told = running.well("status")
    kept_by = re.search(r"^process \d+, kept running by (\d+), up \d+ s, \d+ MiB", told, re.M)
    assert kept_by is not None
    assert "nothing of level error or graver since 24h" in told
    assert re.search(rf"{running.home}/data\n", told)
    assert "GET /health: HTTP/1.1 200" in told
    assert running.linked().startswith("0.1.0-")
    health = json.loads(running.health().partition("\r\n\r\n")[2])
    assert health["releaseId"] == running.linked()
    assert "started" in running.well("logs")
    assert json.loads(running.well("observer", "verify", "--json").splitlines()[0])
    assert f"kept running by {kept_by[1]}," in running.well("start"), "started twice"

    # An Observer that is killed is started anew.
    pid = _observer(running)
    os.kill(pid, signal.SIGKILL)
    assert _in_time(lambda: "200 OK" in running.health() and _observer(running) != pid)
    assert "exit code 137; started anew" in running.well("logs")

    # A supervisor that is killed takes its Observer along.
    os.kill(int((running.home / "state" / "observer.pid").read_text()), signal.SIGKILL)
    assert _in_time(lambda: running.health() == "")
    running.well("start")

    # Asked to end, as the runbook has it, it stays so.
    os.kill(_observer(running), signal.SIGTERM)
    assert _in_time(lambda: not (running.home / "state" / "observer.pid").exists())
    stopped = running.ops("status")
    assert stopped.returncode == 1
    assert "no process runs" in stopped.stdout
    assert "nothing answers" in stopped.stdout
    running.well("stop")

    # What was changed since is not started.
    wheel = next((running.home / "current" / "wheel").glob("*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    done = running.ops("start")
    assert done.returncode == 2
    assert f"wheel/{wheel.name}: FAILED" in done.stderr
    assert running.health() == ""
    assert f"wheel/{wheel.name}: FAILED" in running.ops("status").stderr


def test_another_one_on_the_port_is_not_taken_for_it(
    running: Deployment, package: Package, venvs: Path, tmp_path: Path
) -> None:
    other = Deployment.new(tmp_path / "other", venvs)
    other.home.joinpath("ops.env").write_text(f"QTS_PORT={running.port}\n")
    script = tmp_path / packages.NAME / "start_ops.sh"
    done = other.ops("start", "--no-docker", script=script)
    assert done.returncode == 1
    assert f"port {running.port} is taken" in done.stderr

    # Nor is the release that runs, where `current` has gone.
    (running.home / "current").unlink()
    script = unpack(package("0.2.0", NEW_DEFAULT), tmp_path / "newer") / "start_ops.sh"
    done = running.ops("start", "--no-docker", script=script, QTS_HEALTH_WAIT="1")
    assert done.returncode == 1
    assert "what answers there is another one" in done.stderr


def test_two_at_once_are_one_too_many(tmp_path: Path, package: Package) -> None:
    deployment = Deployment.new(tmp_path / "home")
    script = unpack(package(), tmp_path) / "start_ops.sh"
    (deployment.home / "state").mkdir()
    with (deployment.home / "state" / "ops.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = deployment.ops("start", "--no-docker", script=script)
    assert done.returncode == 2
    assert "another start_ops.sh is at work" in done.stderr
    assert not (deployment.home / "current").exists()


def test_what_it_cannot_start_with_is_said(deployment: Deployment, package: Package, tmp_path: Path) -> None:
    script = unpack(package(), tmp_path) / "start_ops.sh"
    deployment.home.joinpath("ops.env").chmod(0o644)
    done = deployment.ops("start", "--no-docker", script=script)
    assert done.returncode == 2
    assert "chmod 600" in done.stderr
    deployment.home.joinpath("ops.env").chmod(0o600)
    with deployment.home.joinpath("ops.env").open("a") as file:
        file.write("NO VALUE\n")
    done = deployment.ops("start", "--no-docker", script=script)
    assert "line 3: expected NAME=VALUE" in done.stderr
    deployment.home.joinpath("ops.env").write_text(
        f"QTS_PORT={deployment.port}\nOBSERVER_WEB__HOST=0.0.0.0\n"
    )
    done = deployment.ops("start", "--no-docker", script=script)
    assert done.returncode == 1
    assert "token" in done.stderr


def test_without_python_or_docker_it_says_what_to_install(
    deployment: Deployment, package: Package, tmp_path: Path
) -> None:
    script = unpack(package(), tmp_path) / "start_ops.sh"
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in ("/usr/bin", "/bin", "/usr/sbin", "/sbin"):
        for path in Path(folder).iterdir():
            if not path.name.startswith(("python", "docker")) and not (tools / path.name).exists():
                (tools / path.name).symlink_to(path)
    deployment.environment["PATH"] = str(tools)
    done = deployment.ops("start", "--no-docker", script=script)
    assert done.returncode == 2
    assert "apt-get install python3 python3-venv" in done.stderr
    other = Deployment.new(tmp_path / "other", PATH=str(tools))
    done = other.ops("start", script=script)
    assert done.returncode == 2
    assert "no Docker with its compose plugin" in done.stderr


# ---------------------------------------------------------------------- upgrade


@pytest.mark.timeout(300)
def test_upgrades_and_a_rollback(running: Deployment, package: Package) -> None:
    first, pid, before = running.linked(), _observer(running), running.segments()
    mine = running.home / "config" / "observer.toml"
    mine.write_text(mine.read_text() + "# mine\n")

    # What cannot be configured, or backed up, stops nothing.
    done = running.ops("upgrade", package("0.4.0", packages.CHOOSY))
    assert done.returncode == 2
    assert "durability is no longer known" in done.stderr
    (running.home / "data" / "backups").write_text("in the way")
    done = running.ops("upgrade", package("0.2.0", NEW_DEFAULT))
    assert done.returncode == 2
    assert "the backup failed" in done.stderr
    (running.home / "data" / "backups").unlink()
    done = running.ops("rollback")
    assert done.returncode == 2
    assert "there is no release before" in done.stderr
    assert _observer(running) == pid
    assert "200 OK" in running.health()

    # What is not well goes back by itself.
    done = running.ops("upgrade", package("0.3.0", packages.UNHEALTHY), QTS_HEALTH_WAIT="6")
    assert done.returncode == 1
    assert "fail  source:readable  new code: it does not work" in done.stderr
    assert f"{first} is back and healthy" in done.stderr
    assert (running.linked(), running.linked("previous")) == (first, "")
    assert '"version":"0.1.0"' in running.health()
    running.keeps(before)

    # What is well stays; configuration is not touched.
    told = running.well("upgrade", package("0.2.0", NEW_DEFAULT))
    second = running.linked()
    assert second.startswith("0.2.0-")
    assert running.linked("previous") == first
    assert sorted(path.name for path in (running.home / "releases").iterdir()) == sorted((first, second))
    assert "+# a new default" in told
    assert mine.read_text().endswith("# mine\n")
    assert (mine.parent / "observer.toml.new").read_text().endswith("# a new default\n")
    assert '"version":"0.2.0"' in running.health()
    running.keeps(before)
    running.well("observer", "verify")
    place = running.home / "data" / "backups"
    assert running.well("observer", "backup", "ls", "--from", str(place)).strip()

    # The older version goes on from what the newer one has written, in an epoch of its own.
    after = running.segments()
    running.well("rollback")
    assert (running.linked(), running.linked("previous")) == (first, second)
    assert '"version":"0.1.0"' in running.health()
    running.keeps(after)
    running.well("observer", "verify")
    epochs = [
        record["body"]["code"]
        for name, data in sorted(running.segments().items())
        for record in map(json.loads, data.splitlines())
        if name.startswith("decisions/source=live") and record["kind"] == "epoch"
    ]
    assert [code for code, _ in itertools.groupby(epochs)] == ["0.1.0", "0.3.0", "0.1.0", "0.2.0", "0.1.0"]


def test_killed_around_the_switch_the_next_start_undoes_or_finishes(
    running: Deployment, package: Package, tmp_path: Path
) -> None:
    """All other points: test_package_docker.py, where each costs less."""
    before = running.segments()
    newer = package("0.2.0", NEW_DEFAULT)
    for command, version in (("link_to current", "0.1.0"), ("setsid", "0.2.0")):
        done = running.ops("upgrade", newer, **packages.killed_at(tmp_path, command))
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert running.health() == ""
        running.well("start")
        assert f'"version":"{version}"' in running.health()
        assert not (running.home / "state" / "going").exists()
        running.keeps(before)
    running.well("observer", "verify")


def _observer(running: Deployment) -> int:
    return int((running.home / "data" / "observer" / ".lock").read_text())


def _in_time(so: Callable[[], bool]) -> bool:
    for _ in range(150):
        if so():
            return True
        time.sleep(0.2)
    return False
