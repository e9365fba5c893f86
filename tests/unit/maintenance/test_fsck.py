"""What is missing, short, wrongly counted or left over is found, with its remedy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from observer_core.maintenance.fsck import Finding, check, remove
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from observer_core.storage.rows import StateRow
from tests.support.faults import FaultyStorage
from tests.unit.maintenance.test_compaction import EVENTS, SNAPSHOTS, pack_all, sweep_all, write

SEGMENT = "snapshots/source=x/date=2018-04-05/05.ndjson"


def found(storage: MemoryStorage) -> list[Finding]:
    return list(check(Journals(storage, worker="fsck")))


@pytest.fixture(params=["written", "packed", "half packed"])
def storage(request: pytest.FixtureRequest) -> MemoryStorage:
    storage = MemoryStorage()
    write(storage, 0, 40)
    if request.param != "written":
        pack_all(storage)
    if request.param == "packed":
        sweep_all(storage)
    return storage


def test_nothing_is_found_where_nothing_is_wrong(storage: MemoryStorage) -> None:
    journals = Journals(storage, worker="w")
    assert journals.names() == [EVENTS, SNAPSHOTS]
    assert found(storage) == []


def written() -> MemoryStorage:
    storage = MemoryStorage()
    write(storage, 0, 10)
    return storage


def test_a_segment_that_is_gone_or_short_is_found() -> None:
    storage = written()
    storage.segments.delete(SEGMENT)
    (finding,) = found(storage)
    assert (finding.journal, finding.place, finding.harmless) == (SNAPSHOTS, SEGMENT, False)
    assert "it is gone, with the records from 16 on" in finding.detail
    storage.segments.append(SEGMENT, b"half")
    assert "it has 4 bytes" in found(storage)[0].detail
    assert "backup restore" in found(storage)[0].remedy


def test_a_packed_file_that_is_gone_is_found() -> None:
    storage = written()
    pack_all(storage)
    sweep_all(storage)
    name = next(n for n in storage.archives.list("snapshots/") if ".values." in n)
    storage.archives.delete(name)
    assert [(f.place, f.harmless) for f in found(storage)] == [(name, False)]


def test_rows_that_do_not_follow_one_another_are_found() -> None:
    storage = written()
    key = storage.tables.query(SNAPSHOTS, "r.", "r.~")[4].key
    storage.tables.commit(SNAPSHOTS, [Op("delete", key)])
    (finding,) = found(storage)
    assert finding.detail == "position 7 was expected to follow, found 8"


def test_a_head_that_counts_otherwise_is_found() -> None:
    storage = written()
    row = storage.tables.get(SNAPSHOTS, "head")
    assert row is not None
    value = {**json.loads(row.value), "position": 99}
    storage.tables.commit(SNAPSHOTS, [Op("upsert", "head", json.dumps(value).encode())])
    assert [f.place for f in found(storage)] == ["head"]


def test_what_nobody_points_to_is_harmless_and_can_be_removed() -> None:
    storage = written()
    storage.segments.append("snapshots/source=x/date=2018-04-04/05.ndjson", b"{}\n")
    storage.blobs.put(f"{EVENTS}/{3:020d}-abc", b"state")
    storage.blobs.put(f"{EVENTS}/{9:020d}-abc", b"state")
    storage.blobs.put(f"{EVENTS}/{99:020d}-under-way", b"state")
    state = StateRow(5, f"{EVENTS}/{9:020d}-abc", 0, 0, {}, 9)
    storage.tables.commit(EVENTS, [Op("insert", state.key, state.value())])
    findings = found(storage)
    assert [f.place for f in findings] == [
        f"{EVENTS}/{3:020d}-abc", "snapshots/source=x/date=2018-04-04/05.ndjson",
    ]  # fmt: skip
    journals = Journals(storage, worker="fsck")
    for finding in findings:
        remove(journals, finding)
    assert found(storage) == []


def test_a_state_that_is_gone_and_a_checkpoint_ahead_are_found() -> None:
    storage = written()
    state = StateRow(5, f"{EVENTS}/{9:020d}-abc", 0, 0, {}, 9)
    ahead = Op("insert", f"c.{SNAPSHOTS}", b'{"position":1000}')
    storage.tables.commit(EVENTS, [Op("insert", state.key, state.value()), ahead])
    first, second = found(storage)
    assert "the newest state is gone" in first.detail
    assert "up to 1000, which ends at" in second.detail
    with pytest.raises(ValueError, match="not harmless"):
        remove(Journals(storage, worker="fsck"), first)


def test_whoever_packs_meanwhile_is_no_finding() -> None:
    for turn in range(0, 60, 3):
        storage = MemoryStorage()
        write(storage, 0, 20)
        read = Reads(storage, turn)
        assert list(check(Journals(read, worker="fsck"))) == [], turn


class Reads(FaultyStorage):
    """Somebody packs and sweeps everything before the read of rows with this number."""

    def __init__(self, inner: MemoryStorage, turn: int) -> None:
        super().__init__(inner)
        self.count, self._turn, query = 0, turn, inner.tables.query

        def counted(*args: Any) -> Any:
            self.count += 1
            if self.count == self._turn:
                pack_all(inner)
                sweep_all(inner)
            return query(*args)

        self.tables.query = counted  # type: ignore[attr-defined]
