"""On every backend packing leaves what is read as it is, and two that pack at once lose nothing."""

from __future__ import annotations

from contextlib import suppress
from threading import Barrier, Thread
from typing import Any

import pytest

from observer_core.shared.errors import Conflict
from observer_core.storage.archive.packs import Packs
from observer_core.storage.ports import Storage
from tests.unit.maintenance.test_compaction import (
    EVENTS,
    SNAPSHOTS,
    everything,
    pack_all,
    run_once,
    sweep_all,
    write,
)


def seen(storage: Storage) -> dict[str, Any]:
    return {name: everything(storage, name) for name in (SNAPSHOTS, EVENTS)}


def test_a_reader_sees_the_same_before_between_and_after(storage: Storage) -> None:
    write(storage, 0, 14)
    before = seen(storage)
    assert pack_all(storage)
    assert seen(storage) == before
    sweep_all(storage)
    assert seen(storage) == before
    assert len(list(storage.segments.list("snapshots/source=x/"))) == 1
    assert list(storage.archives.list("snapshots/source=x/"))
    assert pack_all(storage) == []


def test_rounds_at_the_same_time_pack_each_commit_once(storage: Storage) -> None:
    write(storage, 0, 10)
    before = seen(storage)
    gate = Barrier(3)

    def work() -> None:
        gate.wait()
        for _ in range(3):
            with suppress(Conflict):
                run_once(storage)

    threads = [Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run_once(storage)
    assert seen(storage) == before
    for name in (SNAPSHOTS, EVENTS):
        packs = Packs(storage, name).all()
        assert [pack.first_seq for pack in packs] == [1, *(pack.seq + 1 for pack in packs[:-1])]
        named = {file.name for pack in packs for file in pack.files.values()}
        kind, _, rest = name.partition(".")
        assert set(storage.archives.list(f"{kind}/source={rest}/")) == named


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 1)
