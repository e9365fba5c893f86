"""Retention stopped at any step, by a crash or a power failure, or met by others: the next run finishes it.

Whatever happens, a reader finds either the records or the base behind them, nothing goes that is kept, and
each removal was recorded before it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from observer_core.maintenance.fsck import check
from observer_core.runtime.retaining import Retention
from observer_core.shared.errors import Conflict
from observer_core.shared.records import Note
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.recovery import OPERATIONS
from tests.support.ageing import Market, copied
from tests.support.faults import Between, Crash, FaultyStorage, variants
from tests.support.power import Power, PoweredStorage

DAYS = 5
RULES = {
    "rule": [
        {"journals": "snapshots.one", "keep": "1d"}, {"journals": "events.*", "keep": "1d"},
        {"journals": "*", "keep": "forever"},
    ],
    "decisions_floor": "1d",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MemoryStorage:
    storage = MemoryStorage()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("observer_core.storage.archive.parquet._LEVEL", 3)
        market = open_on(storage, tmp_path_factory.mktemp("made"), hour=0)
        market.live(DAYS * 24)
        market.observer.close()
        market.packed()
    return storage


def open_on(storage: Storage, root: Path, hour: int = DAYS * 24) -> Market:
    return Market(root, storage, hour, retention=RULES)


def retain(storage: Storage, root: Path) -> None:
    open_on(storage, root).retain()


def seen(storage: Storage, root: Path) -> tuple[Any, dict[str, Any]]:
    """Heads, and what every decision and answer follows from; all chains are whole."""
    market = open_on(storage, root)
    market.verified()
    return market.digest(), market.explained()


def recorded(market: Market) -> dict[str, list[tuple[int, int]]]:
    """What was said to go, by journal."""
    found: dict[str, list[tuple[int, int]]] = {}
    for entry in market.journals.open(OPERATIONS).scan():
        if isinstance(entry.record, Note) and entry.record.body.get("act") == "pruned":
            body = entry.record.body
            found.setdefault(body["journal"], []).append((body["first"], body["last"]))
    return found


def test_stopped_at_any_step_the_next_run_finishes_it(made: MemoryStorage, tmp_path: Path) -> None:
    heads, explained = seen(copied(made), tmp_path)
    whole = copied(made)
    retain(whole, tmp_path)
    done = open_on(whole, tmp_path)
    assert {name for name, base in done.bases().items() if base} == {"snapshots.one", "events.live"}
    archives = len(list(whole.archives.list()))
    counting = FaultyStorage(copied(made))
    retain(counting, tmp_path)
    assert set(counting.steps) >= {"append", "blob", "commit", "delete"}
    for at, when in variants(counting.steps):
        storage = copied(made)
        with suppress(Crash):
            retain(FaultyStorage(storage, at=at, when=when), tmp_path)
        stopped = open_on(storage, tmp_path)
        assert stopped.digest() == heads, (at, when)
        stopped.verified()
        for name, base in stopped.bases().items():
            assert base in (0, done.bases()[name]), (at, when)
            assert not base or recorded(stopped)[name] == [(1, base)], (at, when)
        retain(storage, tmp_path)
        again = open_on(storage, tmp_path)
        assert again.bases() == done.bases(), (at, when)
        assert recorded(again) == recorded(done), (at, when)  # nothing twice
        assert len(list(storage.archives.list())) == archives, (at, when)
        assert list(check(again.journals)) == [], (at, when)
    now_heads, now_explained = seen(storage, tmp_path)
    assert now_heads == heads
    assert now_explained == {ref: explained[ref] for ref in now_explained}


def test_a_long_cut_goes_in_steps_and_any_of_them_is_a_beginning(
    made: MemoryStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observer_core.retention.cutting._STRETCHES", 1)
    plain = copied(made)
    retain(plain, tmp_path)
    ends = [last for _, last in recorded(open_on(plain, tmp_path))["snapshots.one"]]
    assert len(ends) > 2
    counting = FaultyStorage(copied(made))
    retain(counting, tmp_path)
    bases = set()
    for at, when in variants(counting.steps)[::3]:
        storage = copied(made)
        with suppress(Crash):
            retain(FaultyStorage(storage, at=at, when=when), tmp_path)
        stopped = open_on(storage, tmp_path)
        stopped.verified()
        bases.add(stopped.bases()["snapshots.one"])
        retain(storage, tmp_path)
        assert open_on(storage, tmp_path).bases() == open_on(plain, tmp_path).bases(), (at, when)
    assert bases == {0, *ends}


def test_two_at_once_and_the_packer_and_the_writer_between_any_two_steps(
    made: MemoryStorage, tmp_path: Path
) -> None:
    heads, explained = seen(copied(made), tmp_path)
    others: list[Callable[[Storage], object]] = [
        lambda storage: Retention.run(open_on(storage, tmp_path).retention()),
        lambda storage: open_on(storage, tmp_path).packed(),
    ]
    counting = FaultyStorage(copied(made))
    retain(counting, tmp_path)
    for other in others:
        for turn in range(0, len(counting.steps), 4):
            storage = copied(made)

            def act(step: int, turn: int = turn, storage: Storage = storage, other: Any = other) -> None:
                if step == turn:
                    with suppress(Conflict):
                        other(storage)

            open_on(Between(storage, act), tmp_path).retention().run()
            retain(storage, tmp_path)
            now_heads, now_explained = seen(storage, tmp_path)
            assert now_heads == heads, turn
            assert now_explained == {ref: explained[ref] for ref in now_explained}, turn
            market = open_on(storage, tmp_path)
            assert list(check(market.journals)) == [], turn
            assert all(len(set(spans)) == len(spans) for spans in recorded(market).values()), turn


def test_the_writer_goes_on_meanwhile(made: MemoryStorage, tmp_path: Path) -> None:
    plain = open_on(copied(made), tmp_path)
    plain.live(12)
    counting = FaultyStorage(copied(made))
    retain(counting, tmp_path)
    for turn in range(0, len(counting.steps), 5):
        storage = copied(made)
        writer = open_on(storage, tmp_path)

        def act(step: int, turn: int = turn, writer: Market = writer) -> None:
            if step == turn:
                writer.live(12)

        open_on(Between(storage, act), tmp_path).retention().run()
        retain(storage, tmp_path)
        assert writer.digest() == plain.digest(), turn
        writer.live(2)
        writer.verified()
        writer.replayed()


def spread(storage: MemoryStorage, target: Storage) -> None:
    """The same content on another backend."""
    for name, data in storage.segments.data.items():
        target.segments.append(name, bytes(data))
    for port in ("blobs", "archives"):
        for name, blob in getattr(storage, port).data.items():
            getattr(target, port).put(name, blob)
    from observer_core.storage.ports import Op

    for partition, rows in storage.tables.data.items():
        ops = [Op("upsert", row.key, row.value) for row in rows.values()]
        for start in range(0, len(ops), 50):
            target.tables.commit(partition, ops[start : start + 50])
    target.segments.sync()
    target.checkpoint()


@pytest.mark.parametrize("backend", ["local-full", "local-normal", "azure"])
def test_on_every_backend(
    made: MemoryStorage, tmp_path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    storage: Storage
    if backend == "azure":
        storage = request.getfixturevalue("azure")
    else:
        storage = LocalStorage(tmp_path / "store", durability="full" if "full" in backend else "normal")
    spread(made, storage)
    heads, explained = seen(storage, tmp_path)
    retain(storage, tmp_path)
    plain = copied(made)
    retain(plain, tmp_path)
    market = open_on(storage, tmp_path)
    assert market.bases() == open_on(plain, tmp_path).bases()
    now_heads, now_explained = seen(storage, tmp_path)
    assert now_heads == heads
    assert now_explained == {ref: explained[ref] for ref in now_explained}
    market.replayed()
    assert list(check(market.journals)) == []
    if backend != "azure":
        storage.close()


def test_after_a_power_failure_at_any_moment_nothing_is_missing(made: MemoryStorage, tmp_path: Path) -> None:
    plain = copied(made)
    heads, explained = seen(plain, tmp_path)
    counting = FaultyStorage(copied(made))
    retain(counting, tmp_path)
    reached = set()
    begun = tmp_path / "begun"
    storage = LocalStorage(begun, durability="normal")
    spread(made, storage)
    storage.close()
    for seed, at in enumerate([*range(1, len(counting.steps) + 1)] * 2):
        chance = random.Random(seed)
        root, after = tmp_path / f"{seed}", tmp_path / f"{seed}.after"
        shutil.copytree(begun, root)
        with pytest.MonkeyPatch.context() as patch:
            powered = PoweredStorage(root, durability="normal")
            powered.power = Power(patch, root)
            with suppress(Crash):
                retain(FaultyStorage(powered, at=at, when="after"), tmp_path / "root")
            powered.power.fail(after, chance, log_synced=seed < len(counting.steps))
            powered._database.close()
        shutil.rmtree(root)
        survived = LocalStorage(after, durability="normal")
        market = open_on(survived, tmp_path / "root")
        market.verified()
        assert market.digest() == heads, seed
        for name, base in market.bases().items():
            assert not base or recorded(market)[name] == [(1, base)], seed
        reached.add(market.bases()["snapshots.one"] > 0)
        retain(survived, tmp_path / "root")
        again = open_on(survived, tmp_path / "root")
        again.verified()
        assert again.digest() == heads, seed
        assert [item for item in check(again.journals) if not item.harmless] == [], seed
        if seed % 8 == 0:
            now = again.explained()
            assert now == {ref: explained[ref] for ref in now}, seed
        survived.close()
        shutil.rmtree(after)
    assert reached == {True, False}
