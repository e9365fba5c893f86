"""Where all journals stand at one moment, while others write: a state as a crash might have left it.

A journal's head and the rows beside its records are read at one and the same commit. A journal whose
records others have consumed further than it was read is read again, until none is behind: so nobody
is ahead of what he consumed, in whatever order they were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from observer_core.shared.canonical import decode
from observer_core.shared.errors import StorageUnavailable
from observer_core.storage.archive.packs import MARK
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Row, Storage, Tables
from observer_core.storage.rows import Base, Head, StateRow

_FIRST: Final = ("ledger", "gate", "operations", "feedback", "results", "routes", "decisions", "events")
"""Kinds that cite others, read before these; within the rest any order will do."""
_TRIES: Final = 64
_NOT_SIDES: Final = ("head", "lease", MARK, Base.KEY)
"""Those of packed and removed stretches are read with these."""
_PAGE: Final = 1000
_RANGES: Final = (("", "i."), ("i.~", "p."), ("p.~", "r."), ("r.~", "~"))
"""Every row but keys of requests, packed stretches and commits, which are added and never changed."""


@dataclass(frozen=True, slots=True)
class Captured:
    """One journal at one commit."""

    domain: str
    head: Head
    has_head: bool
    sides: list[Row]
    states: list[StateRow]
    consumed: dict[str, int]


def capture(journals: Journals) -> dict[str, Captured]:
    """All registered journals, none behind what others have consumed of it."""
    found: dict[str, Captured] = {}
    while True:
        # Journals may appear meanwhile, and be consumed at once.
        behind = [name for name in _ordered(journals.names()) if name not in found] + [
            name
            for name in found
            if any(item.consumed.get(name, 0) > found[name].head.position for item in found.values())
        ]
        if not behind:
            return found
        for name in behind:
            found[name] = _one(journals, name)


def _ordered(names: Iterable[str]) -> list[str]:
    places = {kind: place for place, kind in enumerate(_FIRST)}
    return sorted(names, key=lambda name: (places.get(name.partition(".")[0], len(_FIRST)), name))


def _one(journals: Journals, name: str) -> Captured:
    storage = journals.storage
    for _ in range(_TRIES):
        before = storage.tables.get(name, "head")
        rows = list(_sides(storage.tables, name))
        after = storage.tables.get(name, "head")
        if (before and before.etag) == (after and after.etag):
            return _captured(journals, name, before, rows)
    return _alone(journals, storage, name)


def _alone(journals: Journals, storage: Storage, name: str) -> Captured:
    """Where a group keeps others from writing."""
    with storage.group():
        before = storage.tables.get(name, "head")
        rows = list(_sides(storage.tables, name))
        after = storage.tables.get(name, "head")
    if (before and before.etag) != (after and after.etag):
        raise StorageUnavailable(f"journal {name!r} moves too fast to be backed up; tried again later")
    return _captured(journals, name, before, rows)


def _sides(tables: Tables, name: str) -> Iterator[Row]:
    for low, high in _RANGES:
        for row in tables.query(name, low, high):
            if row.key not in _NOT_SIDES and not row.key.startswith("x."):
                yield row


def request_keys(tables: Tables, name: str, position: int) -> Iterator[Row]:
    """The keys of requests that the journal had recorded when it had so many records."""
    low = "i."
    while True:
        page = tables.query(name, low, "i.~", _PAGE)
        for row in page:
            if int(decode(row.value).get("position", 0)) <= position:
                yield row
        if len(page) < _PAGE:
            return
        low = page[-1].key + " "


def _captured(journals: Journals, name: str, head: Row | None, rows: list[Row]) -> Captured:
    consumed = {}
    for row in rows:
        if row.key.startswith("c."):
            value = decode(row.value)
            if "position" in value and "total" not in value:
                consumed[row.key[2:]] = int(value["position"])
    return Captured(
        domain=journals.domain_of(name) or "",
        head=Head() if head is None else Head.of(head).at(""),
        has_head=head is not None,
        sides=[row for row in rows if not row.key.startswith("s.")],
        states=[StateRow.of(row) for row in rows if row.key.startswith("s.")],
        consumed=consumed,
    )
