"""What Parquet gives back is what was packed, byte for byte, whatever it was."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.shared.errors import StorageCorrupt
from observer_core.shared.records import Note, Snapshot
from observer_core.storage.archive.pack import pack, unpack
from observer_core.storage.archive.parquet import read
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import CommitRow, InputRange

SHORT = st.builds(lambda m, k: m / 10**k, st.integers(-(10**9), 10**9), st.integers(0, 8))
ANY = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(SHORT, ANY, st.just(math.nan), st.just(-0.0), st.just(0.0))
NAMES = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6)
NOISE = 0.1 + 0.2
"""Seventeen digits: no short decimal."""
FIELDS = st.one_of(st.sampled_from(["price", "volume", "subject", "position", "x.mantissa", "x"]), NAMES)


def origins(subjects: int) -> st.SearchStrategy[dict[str, Any]]:
    """Rows that are numbers, one a subject, and everything that only looks like it."""
    rows = [
        list(range(7, 7 + subjects)),
        [1] * (subjects + 1),
        [-1] * subjects,
        ["a"] * subjects,
        7,
        [True] * subjects,
    ]
    return st.sampled_from([{}, {"row": 7}, *({"load": "a", "rows": found} for found in rows)])


@st.composite
def snapshots(draw: st.DrawFn) -> list[Snapshot]:
    series = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    found = []
    for number in range(draw(st.integers(1, 6))):
        subjects = tuple(draw(st.permutations(draw(st.sampled_from([series, series[:1], []])))))
        fields = {
            name: np.array([draw(VALUES) for _ in subjects])
            for name in draw(st.lists(FIELDS, max_size=3, unique=True))
        }
        more: dict[str, Any] = {}
        if draw(st.booleans()):
            more = {"quality": {"*": ("gap",)}, "decimals": {"price": {"a": "0.1000000000000000000001"}}}
        if draw(st.booleans()):
            more |= {
                "status": "unavailable",
                "error": "away",
                "origin": draw(origins(len(subjects))),
            }
        found.append(
            Snapshot(
                source="x", event_ns=number, ingest_ns=1000 + number, subjects=subjects, fields=fields, **more
            )
        )
    return found


def packed(
    name: str, records: list[Any], rows: int = 2
) -> tuple[dict[str, bytes], list[bytes], list[CommitRow]]:
    """The files of a journal that holds these records in several commits."""
    journal = Journals(MemoryStorage(), worker="w").open(name, "d")
    for start in range(0, len(records), rows):
        commit = Commit(records=records[start : start + rows], inputs=[InputRange("i.x", 1, 2, start > 0)])
        journal.commit(journal.head(), commit)
    found = list(journal.rows())
    lines = [line for _, part in journal.raw() for line in part]
    return pack(name, found, lines), lines, found


@given(snapshots())
@settings(max_examples=60, deadline=None)
def test_snapshots_come_back_as_they_were(records: list[Snapshot]) -> None:
    files, lines, rows = packed("snapshots.x", [*records, Note(kind="tick", time_ns=2000, body={"by": "é"})])
    again, found = unpack(files, rows[0].previous, "file")
    assert again == lines
    assert [row.hash for row in found] == [row.hash for row in rows]
    assert [row.inputs for row in found] == [row.inputs for row in rows]


def test_short_decimals_are_integers_and_everything_else_is_kept_as_it_is() -> None:
    fields = {"price": np.array([1.25, NOISE]), "volume": np.array([math.nan, 3.0])}
    snapshot = Snapshot(source="x", event_ns=1, ingest_ns=1, subjects=("A", "B"), fields=fields)
    files, _, _ = packed("snapshots.x", [snapshot])
    table = read(files["values"], "values").to_pydict()
    assert table["subject"] == ["A", "B"]
    assert table["price.mantissa"] == [125, None]
    assert table["price.scale"] == [2, None]
    assert table["price"] == [None, NOISE]
    assert table["volume.mantissa"] == [None, 3]
    assert "volume" not in table


@given(st.lists(st.dictionaries(NAMES, st.one_of(st.integers(-5, 5), NAMES), max_size=3), max_size=6))
@settings(max_examples=30, deadline=None)
def test_other_records_come_back_as_they_were(bodies: list[dict[str, Any]]) -> None:
    notes = [Note(kind="command", time_ns=n, body=body) for n, body in enumerate(bodies)]
    if notes:
        files, lines, rows = packed("commands.x", notes)
        assert unpack(files, rows[0].previous, "")[0] == lines


def test_columns_beside_the_line_say_what_it_says() -> None:
    files, _, _ = packed("commands.x", [Note(kind="command", time_ns=5, body={})])
    table = read(files["records"], "records").to_pydict()
    assert (table["position"], table["time_ns"], table["kind"]) == ([1], [5], ["command"])


def test_files_that_do_not_fit_together_are_refused() -> None:
    one, _, rows = packed("snapshots.x", [_snapshot(n) for n in range(4)])
    other, _, _ = packed("snapshots.x", [_snapshot(n) for n in range(3)])
    with pytest.raises(StorageCorrupt, match="holds 4 records, its commits speak of"):
        unpack({**one, "commits": other["commits"]}, rows[0].previous, "f")
    with pytest.raises(StorageCorrupt, match="cannot be read"):
        unpack({**one, "records": b"nothing"}, rows[0].previous, "f")
    with pytest.raises(StorageCorrupt, match="subjects has"):
        unpack({**one, "values": other["values"]}, rows[0].previous, "f")


def _snapshot(number: int) -> Snapshot:
    fields = {"price": np.array([float(number)])}
    return Snapshot(source="x", event_ns=number, ingest_ns=number, subjects=("A",), fields=fields)
