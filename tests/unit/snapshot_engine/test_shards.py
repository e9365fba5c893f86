"""Shards: which part a subject belongs to, for ever, and that each part gets what is its own."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.shared.ids import shard_of
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.shards import rows_of, shard_names, split
from observer_core.snapshot_engine.source import Collection, History, unavailable

SUBJECTS = tuple(f"S{number}/USDT" for number in range(6000))
NAMES = ("BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "BTC/KRW", "ADA/USDT", "비트코인", "A", "")


# ---------------------------------------------------------------------- the hash

GOLDEN = {
    1: [0, 0, 0, 0, 0, 0, 0, 0, 0],
    2: [1, 1, 0, 0, 1, 0, 1, 0, 1],
    3: [1, 1, 0, 0, 1, 2, 1, 0, 2],
    16: [4, 1, 0, 0, 14, 15, 14, 7, 5],
    100: [45, 35, 29, 81, 74, 15, 14, 76, 22],
}


@pytest.mark.parametrize("count", GOLDEN)
def test_a_subject_belongs_where_it_always_did(count: int) -> None:
    """Journals are laid out by it: another number here is a subject that changes its journal."""
    assert [shard_of(name, count) for name in NAMES] == GOLDEN[count]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 99])
def test_one_shard_more_takes_its_share_and_moves_nothing_else(count: int) -> None:
    moved = [name for name in SUBJECTS if shard_of(name, count) != shard_of(name, count + 1)]
    assert {shard_of(name, count + 1) for name in moved} == {count}
    expected = len(SUBJECTS) / (count + 1)
    assert abs(len(moved) - expected) < 5 * expected**0.5


@pytest.mark.parametrize("count", [2, 5, 16])
def test_shards_are_about_equally_large(count: int) -> None:
    sizes = Counter(shard_of(name, count) for name in SUBJECTS)
    expected = len(SUBJECTS) / count
    assert set(sizes) == set(range(count))
    assert all(abs(size - expected) < 5 * expected**0.5 for size in sizes.values())


@given(st.text(max_size=20).filter(lambda text: text.isprintable()), st.integers(1, 100))
def test_every_subject_has_one_shard(name: str, count: int) -> None:
    found = shard_of(name, count)
    assert 0 <= found < count
    assert shard_of(name, 1) == 0
    assert shard_of(name, count + 1) in (found, count)


def test_parts_have_numbers_and_one_part_keeps_the_name() -> None:
    assert shard_names("web", 1) == ("web",)
    assert shard_names("web", 3) == ("web-0", "web-1", "web-2")


# ---------------------------------------------------------------------- splitting


def snapshot(time: int = 5, subjects: tuple[str, ...] = NAMES[:7]) -> Snapshot:
    count = len(subjects)
    texts = {name: f"{place}.00000000000000000001" for place, name in enumerate(subjects)}
    return Snapshot(
        source="web", event_ns=time, ingest_ns=time + 1, subjects=subjects,
        fields={"price": np.arange(count, dtype=float), "size": 10.0 + np.arange(count)},
        quality={"*": ("closed_session",), **({subjects[0]: ("stale",)} if subjects else {})},
        decimals={"price": texts} if texts else {},
        status="partial", error="page 2: timeout", origin={"page": 1},
    )  # fmt: skip


def assert_is_part(part: Snapshot, whole: Snapshot, number: int, count: int) -> None:
    """All rows of that part, in order, with all that belongs to them, and nothing else."""
    own = tuple(name for name in whole.subjects if shard_of(name, count) == number)
    places = [whole.subjects.index(name) for name in own]
    assert (part.source, part.subjects) == (f"web-{number}", own)
    assert (part.event_ns, part.ingest_ns) == (whole.event_ns, whole.ingest_ns)
    assert (part.status, part.error, part.origin) == (whole.status, whole.error, whole.origin)
    assert {name: column.tolist() for name, column in part.fields.items()} == {
        name: column[places].tolist() for name, column in whole.fields.items()
    }
    assert part.quality == {name: flags for name, flags in whole.quality.items() if name in (*own, "*")}
    found = dict(part.decimals.get("price", {}))
    assert found == {name: whole.decimals["price"][name] for name in own}
    assert bool(part.decimals) == bool(own)


def test_one_part_is_the_whole() -> None:
    collection = Collection("web", 6, snapshot(), {"x": 1})
    assert split(collection, 1) == [collection]


@pytest.mark.parametrize("count", [2, 3, 4, 40])
def test_a_snapshot_is_split_by_subject(count: int) -> None:
    whole = snapshot()
    parts = split(Collection("web", 6, whole, {"due_ns": 6}), count)
    assert [part.source for part in parts] == list(shard_names("web", count))
    for number, part in enumerate(parts):
        assert (part.now_ns, part.origin) == (6, {"due_ns": 6})
        assert isinstance(part.collected, Snapshot)
        assert_is_part(part.collected, whole, number, count)
    assert sum(len(part.collected.subjects) for part in parts) == len(whole.subjects)  # type: ignore[union-attr]


def test_moments_gone_by_are_split_one_by_one() -> None:
    moments = (snapshot(1), snapshot(2, NAMES[3:]), snapshot(3, ()))
    for number, part in enumerate(split(Collection("web", 6, History(moments), {}), 3)):
        assert isinstance(part.collected, History)
        assert len(part.collected.snapshots) == 3
        for found, whole in zip(part.collected.snapshots, moments, strict=True):
            assert_is_part(found, whole, number, 3)


def test_of_no_moments_every_part_has_none() -> None:
    parts = split(Collection("web", 6, History(()), {}), 3)
    assert [(part.source, part.collected) for part in parts] == [(f"web-{n}", History(())) for n in range(3)]


def test_a_failure_is_one_of_every_part() -> None:
    parts = split(Collection("web", 6, unavailable("web", 6, "503"), {"breaker": {"failures": 1}}), 3)
    assert len(parts) == 3
    for number, part in enumerate(parts):
        assert part.failed
        assert part.origin == {"breaker": {"failures": 1}}
        assert isinstance(part.collected, Snapshot)
        assert (part.collected.source, part.collected.error) == (f"web-{number}", "503")


def test_all_rows_are_the_snapshot_itself() -> None:
    whole = snapshot()
    assert rows_of(whole, list(range(len(whole.subjects)))) is whole


def test_what_is_taken_out_does_not_change_what_it_was_taken_from() -> None:
    whole = snapshot()
    part = rows_of(whole, [1, 3])
    part.fields["price"][0] = -1.0
    assert whole.fields["price"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


@given(st.lists(st.sampled_from(SUBJECTS), unique=True, max_size=12), st.integers(2, 9))
def test_no_row_is_lost_and_none_is_doubled(subjects: list[str], count: int) -> None:
    whole = snapshot(5, tuple(subjects))
    for number, part in enumerate(split(Collection("web", 6, whole, {}), count)):
        assert isinstance(part.collected, Snapshot)
        assert_is_part(part.collected, whole, number, count)
