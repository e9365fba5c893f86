"""Reports that are written by themselves: when they are due, once, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from observer_core.runtime.reports import writing
from observer_core.runtime.reports.config import ReportsConfig
from observer_core.runtime.reports.writing import Reporting, write
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import ManualClock, parse_time
from observer_core.shared.errors import InputError
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from tests.browser.recorder import settings_of


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(parse_time("2026-03-03T20:59:00Z"))  # the 4th, 05:59 in Seoul


@pytest.fixture
def reporting(written: Path, tmp_path: Path, clock: ManualClock) -> Iterator[Reporting]:
    settings = configured(written, tmp_path, daily="06:00", weekly="07:00", forms=("html", "md"))
    storage = LocalStorage(settings.paths.data, durability="normal")
    yield Reporting(Journals(storage, worker="w"), settings, clock)
    storage.close()


def configured(written: Path, folder: Path, **more: object) -> Settings:
    settings = settings_of(written)
    values = {**settings.reports.model_dump(), "to": folder / "reports", **more}
    return settings.model_copy(update={"reports": ReportsConfig(**values)})


def names(found: list[Path]) -> list[str]:
    return sorted(path.name for path in found)


def test_nothing_is_written_before_its_time_of_day(reporting: Reporting, clock: ManualClock) -> None:
    assert reporting.look() == []
    clock.set(parse_time("2026-03-03T21:00:00Z"))
    assert names(reporting.look()) == ["daily-2026-03-03-live.ko.html", "daily-2026-03-03-live.ko.md"]


def test_a_day_is_reported_once_what_was_asked_for_in_it_has_had_time_to_come(
    written: Path, tmp_path: Path
) -> None:  # fmt: skip
    clock, settings = ManualClock(), configured(written, tmp_path, daily="00:00", weekly="00:00")
    storage = LocalStorage(settings.paths.data, durability="normal")
    reporting = Reporting(Journals(storage, worker="w"), settings, clock)
    for minute, count in ((0, 0), (4, 0), (5, 1)):
        clock.set(parse_time("2026-03-03T15:00:00Z") + minute * 60 * 10**9)  # midnight in Seoul
        assert len(reporting.look()) == count
    clock.set(parse_time("2026-03-08T15:00:01Z"))
    assert reporting.look() == []  # nor the week
    clock.set(parse_time("2026-03-08T15:05:00Z"))
    assert names(reporting.look()) == ["daily-2026-03-08-live.ko.html", "weekly-2026-03-02-live.ko.html"]
    storage.close()


def test_each_report_is_written_once_and_again_if_its_file_is_gone(
    reporting: Reporting, clock: ManualClock
) -> None:  # fmt: skip
    clock.set(parse_time("2026-03-03T22:00:00Z"))
    first = reporting.look()
    assert reporting.look() == []
    texts = {path: path.read_bytes() for path in first}
    first[0].unlink()
    assert reporting.look() == first[:1]
    assert first[0].read_bytes() == texts[first[0]]


def test_a_week_is_due_on_monday_or_whenever_it_was_missed(reporting: Reporting, clock: ManualClock) -> None:
    clock.set(parse_time("2026-03-08T21:30:00Z"))  # Monday, 06:30
    assert names(reporting.look()) == ["daily-2026-03-08-live.ko.html", "daily-2026-03-08-live.ko.md"]
    clock.set(parse_time("2026-03-10T21:30:00Z"))
    assert "weekly-2026-03-02-live.ko.html" in names(reporting.look())


def test_a_disk_that_takes_nothing_is_tried_again_later(
    reporting: Reporting, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.set(parse_time("2026-03-03T22:00:00Z"))

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(writing, "write", full)
        assert reporting.look() == []
    assert reporting.look() == []  # not at once
    clock.advance(601 * 10**9)
    assert len(reporting.look()) == 2


def test_while_space_is_short_nothing_is_written(reporting: Reporting, clock: ManualClock) -> None:
    clock.set(parse_time("2026-03-03T22:00:00Z"))
    reporting.start(lambda: "too little space")
    try:
        assert reporting.look() == []
    finally:
        reporting.stop()


def test_a_report_that_is_stopped_half_way_leaves_no_file(
    reporting: Reporting, clock: ManualClock, tmp_path: Path
) -> None:  # fmt: skip
    clock.set(parse_time("2026-03-03T22:00:00Z"))
    reporting.stop()
    assert reporting.look() == []
    assert not (tmp_path / "reports").exists()


def test_without_a_schedule_nothing_is_written(written: Path, tmp_path: Path, clock: ManualClock) -> None:
    settings = configured(written, tmp_path)
    storage = LocalStorage(settings.paths.data, durability="normal")
    idle = Reporting(Journals(storage, worker="w"), settings, clock)
    assert not idle.is_on
    assert idle.look() == []
    storage.close()


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write(path, "whole")
    assert [item.name for item in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(InputError, match=r"none/report\.html: cannot be written: No such file or directory"):
        write(tmp_path / "none/report.html", "whole")


def test_times_of_day_are_checked() -> None:
    with pytest.raises(ValueError, match="daily"):
        ReportsConfig(daily="6 Uhr")
    with pytest.raises(ValueError, match="not an IANA time zone"):
        ReportsConfig(zone="Seoul")
