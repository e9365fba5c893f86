"""Does the storage hold what its rows say, and nothing besides? Each finding says how to mend it.

Looks at names, sizes and counts; whether bytes are the right ones says `verify`. What only takes room
(`harmless`) can be removed; whatever is missing is never invented.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observer_core.shared.errors import NotFound
from observer_core.storage.archive.packs import MARK, Packs
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Storage
from observer_core.storage.rows import CommitRow, segment_name

_HOUR_NS: Final = 3600 * 10**9
_TURNS: Final = 5
_RESTORE: Final = "bring it back from a backup: observer backup restore"


@dataclass(frozen=True, slots=True)
class Finding:
    """`place`: the segment, file, blob or row. `harmless`: it takes room and is never read."""

    journal: str
    place: str
    detail: str
    remedy: str
    harmless: bool = False


def check(journals: Journals) -> Iterator[Finding]:
    """All findings, journal by journal."""
    for name in journals.names():
        journal = journals.open(name)
        yield from _packed(journal, journals.storage)
        yield from _states(journal, journals.storage)
        yield from _checkpoints(journal, journals)


def _packed(journal: Journal, storage: Storage) -> list[Finding]:
    """What is wrong with commits, segments and files; looked at again when somebody packs meanwhile."""
    mark = storage.tables.get(journal.name, MARK)
    for _ in range(_TURNS):
        found = [
            *_commits(journal, storage), *_segments(journal, storage), *_archives(journal, storage)
        ]  # fmt: skip
        before, mark = mark, storage.tables.get(journal.name, MARK)
        if not found or mark == before:
            break
    return found


def remove(journals: Journals, finding: Finding) -> None:
    """Removes what is harmless."""
    if not finding.harmless:
        raise ValueError(f"{finding.place} is not harmless")
    storage = journals.storage
    if finding.place.startswith(f"{finding.journal}/"):
        storage.blobs.delete(finding.place)
    else:
        storage.segments.delete(finding.place)


def _commits(journal: Journal, storage: Storage) -> Iterator[Finding]:
    """Packed stretches and commits follow one another up to the head, and count what they hold."""
    head = journal.head()
    base, packs = journal.base(), Packs(storage, journal.name).all()
    while (again := journal.base()) != base:  # retention is at it
        base, packs = again, Packs(storage, journal.name).all()
    seq, position = base.seq, base.position
    for pack in packs:
        if (pack.first_seq, pack.first) != (seq + 1, position + 1):
            yield _hole(journal, pack.key, position + 1, pack.first)
        seq, position = pack.seq, pack.last
    for row in _rows(journal, storage):
        if row.seq <= seq or row.seq > head.seq:
            continue
        if (row.seq, row.first) != (seq + 1, position + 1):
            yield _hole(journal, row.key, position + 1, row.first)
        seq, position = row.seq, row.last
    if head.position != position:
        yield _hole(journal, "head", position + 1, head.position + 1)


def _hole(journal: Journal, place: str, expected: int, found: int) -> Finding:
    return Finding(
        journal.name, place, f"position {expected} was expected to follow, found {found}",
        f"observer verify says what is lost; {_RESTORE}",
    )  # fmt: skip


def _segments(journal: Journal, storage: Storage) -> Iterator[Finding]:
    head = journal.head()
    ends: dict[str, int] = {}
    firsts: dict[str, int] = {}
    packed = Packs(storage, journal.name).newest()
    for row in _rows(journal, storage):
        if row.records and (packed is None or row.seq > packed.seq):
            ends[row.segment] = max(ends.get(row.segment, 0), row.offset + row.length)
            firsts.setdefault(row.segment, row.first)
    for name, end in ends.items():
        try:
            size = storage.segments.size(name)
        except NotFound:
            yield Finding(
                journal.name, name, f"it is gone, with the records from {firsts[name]} on", _RESTORE
            )
            continue
        if size < end:
            yield Finding(journal.name, name, f"it has {size:,} bytes, {end:,} were committed", _RESTORE)
    # What is written next goes there, and somebody may be writing it.
    current = segment_name(journal.name, head.time_ns // _HOUR_NS)
    superseded = {row.segment for row in _rows(journal, storage)}
    for name in storage.segments.list(current.rpartition("/date=")[0] + "/"):
        if name not in ends and name not in superseded and name < current:
            yield Finding(
                journal.name, name, f"{storage.segments.size(name):,} bytes that no commit points to",
                "observer fsck --mend removes it", harmless=True,
            )  # fmt: skip


def _archives(journal: Journal, storage: Storage) -> Iterator[Finding]:
    packs, excerpts = Packs(storage, journal.name).all(), list(journal.excerpts.all())
    if not packs and not excerpts:
        return
    folder = segment_name(journal.name, 0).rpartition("/date=")[0]
    there = set(storage.archives.list(f"{folder}/"))
    for pack in packs:
        for file in pack.files.values():
            if file.name not in there:
                detail = f"it is gone, with the records {pack.first} to {pack.last}"
                yield Finding(journal.name, file.name, detail, _RESTORE)
    for excerpt in excerpts:
        if excerpt.file.name not in there:
            detail = f"it is gone, with what retention kept of the records {excerpt.first} to {excerpt.last}"
            yield Finding(journal.name, excerpt.file.name, detail, _RESTORE)


def _states(journal: Journal, storage: Storage) -> Iterator[Finding]:
    rows = journal.states()
    there = set(storage.blobs.list(f"{journal.name}/"))
    for row in rows:
        if row.blob not in there:
            if storage.tables.get(journal.name, row.key) is None:  # it was removed meanwhile
                continue
            newest = row.seq == rows[-1].seq
            detail = "the newest state is gone" if newest else "an older state is gone"
            remedy = f"{_RESTORE}; a worker computes it again from the records where it can"
            yield Finding(journal.name, row.blob, detail, remedy)
    named = {row.blob for row in rows}
    for name in sorted(there - named):
        place = name.rpartition("/")[2].partition("-")[0]
        # A newer one may belong to a commit under way.
        if rows and place.isdecimal() and len(place) == 20 and int(place) < rows[-1].position:
            yield Finding(
                journal.name, name, "a state that no row names", "observer fsck --mend removes it",
                harmless=True,
            )  # fmt: skip


def _checkpoints(journal: Journal, journals: Journals) -> Iterator[Finding]:
    known = set(journals.names())
    for name, value in journal.checkpoints().items():
        if name in known and "total" not in value and "position" in value:
            last = journals.open(name).head().position
            if value["position"] > last:
                yield Finding(
                    journal.name, f"c.{name}",
                    f"it has consumed {name} up to {value['position']}, which ends at {last}",
                    "start an Observer: it cuts what it cannot prove and computes it again",
                )  # fmt: skip


def _rows(journal: Journal, storage: Storage) -> Iterator[CommitRow]:
    """The rows that are there, those that packed stretches supersede included."""
    low = "r."
    while True:
        page = storage.tables.query(journal.name, low, "r.~", 1000)
        yield from map(CommitRow.of, page)
        if len(page) < 1000:
            return
        low = page[-1].key + " "
