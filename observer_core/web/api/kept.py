"""An answer that is worked out once for all who ask at about the same time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Used again for `seconds`; for `grace` more while a new one is being worked out behind it.

    A failure is told to those who wait for it and is never used again. For one event loop at a time.
    """

    def __init__(self, seconds: float, *, grace: float = 0.0) -> None:
        self._seconds, self._grace = seconds, grace
        self._found: tuple[float, T] | None = None
        self._task: asyncio.Task[T] | None = None

    async def get(self, work: Callable[[], Awaitable[T]]) -> T:
        now, found = time.monotonic(), self._found
        if found is not None and now - found[0] < self._seconds:
            return found[1]
        task = self._task
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._task = asyncio.create_task(self._work(work))
            task.add_done_callback(_look_at)
        if found is not None and now - found[0] < self._seconds + self._grace:
            return found[1]
        return await asyncio.shield(task)

    async def _work(self, work: Callable[[], Awaitable[T]]) -> T:
        began = time.monotonic()
        value = await work()
        self._found = began, value
        return value


def _look_at(task: asyncio.Task[T]) -> None:
    """Nobody may be left who waits for it."""
    if not task.cancelled():
        task.exception()
