"""What went wrong lately, by event; and a log that is followed while it is rotated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from observer_core.logs.configure import configure
from observer_core.logs.files import LogFile
from observer_core.runtime.reading import logs
from observer_core.runtime.reading.logs import OTHERS, errors, follow
from observer_core.shared.clock import parse_time

SINCE = parse_time("2026-01-02T00:00:00Z")


def line(
    at: str, level: str = "error", event: str = "failed", logger: str = "observer.x", **more: Any
) -> bytes:
    said = {"timestamp": at, "level": level, "logger": logger, "event": event, **more}
    return orjson.dumps(said) + b"\n"


def test_errors_are_counted_by_event_over_all_files_since_a_moment(tmp_path: Path) -> None:
    (tmp_path / "observer.log.12").write_bytes(line("2026-01-01T00:00:00Z", n=0))
    for number in range(2, 12):
        (tmp_path / f"observer.log.{number}").write_bytes(b"")
    (tmp_path / "observer.log.1").write_bytes(
        line("2026-01-01T23:59:59Z", n=1) + line("2026-01-02T00:00:00Z", n=2)
        + line("2026-01-02T00:00:01Z", level="warning")
    )  # fmt: skip
    (tmp_path / "observer.log").write_bytes(
        line("2026-01-02T00:00:02Z", n=3) + b"Traceback (torn)\n" + b'{"event": "no time"}\n'
        + line("2026-01-02T00:00:03Z", level="critical", event="gone")
        + line("2026-01-02T00:00:04Z", logger="observer.y")
    )  # fmt: skip
    found = [
        (g.level, g.logger, g.event, g.count, g.first[-3:], g.last[-3:]) for g in errors(tmp_path, SINCE)
    ]
    assert found == [
        ("error", "observer.x", "failed", 2, "00Z", "02Z"),
        ("critical", "observer.x", "gone", 1, "03Z", "03Z"),
        ("error", "observer.y", "failed", 1, "04Z", "04Z"),
    ]
    assert errors(tmp_path, SINCE)[0].newest["fields"]["n"] == 3
    assert len(errors(tmp_path, SINCE, "warning")) == 4
    assert errors(tmp_path, SINCE + 10**10) == []


def test_an_error_with_as_long_a_traceback_as_a_line_may_have_counts(tmp_path: Path) -> None:
    written = configure(tmp_path)
    try:
        structlog.get_logger("observer.x").error("failed", exception="frame\n" * 6_000)
        structlog.get_logger("observer.x").error("failed", exception="frame\n" * 60_000)
    finally:
        written.close()
        structlog.reset_defaults()
    assert [(group.event, group.count) for group in errors(tmp_path, SINCE)] == [("failed", 2)]


def test_however_many_events_there_are_memory_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_GROUPS", 5)
    many = b"".join(line("2026-01-03T00:00:00Z", event=f"e{number}") for number in range(100))
    (tmp_path / "observer.log").write_bytes(many)
    found = {group.event: group.count for group in errors(tmp_path, SINCE)}
    assert len(found) == 6
    assert found[OTHERS] == 95


def test_what_is_written_is_followed_through_rotation(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "observer.log", 300, 2)
    file.write('{"event":"before","level":"info"}')
    written = iter(range(50))

    def wait() -> bool:
        number = next(written, None)
        if number is not None:
            file.write(
                orjson.dumps({"event": f"e{number}", "level": "warning" if number % 2 else "info"}).decode()
            )
        return number is not None

    found = [item["event"] for item in follow(tmp_path, "observer", wait)]
    file.close()
    assert found == [f"e{number}" for number in range(50)]
    assert (tmp_path / "observer.log.1").exists()


def test_only_what_is_grave_enough_is_followed_also_where_there_is_no_file_yet(tmp_path: Path) -> None:
    turns = iter(
        (b"", line("2026-01-02T00:00:00Z", "info", "quiet"), line("2026-01-02T00:00:00Z", event="bad"))
    )

    def wait() -> bool:
        data = next(turns, None)
        if data:
            with (tmp_path / "observer.log").open("ab") as file:
                file.write(data)
        return data is not None

    # A file that is there from the start is followed from its end; one that comes later from its beginning.
    assert [item["event"] for item in follow(tmp_path, "observer", wait, "error")] == ["bad"]


def test_half_a_line_is_not_shown_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "observer.log"
    path.write_bytes(b"")
    parts = iter((b'{"event":"a', b'b"}', b"\n"))

    def wait() -> bool:
        part = next(parts, None)
        if part:
            with path.open("ab") as file:
                file.write(part)
        return part is not None

    assert [item["event"] for item in follow(tmp_path, "observer", wait)] == ["ab"]
