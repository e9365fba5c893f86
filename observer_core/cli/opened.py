"""The storage, opened for a command: to read what is there, or to act on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from observer_core.cli.invocation import Invocation
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.acts.ground import Ground
    from observer_core.runtime.gate.reader import Gate
    from observer_core.runtime.observer import Observer
    from observer_core.runtime.settings import Settings
    from observer_core.storage.journals import Journals

STAGES = ("snapshots", "patterns", "events", "decisions")


@dataclass(frozen=True, slots=True)
class Reader:
    """Journals to look at. Nothing is created or registered, and a running Observer is not disturbed."""

    settings: Settings
    journals: Journals
    gate: Gate

    @property
    def ground(self) -> Ground:
        """What acts stand on."""
        from observer_core.runtime.acts.ground import Ground

        return Ground(self.journals, self.settings, self.gate, "--domain")

    def domains(self, chosen: str | None = None) -> list[str]:
        """Domains with sources, live first; `InputError` when `chosen` is not one of them."""
        return self.ground.domains(chosen)

    def one_domain(self, chosen: str | None, why: str) -> str:
        """`chosen`, or the only one there is; `InputError` asks for one, because of `why`."""
        return self.ground.one_domain(chosen, why)

    def mode(self, domain: str) -> str:
        """`live`, `recorded`, or `?` before anybody has said so."""
        journal = self.journals.open(f"clock.{domain}")
        if not journal.head().position:
            return "?"
        note = journal.entry(1).record
        return str(getattr(note, "body", {}).get("mode", "?"))

    def newest_ns(self, domain: str) -> int:
        """The time of the domain's newest record."""
        return self.ground.newest_ns(domain)

    def named(self, journals: list[str] | None) -> list[str]:
        """All journals, or `journals`; `InputError` when one of them does not exist."""
        known = self.journals.names()
        for name in journals or ():
            if name not in known:
                raise InputError(f"there is no journal {name!r}; known are {', '.join(known) or 'none yet'}")
        return journals or known


@contextmanager
def reading(ctx: typer.Context) -> Iterator[Reader]:
    """The stored journals; `InputError` where there are none yet."""
    from observer_core.logs.configure import for_people
    from observer_core.runtime.gate.reader import Gate
    from observer_core.runtime.storages import open_storage, where
    from observer_core.shared.clock import SystemClock
    from observer_core.storage.journals import Journals

    settings = Invocation.of(ctx).settings()
    local = settings.storage.kind == "local"
    nothing = f"no Observer data in {where(settings)}; run `observer ingest` or `observer run` first"
    # Opening a folder would make one.
    if local and not (settings.paths.data / "journal.db").is_file():
        raise InputError(nothing)
    storage = open_storage(settings)
    try:
        journals = Journals(storage, worker="reader")
        if not local and not journals.names():
            raise InputError(nothing)
        with for_people():
            yield Reader(settings, journals, Gate(journals, settings, SystemClock()))
    finally:
        storage.close()


@contextmanager
def observing(settings: Settings) -> Iterator[Observer]:
    """An Observer to write with. Pending work is committed when the command ends as it meant to.

    Otherwise it is left alone: a stage may have stopped half way, and what is committed
    is all that counts.
    """
    from observer_core.logs.configure import for_people
    from observer_core.runtime.observer import Observer

    with for_people():
        observer = Observer.open(settings)
        try:
            yield observer
        except typer.Exit:
            observer.close()
            raise
        except BaseException:
            observer.storage.close()
            raise
        observer.close()


def running(data: Path) -> str | None:
    """The process that runs an Observer on `data`, None when there is none."""
    try:
        with (data / ".lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return file.read().strip() or "?"
    except FileNotFoundError:
        pass
    return None


def takes_it(reader: Reader, domain: str) -> str:
    """Who takes up what has just been asked of a domain, and when."""
    if reader.settings.storage.kind != "local":
        return "Whoever works this storage account takes it with its next tick."
    live, process = reader.mode(domain) == "live", running(reader.settings.paths.data)
    if live and process:
        return f"The running Observer (process {process}) takes it within moments."
    act = "`observer run` is started" if live else "its recording goes on (`observer ingest`, `observer run`)"
    return f"Nothing works domain {domain} now: the record waits in the journal until {act}."
