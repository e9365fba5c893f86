"""A backend joins the contract by a constructor here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observer_core.shared.clock import Clock, ManualClock
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage

BACKENDS: dict[str, Callable[[Path, Clock], Storage]] = {
    "memory": lambda root, clock: MemoryStorage(clock),
    "local-full": lambda root, clock: LocalStorage(root, durability="full", clock=clock),
    "local-normal": lambda root, clock: LocalStorage(root, durability="normal", clock=clock),
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000)


@pytest.fixture(params=sorted(BACKENDS))
def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Storage]:
    storage = BACKENDS[request.param](tmp_path / "store", clock)
    yield storage
    storage.close()
