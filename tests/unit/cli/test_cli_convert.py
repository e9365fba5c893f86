"""convert: captures into files that ingest takes."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path

import pytest

from tests.unit.cli.conftest import run

TRADE = '["2.50","1.00","1700000000.2","s","l",""]'
LINES = [
    "wss://ws.example <-> 1700000000.1",
    '1700000000.2: {"event":"heartbeat"}',
    f'1700000000.25: [9,[{TRADE},{TRADE}],"trade","XBT/EUR"]',
    '1700000000.3: [9,[["7.10","0.5","1700000000.29","b","m",""]],"trade","XDG/EUR"]',
]
TIMES = ["2023-11-14T22:13:20.25Z", "2023-11-14T22:13:20.250000001Z", "2023-11-14T22:13:20.3Z"]
TOLD = (
    "3 rows of 2 subjects of kraken\n  skipped   2: 1 connection, 1 heartbeat\n  moved     1, by nanoseconds"
)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "KRAKEN.ws.0.gz"
    path.write_bytes(gzip.compress("\n".join([*LINES, ""]).encode()))
    return path


def test_rows_go_to_standard_output_and_everything_else_does_not(tmp_path: Path, capture: Path) -> None:
    done = run(tmp_path, "convert", capture, "--venue", "kraken")
    assert done.exit_code == 0, done.output
    assert [json.loads(line)["time"] for line in done.stdout.splitlines()] == TIMES
    assert done.stderr.startswith(TOLD)
    assert done.stderr.endswith("  observer ingest FILE --source kraken --time time --subject subject\n")
    assert list(tmp_path.iterdir()) == [capture]


@pytest.mark.parametrize("name", ["rows.ndjson", "my rows.ndjson.gz"])
def test_what_is_told_to_be_next_ingests_every_row(tmp_path: Path, capture: Path, name: str) -> None:
    out = tmp_path / name
    done = run(tmp_path, "convert", capture, "--venue", "kraken", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert out.read_bytes().startswith(b"\x1f\x8b" if name.endswith(".gz") else b'{"time"')
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([capture.name, name])

    command = shlex.split(done.stderr.splitlines()[-1])
    assert command[:3] == ["observer", "ingest", str(out)]
    ingested = run(tmp_path, *command[1:], "--durability", "normal", "--json")
    assert ingested.exit_code == 0, ingested.output
    summary = json.loads(ingested.stdout)
    assert (summary["rows"], summary["snapshots"], summary["observations"]) == (3, 3, 6)
    shown = run(tmp_path, "snapshots", "ls", "--json").stdout.splitlines()
    records = [json.loads(line) for line in shown]
    assert sorted((r["subjects"][0], r["fields"]["price"][0]) for r in records) == [
        ("BTC/EUR", 2.5), ("BTC/EUR", 2.5), ("DOGE/EUR", 7.1),
    ]  # fmt: skip
    assert not any(record.get("quality") for record in records)


def test_packed_output_depends_on_the_capture_alone(tmp_path: Path, capture: Path) -> None:
    outs = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for out in outs:
        assert run(tmp_path, "convert", capture, "--venue", "kraken", "--out", out).exit_code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_a_line_that_is_refused_leaves_the_output_as_it_was(tmp_path: Path, capture: Path) -> None:
    capture.write_text("\n".join([*LINES, "garbage"]))
    out = tmp_path / "rows.ndjson"
    out.write_text("before")
    refused = run(tmp_path, "convert", capture, "--venue", "kraken", "--out", out)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(
        f"observer: {capture}, line 5: found b'garbage', expected a line such as"
    )
    assert out.read_text() == "before"
    assert sorted(tmp_path.iterdir()) == sorted([capture, out])


def test_what_holds_no_rows_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    done = run(tmp_path, "convert", empty, "--venue", "upbit")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "0 rows of 0 subjects of upbit\n  skipped   0\n"


def test_a_capture_or_what_is_no_file_is_not_written_over(tmp_path: Path, capture: Path) -> None:
    before = capture.read_bytes()
    for out, message in ((capture, "is one of the captures"), (tmp_path, "is no regular file"),
                         (Path("/dev/null"), "is no regular file")):  # fmt: skip
        refused = run(tmp_path, "convert", capture, "--venue", "kraken", "--out", out)
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert capture.read_bytes() == before


@pytest.mark.parametrize("words", [("gone",), ("x", "--out", "no/such/folder/rows")])
def test_files_that_cannot_be_opened_are_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "x").touch()
    refused = run(tmp_path, "convert", "--venue", "kraken", *(
        str(tmp_path / word) if not word.startswith("-") else word for word in words
    ))  # fmt: skip
    assert refused.exit_code == 2
    assert str(tmp_path) in refused.stderr
