"""Where things are, and whether the deployment says the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import observer_core
from observer_core.runtime import paths as module
from observer_core.runtime.paths import Paths, check_deployment, lock_file, lock_hash
from observer_core.shared.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.resolve(tmp_path, Path("data/observer"), Path("logs"), Path("config"))


def declared(folder: Path, value: Any) -> Path:
    path = folder / "deployment_config.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_relative_paths_start_from_the_root_and_absolute_ones_stand(tmp_path: Path) -> None:
    found = Paths.resolve(tmp_path / "a" / "..", Path("data"), tmp_path / "elsewhere", Path("../config"))
    assert found == Paths(
        tmp_path, tmp_path / "data", tmp_path / "elsewhere", (tmp_path / "../config").resolve()
    )


def test_the_lock_file_of_this_checkout_is_hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert lock_file() == ROOT / "requirements.txt"
    assert len(lock_hash()) == 64
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "observer_core")
    lock_hash.cache_clear()
    try:
        assert (lock_file(), lock_hash()) == (None, "unlocked")
    finally:
        lock_hash.cache_clear()


def test_what_agrees_gives_no_line(tmp_path: Path, paths: Paths) -> None:
    whole = {
        "version": observer_core.__version__, "port": 8000,
        "paths": {"data": "data/observer", "logs": str(tmp_path / "logs"), "config": "./config"},
    }  # fmt: skip
    assert check_deployment(declared(tmp_path, whole), paths, 8000) == []
    assert check_deployment(declared(tmp_path, {}), paths, 1) == []


def test_the_file_of_this_repository_agrees_with_its_configuration() -> None:
    from observer_core.runtime.settings import load

    settings = load(root=ROOT)
    assert check_deployment(ROOT / "deployment_config.json", settings.paths, settings.web.port) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"port": 9000}, ["declares port 9000, this Observer has 8000"]),
        ({"version": "9.9"}, [f"declares version '9.9', this Observer has '{observer_core.__version__}'"]),
        (
            {"paths": {"data": "other"}},
            ["declares paths.data = 'other' ({root}/other), this Observer uses {root}/data/observer"],
        ),
        ({"paths": {"nix": "x"}}, ["declares paths.nix = 'x', known are data, logs, config"]),
        ({"paths": {"data": 5}}, ["declares paths.data = 5, a path in quotes was expected"]),
        ({"prot": 8000}, ["declares 'prot', known are version, port, paths"]),
        (
            {"port": 1, "paths": {"logs": "x", "config": "y"}},
            ["port 1", "paths.logs = 'x'", "paths.config = 'y'"],
        ),
    ],
)  # fmt: skip
def test_each_difference_is_a_line_with_both_values(
    tmp_path: Path, paths: Paths, value: Any, told: list[str]
) -> None:
    found = check_deployment(declared(tmp_path, value), paths, 8000)
    assert len(found) == len(told)
    for line, expected in zip(found, told):
        assert expected.format(root=tmp_path) in line
        assert line.startswith("deployment_config.json ")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"paths": []}', '"x"'])
def test_a_file_that_is_something_else_is_told(tmp_path: Path, paths: Paths, text: str) -> None:
    with pytest.raises(ConfigError, match="expected a JSON object with version, port and paths"):
        check_deployment(declared(tmp_path, text), paths, 8000)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, paths: Paths) -> None:
    with pytest.raises(ConfigError, match=r"nix.json: expected a JSON object"):
        check_deployment(tmp_path / "nix.json", paths, 8000)
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"bytes.json: expected a JSON object"):
        check_deployment(tmp_path / "bytes.json", paths, 8000)
