"""The power fails while somebody packs or sweeps: what was durable before is there afterwards, all of it."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.maintenance.compaction import pack_closed, sweep
from observer_core.maintenance.fsck import check
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Snapshot
from observer_core.storage.archive.packs import forget_unpacked
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import Durability, LocalStorage
from observer_core.storage.ports import Storage
from observer_core.storage.recovery import recover
from observer_core.storage.rows import InputRange
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage
from tests.support.power import Power, PoweredStorage
from tests.support.toys import START_NS, note
from tests.unit.maintenance.test_compaction import CONFIG, EVENTS, SNAPSHOTS, run_once

HALF_HOUR = 1800
Lines = dict[str, list[bytes]]


def write(storage: Storage, first: int, hours: int) -> Journals:
    """Snapshots every half hour, and events that are made from them, some hours from none."""
    journals = Journals(storage, worker=f"w{first}")
    snapshots, events = journals.open(SNAPSHOTS, "d"), journals.open(EVENTS, "d")
    for step in range(2 * first, 2 * hours):
        at = START_NS + step * HALF_HOUR * SECOND
        fields = {"price": np.array([100 + step / 4])}
        snapshot = Snapshot(source="x", event_ns=at, ingest_ns=at, subjects=("A",), fields=fields)
        done = snapshots.head().position
        snapshots.commit(snapshots.head(), Commit(records=[snapshot] * (1 + step % 2), through_ns=at))
        position = snapshots.head().position
        events.commit(events.head(), Commit(
            records=[note(step * HALF_HOUR, n=step)] if step % 3 else [], through_ns=at,
            inputs=[InputRange(SNAPSHOTS, done + 1, position)],
            checkpoints={SNAPSHOTS: {"position": position}},
        ))  # fmt: skip
    return journals


def lines(storage: Storage) -> Lines:
    forget_unpacked()
    journals = Journals(storage, worker="r")
    return {
        name: [line for _, found in journals.open(name).raw() for line in found]
        for name in (SNAPSHOTS, EVENTS)
    }


def failing(
    root: Path, after: Path, seed: int, durability: Durability, act: Callable[[PoweredStorage, Any], None],
    *, rows_survive: bool = False,
) -> Lines:  # fmt: skip
    """A store that is half packed; `act` goes on until the power fails. What it held at last."""
    chance = random.Random(seed)
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        storage = PoweredStorage(root, durability=durability)
        storage.power = Power(patch, root)
        write(storage, 0, 3).sync()
        run_once(storage)
        act(storage, chance)
        held = lines(storage)
        storage.power.fail(after, chance, log_synced=rows_survive or durability == "full")
        storage._database.close()
    return held


def restarted(after: Path, durability: Durability) -> tuple[Lines, Storage]:
    storage = LocalStorage(after, durability=durability)
    recover(Journals(storage, worker="recovers"), ManualClock(1))
    found = lines(storage)
    journals = Journals(storage, worker="v")
    assert all(verify(journals.open(name)).fault is None for name in found)
    assert [finding for finding in check(journals) if not finding.harmless] == []
    return found, storage


def goes_on(storage: Storage, found: Lines) -> None:
    run_once(storage)
    assert lines(storage) == found
    write(storage, 20, 22)
    assert verify(Journals(storage, worker="v").open(SNAPSHOTS)).fault is None
    storage.close()


def some_steps(storage: Storage, chance: random.Random) -> None:
    faulty = FaultyStorage(storage, at=chance.randint(1, 50), when=chance.choice(("before", "after")))
    with suppress(Crash):
        run_once(faulty)


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_at_any_step_nothing_that_was_durable_is_lost(tmp_path: Path, durability: Durability) -> None:
    def act(storage: PoweredStorage, chance: random.Random) -> None:
        write(storage, 13, 15).sync()
        some_steps(storage, chance)

    for seed in range(25):
        after = tmp_path / f"{seed}.after"
        held = failing(tmp_path / str(seed), after, seed, durability, act)
        found, storage = restarted(after, durability)
        assert found == held, f"seed {seed}"
        goes_on(storage, found)


@pytest.mark.parametrize("seed", range(12))
def test_what_was_not_durable_is_cut_and_never_within_what_was_packed(tmp_path: Path, seed: int) -> None:
    def act(storage: PoweredStorage, chance: random.Random) -> None:
        write(storage, 13, 15)
        if seed % 2:
            some_steps(storage, chance)
        else:
            list(pack_closed(Journals(storage, worker="packs"), SNAPSHOTS, CONFIG))

    held = failing(tmp_path / "a", tmp_path / "b", seed, "normal", act, rows_survive=True)
    found, storage = restarted(tmp_path / "b", "normal")
    assert all(held[name][: len(found[name])] == found[name] for name in held)
    goes_on(storage, found)


def test_a_reader_that_is_in_the_way_of_sqlite_s_checkpoints_costs_nothing(tmp_path: Path) -> None:
    def act(storage: PoweredStorage, chance: random.Random) -> None:
        reader = sqlite3.connect(storage.root / "journal.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM rows").fetchall()
        write(storage, 13, 15).sync()
        run_once(storage)
        reader.close()

    for seed in range(5):
        after = tmp_path / f"{seed}.after"
        held = failing(tmp_path / str(seed), after, seed, "normal", act)
        found, storage = restarted(after, "normal")
        storage.close()
        assert found == held, f"seed {seed}"


def test_who_sweeps_what_another_one_has_just_packed_makes_that_durable_first(tmp_path: Path) -> None:
    def act(storage: PoweredStorage, chance: random.Random) -> None:
        write(storage, 13, 15).sync()
        Journals(storage, worker="sweeps").sync()
        for name in (SNAPSHOTS, EVENTS):
            list(pack_closed(Journals(storage, worker="packs"), name, CONFIG))
        for name in (SNAPSHOTS, EVENTS):
            sweep(Journals(storage, worker="sweeps"), name)

    for seed in range(10):
        after = tmp_path / f"{seed}.after"
        held = failing(tmp_path / str(seed), after, seed, "normal", act)
        found, storage = restarted(after, "normal")
        storage.close()
        assert found == held, f"seed {seed}"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.storage.archive.parquet._LEVEL", 1)
