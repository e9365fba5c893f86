"""A source of many subjects in several parts, each with a journal of its own, by hash of the subject."""

from __future__ import annotations

from dataclasses import replace

from observer_core.shared.ids import shard_of
from observer_core.shared.records import ALL, Snapshot
from observer_core.snapshot_engine.source import Collected, Collection, History


def shard_names(source: str, count: int) -> tuple[str, ...]:
    """What the parts are called; a source in one part keeps its name."""
    return (source,) if count == 1 else tuple(f"{source}-{number}" for number in range(count))


def split(collection: Collection, count: int) -> list[Collection]:
    """The collection of each part. A failure is one of all parts; a part without rows says so."""
    if count == 1:
        return [collection]
    names = shard_names(collection.source, count)
    if isinstance(collection.collected, History):
        moments = [_parts(snapshot, names) for snapshot in collection.collected.snapshots]
        parts: list[Collected] = [History(tuple(part)) for part in zip(*moments, strict=True)] or [
            History(()) for _ in names
        ]
    else:
        parts = list(_parts(collection.collected, names))
    return [replace(collection, source=name, collected=part) for name, part in zip(names, parts, strict=True)]


def _parts(snapshot: Snapshot, names: tuple[str, ...]) -> list[Snapshot]:
    places: list[list[int]] = [[] for _ in names]
    for place, subject in enumerate(snapshot.subjects):
        places[shard_of(subject, len(names))].append(place)
    return [replace(rows_of(snapshot, kept), source=name) for name, kept in zip(names, places, strict=True)]


def rows_of(snapshot: Snapshot, places: list[int]) -> Snapshot:
    """The snapshot with some of its rows."""
    if len(places) == len(snapshot.subjects):
        return snapshot
    subjects = tuple(snapshot.subjects[place] for place in places)
    kept = {*subjects, ALL}
    return replace(
        snapshot, subjects=subjects,
        fields={name: column[places] for name, column in snapshot.fields.items()},
        quality={name: flags for name, flags in snapshot.quality.items() if name in kept},
        decimals={
            name: left
            for name, texts in snapshot.decimals.items()
            if (left := {subject: text for subject, text in texts.items() if subject in kept})
        },
    )  # fmt: skip
