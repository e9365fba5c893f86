"""What neither the worker library nor Azurite would notice: names, schedules, settings, host.json."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime import settings
from observer_core.runtime.handlers import STAGES
from tests.support.ncrontab import Schedule

ROOT = Path(__file__).resolve().parents[2]
HOST = json.loads((ROOT / "host.json").read_text())
SETTINGS = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
QUEUE_NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")


def decorators() -> list[tuple[str, str, dict[str, Any]]]:
    """(function, decorator, its arguments) of function_app.py, f-strings resolved."""
    tree = ast.parse((ROOT / "function_app.py").read_text())
    names = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.JoinedStr):
            return "".join(
                names[part.value.id] if isinstance(part, ast.FormattedValue) else part.value  # type: ignore[attr-defined]
                for part in node.values
            )
        if isinstance(node, ast.Name):
            return names[node.id]
        return ast.literal_eval(node) if isinstance(node, ast.Constant | ast.List) else ast.unparse(node)

    return [
        (item.name, call.func.attr, {  # type: ignore[attr-defined]
            **{str(place): value(given) for place, given in enumerate(call.args)},
            **{word.arg: value(word.value) for word in call.keywords if word.arg},
        })
        for item in tree.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in item.decorator_list
        if isinstance(call, ast.Call)
    ]  # fmt: skip


DECORATORS = decorators()


def resolved(text: str) -> str:
    return re.sub(r"%([^%]+)%", lambda found: str(SETTINGS[found[1]]), text)


def test_every_app_setting_that_is_named_is_in_the_example() -> None:
    source = (ROOT / "function_app.py").read_text()
    named = set(re.findall(r"%([^%\s]+)%", source)) | {
        given["connection"] for _, _, given in DECORATORS if "connection" in given
    }
    assert named <= set(SETTINGS)
    # The host turns a double underscore into a colon before it looks for what stands between %.
    assert not [name for name in re.findall(r"%([^%\s]+)%", source) if "__" in name]


@pytest.mark.parametrize("name", [name for name, kind, _ in DECORATORS if kind == "timer_trigger"])
def test_schedules_are_ncrontab(name: str) -> None:
    (given,) = [given for function, _, given in DECORATORS if function == name]
    Schedule(resolved(given["schedule"]))


def test_schedules_fire_when_the_docs_say() -> None:
    moments = [datetime(2026, 11, 27, 12, minute, second) for minute in range(60) for second in range(60)]
    counts = {
        name: sum(Schedule(SETTINGS[f"OBSERVER_{name}_SCHEDULE"]).matches(moment) for moment in moments)
        for name in ("COLLECT", "CLOCK", "SWEEP")
    }
    assert counts == {"COLLECT": 3600, "CLOCK": 360, "SWEEP": 12}


@pytest.mark.parametrize(
    "text", ["* * * * *", "60 * * * * *", "* * * * * 7", "x * * * * *", "*/0 * * * * *", "5-1 * * * * *"]
)
def test_what_is_no_ncrontab_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"fields; six|is no|is outside"):
        Schedule(text)


def test_queues_are_possible_and_those_of_the_handlers() -> None:
    queues = [resolved(given["queue_name"]) for _, kind, given in DECORATORS if kind == "queue_trigger"]
    assert all(QUEUE_NAME.fullmatch(name) for name in queues)
    names = [f"observer-{stage}" for stage in STAGES]
    assert sorted(queues) == sorted([*names, *(f"{name}-poison" for name in names)])


def test_the_longest_prefix_still_gives_possible_queue_names() -> None:
    prefix = "a" * 31
    assert settings.load(root=ROOT, queue_prefix=prefix).queue_prefix == prefix
    assert all(QUEUE_NAME.fullmatch(f"{prefix}-{stage}-poison") for stage in STAGES)


def test_no_two_functions_share_a_name_or_a_route() -> None:
    names = [name for name, _, _ in DECORATORS]
    routes = [given["0"] for _, kind, given in DECORATORS if kind == "route"]
    assert len(set(names)) == len(names) == 24
    assert len(set(routes)) == len(routes)


def test_queue_triggers_take_their_retries_from_host_json() -> None:
    assert {kind for _, kind, _ in DECORATORS} == {"timer_trigger", "queue_trigger", "route"}


def test_host_json_has_values_that_the_host_takes() -> None:
    span = re.compile(r"\d\d:[0-5]\d:[0-5]\d")
    queues = HOST["extensions"]["queues"]
    assert HOST["version"] == "2.0"
    assert span.fullmatch(HOST["functionTimeout"])
    assert "00:00:00" < HOST["functionTimeout"] <= "00:10:00"  # what a Consumption plan allows
    assert HOST["telemetryMode"] == "OpenTelemetry"
    assert HOST["extensionBundle"] == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)",
    }  # fmt: skip
    assert set(queues) == {
        "messageEncoding", "maxPollingInterval", "visibilityTimeout", "batchSize", "newBatchThreshold",
        "maxDequeueCount",
    }  # fmt: skip
    assert queues["messageEncoding"] == "base64"
    assert span.fullmatch(queues["maxPollingInterval"])
    assert "00:00:00" < queues["maxPollingInterval"] <= "00:00:02"
    assert span.fullmatch(queues["visibilityTimeout"])
    assert 1 <= queues["batchSize"] <= 32
    assert 0 <= queues["newBatchThreshold"] < queues["batchSize"]
    assert queues["maxDequeueCount"] >= 2
    assert HOST["extensions"]["http"] == {"routePrefix": ""}
    assert set(HOST["logging"]["logLevel"].values()) <= {"Information", "Warning", "Error"}


def test_one_crowded_queue_leaves_threads_to_the_others() -> None:
    queues = HOST["extensions"]["queues"]
    at_once = queues["batchSize"] + queues["newBatchThreshold"]
    assert int(SETTINGS["PYTHON_THREADPOOL_THREAD_COUNT"]) >= 2 * at_once


def test_the_example_settings_make_settings() -> None:
    assert SETTINGS["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert all(isinstance(value, str) for value in SETTINGS.values())
    given = {key: value for key, value in SETTINGS.items() if key.startswith("OBSERVER_")}
    code = (
        "from observer_core.runtime.settings import load; s = load(); "
        "print(s.storage.kind, s.queue_prefix, len(s.source), len(s.decisions().policies))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "", **given},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found.split()[:3] == ["azure", "observer", "2"]


def test_indexing_loads_nothing_that_a_cold_start_would_wait_for() -> None:
    """Every new instance imports function_app before it can do anything at all."""
    code = (
        "import sys; import azure.functions; before = set(sys.modules); import function_app; "
        "print('\\n'.join(sorted(set(sys.modules) - before)))"
    )
    added = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert added == ["function_app"]
    heavy = (
        "numpy",
        "pydantic",
        "starlette",
        "ccxt",
        "pyarrow",
        "matplotlib",
        "opentelemetry",
        "azure.storage",
    )
    code = f"import sys; import function_app; print([m for m in {heavy!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_a_first_call_does_not_load_what_functions_do_not_use() -> None:
    code = (
        "import sys; import observer_core.runtime.handlers; "
        "print([m for m in ('starlette', 'uvicorn', 'typer', 'pyarrow', 'ccxt') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_app_ships_what_it_imports_and_reads() -> None:
    ignored = [
        line.strip("/") for line in (ROOT / ".funcignore").read_text().splitlines() if line and line[0] != "#"
    ]
    for needed in (
        "function_app.py",
        "host.json",
        "requirements.txt",
        "observer_core",
        "config",
        "pyproject.toml",
    ):
        assert needed not in ignored
    assert "tests" in ignored
    assert "local.settings.json" in ignored
