"""SQL over what is packed and what is not: the same rows, and numbers that are the recorded ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.runtime.lake.database import NAMES, drawn, lake, rows, write
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from tests.unit.maintenance.test_compaction import SNAPSHOTS
from tests.unit.maintenance.test_compaction import write as write_records

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
    [("SELECT * FROM nothing", "there are: snapshots, collections"), ("SELEC 1", "syntax error")],
)
def test_a_wrong_statement_says_what_is_wrong_and_what_there_is(
    journals: Journals, statement: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        asked(journals, statement)


def test_answers_become_files_that_read_back(journals: Journals, tmp_path: Path) -> None:
    with lake(journals) as connection:
        for name in ("out.parquet", "out.csv"):
            count = write(connection, f"{ORDERED};", tmp_path / name)
            again = connection.execute(f"SELECT count(*) FROM '{tmp_path / name}'").fetchall()
            assert again == [(count,)]
        with pytest.raises(InputError, match=r"ends in \.parquet or \.csv"):
            write(connection, ORDERED, tmp_path / "out.xlsx")
        with pytest.raises(InputError, match="there is no folder"):
            write(connection, ORDERED, tmp_path / "no" / "out.csv")
        assert "subject" in drawn(connection, ORDERED)


def test_a_field_with_the_name_of_a_column_of_the_table_has_another_one() -> None:
    import numpy as np

    from observer_core.storage.journal import Commit

    journals = Journals(MemoryStorage(), worker="w")
    fields = {"source": np.array([1.5]), 'a"b': np.array([2.0])}
    snapshot = Snapshot(source="x", event_ns=1, ingest_ns=1, subjects=("'",), fields=fields)
    journal = journals.open(SNAPSHOTS, "d")
    journal.commit(journal.head(), Commit(records=[snapshot]))
    (row,) = asked(journals, "SELECT * FROM snapshots")
    assert (row["source"], row["source_value"], row['a"b'], row["subject"]) == ("x", 1.5, 2.0, "'")
