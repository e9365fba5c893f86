"""Two workers on one journal: what one has committed is taken out of what the other holds back."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.runtime.engine import Worker
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import InputRange, beyond, joined
from tests.support.toys import FIRST, SOURCE, State, Toy, feed, heads, toy_worker, worker_name


def process(storage: Any) -> Journals:
    return Journals(storage, worker=worker_name())


def expected_heads(values: list[int]) -> dict[str, tuple[int, str]]:
    storage = MemoryStorage()
    feed(process(storage), values)
    toy_worker(process(storage)).pump(flush=True)
    return heads(process(storage))


class TestAfterATwin:
    """What a twin has committed is taken out of what is pending: no state is loaded again for it."""

    @staticmethod
    def workers(fed: list[int]) -> tuple[MemoryStorage, Worker[State], Worker[State], Toy]:
        storage, stage = MemoryStorage(), Toy("first")
        feed(process(storage), [1])
        first = toy_worker(process(storage), stage=stage)
        first.pump(flush=True)
        twin = toy_worker(process(storage))
        twin.pump(flush=True)
        feed(process(storage), fed)
        return storage, first, twin, stage

    def test_a_silent_part_of_what_is_pending_is_committed_already(self) -> None:
        storage, first, twin, stage = self.workers([1])
        first.pump()
        twin.pump(flush=True)
        feed(process(storage), [1, 4])
        assert first.pump(refresh=(SOURCE,)) == 1
        assert (first.conflicts, stage.calls) == (1, 4)
        assert heads(process(storage)) == expected_heads([1, 1, 1, 4])

    def test_the_twin_has_gone_further(self) -> None:
        storage, first, twin, stage = self.workers([1])
        first.pump()
        feed(process(storage), [1, 4])
        twin.pump(flush=True)
        feed(process(storage), [2])
        assert first.pump(refresh=False, flush=True) == 0
        assert first.conflicts == 1
        assert first.pump(flush=True) == 0
        assert stage.calls == 5
        assert heads(process(storage)) == expected_heads([1, 1, 1, 4, 2])

    def test_a_twin_that_wrote_what_ours_would_not_have_written_costs_the_state(self) -> None:
        storage, first, twin, stage = self.workers([1])
        first.pump()
        state = first._state
        state.total = -3  # ours has gone astray
        feed(process(storage), [4])
        twin.pump(flush=True)
        first.pump(refresh=False, flush=True)
        first.pump(flush=True)
        assert heads(process(storage)) == expected_heads([1, 1, 4])
        assert first._state is not state
        assert stage.calls > 3

    def test_what_is_pending_and_silent_needs_no_state_for_a_silent_twin(self) -> None:
        """Both commit their time lazily, and neither has found anything."""
        storage, first, twin, stage = self.workers([1])
        first.pump()
        twin.pump(flush=True)
        feed(process(storage), [1])
        state = first._state
        first.pump(refresh=(SOURCE,), flush=True)
        assert (first.conflicts, stage.calls, first._state is state) == (1, 3, True)
        consumed = [item for row in process(storage).open(FIRST).rows() for item in row.inputs]
        assert [(item.first, item.last) for item in consumed] == [(1, 1), (2, 2), (3, 3)]


def ranges(*spans: tuple[str, int, int]) -> list[InputRange]:
    return [InputRange(*span) for span in spans]


@pytest.mark.parametrize(
    ("all_of", "start", "left"),
    [
        ([("a", 1, 5)], [], [("a", 1, 5)]),
        ([("a", 1, 5)], [("a", 1, 5)], []),
        ([("a", 1, 5)], [("a", 1, 3)], [("a", 4, 5)]),
        ([("a", 1, 3)], [("a", 1, 5)], None),
        ([("a", 1, 5)], [("b", 1, 3)], None),
        ([("a", 2, 5)], [("a", 1, 3)], None),
        ([("a", 1, 2), ("b", 1, 4), ("a", 3, 3)], [("a", 1, 2), ("b", 1, 1)], [("b", 2, 4), ("a", 3, 3)]),
        ([("a", 1, 2), ("b", 1, 4)], [("a", 1, 1), ("b", 1, 1)], None),
        ([("a", 1, 2)], [("a", 1, 2), ("b", 1, 1)], None),
        ([], [("a", 1, 1)], None),
    ],
)
def test_what_one_order_holds_beyond_another(all_of: Any, start: Any, left: Any) -> None:
    assert beyond(ranges(*all_of), ranges(*start)) == (None if left is None else ranges(*left))


def test_neighbouring_ranges_are_one_unless_one_was_skipped() -> None:
    parts = [InputRange("a", 1, 2), InputRange("a", 3, 3), InputRange("a", 4, 4, True), InputRange("b", 1, 1)]
    assert joined(parts) == [InputRange("a", 1, 3), *parts[2:]]
