"""The Dockerfile, .dockerignore and docker-compose.yml: what must stand in them, and what must not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from observer_core.runtime.settings import Settings
from observer_core.storage.azure.connection import EMULATOR, Connection
from tests.support import dockerfile
from tests.support.dockerfile import Stage
from tests.support.image_roots import sent

ROOT = Path(__file__).resolve().parents[2]
FILE = dockerfile.read(ROOT / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PINNED = re.compile(r"[a-z0-9./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
FINAL = [FILE.stages["standalone"], FILE.stages["functions"]]
final = pytest.mark.parametrize("stage", FINAL, ids=lambda stage: stage.name)


def environment(stage: Stage) -> dict[str, str]:
    return dict(word.split("=", 1) for step in stage.of("ENV") for word in step.words())


def test_every_base_is_a_stage_or_pinned_by_its_digest() -> None:
    outside = {stage.base for stage in FILE.stages.values()} - FILE.stages.keys() - {"scratch"}
    assert len(outside) == 2
    assert [base for base in outside if not PINNED.fullmatch(base)] == []


def test_another_base_can_be_given_by_argument() -> None:
    built = dockerfile.read(
        ROOT / "Dockerfile", PYTHON_BASE="mirror/python@sha256:0", FUNCTIONS_BASE="f@sha256:1"
    )
    bases = {name: stage.base for name, stage in built.stages.items() if name != "wheel"}
    assert {name for name, base in bases.items() if base == "mirror/python@sha256:0"} == {
        "builder", "standalone", "standalone-packages",
    }  # fmt: skip
    assert {name for name, base in bases.items() if base == "f@sha256:1"} == {
        "functions",
        "functions-packages",
    }


@final
def test_it_runs_as_its_own_user_by_number(stage: Stage) -> None:
    assert stage.one("USER").text == "10001:10001"
    assert "useradd --uid 10001 --gid 10001" in stage.one("RUN").text
    after = stage.steps[stage.steps.index(stage.one("USER")) :]
    assert {step.name for step in after} & {"RUN", "COPY"} == set()


@final
def test_its_health_is_asked_every_thirty_seconds_at_the_port_it_has(stage: Stage) -> None:
    check = stage.one("HEALTHCHECK")
    assert check.flag("interval") == "30s"
    (port,) = stage.one("EXPOSE").words()
    assert check.command()[1:] == ["/opt/qts/healthcheck.py", port]
    assert port == {"standalone": "8000", "functions": "8080"}[stage.name]


def test_signals_reach_the_observer_itself() -> None:
    stage = FILE.stages["standalone"]
    assert stage.one("ENTRYPOINT").command() == ["observer"]
    assert stage.one("CMD").command() == ["run", "--no-console"]
    assert stage.one("STOPSIGNAL").text == "SIGTERM"


@final
def test_its_labels_say_what_it_is_and_what_it_was_built_from(stage: Stage) -> None:
    labels = dict(word.split("=", 1) for word in stage.one("LABEL").words())
    assert {name.removeprefix("org.opencontainers.image.") for name in labels} == {
        "title", "description", "licenses", "version", "revision", "created",
    }  # fmt: skip
    assert environment(stage)["QTS_OBSERVER_REVISION"] == "${REVISION}"


def test_standalone_is_where_deployment_config_says_it_is() -> None:
    env = environment(FILE.stages["standalone"])
    declared = json.loads((ROOT / "deployment_config.json").read_text())
    assert env["QTS_OBSERVER_STANDALONE"] == "1"
    assert env["OBSERVER_DATA_DIR"] == f"/app/{declared['paths']['data']}"
    assert env["OBSERVER_LOG_DIR"] == f"/app/{declared['paths']['logs']}"
    assert env["OBSERVER_WEB__PORT"] == str(declared["port"])
    # Fail closed: nobody listens there without a token.
    assert env["OBSERVER_WEB__HOST"] == "0.0.0.0"


def test_the_functions_app_has_the_settings_of_the_example() -> None:
    example = json.loads((ROOT / "local.settings.json.example").read_text())["Values"]
    del example["AzureWebJobsStorage"]
    assert example.items() <= environment(FILE.stages["functions"]).items()


def test_the_optional_packages_are_those_that_pyproject_names() -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(FILE.args["EXTRAS"].split(",")) == extras.keys() - {"dev", "peers", "plot"}


@pytest.mark.parametrize("stage", FILE.stages.values(), ids=lambda stage: stage.name)
def test_nothing_secret_and_nothing_unpinned_comes_in(stage: Stage) -> None:
    text = " ".join(f"{step.name} {step.text}" for step in stage.steps)
    assert re.findall(r"(?i)token|password|secret(?!s\b)|apikey|AccountKey|curl|wget|apt-get", text) == []
    for command in re.findall(r"pip (?:--python \S+ )?install .*?(?=&&|$)", text):
        assert "--only-binary :all:" in command
        assert "--constraint requirements-dev.txt" in command or "--no-deps --requirement" in command


def test_a_builder_sees_what_is_copied_and_nothing_else() -> None:
    seen = {path.as_posix() for path in sent(ROOT)}
    copied = [
        source
        for stage in FILE.stages.values()
        for step in stage.of("COPY")
        if step.flag("from") is None
        for source in step.words()[:-1]
    ]
    for source in copied:
        assert any(path == source or path.startswith(f"{source}/") for path in seen), source
    for path in seen:
        assert any(path == source or path.startswith(f"{source}/") for source in copied), path
    assert not [
        path for path in seen if re.search(r"\.env|/\.|__pycache__|settings\.json|\.pyc$|\.key|\.pem", path)
    ]


def test_no_secret_that_lies_about_is_sent(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".dockerignore", tmp_path)
    kept = ("config/observer.toml", "config/functions/observer.toml", "observer_core/a/b.py")
    for name in (*kept, ".env", "ops.env", "local.settings.json", "config/secrets.env", "config/.env",
                 "config/a.pem", "observer_core/.env", "observer_core/a/__pycache__/b.pyc", "data/journal.db",
                 "deploy/image/.env", "infra/terraform.tfstate", "operator.token"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert {path.as_posix() for path in sent(tmp_path)} == set(kept)


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_its_bounds(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert service["networks"] == ["qts-network"]
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    resources = service["deploy"]["resources"]
    assert resources["limits"]["cpus"] == "1.0"
    assert resources["reservations"] == {"cpus": "0.5", "memory": "256M"}
    assert default(resources["limits"]["memory"]) == ("1G" if name == "functions" else "512M")
    assert service["healthcheck"]["interval"] == "30s"


def default(text: str) -> str:
    """What is used where the variable is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_the_network_is_a_bridge_of_its_own() -> None:
    assert COMPOSE["networks"] == {"qts-network": {"name": "qts-network", "driver": "bridge"}}


def test_every_published_port_is_for_this_machine_alone() -> None:
    ports = {name: [default(port) for port in service.get("ports", [])] for name, service in SERVICES.items()}
    assert ports == {
        "observer": ["127.0.0.1:8000:8000"], "functions": ["127.0.0.1:7071:8080"], "azurite": [],
    }  # fmt: skip


def test_the_observer_can_write_where_it_keeps_its_own_and_nowhere_else() -> None:
    service = SERVICES["observer"]
    assert service["read_only"] is True
    assert [default(volume) for volume in service["volumes"]] == [
        "./config:/app/config:ro", "data:/app/data", "logs:/app/logs",
    ]  # fmt: skip
    assert service["tmpfs"][0].startswith("/tmp:")
    assert default(service["user"]) == "10001:10001"
    assert service["stop_grace_period"] == "60s"


@pytest.mark.parametrize("name", ["observer", "functions"])
def test_compose_asks_as_the_image_does(name: str) -> None:
    service = SERVICES[name]
    stage = FILE.stages[service["build"]["target"]]
    assert service["healthcheck"]["test"] == ["CMD", *stage.one("HEALTHCHECK").command()]
    assert service["ports"][0].endswith(f":{stage.one('EXPOSE').text}")


def test_the_functions_app_waits_for_azurite_and_finds_it() -> None:
    assert SERVICES["functions"]["depends_on"] == {"azurite": {"condition": "service_healthy"}}
    found = Connection.of(SERVICES["functions"]["environment"])
    assert (found.blob, found.key) == ("http://azurite:10000/devstoreaccount1", EMULATOR["accountkey"])


def test_azurite_is_the_one_of_the_tests_and_pinned() -> None:
    image = SERVICES["azurite"]["image"]
    assert PINNED.fullmatch(image)
    package = json.loads((ROOT / "tests" / "azurite" / "package.json").read_text())
    assert f"azurite:{package['dependencies']['azurite']}@" in image


def test_profiles_hold_what_belongs_together() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items()} == {
        "observer": ["standalone"], "azurite": ["functions"], "functions": ["functions"],
    }  # fmt: skip


def test_nothing_is_called_latest_and_no_key_stands_there() -> None:
    for name in ("Dockerfile", "docker-compose.yml"):
        text = (ROOT / name).read_text()
        assert ":latest" not in text
        assert EMULATOR["accountkey"] not in text


def test_the_memory_guard_is_within_the_limit_by_itself() -> None:
    # Nine tenths of what the cgroup allows, as long as nobody sets it otherwise.
    assert Settings().safety.most_memory is None


def test_the_tools_find_nothing() -> None:
    done = subprocess.run(
        ["bash", "scripts/lint_images.sh"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if "SKIPPED" in done.stderr:
        pytest.skip(done.stderr.strip())


NEW = f"sha256:{'ab' * 32}"


def renewed(tmp_path: Path, answer: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """renew_images.sh in a copy, with a docker that knows one answer."""
    tree = tmp_path / "tree"
    (tree / "scripts").mkdir(parents=True)
    for name in ("Dockerfile", "docker-compose.yml", "scripts/renew_images.sh"):
        shutil.copy(ROOT / name, tree / name)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/asked"\necho "{answer}"\n')
    docker.chmod(0o755)
    env = {**os.environ, "PATH": f"{docker.parent}:{os.environ['PATH']}"}
    command = ["bash", str(tree / "scripts" / "renew_images.sh")]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False), tree


def test_pins_are_renewed_in_both_files(tmp_path: Path) -> None:
    done, tree = renewed(tmp_path, NEW)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    for name in ("Dockerfile", "docker-compose.yml"):
        there, here = (tree / name).read_text(), (ROOT / name).read_text()
        assert set(re.findall(r"sha256:\w+", there)) == {NEW}
        assert re.sub(r"sha256:\w+", "", there) == re.sub(r"sha256:\w+", "", here)
    asked = (tmp_path / "asked").read_text()
    assert "buildx imagetools inspect python:3.11-slim-bookworm --format" in asked


def test_what_is_no_digest_is_not_written(tmp_path: Path) -> None:
    done, tree = renewed(tmp_path, "Name: python")
    assert done.returncode == 1
    assert "expected a digest of" in done.stderr
    assert (tree / "Dockerfile").read_bytes() == (ROOT / "Dockerfile").read_bytes()
