"""How late a source's data comes, and how far its clock is off, by its own snapshots."""

from __future__ import annotations

from dataclasses import dataclass

from observer_core.shared.records import Snapshot
from observer_core.storage.journal import Journal

_NEWEST = 200


@dataclass(frozen=True, slots=True)
class Delay:
    """From what happened to its being learnt, over the newest snapshots, in nanoseconds.

    `least_ns` is the way alone if the clocks agree; below zero, the source's clock is ahead of ours
    by at least that much.
    """

    snapshots: int
    least_ns: int
    median_ns: int


def delay_of(journal: Journal, newest: int = _NEWEST) -> Delay | None:
    """Over the newest snapshots that have rows; None when there is none."""
    last = journal.head().position
    found = sorted(
        record.ingest_ns - record.event_ns
        for entry in journal.scan(max(1, last - newest + 1), last)
        if isinstance(record := entry.record, Snapshot) and record.subjects
    )
    return Delay(len(found), found[0], found[len(found) // 2]) if found else None
