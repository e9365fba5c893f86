"""What this process has committed, told to who counts and who traces.

Inside a step nothing is told as done before the step has ended well: a step that fails has committed
nothing, and will be done again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from observer_core.shared.records import Record
from observer_core.storage.rows import InputRange


class Committed(NamedTuple):
    """Records `first`… of a journal, what they were made from, and their bytes."""

    journal: str
    first: int
    records: Sequence[Record]
    inputs: Sequence[InputRange]
    size: int


Listener = Callable[[Committed], None]


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

    def add(self, committed: Committed) -> None:
        for listener in self._at_once:
            listener(committed)
        if self._listeners:
            waiting: list[Committed] | None = getattr(self._steps, "waiting", None)
            if waiting is not None:
                waiting.append(committed)
                return
            self._tell(committed)

    def begin(self) -> None:
        """This thread begins a step."""
        self._steps.waiting = []

    def end(self, *, well: bool) -> None:
        """The step has ended; what it committed stands, or does not."""
        waiting, self._steps.waiting = self._steps.waiting, None
        if well:
            for committed in waiting:
                self._tell(committed)

    def _tell(self, committed: Committed) -> None:
        for listener in self._listeners:
            listener(committed)
