"""One series out of many, from memory and from files that may vanish, be torn, or be of another journal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.reading.column_store import Need, SourceColumns
from observer_core.runtime.reading.columns import SUFFIX, Block, Lost
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reading.shelf import Shelf
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import NotFound
from observer_core.shared.records import Note, Record, Snapshot
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage

START = 1_700_000_000 * SECOND
EVER = (0, 2**63 - 1)
ALL = Need(1, 2**62)
HURRY = Pace(0.999999)
NAMES = tuple(f"S{number}" for number in range(12))


def snapshot(at: int, subjects: Sequence[str] = NAMES, **changes: Any) -> Snapshot:
    """At second `at` every subject has a price, which nobody else ever had."""
    values = {
        "source": "feed", "event_ns": START + at * SECOND, "ingest_ns": START + at * SECOND,
        "subjects": tuple(subjects), "fields": {"price": at + np.arange(float(len(subjects))) / 100},
    }  # fmt: skip
    return Snapshot(**{**values, **changes})


@dataclass
class Feed:
    """A journal of snapshots and the columns over it; `again` is another process."""

    folder: Path
    limit: int = 1 << 30
    sizes: dict[str, int] = field(default_factory=lambda: {"tail_bytes": 2_000, "block_bytes": 5_000})

    def __post_init__(self) -> None:
        self.storage = MemoryStorage()
        self.journal = Journals(self.storage, worker="w").open("snapshots.feed", "live")
        self.again()

    def again(self, journal: Journal | None = None) -> SourceColumns:
        self.shelf = Shelf(self.folder, self.limit, left_free=0)
        self.columns = SourceColumns(journal or self.journal, self.shelf, **self.sizes)
        return self.columns

    def write(self, *records: Record) -> None:
        self.journal.commit(self.journal.head(), Commit(records=records))

    def filled(self, count: int, first: int = 0) -> Feed:
        for at in range(first, first + count):
            self.write(snapshot(at))
        return self

    def build(self) -> int:
        """How many blocks it took."""
        self.columns.bring_forward()
        count = 0
        while self.columns.build(ALL, HURRY):
            count += 1
        return count

    def files(self) -> list[Path]:
        return sorted(self.folder.rglob(f"*{SUFFIX}"))

    def series(
        self, subject: str = "S3", name: str = "price", since: int = EVER[0], until: int = EVER[1]
    ) -> list[tuple[int, float | None]]:
        """Seconds and values (None: null) in the order of the journal."""
        self.columns.bring_forward()
        parts = self.columns.read(subject, (name,), since, until)
        return [
            ((int(at) - START) // SECOND, None if math.isnan(value) else float(value))
            for part in parts
            for at, value in zip(part.event_ns, part.values[0])
            if not math.isinf(value)
        ]


@pytest.fixture
def feed(tmp_path: Path) -> Feed:
    return Feed(tmp_path)


def of_s3(*seconds: int) -> list[tuple[int, float | None]]:
    return [(at, at + 0.03) for at in seconds]


# ---------------------------------------------------------------------- what it says


def test_the_newest_rows_are_there_at_once_and_the_older_ones_once_they_are_built(feed: Feed) -> None:
    feed.filled(200)
    newest = feed.series()
    assert newest == of_s3(*range(newest[0][0], 200))
    assert len(newest) < 40
    assert feed.columns.gaps() == [(1, newest[0][0])]
    assert feed.build() > 3
    assert feed.columns.gaps() == []
    assert feed.series() == of_s3(*range(200))


def test_what_is_committed_later_comes_with_the_next_question(feed: Feed) -> None:
    feed.filled(5)
    assert feed.series() == of_s3(*range(5))
    feed.filled(60, first=5)
    feed.build()
    assert feed.series() == of_s3(*range(65))


def test_after_a_restart_files_are_read_and_not_built_again(feed: Feed) -> None:
    feed.filled(200).build()
    files = {path: path.stat().st_mtime_ns for path in feed.files()}
    feed.again()
    assert feed.series() == of_s3(*range(200))
    assert feed.columns.gaps() == []
    assert {path: path.stat().st_mtime_ns for path in feed.files()} == files


def test_subjects_and_fields_come_and_go(feed: Feed) -> None:
    feed.write(snapshot(0, ["S3"]))
    feed.write(snapshot(1, ["S1", "S2"]))
    feed.write(snapshot(2, [], fields={}, status="unavailable", error="down"))
    feed.write(
        snapshot(3, ["S9", "S3"], fields={"price": np.array([9.0, np.nan]), "load": np.array([1.0, 2.0])})
    )
    feed.write(Note(kind="epoch", time_ns=START + 3 * SECOND, body={}))
    feed.write(snapshot(4, ["S3"], fields={"load": np.array([5.0])}))
    expected = {
        ("S3", "price"): [(0, 0.0), (2, None), (3, None)],
        ("S3", "load"): [(2, None), (3, 2.0), (4, 5.0)],
        ("S9", "price"): [(2, None), (3, 9.0)],
        ("nobody", "price"): [(2, None)],
    }
    assert {key: feed.series(*key) for key in expected} == expected
    feed.filled(60, first=5).build()
    feed.again()
    assert {key: feed.series(*key)[: len(rows)] for key, rows in expected.items()} == expected
    assert len(feed.series("S3", "price")) == 3 + 60
    assert len(feed.series("S3", "load")) == 3


def test_what_was_seen_in_a_closed_session_is_not_drawn(feed: Feed) -> None:
    feed.write(snapshot(0), snapshot(1, quality={"*": ("closed_session",)}))
    feed.write(snapshot(2, quality={"S3": ("closed_session",), "S4": ("stale",)}))
    assert feed.series("S3") == [(0, 0.03), (1, None), (2, None)]
    assert feed.series("S4") == [(0, 0.04), (1, None), (2, 2.04)]


def test_only_parts_that_may_hold_the_span_are_read(feed: Feed) -> None:
    feed.filled(200).build()
    for path in feed.files()[3:]:
        path.write_bytes(b"gone")
    assert feed.series(since=START, until=START + 5 * SECOND)[:6] == of_s3(*range(6))


# ---------------------------------------------------------------------- what may happen to files


@pytest.mark.parametrize("harm", ["deleted", "emptied", "cut", "longer", "flipped", "other file", "folder"])
def test_a_harmed_file_is_never_believed_and_is_made_anew(feed: Feed, harm: str) -> None:
    feed.filled(200).build()
    victim = feed.files()[2]
    data = victim.read_bytes()
    if harm == "deleted":
        victim.unlink()
    elif harm == "folder":
        for path in feed.files():
            path.unlink()
        feed.folder.joinpath("snapshots.feed").rmdir()
    else:
        victim.write_bytes(
            {
                "emptied": b"", "cut": data[:-100], "longer": data + b"x", "other file": b"hello" * 100,
                "flipped": data[: len(data) // 3] + bytes(255 - byte for byte in data[len(data) // 3 :]),
            }[harm]
        )  # fmt: skip
    feed.columns.bring_forward()
    shown = [float(value) for part in feed.columns.read("S3", ("price",), *EVER) for value in part.values[0]]
    assert set(shown) <= {at + 0.03 for at in range(200)}
    feed.again()
    assert feed.build() >= 1
    assert feed.series() == of_s3(*range(200))


def test_a_flipped_bit_in_another_series_does_no_harm_to_this_one(feed: Feed) -> None:
    feed.filled(200).build()
    victim = feed.files()[2]
    data = bytearray(victim.read_bytes())
    data[-5] ^= 1
    victim.write_bytes(data)
    assert feed.series("S3") == of_s3(*range(200))
    feed.columns.read("S11", ("price",), *EVER)
    assert feed.columns.gaps() != []


def test_a_block_of_another_journal_is_thrown_away(feed: Feed, tmp_path: Path) -> None:
    feed.filled(200).build()
    other = Journals(MemoryStorage(), worker="w").open("snapshots.feed", "live")
    for at in range(200):
        record = snapshot(at, fields={"price": np.full(12, 7.0)})
        other.commit(other.head(), Commit(records=[record]))
    feed.journal = other
    feed.again()
    feed.build()
    assert {value for _, value in feed.series()} == {7.0}


def test_a_journal_that_was_cut_and_went_another_way_is_followed(feed: Feed) -> None:
    feed.filled(150).build()
    kept = Feed(feed.folder / "x").filled(60)
    for at in range(60, 150):
        kept.write(snapshot(at, fields={"price": np.full(12, float(-at))}))
    feed.journal = kept.journal
    for columns in (feed.columns, None):
        if columns is None:
            feed.again()
        else:
            columns._journal = kept.journal  # the same process, whose storage was replaced under it
        feed.build()
        assert feed.series() == [*of_s3(*range(60)), *((at, float(-at)) for at in range(60, 150))]


def test_a_draft_that_a_dead_process_left_is_removed_when_it_is_old(feed: Feed) -> None:
    import os

    feed.filled(100).build()
    folder = feed.folder / "snapshots.feed"
    old, young = folder / ".old.1.1", folder / ".young.1.1"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    feed.again().bring_forward()
    assert (old.exists(), young.exists()) == (False, True)


def test_small_blocks_become_one(feed: Feed) -> None:
    for at in range(160):  # a live source: the tail becomes a block, again and again
        feed.filled(1, first=at)
        feed.columns.bring_forward()
    before = len(feed.files())
    assert before > 8
    while feed.columns.tidy(HURRY):
        pass
    assert len(feed.files()) < 4
    assert feed.series() == of_s3(*range(160))
    feed.again()
    assert feed.series() == of_s3(*range(160))
    assert feed.columns.gaps() == []


def test_a_block_that_smaller_ones_were_made_into_wins_over_what_a_crash_left(feed: Feed) -> None:
    for at in range(160):
        feed.filled(1, first=at)
        feed.columns.bring_forward()
    left = {path: path.read_bytes() for path in feed.files()}
    while feed.columns.tidy(HURRY):
        pass
    for path, data in left.items():
        path.write_bytes(data)
    feed.again()
    assert feed.series() == of_s3(*range(160))
    assert len(feed.files()) < 4


def test_a_file_is_not_a_block_unless_all_of_it_is_there(tmp_path: Path) -> None:
    feed = Feed(tmp_path).filled(60)
    feed.build()
    data = feed.files()[0].read_bytes()
    for length in (0, 3, 16, 40, len(data) - 1):
        path = tmp_path / "x"
        path.write_bytes(data[:length])
        with pytest.raises(Lost):
            Block.open(path, {})
    with pytest.raises(Lost):
        Block.open(tmp_path / "nothing", {})


# ---------------------------------------------------------------------- room


def test_what_nobody_uses_goes_first_and_the_total_stays_within_the_limit(feed: Feed) -> None:
    feed.filled(200).build()
    size = feed.files()[0].stat().st_size
    feed.series(since=START, until=START + 20 * SECOND)
    feed.shelf._limit = 3 * size
    feed.shelf.trim()
    assert sum(path.stat().st_size for path in feed.files()) <= 3 * size
    assert feed.series(since=START, until=START + 2 * SECOND)[:3] == of_s3(0, 1, 2)


def test_building_ahead_stops_at_the_limit_and_a_request_takes_the_room_of_others(feed: Feed) -> None:
    feed.limit = 12_000
    feed.again()
    feed.filled(300).build()
    assert feed.columns.gaps()
    assert feed.shelf.size <= 12_000
    need = feed.columns.need(START, START + 10 * SECOND)
    moment = feed.shelf.now()
    while feed.columns.lacks(Need(need.first, need.last)) and feed.columns.build(need, HURRY, moment):
        feed.shelf.trim()
    assert feed.shelf.size <= 12_000
    assert feed.series(since=START, until=START + 3 * SECOND)[:3] == of_s3(0, 1, 2)


def test_without_a_disk_to_write_to_the_newest_rows_still_come(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    feed = Feed(tmp_path / "file").filled(200)
    feed.build()
    assert feed.series()[-1] == (199, 199.03)
    assert feed.columns.gaps()


def test_the_disk_is_never_filled(feed: Feed) -> None:
    feed.shelf._left_free = 1 << 62
    feed.filled(200).build()
    assert feed.files() == []
    assert feed.series()[-1] == (199, 199.03)


# ---------------------------------------------------------------------- what is built first


def test_what_a_span_needs_is_built_first(feed: Feed) -> None:
    feed.filled(600)
    feed.columns.bring_forward()
    before = feed.files()
    need = feed.columns.need(START + 300 * SECOND, START + 310 * SECOND)
    assert need.first <= 301
    assert need.last >= 310
    assert feed.columns.build(need, HURRY)
    [block] = [Block.open(path, {}) for path in feed.files() if path not in before]
    assert block.first <= need.last <= block.last
    assert feed.columns.lacks(need)
    while feed.columns.build(need, HURRY):
        pass
    assert not feed.columns.lacks(need)
    assert feed.columns.gaps()[0][0] == 1


def test_rows_that_were_learnt_late_are_found_by_when_they_happened(feed: Feed) -> None:
    feed.filled(100)
    for at in range(50):
        feed.write(snapshot(at + 5000, event_ns=START + at * SECOND, ingest_ns=START + (at + 5000) * SECOND))
    feed.build()
    found = feed.series(since=START + 10 * SECOND, until=START + 12 * SECOND)
    assert {value for at, value in found if 10 <= at <= 12} == {
        10.03,
        11.03,
        12.03,
        5010.03,
        5011.03,
        5012.03,
    }


def test_an_empty_journal_has_no_series(feed: Feed) -> None:
    assert feed.series() == []
    assert feed.columns.span() is None
    assert feed.columns.gaps() == []
    with pytest.raises(NotFound):
        feed.columns.learnt_ns(1)


# ---------------------------------------------------------------------- against the obvious


def obvious(records: Sequence[Snapshot], subject: str, name: str) -> Iterator[tuple[int, float | None]]:
    for record in records:
        at = (record.event_ns - START) // SECOND
        if record.status == "unavailable" or "closed_session" in record.quality.get("*", ()):
            yield at, None
        elif subject in record.subjects and name in record.fields:
            value = float(record.fields[name][record.subjects.index(subject)])
            yield at, None if math.isnan(value) else value


_subjects = st.lists(st.sampled_from(NAMES), unique=True, max_size=6)


@st.composite
def _snapshots(draw: st.DrawFn) -> list[Snapshot]:
    found = []
    for at in range(draw(st.integers(1, 40))):
        subjects = tuple(draw(_subjects))
        kind = draw(st.sampled_from(["ok", "ok", "ok", "unavailable", "closed"]))
        names = draw(
            st.lists(st.sampled_from(["price", "load", "size"]), unique=True, min_size=1, max_size=3)
        )
        value = st.floats(-1e6, 1e6) | st.just(math.nan)
        columns = {
            name: np.array(draw(st.lists(value, min_size=len(subjects), max_size=len(subjects))))
            for name in names
        }
        happened = START + draw(st.integers(-5, 100)) * SECOND
        changes: dict[str, Any] = {"event_ns": happened, "ingest_ns": START + (200 + at) * SECOND}
        if kind == "unavailable":
            changes |= {"status": "unavailable", "error": "x"}
            subjects, columns = (), {}
        if kind == "closed":
            changes["quality"] = {"*": ("closed_session",)}
        found.append(snapshot(0, subjects, fields=columns, **changes))
    return found


@settings(max_examples=40)
@given(_snapshots(), st.data())
def test_any_journal_in_any_blocks_says_what_its_records_say(
    records: list[Snapshot], data: st.DataObject
) -> None:
    with TemporaryDirectory() as folder:
        sizes = {
            "tail_bytes": data.draw(st.integers(1, 3000)),
            "block_bytes": data.draw(st.integers(1, 9000)),
        }
        feed = Feed(Path(folder), sizes=sizes)
        left = list(records)
        while left:
            count = data.draw(st.integers(1, 9))
            feed.write(*left[:count])
            left = left[count:]
            match data.draw(st.sampled_from(["go on", "ask", "build", "tidy", "restart", "delete"])):
                case "ask":
                    feed.columns.bring_forward()
                case "build":
                    feed.build()
                case "tidy":
                    feed.columns.bring_forward()
                    feed.columns.tidy(HURRY)
                case "restart":
                    feed.again()
                case "delete" if feed.files():
                    data.draw(st.sampled_from(feed.files())).unlink()
        feed.columns.bring_forward()
        feed.columns.read("S1", ("price",), *EVER)
        feed.build()
        for subject, name in (("S1", "price"), ("S2", "load"), ("S0", "price")):
            assert feed.series(subject, name) == list(obvious(records, subject, name))
