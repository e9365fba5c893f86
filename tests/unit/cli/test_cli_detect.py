"""detect: a plain file, scored row by row."""

from __future__ import annotations

import builtins
import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import run

ROWS, JUMP, SHIFT = 900, 600, 700


def values() -> list[float]:
    """A quiet wave with one jump, and a level that shifts."""
    found = []
    for n in range(ROWS):
        wave = 10 + math.sin(n / 9) + 0.3 * math.sin(1.7 * n * n)
        found.append(round(wave + (25 if n == JUMP else 0) + (8 if n >= SHIFT else 0), 4))
    return found


def write(folder: Path, *, rows: int = ROWS, header: str = "ts,load,other") -> Path:
    path = folder / "file.csv"
    lines = [f"{1_700_000_000 + 300 * n},{value},{n % 7}" for n, value in enumerate(values()[:rows])]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def found(folder: Path, *words: str, value: str = "load") -> dict[str, Any]:
    done = run(folder, "detect", write(folder), "--time", "ts", "--value", value, "--json", *words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def scored(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_jump_is_an_alarm_that_says_what_left_its_range(tmp_path: Path) -> None:
    alarms = found(tmp_path)["alarms"]
    first = next(alarm for alarm in alarms if alarm["row"] >= JUMP)
    assert (first["row"], first["column"], first["value"]) == (JUMP, "load", values()[JUMP])
    assert first["score"] >= 0.5
    assert {"value", "from_mean_288"} <= set(first["channels"])
    assert first["time_ns"] == (1_700_000_000 + 300 * JUMP) * 10**9


def test_every_row_has_a_score_in_the_order_of_the_file(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    alarms = found(tmp_path, "--scores", str(out))["alarms"]
    rows = scored(out)
    assert list(rows[0]) == ["timestamp", "value", "anomaly_score"]
    assert [float(row["value"]) for row in rows] == values()
    assert rows[1]["timestamp"] == "2023-11-14T22:18:20Z"
    scores = [float(row["anomaly_score"]) for row in rows]
    assert all(0 <= score <= 1 for score in scores)
    assert [n for n, score in enumerate(scores) if score >= 0.5] == [alarm["row"] for alarm in alarms]


def test_what_comes_later_changes_no_score_and_no_change_point(tmp_path: Path) -> None:
    def part(rows: int) -> tuple[list[str], list[Any]]:
        out = tmp_path / "part.csv"
        path = write(tmp_path, rows=rows)
        words = ("--time", "ts", "--value", "load", "--scores", str(out), "--change-points", "--json")
        changes = json.loads(run(tmp_path, "detect", path, *words).stdout)["change_points"]
        return [row["anomaly_score"] for row in scored(out)], changes

    scores, changes = part(ROWS)
    assert changes
    for rows in (10, 17, 300, JUMP + 1, 800):
        assert part(rows) == (scores[:rows], [c for c in changes if c["declared"] < rows])


def test_a_level_shift_is_a_change_point_with_its_onset(tmp_path: Path) -> None:
    changes = found(tmp_path, "--change-points")["change_points"]
    assert any(c["kind"] == "level" and abs(c["onset"] - SHIFT) <= 5 for c in changes)
    assert all(c["onset"] < c["declared"] for c in changes)
    assert found(tmp_path)["change_points"] == []


def test_several_columns_are_scored_as_each_alone(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    found(tmp_path, "--scores", str(out), value="load,other")
    both = scored(out)
    assert list(both[0]) == [
        "timestamp", "load", "load_anomaly_score", "other", "other_anomaly_score", "anomaly_score",
    ]  # fmt: skip
    found(tmp_path, "--scores", str(out))
    assert [row["load_anomaly_score"] for row in both] == [row["anomaly_score"] for row in scored(out)]
    assert all(
        float(row["anomaly_score"])
        == max(float(row["load_anomaly_score"]), float(row["other_anomaly_score"]))
        for row in both
    )


def test_rows_without_a_value_keep_their_place(tmp_path: Path) -> None:
    path, out = tmp_path / "gaps.csv", tmp_path / "scores.csv"
    path.write_text("ts,load\n" + "".join(f"{1_700_000_000 + n},{'' if n % 3 else n}\n" for n in range(60)))
    done = run(tmp_path, "detect", path, "--time", "ts", "--value", "load", "--scores", out)
    assert done.exit_code == 0
    assert [row["value"] for row in scored(out)] == ["" if n % 3 else f"{float(n)}" for n in range(60)]


def test_for_people_it_tells_the_alarms_and_where_the_scores_went(tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    done = run(
        tmp_path,
        "detect",
        write(tmp_path),
        "--time",
        "ts",
        "--value",
        "load",
        "--scores",
        out,
        "--change-points",
    )
    assert f"{ROWS} rows, 1 columns" in done.stdout
    assert "what left its range" in done.stdout
    assert "change points" in done.stdout
    assert f"observer: wrote {out}" in done.stderr


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "out.png"
    found(tmp_path, "--plot", str(out), "--change-points", value="load,other")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    words = ("--time", "ts", "--value", "load", "--plot", tmp_path / "out.png")
    done = run(tmp_path, "detect", write(tmp_path), *words)
    assert done.exit_code == 2
    assert "install qts-observer[plot]" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--time", "when", "--value", "load"), "has no time column 'when'; it has: ts, load, other"),
        (("--time", "ts", "--value", "loud"), "loud"),
        (("--time", "ts", "--value", "ts"), "fields names 'ts', which is the time or subject column"),
        (("--time", "ts", "--value", "load", "--zone", "Mars"), "'Mars' is not an IANA time zone"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = run(tmp_path, "detect", write(tmp_path), *words)
    assert done.exit_code == 2
    assert message in done.stderr
