"""How time passes for a backend's queues: by a clock that is moved, or by waiting."""

from __future__ import annotations

import time
from typing import Protocol

from observer_core.shared.clock import SECOND, ManualClock


class Passing(Protocol):
    """Time as a backend's queues see it."""

    while_ns: int
    """The shortest time that a message can be hidden for."""

    def almost(self) -> None:
        """Lets it pass until just before the end."""

    def over(self) -> None:
        """Lets the rest of it pass."""


class ManualTime:
    while_ns = 100

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def almost(self) -> None:
        self._clock.advance(99)

    def over(self) -> None:
        self._clock.advance(1)


class RealTime:
    """Of a service that hides messages for whole seconds."""

    while_ns = SECOND

    def almost(self) -> None:
        pass

    def over(self) -> None:
        time.sleep(1.05)
