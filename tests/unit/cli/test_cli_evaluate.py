"""evaluate: the stored alarms of the small market against labels."""

from __future__ import annotations

import json
from pathlib import Path

from observer_core.shared.clock import SECOND, format_time
from tests.unit.cli.conftest import JUMP_AT, START_MINUTE, Observer


def labels(folder: Path, *minutes: tuple[int, int]) -> Path:
    path = folder / "labels.csv"
    lines = [
        ",".join(format_time((START_MINUTE + minute) * 60 * SECOND) for minute in window)
        for window in minutes
    ]
    path.write_text("\n".join(["from,to", *lines]) + "\n")
    return path


def test_the_jump_is_found_and_a_quiet_window_is_missed(look: Observer, tmp_path: Path) -> None:
    path = labels(tmp_path, (JUMP_AT, JUMP_AT + 10), (100, 110))
    found = json.loads(look("evaluate", "--labels", path, "--json").stdout)
    assert (found["windows"], found["found"], found["recall"]) == (2, 1, 0.5)
    assert found["delay_ns"] == 120 * SECOND, "known at its end, believed when the next bar confirms it"
    assert found["hits"] >= 1
    assert set(found["nab"]) == {"standard", "low FP", "low FN"}


def test_which_patterns_count_can_be_said(look: Observer, tmp_path: Path) -> None:
    path = labels(tmp_path, (JUMP_AT, JUMP_AT + 10))
    assert json.loads(look("evaluate", "--labels", path, "--kind", "nothing", "--json").stdout)["alarms"] == 0
    every = json.loads(look("evaluate", "--labels", path, "--kind", "*", "--json").stdout)["alarms"]
    assert every > json.loads(look("evaluate", "--labels", path, "--json").stdout)["alarms"] > 0


def test_for_people_it_says_what_each_number_is(look: Observer, tmp_path: Path) -> None:
    done = look("evaluate", "--labels", labels(tmp_path, (JUMP_AT, JUMP_AT + 10)))
    assert done.exit_code == 0
    assert "recall      100.0% (1 of 1 windows found)" in done.stdout
    assert "delay       2m (median, from a window's beginning)" in done.stdout
