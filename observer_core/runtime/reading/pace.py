"""Work that lets other threads run."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """After a slice of work a rest, `share` being the part that is work.

    A thread that computes keeps the interpreter for five milliseconds from one that wants it; here
    nobody waits for longer than a slice. `wanted`: whether somebody waits for this work, or for its end;
    then it does not rest.
    """

    def __init__(
        self, share: float, slice_s: float = 0.001, wanted: Callable[[], bool] | None = None
    ) -> None:
        self._rest, self._least = (1 - share) / share, slice_s / 10
        self._slice = slice_s
        self._wanted = wanted
        self._started = time.perf_counter()

    def begin(self) -> None:
        self._started = time.perf_counter()

    def rest(self) -> None:
        """Called between small pieces of work."""
        worked = time.perf_counter() - self._started
        if worked >= self._slice:
            hurry = self._wanted is not None and self._wanted()
            time.sleep(self._least if hurry else worked * self._rest)
            self._started = time.perf_counter()


def in_slices() -> Pace:
    """Somebody waits for it."""
    return Pace(0.9)
