"""Packages and one environment, made once for all workers."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import packages
from tests.support.packages import Deployment


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "packages"


@pytest.fixture(scope="session")
def package(shared: Path) -> Callable[..., Path]:
    """The package of a version, with what is added to its files."""

    def made(version: str = "0.1.0", *additions: tuple[str, str]) -> Path:
        def make(folder: Path) -> None:
            tree = packages.copy_of_checkout(folder / "tree", version, *additions)
            shutil.copy(packages.build(tree), folder / f"{version}.tar.gz")
            shutil.rmtree(tree)

        return packages.once(shared / f"v{version.replace('.', '_')}", make) / f"{version}.tar.gz"

    return made


@pytest.fixture(scope="session")
def venvs(shared: Path, package: Callable[..., Path]) -> Path:
    """What start_ops.sh has installed from the pinned requirements, in a deployment that was stopped.

    Kept beside pytest's own folders for the next sessions, as long as what it is made of, and how, is the
    same; test_a_machine_without_a_network_can_be_installed installs anew each time.
    """
    made_of = [(packages.ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")]
    made_of += re.findall(
        r"^process_(?:install|prepare)\(\) .*?^}",
        (packages.ROOT / "deploy/start_ops.sh").read_text(),
        re.M | re.S,
    )
    made_of.append(str(Path(shutil.which("python3") or "").resolve()))
    digest = hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:12]
    parent = shared.parent.parent
    base = parent if parent.name.startswith("pytest-of-") else shared

    def make(folder: Path) -> None:
        deployment = Deployment.new(folder / "home", PIP_NO_COMPILE="1")
        script = packages.unpack(package(), folder / "unpacked") / "start_ops.sh"
        deployment.well("start", "--no-docker", script=script)
        deployment.well("stop")

    made = packages.once(base / f"installed-{digest}", make)
    os.utime(made)
    for other in base.glob("installed-*"):
        if other.is_dir() and other.stat().st_mtime < time.time() - 86400:
            shutil.rmtree(other, ignore_errors=True)
    return made / "home" / "venvs"


@pytest.fixture
def deployment(tmp_path: Path, venvs: Path) -> Iterator[Deployment]:
    made = Deployment.new(tmp_path / "home", venvs)
    yield made
    made.kill()
