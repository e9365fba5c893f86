"""A test for each thing that can be wrong with a recording: the error says what, where, and what to do."""

import gzip
import resource
import sys
from pathlib import Path

import pytest

from observer_core.snapshot_engine.recorded import mapping, table
from observer_core.snapshot_engine.sources.recording import RecordingConfig, RecordingError, plan

CONFIG = RecordingConfig(time="ts", subject="series")
GOOD = "2018-04-05T00:00:00Z,X,1,2\n"
HEADER = "ts,series,close,volume\n"


def error_of(path: Path, data: str | bytes, config: RecordingConfig = CONFIG) -> str:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(RecordingError) as caught:
        plan([str(path)], "m", config)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", ": is empty; expected a header line and rows"),
        ("\n \n", ": is empty; expected a header line and rows"),
        (HEADER, ": has a header but no rows; expected at least one row"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,X,abc,2\n",
         ", line 3, column 'close': found 'abc', expected a number (or nothing); mend the cell, or leave"),
        (HEADER + GOOD + "\n" + "2018-04-05T00:01:00Z,X,inf,2\n",
         ", line 4, column 'close': found 'inf', expected a finite number (or nothing)"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,X,1e999,2\n", ", line 3, column 'close': found '1e999'"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,X,true,2\n", ", line 3, column 'close': found 'true'"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,X,1\n",
         ", line 3: has 3 cells, expected 4 as in the header; a cell may be torn, or hold"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,X,1,2,3\n", ", line 3: has 5 cells, expected 4"),
        (HEADER + GOOD + "2018-04-05T00:01:00,X,1,2\n",
         ", line 3, column 'ts': '2018-04-05T00:01:00' has no zone; write one behind it"),
        (HEADER + "yesterday,X,1,2\n", ", line 2, column 'ts': 'yesterday' is not a time"),
        (HEADER + "0001-01-01T00:00:00Z,X,1,2\n", ", line 2, column 'ts': '0001-01-01T00:00:00Z' is outside"),
        (HEADER + GOOD + "2018-04-05T00:01:00Z,,1,2\n",
         ", line 3, column 'series': the subject's name is empty"),
        (HEADER + "2018-04-05T00:01:00Z,a\x00b,1,2\n",
         ", line 2, column 'series': the subject's name holds the character '\\x00', which cannot be shown"),
        (HEADER + f"2018-04-05T00:01:00Z,{'a' * 300},1,2\n",
         ", line 2, column 'series': the subject's name has 300 characters, at most 256 were expected"),
        (HEADER + GOOD + '2018-04-05T00:01:00Z,"X,1,2\n' + GOOD,
         ", line 3: is not CSV: unexpected end of data; a quote that is opened must be closed in its row"),
        (HEADER + '"2018-04-05T00:01:00Z"x,X,1,2\n', ", line 2: is not CSV: ',' expected after '\"'"),
        ('ts,series,close\n"2018-04-05T00:00:00Z","X\n","1"\n2018-04-05T00:00:00Z,X,y\n',
         ", line 4, column 'close': found 'y'"),
        (b"ts,series,close\n2018-04-05T00:00:00Z,X\xff,1\n",
         ", line 2: holds the bytes b'\\xff,1\\n', which are not UTF-8 text; expected CSV"),
        (b"\x00\x01\x02\n\x00\n",
         ", line 1: found '\\x00\\x01\\x02' as a column's name; expected text: is this file binary?"),
        (b"PK\x03\x04zip", ": is packed with zip; unpack it, or pack it with gzip"),
        (b"PAR1 but nothing else", ": is not a readable Parquet file"),
        ("time,series,close\n",
         ": has no time column 'ts'; it has: time, series, close. Name one of these"),
        ("ts,symbol,close\n",
         ": has no subject column 'series'; it has: ts, symbol, close. Name one of these"),
        ("ts,series,a,a\n" + GOOD, ": has 2 columns named 'a'; the field must be one of them"),
        ("ts,series,close,\n" + GOOD, ": column 4 has no name; name it, or say which fields to take"),
    ],
)  # fmt: skip
def test_bad_csv(tmp_path: Path, data: str | bytes, message: str) -> None:
    pytest.importorskip("pyarrow") if str(data).startswith("b'PAR1") else None
    assert error_of(tmp_path / "a.csv", data).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ", line 2: is not JSON: unexpected end of data"),
        ("[1]", ", line 2: found [1], expected one JSON object a line, such as"),
        (
            '{"ts":1522886400,"series":"X","close":"1"}',
            ", line 2, column 'close': found '1', expected a number",
        ),
        ('{"series":"X","close":1}', ", line 2: has no time in the key 'ts'; it has the keys: series, close"),
        ('{"ts":"soon","series":"X"}', ", line 2, column 'ts': 'soon' is not a time"),
        ('{"ts":1522886400,"series":7}', ", line 2, column 'series': found 7 as the subject, expected text"),
        ('{"ts":1522886400,"series":""}', ", line 2, column 'series': the subject's name is empty"),
        ('{"ts":1522886400,"series":"X","":1}', ", line 2: the key '' is empty"),
        ('{"ts":1522886400,"series":"X","close":NaN}', ", line 2: is not JSON"),
    ],
)
def test_bad_ndjson(tmp_path: Path, line: str, message: str) -> None:
    good = '{"ts":1522886400,"series":"X","close":1}\n'
    assert error_of(tmp_path / "a.ndjson", good + line + "\n").startswith(message)


def test_the_line_is_right_far_into_a_file_and_after_growth(tmp_path: Path) -> None:
    rows = HEADER + GOOD * 10_000
    assert error_of(tmp_path / "a.csv", rows + "\n" + GOOD + "bad\n").startswith(", line 10004: has 1 cells")
    path = tmp_path / "b.csv"
    path.write_text(rows)
    known = plan([str(path)], "m", CONFIG).known_after()
    path.write_text(rows + GOOD * 5_000 + "bad\n")
    with pytest.raises(RecordingError, match="line 15002: has 1 cells"):
        plan([str(path)], "m", CONFIG, known)


def test_unknown_fields_are_named_beside_those_there_are(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"fields": ("close", "price")})
    assert error_of(tmp_path / "a.csv", HEADER + GOOD, config) == (
        ": has no field 'price'; it has: ts, series, close, volume. Name one of these"
    )


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    packed = gzip.compress((HEADER + GOOD * 1000).encode())
    assert error_of(tmp_path / "a.csv.gz", packed[:-20]) == (
        ": the gzip data end too early; the file is truncated or still being written"
    )
    broken = packed[:30] + b"\x00\x00\x00\x00" + packed[34:]
    assert error_of(tmp_path / "b.csv.gz", broken).startswith(": cannot be read: ")


def test_a_million_columns_are_refused(tmp_path: Path) -> None:
    header = "ts," + ",".join(map(str, range(10**6)))
    assert error_of(tmp_path / "a.csv", header + "\n1\n") == (
        ", line 1: has 1,000,001 columns, at most 4,096 were expected"
    )
    wide = HEADER + GOOD + "1" + "," * 10**6 + "\n"
    assert error_of(tmp_path / "b.csv", wide).startswith(", line 3: has 1,000,001 cells, expected 4")


def test_ndjson_with_endlessly_many_keys_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from observer_core.snapshot_engine.recorded import ndjson_rows

    monkeypatch.setattr(ndjson_rows, "MAX_COLUMNS", 10)
    lines = [f'{{"ts":1522886400,"series":"X","k{i}":1}}' for i in range(11)]
    assert error_of(tmp_path / "a.ndjson", "\n".join(lines)) == (
        ", line 11: has more than 10 different keys; say which fields to take"
    )


def test_too_many_subjects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_SUBJECTS", 3)
    rows = "".join(GOOD.replace("X", name) for name in "ABCD")
    assert error_of(tmp_path / "a.csv", HEADER + rows) == (
        ", line 5, column 'series': a subject beyond 3 different ones; is this the subject column?"
    )
    assert mapping.MAX_SUBJECTS == 100_000


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_200_megabytes_is_refused_without_being_read_whole(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "a.csv"
    if packed:
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(HEADER.encode() + GOOD.encode())
            for _ in range(20):
                file.write(b"1" * 1024 * 1024)
    else:
        with open(path, "wb") as file:
            file.write(HEADER.encode() + GOOD.encode())
            file.truncate(200 * 1024 * 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RecordingError, match="line 3: is longer than 16,777,216 bytes"):
        plan([str(path)], "m", CONFIG)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown * (1 if sys.platform == "darwin" else 1024) < 100 * 1024 * 1024


def test_a_first_line_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with open(path, "wb") as file:
        file.truncate(200 * 1024 * 1024)
    with pytest.raises(RecordingError, match="line 1: is longer than 16,777,216 bytes"):
        plan([str(path)], "m", CONFIG)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be opened: No such file"):
        plan([str(tmp_path / "none.csv")], "m", CONFIG)
    with pytest.raises(RecordingError, match="cannot be opened: Is a directory"):
        plan([str(tmp_path)], "m", CONFIG)


def test_a_parquet_file_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert error_of(tmp_path / "a.parquet", b"PAR1....").startswith(
        ": is a Parquet file; reading it needs pyarrow: install the extra"
    )


def test_bad_parquet_is_named_by_column_and_row(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    def written(**columns: list[object]) -> bytes:
        parquet.write_table(arrow.table(columns), tmp_path / "made")
        return (tmp_path / "made").read_bytes()

    time, path = "2018-04-05T00:00:00Z", tmp_path / "a.parquet"
    assert error_of(path, written(time=[time], series=["X"], a=[1])).startswith(": has no time column 'ts'")
    bad = written(ts=[time, time], series=["X", "X"], a=[1.0, float("inf")])
    assert error_of(path, bad) == ", column 'a': row 2 is infinite, expected a number or null"
    assert error_of(path, written(ts=[time, None], series=["X", "X"], a=[1, 2])) == (
        ", column 'ts': row 2 has no time"
    )
    assert error_of(path, written(ts=[time], series=[None], a=[1])).startswith(
        ": row 1 has None as its subject, expected text"
    )
    text = CONFIG.model_copy(update={"fields": ("a",)})
    assert error_of(path, written(ts=[time], series=["X"], a=["b"]), text).startswith(
        ", column 'a': holds string, expected numbers"
    )
