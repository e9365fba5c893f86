"""report daily, weekly, control: to files and to standard output, in both languages, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Observer, run


def test_a_day_is_told_as_markdown_on_standard_output(look: Observer) -> None:
    done = look("report", "daily", "--date", "2018-04-04")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("# Daily report: desk, 2018-04-04\n")
    assert "## Availability and coverage" in done.stdout
    assert "A recording:" in done.stdout


def test_it_is_written_to_files_in_korean(look: Observer, tmp_path: Path) -> None:
    page, lines = tmp_path / "day.html", tmp_path / "day.md"
    done = look("report", "daily", "--date", "2018-04-04", "--html", page, "--md", lines, "--lang", "ko")
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert '<html lang="ko">' in page.read_text()
    assert lines.read_text().startswith("# 일간 보고서: desk, 2018-04-04\n")


def test_the_same_files_come_again_unless_they_are_stamped(look: Observer, tmp_path: Path) -> None:
    pages = [tmp_path / f"{name}.html" for name in ("one", "two", "stamped")]
    for page, *more in (pages[:1], pages[1:2], [pages[2], "--stamp"]):
        assert look("report", "weekly", "--date", "2018-04-04", "--html", page, *more).exit_code == 0
    one, two, stamped = (page.read_bytes() for page in pages)
    assert one == two
    assert b"Made at" in stamped


def test_figures_alone_are_one_line_of_json(look: Observer) -> None:
    found = json.loads(look("report", "daily", "--date", "2018-04-04", "--json").stdout)
    assert [feed["source"] for feed in found["feeds"]] == ["desk"]
    assert found["silences"]["count"] == {"stale": 1}


def test_the_control_report_is_of_what_is_in_force(look: Observer) -> None:
    done = look("report", "control")
    assert done.exit_code == 0, done.output
    assert "| Kill switch |" in done.stdout
    assert "No cases are configured" in done.stdout


def test_a_case_that_fails_is_a_finding(own: Path) -> None:
    (own / "config").mkdir()
    (own / "cases.toml").write_text(
        '[[case]]\nname = "nothing"\n[[case.steps]]\nat = "0s"\nevent = "feed.unavailable"\nexpect = []\n'
    )
    (own / "config/observer.toml").write_text('[reports]\ncases = ["cases.toml"]\n')
    done = run(own, "report", "control")
    assert done.exit_code == 1
    assert "1 cases are not as expected" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("daily", "--date", "2031-01-01"), "the day of 2031-01-01 has not begun"),
        (("daily", "--date", "2001-01-01"), "domain desk has no records of 2001-01-01"),
        (("daily", "--date", "soon"), "'soon' is no date; one like 2026-11-23 was expected"),
        (("weekly", "--domain", "tokyo"), "there is no domain 'tokyo'; known are desk"),
        (("control", "--since", "2031-01-01"), "is not before the domain's present"),
        (("daily", "--date", "2018-04-04", "--html", "none/x.html"), "none/x.html: cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_said(look: Observer, words: tuple[str, ...], message: str) -> None:
    done = look("report", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_an_empty_store_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "report", "daily")
    assert done.exit_code == 2
    assert "no Observer data in" in done.stderr
