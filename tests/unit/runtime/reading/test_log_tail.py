"""The end of a log file: the newest lines, bounded, whatever stands in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from observer_core.logs.configure import configure
from observer_core.runtime.reading import logs
from observer_core.runtime.reading.logs import tail


def line(number: int, level: str = "info", **more: Any) -> bytes:
    at = f"2026-01-01T00:00:{number % 60:02d}Z"
    return orjson.dumps(
        {"timestamp": at, "level": level, "logger": "observer.x", "event": f"e{number}", **more}
    )


def events(found: dict[str, Any]) -> list[str]:
    return [item["event"] for item in found["lines"]]


def write(folder: Path, *lines: bytes, name: str = "observer.log", end: bytes = b"\n") -> None:
    folder.joinpath(name).write_bytes(b"\n".join(lines) + (end if lines else b""))


def test_the_last_lines_newest_last(tmp_path: Path) -> None:
    write(tmp_path, *(line(number) for number in range(2_000)))
    assert events(tail(tmp_path, "observer", 3)) == ["e1997", "e1998", "e1999"]
    found = tail(tmp_path, "observer", 5_000)
    assert len(found["lines"]) == 2_000
    assert found["lines"][0] == {
        "time": "2026-01-01T00:00:00Z", "level": "info", "event": "e0", "fields": {"logger": "observer.x"},
    }  # fmt: skip


@pytest.mark.parametrize("step", [1, 7, 64])
def test_lines_are_whole_however_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr(logs, "_STEP", step)
    write(tmp_path, *(line(number, note="x" * number) for number in range(30)))
    assert events(tail(tmp_path, "observer", 100)) == [f"e{number}" for number in range(30)]


def test_what_was_rotated_away_comes_before(tmp_path: Path) -> None:
    write(tmp_path, line(1), line(2), name="observer.log.2")
    write(tmp_path, line(3), name="observer.log.1")
    write(tmp_path, line(4))
    assert events(tail(tmp_path, "observer", 3)) == ["e2", "e3", "e4"]
    assert events(tail(tmp_path, "observer", 10)) == ["e1", "e2", "e3", "e4"]


def test_a_level_is_the_least_and_what_has_none_is_never_hidden(tmp_path: Path) -> None:
    write(tmp_path, line(1), line(2, "warning"), b"Traceback (most recent call last):", line(3, "error"))
    assert events(tail(tmp_path, "observer", 9, "error")) == ["Traceback (most recent call last):", "e3"]
    assert events(tail(tmp_path, "observer", 9, "warning"))[0] == "e2"


def test_torn_and_foreign_lines_are_text(tmp_path: Path) -> None:
    write(tmp_path, b'["a"]', b"\xff\xfe<script>", b"", line(1), line(2)[:-9], end=b"")
    torn, odd, whole = (tail(tmp_path, "observer", 9)["lines"][at] for at in (-1, 1, 2))
    assert torn["event"].startswith('{"timestamp"')
    assert (torn["time"], torn["level"], torn["fields"]) == (None, None, {})
    assert odd["event"] == "\ufffd\ufffd<script>"
    assert whole["event"] == "e1"


def test_secrets_are_masked_once_more(tmp_path: Path) -> None:
    write(
        tmp_path, line(1, token="abc", inner={"api_key": "k"}, text="Authorization: Bearer abcdefghijkl"),
        b"plain password=hunter2 text",
    )  # fmt: skip
    shown = orjson.dumps(tail(tmp_path, "observer", 9)).decode()
    for secret in ("abc", '"k"', "hunter2"):
        assert secret not in shown


def test_a_look_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", 1_000)
    monkeypatch.setattr(logs, "_STEP", 100)
    write(tmp_path, *(line(number) for number in range(100)))
    found = events(tail(tmp_path, "observer", 100))
    assert 5 < len(found) < 15
    assert found[-1] == "e99"
    write(tmp_path, b"x" * 5_000, name="pattern.log")
    assert tail(tmp_path, "pattern", 9)["lines"] == []


def test_a_long_line_is_shown_by_its_beginning(tmp_path: Path) -> None:
    write(tmp_path, line(1, text="x" * 100_000), line(2))
    first, second = tail(tmp_path, "observer", 9)["lines"]
    assert len(first["event"]) < 20_000
    assert first["event"].endswith("…")
    assert second["event"] == "e2"


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "nowhere", "decision", 9) == {"file": "decision", "lines": []}
    write(tmp_path)
    assert tail(tmp_path, "observer", 9)["lines"] == []


def test_what_the_logs_write_is_read_back(tmp_path: Path) -> None:
    written = configure(tmp_path)
    try:
        structlog.get_logger("observer.snapshot").info("collected", source="host", secret="s3cret")
        structlog.get_logger("observer.run").warning("late", seconds=3)
    finally:
        written.close()
        structlog.reset_defaults()
    (found,) = tail(tmp_path, "snapshot", 9)["lines"]
    assert (found["event"], found["level"], found["fields"]["source"]) == ("collected", "info", "host")
    assert found["fields"]["secret"] == "***"
    (late,) = tail(tmp_path, "observer", 9)["lines"]
    assert (late["event"], late["fields"]["seconds"]) == ("late", 3)
