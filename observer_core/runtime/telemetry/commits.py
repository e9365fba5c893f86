"""What this process has committed, told to who counts and who traces.

Inside a step nothing is told as done before the step has become durable: where that fails it has committed
nothing, and will be done again. Who is told never fails the work, which is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from observer_core.shared.records import Record
from observer_core.storage.journal import Commit
from observer_core.storage.rows import InputRange


class Committed(NamedTuple):
    """Records `first`… of a journal, what they were made from, and their bytes."""

    journal: str
    first: int
    records: Sequence[Record]
    inputs: Sequence[InputRange]
    size: int


Listener = Callable[[Committed], None]
_log: Final = structlog.get_logger("observer.telemetry")


class Commits:
    """Journals tell `add`; a thread's steps are between `begin` and `end`. For any thread."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()
        self._at_once: tuple[Listener, ...] = ()
        self._steps = threading.local()

    def listen(self, listener: Listener, *, at_once: bool = False) -> None:
        """`at_once`: also of a step that has not ended yet, and may fail."""
        if at_once:
            self._at_once += (listener,)
        else:
            self._listeners += (listener,)

    def add(self, journal: str, first: int, commit: Commit, size: int) -> None:
        if not self._at_once and not self._listeners:
            return
        committed = Committed(journal, first, commit.records, commit.inputs, size)
        _tell(self._at_once, committed)
        if self._listeners:
            waiting: list[Committed] | None = getattr(self._steps, "waiting", None)
            if waiting is not None:
                waiting.append(committed)
                return
            _tell(self._listeners, committed)

    def begin(self) -> None:
        """This thread begins a step."""
        self._steps.waiting = []

    def end(self, *, stands: bool) -> None:
        """The step has ended; what it committed stands, or does not."""
        waiting, self._steps.waiting = self._steps.waiting, None
        if stands:
            for committed in waiting:
                _tell(self._listeners, committed)


def _tell(listeners: tuple[Listener, ...], committed: Committed) -> None:
    for listener in listeners:
        try:
            listener(committed)
        except Exception:  # a defect; whatever it is, the commit stands
            _log.exception("a commit could not be told of", journal=committed.journal)
