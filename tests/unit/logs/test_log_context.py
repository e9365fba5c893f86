"""Where the work stands is in every line, costs nothing else, and is each thread's own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from observer_core.logs.configure import configure
from observer_core.logs.context import enter, fields, leave, within


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    logs = configure(tmp_path)
    yield tmp_path
    logs.close()
    structlog.reset_defaults()


def last(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "observer.log").read_text().splitlines()[-1])
    return found


def test_a_line_has_what_was_said_around_it_and_the_innermost_word_counts(folder: Path) -> None:
    log = structlog.get_logger("observer.run")
    with within(lambda: {"stage": "collect", "source": "host", "trace_id": "t"}):
        with within(lambda: {"stage": "recognise", "position": 7, "source": None}):
            log.warning("odd", position=9)
            line = last(folder)
        log.info("after")
    assert (line["stage"], line["source"], line["trace_id"], line["position"]) == (
        "recognise",
        "host",
        "t",
        9,
    )
    assert (last(folder)["stage"], "position" in last(folder)) == ("collect", False)
    log.info("outside")
    assert "stage" not in last(folder)


def test_nothing_is_worked_out_where_nothing_is_logged(folder: Path) -> None:
    asked: list[int] = []
    left = enter(lambda: {"n": asked.append(1)})
    structlog.get_logger("observer.run").debug("below the level")
    leave(left)
    assert asked == []


def test_what_cannot_be_said_is_left_out_and_the_line_stands(folder: Path) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no")

    with within(lambda: {"source": "host"}), within(broken):
        structlog.get_logger("observer.run").error("bad")
    assert (last(folder)["event"], last(folder)["source"]) == ("bad", "host")


def test_threads_do_not_hear_each_other() -> None:
    seen: list[dict[str, Any]] = []
    with within(lambda: {"source": "host"}):
        thread = threading.Thread(target=lambda: seen.append(fields()))
        thread.start()
        thread.join()
        assert fields()["source"] == "host"
    assert "source" not in seen[0]


def test_a_secret_that_is_said_is_masked(folder: Path) -> None:
    with within(lambda: {"token": "hunter2hunter2"}):
        structlog.get_logger("observer.run").info("seen")
    assert last(folder)["token"] == "***"
