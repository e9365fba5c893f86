"""What every backend promises to the journal."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from observer_core.shared.errors import Conflict, LimitExceeded, NotFound, StorageCorrupt, StorageUnavailable
from observer_core.storage.local import LocalStorage
from observer_core.storage.ports import (
    APPEND_BYTES,
    MESSAGE_BYTES,
    ROW_BYTES,
    ROWS_PER_TRANSACTION,
    Op,
    Storage,
)
from tests.support.passing import Passing

NAME = "snapshots/source=x/date=2018-04-05/00.ndjson"


def together(count: int, act: Callable[[int], object]) -> list[object]:
    """`act(0..count-1)` at the same time; results or the `Conflict`s raised."""
    barrier = Barrier(count)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return act(number)
        except Conflict as conflict:
            return conflict

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# ---------------------------------------------------------------------- segments


def test_an_append_gives_its_offset_and_the_bytes_are_read_back(storage: Storage) -> None:
    assert storage.segments.append(NAME, b"one\n") == 0
    assert storage.segments.append(NAME, b"three\n") == 4
    assert storage.segments.read(NAME, 0, 10) == b"one\nthree\n"
    assert storage.segments.read(NAME, 4, 5) == b"three"
    assert storage.segments.size(NAME) == 10
    storage.segments.sync()
    storage.segments.sync([NAME, "snapshots/source=x/none.ndjson"])
    assert storage.segments.read(NAME, 9, 1) == b"\n"


def test_bytes_that_are_not_there_are_an_error_never_a_short_answer(storage: Storage) -> None:
    storage.segments.append(NAME, b"one\n")
    with pytest.raises(StorageCorrupt, match=r"ends at (byte )?4.*5"):
        storage.segments.read(NAME, 2, 3)
    with pytest.raises(StorageCorrupt, match=r"ends at .*10"):
        storage.segments.read(NAME, 9, 1)
    assert storage.segments.read(NAME, 4, 0) == b""
    for missing in (storage.segments.size, lambda name: storage.segments.read(name, 0, 1)):
        with pytest.raises(NotFound, match="none"):
            missing("snapshots/source=x/none.ndjson")


def test_segments_are_listed_in_order_and_by_prefix(storage: Storage) -> None:
    names = ["a/b/02.ndjson", "a/b/01.ndjson", "a/c/01.ndjson", "b/01.ndjson", "a/b/01~1.ndjson"]
    for name in names:
        storage.segments.append(name, b"x\n")
    assert list(storage.segments.list()) == sorted(names)
    assert list(storage.segments.list("a/")) == sorted(n for n in names if n.startswith("a/"))
    assert list(storage.segments.list("a/b/01")) == ["a/b/01.ndjson", "a/b/01~1.ndjson"]
    assert list(storage.segments.list("none/")) == []


def test_a_deleted_segment_is_gone_and_may_begin_anew(storage: Storage) -> None:
    storage.segments.append(NAME, b"one\n")
    storage.segments.delete(NAME)
    storage.segments.delete(NAME)
    assert list(storage.segments.list()) == []
    assert storage.segments.append(NAME, b"two\n") == 0


def test_an_append_beyond_the_limit_is_refused(storage: Storage) -> None:
    assert storage.segments.append(NAME, bytes(APPEND_BYTES)) == 0
    with pytest.raises(LimitExceeded, match=str(APPEND_BYTES)):
        storage.segments.append(NAME, bytes(APPEND_BYTES + 1))
    assert storage.segments.size(NAME) == APPEND_BYTES


def test_appends_at_the_same_time_get_ranges_of_their_own(storage: Storage) -> None:
    parts = [b"%d" % number * (1000 + number) + b"\n" for number in range(6)]

    def act(number: int) -> list[int]:
        return [storage.segments.append(NAME, parts[number]) for _ in range(20)]

    found = together(6, act)
    for number, offsets in enumerate(found):
        assert isinstance(offsets, list)
        for offset in offsets:
            assert storage.segments.read(NAME, offset, len(parts[number])) == parts[number]
    assert storage.segments.size(NAME) == 20 * sum(map(len, parts))


def test_more_segments_than_open_files(storage: Storage) -> None:
    for turn in range(2):
        for number in range(100):
            assert storage.segments.append(f"a/{number}.ndjson", b"x\n") == 2 * turn
    storage.segments.sync()
    assert all(storage.segments.read(f"a/{number}.ndjson", 0, 4) == b"x\nx\n" for number in range(100))


# ---------------------------------------------------------------------- blobs


def test_blobs_are_whole_and_listed_by_prefix(storage: Storage) -> None:
    for name in ("p/b", "p/a", "q/a"):
        storage.blobs.put(name, name.encode() * 1000)
    storage.blobs.put("p/a", b"p/a" * 1000)
    assert storage.blobs.get("p/a") == b"p/a" * 1000
    assert list(storage.blobs.list("p/")) == ["p/a", "p/b"]
    storage.blobs.delete("p/a")
    storage.blobs.delete("p/a")
    with pytest.raises(NotFound, match="p/a"):
        storage.blobs.get("p/a")
    assert list(storage.blobs.list()) == ["p/b", "q/a"]


# ---------------------------------------------------------------------- tables


def put(storage: Storage, key: str, value: bytes = b"v") -> str:
    return storage.tables.commit("p", [Op("upsert", key, value)])[0]


def test_archives_stand_beside_segments_and_neither_lists_the_other(storage: Storage) -> None:
    names = ["kind/source=a/date=2018-04-05/1.commits.parquet", "kind/source=a/date=2018-04-05/2.parquet"]
    storage.segments.append("kind/source=a/date=2018-04-05/00.ndjson", b"{}\n")
    storage.archives.put("kind/source=a-b/date=2018-04-05/1.commits.parquet", b"other")
    for name in reversed(names):
        storage.archives.put(name, name.encode())
    assert list(storage.archives.list("kind/source=a/")) == names
    assert list(storage.archives.list("kind/source=a/date=2018-04-05/1")) == names[:1]
    assert list(storage.segments.list("kind/source=a/")) == ["kind/source=a/date=2018-04-05/00.ndjson"]
    assert storage.archives.get(names[1]) == names[1].encode()
    storage.archives.delete(names[0])
    storage.archives.delete(names[0])
    assert list(storage.archives.list("kind/source=a/")) == names[1:]
    with pytest.raises(NotFound):
        storage.archives.get(names[0])
    assert list(storage.archives.list("none/source=a/")) == []


def test_insert_wants_the_key_absent(storage: Storage) -> None:
    (etag,) = storage.tables.commit("p", [Op("insert", "k", b"1")])
    row = storage.tables.get("p", "k")
    assert row is not None
    assert (row.key, row.value, row.etag) == ("k", b"1", etag)
    with pytest.raises(Conflict) as found:
        storage.tables.commit("p", [Op("insert", "k", b"2")])
    assert (found.value.partition, found.value.key) == ("p", "k")
    assert storage.tables.get("p", "k") == row


def test_replace_wants_the_row_as_it_was_known(storage: Storage) -> None:
    first = put(storage, "k", b"1")
    (second,) = storage.tables.commit("p", [Op("replace", "k", b"2", first)])
    assert second != first
    for key, etag in (("k", first), ("none", first)):
        with pytest.raises(Conflict, match=key):
            storage.tables.commit("p", [Op("replace", key, b"3", etag)])
    row = storage.tables.get("p", "k")
    assert row is not None
    assert (row.value, row.etag) == (b"2", second)


def test_upsert_and_delete_take_whatever_is_there(storage: Storage) -> None:
    storage.tables.commit("p", [Op("delete", "k")])
    first = put(storage, "k", b"1")
    second = put(storage, "k", b"2")
    assert first != second
    row = storage.tables.get("p", "k")
    assert row is not None
    assert (row.value, row.etag) == (b"2", second)
    storage.tables.commit("p", [Op("delete", "k")])
    assert storage.tables.get("p", "k") is None


@pytest.mark.parametrize("place", [0, 1, 4])
def test_a_transaction_happens_whole_or_not_at_all(storage: Storage, place: int) -> None:
    etag = put(storage, "old", b"1")
    put(storage, "gone")
    good = [
        Op("insert", "new", b"2"),
        Op("replace", "old", b"2", etag),
        Op("delete", "gone"),
        Op("upsert", "any", b"2"),
    ]
    put(storage, "taken")
    before = storage.tables.query("p", "", "~")
    with pytest.raises(Conflict, match="taken"):
        storage.tables.commit("p", [*good[:place], Op("insert", "taken", b"2"), *good[place:]])
    assert storage.tables.query("p", "", "~") == before
    etags = storage.tables.commit("p", good)
    rows = {row.key: row.etag for row in storage.tables.query("p", "", "~")}
    assert rows.keys() == {"any", "new", "old", "taken"}
    assert [rows[key] for key in ("new", "old")] == etags[:2]
    assert rows["any"] == etags[3]


def test_partitions_know_nothing_of_each_other(storage: Storage) -> None:
    storage.tables.commit("p", [Op("insert", "k", b"p")])
    storage.tables.commit("q", [Op("insert", "k", b"q")])
    storage.tables.commit("p", [Op("delete", "k")])
    assert [row.value for row in storage.tables.query("q", "", "~")] == [b"q"]
    assert storage.tables.get("p", "k") is None
    assert storage.tables.query("none", "", "~") == []


def test_a_query_is_half_open_in_code_point_order_and_limited(storage: Storage) -> None:
    keys = ["r.00", "r.01", "r.1", "R.9", "r.é", "r.10", "s", "r.01 "]
    for key in keys:
        put(storage, key)
    found = [row.key for row in storage.tables.query("p", "r.01", "r.1")]
    assert found == [
        "r.01",
        "r.01 ",
    ]
    assert [row.key for row in storage.tables.query("p", "", "\U0010ffff")] == sorted(keys)
    assert [row.key for row in storage.tables.query("p", "r.01", "s", 3)] == ["r.01", "r.01 ", "r.1"]
    assert storage.tables.query("p", "s", "r") == []
    assert storage.tables.query("p", "", "~", 0) == []


def test_a_key_may_hold_whatever_is_not_forbidden(storage: Storage) -> None:
    for key in ("a%b", "a%2Fb", "a'b", 'a"b', " a ", "a+b&c=d", "a~b;c:d,e", "([{a}])", "@$*|<>^`", "서울😀"):
        (etag,) = storage.tables.commit(key, [Op("insert", key, b"1")])
        storage.tables.commit(key, [Op("replace", key, b"2", etag)])
        row = storage.tables.get(key, key)
        assert row is not None
        assert storage.tables.query(key, key, key + " ") == [row]
        assert (row.key, row.value) == (key, b"2")
        with pytest.raises(Conflict) as found:
            storage.tables.commit(key, [Op("upsert", "other"), Op("insert", key)])
        assert (found.value.partition, found.value.key) == (key, key)
        storage.tables.commit(key, [Op("delete", key)])
        assert storage.tables.query(key, "", "\U0010ffff") == []


def test_limits_hold_that_the_strictest_backend_has(storage: Storage) -> None:
    rows = [Op("upsert", f"k{n}", b"v") for n in range(ROWS_PER_TRANSACTION + 1)]
    assert len(storage.tables.commit("p", rows[:-1])) == ROWS_PER_TRANSACTION
    big = bytes(ROW_BYTES)
    storage.tables.commit("p", [Op("upsert", "big", big)])
    row = storage.tables.get("p", "big")
    assert row is not None
    assert row.value == big
    storage.tables.commit("p", [Op("upsert", f"big{n}", big) for n in range(4)])
    refused = [
        ([], "0 rows"),
        (rows, "101 rows"),
        ([Op("upsert", "k", big + b"x")], str(ROW_BYTES + 1)),
        ([Op("upsert", f"k{n}", big) for n in range(5)], "bytes"),
        ([Op("upsert", "k", b"1"), Op("delete", "k")], "twice"),
        *(
            ([Op("upsert", key, b"1")], "not possible")
            for key in ("a/b", "a\\b", "a#", "a?", "", "a\n", "a" * 513)
        ),
    ]
    before = storage.tables.query("p", "", "~")
    for ops, why in refused:
        with pytest.raises(LimitExceeded, match=why):
            storage.tables.commit("p", ops)
    with pytest.raises(LimitExceeded, match="partition"):
        storage.tables.commit("a/b", [Op("upsert", "k", b"1")])
    assert storage.tables.query("p", "", "~") == before


def test_of_six_racing_writers_exactly_one_wins_every_time(storage: Storage) -> None:
    etag = put(storage, "head", b"0")
    for turn in range(15):
        known = etag

        def act(number: int, known: str = known, turn: int = turn) -> str:
            head = Op("replace", "head", b"%d" % number, known)
            return storage.tables.commit("p", [head, Op("insert", f"r.{turn}", b"%d" % number)])[0]

        found = together(6, act)
        (winner,) = [number for number, result in enumerate(found) if isinstance(result, str)]
        head, row = storage.tables.get("p", "head"), storage.tables.get("p", f"r.{turn}")
        assert head is not None
        assert row is not None
        assert head.value == row.value == b"%d" % winner
        assert head.etag == found[winner]
        etag = head.etag


def test_of_six_first_writers_exactly_one_wins(storage: Storage) -> None:
    found = together(6, lambda number: storage.tables.commit("p", [Op("insert", "head", b"%d" % number)]))
    assert sum(isinstance(result, list) for result in found) == 1


# ---------------------------------------------------------------------- queues


def test_a_message_is_hidden_while_it_is_worked_on_and_comes_again(
    storage: Storage, passing: Passing
) -> None:
    storage.queues.send("hints", b"one")
    (first,) = storage.queues.receive("hints", visibility_ns=passing.while_ns)
    assert (first.body, first.dequeue_count) == (b"one", 1)
    passing.almost()
    assert storage.queues.receive("hints") == []
    assert storage.queues.length("hints") == 1
    passing.over()
    (second,) = storage.queues.receive("hints", visibility_ns=passing.while_ns)
    assert (second.id, second.body, second.dequeue_count) == (first.id, b"one", 2)


def test_only_the_newest_receipt_deletes(storage: Storage, passing: Passing) -> None:
    storage.queues.send("hints", b"one")
    (stale,) = storage.queues.receive("hints", visibility_ns=passing.while_ns)
    passing.almost()
    passing.over()
    (newest,) = storage.queues.receive("hints", visibility_ns=passing.while_ns)
    storage.queues.delete("hints", stale)
    assert storage.queues.length("hints") == 1
    storage.queues.delete("other", newest)
    assert storage.queues.length("hints") == 1
    storage.queues.delete("hints", newest)
    storage.queues.delete("hints", newest)
    assert storage.queues.length("hints") == 0


def test_messages_come_in_numbers_after_their_delay_and_to_one_receiver(
    storage: Storage, passing: Passing
) -> None:
    for number in range(4):
        storage.queues.send("hints", b"%d" % number)
    storage.queues.send("other", b"x")
    long = 1000 * passing.while_ns
    assert len(storage.queues.receive("hints", count=3, visibility_ns=long)) == 3
    assert len(storage.queues.receive("hints", count=3, visibility_ns=long)) == 1
    storage.queues.send("hints", b"4", delay_ns=passing.while_ns)
    assert storage.queues.receive("hints", count=3) == []
    passing.almost()
    passing.over()
    assert [message.body for message in storage.queues.receive("hints")] == [b"4"]
    assert storage.queues.length("hints") == 5
    assert storage.queues.length("none-yet") == 0


def test_six_receivers_never_get_the_same_message(storage: Storage) -> None:
    for number in range(30):
        storage.queues.send("hints", b"%d" % number)
    found = together(6, lambda _: [m.body for _ in range(5) for m in storage.queues.receive("hints")])
    bodies = [body for part in found if isinstance(part, list) for body in part]
    assert sorted(bodies) == sorted(b"%d" % number for number in range(30))


def test_a_message_has_a_size_and_a_queue_a_name(storage: Storage) -> None:
    storage.queues.send("hints", bytes(MESSAGE_BYTES))
    with pytest.raises(LimitExceeded, match="content in a blob"):
        storage.queues.send("hints", bytes(MESSAGE_BYTES + 1))
    for name in ("ab", "Hints", "a--b", "-ab", "ab-", "a.b", "a" * 64):
        with pytest.raises(LimitExceeded, match="queue name"):
            storage.queues.send(name, b"x")
    assert storage.queues.length("hints") == 1


# ---------------------------------------------------------------------- what only files have


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_half_a_line_left_by_a_crash_is_ended_before_the_next_append(tmp_path: Path, durability: str) -> None:
    def start() -> LocalStorage:
        return LocalStorage(tmp_path, durability=durability)  # type: ignore[arg-type]

    first = start()
    first.segments.append(NAME, b'{"a":1}\n{"b"')
    first.close()
    second = start()
    assert second.segments.append(NAME, b'{"c":1}\n') == 13
    assert (tmp_path / NAME).read_bytes() == b'{"a":1}\n{"b"\n{"c":1}\n'
    second.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_what_is_closed_is_found_again(tmp_path: Path, durability: str) -> None:
    storage = LocalStorage(tmp_path / "deep" / "er", durability=durability)  # type: ignore[arg-type]
    storage.segments.append(NAME, b"one\n")
    storage.blobs.put("a/b/c", b"blob")
    etag = storage.tables.commit("p", [Op("insert", "k", b"1")])[0]
    storage.queues.send("hints", b"m")
    storage.checkpoint()
    storage.close()
    again = LocalStorage(tmp_path / "deep" / "er", durability=durability)  # type: ignore[arg-type]
    assert again.segments.read(NAME, 0, 4) == b"one\n"
    assert again.blobs.get("a/b/c") == b"blob"
    again.tables.commit("p", [Op("replace", "k", b"2", etag)])
    assert again.queues.length("hints") == 1
    again.close()


def test_a_damaged_index_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageCorrupt, match=r"journal\.db.*restore it from a backup"):
        LocalStorage(tmp_path)


def test_a_sync_that_failed_is_owed_until_it_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = LocalStorage(tmp_path, durability="normal")
    storage.segments.append(NAME, b"one\n")
    synced: list[str] = []

    def sync(descriptor: int, fail: bool) -> None:
        if fail:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fdatasync", lambda descriptor: sync(descriptor, fail=True))
    with pytest.raises(StorageUnavailable, match="sync segments: Input/output error"):
        storage.segments.sync()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: sync(descriptor, fail=False))
    storage.segments.sync()
    storage.segments.sync()
    assert synced == [str(tmp_path / NAME)]
    storage.close()
