"""Stopped at every step that writes, a run goes on to the same heads."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from observer_core.shared.clock import ManualClock
from observer_core.shared.errors import StorageFull
from observer_core.storage.journals import Journals
from observer_core.storage.local import Durability, LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.recovery import recover
from observer_core.storage.verify import verify
from tests.support.faults import Crash, FaultyStorage, When, variants
from tests.support.toys import Chain, worker_name

UNDISTURBED = Chain(MemoryStorage()).run()
Reopen = Callable[[], Storage]


@pytest.fixture(params=["memory", "full", "grouped"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Reopen]:
    """Gives, for a number, what opens that one of many stores, again and again."""

    def make(number: int) -> Reopen:
        if request.param == "memory":
            memory = MemoryStorage()
            return lambda: memory
        root = tmp_path / str(number)
        durability: Durability = "full" if request.param == "full" else "normal"
        return lambda: LocalStorage(root, durability=durability)

    return make


def attempt(storage: Storage, grouped: bool = False) -> dict[str, tuple[int, str]] | None:
    """One start of the process: the heads, or None when it was stopped."""
    try:
        journals = Journals(storage, worker=worker_name())
        assert recover(journals, ManualClock(1)) == []
        return Chain(storage, journals=journals, grouped=grouped).run()
    except Crash:
        return None


def steps_of_a_run() -> list[str]:
    counting = FaultyStorage(MemoryStorage())
    Chain(counting).run()
    return counting.steps


def test_the_run_writes_in_every_way_and_is_more_than_one_batch() -> None:
    steps = steps_of_a_run()
    assert set(steps) >= {"append", "blob", "commit", "checkpoint"}
    assert len(steps) > 60
    assert all(position > 5 for position, _ in UNDISTURBED.values())


def test_stopped_at_every_step_the_next_start_ends_at_the_same_heads(
    store: Callable[[int], Reopen], request: pytest.FixtureRequest
) -> None:
    grouped = request.node.callspec.params["store"] == "grouped"
    plain = FaultyStorage(store(0)())
    assert Chain(plain, grouped=grouped).run() == UNDISTURBED
    plain.close()
    for number, (at, when) in enumerate(variants(plain.steps), 1):
        reopen = store(number)
        first = reopen()
        assert attempt(FaultyStorage(first, at=at, when=when), grouped) is None
        second = reopen()
        assert attempt(second, grouped) == UNDISTURBED, f"stopped {when} step {at} ({plain.steps[at - 1]})"
        for name in UNDISTURBED:
            assert verify(Journals(second, worker="reader").open(name)).fault is None
        first.close()
        second.close()


def test_stopped_again_and_again_at_random_steps_it_still_ends_at_the_same_heads() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        memory = MemoryStorage()
        starts = 0
        while True:
            starts += 1
            at, when = chance.randrange(1, 30 + starts), chance.choice(("before", "torn", "after"))
            if (found := attempt(FaultyStorage(memory, at=at, when=when))) is not None:
                break
            assert starts < 200
        assert found == UNDISTURBED, f"seed {seed}"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("grouped", [False, True])
def test_a_step_that_fails_or_only_seems_to_is_done_again_by_the_same_process(
    tmp_path: Path, when: When, grouped: bool
) -> None:
    """No restart: the caller only tries again, with the same writer and workers."""
    counting = FaultyStorage(MemoryStorage())
    Chain(counting, grouped=grouped).run()
    for at in range(1, len(counting.steps) + 1):
        inner = LocalStorage(tmp_path / str(at), durability="normal") if grouped else MemoryStorage()
        faulty = FaultyStorage(inner, at=at, when=when, error=lambda: StorageFull("injected"))
        try:
            chain = Chain(faulty, grouped=grouped)
        except StorageFull:
            chain = Chain(faulty, grouped=grouped)
        try:
            found = chain.run()
        except StorageFull:
            found = chain.run()
        assert found == UNDISTURBED, f"failed {when} step {at} ({faulty.steps[at - 1]})"
        inner.close()
