"""One market of twelve days, packed; each test has a copy of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observer_core.storage.memory import MemoryStorage
from tests.support.ageing import HOURS, Market, copied

Aged = Callable[..., Market]


@pytest.fixture(scope="session")
def aged_storage(tmp_path_factory: pytest.TempPathFactory) -> MemoryStorage:
    storage = MemoryStorage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)
        market = Market(tmp_path_factory.mktemp("aged"), storage)
        market.live(HOURS)
        market.observer.close()
        market.packed()
    return storage


@pytest.fixture
def aged(aged_storage: MemoryStorage, tmp_path: Path) -> Aged:
    """The market, as `settings` say; on `storage`, or a copy of the one that was made."""

    def make(storage: Any = None, **settings: Any) -> Market:
        return Market(tmp_path / "root", storage or copied(aged_storage), HOURS, **settings)

    return make


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)
