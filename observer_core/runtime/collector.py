"""Writes snapshots: raw observations in, normalised and flagged records in the journal.

The normaliser's state is what the journal's own records make of it, so a writer that
starts anew, or that lost a race, reads back what it has missed.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from observer_core.shared.errors import Conflict, EpochMoved, InputError
from observer_core.shared.records import Record, Snapshot
from observer_core.snapshot_engine.normalise import Normaliser
from observer_core.snapshot_engine.source import Collection, History, unavailable
from observer_core.storage.epochs import Build, Epoch
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op
from observer_core.storage.rows import Head, InputRange, StateRow

_CONTENDED = 50


class SnapshotWriter:
    """The writer of `snapshots.<source>`, for any thread. `write` commits all it is given, or nothing."""

    def __init__(
        self, journals: Journals, source: str, domain: str, normaliser: Normaliser, build: Build,
        config: Mapping[str, Any], *, state_entries: int = 20_000,
    ) -> None:  # fmt: skip
        """A state blob is written after so many snapshots: bounds what a cold start reads back."""
        self._state_entries = state_entries
        self.source = source
        self.journal = journals.open(f"snapshots.{source}", domain)
        self._journals = journals
        self._normaliser = normaliser
        self._mine = Epoch("collect", "1", {"source": source, **config}, build)
        self._head: Head | None = None
        self._state: Any = None
        self._newest: Snapshot | None = None
        self._contended = 0
        """Writes in which the head is looked at first, because somebody else was met here lately."""
        self._epoch: int | None = None
        self._since_state = 0
        self._lock = threading.Lock()

    def write(
        self,
        snapshots: Sequence[Snapshot],
        *,
        inputs: Sequence[InputRange] = (),
        checkpoints: Mapping[str, Any] | None = None,
        extra: Callable[[int], Sequence[Op]] | None = None,
        only_if: Callable[[Snapshot | None], bool] | None = None,
    ) -> Head:
        """Normalises and commits `snapshots`; `extra` gets the position of the first one.

        `ingest_ns` never decreases in the journal: what comes late is known late. `only_if` is asked
        about the newest snapshot before each commit that is tried: when it says no, nothing is written.
        """
        with self._lock:
            return self._commit(lambda: snapshots, inputs, checkpoints or {}, extra, only_if)

    def record(
        self, collection: Collection, *, only_if: Callable[[Snapshot | None], bool] | None = None,
        again: Callable[[Snapshot | None], Collection] | None = None,
    ) -> Sequence[Snapshot]:  # fmt: skip
        """Commits what a collection gave, and gives it as it is recorded; of moments gone by, what is new.

        What cannot be a record (an infinity, a name that is none) is recorded as a collection that failed.
        When somebody else has written meanwhile, `again` says what is to be recorded after the newest one.
        """
        recorded: Sequence[Snapshot] = ()
        tries = 0

        def asked(newest: Snapshot | None) -> bool:
            nonlocal collection, recorded, tries
            recorded, tries = (), tries + 1
            if tries > 1 and again is not None:
                collection = again(newest)
            return only_if is None or only_if(newest)

        def given() -> Sequence[Snapshot]:
            nonlocal recorded
            recorded = self._of(collection)
            return recorded

        with self._lock:
            try:
                self._commit(given, (), {}, None, asked)
            except InputError as error:
                failure = unavailable(self.source, collection.now_ns, error)
                collection, tries = replace(collection, collected=failure), 0
                self._commit(given, (), {}, None, asked)
        return recorded

    def _of(self, collection: Collection) -> Sequence[Snapshot]:
        collected, origin = collection.collected, collection.origin
        if isinstance(collected, History):
            found = self._normaliser.newer(self._state, collected.snapshots)
            # Nothing new, but it answered: time has come this far.
            found = found or [_nothing(self.source, collection.now_ns)]
            newest = collected.snapshots[-1] if collected.snapshots else found[-1]
            # What the answer had a fault with stands in its newest moment, which may be recorded already.
            found[-1] = replace(found[-1], status=newest.status, error=newest.error)
        else:
            found = [collected]
        return [replace(it, origin={**(it.origin or {}), **origin}) if origin else it for it in found]

    @property
    def head(self) -> Head | None:
        """Where the journal stands as far as this writer knows; None while it does not."""
        return self._head

    def newest(self, since_ns: int = 0) -> Snapshot | None:
        """The journal's last snapshot, as far as this writer knows while it seems to be the only one.

        The storage is asked when what it knows was learnt before `since_ns`.
        """
        with self._lock:
            known = self._newest
            old = known is not None and known.ingest_ns < since_ns
            if self._head is not None and (self._contended or old):
                self._contended = max(0, self._contended - 1)
                self._bring_forward(self.journal.head())
            return self._last(self._load())

    def forget(self) -> None:
        """Drops the state in memory; the next `write` takes it from the journal."""
        self._head = None

    def close(self) -> None:
        """Leaves the normaliser's state behind, so that the next start reads nothing back."""
        with self._lock:
            if self._head is not None and self._since_state:
                with suppress(Conflict):  # somebody else goes on, or has redriven something
                    self.journal.commit(self._head, Commit(state=self._write_state()))
                self._head = None

    def _commit(
        self, given: Callable[[], Sequence[Snapshot]], inputs: Sequence[InputRange],
        checkpoints: Mapping[str, Any], extra: Callable[[int], Sequence[Op]] | None,
        only_if: Callable[[Snapshot | None], bool] | None,
    ) -> Head:  # fmt: skip
        while True:
            head = self._load()
            if only_if is not None and not only_if(self._last(head)):
                return head
            snapshots = given()
            try:
                records, rows, state_before = self._records(head, snapshots)
                first = head.position + 1 + len(records) - len(snapshots)
                epoch = self._epoch or (head.epoch + 1 if records else head.epoch)
                self._head = self.journal.commit(
                    head,
                    Commit(
                        records=records, inputs=inputs, epoch=epoch,
                        through_ns=records[-1].time_ns if records else 0,
                        checkpoints=checkpoints, state=state_before,
                        extra=[*(extra(first) if extra else ()), *rows],
                    ),
                )  # fmt: skip
            except Conflict as conflict:
                self._head = None
                self._contended = _CONTENDED
                if conflict.key != "head" and not conflict.key.startswith(("r.", "e.")):
                    raise
                continue
            except BaseException:
                self._head = None  # some of the snapshots may be in the state
                raise
            if self._epoch is None and records:
                self._epoch = epoch
            if snapshots:
                newest = records[-1]
                assert isinstance(newest, Snapshot)
                self._newest = newest
            return self._head

    def _records(
        self, head: Head, snapshots: Sequence[Snapshot]
    ) -> tuple[list[Record], list[Op], Callable[[int], StateRow] | None]:
        records: list[Record] = []
        rows: list[Op] = []
        time_ns = head.time_ns
        state = self._write_state() if self._since_state >= self._state_entries else None
        if self._epoch is None and snapshots:
            note, row = self._mine.opening(head, snapshots[0].ingest_ns)
            time_ns = note.time_ns
            records.append(note)
            rows.append(row)
        for snapshot in snapshots:
            if snapshot.ingest_ns < time_ns:
                snapshot = replace(snapshot, ingest_ns=time_ns)
            time_ns = snapshot.ingest_ns
            records.append(self._normaliser.apply(self._state, snapshot))
        self._since_state += len(snapshots)
        return records, rows, state

    def _load(self) -> Head:
        if self._head is not None:
            return self._head
        head = self.journal.head()
        epoch = self._mine.number(self.journal, head)
        # In an earlier epoch than ours, the step that opened ours has not happened.
        if self._epoch is not None and epoch is None and head.epoch >= self._epoch:
            row = self.journal.epoch_row(head.epoch)
            raise EpochMoved(self.journal.name, self._epoch, head.epoch, row["version"] if row else "?")
        self._epoch = epoch
        newest = self.journal.newest_state(head)
        self._state, first = self._normaliser.initial(), 1
        if newest is not None:
            self._state = self._normaliser.load(self._journals.storage.blobs.get(newest.blob))
            first = newest.consumed["self"] + 1
        self._since_state = 0
        self._newest = None
        self._observe(first, head.position)
        self._head = head
        return head

    def _bring_forward(self, head: Head) -> None:
        """Takes what somebody else has written into the state; what cannot be is read anew."""
        known = self._head
        if known is None or head.etag == known.etag:
            return
        self._contended = _CONTENDED
        if head.epoch != self._epoch or head.position < known.position:
            self._head = None
            return
        self._observe(known.position + 1, head.position)
        self._head = head

    def _last(self, head: Head) -> Snapshot | None:
        if self._newest is None and head.position:
            record = self.journal.entry(head.position).record
            self._newest = record if isinstance(record, Snapshot) else None
        return self._newest

    def _observe(self, first: int, last: int) -> None:
        for entry in self.journal.scan(first, last) if last >= first else ():
            if isinstance(entry.record, Snapshot):
                self._normaliser.observe(self._state, entry.record)
                self._since_state += 1
                self._newest = entry.record

    def _write_state(self) -> Callable[[int], StateRow]:
        """The state as it is now, which is that of the head before the commit it goes with."""
        assert self._head is not None
        data = self._normaliser.dump(self._state)
        head, self._since_state = self._head, 0
        name = f"{self.journal.name}/{head.position:020d}-{hashlib.sha256(data).hexdigest()}"
        self._journals.storage.blobs.put(name, data)
        return lambda seq: StateRow(
            seq=seq,
            blob=name,
            epoch=head.epoch,
            through_ns=head.through_ns,
            consumed={"self": head.position},
            position=head.position,
        )


def _nothing(source: str, now_ns: int) -> Snapshot:
    """An answer without anything new."""
    return Snapshot(
        source=source, event_ns=now_ns, ingest_ns=now_ns, subjects=(), fields={}
    )  # fmt: skip
