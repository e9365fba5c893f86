"""Computes patterns, events and decisions again from what the stages were given, and compares.

Reads only: nothing is written anywhere. The inputs are the stored journals, taken in
their recorded order; since every stage's journal is compared, equality of all of them
means that the decisions follow from the raw snapshots, commands and clock, byte for byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, zip_longest
from typing import Any

from observer_core.runtime.observer import (
    rebuild_deriver,
    rebuild_pipeline,
    rebuild_publisher,
    rebuild_recogniser,
    rebuild_router,
)
from observer_core.runtime.rerun import beginning, rerun_row
from observer_core.shared.canonical import decode
from observer_core.shared.errors import NotFound, Pruned, StorageError
from observer_core.shared.records import Note, Record, Snapshot
from observer_core.shared.stage import Entry, Stage
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import GENESIS, Base, CommitRow, Head, StateRow, chain

REBUILD: Mapping[str, Callable[[Mapping[str, Any]], Stage[Any]]] = {
    "derive": rebuild_deriver,
    "recognise": rebuild_recogniser,
    "publish": rebuild_publisher,
    "decide": rebuild_pipeline,
    "route": rebuild_router,
}
"""By the stage that an epoch names."""
COMPUTED = ("snapshots", "patterns", "events", "decisions", "routes")
_SHOWN = 400
_TRIES = 3
_EXTERNAL = ("epoch", "quarantine", "redrive")
"""The notes that the engine writes, or an operator; others are what a stage says (of a silence, say)."""
_NOTES = tuple(f'"kind":"{kind}"'.encode() for kind in _EXTERNAL)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One journal computed again. `external` records are not computed: epochs, quarantines, redrives.

    `base`: the records up to there were removed by retention. `since`: those up to there were not computed
    again, because what they follow from was removed; they are what was committed, and that is all.
    """

    journal: str
    records: int
    external: int
    entries: int
    observations: int
    stored: bytes
    computed: bytes
    problem: str | None = None
    needs_version: str | None = None
    base: int = 0
    since: int = 0

    @property
    def equal(self) -> bool:
        return self.problem is None and self.stored == self.computed


def computed(journals: Journals, domain: str | None = None) -> list[str]:
    """The journals that stages have written, in the order in which one follows from another."""
    names = [name for kind in COMPUTED for name in journals.names(kind, domain)]
    return [name for name in names if not name.startswith("snapshots.") or _is_derived(journals.open(name))]


def _is_derived(journal: Journal) -> bool:
    record = journal.entry(1).record if journal.head().position else None
    return isinstance(record, Note) and record.kind == "epoch" and record.body["stage"] in REBUILD


def replay(journals: Journals, name: str, version: str) -> Replayed:
    """Journal `name` again, from its first record to its head.

    Where retention has removed a part of what it follows from it is computed from the first state behind
    which all inputs are kept (`Replayed.since`); what comes before is checked by its chain.

    An epoch that another version wrote cannot be computed by this one: it is taken as it
    is stored, what follows goes on from the state recorded at its end, and
    `needs_version` names the version (or versions, in order) that could.
    Stored bytes that cannot be read, or computed from, are a problem like any difference.
    """
    for _ in range(_TRIES):
        try:
            return _Replay(journals, journals.open(name), version).run()
        except Pruned:  # while it was read: from a later state on now
            continue
    return _Replay(journals, journals.open(name), version).run()


_NOTHING = StateRow(0, "", 0, 0, {})


class _Replay:
    def __init__(self, journals: Journals, journal: Journal, version: str) -> None:
        self._journals = journals
        self._journal = journal
        self._version = version
        self._stage: Stage[Any] | None = None
        self._state: Any = None
        self._foreign = False
        self._needs: list[str] = []
        self._epoch = 0
        self._external = self._entries = self._observations = self._records = 0
        self._due: list[Record] = []
        self._base = Base()
        self._since = 0

    def run(self) -> Replayed:
        head = self._journal.head()
        try:
            return self._compare(head)
        except StorageError:
            raise  # says nothing about the records
        except Exception as error:
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            problem = f"position {self._records + 1}: cannot be computed: {why}"
            return self._result(head.hash, GENESIS, problem)

    def _compare(self, head: Head) -> Replayed:
        self._base = self._journal.base()
        previous, self._records = self._base.hash, self._base.position
        start = beginning(self._journals, self._journal) or _NOTHING
        self._since = start.position
        if start.seq == self._base.seq:
            self._go_on_from(start)
        for rows, lines in self._commits():
            if rows[-1].seq > head.seq:
                break
            if rows[-1].seq <= start.seq:
                previous = chain(previous, lines)
                self._records += len(lines)
                if previous != rows[-1].hash:
                    return self._result(head.hash, previous, self._difference(rows, lines, lines))
                if rows[-1].seq == start.seq:
                    self._go_on_from(start)
                continue
            if self._stage is not None and not self._foreign:
                self._due += self._rerun(rows[-1])
            expected = self._expected(lines)
            previous = chain(previous, expected)
            self._records += len(lines)
            if previous != rows[-1].hash or expected != lines:
                return self._result(head.hash, previous, self._difference(rows, lines, expected))
        if self._due:
            extra = _text(self._due[0].encode(self._epoch))
            return self._result(
                head.hash, chain(previous, [b"?"]), f"a record that was never stored follows: {extra}"
            )
        return self._result(head.hash, previous, None)

    def _go_on_from(self, row: StateRow) -> None:
        if not row.blob:
            return
        self._epoch = row.epoch
        note = self._journal.entry(self._journal.epoch_row(row.epoch)["position"]).record
        assert isinstance(note, Note)
        stage = self._stage_of(note.body)
        if stage is not None:
            self._stage, self._state = stage, stage.load(self._journals.storage.blobs.get(row.blob))

    def _commits(self) -> Iterator[tuple[list[CommitRow], list[bytes]]]:
        """Rows and records of each commit; it has a row for each hour, and the last one has its inputs."""
        payloads = self._journal.raw()
        for _, group in groupby(self._journal.rows(), key=lambda row: row.commit):
            rows = list(group)
            yield rows, [line for row in rows if row.records for line in next(payloads)[1]]

    def _rerun(self, row: CommitRow) -> list[Record]:
        assert self._stage is not None
        return rerun_row(self._journals, self._stage, self._state, row, self._count)

    def _count(self, entry: Entry) -> None:
        self._entries += 1
        if isinstance(entry.record, Snapshot):
            self._observations += len(entry.record.subjects) * len(entry.record.fields)

    def _expected(self, lines: list[bytes]) -> list[bytes]:
        """What should stand where `lines` stand: computed records, and the external ones as they are."""
        if self._foreign:
            for line in lines:
                self._note(line)
            self._external += len(lines)
            return lines
        expected = []
        redriven = 0
        for line in lines:
            if redriven or self._is_note(line):
                kind = self._note(line)
                redriven = decode(line)["body"]["count"] if kind == "redrive" else max(0, redriven - 1)
                self._external += 1
                expected.append(line)
            elif self._due:
                expected.append(self._due.pop(0).encode(self._epoch))
            else:
                break
        return expected

    @staticmethod
    def _is_note(line: bytes) -> bool:
        return any(mark in line for mark in _NOTES) and decode(line).get("kind") in _EXTERNAL

    def _note(self, line: bytes) -> str:
        value = decode(line)
        kind = str(value.get("kind"))
        if kind == "epoch":
            self._open_epoch(value["body"])
        return kind

    def _open_epoch(self, body: Mapping[str, Any]) -> None:
        self._epoch = body["epoch"]
        stage = self._stage_of(body)
        if stage is None:
            return
        if self._foreign:
            self._state = self._stored_state(stage)
        elif self._stage is None:
            self._state = stage.initial()
        else:
            self._state = stage.load(self._stage.dump(self._state))
        self._stage, self._foreign = stage, False

    def _stage_of(self, body: Mapping[str, Any]) -> Stage[Any] | None:
        """The stage of an epoch; None where another version wrote it, of which notice is taken."""
        # What another version was configured with may mean nothing to this one.
        stage = REBUILD[body["stage"]](body["config"]) if body["code"] == self._version else None
        if stage is None or stage.version != body["version"]:
            self._foreign = True
            if body["code"] not in self._needs:
                self._needs.append(body["code"])
            return None
        return stage

    def _stored_state(self, stage: Stage[Any]) -> Any:
        for row in self._journal.states():
            if row.epoch == self._epoch:
                return stage.load(self._journals.storage.blobs.get(row.blob))
        raise NotFound("state", f"{self._journal.name} epoch {self._epoch}")

    def _difference(self, rows: list[CommitRow], lines: list[bytes], expected: list[bytes]) -> str:
        for position, (line, computed) in enumerate(zip_longest(lines, expected), rows[0].first):
            if computed is None:
                return f"position {position} is stored, but does not follow: {_text(line)}"
            if computed != line:
                at = _first_difference(line, computed)
                return f"position {position}: stored {_text(line, at)} but computed {_text(computed, at)}"
        return f"the records up to {rows[-1].last} are equal, their stored hash is not: run `observer verify`"

    def _result(self, stored: bytes, computed: bytes, problem: str | None) -> Replayed:
        return Replayed(
            self._journal.name, self._records, self._external, self._entries, self._observations,
            stored, computed, problem, ", ".join(self._needs) or None, self._base.position, self._since,
        )  # fmt: skip


def _first_difference(one: bytes, other: bytes) -> int:
    pairs = enumerate(zip(one, other))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _text(line: bytes, around: int = 0) -> str:
    """A record, or of a long one what stands around byte `around`."""
    start = max(0, around - _SHOWN // 2)
    text = line[start : start + _SHOWN].decode(errors="replace")
    return f"{'…' if start else ''}{text}{'…' if start + _SHOWN < len(line) else ''}"


def digest_of(journals: Journals) -> str:
    """One hash over all heads, in order of names."""
    total = hashlib.sha256()
    for name in journals.names():
        head = journals.open(name).head()
        total.update(f"{name} {head.position} {head.hash.hex()}\n".encode())
    return total.hexdigest()
