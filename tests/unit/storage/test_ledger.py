"""Anchors: what they say, and that a journal which is not what they say is found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.shared.errors import InputError, NotFound
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import (
    LEDGER,
    Anchor,
    Point,
    anchor_note,
    commit_hashes,
    compare,
    hash_at,
    hashes_at,
    merkle_root,
    read_anchor,
    read_anchors,
    said_by,
)
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import GENESIS, InputRange, chain
from observer_core.storage.verify import verify
from tests.support.toys import START_NS, note

NAME = "commands.x"
# Of the tests of Certificate Transparency: inputs, and the roots over the first n of them.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def written(commits: Iterable[Iterable[Any]], name: str = NAME) -> Journal:
    """A journal with a record a value; an empty commit has only consumed something."""
    journal = Journals(MemoryStorage(), worker="w").open(name, "d")
    count = 0
    for values in commits:
        records = [note(count := count + 1, value=value) for value in values]
        journal.commit(journal.head(), Commit(records=records, inputs=[InputRange("i.x", 1, 1)]))
    return journal


def lines(journal: Journal) -> list[bytes]:
    return [line for _, found in journal.raw() for line in found]


def anchor(*points: Point, at: int = START_NS) -> Anchor:
    return read_anchor(anchor_note(points, at).encode(0))


def check(journal: Journal, *points: Point) -> Any:
    said = said_by({"F": [anchor(point, at=START_NS + number) for number, point in enumerate(points)]})
    return compare(journal, said[journal.name], journal.head().position)


@pytest.mark.parametrize("count", range(9))
def test_the_root_is_that_of_rfc_6962(count: int) -> None:
    assert merkle_root([bytes.fromhex(text) for text in INPUTS[:count]]).hex() == ROOTS[count]


@given(st.lists(st.integers(0, 3), max_size=8).map(lambda sizes: [range(size) for size in sizes]))
def test_the_hash_at_any_position_is_that_of_the_records_up_to_it(commits: list[range]) -> None:
    journal = written(commits)
    data = lines(journal)
    expected = {position: chain(GENESIS, data[:position]) for position in range(len(data) + 1)}
    assert hashes_at(journal, range(len(data) + 3)) == expected
    assert {position: hash_at(journal, position) for position in expected} == expected
    for position in expected:
        together = dict(commit_hashes(journal, position))
        assert position in together
        assert together.items() <= expected.items()
    with pytest.raises(NotFound):
        hash_at(journal, len(data) + 1)


def test_an_anchor_is_read_as_it_was_written_its_heads_in_order() -> None:
    points = [Point("b.x", 2, b"b" * 32), Point("a.x", 1, b"a" * 32)]
    found = anchor(*points)
    assert found.heads == tuple(sorted(points))
    assert found.root == merkle_root([b"a.x 1 " + b"61" * 32, b"b.x 2 " + b"62" * 32]).hex()


def test_an_anchor_knows_where_it_stands_in_the_ledger() -> None:
    first = anchor(Point("a.x", 1, b"a" * 32))
    second = anchor(first.own)
    assert first.own == Point(LEDGER, 1, chain(GENESIS, [first.line]))
    assert second.own == Point(LEDGER, 2, chain(GENESIS, [first.line, second.line]))


def test_a_journal_is_what_its_anchors_say() -> None:
    journal = written([["a"], ["b", "c"]])
    points = [Point(NAME, position, hash_at(journal, position)) for position in (0, 1, 2, 3)]
    assert check(journal, *points) == (4, None)


def test_a_journal_written_anew_is_found_with_where_it_still_agreed() -> None:
    before = written([["a", "b"], ["c", "d"]])
    points = [Point(NAME, position, hash_at(before, position)) for position in (2, 3, 4)]
    journal = written([["a", "b", "X", "d"]])
    assert verify(journal).fault is None
    agreed, wrong = check(journal, *points)
    assert (agreed, wrong.fault, wrong.after, wrong.position) == (1, "rewritten", 2, 3)
    assert wrong.time_ns == START_NS + 1
    assert "positions 3 to 3 are not the records that were anchored" in wrong.detail


def test_a_journal_that_was_cut_or_is_gone_is_found() -> None:
    before = written([["a", "b", "c"]])
    point = Point(NAME, 3, hash_at(before, 3))
    _, wrong = check(written([["a", "b"]]), point)
    assert (wrong.fault, wrong.position) == ("cut", 3)
    assert wrong.detail == "it has 2 records; the anchor says that it had 3"
    _, wrong = check(written([]), point)
    assert wrong.fault == "missing"


def test_beyond_a_broken_position_nothing_is_compared() -> None:
    before = written([["a", "b"], ["c"]])
    points = [Point(NAME, position, hash_at(before, position)) for position in (2, 3)]
    said = said_by({"F": [anchor(point) for point in points]})[NAME]
    assert compare(before, said, 2) == (1, None)


def test_a_copy_is_read_each_anchor_once_and_a_torn_line_before_its_whole_is_no_fault() -> None:
    one, two = anchor(Point("a.x", 1, b"a" * 32)), anchor(Point("a.x", 2, b"b" * 32))
    copy = [one.line + b"\n", two.line[:50] + b"\n", two.line, b"", one.line + b"\r\n"]
    assert read_anchors(copy, "F") == ([one, two], [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"nonsense", "expected an anchor, found b'nonsense'"),
        (b"[]", "expected an anchor"),
        (note(1).encode(0), "a record of kind 'command'"),
        (anchor(Point("a.x", 1, b"a" * 32)).line.replace(b'"a.x",1', b'"a.x",2'), "do not give its root"),
        (anchor(Point("a.x", 1, b"a" * 32)).line.replace(b"6161", b"zz"), "expected an anchor"),
    ],
)
def test_a_line_that_is_no_anchor_is_named(line: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_anchor(line)
    found, faults = read_anchors([anchor(Point("b.x", 1, b"a" * 32)).line, line], "F")
    assert len(found) == 1
    assert faults[0].startswith("F, line 2: ")
