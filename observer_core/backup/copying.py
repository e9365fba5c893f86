"""Copies one journal: its packed stretches as they are, the commits behind them checked as they come.

What an earlier backup has is taken over from there: a page at a time where nothing of it has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from observer_core.backup.capture import Captured
from observer_core.backup.manifest import BEGINNING, End, PageRef
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.stretches import (
    PAYLOAD_BYTES,
    ROWS,
    Pages,
    Stretch,
    content_of,
    made_of,
    read_page,
)
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ChainBroken, NotFound, StorageUnavailable
from observer_core.storage.archive.excerpts import Excerpt, Excerpts
from observer_core.storage.archive.packs import MARK, Pack, PackedFile, Packs, is_packed
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Row
from observer_core.storage.rows import Base, CommitRow, chain, segment_name

TRIES: Final = 5
_HOUR_NS: Final = 3600 * SECOND
_DAY_NS: Final = 24 * _HOUR_NS


class Moved(StorageUnavailable):
    """What was to be read has been packed or removed meanwhile: it is looked for again."""

    def __init__(self, journal: str) -> None:
        super().__init__(f"journal {journal!r} is packed faster than it can be read; try again later")


@dataclass(slots=True)
class Known:
    """A journal as an earlier backup has it."""

    pages: list[PageRef] = field(default_factory=list)
    states: dict[str, Ref] = field(default_factory=dict)
    excerpts: dict[str, Ref] = field(default_factory=dict)
    end: End = BEGINNING


class Copying:
    """The commits of one journal, from its packed stretches on to the head that was captured."""

    def __init__(
        self, journals: Journals, name: str, captured: Captured, base: Known, objects: Objects, pages: Pages
    ) -> None:
        self._name, self._head = name, captured.head
        self._storage, self._journal = journals.storage, journals.open(name)
        self._base, self._objects, self._pages = base, objects, pages
        self.start = self.end = BEGINNING
        self.base: str | None = None
        self.excerpts: Ref | None = None

    def run(self) -> Iterator[End]:
        """Gives how far it has come, after each stretch that was not there before."""
        base, kept, packs = self._front()
        if base is not None:
            found = Base.of(base)
            self.start = self.end = End(found.seq, found.position, found.hash)
            self.base = base.value.decode()
        if self._head.seq < self.end.seq:
            raise Moved(self._name)
        self.excerpts = self._excerpts(kept)
        # Not one that the newest commit is in, packed since: it is taken as it was before.
        yield from self._packed([pack for pack in packs if pack.seq < self._head.seq])
        yield from self._loose()
        if (self.end.seq, self.end.position) != (self._head.seq, self._head.position):
            detail = f"the head stands at commit {self._head.seq}, the rows end at {self.end.seq}"
            raise ChainBroken(self._name, self.end.position + 1, "gap", detail)

    # ------------------------------------------------------------------ packed

    def _front(self) -> tuple[Row | None, list[Excerpt], list[Pack]]:
        """What was removed, what was kept of that, and what is packed, at one moment."""
        tables = self._storage.tables
        for _ in range(TRIES):
            mark = tables.get(self._name, MARK)
            base = tables.get(self._name, Base.KEY)
            kept = list(Excerpts(self._storage, self._name).all())
            packs = Packs(self._storage, self._name).all()
            if tables.get(self._name, MARK) == mark:
                return base, kept, packs
        raise Moved(self._name)

    def _excerpts(self, kept: Sequence[Excerpt]) -> Ref | None:
        found = []
        for excerpt in kept:
            ref = self._base.excerpts.get(excerpt.file.name)
            if ref is None or not self._objects.sound(ref):
                ref = self._objects.put(self._archived(excerpt.file, excerpt.first))
            found.append([excerpt.value().decode(), ref.to_json()])
        return self._objects.put_json(found) if found else None

    def _archived(self, file: PackedFile, first: int) -> bytes:
        try:
            data = self._storage.archives.get(file.name)
        except NotFound as error:
            # Perhaps it has become a part of another, or was removed, since its row was read.
            packs = Packs(self._storage, self._name).all()
            excerpts = Excerpts(self._storage, self._name).all()
            named = {one.name for pack in packs for one in pack.files.values()}
            if file.name not in named | {excerpt.file.name for excerpt in excerpts}:
                raise Moved(self._name) from None
            raise ChainBroken(self._name, first, "gap", str(error)) from None
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise ChainBroken(self._name, first, "hash", f"{file.name} is not the file that was written")
        return data

    def _packed(self, packs: Sequence[Pack]) -> Iterator[End]:
        known = {page.key: page for page in self._base.pages if page.of}
        for key, month in _by_month(packs):
            page = known.get(key)
            before = End(month[0].first_seq - 1, month[0].first - 1, month[0].previous)
            if before != self.end:
                detail = f"a packed stretch begins at commit {month[0].first_seq}"
                raise ChainBroken(self._name, self.end.position + 1, "gap", detail)
            same = page is not None and page.of == made_of(month) and page.before == before
            if same and page is not None and not self._objects.damaged:
                self._pages.add_page(page)
                self.end = page.end
                continue
            files = self._files_of(page)
            for pack in month:
                self._pages.add(self._pack(pack, files))
                yield self.end

    def _files_of(self, page: PageRef | None) -> dict[str, Ref]:
        """The contents of an earlier page, by name."""
        if page is None:
            return {}
        try:
            found = read_page(page, self._objects)
        except Damaged as error:
            self._objects.damaged.add(error.name)
            return {}
        refs = [ref for stretch in found for ref in stretch.contents.values()]
        return {ref.name: ref for ref in refs if self._objects.sound(ref)}

    def _pack(self, pack: Pack, files: Mapping[str, Ref]) -> Stretch:
        before = End(pack.first_seq - 1, pack.first - 1, pack.previous)
        if before != self.end:
            detail = f"packed is from commit {pack.first_seq} on, expected was {self.end.seq + 1}"
            raise ChainBroken(self._name, pack.first, "predecessor", detail)
        contents = {}
        for name, file in pack.files.items():
            ref = files.get(self._objects.named(file.sha256))
            if ref is None:
                ref = self._objects.put(self._archived(file, pack.first))
            contents[name] = ref
        self.end = End(pack.seq, pack.last, pack.hash)
        return Stretch(
            before, self.end, pack.first_ns, pack.last_ns, pack.through_ns, contents, pack
        )  # fmt: skip

    # ------------------------------------------------------------------ not packed yet

    def _loose(self) -> Iterator[End]:
        pages = [page for page in self._base.pages if not page.of and page.end.seq > self.end.seq]
        if pages and not self._agrees():
            pages = []
        for number, page in enumerate(pages):
            # The last one grows.
            if page.before == self.end and number < len(pages) - 1 and not self._objects.damaged:
                self._pages.add_page(page)
                self.end = page.end
                continue
            for stretch in self._sound(page):
                if stretch.before.seq > self.end.seq:
                    yield from self._read(stretch.before.seq)
                if stretch.before == self.end:
                    self._pages.add(stretch)
                    self.end = stretch.end
        yield from self._read(self._head.seq)

    def _agrees(self) -> bool:
        """Whether the store still has what the backup before it has: it was perhaps cut, or restored."""
        seq, position, digest = self._base.end
        if not seq or seq > self._head.seq:
            return False
        rows = self._journal.rows(after_seq=seq - 1, from_position=max(1, position), page=2)
        row = next(rows, None)
        return row is not None and (row.seq, row.last, row.hash) == (seq, position, digest)

    def _sound(self, page: PageRef) -> list[Stretch]:
        try:
            found = read_page(page, self._objects)
        except Damaged as error:
            self._objects.damaged.add(error.name)
            return []
        return [item for item in found if all(map(self._objects.sound, item.contents.values()))]

    def _read(self, upto_seq: int) -> Iterator[End]:
        """Commits up to `upto_seq` from the store, checked against their hashes as they come."""
        rows: list[CommitRow] = []
        payload: list[bytes] = []
        size, before = 0, self.end
        try:
            for row, lines in self._commits(upto_seq):
                # A commit has a row for each hour: they stay together.
                new_commit = bool(rows) and row.commit != rows[-1].commit
                other_day = bool(rows) and row.last_ns // _DAY_NS != rows[-1].last_ns // _DAY_NS
                if new_commit and (size + row.length > PAYLOAD_BYTES or len(rows) >= ROWS or other_day):
                    yield self._stretch(before, rows, payload)
                    rows, payload, size, before = [], [], 0, self.end
                rows.append(row)
                payload.append(b"".join(line + b"\n" for line in lines))
                size += row.length if row.records else 0
        except ChainBroken:
            sound = [row for row in rows if row.commit != rows[-1].commit]
            if sound:
                self._stretch(before, sound, payload[: len(sound)])
            raise
        if rows:
            yield self._stretch(before, rows, payload)

    def _commits(self, upto_seq: int) -> Iterator[tuple[CommitRow, list[bytes]]]:
        seq, position, previous = self.end
        payloads = self._journal.raw(position + 1)
        for row in self._journal.rows(after_seq=seq, from_position=max(1, position)):
            if row.seq > upto_seq:
                return
            if (row.seq, row.first) != (seq + 1, position + 1):
                detail = f"expected position {position + 1} (commit {seq + 1}), found {row.first} ({row.seq})"
                raise ChainBroken(self._name, position + 1, "gap", detail)
            lines = next(payloads)[1] if row.records else []
            if row.previous != previous or chain(previous, lines) != row.hash:
                detail = f"positions {row.first} to {row.last} in {row.segment} are not what was committed"
                raise ChainBroken(self._name, row.first, "hash", detail)
            seq, position, previous = row.seq, row.last, row.hash
            if is_packed(row.segment):  # since the packed stretches were asked for
                hour = row.first_ns // _HOUR_NS
                row = row._replace(segment=segment_name(self._name, hour) if row.records else "")
            yield row, lines

    def _stretch(self, before: End, rows: Sequence[CommitRow], payload: list[bytes]) -> End:
        last = rows[-1]
        ref = self._objects.put(content_of(rows, payload))
        self.end = End(last.seq, last.last, last.hash)
        self._pages.add(
            Stretch(
                before, self.end, rows[0].first_ns, last.last_ns, last.through_ns, {"commits": ref}
            )
        )  # fmt: skip
        return self.end


def _by_month(packs: Sequence[Pack]) -> Iterator[tuple[str, list[Pack]]]:
    def key(pack: Pack) -> str:
        return Stretch(End(), End(), pack.first_ns, pack.last_ns, 0, {}, pack).key

    for month, found in groupby(packs, key=key):
        yield month, list(found)
