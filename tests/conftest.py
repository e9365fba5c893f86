"""Property tests find the same examples on every machine, however slow it is; Azurite for who asks for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from observer_core.storage.azure import AzureStorage

# The worker library of the Functions host is for Python 3.13 alone, and so is what speaks with it.
collect_ignore = (
    []
    if sys.version_info[:2] == (3, 13)
    else [f"support/functions_{part}.py" for part in ("host", "process", "worker")]
)

settings.register_profile("observer", deadline=None, derandomize=True)
settings.load_profile("observer")

_prefixes = (f"t{number}" for number in count(1))


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: no collection of garbage looks through them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of this worker's own emulator, started for the first who asks."""
    from tests.support.azurite import running

    with running() as connection_string:
        yield connection_string


@pytest.fixture
def azure_storage(azurite: str) -> Iterator[Callable[..., AzureStorage]]:
    """Opens storages that share a namespace which is this test's own."""
    from observer_core.storage.azure import AzureStorage

    prefix, opened = next(_prefixes), []

    def make(**options: Any) -> AzureStorage:
        values = {"AzureWebJobsStorage": azurite}
        opened.append(AzureStorage.connect(values, **{"prefix": prefix, **options}))
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


@pytest.fixture
def azure(azure_storage: Callable[..., AzureStorage]) -> AzureStorage:
    return azure_storage()
