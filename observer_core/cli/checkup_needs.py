"""What the configuration names and a start would end without: exchanges, files, packages, secrets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from observer_core.shared.config import EnvSecret
from observer_core.shared.errors import ObserverError

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings

_EXPORTERS: Final = {
    "otlp": "opentelemetry.exporter.otlp.proto.http", "azure_monitor": "azure.monitor.opentelemetry.exporter",
}  # fmt: skip


def needs(settings: Settings, *, secrets: bool) -> tuple[bool, str]:
    """Whether all of it is there. `secrets`: whether this environment is that of the Observer."""
    missing = [*_here(settings), *(_secrets(settings) if secrets else ())]
    return not missing, "; ".join(missing) or "all that the configuration names is there"


def _here(settings: Settings) -> Iterator[str]:
    from observer_core.runtime.source_kinds import RecordingSourceConfig
    from observer_core.runtime.sources import check_sources
    from observer_core.web.server import check_host

    tokens = bool(settings.web.token)
    yield from _refused(lambda: check_sources(settings))
    yield from _refused(lambda: check_host(settings.web.host, tokens))
    for item in settings.source:
        if isinstance(item, RecordingSourceConfig):
            for path in (settings.paths.root / one for one in item.paths):
                if not (path.is_file() and os.access(path, os.R_OK)):
                    yield f"source {item.name}: {path} cannot be read"
    telemetry = settings.telemetry
    for exporter in sorted({telemetry.traces, telemetry.metrics} - {"none"}):
        try:
            import_module(_EXPORTERS[exporter])
        except ImportError:
            extra = exporter.replace("_", "-")
            yield f'telemetry: {exporter} is not installed: pip install "qts-observer[{extra}]"'


def _refused(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except ObserverError as error:
        yield str(error)


def _secrets(settings: Settings) -> Iterator[str]:
    from observer_core.runtime.settings import exporter_values

    for key, name in _named(settings, ""):
        if not os.environ.get(name):
            yield f"{key}: the environment has no {name}"
    yield from (f"telemetry: {text}" for text in _refused(lambda: exporter_values(settings.telemetry)))


def _named(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Where a secret of the environment is named, and what it is called."""
    if isinstance(value, EnvSecret):
        yield key, value.env
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _named(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _named(item, f"{key}.{getattr(item, 'name', place)}")
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _named(item, f"{key}.{name}")
