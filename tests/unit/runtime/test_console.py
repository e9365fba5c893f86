"""What a person sees: where to look, what happens, and where everything stands."""

from __future__ import annotations

import errno
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console as Terminal

from observer_core.runtime import console as module
from observer_core.runtime.console import Console
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from tests.support.market import MINUTES, observer, recording, take


class Shown:
    """A console whose terminal is a text."""

    def __init__(self, it: Observer, *, terminal: bool = False, enabled: bool = True) -> None:
        self.stream = StringIO()
        self.terminal = Terminal(
            file=self.stream, width=160, force_terminal=terminal, color_system=None, quiet=not enabled,
            soft_wrap=True, highlight=False, legacy_windows=False,
        )  # fmt: skip
        gate = Gate(it.journals, it.settings, it.clock)
        self.console = Console(it, gate, enabled=enabled, terminal=self.terminal)

    def text(self) -> str:
        return self.stream.getvalue()


@pytest.fixture(autouse=True)
def _look_at_every_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REFRESH_SECONDS", 0.0)


@pytest.fixture
def it(tmp_path: Path) -> Observer:
    return observer(tmp_path)


def test_at_its_start_it_says_where_to_look(it: Observer) -> None:
    shown = Shown(it)
    shown.console.start(8123)
    for text in (
        "it never places an order", "http://127.0.0.1:8123/health", "http://127.0.0.1:8123/v1/gate/SUBJECT",
        "data/observer", "logs", "stop with Ctrl-C",
    ):  # fmt: skip
        assert text in shown.text()
    shown.console.stop()
    assert shown.text().endswith("QTS Observer has stopped.\n")


def test_incidents_and_decisions_are_lines_when_they_happen(it: Observer, tmp_path: Path) -> None:
    shown = Shown(it)
    shown.console.start(1)
    before = len(shown.text())
    shown.console.beat()
    assert len(shown.text()) == before
    take(it, recording(tmp_path / "desk.csv", range(100)))
    shown.console.beat()
    lines = shown.text()[before:].splitlines()
    assert any("desk" in x and "feed.stale" in x and "B/USD" in x for x in lines)
    assert any("incident.opened" in x for x in lines)
    assert any("block" in x and "subject:B/USD" in x and "stale-feed" in x for x in lines)
    assert all(x.startswith("2018-04-04T0") for x in lines)
    again = len(shown.text())
    shown.console.beat()
    assert len(shown.text()) == again


def test_a_flood_is_cut_and_says_by_how_much(
    it: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINES_A_REFRESH", 2)
    shown = Shown(it)
    shown.console.start(1)
    before = len(shown.text())
    take(it, recording(tmp_path / "desk.csv"))
    shown.console.beat()
    lines = shown.text()[before:].splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("  … and ")
    assert lines[2].endswith(" more")


def test_on_a_terminal_a_table_says_where_everything_stands(it: Observer, tmp_path: Path) -> None:
    take(it, recording(tmp_path / "desk.csv", range(100)))
    shown = Shown(it, terminal=True)
    shown.console.start(1)
    shown.console.beat()
    shown.console.stop()
    text = shown.text()
    for part in ("domain", "newest data", "gate", "101", "2018-04-04T01:40:00Z", "closed for B/USD"):
        assert part in text


def test_the_table_says_when_everything_is_open(it: Observer, tmp_path: Path) -> None:
    take(it, recording(tmp_path / "desk.csv", range(60)))
    shown = Shown(it, terminal=True)
    shown.console.start(1)
    shown.console.stop()
    assert "open for 3" in shown.text()


def test_elsewhere_than_on_a_terminal_there_are_only_lines(it: Observer, tmp_path: Path) -> None:
    take(it, recording(tmp_path / "desk.csv"))
    shown = Shown(it)
    shown.console.start(1)
    shown.console.beat()
    assert "newest data" not in shown.text()
    assert "\x1b" not in shown.text()


def test_switched_off_it_is_silent_and_reads_nothing(
    it: Observer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Shown(it, enabled=False)
    shown.console.start(1)
    take(it, recording(tmp_path / "desk.csv", range(MINUTES)))
    monkeypatch.setattr(it.journals, "open", lambda *_: pytest.fail("it looked"))
    shown.console.beat()
    shown.console.stop()
    assert shown.text() == ""


class Gone(StringIO):
    """A file on a full disk, or a pipe that nobody reads any more."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._raises = error

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)

    def breaks(self) -> None:
        self.error = self._raises


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), BrokenPipeError(errno.EPIPE, "gone")])
def test_what_nobody_can_be_shown_ends_nothing(
    it: Observer, tmp_path: Path, error: OSError, at_start: bool, terminal: bool
) -> None:
    shown = Shown(it, terminal=terminal)
    shown.terminal.file = gone = Gone(error)
    if at_start:
        gone.breaks()
    shown.console.start(1)
    gone.breaks()
    take(it, recording(tmp_path / "desk.csv", range(100)))
    for _ in range(3):
        shown.console.beat()
    shown.console.stop()
