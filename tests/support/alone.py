"""A standalone Observer in a thread of its own, without a port."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from observer_core.runtime.console import Console
from observer_core.runtime.gaps import KIND
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.standalone import Standalone
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.verify import verify

HOST = {"name": "host", "kind": "system", "interval": "20ms", "host": "me", "file_systems": []}


class Port:
    """Stands for the web server."""

    def start(self) -> int:
        return 12345

    def stop(self) -> None:
        pass


def settings_of(folder: Path, **more: Any) -> Settings:
    """One that looks at this machine as often as it can."""
    values = {"durability": "normal", "clock_interval": "50ms", "source": [HOST], **more}
    return load(root=folder, **values)


class Alone:
    """`with` one it runs. `it` may be changed before that."""

    def __init__(self, settings: Settings) -> None:
        self.it = Standalone(settings)
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.it.run(Console(self.it.observer, self.it.gate, enabled=False), lambda _: Port())
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Alone:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.it.stop()
        self.join()

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()
        assert self.failure is None, self.failure

    def position(self, name: str) -> int:
        """As stored: this thread's view."""
        assert self.failure is None, self.failure
        row = self.it.observer.storage.tables.get(name, "head")
        return 0 if row is None else int(json.loads(row.value)["position"])


def stored(folder: Path) -> Journals:
    """What one has left behind, and that it is unbroken."""
    journals = Journals(LocalStorage(folder / "data/observer", durability="normal"), worker="reader")
    for name in journals.names():
        assert verify(journals.open(name)).fault is None
    return journals


def lifecycle(journals: Journals, event: str | None = None) -> list[dict[str, Any]]:
    """The records of starts, stops and what came between."""
    notes = [entry.record for entry in journals.open(OPERATIONS).scan()]
    found = [dict(note.body) for note in notes if isinstance(note, Note) and note.kind == KIND]
    return [body for body in found if event in (None, body["event"])]
