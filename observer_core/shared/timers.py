"""What is due when, in one order that does not depend on when it is asked."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

Due = tuple[int, str, str]
"""(moment in ns, kind, key): timers fire in this order."""


class Timers:
    """At most one timer per (kind, key); arming it again moves it.

    `pop` gives the earliest timer due at or before a moment, ties by kind, then key.
    """

    __slots__ = ("_armed", "_heap")

    def __init__(self, armed: Iterable[Due] = ()) -> None:
        self._heap = sorted(armed)
        self._armed = {(kind, key): due_ns for due_ns, kind, key in self._heap}

    def arm(self, due_ns: int, kind: str, key: str) -> None:
        if self._armed.get((kind, key)) == due_ns:
            return
        self._armed[kind, key] = due_ns
        heapq.heappush(self._heap, (due_ns, kind, key))
        if len(self._heap) > 4 * len(self._armed) + 64:
            self._heap = self.armed()

    def disarm(self, kind: str, key: str) -> None:
        self._armed.pop((kind, key), None)

    def pop(self, through_ns: int) -> Due | None:
        while self._heap and self._heap[0][0] <= through_ns:
            due_ns, kind, key = heapq.heappop(self._heap)
            if self._armed.get((kind, key)) == due_ns:
                del self._armed[kind, key]
                return due_ns, kind, key
        return None

    def armed(self) -> list[Due]:
        """All timers, in the order in which they will fire."""
        return sorted((due_ns, kind, key) for (kind, key), due_ns in self._armed.items())
