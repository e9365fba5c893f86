"""Connections to the port: bounded in number, and none keeps its place by saying nothing.

Who connects has shown no token yet, so whatever he can hold here he holds against everybody. The headers of
a request have to arrive within seconds. Where all places are taken, the connection that has been idle for
longest goes, never one whose request is being answered. An answer that nobody takes does not stay in memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST: Final = 200
HEAD_S: Final = 10.0
TAKEN_S: Final = 60.0
"""An answer is to be taken by then."""


class BoundedConnection(H11Protocol):
    """One of at most `most`; a request's headers have `head_s` seconds."""

    most, head_s, taken_s = MOST, HEAD_S, TAKEN_S
    _idle_since = 0.0
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._idle_since = time.monotonic()
        self._due = self.loop.call_later(self.head_s, self._let_go)
        if len(self.connections) > self.most:
            min(self._idle(), key=lambda one: one._idle_since)._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect(self._is_idle)

    def on_response_complete(self) -> None:
        self._idle_since = time.monotonic()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing waits for what is not taken yet.
        self.loop.call_later(self.taken_s, self.transport.abort)

    @property
    def _is_idle(self) -> bool:
        last: Any = self.cycle
        return last is None or bool(last.response_complete) or self.transport.is_closing()

    def _idle(self) -> Iterator[BoundedConnection]:
        """Those that are; the newest is always one."""
        for one in cast("set[Any]", self.connections):
            if isinstance(one, BoundedConnection) and one._is_idle:
                yield one

    def _expect(self, more: bool) -> None:
        """Whether headers have begun, or were to begin, that are not there yet."""
        if not more and self._due is not None:
            self._due.cancel()
            self._due = None
        elif more and self._due is None:
            self._due = self.loop.call_later(self.head_s, self._let_go)

    def _let_go(self) -> None:
        if self._is_idle:
            self.connections.discard(self)
            self.transport.abort()
