"""Requests that wait for what comes next. None holds a thread, and there are never more than so many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Final, TypeVar

from fastapi import Query
from pydantic import BeforeValidator, Field

from observer_core.web.problems import Problem

T = TypeVar("T")
MAX_WAIT_S: Final = 55.0
MAX_WAITING: Final = 32
_NEAR_S: Final = 0.02
"""How often what this process knows is looked at, where its stages run; asks nothing of the storage."""
_LOOK_S: Final = 1.0
"""How often the storage is asked what others have committed."""


class Waiting:
    """The waiting requests of a kind, `what` they wait for. `near`: the stages run in this process."""

    def __init__(self, what: str, *, near: bool, most: int | None = None) -> None:
        self._what, self._near, self._most = what, near, most
        self._waiting = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place among those who wait; `Problem` 503 when all are taken."""
        most = MAX_WAITING if self._most is None else self._most
        if self._waiting >= most:
            raise Problem(503, f"{most} clients wait for {self._what} already", {"Retry-After": "1"})
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def until(
        self, look: Callable[[T | None], Awaitable[T]], enough: Callable[[T], bool],
        moved: Callable[[T], bool], wait: float, every: float = _NEAR_S,
    ) -> T:  # fmt: skip
        """What `look` finds once that is enough, or when the time is over.

        `look` is given what it found before. `moved`: whether this process knows of more, asked each
        `every` seconds.
        """
        end = time.monotonic() + wait
        found = await look(None)
        looked = time.monotonic()
        while not enough(found) and (now := time.monotonic()) < end:
            # Also before a look at what has moved: it may be a group that is not committed yet.
            await asyncio.sleep(min(every if self._near else _LOOK_S, end - now))
            if (self._near and moved(found)) or time.monotonic() - looked >= _LOOK_S:
                found = await look(found)
                looked = time.monotonic()
        return found


def _seconds(text: str) -> float:
    try:
        wait = float(text)
    except ValueError:
        wait = -1.0
    if not 0 <= wait <= MAX_WAIT_S:
        raise Problem(400, f"wait is {text[:50]!r}; 0 to {MAX_WAIT_S:g} seconds were expected")
    return wait


Wait = Annotated[
    float,
    Field(ge=0, le=MAX_WAIT_S),
    BeforeValidator(_seconds),
    Query(description="how many seconds at most"),
]
