"""Bad input through the command line: the message, the exit code, and that nothing committed suffers."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from observer_core.cli.app import app
from observer_core.snapshot_engine.recorded.content import MAX_LINE_BYTES
from tests.support.market import MINUTES, START_MINUTE, recording, rows

OPTIONS = ("--source", "desk", "--time", "ts", "--subject", "name", "--bar", "1m", "--durability", "normal")
HEADER = "ts,name,price"


def run(folder: Path, *words: str | Path, stdin: str | None = None) -> Result:
    found = CliRunner().invoke(app, ["--root", str(folder), *map(str, words)], input=stdin)
    assert "Traceback" not in found.stderr
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    return found


def ingest(folder: Path, path: Path, *more: str) -> Result:
    return run(folder, "ingest", path, *OPTIONS, *more)


def digest(folder: Path) -> str:
    found = run(folder, "digest")
    assert found.exit_code == 0, found.output
    return found.stdout


def snapshots(folder: Path) -> list[dict[str, Any]]:
    found = run(folder, "snapshots", "ls", "--source", "desk", "--limit", "0", "--json")
    assert found.exit_code == 0, found.output
    return [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OBSERVER_", "QTS_OBSERVER")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ingested")
    assert ingest(folder, recording(folder / "desk.csv")).exit_code == 0
    return folder


@pytest.fixture
def own(ingested: Path, tmp_path: Path) -> Path:
    """A copy of a folder in which the market is ingested already."""
    return Path(shutil.copytree(ingested, tmp_path / "own"))


# ---------------------------------------------------------------------- files that cannot be used


def raw(content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(content)

    return make


def text(content: str, header: str = HEADER) -> Callable[[Path], None]:
    return raw(f"{header}\n{content}".encode())


def million_columns(path: Path) -> None:
    with path.open("w") as file:
        file.write(HEADER + "".join(f",c{number}" for number in range(1_000_000)) + "\n")


def endless_line(path: Path) -> None:
    """200 MB of one line, of which the file system stores nothing."""
    path.write_text(f"{HEADER}\n{START_MINUTE * 60},A/USD,")
    with path.open("r+b") as file:
        file.truncate(200_000_000)


def packed_endless_line(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(f"{HEADER}\n".encode())
        for _ in range(40):
            file.write(b"1" * 1_000_000)


def torn_gzip(path: Path) -> None:
    whole = gzip.compress("\n".join([HEADER, *rows(range(50))]).encode())
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (raw(b""), ": is empty; expected a header line and rows"),
        (raw(b"\n\n"), ": is empty; expected a header line and rows"),
        (text(""), ": has a header but no rows; expected at least one row"),
        (text("1522800000,A/USD,cheap\n"), ", line 2, column 'price': found 'cheap', expected a number"),
        (
            text("1522800000,A/USD,1\n1522800060,A/USD,cheap\n"),
            ", line 3, column 'price': found 'cheap', expected a number (or nothing)",
        ),
        (
            text("1522800000,A/USD,1\nyesterday,A/USD,1\n"),
            ", line 3, column 'ts': 'yesterday' is not a time",
        ),
        (text("1522800000,A/USD,1\n1522800060,A/USD\n"), ", line 3: has 2 cells, expected 3"),
        (text("1522800000,A/USD,inf\n"), ", line 2, column 'price': found 'inf', expected a finite number"),
        (
            text("1522800000,A/USD,1\n", header="ts,symbol,price"),
            ": has no subject column 'name'; it has: ts, symbol, price",
        ),
        (
            text("1522800000,A/USD,1\n", header="time,name,price"),
            ": has no time column 'ts'; it has: time, name, price",
        ),
        (text("1522800000,A/USD,1,2\n", header="ts,name,price,price"), ": has 2 columns named 'price'"),
        (text('1522800000,"A/USD,1\n'), ", line 2: is not CSV"),
        (raw(b"\x7fELF\x02\x01\x01\x00" * 40), "as a column's name; expected text: is this file binary?"),
        (raw(HEADER.encode() + b"\n1522800000,\xff\xfe,1\n"), ", line 2: holds the bytes b'\\xff\\xfe,1'"),
        (Path.mkdir, ": cannot be opened: Is a directory"),
        (million_columns, ", line 1: has 1,000,003 columns, at most 4,096 were expected"),
        (endless_line, f", line 2: is longer than {MAX_LINE_BYTES:,} bytes"),
        (packed_endless_line, f", line 2: is longer than {MAX_LINE_BYTES:,} bytes"),
        (torn_gzip, ": the gzip data end too early; the file is truncated or still being written"),
    ],
    ids=[
        "empty", "blank", "only a header", "text in the first row", "text in a number column", "no time",
        "too few cells", "infinite", "unknown subject column", "unknown time column", "a column twice",
        "an open quote", "binary", "another encoding", "a folder", "a million columns", "a line of 200 MB",
        "a packed line of 40 MB", "torn gzip",
    ],
)  # fmt: skip
def test_it_says_what_is_wrong_where_and_takes_nothing_of_it(
    own: Path, make: Callable[[Path], None], message: str
) -> None:
    bad = own / "bad.csv"
    make(bad)
    before = digest(own)
    refused = ingest(own, bad, "--fields", "price")
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert refused.stderr.startswith(f"observer: {bad}")
    assert len(refused.stderr) < 1500
    assert digest(own) == before


def test_an_unknown_field_is_named_with_those_there_are(own: Path) -> None:
    before = digest(own)
    refused = ingest(own, recording(own / "more.csv", range(MINUTES + 9)), "--fields", "price,volume")
    assert refused.exit_code == 2
    assert "more.csv: has no field 'volume'; it has: ts, name, price" in refused.stderr
    assert digest(own) == before


def test_one_bad_file_of_several_stops_all_of_them(own: Path) -> None:
    good = recording(own / "good.csv", range(MINUTES, MINUTES + 20))
    bad = own / "bad.csv"
    bad.write_text(f"{HEADER}\n1,2\n")
    before = digest(own)
    refused = run(own, "ingest", good, bad, *OPTIONS)
    assert refused.exit_code == 2
    assert "bad.csv, line 2" in refused.stderr
    assert digest(own) == before


# ---------------------------------------------------------------------- data that are odd, and kept


def test_rows_that_stand_there_twice_are_kept_and_flagged(own: Path) -> None:
    at = (START_MINUTE + MINUTES) * 60
    odd = own / "odd.csv"
    odd.write_text(f"{HEADER}\n{at},A/USD,100\n{at},A/USD,100\n{at},A/USD,100\n{at + 60},A/USD,101\n")
    assert ingest(own, odd).exit_code == 0
    found = snapshots(own)[-4:]
    assert [s["fields"]["price"] for s in found] == [[100.0], [100.0], [100.0], [101.0]]
    assert [s.get("quality", {}).get("A/USD", []) for s in found] == [[], ["duplicate"], ["duplicate"], []]
    before = digest(own)
    assert ingest(own, odd).exit_code == 0
    assert digest(own) == before


def test_time_that_goes_backwards_is_kept_and_flagged(own: Path) -> None:
    at = (START_MINUTE + MINUTES) * 60
    odd = own / "odd.csv"
    odd.write_text(
        f"{HEADER}\n{at},A/USD,100\n{at + 120},A/USD,101\n{at + 60},A/USD,102\n{at + 180},A/USD,103\n"
    )
    assert ingest(own, odd).exit_code == 0
    found = snapshots(own)[-4:]
    assert [s["event_ns"] // 10**9 - at for s in found] == [0, 120, 60, 180]
    assert [s["ingest_ns"] for s in found] == sorted(s["ingest_ns"] for s in found)
    assert [s.get("quality", {}).get("A/USD", []) for s in found] == [[], [], ["out_of_order"], []]
    assert run(own, "verify").exit_code == 0


def test_a_file_that_is_older_than_what_is_there_is_known_late(own: Path) -> None:
    old = own / "old.csv"
    old.write_text(f"{HEADER}\n{(START_MINUTE - 5) * 60},A/USD,100\n")
    newest = snapshots(own)[-1]["ingest_ns"]
    assert ingest(own, old).exit_code == 0
    added = snapshots(own)[-1]
    assert (added["ingest_ns"], added["quality"]) == (newest, {"A/USD": ["out_of_order"]})


def test_no_number_is_no_observation_and_no_failure(own: Path) -> None:
    at = (START_MINUTE + MINUTES) * 60
    odd = own / "odd.csv"
    odd.write_text(f"{HEADER},size\n{at},A/USD,,1\n{at},B/USD,nan,2\n{at},C/USD,-3,\n")
    assert ingest(own, odd).exit_code == 0
    added = snapshots(own)[-1]
    assert added["fields"] == {"price": [None, None, -3.0], "size": [1.0, 2.0, None]}
    assert added["quality"] == {"C/USD": ["non_positive"]}


def test_a_last_line_without_its_end_is_taken_and_completed_later(own: Path) -> None:
    """A file that somebody is still writing."""
    at = (START_MINUTE + MINUTES) * 60
    growing = own / "growing.csv"
    growing.write_text(f"{HEADER}\n{at},A/USD,100.5\n{at + 60},A/USD,10")
    count = len(snapshots(own))
    assert ingest(own, growing).exit_code == 0
    growing.write_text(f"{HEADER}\n{at},A/USD,100.5\n{at + 60},A/USD,101.5\n{at + 120},A/USD,102\n")
    assert ingest(own, growing).exit_code == 0
    values = [s["fields"]["price"] for s in snapshots(own)[count:]]
    assert values == [[100.5], [10.0], [101.5], [102.0]], "all but the torn line stands there once"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"subject": "X", "price": 1e999}\n', "row 1"),
        ('{"subject": "X", "price": "high"}\n', "row 1: field 'price' is 'high', expected a number or null"),
        ('{"subject": "X"\n', "row 1: not JSON"),
        ("[" * 100_000 + "\n", "row 1"),
        ('{"subject": "X\\u0000", "price": 1}\n', "row 1: the subject"),
        ("{" + ",".join(f'"f{n}": 1' for n in range(5000)) + ', "subject": "X"}\n', "fields, at most"),
    ],
    ids=["beyond a float", "text", "torn", "deep", "control character", "5,000 fields"],
)
def test_what_is_pushed_is_checked_as_well(tmp_path: Path, body: str, message: str) -> None:
    refused = run(tmp_path, "push", "hand", stdin=body)
    assert refused.exit_code == 2, refused.output
    assert message in refused.stderr
    assert len(refused.stderr) < 1500
    assert not (tmp_path / "data/observer/snapshots").exists()


# ---------------------------------------------------------------------- a configuration that cannot be used


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"durability = \n", "observer.toml: expected TOML"),
        (b"\xff\xfe", "observer.toml: expected UTF-8 text"),
        (b"durabilty = 'full'\n", "durabilty: unknown key; remove it or check its spelling"),
        (b"max_lag = 'soon'\n", "max_lag: 'soon' is not a duration"),
        (b"policies = 'nix.toml'\n", "nix.toml: cannot be read as TOML"),
    ],
)
def test_a_configuration_that_cannot_be_used_stops_everything_that_acts(
    own: Path, content: bytes, message: str
) -> None:
    before = digest(own)
    (own / "config").mkdir()
    (own / "config/observer.toml").write_bytes(content)
    for words in (
        ("ingest", own / "desk.csv", *OPTIONS),
        ("run", "--no-console", "--for", "1s", "--port", "0"),
    ):
        refused = run(own, *words)
        assert refused.exit_code == 2
        assert message in refused.stderr
    shutil.rmtree(own / "config")
    assert digest(own) == before


def test_a_configuration_that_may_not_be_read_is_told(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "config").mkdir()
    (own / "config/observer.toml").write_text("")
    read = Path.read_text

    def forbidden(path: Path, *given: Any, **more: Any) -> str:
        if path.name == "observer.toml":
            raise PermissionError(13, "Permission denied")
        return read(path, *given, **more)

    monkeypatch.setattr(Path, "read_text", forbidden)
    refused = run(own, "status")
    assert refused.exit_code == 2
    assert "observer.toml: cannot be read: Permission denied" in refused.stderr


# ---------------------------------------------------------------------- a store that is damaged


def segments(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "data/observer" / kind).rglob("*.ndjson"))


def journal(folder: Path, name: str) -> dict[str, Any]:
    found = run(folder, "verify", name, "--json")
    return dict(json.loads(found.stdout))


@pytest.mark.parametrize("kind", ["snapshots", "patterns", "events", "decisions"])
def test_a_truncated_segment_is_a_fault_at_its_position_and_the_rest_is_readable(
    own: Path, kind: str
) -> None:
    last = segments(own, kind)[-1]
    last.write_bytes(last.read_bytes()[:-7])
    name = f"{kind}.desk"
    checked = run(own, "verify")
    assert checked.exit_code == 1
    assert f"✗ {name}" in checked.stdout
    fault = journal(own, name)["fault"]
    assert fault["fault"] == "gap"
    assert "were committed" in fault["detail"]
    for other in {"snapshots", "patterns", "events", "decisions"} - {kind}:
        assert journal(own, f"{other}.desk")["fault"] is None
    assert run(own, "status").exit_code in (0, 1)


def test_a_missing_segment_is_a_fault_too(own: Path) -> None:
    segments(own, "snapshots")[0].unlink()
    fault = journal(own, "snapshots.desk")["fault"]
    assert (fault["fault"], fault["position"]) == ("gap", 1)
    assert "does not exist" in fault["detail"]
    refused = run(own, "snapshots", "ls", "--limit", "0", "--json")
    assert refused.exit_code == 2
    assert "journal 'snapshots.desk' is broken at position 1 (gap)" in refused.stderr


def test_a_torn_line_behind_what_was_committed_is_no_fault_and_ingestion_goes_on(own: Path) -> None:
    """What a crash in the middle of an append leaves behind."""
    for kind in ("snapshots", "patterns", "events", "decisions"):
        with segments(own, kind)[-1].open("ab") as file:
            file.write(b'{"epoch":1,"kind":"sna')
    assert run(own, "verify").exit_code == 0
    before = len(snapshots(own))
    assert ingest(own, recording(own / "desk.csv", range(MINUTES + 90))).exit_code == 0
    assert len(snapshots(own)) == before + 90
    for command in (("verify",), ("replay", "--verify")):
        assert run(own, *command).exit_code == 0


def test_recent_records_whose_bytes_were_lost_are_cut_and_taken_in_again(own: Path) -> None:
    """`durability = normal` after a power failure: the index runs ahead of its bytes."""
    expected = digest(own)
    import sqlite3

    with sqlite3.connect(own / "data/observer/journal.db") as database:
        # Nothing was said to be durable yet.
        database.execute("DELETE FROM rows WHERE partition = 'durable'")
    for path in segments(own, "snapshots")[-1:]:
        path.write_bytes(path.read_bytes()[:-100])
    again = ingest(own, own / "desk.csv")
    assert again.exit_code == 0, again.output
    assert run(own, "verify").exit_code == 0
    assert run(own, "replay", "--verify").exit_code == 0
    assert [line for line in digest(own).splitlines() if ".desk" in line] == [
        line for line in expected.splitlines() if ".desk" in line
    ]
    assert "operations.local" in digest(own), "the cut is recorded"


def test_a_flipped_bit_is_found_by_verify_and_by_replay(own: Path) -> None:
    path = next(path for path in segments(own, "decisions") if b'"verdict":"block"}' in path.read_bytes())
    data = bytearray(path.read_bytes())
    data[data.index(b'"verdict":"block"}') + 11] ^= 1
    path.write_bytes(data)
    checked = run(own, "verify", "decisions.desk")
    assert checked.exit_code == 1
    assert "(hash)" in checked.stdout
    replayed = run(own, "replay", "--verify")
    assert replayed.exit_code == 1
    assert "✗ decisions.desk" in replayed.stdout
    assert '"verdict":"clock"' in replayed.stdout.partition("but computed")[0]
    assert '"verdict":"block"' in replayed.stdout.partition("but computed")[2]


@pytest.mark.parametrize("damage", ["overwritten", "truncated"])
def test_a_corrupt_index_is_told_and_what_to_do_about_it(own: Path, damage: str) -> None:
    index = own / "data/observer/journal.db"
    whole = index.read_bytes()
    for path in index.parent.glob("journal.db-*"):
        path.unlink()
    if damage == "overwritten":
        index.write_bytes(whole[:100] + b"\xa5" * (len(whole) - 100))
    else:
        index.write_bytes(whole[: len(whole) // 3])
    kept = {path: path.read_bytes() for kind in ("snapshots", "decisions") for path in segments(own, kind)}
    for words in (("status",), ("verify",), ("ingest", own / "desk.csv", *OPTIONS)):
        refused = run(own, *words)
        assert refused.exit_code == 2, (words, refused.output)
        assert "The index is damaged: restore it from a backup" in refused.stderr
    for path, data in kept.items():
        assert path.read_bytes().startswith(data), "the segments are as they were"


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    refused = ingest(tmp_path, recording(tmp_path / "desk.csv"))
    assert refused.exit_code == 2
    assert f"{tmp_path / 'data'}" in refused.stderr
