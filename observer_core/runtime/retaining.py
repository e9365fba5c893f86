"""One run of retention over all journals: plan, say so in the operations journal, cut, sweep.

May run at any moment, beside everything else and more than once at a time. Nothing goes that is not packed,
not recorded as going, held, or read by somebody who is not done with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import structlog

from observer_core.maintenance.compaction import sweep
from observer_core.retention import holds as legal
from observer_core.retention.citations import PARTITION, Citations
from observer_core.retention.config import RetentionConfig, Term, shortest, term_of
from observer_core.retention.consumers import Consumers, useless_states
from observer_core.retention.cutting import Cut, Cutter, Plan, plan
from observer_core.runtime import operate
from observer_core.runtime.settings import Settings
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import Clock, format_duration
from observer_core.shared.errors import ConfigError, Conflict, ObserverError
from observer_core.shared.records import Json, Note
from observer_core.storage.archive.packs import MARK
from observer_core.storage.journals import Journals
from observer_core.storage.once import Once
from observer_core.storage.ports import Op
from observer_core.storage.recovery import OPERATIONS

_LAST: Final = "last"
_LOOKED: Final = "looked"
_LEAP: Final = 7
"""After so many times `every` without a look, what time it is has to be so for once `every` more."""
_AUTHOR: Final = "observer"
_PARTS: Final = 10
"""Into so many parts the kept time is divided, by files that go as a whole and by states to go on from."""
_KINDS: Final = ("snapshots", "patterns", "clock", "commands", "events", "decisions", "routes")
_log = structlog.get_logger("observer.retention")
BackedUp = Callable[[], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Kept:
    """Records of a journal that are old enough to go, and why they stay."""

    journal: str
    records: int
    why: str


@dataclass(slots=True)
class Run:
    """What went, or would go. `skipped`: journals that somebody was at, or that failed, and why."""

    dry_run: bool
    cuts: list[Cut] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    warning: str | None = None
    complete: bool = True

    def to_json(self) -> Json:
        return {
            "dry_run": self.dry_run, "complete": self.complete, "warning": self.warning,
            "cuts": [{**cut.note(""), "record": cut.record, "author": None} for cut in self.cuts],
            "kept": [
                {"journal": item.journal, "records": item.records, "why": item.why} for item in self.kept
            ],
            "skipped": self.skipped,
        }  # fmt: skip


class Retention:
    """`backed_up`: how many records of each journal the newest good backup has; None: as `[backup]` says."""

    def __init__(
        self, journals: Journals, settings: Settings, clock: Clock, backed_up: BackedUp | None = None
    ) -> None:
        self._journals, self._settings, self._clock = journals, settings, clock
        self._config: RetentionConfig = settings.retention
        self._backed_up = backed_up

    # ------------------------------------------------------------------ what counts

    def terms(self) -> dict[str, Term]:
        """How long each journal is kept."""
        return {
            name: term_of(self._config, name, self._journals.domain_of(name) or "")
            for name in self._journals.names()
        }

    def present_ns(self, domain: str) -> int:
        """What time it is in a domain, for the age of its records.

        A recording's domain keeps its own time: its newest snapshot is now, so that a recording of 2018 is
        no older than it is long. Elsewhere it is the clock, but never later than the newest record: while
        an Observer stands still nothing of it grows old.
        """
        journals = [self._journals.open(name) for name in self._journals.names(domain=domain)]
        if self._is_recorded(domain):
            journals = [journal for journal in journals if journal.name.startswith("snapshots.")]
            return max((journal.head().time_ns for journal in journals), default=0)
        return min(self._clock.now_ns(), max((journal.head().time_ns for journal in journals), default=0))

    def _is_recorded(self, domain: str) -> bool:
        clock = self._journals.open(f"clock.{domain}")
        if not clock.head().position:
            return False
        note: Any = clock.entry(1).record
        return bool(note.body["mode"] == "recorded")

    def span_ns(self, name: str) -> int | None:
        """How much of a journal's time one file may hold at most; None where nothing of it ever goes."""
        keep_ns = self.terms()[name].keep_ns
        return None if keep_ns is None else keep_ns // _PARTS

    def states_kept(self, name: str) -> tuple[int | None, Collection[int]]:
        """How far apart older states of a journal's stage are kept, and the commits of those that no longer
        lead anywhere; None where no cut needs any."""
        terms, journal = self.terms(), self._journals.open(name)
        keep_ns = shortest([terms[on] for on in journal.checkpoints() if on in terms])
        if keep_ns is None:
            return None, ()
        return keep_ns // _PARTS, useless_states(self._journals, journal)

    def is_due(self) -> bool:
        """Whether it is time for a run by itself. Whoever may run asks now and then."""
        if not self._config.every or not self._config.rule:
            return False
        row = self._journals.storage.tables.get(PARTITION, _LAST)
        last_ns = 0 if row is None else int(decode(row.value)["time_ns"])
        # A clock that was put back must not switch it off for years.
        return not self._has_leapt() and not 0 <= self._clock.now_ns() - last_ns < self._config.every

    def _has_leapt(self) -> bool:
        """Whether much more time has passed since the last look than should have, and that not long ago.

        It may be so, or the clock is wrong, and what has not grown old would go.
        """
        every_ns, now_ns, tables = self._config.every, self._clock.now_ns(), self._journals.storage.tables
        row = tables.get(PARTITION, _LOOKED)
        known = {"time_ns": now_ns, "leapt_ns": 0} if row is None else decode(row.value)
        leapt_ns = known["leapt_ns"]
        if now_ns - known["time_ns"] > _LEAP * every_ns:
            leapt_ns = now_ns
            gone, wait = format_duration(now_ns - known["time_ns"]), format_duration(every_ns)
            _log.warning("retention waits: is the clock right?", since_last_look=gone, waits=wait)
        value = encode({"time_ns": now_ns, "leapt_ns": leapt_ns})
        tables.commit(PARTITION, [Op("upsert", _LOOKED, value)])
        return bool(0 <= now_ns - leapt_ns < every_ns)

    # ------------------------------------------------------------------ a run

    def run(
        self, *, dry_run: bool = False, author: str = _AUTHOR, seconds: float | None = None,
        tell: Callable[[Cut], None] = lambda _: None,
    ) -> Run:  # fmt: skip
        """`seconds`: one that has taken so long stops between two steps and is not `complete`."""
        end = float("inf") if seconds is None else time.monotonic() + seconds
        done = Run(dry_run, warning=self._config.warning)
        if done.warning is not None:
            _log.warning("decisions may go early", detail=done.warning)
        terms = {name: term for name, term in _causes_first(self.terms()) if term.keep_ns is not None}
        if not terms:
            return done
        consumers, backups = self._consumers(), self._backups()
        if not dry_run:
            # Consumers were looked at before: what they stand at is durable now, whatever fails.
            self._journals.sync()
        cited = Citations(self._journals, self._config.cited_by, terms)
        cited.bring_forward()
        for name, term in terms.items():
            if time.monotonic() > end:
                done.complete = False
                break
            try:
                self._one(name, term, cited, consumers, backups, done, author, end, tell)
            except Conflict:
                done.skipped[name] = "somebody else was at it"
            except ObserverError as error:
                done.skipped[name] = str(error)
                _log.error("retention of a journal failed", journal=name, error=str(error))
        if not dry_run:
            cited.save()
            if done.complete and not done.skipped:
                value = encode({"time_ns": self._clock.now_ns()})
                self._journals.storage.tables.commit(PARTITION, [Op("upsert", _LAST, value)])
        return done

    def _one(
        self, name: str, term: Term, cited: Citations, consumers: Consumers,
        backups: Mapping[str, int] | None, done: Run, author: str, end: float, tell: Callable[[Cut], None],
    ) -> None:  # fmt: skip
        if not done.dry_run:
            sweep(self._journals, name)  # also of what a run before this one has left
        # Before holds and stretches are looked at: whoever changes any of them later changes this.
        mark = self._journals.storage.tables.get(name, MARK)
        planned = self._plan(name, term, consumers, backups)
        done.kept += kept_of(planned)
        cutter = Cutter(self._journals, planned, mark, cited, consumers)
        cuts = 0
        for chunk in cutter.chunks():
            cut, data = cutter.cut(chunk)
            if not done.dry_run:
                file = cutter.write(cut, data)
                cut = replace(cut, record=self._record(cut, author))
                cutter.commit(chunk, cut, file, self._clock.now_ns())
            consumers.moved(name, cut.last)
            done.cuts.append(cut)
            cuts += 1
            tell(cut)
            if time.monotonic() > end:
                done.complete = False
                break
        if cuts and not done.dry_run:
            sweep(self._journals, name)  # no file before it is durable that no row names it
            self._forget_series(name)

    def _record(self, cut: Cut, author: str) -> str:
        """Durable before anything goes; a run that stopped behind it, and the next one, have the same."""
        journal, now_ns = self._journals.open(OPERATIONS, "operations"), self._clock.now_ns()
        note = Note(kind="maintenance", time_ns=now_ns, body=cut.note(author))
        key = f"{cut.journal} {cut.first} {cut.last} {cut.hash} {cut.excerpt_sha256} {cut.rule}"
        said = operate.said(journal, [note], {}, Once("retention", key, key, now_ns))
        self._journals.sync()
        return str(said["ref"])

    def _plan(self, name: str, term: Term, consumers: Consumers, backups: Mapping[str, int] | None) -> Plan:
        present_ns = self.present_ns(self._journals.domain_of(name) or "")
        holds = legal.standing(self._journals)
        return plan(self._journals, name, term, present_ns, consumers, holds, backups)

    def _backups(self) -> Mapping[str, int] | None:
        """How far backups go; None where that keeps nothing."""
        only, configured = self._config.only_backed_up, self._settings.backup.to is not None
        if only is False or (self._backed_up is None and not configured and not only):
            return None
        if self._backed_up is not None:
            return self._backed_up()
        if not configured:
            raise ConfigError("[retention] only_backed_up = true, but [backup] says no place: give it to = …")
        from observer_core.runtime.backups import backed_up

        return backed_up(self._journals.storage, self._settings)

    def _consumers(self) -> Consumers:
        configured = {item.name for item in self._settings.subscription}

        def is_told(results: str) -> bool:
            domain = self._journals.domain_of(results)
            name = results.removeprefix(f"results.{domain}-")
            asked = self._journals.open(f"routes.{domain}").views().get("subscriptions", {})
            return name in configured or name in asked

        return Consumers(self._journals, is_told)

    def _forget_series(self, name: str) -> None:
        """Values that a cache has made of records that went."""
        base = self._journals.open(name).base().position
        for path, first in _blocks(self._settings.paths.data / "cache" / "series" / name):
            if first <= base:
                path.unlink(missing_ok=True)


def _causes_first(terms: Mapping[str, Term]) -> list[tuple[str, Term]]:
    """What others follow from before them: where it is cut decides from which states they go on."""
    places = {kind: place for place, kind in enumerate(_KINDS)}

    def place(name: str) -> tuple[int, str]:
        return places.get(name.partition(".")[0], len(_KINDS)), name

    return sorted(terms.items(), key=lambda item: place(item[0]))


def kept_of(planned: Plan) -> Iterator[Kept]:
    """What of a journal is old enough to go, and stays."""
    if planned.loose:
        yield Kept(planned.journal, planned.loose, "not packed yet")
    if planned.mixed:
        yield Kept(planned.journal, planned.mixed, "in a file with younger ones")
    if not planned.bounds:
        return
    least = min(planned.bounds, key=lambda bound: bound.position)
    going = sum(pack.records for pack in planned.packs)
    yield Kept(planned.journal, planned.old_records - going, least.why)


def spelled(term: Term) -> str:
    """How long, in words."""
    return "forever" if term.keep_ns is None else format_duration(term.keep_ns)


def _blocks(folder: Path) -> Iterator[tuple[Path, int]]:
    """The files of a journal's series, and the first position in each."""
    for path in folder.glob("[0-9]*"):
        first = path.name.partition("-")[0]
        if first.isdecimal():
            yield path, int(first)
