"""How often a host is asked: a token bucket that all sources of the host share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

_BURST_SECONDS: Final = 1.0


class Pace:
    """At most `rate` requests a second, after a burst of as many as one second allows. For any thread.

    Source: the token bucket of RFC 2697, with waiting instead of dropping.
    """

    def __init__(
        self, rate: float, *, now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._rate, self._now, self._sleep = rate, now, sleep
        self._most = max(1.0, rate * _BURST_SECONDS)
        self._tokens, self._at = self._most, now()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when the next request may be made. Whoever asks first goes first."""
        with self._lock:
            now = self._now()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate) - 1.0
            self._at = now
            wait = -self._tokens / self._rate
        if wait > 0:
            self._sleep(wait)
