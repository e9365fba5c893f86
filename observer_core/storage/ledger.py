"""Anchors: the heads of all journals as one line, kept where whoever writes the journals cannot change it.

A chain alone shows that a byte was changed, not that a whole journal was written anew with
hashes that fit. An anchor says where each journal stood; what it says is compared with the
hash that the stored bytes give at that position. Its root is a Merkle tree hash after
RFC 6962 section 2.1 over the leaves `NAME POSITION HASH`, so that one line of 64 digits
speaks for all heads. Anchors are the records of one journal, each naming the head of that
journal before it, so that one that is missing shows too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from observer_core.shared.canonical import decode
from observer_core.shared.errors import InputError, NotFound, RecordError
from observer_core.shared.records import Note
from observer_core.storage.journal import Journal
from observer_core.storage.rows import GENESIS, CommitRow, chain

LEDGER: Final = "ledger.live"
ANCHOR: Final = "anchor"


class AnchorPlace(Protocol):
    """Where anchors are kept outside the store. Lines are only ever added."""

    def append(self, line: bytes) -> None:
        """Durable when it returns; a repeated line does no harm. `StorageError` or `DeliveryError` else."""

    def read(self) -> Iterator[bytes] | None:
        """All lines in order; None where they cannot be read from here (a webhook)."""

    def close(self) -> None: ...


class Point(NamedTuple):
    """Where a journal stood: its chain's hash after `position` records."""

    journal: str
    position: int
    hash: bytes

    @property
    def leaf(self) -> bytes:
        return f"{self.journal} {self.position} {self.hash.hex()}".encode()


@dataclass(frozen=True, slots=True)
class Anchor:
    """One anchor, and the exact bytes of its record."""

    time_ns: int
    heads: tuple[Point, ...]
    root: str
    line: bytes

    @property
    def position(self) -> int:
        """Where it stands in the ledger: behind the head of the ledger that it names."""
        return self._before.position + 1

    @property
    def own(self) -> Point:
        """The ledger's head with this anchor in it."""
        return Point(LEDGER, self.position, chain(self._before.hash, [self.line]))

    @property
    def _before(self) -> Point:
        return next((head for head in self.heads if head.journal == LEDGER), Point(LEDGER, 0, GENESIS))


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of RFC 6962 section 2.1.

    >>> merkle_root([]).hex()[:16]
    'e3b0c44298fc1c14'
    """
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


def anchor_note(points: Iterable[Point], time_ns: int) -> Note:
    """The record of an anchor over these heads, in the order of their names."""
    heads = sorted(points)
    body = {
        "heads": [[head.journal, head.position, head.hash.hex()] for head in heads],
        "root": merkle_root([head.leaf for head in heads]).hex(),
    }
    return Note(kind=ANCHOR, time_ns=time_ns, body=body)


def read_anchor(line: bytes) -> Anchor:
    """The anchor of a line; `InputError` when it is none, or its root is not that of its heads."""
    try:
        value: Any = decode(line)
        if value["kind"] != ANCHOR:
            raise ValueError(f"a record of kind {value['kind']!r}")
        heads = tuple(Point(str(n), int(p), bytes.fromhex(h)) for n, p, h in value["body"]["heads"])
        anchor = Anchor(int(value["time_ns"]), heads, str(value["body"]["root"]), line)
    except (RecordError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"expected an anchor, found {line[:80]!r} ({error})") from None
    if merkle_root([head.leaf for head in heads]).hex() != anchor.root:
        raise InputError(f"the anchor at {anchor.time_ns} ns has heads that do not give its root")
    return anchor


def read_anchors(lines: Iterable[bytes], where: str) -> tuple[list[Anchor], list[str]]:
    """Anchors of a copy, each once, and what is wrong with other lines of it.

    A line that a crash tore, and that stands whole behind it, is nothing wrong.
    """
    found: dict[bytes, Anchor] = {}
    torn: list[tuple[int, bytes, str]] = []
    for number, line in enumerate(lines, 1):
        text = line.rstrip(b"\r\n")
        if text:
            try:
                found.setdefault(text, read_anchor(text))
            except InputError as error:
                torn.append((number, text, str(error)))
    faults = [
        f"{where}, line {number}: {why}"
        for number, text, why in torn
        if not any(whole.startswith(text) for whole in found)
    ]
    return list(found.values()), faults


def row_at(journal: Journal, position: int) -> CommitRow:
    """The commit that holds `position`; `NotFound` when there is none."""
    row = next(journal.rows(from_position=position), None) if position > 0 else None
    while row is not None and not row.records:  # at position 0 there may be commits that only consumed
        row = next(journal.rows(row.seq, row.last + 1), None)
    if row is None or not row.first <= position <= row.last:
        raise NotFound("entry", f"{journal.name}@{position}")
    return row


def hash_at(journal: Journal, position: int) -> bytes:
    """The chain's hash after `position` records, from the stored bytes where no commit ends there."""
    if position == 0:
        return GENESIS
    try:
        row = row_at(journal, position)
    except NotFound:
        return _removed(journal, position)
    return row.hash if row.last == position else _inside(journal, row, position)


def _removed(journal: Journal, position: int) -> bytes:
    """The hash after a record that retention has removed, where it was kept; `NotFound` otherwise."""
    base = journal.base()
    if position == base.position:
        return base.hash
    kept = journal.excerpts.find(position)
    if kept is None:
        raise journal.missing(position)
    return kept.hash


def commit_hashes(journal: Journal, position: int) -> list[tuple[int, bytes]]:
    """`hash_at(position)`; where the commit goes on behind it, of all that were committed with it.

    Answers of the gate are committed many at once, and a receipt may be asked for each.
    """
    if position == 0:
        return [(0, GENESIS)]
    try:
        row = row_at(journal, position)
    except NotFound:
        return [(position, _removed(journal, position))]
    if row.last == position:
        return [(position, row.hash)]
    found, digest = [], row.previous
    _, lines = next(journal.raw(row.first, row.last))
    for at, line in enumerate(lines, row.first):
        digest = chain(digest, [line])
        found.append((at, digest))
    return found


def _inside(journal: Journal, row: CommitRow, position: int) -> bytes:
    _, lines = next(journal.raw(row.first, row.last))
    return chain(row.previous, lines[: position - row.first + 1])


def hashes_at(journal: Journal, positions: Iterable[int]) -> dict[int, bytes]:
    """`hash_at` for many positions in one pass over the rows; those that are not there are left out."""
    wanted = sorted(set(positions))
    found = {0: GENESIS} if wanted[:1] == [0] else {}
    waiting = [position for position in wanted if position > 0]
    if not waiting:
        return found
    base = journal.base()
    while waiting and waiting[0] <= base.position:
        position = waiting.pop(0)
        kept = journal.excerpts.find(position)
        if position == base.position:
            found[position] = base.hash
        elif kept is not None:
            found[position] = kept.hash
    for row in journal.rows(from_position=waiting[0]) if waiting else ():
        while waiting and row.records and waiting[0] <= row.last:
            position = waiting.pop(0)
            if position >= row.first:
                found[position] = row.hash if row.last == position else _inside(journal, row, position)
        if not waiting:
            break
    return found


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that an anchor says: where it was read, when it was made, and the point."""

    where: str
    time_ns: int
    point: Point


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A journal that is not what an anchor says.

    `position` is that of the first anchor that it does not agree with, `after` the last position at which
    it still agreed with one of the same place (0: none). `fault`: `rewritten` (it has
    other records up to there), `cut` (it ends before), `missing` (there is no such journal).
    """

    journal: str
    fault: str
    after: int
    position: int
    where: str
    time_ns: int
    detail: str


def said_by(anchors: Mapping[str, Iterable[Anchor]]) -> dict[str, list[Said]]:
    """What anchors, by where they were read, say of each journal; the ledger's own records included."""
    found: dict[str, list[Said]] = {}
    for where, items in anchors.items():
        for anchor in items:
            for point in (*anchor.heads, anchor.own):
                found.setdefault(point.journal, []).append(Said(where, anchor.time_ns, point))
    return found


def before_what_is_kept(journal: Journal, said: Sequence[Said]) -> int:
    """How much is said of records that retention has removed, and of which no hash was kept."""
    base = journal.base().position
    before = [item.point.position for item in said if 0 < item.point.position < base]
    found = hashes_at(journal, before)
    return sum(position not in found for position in before)


def compare(journal: Journal, said: Sequence[Said], sound: int) -> tuple[int, Disagreement | None]:
    """Holds a journal against what is said of it: how much agreed, and the first thing that does not.

    `sound`: up to this position the stored bytes give the hashes of the rows. Beyond it the
    rows prove nothing, so nothing is compared there. Nor is it before what retention has kept, where no
    hash was kept with an excerpt (`before_what_is_kept` counts these).
    """
    found = hashes_at(journal, (item.point.position for item in said))
    end, base = journal.head().position, journal.base().position
    agreed = 0
    reached: dict[str, int] = {}  # by place: a forged copy must not speak for a true one
    for item in sorted(said, key=lambda item: (item.point.position, item.time_ns)):
        position = item.point.position
        if position < base and position not in found:
            continue
        if sound < position <= end:
            break
        if found.get(position) == item.point.hash:
            agreed, reached[item.where] = agreed + 1, position
            continue
        after = reached.get(item.where, 0)
        if position > end:
            fault = "cut" if end else "missing"
            detail = f"it has {end} records; the anchor says that it had {position}"
        else:
            fault = "rewritten"
            detail = (
                f"positions {after + 1} to {position} are not the records that were anchored: they hash to "
                f"{found.get(position, b'').hex()[:16] or '?'}, the anchor says {item.point.hash.hex()[:16]}"
            )
        return agreed, Disagreement(
            journal.name, fault, after, position, item.where, item.time_ns, detail
        )  # fmt: skip
    return agreed, None
