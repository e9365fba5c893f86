"""docs/safety.md: its settings load, its commands run, its names and codes are those that there are."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from observer_core.cli.invocation import START_ANEW
from observer_core.runtime import health
from observer_core.runtime.gaps import Gap
from observer_core.runtime.gate.guarded import in_safe_mode
from observer_core.safety.clock_jump import WARN_SECONDS, Jump
from observer_core.safety.config import SafetyConfig
from observer_core.safety.memory import LOOK_SECONDS, PATIENCE_SECONDS
from observer_core.shared.clock import SECOND, parse_time

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "safety.md").read_text()
OBSERVER = Path(sys.executable).with_name("observer")


def test_the_settings_are_those_that_there_are_with_their_defaults() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    found = tomllib.loads(block)["safety"]
    assert set(found) == set(SafetyConfig.model_fields)
    assert SafetyConfig(**{**found, "most_memory": None}) == SafetyConfig()
    assert SafetyConfig(least_free="0B", most_memory="0B").least_free == 0


def test_the_checks_of_the_health_are_those_that_there_are() -> None:
    named = set(re.findall(r"`(\w+:\w+)`", PAGE))
    assert named == {"safety:mode", "disk:reserve", "memory:used", "clock:jumps"}
    assert all(f"| {name} |" in str(health.__doc__) for name in named)


def test_codes_and_numbers_are_those_of_the_program() -> None:
    assert f"exit code {START_ANEW}," in PAGE
    assert (LOOK_SECONDS, PATIENCE_SECONDS, WARN_SECONDS) == (5, 60, 600)
    assert "`safe_mode`" in PAGE
    assert in_safe_mode.__doc__
    assert str(Gap(0, SECOND, "full")).endswith("(too little space was left on the disk)")
    jump = str(Jump(parse_time("2026-11-28T13:00:00Z"), 3600 * SECOND, asleep=True))
    assert f"…; {jump}, and nothing has come since" in PAGE


def test_its_commands_run_and_status_shows_what_it_says(tmp_path: Path) -> None:
    first, second = (
        shlex.split(line)[1:]
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
        for line in block.splitlines()
    )

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [OBSERVER, *words], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "config").mkdir()
    (tmp_path / "config/observer.toml").write_text('[[source]]\nname = "host"\nkind = "system"\n')
    (shown,) = re.findall(r"```console\n\$ observer status\n(.*?)\n```", PAGE)
    before, after = shown.split("…")
    run(*first)
    assert re.search(re.escape(before) + r"\S+" + re.escape(after), run("status"))
    assert "safe_mode" in run("gate", "check", "X", code=1)
    run(*second)
    assert "SAFE MODE" not in run("status")
