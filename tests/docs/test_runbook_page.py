"""docs/runbook.md: its commands are run, in their order, beside an Observer; its tables are the code's."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.cli.invocation import START_ANEW
from observer_core.cli.opened import running
from observer_core.decision_pipeline.control import ControlConfig
from observer_core.runtime import health, settings
from observer_core.runtime.engine import EngineOptions
from observer_core.runtime.observer import this_build
from observer_core.safety.config import SafetyConfig
from observer_core.shared.clock import SECOND, format_duration
from tests.browser import recorder

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runbook.md").read_text("utf-8")
BIN = Path(sys.executable).parent
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
MINUTES, SILENT_FROM, POISON, BURIED = 90, 60, 85, 86
POLICIES = 'policies = "config/policies.toml"\n'
DESK = '[[source]]\nname = "desk"\nkind = "push"\ninterval = "60s"\n'
BLOCK = re.compile(r"^```(sh(?: \w+)?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"[|&;<>$]|^(?!observer )|^observer run ")
RUNNING_IN = ("container", "azure")
"""Where the test does not go."""


@dataclass(frozen=True)
class Command:
    """A line of the page; `codes`: the exit codes that it says are answers."""

    line: str
    codes: frozenset[int] = field(default=frozenset({0}))

    @staticmethod
    def of(text: str) -> Command:
        line, _, remark = re.sub(r"\s+# ", "\0", text, count=1).partition("\0")
        told = re.match(r"exit (\d+): \S", remark)
        return Command(line.strip(), frozenset({0, *([int(told[1])] if told else [])}))


def chapters() -> dict[str, str]:
    """`## …` and what is under it."""
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def commands(text: str, kind: str) -> list[Command]:
    return [
        Command.of(line)
        for found, block in BLOCK.findall(text)
        if found == kind
        for line in block.splitlines()
        if not line.startswith("#")
    ]


CHAPTERS = {name: found for name, text in chapters().items() if (found := commands(text, "sh"))}
ELSEWHERE = [command for where in RUNNING_IN for command in commands(PAGE, f"sh {where}")]


# ---------------------------------------------------------------------- a desk


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk that is some days old: a series has fallen silent, a record is poison, a letter waits."""
    folder = tmp_path_factory.mktemp("desk")
    for part in ("examples", "config"):
        shutil.copytree(ROOT / part, folder / part)
    rows = (folder / "examples" / "sp500-2000.csv").read_text().splitlines()[:300]
    (folder / "examples" / "sp500-2000.csv").write_text("\n".join(rows) + "\n")
    (toml,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    shipped = (ROOT / "config" / "observer.toml").read_text().replace(POLICIES, "")
    policies = (ROOT / "config" / "policies.toml").read_text()
    start_ns = (time.time_ns() // MINUTE - MINUTES - 1) * MINUTE
    # As the commands will find it: by this version.
    with mock.patch.object(recorder, "BUILD", this_build()):
        made = recorder.Recorder(folder, start_ns - 8 * DAY, f"{shipped}\n{DESK}\n{toml}", policies)
        for begin_ns in (start_ns - 8 * DAY, start_ns - DAY, start_ns):
            for minute in range(1, (MINUTES if begin_ns == start_ns else SILENT_FROM // 3) + 1):
                with made.at(begin_ns + minute * MINUTE):
                    _minute(made, minute)
        made.close()
    done = CliRunner().invoke(app, ["--root", str(folder), "backup", "create"])
    assert done.exit_code == 0, done.output
    return folder


def _minute(made: recorder.Recorder, minute: int) -> None:
    made.collect("host", {"cpu.utilization": {"web-1": 0.3 + 0.01 * (minute % 7)}})
    prices: dict[str, float | None] = {"BTC/USDT": 64_000.0 + minute % 5, "ETH/USDT": 3_200.0 + minute % 3}
    if minute > SILENT_FROM:
        del prices["ETH/USDT"]
    if minute == POISON:
        with recorder.poisonous("BAD/USDT"):
            made.collect("desk", {"price": {**prices, "BAD/USDT": 1.0}})
            made.observer.domain("live").work("desk", refresh=True, flush=True)
    else:
        made.collect("desk", {"price": prices})
    if minute == BURIED:
        made.bury("decisions", "decisions.live@2", "the disk was full")


class Running:
    """An Observer that runs in a folder, as its configuration says, on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config = folder / "config" / "observer.toml"
        config.write_text(config.read_text().replace("port = 8000", f"port = {self.port}"))
        self.process = subprocess.Popen(
            [BIN / "observer", "run", "--no-console"], cwd=folder, env=environment(),
            stdout=(folder / "run.out").open("w"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.wait()

    @property
    def data(self) -> Path:
        return self.folder / "data" / "observer"

    def wait(self) -> None:
        """Until it answers, and its first anchor lies outside."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                    if (self.folder / "elsewhere" / "anchors.ndjson").is_file():
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError((self.folder / "run.out").read_text())

    def stopped(self) -> None:
        """The one that runs was told to stop: it takes its time."""
        if self.process.poll() is None:
            assert self.process.wait(timeout=60) == 0, (self.folder / "run.out").read_text()
        for _ in range(600):
            if running(self.data) is None:
                return
            time.sleep(0.1)
        raise AssertionError((self.folder / "run.out").read_text())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        # What the page itself has started in the background since.
        if pid := running(self.data):
            os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def desk(master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    folder = tmp_path / "desk"
    shutil.copytree(master, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OBSERVER_DURABILITY", "normal")
    made = Running(folder)
    yield made
    made.close()


def environment() -> dict[str, str]:
    return {
        **os.environ, "OBSERVER_DURABILITY": "normal", "PYTHONPATH": str(ROOT),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip


# ---------------------------------------------------------------------- its commands


@pytest.mark.timeout(300)
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_commands_of_a_chapter_run_in_their_order(chapter: str, desk: Running) -> None:
    if shutil.which("curl") is None or shutil.which("ps") is None:
        pytest.skip("there is no curl, or no ps, here")
    for command in CHAPTERS[chapter]:
        line = filled(command.line).replace("http://127.0.0.1:8000", f"http://127.0.0.1:{desk.port}")
        code, output = in_shell(line) if SHELL.search(line) else in_this_process(line)
        assert code in command.codes, f"{line}\nended with {code}:\n{output}"
        assert "Traceback" not in output, f"{line}\n{output}"
        if line.startswith("kill -TERM"):
            desk.stopped()


def in_this_process(line: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def in_shell(line: str) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment(), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def filled(line: str) -> str:
    """With what stands for capitals on this desk."""
    for name, (words, key) in PLACES.items():
        if re.search(rf"\b{name}\b", line):
            line = re.sub(rf"\b{name}\b", newest(words.split(), key)[:20], line)
    return line


def newest(words: list[str], key: str) -> str:
    """What the last line of a list says; the Observer may need a moment for what was just asked of it."""
    for _ in range(100):
        found = CliRunner().invoke(app, [*words, "--json"]).stdout.splitlines()
        if found:
            return str(json.loads(found[-1])[key])
        time.sleep(0.2)
    raise AssertionError(f"`observer {' '.join(words)}` lists nothing")


PLACES = {
    "INCIDENT": ("incidents ls --open --domain live", "id"),
    "DECISION": ("decisions ls --domain live --verdict block", "id"),
    "LETTER": ("dlq ls", "id"),
    "REQUEST": ("gate requests", "request"),
    "POSITION": ("quarantine ls", "position"),
}


@pytest.mark.parametrize("command", ELSEWHERE, ids=lambda command: command.line[:60])
def test_what_is_for_elsewhere_has_commands_and_options_that_there_are(command: Command) -> None:
    assert subprocess.run(["bash", "-n", "-c", command.line], check=False).returncode == 0
    program, *words = shlex.split(command.line)
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    if program == "observer":
        verbs = [word for word in words if re.fullmatch(r"[a-z]+", word) and word != "azure"]
        told = CliRunner().invoke(app, [*verbs[:2], "--help"])
        if told.exit_code:
            told = CliRunner().invoke(app, [*verbs[:1], "--help"])
        assert told.exit_code == 0, command.line
        text = told.output + CliRunner().invoke(app, ["--help"]).output
    else:
        assert program == "docker"
        if shutil.which("docker") is None:
            return
        text = subprocess.run(
            ["docker", words[0], "--help"], capture_output=True, text=True, check=True
        ).stdout  # fmt: skip
    assert {option for option in options if option not in text} == set()


def test_what_is_for_elsewhere_says_so_in_its_block() -> None:
    for kind, block in BLOCK.findall(PAGE):
        _, _, where = kind.partition(" ")
        assert where in ("", *RUNNING_IN)
        assert block.startswith(f"# {where}: not run by the test\n") == bool(where)


def test_it_has_commands_for_everything() -> None:
    assert list(CHAPTERS) == ["Every day", "When something is wrong", "Recovery", "Capacity", "Deploying"]
    assert sum(map(len, CHAPTERS.values())) > 90
    assert len(ELSEWHERE) >= 10


# ---------------------------------------------------------------------- what it says


def test_its_configuration_loads(tmp_path: Path) -> None:
    (toml,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "observer.toml"
    path.write_text(toml)
    loaded = settings.load(path)
    assert loaded.backup.to is not None
    assert loaded.ledger.to is not None


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"`[safety] least_free` ({SafetyConfig().least_free >> 20} MiB)" in PAGE
    assert f"`confirm_within` ({format_duration(ControlConfig().confirm_within)})" in PAGE
    assert f"exit code {START_ANEW}" in PAGE
    logs = settings.LogConfig()
    assert f"at most {4 * logs.files * logs.max_bytes // 10**6} MB in all" in PAGE
    assert EngineOptions().max_attempts == 3


def test_every_check_of_the_health_has_a_row_and_no_other() -> None:
    table = PAGE.partition("| check of `/health` |")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines() for name in re.findall(r"`([a-z]+:[a-z]+)`", row)}
    assert told == set(re.findall(r"^\| ([a-z]+:[a-z]+) \|", health.__doc__ or "", re.MULTILINE))


def test_every_chapter_that_it_links_to_is_there() -> None:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", PAGE) if link not in known} == set()


def test_every_command_that_it_names_in_the_text_is_one() -> None:
    prose = BLOCK.sub("", PAGE)
    for line in re.findall(r"`observer ([a-z][^`]*)`", prose):
        words = [word for word in shlex.split(line) if re.fullmatch(r"[a-z]+", word)]
        told = CliRunner().invoke(app, [*words[:2], "--help"])
        if told.exit_code:
            told = CliRunner().invoke(app, [*words[:1], "--help"])
        assert told.exit_code == 0, line
        options = set(re.findall(r"--[a-z-]+", line)) - {"--data-dir", "--root"}
        assert {option for option in options if option not in told.output} == set(), line
