"""A backend joins the contract by a constructor here, and by saying how its queues' time passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_core.shared.clock import ManualClock
from observer_core.storage.counting import CountingStorage
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.support.passing import ManualTime, Passing, RealTime

LOCAL: dict[str, Callable[[Path, ManualClock], Storage]] = {
    "memory": lambda root, clock: MemoryStorage(clock),
    "counting": lambda root, clock: CountingStorage(MemoryStorage(clock)),
    "local-full": lambda root, clock: LocalStorage(root, durability="full", clock=clock),
    "local-normal": lambda root, clock: LocalStorage(root, durability="normal", clock=clock),
}


@pytest.fixture(params=["azure", *sorted(LOCAL)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Storage, Passing]]:
    if request.param == "azure":
        storage: Storage = request.getfixturevalue("azure")
        yield storage, RealTime()
        return
    clock = ManualClock(1_000)
    storage = LOCAL[request.param](tmp_path / "store", clock)
    yield storage, ManualTime(clock)
    storage.close()


@pytest.fixture
def storage(backend: tuple[Storage, Passing]) -> Storage:
    return backend[0]


@pytest.fixture
def passing(backend: tuple[Storage, Passing]) -> Passing:
    return backend[1]
