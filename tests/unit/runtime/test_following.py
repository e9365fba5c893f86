"""What was committed lately, each entry once; and how it stands in the log files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from observer_core.runtime.following import Follower, Logbook
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.records import Decision, PatternRecord, Snapshot
from tests.support.market import START_NS, observer, recording, take


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines


def test_it_begins_with_what_comes_after_it_was_made(tmp_path: Path) -> None:
    it = observer(tmp_path)
    take(it, recording(tmp_path / "desk.csv", range(100)))
    follower = Follower(it.journals, ("events", "decisions"))
    assert follower.new() == []
    seen = {name: it.journals.open(name).head().position for name in ("events.desk", "decisions.desk")}
    take(it, recording(tmp_path / "desk.csv"))
    new = follower.new()
    assert {(e.journal, e.position) for e in new} == {
        (name, place)
        for name, before in seen.items()
        for place in range(before + 1, it.journals.open(name).head().position + 1)
    }
    assert [e.time_ns for e in new] == sorted(e.time_ns for e in new)
    assert follower.new() == []


def test_journals_that_begin_later_are_followed_from_their_first_entry(tmp_path: Path) -> None:
    it = observer(tmp_path)
    follower = Follower(it.journals, ("patterns",))
    take(it, recording(tmp_path / "desk.csv"))
    new = follower.new()
    assert [e.position for e in new] == list(range(1, it.journals.open("patterns.desk").head().position + 1))
    assert {e.journal for e in new} == {"patterns.desk"}


def test_every_pattern_and_decision_is_a_line_of_its_log(tmp_path: Path, logged: list[Any]) -> None:
    it = observer(tmp_path)
    book = Logbook(it.journals)
    take(it, recording(tmp_path / "desk.csv"))
    book.write()
    book.write()
    records = {
        kind: [e for e in it.journals.open(f"{kind}.desk").scan() if isinstance(e.record, cls)]
        for kind, cls in (("patterns", PatternRecord), ("decisions", Decision))
    }
    assert [line["ref"] for line in logged] == [
        e.ref for e in [*records["patterns"], *records["decisions"]]
    ] or {line["ref"] for line in logged} == {e.ref for found in records.values() for e in found}
    assert len(logged) == sum(map(len, records.values()))
    spike = next(line for line in logged if line["event"] == "spike")
    assert (spike["series"], spike["source"], spike["direction"]) == ([["A/USD", "price"]], "desk", "up")
    block = next(line for line in logged if line["event"] == "block")
    assert (block["scope"], block["policy"], block["until"]) == ("subject:B/USD", "stale-feed", None)
    assert block["reason"].startswith("stale-feed: ")
    assert block["time"].endswith("Z")


def snapshot(status: Any = "ok", error: str | None = None) -> Snapshot:
    return Snapshot(
        source="one",
        event_ns=START_NS,
        ingest_ns=START_NS,
        subjects=(),
        fields={},
        status=status,
        error=error,
    )


def test_a_source_is_a_line_when_its_state_changes_and_a_sum_each_minute(
    tmp_path: Path, logged: list[Any]
) -> None:
    book = Logbook(observer(tmp_path).journals)
    book.summary(START_NS)
    for given in (
        snapshot(),
        snapshot(),
        snapshot("unavailable", "gone"),
        snapshot("unavailable", "gone"),
        snapshot(),
    ):
        book.snapshot("one", given, 3)
    book.count("two", 5, 50)
    assert [(line["event"], line["log_level"], line["error"]) for line in logged] == [
        ("source is ok", "info", None),
        ("source is unavailable", "warning", "gone"),
        ("source is ok", "info", None),
    ]  # fmt: skip
    assert logged[0]["time"] == format_time(START_NS)
    logged.clear()
    book.summary(START_NS + 60 * SECOND - 1)
    assert logged == []
    book.summary(START_NS + 60 * SECOND)
    assert [(line["source"], line["snapshots"], line["observations"]) for line in logged] == [
        ("one", 5, 15), ("two", 5, 50),
    ]  # fmt: skip
    logged.clear()
    book.summary(START_NS + 120 * SECOND)
    assert logged == []
