"""Configuration: typed, unknown keys refused, identified by its content."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    StringConstraints,
    ValidationError,
)

from observer_core.shared.canonical import encode
from observer_core.shared.clock import format_duration, parse_duration, zone_of
from observer_core.shared.errors import ConfigError, InputError


def _duration(value: object) -> object:
    try:
        return parse_duration(value) if isinstance(value, str) else value
    except ValueError as error:  # pragma: no cover - parse_duration raises InputError
        raise ValueError(str(error)) from None
    except Exception as error:
        raise ValueError(str(error)) from None


DurationNs = Annotated[int, BeforeValidator(_duration), PlainSerializer(format_duration, return_type=str)]
"""Nanoseconds, written as `30s` or `1h30m` in a file."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)")
_SIZES: Final = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def format_size(size: int) -> str:
    """The shortest exact spelling: 268,435,456 is `256MiB`."""
    unit = next(unit for unit in reversed(_SIZES) if size % _SIZES[unit] == 0) if size else "B"
    return f"{size // _SIZES[unit]}{unit}"


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = _SIZE.fullmatch(value)
    if found is None:
        raise ValueError(f"{value!r} is not a size: expected one like 512KiB, 256MiB, 1.5GiB")
    return round(float(found[1]) * _SIZES[found[2]])


Size = Annotated[int, BeforeValidator(_size), PlainSerializer(format_size, return_type=str)]
"""Bytes, written as `256MiB` or `1.5GiB` in a file."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""A name that becomes part of journal names, paths and table keys."""


def _zone(text: str) -> str:
    try:
        return zone_of(text).key
    except InputError as error:
        raise ValueError(str(error)) from None


Zone = Annotated[str, AfterValidator(_zone)]
"""An IANA time zone: UTC, Asia/Seoul."""


class Config(BaseModel):
    """Frozen; a key that nobody reads is an error; secrets are `SecretStr` and never printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def canonical(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class EnvSecret(Config):
    """A secret that the environment holds under this name; Key Vault references resolve there too."""

    env: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]


def identity(config: Any) -> str:
    """sha256 of the canonical form of a configuration (JSON values)."""
    return hashlib.sha256(encode(config)).hexdigest()


def explain(error: ValidationError, where: str) -> ConfigError:
    """Pydantic's findings as one `ConfigError` that names file, key, what came and what was expected.

    A whole table is not shown as what came: it may hold a secret.
    """
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "(top level)"
        if item["type"] == "extra_forbidden":
            lines.append(f"{key}: unknown key; remove it or check its spelling")
        elif item["type"] == "missing":
            lines.append(f"{key}: missing; it must be given")
        else:
            found = "" if isinstance(item["input"], dict | list | BaseModel) else f"; found {item['input']!r}"
            lines.append(f"{key}: {item['msg'].removeprefix('Value error, ')}{found}")
    return ConfigError(f"{where}: " + "; ".join(lines))
