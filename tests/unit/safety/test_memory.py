"""Too much memory: what can be read again is dropped, and a process that stays too large has to go."""

from __future__ import annotations

from pathlib import Path

import pytest

from observer_core.safety.config import SafetyConfig
from observer_core.safety.guards import Guards
from observer_core.safety.memory import LOOK_SECONDS, PATIENCE_SECONDS, Memory, cgroup_limit

LIMIT = 100


class Process:
    """Memory in use and a clock, both in hand."""

    def __init__(self, limit: int | None = LIMIT) -> None:
        self.used, self.now = 50, 1000.0
        self.asked = 0
        self.memory = Memory(limit, self._resident, lambda: self.now)

    def _resident(self) -> int:
        self.asked += 1
        return self.used

    def look(self, used: int, after: float = LOOK_SECONDS) -> bool:
        self.used = used
        self.now += after
        return self.memory.look()


class Cache:
    def __init__(self) -> None:
        self.dropped = 0

    def drop(self) -> None:
        self.dropped += 1


def test_it_looks_now_and_then_and_drops_only_what_is_too_much() -> None:
    it, cache = Process(), Cache()
    it.memory.droppable(cache.drop)
    assert not it.look(LIMIT)
    assert not it.look(LIMIT + 1, after=LOOK_SECONDS / 2)
    assert (it.asked, cache.dropped, it.memory.is_short) == (1, 0, False)
    assert it.look(LIMIT + 1)
    assert (cache.dropped, it.memory.is_short, it.memory.is_over) == (1, True, False)
    assert not it.look(LIMIT)
    assert (cache.dropped, it.memory.is_short) == (1, False)


def test_only_what_stays_too_large_for_the_whole_time_has_to_go() -> None:
    it = Process()
    it.look(LIMIT + 1)
    it.look(LIMIT + 1, after=PATIENCE_SECONDS - 1)
    assert not it.memory.is_over
    it.look(LIMIT)
    it.look(LIMIT + 1, after=PATIENCE_SECONDS)
    assert not it.memory.is_over
    it.look(LIMIT + 1, after=PATIENCE_SECONDS)
    assert it.memory.is_over


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_nothing_is_too_much_and_nobody_asks(limit: int | None) -> None:
    it = Process(limit)
    assert not it.look(1 << 60)
    assert it.asked == 0


def test_what_is_no_more_is_not_asked_to_drop_and_not_kept_alive() -> None:
    it, cache = Process(), Cache()
    dropped: list[str] = []
    it.memory.droppable(cache.drop)
    it.memory.droppable(lambda: dropped.append("function"))
    del cache
    it.memory.drop()
    assert dropped == ["function"]


def group(root: Path, cgroup: str, **limits: str) -> Path:
    """A root folder with a process' groups, and the limits of some of them."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for place, text in limits.items():
        file = root / "sys/fs/cgroup" / place.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def test_version_2_the_least_limit_of_the_group_and_those_above_it_counts(tmp_path: Path) -> None:
    root = group(
        tmp_path, "0::/app.slice/observer.service\n",
        **{
            "app.slice__observer.service__memory.max": "max", "app.slice__memory.max": "1000",
            "memory.max": "2000",
        },
    )  # fmt: skip
    assert cgroup_limit(root) == 1000


def test_in_a_container_the_group_stands_at_the_top(tmp_path: Path) -> None:
    assert cgroup_limit(group(tmp_path, "0::/kubepods/pod1\n", **{"memory.max": "536870912"})) == 536870912


def test_version_1_and_its_number_for_no_limit(tmp_path: Path) -> None:
    cgroup = "9:cpu:/\n4:memory,hugetlb:/docker/abc\n0::/\n"
    limits = {
        "memory__docker__abc__memory.limit_in_bytes": "700",
        "memory__memory.limit_in_bytes": "9223372036854771712",
    }
    assert cgroup_limit(group(tmp_path / "one", cgroup, **limits)) == 700
    limits["memory__docker__abc__memory.limit_in_bytes"] = "9223372036854771712"
    assert cgroup_limit(group(tmp_path / "two", cgroup, **limits)) is None


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_limit(tmp_path) is None


def test_the_default_is_nine_tenths_of_what_the_group_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("observer_core.safety.guards.cgroup_limit", lambda: 1000)
    assert Guards(SafetyConfig(), None).memory.limit == 900
    assert Guards(SafetyConfig(most_memory="1KiB"), None).memory.limit == 1024
    assert Guards(SafetyConfig(most_memory=0), None).memory.limit is None
    monkeypatch.setattr("observer_core.safety.guards.cgroup_limit", lambda: None)
    assert Guards(SafetyConfig(), None).memory.limit is None
