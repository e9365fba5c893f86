"""A thread that looks again and again whether something is to be done, until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

_PATIENCE_SECONDS: Final = 15.0
_log = structlog.get_logger("observer.run")


class Looking:
    """What a look raises is logged and ends nothing: nobody would miss the thread.

    `wait` gives the seconds from one look to the next, `first` those before the first one.
    """

    def __init__(
        self, name: str, look: Callable[[], object], wait: Callable[[], float], *, first: float = 0.0
    ) -> None:
        self._name, self._look, self._wait, self._first = name, look, wait, first
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def is_stopped(self) -> bool:
        """Whether what a look does should come to an end."""
        return self._stop.is_set()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, patience: float = _PATIENCE_SECONDS) -> None:
        """Waits so long for a look under way; also where it was never started."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=patience)

    def _run(self) -> None:
        seconds = self._first
        while not self._stop.wait(seconds):
            try:
                self._look()
            except Exception:  # a defect
                _log.exception("a look has failed", thread=self._name)
            seconds = self._wait()
