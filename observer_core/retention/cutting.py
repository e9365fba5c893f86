"""What goes of a journal, and how: whole packed stretches from its front, a transaction at a time.

One transaction moves the base, names the excerpt and removes the `p` rows before the base, under the
condition that nobody has packed, held or removed anything of this journal meanwhile. So a reader sees the
records, or the base behind them; the files, which no row names any more, are swept once that is durable.
Stopped anywhere, the next run does the rest.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from observer_core.retention.citations import Citations
from observer_core.retention.config import Term
from observer_core.retention.consumers import Bound, Consumers
from observer_core.retention.holds import Hold
from observer_core.retention.standing import Standing, standing_of
from observer_core.shared.canonical import decode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import Conflict
from observer_core.shared.records import Json
from observer_core.storage.archive import excerpts
from observer_core.storage.archive.excerpts import EXTENSION, Excerpt, Kept
from observer_core.storage.archive.packs import MARK, Pack, PackedFile, Packs, Unpacked, marked
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import Op, Row
from observer_core.storage.rows import Base, chain, segment_name

PRUNED: Final = "pruned"
"""What a record of a removal says that was done."""
_STRETCHES: Final = 90
"""In one transaction, which has three rows more."""
_EXCERPT_BYTES: Final = 16 * 1024 * 1024
_KEPT_NOTES: Final = ("epoch", "domain", "quarantine", "redrive", "hold")
"""Of a journal's own life: read long after they were made."""
_MARKS: Final = (
    *(f'"kind":"{kind}"'.encode() for kind in _KEPT_NOTES), f'"act":"{PRUNED}"'.encode(),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What may go of a journal: `packs`, which are older than `before_ns`; `bounds` keep others that are.

    `old_records`: so many are old enough and packed; `loose`: so many others are not packed yet, and `mixed`
    are in a file with younger ones.
    """

    journal: str
    domain: str
    term: Term
    before_ns: int
    packs: tuple[Pack, ...]
    bounds: tuple[Bound, ...]
    old_records: int
    loose: int
    mixed: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Records first..last that go, or went, in one transaction; `record` says so in the operations journal.

    `length`: bytes of their lines, `stored`: of their files. `previous` and `hash`: the chain's before and
    after them. `excerpted`: so many of them stay readable, in a file of `excerpt` bytes.
    """

    journal: str
    first: int
    last: int
    first_ns: int
    last_ns: int
    length: int
    stored: int
    previous: str
    hash: str
    rule: str
    excerpted: int
    excerpt: int
    excerpt_sha256: str
    record: str = ""

    @property
    def records(self) -> int:
        return self.last - self.first + 1

    def note(self, author: str) -> Json:
        """What the record of it says."""
        return {
            "act": PRUNED, "author": author, "policy": self.rule, "journal": self.journal,
            "first": self.first, "last": self.last, "records": self.records, "first_ns": self.first_ns,
            "last_ns": self.last_ns, "length": self.length, "stored": self.stored,
            "previous": self.previous, "hash": self.hash,
            "excerpt": {"records": self.excerpted, "bytes": self.excerpt, "sha256": self.excerpt_sha256},
        }  # fmt: skip


def plan(
    journals: Journals, name: str, term: Term, present_ns: int, consumers: Consumers,
    holds: Sequence[Hold], backed_up: Mapping[str, int] | None,
) -> Plan:  # fmt: skip
    """What goes of a journal that is kept for a while, by the time that it is in its domain."""
    assert term.keep_ns is not None
    before_ns = present_ns - term.keep_ns
    journal, storage = journals.open(name), journals.storage
    old = []
    packs = Packs(storage, name).all()
    for pack in packs:
        if _newest_ns(pack) >= before_ns:
            break
        old.append(pack)
    base = journal.base().position
    last = old[-1].last if old else base
    overdue = [pack.last for pack in old if _newest_ns(pack) < before_ns - term.keep_ns]
    bounds = list(consumers.bounds(name, max(overdue, default=base), last))
    if backed_up is not None:
        there = backed_up.get(name, 0)
        bounds.append(Bound(there, "no backup has more of it" if there else "no backup has it"))
    for pack in old:
        if storage.tables.query(name, "r.", f"r.{pack.last:020d}.{pack.seq + 1:012d}", 1):
            why = "what it was packed from was not swept yet"
            bounds.append(Bound(pack.first - 1, why, pack.first_seq - 1))
            break
    for pack in old:
        held = next((hold for hold in holds if hold.covers(name, pack.first_ns, pack.last_ns)), None)
        if held is not None:
            why = f"{held.text} ({held.author}: {held.reason})"
            bounds.append(Bound(pack.first - 1, why, pack.first_seq - 1))
            break
    gone = []
    for pack in old:
        if any(_keeps(bound, pack) for bound in bounds):
            break
        gone.append(pack)
    reached = min(journal.position_at(before_ns - 1), _before_newest(journal))
    packed = max(last, packs[-1].last if packs else 0)
    mixed, loose = max(0, min(reached, packed) - last), max(0, reached - packed)
    bound = tuple(item for item in bounds if any(_keeps(item, pack) for pack in old))
    records = sum(pack.records for pack in old)
    domain = journals.domain_of(name) or ""
    return Plan(name, domain, term, before_ns, tuple(gone), bound, records, loose, mixed)


def _newest_ns(pack: Pack) -> int:
    """Also of commits that gave no record: what they consumed, and when, is as young as that."""
    return max(pack.last_ns, pack.through_ns)


def _before_newest(journal: Journal) -> int:
    """The last record before the newest commit, which is never packed."""
    head = journal.head()
    row = next(journal.rows(head.seq - 1, max(1, head.position)), None)
    return head.position if row is None else row.first - 1


def _keeps(bound: Bound, pack: Pack) -> bool:
    return pack.last > bound.position or (bound.seq is not None and pack.seq > bound.seq)


class Cutter:
    """Cuts one journal as planned. `mark`: read before anything that the plan was made from."""

    def __init__(
        self, journals: Journals, plan: Plan, mark: Row | None, cited: Citations, consumers: Consumers
    ) -> None:  # fmt: skip
        self._journals, self._plan = journals, plan
        self._storage, self._name = journals.storage, plan.journal
        self._packs = Packs(self._storage, self._name)
        self._mark = mark
        row = self._storage.tables.get(self._name, Base.KEY)
        self._base, self._base_etag = Base.of(row), row.etag if row else ""
        self._cited, self._quarantined = cited, consumers.quarantined(self._name)
        self._standing: Standing | None = None
        self._before: set[int] = set()

    def chunks(self) -> Iterator[_Chunk]:
        """What goes together, in order; each begins where the one before it ended."""
        chunk: _Chunk | None = None
        for pack in self._plan.packs:
            if chunk is None:
                chunk = _Chunk([], {}, set())
            self._take(chunk, pack)
            if len(chunk.packs) == _STRETCHES or chunk.size >= _EXCERPT_BYTES:
                yield chunk
                chunk = None
        if chunk is not None:
            yield chunk

    def cut(self, chunk: _Chunk) -> tuple[Cut, bytes]:
        """What a chunk amounts to, and the file of its excerpt."""
        first, last = chunk.packs[0], chunk.packs[-1]
        records = chunk.records()
        data = excerpts.pack(records) if records else b""
        return Cut(
            journal=self._name, first=first.first, last=last.last, first_ns=first.first_ns,
            last_ns=last.last_ns, length=sum(pack.length for pack in chunk.packs),
            stored=sum(file.size for pack in chunk.packs for file in pack.files.values()),
            previous=first.previous.hex(), hash=last.hash.hex(), rule=self._plan.term.rule,
            excerpted=sum(kept.line is not None for kept in records), excerpt=len(data),
            excerpt_sha256=hashlib.sha256(data).hexdigest() if data else "",
        ), data  # fmt: skip

    def write(self, cut: Cut, data: bytes) -> PackedFile | None:
        """The excerpt's file, which nothing names yet."""
        if not data:
            return None
        folder = segment_name(self._name, cut.last_ns // (3600 * SECOND)).rpartition("/")[0]
        # A name is never used twice: what is swept is not what somebody has just written again.
        path = f"{folder}/{cut.first:020d}-{cut.last:020d}-{secrets.token_hex(4)}{EXTENSION}"
        self._storage.archives.put(path, data)
        return PackedFile(path, len(data), cut.excerpt_sha256)

    def commit(self, chunk: _Chunk, cut: Cut, file: PackedFile | None, now_ns: int) -> None:
        """`Conflict` when somebody else was at this journal meanwhile; then nothing has changed."""
        first, last = chunk.packs[0], chunk.packs[-1]
        if (first.first_seq, first.previous) != (self._base.seq + 1, self._base.hash):
            raise Conflict(self._name, Base.KEY, f"a base at commit {self._base.seq}")
        base = Base(
            position=last.last, seq=last.seq, hash=last.hash, time_ns=max(self._base.time_ns, last.last_ns),
            through_ns=last.through_ns, epoch=last.epoch, length=self._base.length + cut.length,
            began_ns=self._base.began_ns or first.first_ns, pruned_ns=now_ns, policy=cut.rule,
            record=cut.record, standing=tuple(sorted(chunk.standing)),
        )  # fmt: skip
        ops = [
            marked(self._mark),
            Op("replace", Base.KEY, base.value(), self._base_etag)
            if self._base_etag
            else Op("insert", Base.KEY, base.value()),
        ]
        if file is not None:
            excerpt = Excerpt(cut.first, cut.last, cut.excerpted, file)
            ops.append(Op("insert", excerpt.key, excerpt.value()))
        ops += [Op("delete", pack.key) for pack in chunk.packs]
        etags = self._storage.tables.commit(self._name, ops)
        self._base, self._base_etag = base, etags[1]
        self._mark = Row(MARK, ops[0].value, etags[0])

    # ------------------------------------------------------------------ one stretch

    def _take(self, chunk: _Chunk, pack: Pack) -> None:
        standing = self._folded()
        unpacked = self._packs.read(pack)
        lines = unpacked.text.split(b"\n")[:-1]
        cited = set(_within(self._cited.lines(self._name), pack))
        cited |= {position for position in self._quarantined if pack.first <= position <= pack.last}
        ids = self._cited.ids if self._name.startswith("decisions.") else frozenset()
        for position, line in enumerate(lines, pack.first):
            standing.apply(position, line)
            if _is_kept(line) or (ids and _id_of(line) in ids):
                cited.add(position)
        holds = standing.positions()
        fresh = {position for position in holds if pack.first <= position <= pack.last}
        newest = {pack.last} if lines else set()
        points = set(_within(self._cited.points(self._name), pack))
        found = _kept(unpacked, lines, cited | fresh | newest | points)
        if lines:
            chunk.newest = found[pack.last]
        chunk.cited.update((at, kept) for at, kept in found.items() if at in cited)
        chunk.cited.update(
            (at, kept._replace(line=None, previous=b"")) for at, kept in found.items() if at in points - cited
        )
        chunk.held = {at: kept for at, kept in chunk.held.items() if at in holds}
        chunk.held.update((at, found[at]) for at in fresh)
        chunk.standing = holds
        chunk.packs.append(pack)

    def _folded(self) -> Standing:
        """What stood where the journal begins now."""
        if self._standing is None:
            self._standing = standing_of(self._name)
            journal = self._journals.open(self._name)
            for position in self._base.standing:
                kept = journal.excerpt(position)
                if kept is None or kept.line is None:
                    raise journal.missing(position)
                self._standing.apply(position, kept.line)
        return self._standing


class _Chunk:
    """Stretches that go together, and what of them stays readable."""

    def __init__(self, packs: list[Pack], held: dict[int, Kept], standing: set[int]) -> None:
        self.packs, self.held, self.standing = packs, held, standing
        self.cited: dict[int, Kept] = {}
        self.newest: Kept | None = None

    @property
    def size(self) -> int:
        return sum(len(kept.line or b"") for kept in self.cited.values())

    def records(self) -> list[Kept]:
        """In order; the last record of all is always among them."""
        found = {**self.cited, **self.held}
        if self.newest is not None:
            found[self.newest.position] = self.newest
        return [found[position] for position in sorted(found)]


def _kept(unpacked: Unpacked, lines: Sequence[bytes], wanted: Collection[int]) -> dict[int, Kept]:
    """The records at these positions, with the chain before and after each."""
    found: dict[int, Kept] = {}
    first = unpacked.rows[0].first
    waiting = sorted(wanted, reverse=True)
    for row in unpacked.rows:
        if not waiting:
            break
        if not row.records or row.last < waiting[-1]:
            continue
        digest = row.previous
        for position in range(row.first, row.last + 1):
            line = lines[position - first]
            previous, digest = digest, chain(digest, [line])
            if waiting and position == waiting[-1]:
                found[waiting.pop()] = Kept(position, previous, digest, line)
    return found


def _within(positions: Any, pack: Pack) -> list[int]:
    start, stop = positions.searchsorted([pack.first, pack.last + 1])
    found: list[int] = positions[start:stop].tolist()
    return found


def _is_kept(line: bytes) -> bool:
    if not any(mark in line for mark in _MARKS):
        return False
    value = decode(line)
    return value.get("kind") in _KEPT_NOTES or (
        value.get("kind") == "maintenance" and value["body"].get("act") == PRUNED
    )


def _id_of(line: bytes) -> bytes:
    found = str(decode(line).get("id", "")) if b'"id":"' in line else ""
    return found.encode()
