"""What the resources of the API read from, and how they do: blocking work in threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import orjson
from starlette.responses import Response

from observer_core.runtime.gate.desk import GateDesk
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.storage.journals import Journals

T = TypeVar("T")
READERS: Final = 4
SEARCHERS: Final = 3
"""Threads beside them, for what may have to look at much: how things stand never waits behind it."""


@dataclass(frozen=True, slots=True)
class Context:
    """One a process. The storage keeps a connection a thread, so the threads are few and stay."""

    observer: Observer
    gate: Gate
    desk: GateDesk
    health: Health
    metrics: Metrics
    runtime: Literal["standalone", "functions"]
    readers: ThreadPoolExecutor
    searchers: ThreadPoolExecutor
    asked: Callable[[str], None] = lambda journal: None
    """Told the journal of a stage that an operator has just asked something of; may wait for a queue."""

    @property
    def journals(self) -> Journals:
        return self.observer.journals

    async def read(self, work: Callable[[], T]) -> T:
        """The result of blocking work; the event loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self.readers, work)

    async def search(self, work: Callable[[], T]) -> T:
        """The same for what may take long, however bounded it is."""
        return await asyncio.get_running_loop().run_in_executor(self.searchers, work)


def answer(
    value: Any, status: int = 200, media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    """An answer as it is: what models.py says of it is checked by the tests, not at run time."""
    return Response(orjson.dumps(value), status, headers, media_type)
