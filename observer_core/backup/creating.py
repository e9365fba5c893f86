"""Makes a backup while the store is being written to; of what the backup before it has, nothing again.

Contents are put first and the manifest last, so a backup is whole or is none. The chain of what is new is
computed from the bytes as they are read from the store: bytes that are not those that were committed end
the backup of their journal there, with a fault, and of no other. Killed at any step, the next run goes
on from what was written.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from typing import Any, Final

from observer_core.backup.capture import Captured, capture, request_keys
from observer_core.backup.manifest import (
    BEGINNING,
    Body,
    Catalogue,
    End,
    Manifest,
    PageRef,
    Part,
    Unfinished,
    sealed_body,
)
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.stretches import (
    PAYLOAD_BYTES,
    ROWS,
    Pages,
    Stretch,
    content_of,
    listed,
    made_of,
    read_page,
)
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ChainBroken, NotFound, ObserverError, Pruned, StorageUnavailable
from observer_core.storage.archive.excerpts import Excerpt, Excerpts
from observer_core.storage.archive.packs import MARK, Pack, PackedFile, Packs, is_packed
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Row
from observer_core.storage.rows import Base, CommitRow, StateRow, segment_name
from observer_core.storage.rows import chain as chained

_TRIES: Final = 5
_SAVED_BYTES: Final = 32 * 1024 * 1024
"""After so much was written, what there is can be gone on from."""
_SIDE_BYTES: Final = 1024 * 1024
_HOUR_NS: Final = 3600 * SECOND
_DAY_NS: Final = 24 * _HOUR_NS


class Moved(StorageUnavailable):
    """What was to be read has been packed or removed meanwhile: it is looked for again."""

    def __init__(self, journal: str) -> None:
        super().__init__(f"journal {journal!r} is packed faster than it can be read; try again later")


class OutOfTime(ObserverError):
    """The time given is over; the next run goes on from here."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of a backup, and by whom. `waiting`: prefixes of blobs that are still to be taken up.

    `seconds`: it is broken off after so long, for another run to go on with.
    """

    store: str
    build: Build
    time_ns: int
    number: int = 1
    waiting: Sequence[str] = ()
    seconds: float | None = None
    resumable: bool = True
    """Whether the place keeps what was written of one that is broken off."""
    tell: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that has been made. `faults`: journals that are not what was committed, from where on."""

    manifest: Manifest
    digest: str
    journals: int
    faults: Mapping[str, str]


def create(journals: Journals, objects: Objects, order: Order) -> Made:
    """A backup of everything that makes the store. `OutOfTime` when it was broken off."""
    catalogue = Catalogue(objects.place)
    objects.damaged = catalogue.damaged()
    damaged = set(objects.damaged)
    parent = catalogue.newest_sound()
    making = _Making(journals, objects, order, parent)
    # What waits is copied first: what is taken up meanwhile is in the journals then, or here, or in both.
    waiting = tuple(making.waiting())
    body = replace(making.body(), waiting=waiting)
    records = sum(part.end.position for part in body.journals.values())
    number = max(order.number, 1 + max(catalogue.names(), default=0))
    faults = {name: part.fault for name, part in body.journals.items() if part.fault is not None}
    # All that is new was read back. Said before there is this backup: killed in between, it holds.
    if making.trusted and not faults:
        catalogue.mark_verified(number, order.time_ns)
    else:
        catalogue.unmark(number)
    manifest = catalogue.add(
        Manifest(
            number=number,
            store=order.store, time_ns=order.time_ns, build=order.build,
            parent=None if parent is None else (parent.number, parent.file), seal=objects.seal.key,
            records=records, written=objects.written, objects=objects.count,
            inside=sealed_body(body, objects.seal),
        )
    )  # fmt: skip
    if objects.damaged != damaged:
        catalogue.say_damaged(objects.damaged)
    Unfinished(objects).remove()
    return Made(manifest, body.digest, len(body.journals), faults)


@dataclass(slots=True)
class _Base:
    """A journal as an earlier backup has it."""

    pages: list[PageRef] = field(default_factory=list)
    states: dict[str, Ref] = field(default_factory=dict)
    excerpts: dict[str, Ref] = field(default_factory=dict)
    end: End = BEGINNING


class _Making:
    def __init__(self, journals: Journals, objects: Objects, order: Order, parent: Manifest | None) -> None:
        self._journals, self._objects, self._order = journals, objects, order
        self._before: dict[str, Part] = {}
        self._waited: dict[str, Ref] = {}
        self.trusted = True
        """Whether all that was not written now was found whole before."""
        self._unfinished = Unfinished(objects)
        self._done: dict[str, Part] = {}
        self._saved = 0
        self._end = None if order.seconds is None else time.monotonic() + order.seconds
        if parent is not None and parent.seal == objects.seal.key:
            body = parent.body(objects.seal)
            self._before, self._waited = dict(body.journals), dict(body.waiting)
            self.trusted = parent.number in Catalogue(objects.place).verified()
        self._before |= {
            name: part
            for name, part in self._unfinished.read().items()
            if name not in self._before or part.end.seq >= self._before[name].end.seq
        }

    def waiting(self) -> Iterator[tuple[str, Ref]]:
        """Blobs that somebody was promised would be taken up."""
        blobs = self._journals.storage.blobs
        for prefix in self._order.waiting:
            for name in blobs.list(prefix):
                ref = self._waited.get(name)
                if ref is None or not self._objects.sound(ref):
                    try:
                        ref = self._objects.put(blobs.get(name))
                    except NotFound:
                        continue  # taken up
                yield name, ref

    def body(self) -> Body:
        captured = capture(self._journals)
        parts = {name: self._part(name, item) for name, item in captured.items()}
        return Body(parts, {name: item.domain for name, item in captured.items()})

    # ------------------------------------------------------------------ one journal

    def _part(self, name: str, captured: Captured) -> Part:
        self._order.tell(name)
        base = self._base(name)
        part = Part(
            head=captured.head,
            states=self._states(captured.states, base),
            sides=tuple(self._sides(name, captured)),
            consumed=captured.consumed,
        )
        for attempt in range(_TRIES):
            pages = Pages(self._objects)
            copying = _Copying(self._journals, name, captured, base, self._objects, pages)
            try:
                for end in copying.run():
                    self._between(name, part, copying.start, end, pages)
                fault = None
            except (Moved, Pruned):
                if attempt == _TRIES - 1:
                    raise
                continue
            except ChainBroken as error:
                if attempt == 0:
                    continue  # perhaps it was packed just then
                fault = str(error)
            part = replace(
                part, start=copying.start, end=copying.end, pages=pages.finished(), fault=fault,
                base=copying.base, excerpts=copying.excerpts,
            )  # fmt: skip
            break
        self._done[name] = part
        self._before[name] = part
        self._save()
        return part

    def _between(self, name: str, part: Part, start: End, end: End, pages: Pages) -> None:
        late = self._end is not None and time.monotonic() > self._end
        if late or self._objects.written - self._saved >= _SAVED_BYTES:
            self._done[name] = replace(part, start=start, end=end, pages=pages.finished())
            self._save(always=True)
        if late:
            raise OutOfTime("there was no time to finish the backup; the next run goes on from here")

    def _save(self, *, always: bool = False) -> None:
        if self._order.resumable and (always or self._objects.written - self._saved >= _SAVED_BYTES):
            self._unfinished.write(self._done)
            self._saved = self._objects.written

    def _base(self, name: str) -> _Base:
        part = self._before.get(name)
        if part is None:
            return _Base()
        for ref in (*part.sides, *(page.ref for page in part.pages)):
            self._objects.know(ref)
        states = {StateRow.of(row).blob: ref for row, ref in self._listed(part.states)}
        excerpts = {Excerpt.of(row).file.name: ref for row, ref in self._listed(part.excerpts)}
        return _Base(list(part.pages), states, excerpts, part.end)

    def _listed(self, ref: Ref | None) -> Iterator[tuple[Row, Ref]]:
        """Rows and the contents that they name, as an earlier backup has them."""
        if ref is None:
            return
        self._objects.know(ref)
        try:
            yield from listed(ref, self._objects)
        except Damaged as error:
            self._objects.damaged.add(error.name)
            self.trusted = False

    def _states(self, rows: Sequence[StateRow], base: _Base) -> Ref | None:
        found: list[Any] = []
        for row in rows:
            ref = base.states.get(row.blob)
            if ref is None or not self._objects.sound(ref):
                try:
                    ref = self._objects.put(self._journals.storage.blobs.get(row.blob))
                except NotFound:
                    continue  # pruned since its row was read
            found.append([row.value().decode(), ref.to_json()])
        return self._objects.put_json(found) if found else None

    def _sides(self, name: str, captured: Captured) -> Iterator[Ref]:
        keys = request_keys(self._journals.storage.tables, name, captured.head.position)
        part: list[list[str]] = []
        size = 0
        for row in chain(captured.sides, keys):
            part.append([row.key, row.value.decode()])
            size += len(row.key) + len(row.value)
            if size >= _SIDE_BYTES:
                yield self._objects.put(encode(part))
                part, size = [], 0
        if part:
            yield self._objects.put(encode(part))


class _Copying:
    """The commits of one journal, from its packed stretches on to the head that was captured."""

    def __init__(
        self, journals: Journals, name: str, captured: Captured, base: _Base, objects: Objects, pages: Pages
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
        for _ in range(_TRIES):
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
            if row.previous != previous or chained(previous, lines) != row.hash:
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
