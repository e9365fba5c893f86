import gzip
import math
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from observer_core.shared.clock import parse_time
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.recorded import content
from observer_core.snapshot_engine.recorded.csv_rows import _floats
from observer_core.snapshot_engine.recorded.table import Subjects, Times
from observer_core.snapshot_engine.sources.recording import RecordingConfig, RecordingError, plan

MINUTE = 60_000_000_000
BARS = RecordingConfig(time="ts", subject="series", bar=MINUTE)
T0 = parse_time("2018-04-05T00:00:00Z")


def at(minute: int) -> str:
    return f"2018-04-05T{minute // 60:02}:{minute % 60:02}:00Z"


def write(path: Path, *rows: str, header: str = "ts,series,close,volume", end: str = "\n") -> str:
    text = "\n".join((header, *rows)) + end
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return str(path)


def plain(snapshot: Snapshot) -> tuple[object, ...]:
    fields = {
        name: [None if math.isnan(v) else v for v in column.tolist()]
        for name, column in snapshot.fields.items()
    }
    return snapshot.event_ns, snapshot.ingest_ns, snapshot.subjects, fields


def rows_of(path: str, config: RecordingConfig = BARS) -> list[tuple[object, ...]]:
    return [plain(s) for s in plan([path], "m", config).snapshots()]


def test_a_bar_stamped_at_its_open_is_known_when_it_ends(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1.5,2", f"{at(0)},Y,3,4", f"{at(1)},X,1.6,")
    assert rows_of(path) == [
        (T0, T0 + MINUTE, ("X", "Y"), {"close": [1.5, 3.0], "volume": [2.0, 4.0]}),
        (T0 + MINUTE, T0 + 2 * MINUTE, ("X",), {"close": [1.6]}),
    ]


def test_a_bar_stamped_at_its_close_is_known_at_its_stamp(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(1)},X,1,2")
    (only,) = rows_of(path, BARS.model_copy(update={"stamp": "close"}))
    assert only[:2] == (T0 + MINUTE, T0 + MINUTE)


def test_cells_with_more_digits_than_a_double_are_kept_exactly(tmp_path: Path) -> None:
    long = "0.12345678901234567891"
    rows = [
        f"{at(1)},Y,1.5,{long}",
        f"{at(0)},X, 1.000000000000000,2",
        "",
        f"{at(1)},X,{long},0.1000000000000000",
    ]
    path = write(tmp_path / "a.csv", *rows, f"{at(2)},X,nothing_at_all_here,1")
    mended = write(tmp_path / "b.csv", *rows)
    with pytest.raises(RecordingError, match="line 6, column 'close'"):
        rows_of(path)
    first, second = plan([mended], "m", BARS).snapshots()
    assert (first.decimals, second.decimals) == ({}, {"close": {"X": long}, "volume": {"Y": long}})
    assert second.fields["close"].tolist() == [0.12345678901234568, 1.5]


def test_a_row_says_where_it_came_from(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,1,2", f"{at(0)},Y,3,4")
    load = plan([path], "m", BARS)
    assert [s.origin for s in load.snapshots()] == [
        {"load": load.id, "rows": [0, 2]},
        {"load": load.id, "rows": [1]},
    ]
    assert len(load.id) == 32


def test_a_file_sorted_by_series_and_one_sorted_by_time_give_equal_snapshots(tmp_path: Path) -> None:
    by_series = [f"{at(t)},{s},{t}{i},1" for i, s in enumerate("BAC") for t in range(5)]
    by_time = sorted(by_series, key=lambda row: row[:20])
    assert rows_of(write(tmp_path / "a.csv", *by_series)) == rows_of(write(tmp_path / "b.csv", *by_time))


def test_a_backward_stamp_is_known_with_its_predecessor_and_keeps_its_own_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(5)},X,1,1", f"{at(3)},X,2,1", f"{at(6)},X,3,1", f"{at(4)},Y,9,1")
    assert rows_of(path) == [
        (T0 + 4 * MINUTE, T0 + 5 * MINUTE, ("Y",), {"close": [9.0], "volume": [1.0]}),
        (T0 + 5 * MINUTE, T0 + 6 * MINUTE, ("X",), {"close": [1.0], "volume": [1.0]}),
        (T0 + 3 * MINUTE, T0 + 6 * MINUTE, ("X",), {"close": [2.0], "volume": [1.0]}),
        (T0 + 6 * MINUTE, T0 + 7 * MINUTE, ("X",), {"close": [3.0], "volume": [1.0]}),
    ]


def test_equal_rows_all_stay_each_in_a_snapshot_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", *[f"{at(0)},X,1,1"] * 3, f"{at(0)},Y,5,1")
    assert [row[2] for row in rows_of(path)] == [("X", "Y"), ("X",), ("X",)]


def test_trades_and_quotes_of_one_moment_stand_in_one_row(tmp_path: Path) -> None:
    trades = write(tmp_path / "t.csv", f"{at(0)},X,1,2", f"{at(1)},X,3,4")
    quotes = write(tmp_path / "q.csv", f"{at(0)},X,8,9", f"{at(0)},Y,6,7", header="ts,series,bid,ask")
    load = plan([trades, quotes], "m", BARS)
    first, second = load.snapshots()
    assert plain(first)[2:] == (
        ("X", "Y"),
        {"close": [1.0, None], "volume": [2.0, None], "bid": [8.0, 6.0], "ask": [9.0, 7.0]},
    )
    assert plain(second)[2:] == (("X",), {"close": [3.0], "volume": [4.0]})
    assert first.origin == {"load": load.id, "rows": [0, 2, 3]}


def test_files_with_a_field_in_common_follow_one_another_at_one_moment(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", f"{at(0)},X,1,2")
    two = write(tmp_path / "2.csv", f"{at(0)},X,3,7", header="ts,series,close,bid")
    assert [plain(s)[3] for s in plan([one, two], "m", BARS).snapshots()] == [
        {"close": [1.0], "volume": [2.0]},
        {"close": [3.0], "bid": [7.0]},
    ]


def test_one_tuple_of_subjects_serves_as_long_as_they_stay(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", *(f"{at(t)},{s},1,1" for t in range(3) for s in "XY"))
    first, second, third = plan([path], "m", BARS).snapshots()
    assert first.subjects is second.subjects is third.subjects


def test_a_file_without_a_subject_column_is_one_subject(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},1", header="ts,value")
    assert rows_of(path, RecordingConfig(time="ts"))[0][2] == ("m",)
    assert rows_of(path, RecordingConfig(time="ts", subject_name="cpu"))[0][2] == ("cpu",)


@pytest.mark.parametrize("ext", ["csv", "csv.gz", "ndjson", "ndjson.gz", "parquet"])
def test_every_format_gives_the_same_rows(tmp_path: Path, ext: str) -> None:
    rows = [(at(0), "X", 1.5, None), (at(0), "Y", 2.0, 7.0), (at(1), "X", -0.1, 1e-300)]
    path = tmp_path / f"a.{ext}"
    if ext == "parquet":
        arrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        columns = dict(zip(("ts", "series", "close", "volume"), map(list, zip(*rows)), strict=True))
        parquet.write_table(arrow.table(columns), path)
    elif "ndjson" in ext:
        import orjson

        lines = [orjson.dumps(dict(zip(("ts", "series", "close", "volume"), r, strict=True))) for r in rows]
        data = b"\n".join(lines) + b"\n"
        path.write_bytes(gzip.compress(data) if ext.endswith("gz") else data)
    else:
        write(path, *(f"{t},{s},{c!r},{'' if v is None else repr(v)}" for t, s, c, v in rows))
    load = plan([str(path)], "m", BARS)
    assert [plain(s) for s in load.snapshots()] == [
        (T0, T0 + MINUTE, ("X", "Y"), {"close": [1.5, 2.0], "volume": [None, 7.0]}),
        (T0 + MINUTE, T0 + 2 * MINUTE, ("X",), {"close": [-0.1], "volume": [1e-300]}),
    ]
    again = plan([str(path)], "m", BARS, load.known_after())
    assert (again.rows, again.total) == (0, 0)


def test_parquet_times_are_read_in_their_unit_and_zone(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = str(tmp_path / "a.parquet")
    stamps = arrow.array([T0 // 1_000_000], arrow.timestamp("ms"))
    parquet.write_table(arrow.table({"ts": stamps, "value": [1]}), path)
    with pytest.raises(RecordingError, match="row 1, time: .* has no zone"):
        plan([path], "m", RecordingConfig(time="ts"))
    (utc,) = rows_of(path, RecordingConfig(time="ts", zone="UTC"))
    (seoul,) = rows_of(path, RecordingConfig(time="ts", zone="Asia/Seoul"))
    assert (utc[0], seoul[0]) == (T0, T0 - 9 * 60 * MINUTE)


def test_reading_twice_adds_nothing_under_any_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2")
    first = plan([path], "m", BARS)
    copy = write(tmp_path / "copy.csv.gz", f"{at(0)},X,1,2")
    assert plan([copy], "m", BARS, first.known_after()).total == 0
    assert plan([path, copy], "m", BARS).rows == 1


def test_a_grown_file_adds_its_new_rows_only(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,1,2")
    first = plan([path], "m", BARS)
    with open(path, "a") as file:
        file.write(f"{at(2)},X,3,4\n{at(3)},Y,x,4\n")
    with pytest.raises(RecordingError, match=r"a.csv, line 5, column 'close': found 'x'"):
        plan([path], "m", BARS, first.known_after())
    text = Path(path).read_text().replace("x", "5")
    Path(path).write_text(text)
    second = plan([path], "m", BARS, first.known_after())
    assert (second.parts[0].rows_from, second.parts[0].rows_to, second.rows) == (2, 4, 2)
    assert [plain(s)[3]["close"] for s in second.snapshots()] == [[3.0], [5.0]]  # type: ignore[index]
    assert plan([path], "m", BARS, [*first.known_after(), *second.known_after()]).total == 0


def test_a_changed_file_is_new_from_its_beginning(tmp_path: Path) -> None:
    first = plan([write(tmp_path / "a.csv", f"{at(0)},X,1,2")], "m", BARS)
    changed = write(tmp_path / "a.csv", f"{at(0)},X,9,2", f"{at(1)},X,1,2")
    assert plan([changed], "m", BARS, first.known_after()).rows == 2


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_file_whose_last_line_has_no_newline_can_grow(tmp_path: Path, end: str) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,3,4", end=end)
    first = plan([path], "m", BARS)
    assert first.rows == 2
    with open(path, "a") as file:
        file.write(("" if end else "\n") + f"{at(2)},X,5,6\n")
    second = plan([path], "m", BARS, first.known_after())
    assert (second.rows, second.parts[0].rows_from) == (1, 2)


def test_a_last_line_that_is_continued_comes_again_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,3,4", end="")
    first = plan([path], "m", BARS)
    with open(path, "a") as file:
        file.write("5\n")
    second = plan([path], "m", BARS, first.known_after())
    assert [plain(s)[3] for s in second.snapshots()] == [{"close": [3.0], "volume": [45.0]}]
    assert (second.parts[0].rows_from, second.parts[0].rows_to) == (1, 2)
    quoted = write(tmp_path / "q.csv", f'{at(0)},"X\n",1,2', end="")
    first = plan([quoted], "m", BARS)
    with open(quoted, "a") as file:
        file.write("5\n")
    assert plan([quoted], "m", BARS, first.known_after()).rows == 1


def test_the_torn_last_line_of_a_file_that_grows_is_left_for_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,3", end="")
    read = os.pread

    def read_while_somebody_writes(descriptor: int, size: int, position: int) -> bytes:
        data = read(descriptor, size, position)
        if position and not data and not Path(path).read_text().endswith("\n"):
            with open(path, "a") as file:
                file.write(".5,4\n")
        return data

    monkeypatch.setattr(content.os, "pread", read_while_somebody_writes)
    first = plan([path], "m", BARS)
    monkeypatch.undo()
    assert first.rows == 1
    (note,) = first.notes
    assert note.startswith(
        f"{path}, line 3: the file grew while it was read; its unfinished last line is left"
    )
    second = plan([path], "m", BARS, first.known_after())
    assert [plain(s)[3] for s in second.snapshots()] == [{"close": [3.5], "volume": [4.0]}]


def test_an_interrupted_load_can_be_finished_after_its_file_has_grown(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,2", f"{at(1)},X,3,4")
    first = plan([path], "m", BARS)
    with open(path, "a") as file:
        file.write(f"{at(2)},X,5,6\n")
    assert plan([path], "m", BARS).id != first.id
    resumed = plan([path], "m", BARS, pinned=first.parts)
    assert (resumed.id, resumed.parts) == (first.id, first.parts)
    assert [plain(s) for s in resumed.snapshots(1)] == [plain(s) for s in first.snapshots()][1:]
    write(tmp_path / "a.csv", f"{at(0)},X,1,9", f"{at(1)},X,3,4")
    with pytest.raises(RecordingError, match="is not what it was when its ingestion began"):
        plan([path], "m", BARS, pinned=first.parts)


def test_a_load_is_the_same_wherever_its_files_lie_and_another_under_another_mapping(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = plan([write(tmp_path / "a.csv", f"{at(0)},X,1,2")], "m", BARS)
    two = plan([write(tmp_path / "other" / "b.csv", f"{at(0)},X,1,2")], "m", BARS)
    assert one.id == two.id
    assert plan([one.parts[0].path], "n", BARS).id != one.id
    assert plan([one.parts[0].path], "m", BARS.model_copy(update={"bar": 2 * MINUTE})).id != one.id


def test_resuming_at_every_place_gives_the_rest_of_the_sequence(tmp_path: Path) -> None:
    rows = [f"{at(t % 7)},{'XYZ'[t % 3]},{t},1" for t in range(40)]
    load = plan([write(tmp_path / "a.csv", *rows)], "m", BARS)
    whole = [(plain(s), s.origin) for s in load.snapshots()]
    assert sum(len(s.origin["rows"]) for s in load.snapshots()) == load.rows == 40  # type: ignore[index]
    for start in range(load.total + 1):
        assert [(plain(s), s.origin) for s in load.snapshots(start)] == whole[start:]


def test_a_byte_order_mark_blank_lines_crlf_and_quotes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = f'\ufeff\r\nts,series,close\r\n"{at(0)}","X","1.5"\r\n\r\n{at(1)},X,\r\n\r\n'
    path.write_bytes(text.encode())
    assert [row[3] for row in rows_of(str(path))] == [{"close": [1.5]}, {}]


def test_columns_of_text_are_left_out_and_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", f"{at(0)},X,1,buy", header="ts,series,close,side")
    load = plan([path], "m", BARS)
    assert [list(s.fields) for s in load.snapshots()] == [["close"]]
    assert load.notes == (f"{path}: left out, for they do not hold numbers: side",)


def test_keys_that_first_come_late_in_ndjson_are_columns_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"time":1522886400,"a":1,"note":"x"}\n\n{"time":1522886401.25,"b":2,"a":null}\n')
    load = plan([str(path)], "m", RecordingConfig())
    assert [plain(s)[3] for s in load.snapshots()] == [{"a": [1.0]}, {"b": [2.0]}]
    assert [s.event_ns for s in load.snapshots()] == [1522886400 * 10**9, 1522886401_250_000_000]
    assert "note" in load.notes[0]


def test_times_are_read_exactly_as_parse_time_reads_them() -> None:
    utc, bare = Times("UTC"), Times(None)
    for text in (
        "2018-04-05T00:01:59Z", "2018-04-05 00:01:59Z", "2018-04-05T00:01:07.123456789Z",
        "2018-04-05T00:01:07+09:00", "1522886400", "1522886400123", "1969-12-31T23:59:59Z",
    ):  # fmt: skip
        assert utc[text] == bare[text] == parse_time(text)
    for text in ("2018-04-05T00:01:07", "2018-04-05 00:01:07", "2018-04-05"):
        assert utc[text] == parse_time(text, "UTC")
        with pytest.raises(Exception, match="no zone"):
            bare[text]
    assert bare["1522886400.5"] == 1522886400_500_000_000
    assert bare["1522886400123.25"] == 1522886400_123_250_000
    for text in ("2018-04-05T00:01:60Z", "2018-04-05T00:61:00Z", "2018-04-05T00:01:0xZ", "yesterday"):
        with pytest.raises(Exception, match="is not a time"):
            utc[text]
    with pytest.raises(Exception, match="outside the years 1678 to 2261"):
        utc["0001-01-01T00:00:00Z"]


def test_summer_time_is_that_of_the_zone() -> None:
    new_york = Times("America/New_York")
    assert new_york["2018-03-11T01:59:30"] + 30 * 10**9 == new_york["2018-03-11T03:00:00"]


def test_cells_that_json_spells_otherwise_are_read_as_float_reads_them() -> None:
    cells = ("-0", "1e5", "+1", ".5", "1.", "007", " 2 ", "123456789012345678901234567890", "")
    got = _floats(cells).tolist()
    assert [repr(v) for v in got] == [repr(float(c)) if c else "nan" for c in cells]
    for bad in (("true",), ("1,2",), ("[1", "2]"), ("null", "false"), ("1e999",), ("x",)):
        with pytest.raises(ValueError):  # noqa: PT011 - the caller looks for the cell and says which
            _floats(bad)


def test_subjects_get_a_place_each_in_order_of_appearance() -> None:
    subjects = Subjects()
    assert [subjects[name] for name in ("b", " a ", "a", "b")] == [0, 1, 1, 0]
    assert subjects.names == ["b", "a"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"subject": "a", "subject_name": "b"}, "exclude each other"),
        ({"subject": "t", "time": "t"}, "both name the column 't'"),
        ({"fields": []}, "names no column"),
        ({"fields": ["a", "a"]}, "names a column twice"),
        ({"fields": ["time"]}, "which is the time or subject column"),
        ({"zone": "Mars"}, "'Mars' is not an IANA time zone"),
        ({"bar": "0s"}, "greater than 0"),
        ({"bars": "1m"}, "Extra inputs"),
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RecordingConfig.model_validate(given)
