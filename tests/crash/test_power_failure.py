"""Unsynced writes are dropped: `normal` is cut back and goes on, `full` has lost nothing."""

from __future__ import annotations

import contextlib
import random
import shutil
from pathlib import Path

import pytest

from observer_core.shared.clock import ManualClock
from observer_core.storage import recovery
from observer_core.storage.journals import Journals
from observer_core.storage.local import Durability, LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.recovery import OPERATIONS, Cut, recover
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage
from tests.support.power import Power, PoweredStorage
from tests.support.toys import Chain, worker_name

UNDISTURBED = Chain(MemoryStorage()).run()
STEPS = 90
"""About how many writing steps the run has."""


def open_powered(root: Path, durability: Durability, patch: pytest.MonkeyPatch) -> PoweredStorage:
    root.mkdir(exist_ok=True)
    power = Power(patch, root)
    storage = PoweredStorage(root, durability=durability)
    storage.power = power
    return storage


def start(storage: LocalStorage) -> tuple[Journals, list[Cut]]:
    journals = Journals(storage, worker=worker_name())
    return journals, recover(journals, ManualClock(1))


def run_until_power_fails(
    root: Path, after: Path, chance: random.Random, durability: Durability, patch: pytest.MonkeyPatch
) -> list[Cut]:
    """One life of the process; gives what its start had to cut."""
    storage = open_powered(root, durability, patch)
    _, cuts = start(storage)
    faulty = FaultyStorage(
        storage, at=chance.randint(1, STEPS), when=chance.choice(("before", "torn", "after"))
    )
    with contextlib.suppress(Crash):
        Chain(faulty, grouped=chance.random() < 0.5).run()
    storage.power.fail(after, chance, log_synced=durability == "full")
    storage._database.close()
    return cuts


def finish(root: Path) -> tuple[dict[str, tuple[int, str]], list[Cut]]:
    storage = LocalStorage(root, durability="normal")
    journals, cuts = start(storage)
    found = Chain(storage, journals=journals).run()
    for name in found:
        assert verify(journals.open(name)).fault is None
    storage.close()
    return found, cuts


def test_in_normal_the_run_is_cut_back_and_ends_at_the_same_heads(tmp_path: Path) -> None:
    cut: list[Cut] = []
    for seed in range(60):
        chance = random.Random(seed)
        for life in range(3):
            root, after = tmp_path / f"{seed}.{life}", tmp_path / f"{seed}.{life + 1}"
            with pytest.MonkeyPatch.context() as patch:
                cut += run_until_power_fails(root, after, chance, "normal", patch)
        found, cuts = finish(after)
        assert found == UNDISTURBED, f"seed {seed}"
        cut += cuts
    assert {item.journal for item in cut} >= set(UNDISTURBED), "the simulation must lose something everywhere"
    assert any("input" in item.reason for item in cut)


def test_in_full_whatever_was_returned_from_survives(tmp_path: Path) -> None:
    for seed in range(20):
        chance = random.Random(seed)
        root, after = tmp_path / f"{seed}", tmp_path / f"{seed}.after"
        with pytest.MonkeyPatch.context() as patch:
            run_until_power_fails(root, after, chance, "full", patch)
            before = LocalStorage(root, durability="full")
            committed = {name: Journals(before, worker="r").open(name).head() for name in UNDISTURBED}
            before.close()
        survived = LocalStorage(after, durability="full")
        for name, head in committed.items():
            journal = Journals(survived, worker="r").open(name)
            assert journal.head() == head
            assert verify(journal).fault is None
        survived.close()
        assert finish(after) == (UNDISTURBED, []), f"seed {seed}"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which each of the three journals has to be cut."""
    tmp_path = tmp_path_factory.mktemp("damaged")
    for seed in range(200):
        chance = random.Random(seed)
        root, after, probe = tmp_path / f"d{seed}", tmp_path / f"d{seed}.after", tmp_path / f"d{seed}.probe"
        with pytest.MonkeyPatch.context() as patch:
            run_until_power_fails(root, after, chance, "normal", patch)
        shutil.copytree(after, probe)
        if len(finish(probe)[1]) == 3:
            return after
    raise AssertionError("no seed damages all journals")


def test_a_recovery_stopped_at_any_step_is_finished_by_the_next(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "ROWS_PER_TRANSACTION", 1)  # so that a cut takes many
    number = 0
    while True:
        number += 1
        for when in ("before", "torn", "after"):
            root = tmp_path / f"{number}.{when}"
            shutil.copytree(damaged, root)
            storage = LocalStorage(root, durability="normal")
            faulty = FaultyStorage(storage, at=number, when=when)
            try:
                recover(Journals(faulty, worker=worker_name()), ManualClock(1))
            except Crash:
                storage.close()
            else:
                storage.close()
                assert number > 15
                return
            assert finish(root)[0] == UNDISTURBED, f"recovery stopped {when} step {number}"


def test_a_cut_is_recorded_and_the_next_start_has_nothing_to_cut(damaged: Path, tmp_path: Path) -> None:
    shutil.copytree(damaged, tmp_path / "x")
    storage = LocalStorage(tmp_path / "x", durability="normal")
    journals, cuts = start(storage)
    notes = [entry.record for entry in journals.open(OPERATIONS).scan()]
    assert [(n.kind, n.body["journal"], n.body["was"], n.body["now"]) for n in notes] == [
        ("recovery", cut.journal, cut.was, cut.now) for cut in cuts
    ]
    assert all(cut.now < cut.was for cut in cuts)
    for cut in cuts:
        assert journals.open(cut.journal).head().position == cut.now
    assert start(storage)[1] == []
    storage.close()


def test_an_undamaged_store_is_not_cut(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "x", durability="normal")
    chain = Chain(storage)
    while chain.step():
        assert recover(Journals(storage, worker=worker_name()), ManualClock(1)) == []
    assert chain.finish() == UNDISTURBED
    storage.close()


def test_what_a_killed_process_left_unsynced_is_not_called_durable_before_it_is(tmp_path: Path) -> None:
    """The next process syncs the first one's segments before it vouches for what stands on them."""
    with pytest.MonkeyPatch.context() as patch:
        killed = open_powered(tmp_path / "x", "normal", patch)
        chain = Chain(killed)
        chain.step()
        second = PoweredStorage(tmp_path / "x", durability="normal")
        second.power = killed.power
        journals, cuts = start(second)
        assert cuts == []
        for name in journals.names():
            journals.open(name).head()
        journals.sync()
        position = journals.durable_position("snapshots.in")
        assert position == journals.open("snapshots.in").head().position > 0
        killed.power.fail(tmp_path / "y", random.Random(1))
        killed._database.close()
        second._database.close()
    assert finish(tmp_path / "y") == (UNDISTURBED, [])
