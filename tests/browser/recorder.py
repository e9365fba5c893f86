"""Writes data folders as the Observer itself writes them: minute by minute, under a clock in hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
from structlog.testing import capture_logs

from observer_core.automation.dead_letters import TO_SUBSCRIBER, DeadLetters
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime import operate
from observer_core.runtime.ingest import ingest
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings, load
from observer_core.runtime.source_kinds import RecordingSourceConfig
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND, ManualClock, format_time
from observer_core.shared.records import Snapshot, Status
from observer_core.shared.stage import Entry
from observer_core.storage.epochs import Build
from observer_core.storage.local import LocalStorage

MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
BUILD = Build("1.0", "lock")
Values = Mapping[str, float | None]
"""What each subject has; None: not observed."""


def settings_of(folder: Path) -> Settings:
    """Those of a folder that was made here."""
    return load(root=folder, durability="normal")


class Recorder:
    """The Observer in a new `folder`, with these settings and policies (TOML)."""

    def __init__(self, folder: Path, start_ns: int, settings: str, policies: str) -> None:
        (folder / "config").mkdir(parents=True, exist_ok=True)
        (folder / "config" / "observer.toml").write_text(f'policies = "config/policies.toml"\n{settings}')
        (folder / "config" / "policies.toml").write_text(policies)
        self.folder, self.clock = folder, ManualClock(start_ns)
        self.settings = settings_of(folder)
        storage = LocalStorage(self.settings.paths.data, durability="normal")
        self.observer = Observer(self.settings, storage, clock=self.clock, build=BUILD)

    @property
    def now_ns(self) -> int:
        return self.clock.now_ns()

    def ingest(self) -> None:
        """All recordings of the configuration."""
        for item in self.settings.source:
            if isinstance(item, RecordingSourceConfig):
                paths = [self.folder / path for path in item.paths]
                ingest(self.observer, paths, source=item.name, domain=item.domain, mapping=item.mapping)

    def command(
        self, command: str, scope: str, author: str, reason: str, until_ns: int | None = None, *,
        domain: str = "live",
    ) -> None:  # fmt: skip
        """What an operator asks now."""
        operate.command(
            self.observer.journals, self.clock, domain, command=command, scope=scope, author=author,
            reason=reason, until_ns=until_ns,
        )  # fmt: skip

    def silence(self, subject: str, author: str, reason: str, for_ns: int) -> None:
        """Nobody is told of a subject from now on."""
        body = {
            "action": "add", "match": {"subjects": [subject]}, "author": author, "reason": reason,
            "start_ns": self.now_ns, "end_ns": self.now_ns + for_ns,
        }  # fmt: skip
        operate.ask(self.observer.journals, "live", "silence", body, self.now_ns)

    def bury(self, subscription: str, ref: str, error: str) -> None:
        """A delivery that was given up."""
        body = encode({"ref": ref, "domain": "live", "subscription": subscription, "error": error})
        letters = DeadLetters(self.observer.journals, self.observer.storage.queues, self.clock)
        letters.bury(f"{TO_SUBSCRIBER}{subscription}", "deliver", body, message_id=ref, dequeue_count=12)

    def collect(
        self, source: str, fields: Mapping[str, Values], *, event_ns: int | None = None,
        status: Status = "ok", error: str | None = None,
    ) -> None:  # fmt: skip
        """A snapshot that is known now, and its recognition."""
        subjects = list(dict.fromkeys(name for column in fields.values() for name in column))
        columns = {
            name: np.array([np.nan if (v := column.get(s)) is None else v for s in subjects])
            for name, column in fields.items()
        }
        self.write(source, subjects, columns, event_ns=event_ns, status=status, error=error)

    def write(
        self, source: str, subjects: Sequence[str], columns: Mapping[str, np.ndarray], *,
        event_ns: int | None = None, status: Status = "ok", error: str | None = None,
    ) -> None:  # fmt: skip
        now = self.now_ns
        snapshot = Snapshot(
            source=source, event_ns=now if event_ns is None else event_ns, ingest_ns=now,
            subjects=tuple(subjects), fields=columns, status=status, error=error,
        )  # fmt: skip
        self.observer.writer(source, "live", "live", now).write([snapshot])

    @contextmanager
    def at(self, now_ns: int) -> Iterator[None]:
        """What is collected and asked inside is so at that moment; then all stages work it."""
        self.clock.set(now_ns)
        with self.observer.step():
            domain = self.observer.domain("live")
            domain.declare("live", now_ns)
            yield
            domain.tick()
            domain.refresh()
            domain.work(refresh=True)

    def log(self, file: str, event: str, level: str = "info", **fields: object) -> None:
        """A line as the Observer writes it into its log files."""
        path = self.settings.paths.logs / f"{file}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        line = {"event": event, "level": level, "timestamp": format_time(self.now_ns), **fields}
        with path.open("a") as lines:
            lines.write(json.dumps(line) + "\n")

    def close(self) -> None:
        self.observer.close()


@contextmanager
def poisonous(subject: str) -> Iterator[None]:
    """The recogniser fails on every snapshot that has this subject: what a defect would do."""
    original = Recogniser.transition

    def transition(self: Recogniser, state: object, entry: Entry) -> object:
        record = entry.record
        if isinstance(record, Snapshot) and subject in record.subjects:
            raise ZeroDivisionError(f"no scale for {subject}")
        return original(self, state, entry)  # type: ignore[arg-type]

    # The tracebacks of what is meant would only hide those of what is not.
    with mock.patch.object(Recogniser, "transition", transition), capture_logs():
        yield
