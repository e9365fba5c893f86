"""tune: thresholds for a wanted rate, on the small market."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Observer, run


def test_what_is_proposed_is_told_with_its_rates_and_as_a_diff(own: Path) -> None:
    (own / "config").mkdir(exist_ok=True)
    (own / "config/observer.toml").write_text("[recognise.market]\nprices = []\n")
    done = run(own, "tune", "desk", "--alarms-per-day", "30")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].startswith("desk: 0.16 days, 235 snapshots counted, ")
    assert lines[1].split()[:3] == ["pattern", "key", "now"]
    assert "+++ desk (proposed)" in lines
    assert " market.prices = []" in lines, "the whole table is shown, not only what changes"
    assert {"-spike.threshold = 8.0", "+spike.threshold = 4.0"} <= set(lines)
    assert lines[-1] == "nothing was changed: put the lines into the configuration yourself"
    assert "fewer than 10 the proposals are uncertain" in done.stderr


def test_as_json_with_chosen_patterns(look: Observer) -> None:
    found = json.loads(
        look("tune", "desk", "--alarms-per-day", "30", "--pattern", "spike, feed_stale", "--json").stdout
    )
    assert [row["pattern"] for row in found["patterns"]] == ["spike", "feed_stale"]
    spike = found["patterns"][0]
    assert (spike["key"], spike["now"]) == ("spike.threshold", 8.0)
    assert (found["source"], found["alarms_per_day"], found["snapshots"]) == ("desk", 30.0, 235)
    assert len(found["warnings"]) == 1


def test_since_is_counted_back_from_the_newest(look: Observer) -> None:
    found = json.loads(look("tune", "desk", "--alarms-per-day", "30", "--since", "1h", "--json").stdout)
    assert found["snapshots"] == 61


def test_the_data_stay_as_they_were(look: Observer) -> None:
    before = look("digest").stdout
    look("tune", "desk", "--alarms-per-day", "30")
    assert look("digest").stdout == before


@pytest.mark.parametrize(
    ("source", "rate", "more", "message"),
    [
        ("desks", "1", (), "there is no source 'desks'; known are desk"),
        ("desk", "1", ("--pattern", "x"), "no threshold of 'x' can be tuned here"),
        ("desk", "1", ("--since", "2100-01-01"), "no history to measure: 0 snapshots"),
        ("desk", "0.01", ("--pattern", "feed_stale"), "cannot be reached on source"),
        ("desk", "0", (), "--alarms-per-day"),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    look: Observer, source: str, rate: str, more: tuple[str, ...], message: str
) -> None:
    done = look("tune", source, "--alarms-per-day", rate, *more)
    assert done.exit_code == 2
    assert message in done.stderr


def test_without_data_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path, "tune", "desk", "--alarms-per-day", "1")
    assert done.exit_code == 2
    assert "no Observer data" in done.stderr
