"""Too little space: below the limit, and until a good deal more than that is free again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.safety.config import SafetyConfig
from observer_core.safety.free_space import FreeSpace, free_bytes
from observer_core.safety.guards import SAFE_MODE, Guards
from observer_core.shared.errors import StorageFull

MIB = 1 << 20


def test_it_is_short_below_the_limit_until_a_quarter_more_is_free(tmp_path: Path) -> None:
    free = [300]
    space = FreeSpace(tmp_path, 256, lambda _: free[0])
    seen = []
    for free[0] in (256, 255, 256, 319, 320, 300, 255):
        seen.append(space.is_short())
    assert seen == [False, True, True, True, False, False, True]
    assert space.free == 255


@given(st.lists(st.integers(0, 600), min_size=1))
def test_it_is_never_short_with_enough_and_always_with_too_little(frees: list[int]) -> None:
    given_ = iter(frees)
    space = FreeSpace(Path(), 256, lambda _: next(given_))
    for free in frees:
        short = space.is_short()
        assert short or free >= 256
        assert not short or free < 320


def test_without_a_limit_it_is_never_short_and_the_disk_is_not_asked(tmp_path: Path) -> None:
    space = FreeSpace(tmp_path, 0, lambda _: 0)
    assert not space.is_short()
    assert space.free is None


def test_a_disk_that_cannot_be_asked_leaves_things_as_they_were(tmp_path: Path) -> None:
    answers = [100, None, 400, None]

    def free(_: Path) -> int:
        answer = answers.pop(0)
        if answer is None:
            raise OSError("no such device")
        return answer

    space = FreeSpace(tmp_path, 256, free)
    assert [space.is_short() for _ in range(4)] == [True, True, False, False]


def test_a_folder_that_is_not_there_yet_is_on_the_disk_of_the_one_above(tmp_path: Path) -> None:
    assert abs(free_bytes(tmp_path / "not" / "yet") - free_bytes(tmp_path)) < 1 << 30


def test_the_reason_names_what_is_free_and_the_limits(tmp_path: Path) -> None:
    guards = Guards(SafetyConfig(), tmp_path)
    guards.space = FreeSpace(tmp_path, 256 * MIB, lambda _: 12 * MIB + 5)
    why = (
        "only 12MiB are free on the disk of the data folder: below 256MiB ([safety] least_free) nothing is "
        "taken in until 320MiB are free again"
    )
    assert guards.short_of_space() == guards.withheld() == why
    with pytest.raises(StorageFull, match="only 12MiB are free"):
        guards.require_space()
    guards.space = FreeSpace(tmp_path, 256 * MIB, lambda _: 400 * MIB)
    guards.require_space()
    assert guards.withheld() is None


def test_what_is_kept_on_no_disk_is_never_short_of_one() -> None:
    guards = Guards(SafetyConfig(), None)
    guards.require_space()
    assert guards.short_of_space() is None


def test_in_safe_mode_everything_is_withheld(tmp_path: Path) -> None:
    assert Guards(SafetyConfig(safe_mode=True), tmp_path).withheld() == SAFE_MODE
