"""A journal in pieces that stand for themselves: commits that follow one another, with their records.

A stretch that was packed lies in the backup as the files it was packed into, any other one as one content:
its commit rows as a line of JSON, and the records behind it. Its hashes say what comes before it and
what it ends in, so the chain can be computed again from the backup alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from observer_core.backup.manifest import End, PageRef, Part
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import RecordError, StorageCorrupt
from observer_core.storage.archive.pack import unpack
from observer_core.storage.archive.packs import Pack
from observer_core.storage.ports import Row
from observer_core.storage.rows import CommitRow, chain

PAYLOAD_BYTES: Final = 4 * 1024 * 1024
ROWS: Final = 2_000
_DAY_NS: Final = 86_400 * SECOND


@dataclass(frozen=True, slots=True)
class Stretch:
    """Commits before.seq + 1 to end.seq. `contents`: one, or the files of `pack` by name."""

    before: End
    end: End
    first_ns: int
    last_ns: int
    through_ns: int
    contents: Mapping[str, Ref]
    pack: Pack | None = None

    @property
    def key(self) -> str:
        """The page it stands on: packed ones by month, which then never changes, others by day."""
        moment = datetime.fromtimestamp(self.last_ns // SECOND, UTC)
        return f"{moment:%Y-%m}" if self.pack is not None else f"{moment:%Y-%m-%d}"

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "before": self.before.to_json(), "end": self.end.to_json(), "first_ns": self.first_ns,
            "last_ns": self.last_ns, "through_ns": self.through_ns,
            "contents": {name: ref.to_json() for name, ref in self.contents.items()},
        }  # fmt: skip
        return value if self.pack is None else {**value, "pack": self.pack.value().decode()}

    @staticmethod
    def read(value: Mapping[str, Any]) -> Stretch:
        pack = Pack.of(Row("", value["pack"].encode(), "")) if "pack" in value else None
        return Stretch(
            End.of(value["before"]), End.of(value["end"]), value["first_ns"], value["last_ns"],
            value["through_ns"], {name: Ref.of(ref) for name, ref in value["contents"].items()}, pack,
        )  # fmt: skip


class Opened(NamedTuple):
    """A stretch as it was: its commits, which point into `text`, a line a record."""

    rows: list[CommitRow]
    text: bytes

    def lines(self, row: CommitRow) -> list[bytes]:
        return self.text[row.offset : row.offset + row.length].split(b"\n")[:-1]


def content_of(rows: Sequence[CommitRow], payload: Iterable[bytes]) -> bytes:
    """A stretch that is not packed, as one content."""
    return encode([decode(row.value()) for row in rows]) + b"\n" + b"".join(payload)


def opened(stretch: Stretch, objects: Objects) -> Opened:
    """`Damaged` unless its records hash to what it says that it begins with and ends in."""
    name = next(iter(stretch.contents.values())).name
    try:
        found = _unpacked(stretch, objects) if stretch.pack is not None else _loose(stretch, objects)
    except (StorageCorrupt, RecordError, KeyError, TypeError, ValueError) as error:
        raise Damaged(name, f"it cannot be read: {error}") from None
    position, seq, previous = stretch.before.position, stretch.before.seq, stretch.before.hash
    for row in found.rows:
        if (row.first, row.seq, row.previous) != (position + 1, seq + 1, previous):
            raise Damaged(name, f"commit {row.seq} does not follow commit {seq}")
        # What was packed has its hashes from its lines.
        if stretch.pack is None and row.records and chain(previous, found.lines(row)) != row.hash:
            raise Damaged(name, f"positions {row.first} to {row.last} hash to something else")
        position, seq, previous = row.last, row.seq, row.hash
    if End(seq, position, previous) != stretch.end:
        raise Damaged(name, "it ends in something else than it says")
    return found


def _loose(stretch: Stretch, objects: Objects) -> Opened:
    head, _, text = objects.get(stretch.contents["commits"]).partition(b"\n")
    rows, offset = [], 0
    for value in decode(head):
        row = CommitRow.of(Row("", encode(value), ""))
        rows.append(row._replace(offset=offset) if row.records else row)
        offset += row.length if row.records else 0
    return Opened(rows, text)


def _unpacked(stretch: Stretch, objects: Objects) -> Opened:
    pack = stretch.pack
    assert pack is not None
    files = {}
    for name, ref in stretch.contents.items():
        files[name] = objects.get(ref)
        if hashlib.sha256(files[name]).hexdigest() != pack.files[name].sha256:
            raise Damaged(ref.name, "it is not the file that was packed")
    lines, rows = unpack(files, stretch.before.hash, pack.segment)
    return Opened(rows, b"".join(line + b"\n" for line in lines))


def listed(ref: Ref, objects: Objects) -> list[tuple[Row, Ref]]:
    """Rows that name contents, and these: states, or excerpts. `Damaged` when it is no such list."""
    try:
        return [(Row("", text.encode(), ""), Ref.of(found)) for text, found in objects.get_json(ref)]
    except (RecordError, TypeError, ValueError, AttributeError) as error:
        raise Damaged(ref.name, f"it is no list of a backup: {error!r}") from None


# ---------------------------------------------------------------------- pages


def read_page(page: PageRef, objects: Objects) -> list[Stretch]:
    """`Damaged` when it is missing or wrong, or does not follow from where it says."""
    try:
        found = [Stretch.read(value) for value in objects.get_json(page.ref)]
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise Damaged(page.ref.name, f"it is no page of a backup: {error!r}") from None
    end = page.before
    for stretch in found:
        if stretch.before != end:
            raise Damaged(page.ref.name, f"a stretch does not follow commit {end.seq}")
        end = stretch.end
    if end != page.end:
        raise Damaged(page.ref.name, "it ends in something else than it says")
    return found


def stretches(part: Part, objects: Objects) -> Iterator[Stretch]:
    """All of a journal, in order."""
    for page in part.pages:
        yield from read_page(page, objects)


def backwards(part: Part, objects: Objects) -> Iterator[Stretch]:
    """All of a journal, from its end."""
    for page in reversed(part.pages):
        yield from reversed(read_page(page, objects))


@dataclass(slots=True)
class Pages:
    """Puts stretches on pages as they come. What it keeps is one page."""

    objects: Objects
    done: list[PageRef] = field(default_factory=list)
    _open: list[Stretch] = field(default_factory=list)

    def add(self, stretch: Stretch) -> None:
        if self._open and self._open[0].key != stretch.key:
            self._close()
        if not self._open and self.done and self.done[-1].key == stretch.key:
            self._open = read_page(self.done.pop(), self.objects)
        self._open.append(stretch)

    def add_page(self, page: PageRef) -> None:
        """One that is there as a whole."""
        self._close()
        if self.done and self.done[-1].key == page.key:
            for stretch in read_page(page, self.objects):
                self.add(stretch)
        else:
            self.done.append(page)

    def finished(self) -> tuple[PageRef, ...]:
        """All pages so far. More may be added after it."""
        self._close()
        return tuple(self.done)

    def _close(self) -> None:
        if self._open:
            packs = [item.pack for item in self._open if item.pack is not None]
            ref = self.objects.put_json([item.to_json() for item in self._open])
            first, last = self._open[0], self._open[-1]
            self.done.append(PageRef(first.key, first.before, last.end, made_of(packs), ref))
            self._open = []


def made_of(packs: Sequence[Pack]) -> str:
    """Tells packed stretches from others without reading a page; empty without any."""
    return hashlib.sha256(b"\n".join(pack.value() for pack in packs)).hexdigest() if packs else ""
