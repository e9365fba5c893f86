"""Pages: whatever their limit, together they are the one long list."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.acts.ground import Ground, Unknown
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading import listing
from observer_core.runtime.reading.filters import KINDS, Filter
from observer_core.runtime.reading.lines import Budget, Line
from observer_core.runtime.reading.listing import Cursor, Page, page, ranges
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock, format_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import Note, PatternRecord
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

T0 = 1_700_000_000 * SECOND
SOURCES = ("a", "b", "c")
PATTERNS = KINDS["patterns"]


class Store:
    """Patterns of three sources, and how they are listed."""

    def __init__(self, root: Path = Path()) -> None:
        self.journals = Journals(MemoryStorage(), worker="w")
        config = load(root=root)
        self.ground = Ground(self.journals, config, Gate(self.journals, config, ManualClock(T0)))
        for source in SOURCES:
            self.journals.open(f"snapshots.{source}", "other" if source == "c" else "live")
            self.journals.open(f"patterns.{source}", "other" if source == "c" else "live")
        self.count = 0

    def add(self, source: str, *times: int, pattern: str = "spike") -> None:
        journal = self.journals.open(f"patterns.{source}")
        head = journal.head()
        records = []
        for at in times:
            self.count += 1
            records.append(
                PatternRecord(
                    id=f"{self.count}", pattern=pattern, series=((source, "BTC", "price"),), score=0.5,
                    severity="info", direction="none", tags=(), detector="x", evidence={}, snapshot="s@1",
                    event_ns=1, time_ns=max(head.time_ns, T0 + at),
                )
            )  # fmt: skip
        journal.commit(head, Commit(records=sorted(records, key=lambda record: record.time_ns)))

    def page(self, limit: int, cursor: str | None = None, budget: Budget | None = None, **asked: Any) -> Page:
        times = {name: asked.pop(name, None) for name in ("since", "until")}
        wanted = Filter(**asked)
        after = None if cursor is None else Cursor.of(cursor)
        found = ranges(self.ground, PATTERNS, wanted, times["since"], times["until"], after)
        return page(found, PATTERNS.sieve(wanted), limit, budget)

    def all(self, **asked: Any) -> list[Line]:
        found = self.page(10**6, **asked)
        assert found.next is None
        return found.lines


COMMITS = st.lists(
    st.tuples(st.sampled_from(SOURCES), st.lists(st.integers(0, 6), min_size=1, max_size=5)), max_size=25
)


def filled(commits: list[tuple[str, list[int]]]) -> Store:
    store = Store()
    for number, (source, times) in enumerate(commits):
        store.add(source, *times, pattern="spike" if number % 3 else "drift")
    return store


@given(
    COMMITS, st.lists(st.integers(1, 7), min_size=1), st.integers(1, 9), st.sampled_from([None, "drift", "*"])
)
@settings(max_examples=150, deadline=None)
def test_pages_are_the_one_long_list_whatever_their_limit_and_however_little_they_look_at(
    commits: Any, limits: list[int], looked: int, what: str | None
) -> None:
    store = filled(commits)
    whole = store.all(what=what)
    assert [(-line.time_ns, line.journal, -line.position) for line in whole] == sorted(
        (-line.time_ns, line.journal, -line.position) for line in whole
    )
    found: list[Line] = []
    cursor, number = None, 0
    while True:
        limit = limits[number % len(limits)]
        one = store.page(limit, cursor, Budget(looked, 10**9), what=what)
        assert len(one.lines) <= limit
        found += one.lines
        if one.next is None:
            break
        cursor, number = one.next.text(), number + 1
    assert found == whole


@given(COMMITS, COMMITS, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_what_was_there_at_first_comes_once_and_in_order_while_records_are_committed(
    commits: Any, later: Any, limit: int, chance: random.Random
) -> None:
    store = filled(commits)
    whole = store.all()
    found: list[Line] = []
    cursor = None
    while True:
        one = store.page(limit, cursor)
        found += one.lines
        if one.next is None:
            break
        cursor = one.next.text()
        if later and chance.random() < 0.5:
            source, times = later.pop()
            store.add(source, *times)
    assert len(found) == len({line.ref for line in found})
    there = {line.ref for line in whole}
    assert [line for line in found if line.ref in there] == whole


def test_newer_commits_change_nothing_of_the_pages_behind() -> None:
    store = filled([("a", [1, 2]), ("b", [1, 2]), ("a", [2, 3])])
    whole, first = store.all(), store.page(2)
    store.add("a", 9)
    store.add("b", 9)
    assert first.next is not None
    assert [*first.lines, *store.page(99, first.next.text()).lines] == whole


def test_times_cut_pages_too() -> None:
    store = filled([("a", [1, 2, 3, 4]), ("b", [2, 3])])
    between = {"since": format_time(T0 + 2), "until": format_time(T0 + 3)}
    whole = store.all(**between)
    assert [line.time_ns - T0 for line in whole] == [3, 3, 2, 2]
    first = store.page(3, **between)
    assert first.next is not None
    assert [*first.lines, *store.page(3, first.next.text(), **between).lines] == whole


def test_a_span_counts_back_from_the_newest_record_of_each_domain() -> None:
    store = filled([("a", [1, 5 * SECOND]), ("c", [1, 9 * SECOND])])
    assert [line.ref for line in store.all(since="1s")] == ["patterns.c@2", "patterns.a@2"]
    assert [line.ref for line in store.all(until="1s")] == ["patterns.a@1", "patterns.c@1"]


def test_domain_and_source_choose_the_journals() -> None:
    store = filled([("a", [1]), ("b", [1]), ("c", [1])])
    assert [line.ref for line in store.all(domain="live")] == ["patterns.a@1", "patterns.b@1"]
    assert [line.ref for line in store.all(source="b")] == ["patterns.b@1"]
    with pytest.raises(Unknown, match="there is no domain 'mars'; known are live, other"):
        store.all(domain="mars")
    with pytest.raises(Unknown, match="there is no source 'nix'; known are a, b, c"):
        store.all(source="nix")


def test_a_page_ends_where_its_bytes_do_and_gives_one_record_at_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = filled([("a", [1, 2, 3])])
    monkeypatch.setattr(listing, "ANSWERED", 1)
    first = store.page(100)
    assert [line.position for line in first.lines] == [3]
    assert first.next == (T0 + 3, "patterns.a", 3)


def test_a_page_that_finds_nothing_for_long_says_where_to_go_on() -> None:
    store = filled([("a", [number]) for number in range(100)])
    found = store.page(10, None, Budget(30, 10**9), what="nothing")
    assert found.lines == []
    assert found.next is not None
    assert 1 < found.next.position <= 71
    assert store.page(10, found.next.text(), what="nothing").next is None


def test_the_last_page_says_that_it_is_the_last() -> None:
    store = filled([("a", [1, 2, 3, 4])])
    assert store.page(4).next is None
    assert store.page(3).next == (T0 + 2, "patterns.a", 2)


def test_notes_are_listed_on_demand_only() -> None:
    store = filled([("a", [1])])
    journal = store.journals.open("patterns.a")
    journal.commit(journal.head(), Commit(records=[Note(kind="epoch", time_ns=T0 + 2, body={})]))
    assert [line.position for line in store.all()] == [1]
    assert [line.position for line in store.all(notes=True)] == [2, 1]


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "é", "MQ", "Li4v", "=", "a" * 300, listing.sealed("1 a"), listing.sealed("-1 a 2"),
        listing.sealed("1  2"), listing.sealed(f"1 a {10**20}"), listing.sealed("1 a 2") + "=",
    ],
)  # fmt: skip
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no cursor; `next` of an earlier answer was expected"):
        Cursor.of(text)


@given(st.integers(0, 2**63), st.integers(0, 2**60))
def test_a_cursor_comes_back_as_it_was(time_ns: int, position: int) -> None:
    cursor = Cursor(time_ns, "patterns.a", position)
    assert Cursor.of(cursor.text()) == cursor
    assert Cursor.of(cursor.text()).text() == cursor.text()


def test_a_made_up_cursor_only_names_another_place() -> None:
    store = filled([("a", [1, 2]), ("b", [3])])
    for cursor in (Cursor(0, "zz", 5), Cursor(2**62, "patterns.a", 10**15), Cursor(T0 + 2, "patterns.a", 0)):
        found = store.page(9, cursor.text())
        assert set(found.lines) <= set(store.all())
