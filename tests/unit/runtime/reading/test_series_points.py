"""What a chart is told: points, candles, units, what is missing and being built, and the patterns."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.observer import Observer
from observer_core.runtime.reading import builder
from observer_core.runtime.reading.builder import Builder
from observer_core.runtime.reading.column_store import Need
from observer_core.runtime.reading.markers import markers
from observer_core.runtime.reading.series import Query, Series, temporary
from observer_core.runtime.reading.shelf import Shelf
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.records import ALL, PatternRecord, Record, Snapshot
from observer_core.storage.epochs import Build
from observer_core.storage.journal import Commit
from observer_core.storage.memory import MemoryStorage

START = 1_700_000_100 * SECOND
MINUTE = 60 * SECOND
SOURCES: list[dict[str, Any]] = [
    {"name": "feed", "kind": "push", "normalise": {"units": {"load": "percent", "price": "USDT"}}},
    {"name": "bars", "kind": "push", "normalise": {"bar": "1m"}},
    {"name": "wide", "kind": "market", "exchange": "binance", "symbols": ["A/B", "C/D"], "shards": 2},
]  # fmt: skip


class Desk:
    """An Observer whose journals are written by hand, and the series over it."""

    def __init__(self, root: Path, *, ahead: bool = False) -> None:
        settings = load(root=root, source=SOURCES)
        self.observer = Observer(
            settings, MemoryStorage(), clock=ManualClock(START), build=Build("1", "lock")
        )
        self.series = Series(self.observer, ahead=ahead, folder=root / "series")

    def write(self, journal: str, *records: Record) -> None:
        opened = self.observer.journals.open(journal, "live")
        opened.commit(opened.head(), Commit(records=records))

    def see(
        self, minute: float, source: str = "feed", subjects: tuple[str, ...] = ("A", "B"), **changes: Any
    ) -> None:
        at = START + round(minute * MINUTE)
        fields = changes.pop("fields", {"price": [minute, minute + 100]})
        values = {"event_ns": at, "ingest_ns": at, **changes}
        columns = {name: np.array(column, float) for name, column in fields.items()}
        self.write(
            f"snapshots.{source}", Snapshot(source=source, subjects=subjects, fields=columns, **values)
        )

    def points(
        self, subject: str = "A", field: str = "price", source: str = "feed", **options: Any
    ) -> dict[str, Any]:
        return self.series.points(Query(source, subject, field, **options))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.series.close()


def ms(minute: float) -> float:
    return (START + round(minute * MINUTE)) / 1_000_000


def until(holds: Callable[[], bool]) -> None:
    """Waits for another thread; the test's own timeout ends it."""
    while not holds():
        time.sleep(0.005)


# ---------------------------------------------------------------------- points


def test_a_line_is_what_was_observed_in_the_span(desk: Desk) -> None:
    for minute in range(10):
        desk.see(minute)
    found = desk.points("B", since_ns=START + 2 * MINUTE, until_ns=START + 4 * MINUTE)
    assert found == {
        "source": "feed", "subject": "B", "field": "price", "unit": "USDT", "form": "line", "rows": 3,
        "bucket_ms": None, "time_ms": [ms(2), ms(3), ms(4)], "value": [102.0, 103.0, 104.0],
        "first_ms": ms(2), "last_ms": ms(4), "complete": True,
    }  # fmt: skip


def test_a_span_is_exact_to_the_nanosecond(desk: Desk) -> None:
    for place, after in enumerate((0, 1, 2, 3)):
        desk.see(0, event_ns=START + after, ingest_ns=START + after, fields={"price": [place, 0]})
    assert desk.points(since_ns=START + 1, until_ns=START + 2)["value"] == [1.0, 2.0]
    assert desk.points(since_ns=START + 4)["value"] == []
    assert desk.points(since_ns=START + 4)["first_ms"] is None


def test_rows_come_in_the_order_in_which_they_happened(desk: Desk) -> None:
    for place, minute in enumerate((0, 1, 4, 2, 3)):
        at = START + minute * MINUTE
        desk.see(0, event_ns=at, ingest_ns=START + (10 + place) * MINUTE, fields={"price": [minute, 0]})
    assert desk.points()["value"] == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "changes",
    [
        {"subjects": (), "fields": {}, "status": "unavailable", "error": "down"},
        {"fields": {"price": [np.nan, 1.0]}},
        {"quality": {ALL: ("closed_session",)}},
    ],
    ids=["unavailable", "null", "closed"],
)
def test_a_moment_without_data_is_a_gap(desk: Desk, changes: dict[str, Any]) -> None:
    for minute in range(6):
        desk.see(minute, **(changes if minute == 3 else {}))
    found = desk.points()
    assert found["value"][:3] == [0.0, 1.0, 2.0]
    assert np.isnan(found["value"][3])
    assert found["value"][4:] == [4.0, 5.0]
    assert (found["rows"], found["time_ms"][3]) == (5, ms(3))


def test_a_snapshot_that_does_not_speak_of_the_subject_is_no_gap(desk: Desk) -> None:
    for minute in range(0, 12, 2):
        desk.see(minute)
        desk.see(minute + 1, subjects=("C",), fields={"price": [1.0]})
    assert desk.points()["value"] == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_how_long_a_silence_is_a_gap_does_not_change_with_the_zoom(desk: Desk) -> None:
    minutes = [*range(60), *range(90, 150)]
    for minute in minutes:
        desk.see(minute)
    wide, narrow = desk.points(), desk.points(since_ns=START + 58 * MINUTE, until_ns=START + 91 * MINUTE)
    assert np.isnan(wide["value"]).sum() == 1
    assert np.isnan(narrow["value"]).tolist() == [False, False, True, False, False]


def test_bars_become_candles_with_their_volume(desk: Desk) -> None:
    for minute in range(30):
        fields = {
            "open": [minute],
            "high": [minute + 5],
            "low": [minute - 5],
            "close": [minute + 1],
            "volume": [2],
        }
        desk.see(minute, "bars", ("A",), fields=fields)
    found = desk.points("A", "close", "bars", form="candles", points=10)
    assert found["bucket_ms"] == 5 * 60_000
    assert found["time_ms"] == [ms(minute) for minute in range(0, 30, 5)]
    assert (found["open"][0], found["high"][0], found["low"][0], found["close"][0]) == (0, 9, -5, 5)
    assert found["volume"] == [10.0] * 6
    assert found["rows"] == 30
    assert "value" not in found


def test_quotes_become_candles_of_their_side(desk: Desk) -> None:
    names = ("open", "high", "low", "close")
    fields = {f"{side}_{name}": [place] for place, side in enumerate(("bid", "ask")) for name in names}
    desk.see(0, "bars", ("A",), fields=fields)
    assert desk.points("A", "ask_close", "bars", form="candles")["open"] == [1.0]
    assert desk.points("A", "bid_high", "bars", form="candles")["open"] == [0.0]


def test_prints_become_candles_too(desk: Desk) -> None:
    for minute in (0, 0.2, 0.4, 0.6, 0.8, 1.0):
        desk.see(minute, fields={"price": [10 * minute % 7, 0]})
    found = desk.points(form="candles", points=10)
    assert found["bucket_ms"] == 15_000
    assert found["close"][0] == 2.0
    assert "volume" not in found
    with pytest.raises(InputError, match="as a line"):
        desk.points(field="volume", form="candles")


def test_units_are_the_recorded_ones(desk: Desk) -> None:
    assert desk.series.unit("feed", "load") == "1"
    assert desk.series.unit("feed", "price") == "USDT"
    assert desk.series.unit("bars", "price") is None
    assert desk.series.unit("host", "system.cpu.utilization") == "1"
    assert desk.series.unit("host", "system.memory.usage") == "By"


def test_what_there_is_not_is_said(desk: Desk) -> None:
    desk.see(0)
    for query, message in (
        (Query("nothing", "A", "price"), "no source 'nothing'; known are feed"),
        (Query("feed", "X", "price"), "no subject 'X'; it has A, B"),
        (Query("feed", "A", "size"), "no field 'size'; it has price"),
    ):
        with pytest.raises(Unknown, match=message):
            desk.series.points(query)
    with pytest.raises(Unknown, match="no domain 'mars'; known are live"):
        desk.series.sources("mars")


def test_a_source_in_shards_is_asked_by_its_own_name(desk: Desk) -> None:
    part = desk.observer.settings.part_of("wide", "A/B")
    desk.see(0, part, ("A/B",), fields={"price": [7.0]})
    found = desk.points("A/B", "price", "wide")
    assert (found["source"], found["value"]) == (part, [7.0])


def test_sources_are_listed_with_their_series(desk: Desk) -> None:
    desk.see(0)
    desk.see(5, subjects=("C",), fields={"load": [1.0]})
    desk.see(1, "bars", ("Z",), fields={"open": [1], "high": [1], "low": [1], "close": [1]})
    desk.see(2, "silent", (), fields={}, status="unavailable", error="down")
    assert desk.series.sources("live") == [
        {
            "source": "bars", "domain": "live", "subjects": ["Z"], "fields": ["close", "high", "low", "open"],
            "candles": True, "first_ns": START + MINUTE, "last_ns": START + MINUTE,
        },
        {
            "source": "feed", "domain": "live", "subjects": ["A", "B", "C"], "fields": ["price", "load"],
            "candles": False, "first_ns": START, "last_ns": START + 5 * MINUTE,
        },
    ]  # fmt: skip


# ---------------------------------------------------------------------- what is built, and by whom


def long(desk: Desk, rows: int = 1200) -> Desk:
    """More than a process reads by itself: each row is some 8 KB."""
    names = tuple(f"S{number}" for number in range(400))
    opened = desk.observer.journals.open("snapshots.feed", "live")
    records = [
        Snapshot(
            source="feed", event_ns=START + row * MINUTE, ingest_ns=START + row * MINUTE, subjects=names,
            fields={"price": row + np.linspace(0.001, 0.999, 400)},
        )
        for row in range(rows)
    ]  # fmt: skip
    for start in range(0, rows, 100):
        opened.commit(opened.head(), Commit(records=records[start : start + 100]))
    return desk


def test_an_answer_says_that_it_is_not_complete_until_the_rest_is_built(desk: Desk) -> None:
    query = Query("feed", "S7", "price", points=5000)
    first = long(desk).series.points(query)
    assert not first["complete"]
    assert 0 < first["rows"] < 1200
    built = desk.series.build(query)
    assert built is not None
    built.result(60)
    whole = desk.series.points(query)
    assert (whole["complete"], whole["rows"]) == (True, 1200)
    assert desk.series.build(query) is None


def test_the_newest_span_is_complete_at_once(desk: Desk) -> None:
    long(desk)
    newest = START + 1199 * MINUTE
    found = desk.points("S7", since_ns=newest - 10 * MINUTE)
    assert (found["complete"], found["rows"]) == (True, 11)


def test_a_process_that_lives_long_builds_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "_FIRST_S", 0.0)
    desk = long(Desk(tmp_path, ahead=True))
    before = set(threading.enumerate())
    desk.series.start()
    query = Query("feed", "S7", "price")
    until(lambda: bool(desk.series.points(query)["complete"]))
    desk.series.close()
    assert desk.series.build(query) is None
    assert not any(thread.name == "series" for thread in set(threading.enumerate()) - before)


def test_after_it_was_closed_nothing_is_built_and_the_newest_rows_are_answered(desk: Desk) -> None:
    long(desk).series.close()
    query = Query("feed", "S7", "price")
    assert desk.series.build(query) is None
    assert not desk.series.points(query)["complete"]


class _Held:
    """Stands for columns whose building takes until it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = threading.Event()
        self.built = 0

    def build(self, *_: Any) -> bool:
        self.begun.set()
        self.let_go.wait(30)
        self.built += 1
        return self.built % 3 != 0


def test_only_so_many_wait_and_who_gives_up_waits_no_longer(tmp_path: Path) -> None:
    thread, columns = Builder(Shelf(tmp_path, 1 << 20), None), _Held()
    need = Need(1, 1)
    orders = [thread.ask(columns, need) for _ in range(builder.WAITING)]  # type: ignore[arg-type]
    columns.begun.wait(30)
    assert None not in orders
    assert thread.ask(columns, need) is None  # type: ignore[arg-type]
    for order in orders[:-1]:
        assert order is not None
        order.cancel()
    last = thread.ask(columns, need)  # type: ignore[arg-type]
    columns.let_go.set()
    for order in (orders[-1], last):
        assert order is not None
        order.result(30)
    thread.stop()


def test_who_waits_is_not_kept_waiting_by_an_error(tmp_path: Path) -> None:
    class Broken:
        def build(self, *_: Any) -> bool:
            raise OSError("no such device")

    thread = Builder(Shelf(tmp_path, 1 << 20), None)
    order = thread.ask(Broken(), Need(1, 1))  # type: ignore[arg-type]
    assert order is not None
    order.result(30)
    thread.stop()


def test_a_thread_that_nobody_needs_ends_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_IDLE_S", 0.01)
    thread, columns = Builder(Shelf(tmp_path, 1 << 20), None), _Held()
    columns.let_go.set()
    for _ in range(2):
        order = thread.ask(columns, Need(1, 1))  # type: ignore[arg-type]
        assert order is not None
        order.result(30)
        until(lambda: thread._thread is None)
    thread.stop()


def test_a_worker_of_functions_keeps_them_in_the_temporary_folder(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    series, query = Series(long(desk).observer), Query("feed", "S7", "price")
    assert series.points(query)["rows"] < 1200
    built = series.build(query)
    assert built is not None
    built.result(60)
    assert series.points(query)["rows"] == 1200
    assert list((tmp_path / "tmp").rglob("*.columns"))
    series.close()


def test_the_temporary_folder_is_this_users_own(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = temporary(desk.observer)
    assert folder == temporary(desk.observer)
    assert folder.parent == tmp_path / f"observer-{os.getuid()}"
    assert folder.parent.stat().st_mode & 0o077 == 0
    folder.parent.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    folder.parent.symlink_to(elsewhere)
    assert not temporary(desk.observer).is_relative_to(folder.parent)


# ---------------------------------------------------------------------- markers


def pattern(
    minute: float, subject: str = "A", field: str = "price", late: float = 0, **changes: Any
) -> PatternRecord:
    at = START + round(minute * MINUTE)
    values: dict[str, Any] = {
        "id": f"{minute}{subject}{field}", "pattern": "level_shift", "series": (("feed", subject, field),),
        "score": 0.9, "severity": "warning", "direction": "up", "tags": (), "detector": "cusum/1",
        "evidence": {"value": minute}, "snapshot": "snapshots.feed@1", "event_ns": at,
        "time_ns": at + round(late * MINUTE),
    }  # fmt: skip
    return PatternRecord(**{**values, **changes})


@pytest.fixture
def marked(desk: Desk) -> Desk:
    for minute in range(20):
        desk.see(minute)
    found = [
        pattern(1), pattern(2, "B"), pattern(3, field="load"), pattern(4, ALL, ALL, pattern="feed_stale"),
        pattern(5, "AA"), pattern(6, series=(("feed", "B", "price"), ("feed", "A", "price"))), pattern(7),
    ]  # fmt: skip
    desk.write("patterns.feed", *found)
    return desk


def minutes(found: dict[str, Any]) -> list[float]:
    return [item["evidence"]["value"] for item in found["items"]]


def ask(desk: Desk, first: float = 0, last: float = 19, **options: Any) -> dict[str, Any]:
    return markers(
        desk.observer.journals, desk.series, "feed", "A", "price", START + round(first * MINUTE),
        START + round(last * MINUTE), **options,
    )  # fmt: skip


def test_markers_are_the_patterns_of_the_series(marked: Desk) -> None:
    found = ask(marked)
    assert (minutes(found), found["truncated"]) == ([1, 6, 7], False)
    assert found["items"][0] == {
        "ref": "patterns.feed@1", "time_ms": ms(1), "pattern": "level_shift", "severity": "warning",
        "direction": "up", "score": 0.9, "evidence": {"value": 1},
    }  # fmt: skip


def test_all_of_them_are_those_of_other_fields_and_of_the_source_too(marked: Desk) -> None:
    assert minutes(ask(marked, everything=True)) == [1, 3, 4, 6, 7]


def test_markers_are_those_of_the_span_and_the_newest_when_there_are_more(marked: Desk) -> None:
    assert minutes(ask(marked, 1, 6)) == [1, 6]
    assert minutes(ask(marked, 1.5, 5.5)) == []
    found = ask(marked, limit=2)
    assert (minutes(found), found["truncated"]) == ([6, 7], True)
    assert not ask(marked, limit=3)["truncated"]


def test_a_pattern_that_was_learnt_long_after_it_happened_is_found(marked: Desk) -> None:
    marked.see(8.5, ingest_ns=START + 5000 * MINUTE)
    marked.write("patterns.feed", pattern(8.5, late=4991.5))
    assert minutes(ask(marked, 8, 9)) == [8.5]


def test_a_source_without_patterns_has_no_markers(desk: Desk) -> None:
    desk.see(0)
    assert ask(desk) == {"items": [], "truncated": False}
