"""What a process tells of its work: counted always, sent out where `[telemetry]` says so."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from observer_core.logs.context import always
from observer_core.runtime.engine import Worker
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.shared.errors import ConfigError


class Telemetry:
    """Begins when it is made. `ConfigError` when what `[telemetry]` asks for cannot be had."""

    def __init__(self, observer: Observer, metrics: Metrics) -> None:
        self._observer, self._metrics = observer, metrics
        self._stops: list[Callable[[], None]] = []
        config = observer.settings.telemetry
        if config.traces != "none" or config.metrics != "none":
            try:
                from observer_core.runtime.telemetry import export
                from observer_core.runtime.telemetry.tracing import current_ids
            except ModuleNotFoundError as error:
                wanted = next(one for one in (config.traces, config.metrics) if one != "none")
                raise ConfigError(
                    f"telemetry: {wanted} needs {error.name}, which is not installed: "
                    f'pip install "qts-observer[{wanted.replace("_", "-")}]"'
                ) from None
            if config.traces != "none":
                observer.trace(export.tracing(observer))
                always(current_ids)
            if config.metrics != "none":
                self._stops.append(export.metrics(observer, metrics))
        observer.on_stage = self._worked

    def _worked(self, worker: Worker[Any], seconds: float, result: int | Exception) -> None:
        self._metrics.stage(worker.spec.stage.name, seconds)
        if self._observer.tracing is not None:
            self._observer.tracing.worked(worker, seconds, result)

    def stop(self) -> None:
        """Sends what is left, within some seconds."""
        stops = [*self._stops, *([] if self._observer.tracing is None else [self._observer.tracing.stop])]
        threads = [threading.Thread(target=stop, name="telemetry", daemon=True) for stop in stops]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
