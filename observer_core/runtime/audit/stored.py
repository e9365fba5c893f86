"""Stored records with the place where their bytes lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from observer_core.runtime.reading.lines import Line, backwards, forwards, line_at
from observer_core.shared.canonical import decode
from observer_core.shared.errors import InputError
from observer_core.shared.ids import ref
from observer_core.shared.records import AnyRecord
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

    @staticmethod
    def of(line: Line) -> Stored:
        return Stored(*line[1:], line.record)


def between(journal: Journal, first: int, last: int) -> Iterator[Stored]:
    """Records first..last in order."""
    return map(Stored.of, forwards(journal, first, last))


def at(journal: Journal, position: int) -> Stored:
    """The record at `position`; `NotFound` when there is none."""
    return Stored.of(line_at(journal, position))


def id_of(line: Line, prefix: str) -> str | None:
    """The record's id, if it begins so."""
    if b'"id":"' + prefix.encode() not in line.raw:
        return None
    found = str(decode(line.raw).get("id", ""))
    return found if found.startswith(prefix) else None


def by_id(journals: Journals, prefix: str, kinds: Sequence[str]) -> tuple[str, int]:
    """Journal and position of the one record of these kinds whose id begins so; `InputError` otherwise.

    The newest are looked at first, and no further than to the one whose whole id is given.
    """
    prefix = prefix.lower()
    begins = prefix.encode()
    found: dict[str, tuple[str, int]] = {}
    count = 0
    for journal in [journals.open(name) for kind in kinds for name in journals.names(kind)]:
        for line in backwards(journal, 1, journal.head().position, lambda raw: begins in raw):
            identity = id_of(line, prefix)
            if identity is not None:
                found[identity] = journal.name, line.position
                count += 1
                if identity == prefix:
                    return found[identity]
    what = " or ".join(kind.removesuffix("s") for kind in kinds)
    if not found:
        raise InputError(f"there is no {what} whose id begins with {prefix!r}; see `observer {kinds[0]} ls`")
    if len(found) > 1:
        some = ", ".join(list(found)[:5])
        raise InputError(f"{count} {what}s begin with {prefix!r} ({some}, …); give more of the id")
    return next(iter(found.values()))
