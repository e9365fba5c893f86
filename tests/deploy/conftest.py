"""Packages and one environment, made once for all workers."""

from __future__ import annotations

import os
import shutil
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
    """What start_ops.sh has installed from the pinned requirements, in a deployment that was stopped."""

    def make(folder: Path) -> None:
        deployment = Deployment.new(folder / "home")
        script = packages.unpack(package(), folder / "unpacked") / "start_ops.sh"
        deployment.well("start", "--no-docker", script=script)
        deployment.well("stop")

    return packages.once(shared / "installed", make) / "home" / "venvs"


@pytest.fixture
def deployment(tmp_path: Path, venvs: Path) -> Iterator[Deployment]:
    made = Deployment.new(tmp_path / "home", venvs)
    yield made
    made.kill()
