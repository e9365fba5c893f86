"""Where things are: the one place that resolves paths, and checks them against the deployment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import observer_core
from observer_core.shared.errors import ConfigError

PACKAGE = Path(observer_core.__file__).parent


@dataclass(frozen=True, slots=True)
class Paths:
    """Absolute folders of one Observer. `root` is what relative paths in the configuration start from."""

    root: Path
    data: Path
    logs: Path
    config: Path

    @staticmethod
    def resolve(root: Path, data: Path, logs: Path, config: Path) -> Paths:
        root = root.resolve()
        return Paths(root, (root / data).resolve(), (root / logs).resolve(), (root / config).resolve())


def lock_file() -> Path | None:
    """The pinned requirements of this code: in the wheel beside the package, in a checkout above it."""
    for path in (PACKAGE / "requirements.txt", PACKAGE.parent / "requirements.txt"):
        if path.is_file():
            return path
    return None


@cache
def lock_hash() -> str:
    """sha256 of the lock file, `unlocked` where the package was installed without one."""
    path = lock_file()
    return sha256(path.read_bytes()).hexdigest() if path else "unlocked"


def check_deployment(path: Path, paths: Paths, port: int) -> list[str]:
    """Compares `deployment_config.json` with what is: one line for each difference, naming both values.

    The file states, all optional: `version`, `port`, and `paths` with `data`, `logs`,
    `config` (relative ones start from the folder of the file).
    """
    declared = _read(path)
    actual: dict[str, Any] = {"version": observer_core.__version__, "port": port}
    found = [
        f"{path.name} declares {key!r}, known are version, port, paths"
        for key in declared
        if key not in (*actual, "paths")
    ]
    for key, value in actual.items():
        if key in declared and declared[key] != value:
            found.append(f"{path.name} declares {key} {declared[key]!r}, this Observer has {value!r}")
    places: Mapping[str, Path] = {"data": paths.data, "logs": paths.logs, "config": paths.config}
    for key, where in declared.get("paths", {}).items():
        if key not in places:
            found.append(f"{path.name} declares paths.{key} = {where!r}, known are {', '.join(places)}")
        elif not isinstance(where, str):
            found.append(f"{path.name} declares paths.{key} = {where!r}, a path in quotes was expected")
        elif (path.parent / where).resolve() != places[key]:
            found.append(
                f"{path.name} declares paths.{key} = {where!r} ({(path.parent / where).resolve()}), "
                f"this Observer uses {places[key]}"
            )
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        declared = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: expected a JSON object with version, port and paths: {error}") from None
    if not isinstance(declared, dict) or not isinstance(declared.get("paths", {}), dict):
        raise ConfigError(f"{path}: expected a JSON object with version, port and paths, found {declared!r}")
    return declared
