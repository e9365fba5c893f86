"""What infra/ sets for the app, against what the app needs and understands."""

from __future__ import annotations

import json
import re

import pytest

from observer_core.backup.config import ContainerTarget
from observer_core.runtime.settings import load
from tests.infra.programs import INFRA, ROOT

GROUPS: dict[str, dict[str, str]] = json.loads((INFRA / "app_settings.json").read_text())
COMPUTE = (INFRA / "modules" / "compute" / "locals.tf").read_text()
CONFIG = {"production": "config/functions", "slot": "config/slot"}


def test_every_setting_that_the_app_needs_is_set() -> None:
    needed = set(json.loads((ROOT / "local.settings.json.example").read_text())["Values"])
    by_compute = set(re.findall(r"^\s+(\w+)\s+= ", COMPUTE, re.MULTILINE))
    by_identity = {"AzureWebJobsStorage"}
    assert {"AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId"} <= by_compute
    assert needed - set(GROUPS["common"]) - by_compute == by_identity


def test_what_is_set_twice_is_set_alike() -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
    for name in set(example) & set(GROUPS["common"]):
        assert GROUPS["common"][name] == example[name], name


@pytest.mark.parametrize("place", CONFIG)
def test_the_observer_takes_its_settings(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(place, monkeypatch)
    settings = load()
    assert (settings.storage.kind, settings.queue_prefix) == ("azure", "observer")
    assert settings.telemetry.metrics == settings.telemetry.traces == "azure_monitor"


def test_production_is_backed_up_and_anchored_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    _environment("production", monkeypatch)
    settings = load()
    assert isinstance(settings.backup.to, ContainerTarget)
    assert settings.backup.to.connection == settings.ledger.to.connection == "BackupStorage"  # type: ignore[union-attr]
    assert settings.backup.every is not None
    assert settings.ledger.every is not None
    root = (INFRA / "locals.tf").read_text()
    containers = re.search(r"backup = \{ containers = (.*)", root)
    assert containers is not None
    assert {settings.backup.to.container, settings.ledger.to.container} == {"backups", "anchors"}  # type: ignore[union-attr]
    assert re.findall(r"(\w+) = \{", containers[1]) == ["backups", "anchors"]
    for part in ("accountName", "credential", "clientId"):
        assert f"BackupStorage__{part}" in root


def test_the_slot_backs_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    _environment("slot", monkeypatch)
    settings = load()
    assert (settings.backup.every, settings.ledger.every, settings.heartbeat.url) == (None, None, None)


def test_what_is_off_in_the_slot_is_a_function() -> None:
    [names] = re.findall(r"disabled_in_slot = \[(.*)\]", COMPUTE)
    off = re.findall(r'"(\w+)"', names)
    assert off == ["collect", "backup"]
    for name in off:
        assert re.search(rf"^def {name}\(", (ROOT / "function_app.py").read_text(), re.MULTILINE)


def test_the_port_is_the_one_of_the_image() -> None:
    [port] = re.findall(r'WEBSITES_PORT\s+= "(\d+)"', COMPUTE)
    assert f"ASPNETCORE_URLS=http://+:{port}" in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_every_secret_that_is_set_is_read(environment: str) -> None:
    # Until somebody has written it into the vault, such a setting holds the reference itself.
    values = (INFRA / "env" / f"{environment}.tfvars").read_text()
    given = re.search(r"^secret_settings\s*=\s*\{(.*?)\}", values, re.DOTALL | re.MULTILINE)
    names = re.findall(r"(\w+)\s*=", given[1]) if given else []
    config = (ROOT / CONFIG["production"] / "observer.toml").read_text()
    assert [name for name in names if name not in config] == []


def _environment(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, value in {**GROUPS["common"], **GROUPS[place], "OBSERVER_CONFIG_DIR": CONFIG[place]}.items():
        monkeypatch.setenv(name, value)
