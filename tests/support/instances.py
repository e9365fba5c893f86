"""Instances of the Functions app on one storage, without a host: messages are given as a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from observer_core.runtime.engine import EngineOptions
from observer_core.runtime.handlers import STAGES, Handlers
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Snapshot
from observer_core.storage.epochs import Build
from observer_core.storage.ports import Message, Storage
from tests.support.market import GENERIC

START_NS = 1_700_000_000 * SECOND
BUILD = Build("1.0", "lock")
SUBJECTS = ("A/USD", "B/USD")
POLICIES = """
[[policy]]
name = "spike"
version = 1
owner = "desk"
description = "Every spike of a price blocks its subject."
match = { types = ["pattern.spike", "pattern.price_shock"] }
verdict = "block"
scope = "subject"
until = "1m"
"""


class Instances:
    """`count` processes' worth of handlers; `restart` gives one of them no past."""

    def __init__(
        self, folder: Path, storage: Storage, count: int = 1, *, clock: ManualClock | None = None,
        build: Build = BUILD, **settings: Any,
    ) -> None:  # fmt: skip
        self.clock = clock or ManualClock(START_NS)
        self.storage = storage
        (folder / "policies.toml").write_text(POLICIES)
        self._folder, self._build = folder, build
        self._settings = {"policies": Path("policies.toml"), "recognise": GENERIC, **settings}
        self.handlers = [self._start() for _ in range(count)]

    def _start(self) -> Handlers:
        settings = load(root=self._folder, config_dir=self._folder / "none", **self._settings)
        options = EngineOptions(max_lag_ns=settings.max_lag, state_entries=5, state_seconds=1e9)
        return Handlers(
            Observer(settings, self.storage, clock=self.clock, build=self._build, options=options)
        )

    def restart(self, number: int, build: Build | None = None) -> None:
        self._build = build or self._build
        self.handlers[number] = self._start()

    def collect(self, source: str, second: int, *, by: int = 0) -> None:
        """The snapshot of a second, the same whoever makes it; A jumps now and then."""
        now = START_NS + second * SECOND
        values = [100 + 0.05 * ((second * 7) % 11 - 5), 50 + 0.02 * ((second * 5) % 7 - 3)]
        if second % 40 == 37 + len(source) % 3:
            values[0] *= 1.3
        snapshot = Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=SUBJECTS,
            fields={"price": np.array(values)},
        )  # fmt: skip
        self.handlers[by].observer.writer(source, "live", "live", now).write([snapshot])

    def receive(self, stage: str, *, visibility_s: int = 30) -> Message | None:
        queue = self.handlers[0].queue(stage)
        found = self.storage.queues.receive(queue, visibility_ns=visibility_s * SECOND)
        return found[0] if found else None

    def give(self, stage: str, message: Message, *, by: int = 0) -> None:
        """As the host does: the message is gone when the function has returned."""
        handler: Callable[[bytes], None] = getattr(self.handlers[by], stage.replace("-", "_"))
        handler(message.body)
        self.storage.queues.delete(self.handlers[0].queue(stage), message)

    def drain(self, *, by: int = 0) -> int:
        """Gives all visible messages, those that follow from them included."""
        given = 0
        while True:
            found = [(stage, message) for stage in STAGES if (message := self.receive(stage)) is not None]
            if not found:
                return given
            for stage, message in found:
                self.give(stage, message, by=by)
                given += 1

    def lose(self) -> None:
        """Every message that is visible is gone."""
        for stage in STAGES:
            while (message := self.receive(stage)) is not None:
                self.storage.queues.delete(self.handlers[0].queue(stage), message)

    def lengths(self) -> Iterator[tuple[str, int]]:
        for stage in STAGES:
            yield stage, self.storage.queues.length(self.handlers[0].queue(stage))
