"""What is not there any more, what is too long ago, and that others get their turn."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reports import stretch
from observer_core.runtime.reports.facts import Ground, gather
from observer_core.runtime.reports.making import Report, report
from observer_core.runtime.reports.period import Period
from observer_core.runtime.reports.uptime import uptime
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.errors import InputError
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from observer_core.storage.rows import Base
from tests.browser.recorder import MINUTE
from tests.unit.runtime.reports.conftest import DAY_NS, MINUTES, START_NS, opened, write


def removed(journals: Journals, name: str, position: int) -> None:
    """As retention leaves a journal: no commits up to there, and a row that says so."""
    journal = journals.open(name)
    last = journal.entry(position)
    base = Base(position=position, seq=position, time_ns=last.time_ns, began_ns=journal.entry(1).time_ns)
    rows = journals.storage.tables.query(name, "r.", f"r.{position:020d}.~")
    journals.storage.tables.commit(name, [Op("insert", Base.KEY, base.value())])
    for row in rows:
        journals.storage.tables.commit(name, [Op("delete", row.key)])


def test_of_what_retention_has_removed_nothing_is_said_but_that(tmp_path: Path) -> None:
    write(tmp_path)
    for ground in opened(tmp_path, START_NS + MINUTES * MINUTE):
        removed(ground.journals, "snapshots.desk", 100)
        found = report(ground, "daily", date="2026-03-03")
        desk, rates = found.facts.feeds
        gone_ns = ground.journals.open("snapshots.desk").base().time_ns
        assert desk.watched_from_ns == gone_ns > rates.watched_from_ns
        assert desk.available == 1.0
        assert [volume.journal for volume in found.facts.gone] == ["snapshots.desk"]
        assert "Retention has removed the records of snapshots.desk up to" in found.text("html", "en")


def test_of_removed_ticks_nobody_says_that_there_were_none() -> None:
    journals = Journals(MemoryStorage(), worker="w")
    clock = journals.open("clock.live", "live")
    for minute in range(100):
        tick = Note(kind="tick", time_ns=START_NS + minute * MINUTE, body={})
        clock.commit(clock.head(), Commit(records=[tick]))
    removed(journals, "clock.live", 50)
    period = Period("daily", "UTC", START_NS, START_NS + 100 * MINUTE, START_NS + 100 * MINUTE)
    found = uptime(stretch.Stretches(journals, period), "live", 2 * MINUTE)
    assert found is not None
    assert (found.watched_ns, found.share) == (51 * MINUTE, 1.0)


def test_what_is_too_long_ago_to_be_found_is_said(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    sure = report(ground, "daily", date="2026-03-04")
    assert sure.facts.decided.sure
    monkeypatch.setattr(stretch, "EARLIER", 1)
    unsure = Report("daily", "live", sure.period, gather(ground, "live", sure.period))
    assert not unsure.facts.decided.sure
    assert (
        unsure.facts.decided.blocked_ns < sure.facts.decided.blocked_ns
    )  # the kill switch of the day before
    for lang, text in (("en", "may be missing here"), ("ko", "빠져 있을 수 있습니다")):
        assert text in unsure.text("md", lang)  # type: ignore[arg-type]
        assert text not in sure.text("md", lang)  # type: ignore[arg-type]


def test_it_rests_by_what_it_has_worked_and_not_by_how_long_it_waited(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    now = time.perf_counter
    pace = Pace(0.25)
    monkeypatch.setattr(time, "perf_counter", lambda: now() + 3600.0)  # it is an hour later
    paced = Ground(ground.journals, ground.settings, ground.gate, pace)
    assert report(paced, "daily", date="2026-03-03").to_json() == (
        report(ground, "daily", date="2026-03-03").to_json()
    )
    assert max(slept) < 60


def test_a_domain_without_any_record_yet_is_said() -> None:
    journals, settings = Journals(MemoryStorage(), worker="w"), Settings()
    empty = Ground(journals, settings, Gate(journals, settings, ManualClock(START_NS)))
    with pytest.raises(InputError, match="no records of any source yet"):
        report(empty, "daily")
    journals.open("snapshots.desk", "live")
    with pytest.raises(InputError, match="domain live has no records of any source yet"):
        report(empty, "daily")


def test_several_recordings_have_to_be_told_apart() -> None:
    journals, settings = Journals(MemoryStorage(), worker="w"), Settings()
    for name in ("paris", "tokyo"):
        journals.open(f"snapshots.{name}", name)
        clock = journals.open(f"clock.{name}", name)
        _declare(clock)
    both = Ground(journals, settings, Gate(journals, settings, ManualClock(START_NS + DAY_NS)))
    with pytest.raises(InputError, match="say --domain, one of paris, tokyo"):
        both.domain()
    assert both.domain("tokyo") == "tokyo"


def _declare(clock: Journal) -> None:
    note = Note(kind="domain", time_ns=SECOND, body={"mode": "recorded"})
    clock.commit(clock.head(), Commit(records=[note]))
