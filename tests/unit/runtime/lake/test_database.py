"""SQL over what is packed and what is not: the same rows, and numbers that are the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.runtime.lake.database import NAMES, drawn, lake, rows, write
from observer_core.runtime.lake.tail import tail
from observer_core.shared.clock import format_time
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.unit.maintenance.test_compaction import SNAPSHOTS
from tests.unit.maintenance.test_compaction import write as write_records

SHORT = st.builds(lambda m, k: m / 10**k, st.integers(-(10**15), 10**15), st.integers(0, 15))
ORDERED = "SELECT * FROM snapshots ORDER BY position, subject"


@pytest.fixture(params=["memory", "local"])
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journals]:
    storage: Storage = MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path)
    write_records(storage, 0, 30)
    yield Journals(storage, worker="reader")
    storage.close()


def asked(journals: Journals, statement: str) -> list[dict[str, Any]]:
    with lake(journals) as connection:
        return list(rows(connection, statement))


def pack(journals: Journals) -> None:
    list(pack_closed(journals, SNAPSHOTS, CompactionConfig(after=0, hour_bytes=1, day_bytes=1)))
    sweep(journals, SNAPSHOTS)


def test_each_value_is_the_recorded_one_before_and_after_packing(journals: Journals) -> None:
    expected = [
        (entry.position, subject, None if math.isnan(value) else value)
        for entry in journals.open(SNAPSHOTS).scan()
        if isinstance(entry.record, Snapshot)
        for subject, value in zip(entry.record.subjects, entry.record.fields["price"])
    ]
    for _ in range(2):
        found = [(row["position"], row["subject"], row["price"]) for row in asked(journals, ORDERED)]
        assert found == expected
        pack(journals)


def test_what_is_too_much_for_memory_is_asked_on_the_disk(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = ("snapshots", "collections", "events")
    statements = [f"SELECT * FROM {table} ORDER BY ALL" for table in tables]
    expected = [asked(journals, statement) for statement in statements]
    monkeypatch.setattr("observer_core.runtime.lake.database._HELD_BYTES", 0)
    with lake(journals) as connection:
        views = connection.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        assert not any("tail_1 " in sql or "tail_1)" in sql for (sql,) in views)
        assert any("tail_1.parquet" in sql for (sql,) in views)
        assert [list(rows(connection, statement)) for statement in statements] == expected


def test_a_row_says_where_and_when_it_is_from(journals: Journals) -> None:
    first = asked(journals, ORDERED)[0]
    assert (first["journal"], first["domain"], first["source"], first["position"]) == (SNAPSHOTS, "d", "x", 1)
    assert first["time"] == "2018-04-05T00:00:00Z"


def test_every_table_is_there_also_when_nothing_was_recorded_of_it(journals: Journals) -> None:
    for name in NAMES:
        asked(journals, f"SELECT count(*) FROM {name}")
    assert asked(Journals(MemoryStorage(), worker="w"), "SELECT * FROM patterns") == []


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("SELECT * FROM nothing", "there are: snapshots, collections"),
        ("SELEC 1", "syntax error"),
        ("", "a SELECT was expected"),
        ("SELECT 1; SELECT 2", "a SELECT was expected"),
        ("COPY (SELECT 1) TO 'x.csv'", "a SELECT was expected"),
        ("ATTACH 'x.db'", "a SELECT was expected"),
    ],
)
def test_a_wrong_statement_says_what_is_wrong_and_what_there_is(
    journals: Journals, statement: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        asked(journals, statement)


def test_answers_become_files_that_read_back(journals: Journals, tmp_path: Path) -> None:
    with lake(journals) as connection:
        for name, end in (("out.parquet", ";"), ("out.csv", " -- all")):
            count = write(connection, f"{ORDERED}{end}", tmp_path / name)
            again = connection.execute(f"SELECT count(*) FROM '{tmp_path / name}'").fetchall()
            assert again == [(count,)]
        with pytest.raises(InputError, match=r"ends in \.parquet or \.csv"):
            write(connection, ORDERED, tmp_path / "out.xlsx")
        with pytest.raises(InputError, match="there is no folder"):
            write(connection, ORDERED, tmp_path / "no" / "out.csv")
        assert "subject" in drawn(connection, ORDERED)


def test_a_field_with_the_name_of_a_column_of_the_table_has_another_one() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    fields = {"source": np.array([1.5]), 'a"b': np.array([2.0])}
    snapshot = Snapshot(source="x", event_ns=1, ingest_ns=1, subjects=("'",), fields=fields)
    journal = journals.open(SNAPSHOTS, "d")
    journal.commit(journal.head(), Commit(records=[snapshot]))
    (row,) = asked(journals, "SELECT * FROM snapshots")
    assert (row["source"], row["source_value"], row['a"b'], row["subject"]) == ("x", 1.5, 2.0, "'")


def test_moments_are_exact_to_the_nanosecond_in_the_order_that_was_asked_for() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    moments = [1_522_886_400_123_456_789 + step for step in range(5)]
    record(journals, *(({"price": [1.0]}, moment) for moment in moments))
    found = asked(journals, "SELECT time FROM snapshots ORDER BY position DESC")
    assert [row["time"] for row in found] == [format_time(moment) for moment in reversed(moments)]


def record(journals: Journals, *snapshots: tuple[dict[str, list[float]], int]) -> None:
    journal = journals.open(SNAPSHOTS, "d")
    for fields, at in snapshots:
        columns = {name: np.array(values) for name, values in fields.items()}
        snapshot = Snapshot(source="x", event_ns=at, ingest_ns=at, subjects=("A",), fields=columns)
        journal.commit(journal.head(), Commit(records=[snapshot]))


@pytest.mark.parametrize("packed", [False, True])
def test_snapshots_that_columns_cannot_hold_are_rows_too(packed: bool) -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, ({"position": [0.1 + 0.2], "price": [3.0], "": [1.0]}, 1), ({"price": [5.25]}, 2))
    record(journals, ({"a.scale": [math.nan], "price": [math.nan], "o'x": [2.5]}, 3), ({"price": [1.0]}, 4))
    if packed:
        pack(journals)
    found = asked(journals, ORDERED)
    names = ("position", "subject", "source", "position_value", "price", "a.scale", "o'x")
    assert [tuple(row[name] for name in names) for row in found] == [
        (1, "A", "x", 0.1 + 0.2, 3.0, None, None), (2, "A", "x", None, 5.25, None, None),
        (3, "A", "x", None, None, None, 2.5), (4, "A", "x", None, 1.0, None, None),
    ]  # fmt: skip
    assert found[0]["time"] == found[0]["event_time"] == format_time(1)
    collections = asked(
        journals, "SELECT position, source, status, error, quality FROM collections ORDER BY 1"
    )
    assert [row["position"] for row in collections] == [1, 2, 3, 4]
    assert {(row["source"], row["status"], row["error"]) for row in collections} == {("x", "ok", None)}


@pytest.mark.parametrize("packed", [False, True])
def test_fields_that_differ_only_in_case_are_refused_and_never_mixed(packed: bool) -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(
        journals, ({"p": [1.25]}, 1), ({"P": [7.0], "q": [1.0]}, 2), ({"fields": [1.0], "place": [2.0]}, 3)
    )
    if packed:
        pack(journals)
    for statement in ("SELECT * FROM snapshots", "SELECT count(*) FROM snapshots"):
        with pytest.raises(InputError, match="source x has fields 'P' and 'p'"):
            asked(journals, statement)
    assert len(asked(journals, "SELECT * FROM collections")) == 3
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, ({"Subject": [1.25]}, 1), ({"source": [1.0]}, 2))
    with pytest.raises(InputError, match="source x has a field 'Subject'"):
        asked(journals, ORDERED)


def test_fields_may_have_the_names_that_the_questions_themselves_use() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, ({"fields": [1.0], "place": [2.0], "line": [3.0], "position": [4.0]}, 1))
    (row,) = asked(journals, ORDERED)
    assert (row["fields"], row["place"], row["line"], row["position_value"]) == (1.0, 2.0, 3.0, 4.0)


def test_columns_of_the_same_name_are_told_apart() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, ({"price": [1.0]}, 1), ({"price": [2.0]}, 2))
    (row,) = asked(
        journals,
        "SELECT a.time, b.time, a.price, b.price, 3 AS price_1 FROM snapshots a JOIN snapshots b "
        "ON a.position < b.position",
    )
    assert list(row.values()) == [format_time(1), format_time(2), 1.0, 2.0, 3]
    assert len(set(row)) == 5


def test_a_field_without_a_name_hides_no_other() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, ({"": [1.0], "price": [0.1 + 0.2]}, 1), ({"": [0.1 + 0.2], "price": [2.0]}, 2))
    assert [row["price"] for row in asked(journals, ORDERED)] == [0.1 + 0.2, 2.0]


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), SHORT), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_every_double_is_the_one_that_was_recorded(values: list[float]) -> None:
    journals = Journals(MemoryStorage(), worker="w")
    record(journals, *(({"price": [value]}, 10**18 + place) for place, value in enumerate(values)))
    record(journals, ({"price": [1.0]}, 2 * 10**18))
    pack(journals)
    found = [row["price"] for row in asked(journals, ORDERED)][:-1]
    assert np.array(found).tobytes() == np.array(values).tobytes()


def test_what_is_packed_while_it_is_opened_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    journals = Journals(MemoryStorage(), worker="w")
    write_records(journals.storage, 0, 30)
    expected = asked(journals, ORDERED)

    def packs_first(*args: Any) -> Any:
        pack(Journals(journals.storage, worker="p"))
        return tail(*args)

    monkeypatch.setattr("observer_core.runtime.lake.database.tail", packs_first)
    assert asked(journals, ORDERED) == expected
