"""Writes reports: a file is there as a whole or not at all. On the schedule of `[reports]`, by itself too.

What is due follows from the files that are there, so a time that was missed is made up for once it can be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

import structlog

from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.looking import Looking
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reports.config import Form
from observer_core.runtime.reports.facts import Ground
from observer_core.runtime.reports.making import report
from observer_core.runtime.reports.period import day_of
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND, Clock, zone_of
from observer_core.shared.errors import InputError, ObserverError
from observer_core.storage.journals import Journals

_LOOK_SECONDS: Final = 30.0
_AGAIN_NS: Final = 600 * SECOND
_SETTLE_NS: Final = 300 * SECOND
"""After its end so long is waited for what was asked in the period and came, or was worked, later."""
_SHARE: Final = 0.25
"""Of its time the thread works so much, beside a loop that must not wait."""
_log = structlog.get_logger("observer.reports")


class Stopping(Exception):
    """The report at hand is not finished any more."""


def write(path: Path, text: str) -> None:
    """The file with this text; whoever reads it meanwhile sees the one before, or none.

    `InputError` names the file that cannot be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_text(text, "utf-8")
        os.replace(draft, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


class Reporting:
    """Writes the reports that are due; does nothing without a schedule.

    What the storage or the disk raises is logged, and tried again after a while.
    """

    def __init__(self, journals: Journals, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._looking = Looking("reports", self.look, lambda: _LOOK_SECONDS)
        pace = Pace(_SHARE, wanted=self._looking.is_stopped)
        self._ground = Ground(journals, settings, Gate(journals, settings, clock), pace, self._go_on)
        self._held: Callable[[], object] = lambda: None
        self._not_before_ns = 0

    @property
    def is_on(self) -> bool:
        config = self._settings.reports
        return config.daily is not None or config.weekly is not None

    def look(self) -> list[Path]:
        """Writes what is due and not there, and gives these files."""
        if not self.is_on or self._held() or self._clock.now_ns() < self._not_before_ns:
            return []
        written: list[Path] = []
        try:
            for kind in self._due():
                for domain in self._settings.reports.domains:
                    written += self._write(kind, domain)
        except Stopping:
            pass
        except (ObserverError, OSError) as error:
            self._not_before_ns = self._clock.now_ns() + _AGAIN_NS
            _log.error("a report could not be written; tried again in ten minutes", error=str(error))
        return written

    def start(self, held: Callable[[], object] = lambda: None) -> None:
        """Looks by itself, in a thread of its own; while `held` nothing is written."""
        if self.is_on:
            self._held = held
            self._looking.start()

    def stop(self) -> None:
        """Leaves the report at hand: what was not written is due again at the next start."""
        self._looking.stop(patience=5.0)

    def _go_on(self, _: str) -> None:
        if self._looking.is_stopped():
            raise Stopping

    def _due(self) -> Iterator[Literal["daily", "weekly"]]:
        config, now_ns = self._settings.reports, self._clock.now_ns()
        time_of_day = datetime.fromtimestamp(now_ns // SECOND, zone_of(config.zone)).strftime("%H:%M")
        if config.daily is not None and time_of_day >= config.daily:
            yield "daily"
        monday = day_of(now_ns, config.zone).weekday() == 0
        if config.weekly is not None and (not monday or time_of_day >= config.weekly):
            yield "weekly"

    def _write(self, kind: Literal["daily", "weekly"], domain: str) -> Iterator[Path]:
        config = self._settings.reports
        try:
            period = self._ground.period(kind, self._ground.domain(domain), None)
        except InputError:  # there is nothing yet that it could be of
            return
        if 0 <= self._clock.now_ns() - period.end_ns < _SETTLE_NS:
            return
        paths = {form: self._path(kind, domain, period.first_day.isoformat(), form) for form in config.forms}
        missing = {form: path for form, path in paths.items() if not path.exists()}
        if not missing:
            return
        found = report(self._ground, kind, domain=domain)
        for form, path in missing.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, found.text(form, config.lang))
            _log.info("report written", file=path.name)
            yield path

    def _path(self, kind: str, domain: str, day: str, form: Form) -> Path:
        config = self._settings.reports
        name = f"{kind}-{day}-{domain}.{config.lang}.{form}"
        return self._settings.paths.root / config.to / name
