"""Stored records with the place where their bytes lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from observer_core.shared.canonical import decode
from observer_core.shared.errors import InputError, NotFound
from observer_core.shared.ids import ref
from observer_core.shared.records import AnyRecord, decode_record
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals


@dataclass(frozen=True, slots=True)
class Stored:
    """A record, its exact bytes, and where they are: `segment` from byte `offset` on."""

    journal: str
    position: int
    raw: bytes
    segment: str
    offset: int
    record: AnyRecord

    @property
    def ref(self) -> str:
        return ref(self.journal, self.position)


def between(journal: Journal, first: int, last: int) -> Iterator[Stored]:
    """Records first..last in order."""
    for row, lines in journal.raw(first, last):
        offset = row.offset
        for position, line in enumerate(lines, row.first):
            if first <= position <= last:
                yield Stored(journal.name, position, line, row.segment, offset, decode_record(line))
            offset += len(line) + 1


def at(journal: Journal, position: int) -> Stored:
    """The record at `position`; `NotFound` when there is none."""
    for stored in between(journal, position, position):
        return stored
    raise NotFound("entry", ref(journal.name, position))


def by_id(journals: Journals, prefix: str, kinds: Sequence[str]) -> tuple[str, int]:
    """Journal and position of the one record of these kinds whose id begins so; `InputError` otherwise."""
    mark = b'"id":"' + prefix.lower().encode()
    found = [
        (name, position, decode(line)["id"])
        for kind in kinds
        for name in journals.names(kind)
        for row, lines in journals.open(name).raw()
        for position, line in enumerate(lines, row.first)
        if mark in line and str(decode(line).get("id", "")).startswith(prefix.lower())
    ]
    what = " or ".join(kind.removesuffix("s") for kind in kinds)
    if not found:
        raise InputError(f"there is no {what} whose id begins with {prefix!r}; see `observer {kinds[0]} ls`")
    if len({item[2] for item in found}) > 1:
        some = ", ".join(item[2] for item in found[:5])
        raise InputError(f"{len(found)} {what}s begin with {prefix!r} ({some}, …); give more of the id")
    return found[0][:2]
