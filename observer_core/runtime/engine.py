"""One engine for all stages: journals in, `transition`, journal out, exactly once.

A `Worker` owns one stage and the journal it writes. `pump` consumes what the inputs
hold beyond the checkpoint and commits records, input ranges, checkpoints, views and time
in one transaction. Calling it too often, twice at once, or after a crash anywhere gives
the same journal.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Generic, TypeVar

import structlog

from observer_core.runtime.attempts import Attempts, Failed
from observer_core.runtime.rerun import Reader, merge, rerun_range, rerun_row
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import (
    Conflict,
    Divergence,
    EpochMoved,
    JournalError,
    LimitExceeded,
    Pruned,
    RecordError,
    StateFormat,
)
from observer_core.shared.ids import trace_of
from observer_core.shared.records import Note, Record, Snapshot
from observer_core.shared.stage import Entry, Stage
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import HOURS_PER_COMMIT, TAIL_BYTES, Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op
from observer_core.storage.rows import CommitRow, Head, InputRange, StateRow, beyond, chain, joined

S = TypeVar("S")
_log = structlog.get_logger("observer.engine")
_HOUR_NS = 3600 * SECOND
_DAY_NS = 24 * _HOUR_NS
_CONFLICTS_IN_A_ROW = 100
_INPUTS_PER_COMMIT = 20
_VIEWS_PER_COMMIT = 20
Refresh = bool | Collection[str]
_UNWRITABLE = (RecordError, LimitExceeded, JournalError)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How a worker behaves. None of it changes what is recorded."""

    max_lag_ns: int = 30 * SECOND
    """Time and checkpoint are committed at least every third of this, output or not."""
    batch: int = 1000
    """Entries read at once from one input."""
    max_attempts: int = 3
    """After so many failures an entry is quarantined."""
    state_entries: int = 20_000
    state_seconds: float = 0.8
    """A state blob is written after so many entries or so much transition time: bounds a rebuild."""
    tail_bytes: int = TAIL_BYTES
    """What is kept in memory of each journal's newest records: readers in this process need not read them."""
    lease_ns: int = 0
    """How long a lease on the journal lasts; 0: none (one process owns the storage)."""


@dataclass(frozen=True, slots=True)
class StageSpec(Generic[S]):
    """A stage and where it stands: what it writes, what it reads, and which inputs tell it the time.

    `inputs()` may grow as sources appear. `timed` inputs are those whose `through_ns`
    says how far time has come; the least of them counts. `rebuild` makes the stage of
    an earlier epoch from its recorded configuration.
    """

    stage: Stage[S]
    output: str
    domain: str
    inputs: Callable[[], Sequence[str]]
    timed: Callable[[], Sequence[str]]
    rebuild: Callable[[Mapping[str, Any]], Stage[S]]


class Worker(Generic[S]):
    """Runs one stage. Not for use from two threads at once; two processes are fine."""

    def __init__(
        self,
        journals: Journals,
        spec: StageSpec[S],
        build: Build,
        clock: Clock,
        options: EngineOptions = EngineOptions(),
    ) -> None:
        self.spec = spec
        self.journal = journals.open(spec.output, spec.domain)
        self._journals = journals
        self._stage = spec.stage
        self._clock = clock
        self._options = options
        self._mine = Epoch(spec.stage.name, spec.stage.version, spec.stage.config(), build)
        self._epoch: int | None = None
        self._loaded = False
        self._cold = True
        self._state: S
        self._head = Head()
        self._consumed: dict[str, int] = {}
        self._through = 0
        self._views: dict[str, Any] = {}
        self._views_version = -1
        self._records: list[Record] = []
        self._ranges: list[InputRange] = []
        self._hours: set[int] = set()
        self._quiet = 0
        """How many of the pending entries were consumed before the first that gave a record."""
        self._attempts = Attempts(self.journal)
        self._since_state = 0
        self._seconds_since_state = 0.0
        self._state_ns = 0
        self._committed_at = 0
        self._lease_until = 0
        self._at: Entry | None = None
        self.records = 0
        self.conflicts = 0
        self.quarantines = 0

    # ------------------------------------------------------------------ the loop

    def pump(self, *, refresh: Refresh = True, current: Collection[str] = (), flush: bool = False) -> int:
        """Consumes everything the inputs hold now; gives the number of records committed.

        `refresh=False` trusts what this process knows of all heads (it wrote them); names of inputs
        ask for theirs alone, and leave it to the commit to find that somebody else has been here.
        `current` names inputs that this process knows to stand where it saw them last.
        `flush` commits checkpoint and time even if nothing else is due.
        """
        before = self.records
        in_a_row = 0
        while self._hold_lease():
            try:
                asked = self._load(refresh)
                self._drain(refresh, {*current, *asked})
                if self._due(flush):
                    self._commit()
                break
            except Conflict:
                self.conflicts += 1
                in_a_row += 1
                if in_a_row == _CONFLICTS_IN_A_ROW:
                    raise
                self._loaded = self._join_twin()
            except Failed as failed:
                _log.warning("an entry could not be worked; tried again alone", exception=_told(failed))
                self._loaded = False
                self._attempts.fence(failed.fences)
            except BaseException:
                # What is pending may be half done: the next call begins at what is committed.
                self._loaded = False
                raise
        return self.records - before

    def forget(self) -> None:
        """Drops the state in memory; the next `pump` takes it from the storage."""
        self._loaded = False

    def close(self) -> None:
        """Commits what is pending, with the state, so that the next start needs no rebuild."""
        try:
            if self._loaded:
                self.pump(refresh=False)
            if self._loaded and (self._ranges or self._since_state):
                self._commit(with_state=True)
        except (Conflict, EpochMoved, Failed):
            # Somebody else goes on, or the next start tries again: nothing here is worth keeping.
            self._loaded = False

    @property
    def through_ns(self) -> int:
        """How far in time this worker has come, committed or not."""
        return max(self._through, self._head.through_ns)

    @property
    def committed_ns(self) -> int:
        """When this worker has last committed, or taken over what stood; 0 when it has not yet."""
        return self._committed_at

    def where(self) -> dict[str, Any]:
        """For the log: the stage, and the entry that it works on, or was the last."""
        kind, _, name = self.spec.output.partition(".")
        found: dict[str, Any] = {"stage": self.spec.stage.name, "domain": self.spec.domain}
        if kind in ("patterns", "snapshots"):
            found["source"] = name
        if (entry := self._at) is not None:
            found |= {"journal": entry.journal, "position": entry.position}
            record = entry.record
            begun_by = entry.ref if isinstance(record, Snapshot) else getattr(record, "snapshot", None)
            if begun_by is not None:
                found["trace_id"], found["span_id"] = trace_of(begun_by)
        return found

    def _drain(self, refresh: Refresh, current: Collection[str]) -> None:
        names = list(self.spec.inputs())
        heads = {name: self._head_of(name, refresh, current) for name in names}
        through = self._time(heads, refresh, current)
        while True:
            batches = []
            for name in names:
                after = self._consumed.get(name, 0)
                if heads[name].position > after:
                    limit = min(self._options.batch, heads[name].position - after)
                    batches.append(self._journals.open(name).read(after, limit))
            if not batches:
                break
            if len(batches) == 1:
                self._consume(batches[0])
            else:
                # In the order in which they could be known; what is recorded is the order taken.
                self._consume(merge(batches, heads))
        if through > self._through and self._consumed and self._complete(names, refresh, current):
            if self._epoch is None:
                self._open_epoch(through)
            if records := self._stage.advance(self._state, through):
                self._emit(records)
            self._through = through

    def _complete(self, names: Sequence[str], refresh: Refresh, current: Collection[str]) -> bool:
        """Time must not pass over what an input that was not asked may hold."""
        return isinstance(refresh, bool) or set(names) <= {*refresh, *current, *self.spec.timed()}

    def _head_of(self, name: str, refresh: Refresh, current: Collection[str]) -> Head:
        ask = refresh if isinstance(refresh, bool) else name in refresh
        return self._journals.open(name).head(refresh=ask and name not in current)

    def _time(self, heads: Mapping[str, Head], refresh: Refresh, current: Collection[str]) -> int:
        timed = [
            heads[name].through_ns if name in heads else self._head_of(name, refresh, current).through_ns
            for name in self.spec.timed()
        ]
        return min(timed, default=0)

    def _consume(self, entries: Sequence[Entry]) -> None:
        started = time.perf_counter()
        for entry in entries:
            self._at = entry
            if self._epoch is None:
                self._open_epoch(entry.time_ns)
            alone = self._attempts.suspects(entry)
            if alone and not self._admit(entry):
                continue
            try:
                records = self._stage.transition(self._state, entry)
            except Exception as error:
                raise self._attempts.failed(entry.journal, entry.position, error) from error
            if self._ranges and self._ranges[-1].journal == entry.journal and not self._ranges[-1].skipped:
                last = self._ranges[-1]
                self._ranges[-1] = InputRange(last.journal, last.first, entry.position)
            else:
                self._ranges.append(InputRange(entry.journal, entry.position, entry.position))
            self._consumed[entry.journal] = entry.position
            self._since_state += 1
            if records:
                self._emit(records)
            if alone:
                self._commit_alone(entry)
            elif self._full():
                self._commit()
        self._seconds_since_state += time.perf_counter() - started

    def _emit(self, records: Sequence[Record]) -> None:
        if not self._records:
            self._quiet = sum(item.entries for item in self._ranges) - 1
        for record in records:
            self._records.append(record)
            self._hours.add(record.time_ns // _HOUR_NS)

    def _full(self) -> bool:
        return (
            len(self._hours) >= HOURS_PER_COMMIT // 2
            or len(self._records) >= 2000
            or len(self._ranges) >= 2000
            or len(self._ranges) >= _INPUTS_PER_COMMIT <= len({item.journal for item in self._ranges})
        )

    def _due(self, flush: bool) -> bool:
        if not self._consumed:
            return False
        if self._records or self._changed_views():
            return True
        behind = self._through > self._head.through_ns or bool(self._ranges)
        return behind and (
            flush or self._clock.now_ns() - self._committed_at >= self._options.max_lag_ns // 3
        )

    # ------------------------------------------------------------------ commit

    def _commit(self, *, with_state: bool = False, extra: Sequence[Op] = ()) -> None:
        views = self._changed_views()
        state = None
        if (
            with_state
            or self._since_state >= self._options.state_entries
            or self._seconds_since_state >= self._options.state_seconds
            or self._state_is_old()
        ):
            state = self._write_state()
        inputs = {item.journal for item in self._ranges}
        try:
            while len(views) > _VIEWS_PER_COMMIT:
                # More than one transaction takes (after a recovery, say): the surplus goes first.
                some = dict(islice(views.items(), _VIEWS_PER_COMMIT))
                self._head = self.journal.commit(self._head, Commit(views=some))
                self._views.update(some)
                views = {key: value for key, value in views.items() if key not in some}
            head = self.journal.commit(
                self._head,
                Commit(
                    records=self._records, inputs=self._ranges, through_ns=self._through,
                    epoch=self._epoch, views=views, state=state, extra=extra,
                    checkpoints={name: {"position": self._consumed[name]} for name in inputs},
                ),
            )  # fmt: skip
        except _UNWRITABLE as error:
            raise self._attempts.unwritable(self._ranges, error) from error
        if state is not None:
            self._since_state, self._seconds_since_state = 0, 0.0
            self._state_ns = self.through_ns or self._clock.now_ns()
        self.records += len(self._records)
        self._views.update(views)
        self._views_version = self._stage.views_version(self._state)
        self._settle(head)

    def _state_is_old(self) -> bool:
        """Live a state is a day old at most: retention removes nothing that has not one behind it."""
        if not self._since_state or not self._state_ns:
            return False
        through = self.through_ns
        return through - self._state_ns >= _DAY_NS and self._clock.now_ns() - through < _DAY_NS

    def _settle(self, head: Head) -> None:
        self._head = head
        self._records, self._ranges = [], []
        self._hours.clear()
        self._committed_at = self._clock.now_ns()

    def _changed_views(self) -> dict[str, Any]:
        version = self._stage.views_version(self._state)
        if self._views_version == version:
            return {}
        now = self._stage.views(self._state)
        changed = {
            key: value
            for key, value in now.items()
            if (known := self._views.get(key)) is not value and known != value
        }
        for key, value in self._views.items():
            if key not in now and value is not None and not key.startswith("quarantined."):
                changed[key] = None
        if not changed:
            self._views_version = version
        return changed

    def _write_state(self) -> Callable[[int], StateRow]:
        data = self._stage.dump(self._state)
        position = self._head.position + len(self._records)
        # With the position: what is pruned is never what somebody has just written again.
        name = f"{self.spec.output}/{position:020d}-{hashlib.sha256(data).hexdigest()}"
        self._journals.storage.blobs.put(name, data)
        consumed, through, epoch = dict(self._consumed), self._through, self._epoch or 0
        return lambda seq: StateRow(
            seq=seq, blob=name, epoch=epoch, through_ns=through, consumed=consumed, position=position
        )

    def _join_twin(self) -> bool:
        """Somebody committed on our base: is our state still right, or a few entries short of right?

        Then what they have done is taken out of what is pending; otherwise the state is lost.
        """
        rows = list(self.journal.rows(after_seq=self._head.seq, from_position=max(1, self._head.position)))
        head = self.journal.head()
        if not rows or head.seq != rows[-1].seq or head.epoch != self._epoch:
            return False
        ours = joined(self._ranges)
        theirs = joined(item for row in rows for item in row.inputs)
        more = beyond(theirs, ours)
        if more == [] and self._records:
            return self._same_as(head, rows[-1])
        if more is not None and not self._records:
            return self._catch_up(more, head, rows[-1].through_ns)
        left = beyond(ours, theirs)
        if not left or head.position != self._head.position:
            return False
        if self._records and sum(item.entries for item in theirs) > self._quiet:
            return False  # where ours gave something, theirs did not, or nobody knows
        self._head, self._ranges, self._committed_at = head, left, head.through_ns
        self._quiet = 0  # unknown from here on: the next twin that is met costs the state
        self._views_version = -1
        return True

    def _same_as(self, head: Head, newest: CommitRow) -> bool:
        ours = chain(self._head.hash, [record.encode(self._epoch or 0) for record in self._records])
        if head.hash == ours:
            self._views_version = -1
            self._settle(head)
            return True
        if newest.through_ns == max(self._through, self._head.through_ns):
            raise Divergence(
                f"journal {self.spec.output!r}: two workers consumed {self._ranges} and wrote different "
                f"records after position {self._head.position}; keep the data folder, this is a defect"
            )
        return False

    def _catch_up(self, ranges: Sequence[InputRange], head: Head, through_ns: int) -> bool:
        """Brings the state over what somebody else has consumed, as long as it gives what they wrote."""
        records: list[Record] = []
        for item in ranges:
            records += rerun_range(self._journals, self._stage, self._state, item)
            self._consumed[item.journal] = item.last
            self._since_state += item.entries
        records += self._stage.advance(self._state, through_ns)
        if chain(self._head.hash, [record.encode(self._epoch or 0) for record in records]) != head.hash:
            return False
        self._through = max(self._through, through_ns)
        self._views_version = -1
        self._settle(head)
        self._committed_at = head.through_ns  # theirs may be long ago
        return True

    # ------------------------------------------------------------------ state

    def _load(self, refresh: Refresh) -> Collection[str]:
        """Makes the state that of the newest commit; gives the inputs whose heads it had to ask for."""
        if self._loaded:
            if refresh is True and (head := self.journal.head()).etag != self._head.etag:
                self._bring_forward_to(head)
            return ()
        self._journals.open(self.spec.output, self.spec.domain)  # a step that failed undid this too
        head, attempts = self.journal.cold_start()
        epoch = self._mine.number(self.journal, head)
        if self._epoch is not None and self._epoch != epoch and head.epoch >= self._epoch:
            raise self._moved(head)  # an earlier one: the step that opened ours has not happened
        stage = self._stage if epoch or not head.epoch else self._stage_of_epoch(head)
        newest = self.journal.newest_state(head)
        self._consumed, self._through, seq, position = {}, 0, 0, 0
        state = None if newest is None else self._stored_state(stage, newest, of_mine=epoch is not None)
        if newest is None or state is None:
            stage = self._stage
            state = stage.initial()
        else:
            self._consumed, self._through = dict(newest.consumed), newest.through_ns
            seq, position = newest.seq, newest.position
        self._since_state, self._seconds_since_state = 0, 0.0
        self._state_ns = self._through or head.through_ns
        started = time.perf_counter()
        try:
            self._rerun(stage, state, seq, position, head)
        except Pruned as error:
            if seq:
                raise
            _log.warning("state from what is kept alone", journal=self.spec.output, error=str(error))
            state = self._state_of_what_is_kept(head)
        self._seconds_since_state = time.perf_counter() - started
        self._state = state if stage is self._stage else self._stage.load(stage.dump(state))
        self._epoch = epoch
        self._views = self.journal.views()
        self._views_version = -1
        self._settle(head)
        self._committed_at = head.through_ns  # a journal that was left behind catches up at once
        self._loaded = True
        if not self._cold:
            return ()
        tops = {name: self._journals.open(name).head().position for name in self.spec.inputs()}
        self._attempts.begin(self._consumed, tops, self._options.batch, attempts)
        self._cold = False
        return tops.keys()

    def _stored_state(self, stage: Stage[S], row: StateRow, *, of_mine: bool) -> S | None:
        """None: another version wrote it, and it must be computed again from the first input on."""
        try:
            return stage.load(self._journals.storage.blobs.get(row.blob))
        except StateFormat as error:
            name = self.spec.output
            if of_mine:
                raise JournalError(
                    f"journal {name!r}: this version has opened epoch {row.epoch}, but cannot read the state "
                    f"{row.blob} that it wrote there ({error}); run the build that wrote it, or restore that "
                    "blob from a backup"
                ) from error
            _log.warning("state of another version: computing it again", journal=name, error=str(error))
            return None

    def _state_of_what_is_kept(self, head: Head) -> S:
        """That of another version cannot be read, nor computed again from the first input on.

        It is computed from what retention has kept of the inputs; replay goes on from it, as it is stored
        with the epoch that opens now.
        """
        bases: dict[str, int] = {}
        seq, position = 0, 0
        for row in self.journal.rows():
            for item in row.inputs:
                if item.journal not in bases:
                    bases[item.journal] = self._journals.open(item.journal).base().position
                if item.first <= bases[item.journal]:
                    seq, position = row.seq, row.last
        state = self._stage.initial()
        checkpoints = self.journal.checkpoints()
        self._consumed = {name: at["position"] for name, at in checkpoints.items() if "position" in at}
        self._through, self._since_state = 0, 0
        self._rerun(self._stage, state, seq, position, head)
        return state

    def _bring_forward_to(self, head: Head) -> None:
        """Somebody else committed: run what they consumed, discarding what they have already written."""
        if head.epoch != self._epoch:
            raise self._moved(head)
        if self._ranges or self._records:
            if not self._join_twin():
                self._loaded = False  # our own pending work is not a part of what was committed
                self._load(True)
            return
        self._rerun(self._stage, self._state, self._head.seq, self._head.position, head)
        self._views = self.journal.views()
        self._settle(head)

    def _rerun(self, stage: Stage[S], state: S, seq: int, position: int, head: Head) -> None:
        """From the state at commit `seq`, when the journal had `position` records, up to `head`."""
        later = self.journal.rows(after_seq=seq, from_position=max(1, position))
        rows = list(takewhile(lambda row: row.seq <= head.seq, later))
        read = Reader(self._journals, rows)
        for row in rows:
            rerun_row(self._journals, stage, state, row, read=read)
            for item in row.inputs:
                self._consumed[item.journal] = item.last
                self._since_state += item.entries
            self._through = max(self._through, row.through_ns)

    def _moved(self, head: Head) -> EpochMoved:
        row = self.journal.epoch_row(head.epoch)
        return EpochMoved(self.spec.output, self._epoch or 0, head.epoch, row["version"] if row else "?")

    def _stage_of_epoch(self, head: Head) -> Stage[S]:
        """The stage as it was configured; as it is now where this version does not know those settings."""
        note = self.journal.entry(self.journal.epoch_row(head.epoch)["position"]).record
        assert isinstance(note, Note)
        try:
            return self.spec.rebuild(note.body["config"])
        except (ValueError, TypeError, LookupError) as error:
            _log.warning("settings of another version: unknown", journal=self.spec.output, error=str(error))
            return self._stage

    # ------------------------------------------------------------------ epochs

    def _open_epoch(self, time_ns: int) -> None:
        if self._ranges or self._records:
            raise AssertionError("an epoch opens before anything is consumed in it")
        if self._head.position:
            # Timers that are due before `time_ns` are still to fire, and what they give comes after this.
            time_ns = min(time_ns, self._through)
        note, row = self._mine.opening(self._head, time_ns)
        self._epoch = self._head.epoch + 1
        self._records.append(note)
        since = self._committed_at
        try:
            self._commit(with_state=True, extra=[row])
        except BaseException:
            self._epoch = None
            raise
        self._committed_at = since  # opening an epoch has worked nothing off

    # ------------------------------------------------------------------ attempts and quarantine

    def _admit(self, entry: Entry) -> bool:
        """Alone and counted durably, before an entry that may have brought a worker down is tried."""
        if self._ranges or self._records:
            self._commit()
        tried, error = self._attempts.of(entry)
        if tried >= self._options.max_attempts:
            self._quarantine(entry, error or "the process died while it worked on this entry", tried)
            return False
        self._attempts.count(entry.journal, entry.position, tried + 1, error)
        return True

    def _commit_alone(self, entry: Entry) -> None:
        """Passed, so that no later death can be counted against it."""
        try:
            self._commit()
        except Conflict:
            tried, error = self._attempts.of(entry)
            self._attempts.count(entry.journal, entry.position, tried - 1, error)
            raise

    def _quarantine(self, entry: Entry, error: str, attempts: int) -> None:
        kind, _, name = entry.journal.partition(".")
        scopes = [f"source:{name}"] if kind in ("snapshots", "patterns") else ["*"]
        body = {"input": entry.journal, "position": entry.position, "error": error,
                "attempts": attempts, "scopes": scopes}  # fmt: skip
        self._emit(self._stage.advance(self._state, entry.time_ns))
        note = Note(kind="quarantine", time_ns=max(self._head.time_ns, entry.time_ns), body=body)
        self._records.append(note)
        self._ranges.append(InputRange(entry.journal, entry.position, entry.position, skipped=True))
        self._consumed[entry.journal] = entry.position
        self.quarantines += 1
        _log.error("entry set aside", input=entry.ref, error=error, attempts=attempts)
        view = f"quarantined.{entry.journal}@{entry.position}"
        self._commit(extra=[self.journal.view_op(view, body)])

    # ------------------------------------------------------------------ lease

    def _hold_lease(self) -> bool:
        if not self._options.lease_ns:
            return True
        now = self._clock.now_ns()
        if now < self._lease_until - self._options.lease_ns // 2:
            return True
        if self.journal.take_lease(self._journals.worker, now, now + self._options.lease_ns):
            self._lease_until = now + self._options.lease_ns
            return True
        return False


def _told(failed: Failed) -> str:
    """What an entry has failed with, for the log."""
    return "".join(traceback.format_exception(failed.__cause__)) if failed.__cause__ is not None else ""
