"""What the store was given, what that cost at least, and what looked after it: anchors, rounds, backups,
changes of configuration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from observer_core.retention.cutting import PRUNED
from observer_core.runtime.reports.stretch import Stretches, Volume
from observer_core.shared.canonical import decode
from observer_core.shared.errors import NotFound
from observer_core.shared.ids import ref
from observer_core.shared.records import Note
from observer_core.storage.journal import Journal
from observer_core.storage.ledger import LEDGER
from observer_core.storage.recovery import OPERATIONS

SHOWN: Final = 40
_EPOCHS: Final = 60


@dataclass(slots=True)
class Anchors:
    """`count` in the period, `newest` of all up to its end. `gap_ns`: the longest time without one."""

    count: int = 0
    newest_ns: int | None = None
    newest: str = ""
    gap_ns: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A record of the operations journal. `plain`: its plain values, in the order of their names."""

    time_ns: int
    kind: str
    plain: dict[str, str]
    record: str


@dataclass(slots=True)
class Upkeep:
    """Notes of the operations journal, the newest `SHOWN`; `counts` of all, by kind."""

    counts: Counter[str] = field(default_factory=Counter)
    notes: list[Kept] = field(default_factory=list)
    packed: int = 0
    packed_from: int = 0
    packed_to: int = 0
    cuts: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """An epoch of a journal that began in the period. `keys`: what of its configuration is other than before;
    None: it is the journal's first, or that before it is not there any more."""

    time_ns: int
    journal: str
    epoch: int
    stage: str
    version: str
    code: str
    keys: list[str] | None
    record: str


def growth(stretches: Stretches, names: list[str]) -> list[Volume]:
    """What each journal was given. Those that were not read for something else are read now."""
    return [
        stretches.volume(name) if stretches.volumes.get(name) and stretches.volumes[name].records
        else stretches.count(name)
        for name in names
    ]  # fmt: skip


def commits(stretches: Stretches, names: list[str]) -> int:
    """Transactions that committed to these journals: those that gave records, and those that did not."""
    return sum(_commits(stretches.journals.open(name), stretches.volume(name)) for name in names)


def _commits(journal: Journal, volume: Volume) -> int:
    if volume.last < volume.first:
        return 0
    first = next(journal.rows(from_position=volume.first), None)
    last = next(journal.rows(from_position=volume.last), None)
    return 0 if first is None or last is None else last.seq - first.seq + 1


def anchors(stretches: Stretches) -> Anchors:
    found, period = Anchors(), stretches.period
    volume = stretches.volume(LEDGER)
    journal = stretches.journals.open(LEDGER)
    before = volume.first - 1
    last_ns = None
    if before > journal.base().position:
        last_ns = journal.entry(before).time_ns
        found.newest_ns, found.newest = last_ns, ref(LEDGER, before)
    for line in stretches.lines(LEDGER):
        if b'"kind":"anchor"' not in line.raw:
            continue
        found.count += 1
        if last_ns is not None:
            found.gap_ns = max(found.gap_ns, period.clip(last_ns, line.time_ns))
        last_ns = found.newest_ns = line.time_ns
        found.newest = line.ref
    if last_ns is not None:
        found.gap_ns = max(found.gap_ns, period.clip(last_ns, period.until_ns))
    return found


def upkeep(stretches: Stretches) -> Upkeep:
    found = Upkeep()
    for line in stretches.lines(OPERATIONS):
        value: dict[str, Any] = decode(line.raw)
        kind, body = value.get("kind", "?"), value.get("body", {})
        if kind == "maintenance" and body.get("act") == PRUNED:
            kind = "retention"
        found.counts[kind] += 1
        if kind == "recovery":
            found.cuts += 1
        for one in body.get("packed", ()) if kind == "maintenance" else ():
            found.packed += 1
            found.packed_from += one["length"]
            found.packed_to += one["stored"]
        found.notes.append(Kept(line.time_ns, kind, _plain(body), line.ref))
        if len(found.notes) > 4 * SHOWN:
            del found.notes[:-SHOWN]
    found.notes = found.notes[-SHOWN:]
    return found


def _plain(body: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in sorted(body.items()):
        if isinstance(value, str | int | float) and not name.endswith("sha256"):
            found[name] = str(value)
        elif isinstance(value, list | dict) and value:
            found[name] = f"({len(value)})"
    return found


def changes(stretches: Stretches, names: list[str]) -> list[Change]:
    """Epochs that began in the period, in order of time; the newest of very many."""
    found: list[Change] = []
    for name in names:
        journal, volume = stretches.journals.open(name), stretches.volume(name)
        newest = _epoch_at(journal, volume.last)
        for epoch in range(newest, max(0, newest - _EPOCHS), -1):
            row = journal.epoch_row(epoch)
            if row is None or row["position"] < volume.first:
                break
            found.append(_change(journal, epoch, row["position"]))
    return sorted(found, key=lambda one: (one.time_ns, one.journal))[-2 * SHOWN :]


def _epoch_at(journal: Journal, position: int) -> int:
    """The epoch that the record at `position` is of: they begin one after the other."""
    low, high = 0, journal.head().epoch
    while low < high:
        middle = (low + high + 1) // 2
        row = journal.epoch_row(middle)
        low, high = (low, middle - 1) if row is not None and row["position"] > position else (middle, high)
    return low


def _change(journal: Journal, epoch: int, position: int) -> Change:
    entry = journal.entry(position)
    body: Any = entry.record.body if isinstance(entry.record, Note) else {}
    before = _config(journal, epoch - 1)
    keys = None
    if before is not None:
        now = body.get("config", {})
        keys = sorted(key for key in {*now, *before} if now.get(key) != before.get(key))
    return Change(
        entry.time_ns, journal.name, epoch, str(body.get("stage", "")), str(body.get("version", "")),
        str(body.get("code", "")), keys, entry.ref,
    )  # fmt: skip


def _config(journal: Journal, epoch: int) -> dict[str, Any] | None:
    row = journal.epoch_row(epoch) if epoch > 0 else None
    if row is None:
        return None
    try:
        record = journal.entry(row["position"]).record
    except NotFound:
        return None
    return dict(record.body["config"]) if isinstance(record, Note) else None
