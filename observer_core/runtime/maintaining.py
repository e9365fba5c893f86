"""One round of maintenance over all journals: pack what has closed, then remove what nothing needs.

May run at any moment, beside everything else and more than once at a time; stopped at any step it has done
a part, and the next round does the rest. What it did is a record in the operations journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, Final

import structlog

from observer_core.maintenance.compaction import Packing, Swept, pack_closed, sweep
from observer_core.maintenance.config import MaintenanceConfig
from observer_core.maintenance.pruning import expired_keys, old_states, prune_keys, prune_states
from observer_core.retention.cutting import Cut
from observer_core.runtime import operate
from observer_core.runtime.looking import Looking
from observer_core.runtime.retaining import Retention
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import Conflict, ObserverError
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.recovery import OPERATIONS

_FIRST_SECONDS: Final = 60.0
_AUTHOR: Final = "observer"
_log = structlog.get_logger("observer.maintenance")


@dataclass(slots=True)
class Round:
    """What a round did, or would do. `skipped`: journals that somebody was at, or that failed, and why.

    `retained`: what the day's run of retention has removed, each with a record of its own.
    """

    dry_run: bool
    packed: list[Packing] = field(default_factory=list)
    swept: list[Swept] = field(default_factory=list)
    states: dict[str, int] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    retained: list[Cut] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    complete: bool = True

    @property
    def did_anything(self) -> bool:
        removed = any(item.segments or item.rows or item.archives for item in self.swept)
        return bool(self.packed or self.states or self.keys or removed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Maintenance:
    """`seconds`: a round that has taken so long stops between two steps and is not `complete`.

    `full`: whether no more is to be written than what removes something; nothing is packed then.
    """

    def __init__(
        self, journals: Journals, clock: Clock, config: MaintenanceConfig, retention: Retention | None = None,
        full: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._journals, self._clock, self._config = journals, clock, config
        self._retention, self._full = retention, full
        self._end = float("inf")
        self._looking = Looking(
            "maintenance", self._look, lambda: config.every / SECOND, first=_FIRST_SECONDS
        )
        self._rounds = threading.Lock()

    @property
    def packs(self) -> bool:
        """Whether closed hours are packed here."""
        wanted = self._config.compaction.enabled
        return find_spec("pyarrow") is not None if wanted is None else wanted

    def round(
        self, *, dry_run: bool = False, seconds: float | None = None, author: str = _AUTHOR,
        tell: Callable[[Packing], None] = lambda _: None,
    ) -> Round:  # fmt: skip
        """One round over all journals. `tell` hears of each stretch as soon as it is packed."""
        self._end = float("inf") if seconds is None else time.monotonic() + seconds
        done = Round(dry_run)
        with self._rounds:
            names = self._journals.names()
            if self.packs:
                self._each(names, done, lambda name: self._pack(name, done, tell))
                if not dry_run:
                    # What supersedes is durable before what it supersedes goes.
                    self._journals.sync()
                    self._each(names, done, lambda name: self._sweep(name, done))
            self._each(names, done, lambda name: self._prune(name, done))
            if not dry_run:
                self._journals.storage.archives.tidy()
                self._journals.storage.blobs.tidy()
            if done.did_anything and not dry_run:
                self._record(done, author)
            if self._retention is not None and not dry_run and not self._over:
                self._retain(self._retention, done, author)
        return done

    def _retain(self, retention: Retention, done: Round, author: str) -> None:
        """Once a day, when everything that has closed is packed."""
        if retention.is_due():
            run = retention.run(author=author, seconds=self._end - time.monotonic())
            done.retained = run.cuts
            done.complete &= run.complete
            done.skipped = {**run.skipped, **done.skipped}

    def _each(self, names: list[str], done: Round, act: Callable[[str], None]) -> None:
        for name in names:
            if self._over:
                done.complete = False
                return
            if name in done.skipped:
                continue
            try:
                act(name)
            except Conflict:
                done.skipped[name] = "somebody else was at it"
            except ObserverError as error:
                done.skipped[name] = str(error)
                _log.error("maintenance of a journal failed", journal=name, error=str(error))
            except Exception as error:  # a defect; the other journals are none the worse for it
                done.skipped[name] = f"{type(error).__name__}: {error}"
                _log.exception("maintenance of a journal failed", journal=name)

    @property
    def _over(self) -> bool:
        return self._looking.is_stopped() or time.monotonic() > self._end

    def _pack(self, name: str, done: Round, tell: Callable[[Packing], None]) -> None:
        if self._full():
            done.complete = False
            return
        span_ns = None if self._retention is None else self._retention.span_ns(name)
        config = self._config.compaction
        for packing in pack_closed(self._journals, name, config, dry_run=done.dry_run, span_ns=span_ns):
            done.packed.append(packing)
            tell(packing)
            if self._over or self._full():
                done.complete = False
                return

    def _sweep(self, name: str, done: Round) -> None:
        swept = sweep(self._journals, name)
        if swept.segments or swept.rows or swept.archives:
            done.swept.append(swept)

    def _prune(self, name: str, done: Round) -> None:
        before_ns = self._clock.now_ns() - self._config.keys_for
        states_kept = (None, ()) if self._retention is None else self._retention.states_kept(name)
        if done.dry_run:
            states = len(old_states(self._journals.open(name), *states_kept))
            keys = len(expired_keys(self._journals, name, before_ns))
        else:
            states = prune_states(self._journals, name, *states_kept)
            keys = prune_keys(self._journals, name, before_ns)
        if states:
            done.states[name] = states
        if keys:
            done.keys[name] = keys

    def _record(self, done: Round, author: str) -> None:
        body = {
            "author": author, "complete": done.complete, "states": done.states, "keys": done.keys,
            "packed": [
                {"journal": p.journal, "first": p.first, "last": p.last, "length": p.length,
                 "stored": p.stored, "merged": p.merged}
                for p in done.packed
            ],
            "swept": [asdict(item) for item in done.swept],
        }  # fmt: skip
        note = Note(kind="maintenance", time_ns=self._clock.now_ns(), body=body)
        operate.append(self._journals.open(OPERATIONS, "operations"), [note])

    # ------------------------------------------------------------------ by itself

    def start(self) -> None:
        """Rounds by itself from now on, in a thread of its own."""
        if self._config.every:
            self._looking.start()

    def stop(self) -> None:
        """After the step at hand."""
        self._looking.stop()

    def _look(self) -> None:
        try:
            self.round()
        except ObserverError as error:
            _log.error("maintenance failed; tried again later", error=str(error))
