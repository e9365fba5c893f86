# ruff: noqa: PT012 - what is left by an error is the subject here
"""Commits that become durable together, on the backend that can."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_core.shared.errors import Conflict, StorageUnavailable
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.ports import Op
from observer_core.storage.rows import Head
from observer_core.storage.verify import verify
from tests.support.toys import note


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(tmp_path)
    yield storage
    storage.close()


def add(journals: Journals, seconds: float, name: str = "commands.x") -> Head:
    journal = journals.open(name, "d")
    return journal.commit(journal.head(), Commit(records=[note(seconds)]))


def stored(storage: LocalStorage, name: str = "commands.x") -> int:
    """What another process sees."""
    other = LocalStorage(storage.root)
    try:
        return Journals(other, worker="other").open(name).head().position
    finally:
        other.close()


def test_others_see_a_group_when_it_is_left_and_its_own_thread_at_once(storage: LocalStorage) -> None:
    journals = Journals(storage, worker="w")
    add(journals, 0)
    with storage.group():
        add(journals, 1)
        with storage.group():
            add(journals, 2)
        assert journals.open("commands.x").head().position == 3
        assert stored(storage) == 1
    assert stored(storage) == 3


def test_a_group_is_synced_once_for_each_segment(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = Journals(storage, worker="w")
    for name in ("commands.x", "commands.y"):
        add(journals, 0, name)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    with storage.group():
        for second in (1, 2, 3):
            for name in ("commands.x", "commands.y"):
                add(journals, second, name)
        assert synced == []
    assert len(synced) == len(set(synced)) == 2


def test_a_group_whose_bytes_cannot_be_synced_has_not_happened(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = Journals(storage, worker="w")
    add(journals, 0)

    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(StorageUnavailable, match="Input/output error"), storage.group():
        add(journals, 1)
        monkeypatch.setattr(os, "fdatasync", fail)
    monkeypatch.undo()
    journals.forget()
    assert stored(storage) == journals.open("commands.x").head().position == 1
    add(journals, 2)
    assert verify(journals.open("commands.x")).fault is None


def test_an_error_leaves_what_was_committed_before_it_and_a_death_leaves_nothing(
    storage: LocalStorage,
) -> None:
    journals = Journals(storage, worker="w")
    stale = add(journals, 0)
    with pytest.raises(Conflict), storage.group():
        add(journals, 1)
        journals.open("commands.x").commit(stale, Commit(records=[note(2)]))
    assert stored(storage) == 2
    with pytest.raises(KeyboardInterrupt), storage.group():
        add(journals, 3)
        raise KeyboardInterrupt
    journals.forget()
    assert stored(storage) == journals.open("commands.x").head().position == 2


def test_what_is_settled_in_a_group_survives_the_death_of_its_process(storage: LocalStorage) -> None:
    """An attempt is counted before it is made: inside a group as well."""
    journals = Journals(storage, worker="w")
    add(journals, 0)
    with pytest.raises(KeyboardInterrupt), storage.group():
        add(journals, 1)
        journals.open("commands.x").record_attempt("i.x", {"first": 1, "last": 1, "attempts": 1})
        add(journals, 2)
        raise KeyboardInterrupt
    assert stored(storage) == 2
    assert journals.open("commands.x").attempt("i.x") == {"first": 1, "last": 1, "attempts": 1}
    storage.settle()


def test_a_thread_that_waits_to_commit_does_not_stop_the_one_in_the_group(storage: LocalStorage) -> None:
    journals = Journals(storage, worker="w")
    add(journals, 0)
    journal = journals.open("commands.x")
    base = journal.head()
    done: list[int] = []

    def push() -> None:
        done.append(journal.commit(base, Commit(records=[note(1)])).position)

    thread = threading.Thread(target=push)
    with storage.group():
        add(journals, 0, "commands.y")
        thread.start()
        time.sleep(0.1)
        started = time.monotonic()
        assert journal.head().position == 1
        assert [entry.position for entry in journal.read(0)] == [1]
        assert time.monotonic() - started < 2
        assert done == []
    thread.join(10)
    assert done == [2]


def test_a_reader_of_another_thread_does_not_take_back_what_a_group_knows(storage: LocalStorage) -> None:
    journals = Journals(storage, worker="w")
    add(journals, 0)
    journal = journals.open("commands.x")
    seen: list[tuple[int, dict[str, object]]] = []

    def look() -> None:
        head, views = journal.consistent_views()
        seen.append((head.position, views))

    with storage.group():
        journal.commit(journal.head(), Commit(records=[note(1)], views={"a": 1}))
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)
        assert seen == [(1, {})], "head and views of one and the same commit"
        assert journal.head(refresh=False).position == 2
        assert [entry.position for entry in journal.read(1)] == [2]


def test_what_is_not_committed_yet_is_not_said_to_be_durable(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "normal", durability="normal")
    journals = Journals(storage, worker="w")
    add(journals, 0)
    begun = threading.Event()

    def sync() -> None:
        begun.set()
        journals.sync()

    thread = threading.Thread(target=sync)
    with pytest.raises(KeyboardInterrupt), storage.group():
        add(journals, 1)
        thread.start()
        begun.wait()
        time.sleep(0.1)
        raise KeyboardInterrupt
    thread.join(10)
    assert journals.durable_position("commands.x") == 1
    storage.close()


def test_rows_of_a_group_are_read_and_conditioned_as_if_they_were_written(storage: LocalStorage) -> None:
    tables = storage.tables
    tables.commit("p", [Op("insert", "old", b"0")])
    with storage.group():
        assert tables.commit("p", [Op("insert", "a", b"1"), Op("upsert", "old", b"1")])[0] == "1"
        assert tables.commit("p", [Op("replace", "a", b"2", "1")]) == ["2"]
        stale, absent = Op("replace", "a", b"x", "1"), Op("replace", "b", b"x", "1")
        for refused in (Op("insert", "a", b"x"), stale, absent):
            with pytest.raises(Conflict, match=refused.key):
                tables.commit("p", [Op("upsert", "c", b"never"), refused])
        assert tables.get("p", "c") is None
        found = tables.get("p", "old")
        assert found is not None
        assert (found.value, found.etag) == (b"1", "2")
        tables.commit("p", [Op("delete", "a"), Op("upsert", "z", b"9")])
        assert tables.get("p", "a") is None
        assert [row.key for row in tables.query("p", "", "~")] == ["old", "z"]
        assert tables.commit("p", [Op("insert", "a", b"3")]) == ["1"]
    assert [(row.key, row.value) for row in tables.query("p", "", "~")] == [
        ("a", b"3"), ("old", b"1"), ("z", b"9"),
    ]  # fmt: skip


def test_a_settling_that_fails_is_made_up_for_when_the_group_ends(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals, synced, failing = Journals(storage, worker="w"), [], [True]
    real = os.fdatasync

    def sync(descriptor: int) -> None:
        if failing.pop() if failing else False:
            raise OSError(5, "input/output error")
        synced.append(descriptor)
        real(descriptor)

    with storage.group():
        add(journals, 1)
        monkeypatch.setattr(os, "fdatasync", sync)
        with pytest.raises(StorageUnavailable):
            storage.settle()
        assert not synced
    assert len(synced) == 1
    assert stored(storage) == 1
