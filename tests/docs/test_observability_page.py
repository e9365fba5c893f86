"""docs/observability.md names every instrument, span, setting and file there is, and no others."""

from __future__ import annotations

import hashlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app
from observer_core.logs.configure import LINE_BYTES, MAIN, ROUTES
from observer_core.runtime.gaps import Ended
from observer_core.runtime.settings import LogConfig, Settings
from observer_core.runtime.telemetry import tracing
from observer_core.runtime.telemetry.config import Exporter, HeartbeatConfig, TelemetryConfig
from observer_core.runtime.telemetry.instruments import INSTRUMENTS
from observer_core.shared.ids import trace_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/observability.md").read_text()
(SETTINGS,) = map(tomllib.loads, re.findall(r"```toml\n(.*?)```", PAGE, re.S))
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line
]


def rows(heading: str) -> list[list[str]]:
    table = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


def test_the_table_of_instruments_is_that_of_the_code() -> None:
    said = [tuple(row) for row in rows("name | kind | labels | meaning")]
    assert said == [
        (f"`{item.name}`", item.kind, ", ".join(f"`{label}`" for label in item.labels), item.text)
        for item in INSTRUMENTS
    ]


def test_every_setting_stands_in_the_example_which_loads() -> None:
    for section, config in (
        ("log", LogConfig),
        ("telemetry", TelemetryConfig),
        ("heartbeat", HeartbeatConfig),
    ):
        assert set(SETTINGS[section]) == set(config.model_fields)
    settings = Settings(**SETTINGS)
    assert settings.telemetry.sample == 0.1
    log = LogConfig()
    assert 4 * log.files * log.max_bytes <= 200_000_000
    assert f"A line is at most {LINE_BYTES // 1024} KiB" in PAGE


def test_every_file_exporter_and_end_is_named() -> None:
    assert {row[0] for row in rows("file | holds")} == {f"`{name}`" for name in (MAIN, *ROUTES.values())}
    assert {row[0].strip("`") for row in rows("exporter | needs | goes to")} == {
        *Exporter.__args__,  # type: ignore[attr-defined]
    } - {"none"}
    assert {row[0].strip("`") for row in rows("`ended` | what came before the gap")} == {
        *Ended.__args__,  # type: ignore[attr-defined]
    }


def test_every_span_is_named() -> None:
    named = {
        name for row in rows("span | begins a trace | tells") for name in re.findall(r"`([^`]+)`", row[0])
    }
    assert tracing.__doc__ is not None
    in_code = re.findall(r"^\| (.+?) \|", tracing.__doc__, re.M)[1:]
    assert named == {name for cell in in_code for name in re.findall(r"`([^`]+)`", cell)}


def test_the_id_of_a_trace_is_what_the_page_says() -> None:
    (place,) = re.findall(r"printf '(\S+)' \| sha256sum \| cut -c1-32", PAGE)
    assert hashlib.sha256(place.encode()).hexdigest()[:32] == trace_of(place)[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_exist_with_their_options(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "observer"
    run = CliRunner().invoke(app, [*words, "--help"])
    assert run.exit_code == 0, run.output


def test_its_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found = set(re.findall(r"qts-observer\[([a-z-]+)\]", PAGE))
    assert len(found) == 2
    assert found <= set(extras)
