"""Makes a backup while the store is being written to; of what the backup before it has, nothing again.

Contents are put first and the manifest last, so a backup is whole or is none. The chain of what is new is
computed from the bytes as they are read from the store: bytes that are not those that were committed end
the backup of their journal there, with a fault, and of no other. Killed at any step, the next run goes
on from what was written.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from observer_core.backup.capture import Captured, capture, request_keys
from observer_core.backup.copying import TRIES, Copying, Known, Moved
from observer_core.backup.manifest import (
    Body,
    Catalogue,
    End,
    Manifest,
    Part,
    Unfinished,
    sealed_body,
)
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.stretches import Pages, listed
from observer_core.shared.canonical import encode
from observer_core.shared.errors import ChainBroken, NotFound, ObserverError, Pruned
from observer_core.storage.archive.excerpts import Excerpt
from observer_core.storage.epochs import Build
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Row
from observer_core.storage.rows import StateRow

_SAVED_BYTES: Final = 32 * 1024 * 1024
"""After so much was written, what there is can be gone on from."""
_SIDE_BYTES: Final = 1024 * 1024


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
    objects.before_put()  # who has lost the turn meanwhile cannot say what is still there
    # What somebody who read backups back has found meanwhile: it may be of this one too.
    found = catalogue.damaged() - damaged
    # All that is new was read back. Said before there is this backup: killed in between, it holds.
    if making.trusted and not faults and not found:
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
        catalogue.say_damaged(objects.damaged | found)
    Unfinished(objects).remove()
    return Made(manifest, body.digest, len(body.journals), faults)


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
        for attempt in range(TRIES):
            pages = Pages(self._objects)
            copying = Copying(self._journals, name, captured, base, self._objects, pages)
            try:
                for end in copying.run():
                    self._between(name, part, copying.start, end, pages)
                fault = None
            except (Moved, Pruned):
                if attempt == TRIES - 1:
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

    def _base(self, name: str) -> Known:
        part = self._before.get(name)
        if part is None:
            return Known()
        for ref in (*part.sides, *(page.ref for page in part.pages)):
            self._objects.know(ref)
        states = {StateRow.of(row).blob: ref for row, ref in self._listed(part.states)}
        excerpts = {Excerpt.of(row).file.name: ref for row, ref in self._listed(part.excerpts)}
        return Known(list(part.pages), states, excerpts, part.end)

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

    def _states(self, rows: Sequence[StateRow], base: Known) -> Ref | None:
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
