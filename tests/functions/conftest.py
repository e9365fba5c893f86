"""The Functions app on Microsoft's own worker library, which is for Python 3.13 alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.functions_process import Worker

# Elsewhere `make test` runs this folder in the environment of a Python 3.13.
collect_ignore_glob = [] if sys.version_info[:2] == (3, 13) else ["test_*.py"]

CONFIGURATION = """
policies = "policies.toml"

[[source]]
name = "host"
kind = "system"
interval = "1s"
host = "h"
file_systems = []

[[source]]
name = "desk"
kind = "push"
interval = "1s"

[[subscription]]
name = "out"
stream = "decisions"
start = "beginning"
sink = { kind = "queue", queue = "out" }
"""


def configured(folder: Path, connection: str, prefix: str) -> dict[str, str]:
    """The app settings of an app of its own, in an account that others use too."""
    from tests.support.functions_host import SETTINGS
    from tests.support.instances import POLICIES

    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "observer.toml").write_text(CONFIGURATION)
    (folder / "policies.toml").write_text(POLICIES)
    return {
        **SETTINGS, "AzureWebJobsStorage": connection, "OBSERVER_ROOT": str(folder),
        "OBSERVER_CONFIG_DIR": "config", "OBSERVER_STORAGE__PREFIX": prefix,
        "OBSERVER_QUEUE_PREFIX": f"q{prefix}",
    }  # fmt: skip


@pytest.fixture(scope="module")
def worker(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    from tests.support.functions_process import Worker

    worker = Worker(configured(tmp_path_factory.mktemp("app"), azurite, "worker"))
    yield worker
    worker.stop()
