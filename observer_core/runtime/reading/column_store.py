"""One source's series: what is on the shelf, what is in memory, and what of its journal is in neither yet.

Positions 1..head are covered by blocks (files), then by the tail (memory), which is brought forward
from the journal whenever it is asked; between the blocks there may be gaps, which somebody builds. What is
covered is what the journal says: every block links to the chain hash of its neighbour, the last of such
a run to that of the journal, and the tail to the journal's head. Whatever does not is dropped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from observer_core.runtime.reading.columns import Block, Columns, Layout, Lost, Rows
from observer_core.runtime.reading.pace import Pace, in_slices
from observer_core.runtime.reading.shelf import Shelf
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ChainBroken, NotFound
from observer_core.shared.ids import ref
from observer_core.shared.records import Snapshot, SnapshotDecoder
from observer_core.storage.journal import Journal
from observer_core.storage.rows import CommitRow

TAIL_BYTES: Final = 4 << 20
"""Of records, before they become a block: what a process reads again after a restart, in some 20 ms."""
BLOCK_BYTES: Final = 16 << 20
BLOCK_RECORDS: Final = 8192
VALUE_BYTES: Final = 32 << 20
"""Of a block's values: subjects that come and go make many columns of few records."""
_PIECE_BYTES: Final = 1 << 20
_SKEW_NS: Final = 60 * SECOND
_FEW: Final = 4
"""So many small blocks beside one another are built again as one."""
_SMALL: Final = 8 << 20
"""What they may have together."""
_OLD_DRAFT_S: Final = 3600


class Need(NamedTuple):
    """Positions from `first` on are needed, those up to `last` before the others."""

    first: int
    last: int


class SourceColumns:
    """The series of one source. Reads from any thread; one thread at a time builds."""

    def __init__(
        self, journal: Journal, shelf: Shelf, delay_ns: int = 0,
        *, tail_bytes: int = TAIL_BYTES, block_bytes: int = BLOCK_BYTES,
    ) -> None:  # fmt: skip
        """`delay_ns`: how long after it happened a row may be learnt as a matter of course.

        `tail_bytes`, `block_bytes`: of records, when the tail becomes a block, and what one is made of.
        """
        self._journal, self._shelf = journal, shelf
        self._delay_ns = delay_ns
        self._tail_bytes, self._block_bytes = tail_bytes, block_bytes
        self._folder = shelf.folder / journal.name
        self._blocks: tuple[Block, ...] = ()
        self._tail: Columns | None = None
        self._decode = SnapshotDecoder()
        self._layouts: dict[bytes, Layout] = {}
        self._generation = 0
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ reading

    def bring_forward(self) -> None:
        """Takes in what the journal has beyond the tail, and drops what is not of this journal (any more)."""
        with self._lock:
            for _ in range(2):
                if self._follow():
                    return
                self._forget()
            raise ChainBroken(
                self._journal.name, self._journal.head().position, "hash", "its commits do not link"
            )

    def read(self, subject: str, fields: Sequence[str], since_ns: int, until_ns: int) -> list[Rows]:
        """Rows of all parts that may hold some between the two. A part that cannot be read is a gap now."""
        while True:
            with self._lock:
                blocks, tail = self._blocks, self._tail
                span = None if tail is None else tail.span()
                found, lost = [], False
                last = []
                if tail is not None and span is not None and span[0] <= until_ns and span[1] >= since_ns:
                    last.append(tail.read(subject, fields))
            for block in blocks:
                if block.may_hold(since_ns, until_ns):
                    try:
                        found.append(block.read(subject, fields))
                        self._shelf.used(block)
                    except Lost:
                        lost = True
                        self.drop(block)
            if not lost:
                return found + last

    def subjects(self) -> list[str]:
        """All that there ever were, those of the newest rows first."""
        return list(dict.fromkeys(name for layout in self._layouts_now() for name in layout.subjects))

    def fields(self) -> list[str]:
        return list(dict.fromkeys(name for layout in self._layouts_now() for name in layout.fields))

    def has(self, subject: str) -> bool:
        """Whether there ever was such a subject, as far as is known."""
        return any(subject in layout.place for layout in self._layouts_now())

    def span(self) -> tuple[int, int] | None:
        """When the first and the last row happened, as far as is known."""
        with self._lock:
            spans = [block.span for block in self._blocks]
            if self._tail is not None:
                spans.append(self._tail.span())
        known = [span for span in spans if span is not None]
        return (min(span[0] for span in known), max(span[1] for span in known)) if known else None

    def learnt_ns(self, position: int) -> int:
        """When the entry at a position could be known."""
        return self._commit_of(position).first_ns

    # ------------------------------------------------------------------ building

    def gaps(self) -> list[tuple[int, int]]:
        """Positions that neither a block nor the tail covers, in order."""
        with self._lock:
            if self._tail is None:
                return []
            found, after = [], 0
            covered = [(block.first, block.last) for block in self._blocks]
            for first, last in [*covered, (self._tail.first, self._tail.last)]:
                if first > after + 1:
                    found.append((after + 1, first - 1))
                after = last
        if found and found[0][0] == 1:  # perhaps it was removed, all of it or the beginning
            base = self._journal.base().position
            found = [(max(first, base + 1), last) for first, last in found if last > base]
        return found

    def need(self, since_ns: int, until_ns: int) -> Need:
        """Where the rows of a span lie: none was learnt before it happened (but for a clock that is wrong).

        One that was learnt much later than it happened may lie anywhere behind.
        """
        first = self._journal.position_at(max(0, since_ns - _SKEW_NS - 1)) + 1
        return Need(first, max(first, self._journal.position_at(until_ns + _SKEW_NS + self._delay_ns)))

    def lacks(self, need: Need) -> bool:
        """Whether something of it has to be built first."""
        return any(last >= need.first for _, last in self.gaps())

    def build(self, need: Need, pace: Pace, used_since: int | None = None) -> bool:
        """Makes a block of what is needed, the newest first; False when there is nothing, or no room.

        `used_since`: blocks that were not used after that moment may go for it.
        """
        gaps = [gap for gap in self.gaps() if gap[1] >= need.first]
        if not gaps:
            return False
        first, last = next((gap for gap in reversed(gaps) if gap[0] <= need.last), gaps[-1])
        if first <= need.last < last:
            last = self._commit_of(need.last).last
        each = self._bytes_each(last)
        start = max(first, last + 1 - max(1, min(BLOCK_RECORDS, self._block_bytes // each)))
        row = self._commit_of(start)
        if not self._shelf.has_room(each * (last + 1 - row.first), since=used_since):
            return False
        return self._make(row, last, pace, asked=used_since is not None)

    def tidy(self, pace: Pace) -> bool:
        """Makes one block of some small ones; False when there is nothing to do."""
        with self._lock:
            blocks = self._blocks
        run: list[Block] = []
        for block in blocks:
            run = [*run, block] if run and run[-1].last + 1 == block.first else [block]
            while run and (
                sum(item.size for item in run) > _SMALL or block.last + 1 - run[0].first > BLOCK_RECORDS
            ):
                run = run[1:]
            if len(run) >= _FEW:
                return self._make(self._commit_of(run[0].first), block.last, pace, asked=False)
        return False

    def drop(self, block: Block) -> None:
        """Takes a block off the shelf; what it held is a gap now."""
        with self._lock:
            if block in self._blocks:
                self._blocks = tuple(item for item in self._blocks if item is not block)
                self._remove(block)

    def let_go(self) -> None:
        """Of what is in memory; it is read again when it is asked for."""
        with self._lock:
            self._forget()

    # ------------------------------------------------------------------ inside

    def _layouts_now(self) -> list[Layout]:
        with self._lock:
            blocks = self._blocks
            found = [] if self._tail is None else [self._tail.layout()]
        return [*found, *{id(block.layout): block.layout for block in reversed(blocks)}.values()]

    def _follow(self) -> bool:
        """Up to the journal's head; False when what is known is not what the journal has."""
        pace, head, tail = in_slices(), self._journal.head(), self._tail
        if tail is None:
            self._load()
            tail = self._begin_tail()
        if head.position < tail.last or (head.position == tail.last and head.hash != tail.hash):
            return False
        if head.position > tail.last and head.position - tail.last > 2 * self._tail_records(head.position):
            self._shelve_tail()
            tail = self._begin_tail()
        for row, lines in self._commits(tail.last + 1, head.position):
            if row.previous != tail.hash or row.first != tail.last + 1:
                return False
            for line in lines:
                record = self._decode(line)
                if isinstance(record, Snapshot):
                    tail.add(record)
                pace.rest()
            tail.end(row)
            if tail.raw_bytes >= self._tail_bytes or tail.nbytes >= VALUE_BYTES:
                if self._shelve_tail():
                    tail = self._tail = Columns(tail.last + 1, tail.hash)
                elif tail.raw_bytes >= 2 * self._tail_bytes or tail.nbytes >= 2 * VALUE_BYTES:
                    tail.forget_half()
        return True

    def _begin_tail(self) -> Columns:
        """Behind the last block, or near the head when that is far."""
        head = self._journal.head(refresh=False)
        base = self._journal.base()
        after, digest = base.position, base.hash
        if self._blocks and self._blocks[-1].last >= after:
            after, digest = self._blocks[-1].last, self._blocks[-1].hash
        if head.position > after:
            enough = self._tail_records(head.position)
            if head.position - after > 2 * enough:
                row = self._commit_of(head.position - enough)
                after, digest = row.first - 1, row.previous
        self._tail = Columns(after + 1, digest)
        return self._tail

    def _shelve_tail(self) -> bool:
        tail = self._tail
        if tail is None or tail.last < tail.first:
            return True
        return self._put(tail, self._generation, in_slices(), asked=False)

    def _make(self, begin: CommitRow, last: int, pace: Pace, *, asked: bool) -> bool:
        """A block (more, when values are many) from the commit `begin` to the one that ends at `last`."""
        generation, decode = self._generation, SnapshotDecoder()
        columns = Columns(begin.first, begin.previous, last + 1 - begin.first)
        pace.begin()
        for row, lines in self._commits(begin.first, last):
            if row.previous != columns.hash or row.first != columns.last + 1:
                with self._lock:
                    self._forget()
                return False
            for line in lines:
                record = decode(line)
                if isinstance(record, Snapshot):
                    columns.add(record)
                pace.rest()
            columns.end(row)
            if columns.nbytes >= VALUE_BYTES and row.last < last:
                if not self._put(columns, generation, pace, asked=asked):
                    return False
                columns = Columns(columns.last + 1, columns.hash)
        return self._put(columns, generation, pace, asked=asked)

    def _put(self, columns: Columns, generation: int, pace: Pace, *, asked: bool) -> bool:
        """Writes it and puts it in its place; smaller ones within it go. False when it cannot be kept."""
        if not self._shelf.has_room(columns.nbytes, since=self._shelf.now()):
            return False
        try:
            block = columns.write(self._folder, self._journal.name, self._layouts, pace)
        except (OSError, Lost) as error:
            self._shelf.failed(error)
            return False
        with self._lock:
            if generation != self._generation:
                block.path.unlink(missing_ok=True)
                return False
            within = [item for item in self._blocks if block.first <= item.first and item.last <= block.last]
            for item in within:
                self._remove(item, keep=block.path)
            kept = [item for item in self._blocks if item not in within]
            self._blocks = tuple(sorted([*kept, block], key=lambda item: item.first))
            self._shelf.put(block, self.drop, used=asked)
            if not self._is_linked(block):
                self._forget()
                return False
        return True

    def _is_linked(self, block: Block) -> bool:
        """Whether its neighbours go on where it ends."""
        ends = [(item.first, item.last, item.previous, item.hash) for item in self._blocks]
        if self._tail is not None:
            ends.append((self._tail.first, self._tail.last, self._tail.previous, self._tail.hash))
        return not any(
            (first == block.last + 1 and previous != block.hash)
            or (last + 1 == block.first and digest != block.previous)
            for first, last, previous, digest in ends
        )

    def _load(self) -> None:
        """What is on the shelf and belongs to this journal."""
        runs: list[list[Block]] = []
        base = self._journal.base().position
        for block in self._found():
            if block.first <= base:  # what retention has removed is not shown either
                block.path.unlink(missing_ok=True)
                continue
            if runs and runs[-1][-1].last + 1 == block.first and runs[-1][-1].hash == block.previous:
                runs[-1].append(block)
            else:
                runs.append([block])
        for run in runs:
            while run and not self._is_of_the_journal(run[-1]):
                run.pop().path.unlink(missing_ok=True)
        self._blocks = tuple(block for run in runs for block in run)
        for block in self._blocks:
            self._shelf.put(block, self.drop)

    def _found(self) -> list[Block]:
        """The files that can be read, in order, without those that a larger one was made of."""
        found: list[Block] = []
        for path in sorted(self._folder.glob("*")):
            if path.name.startswith("."):
                remove_draft(path)
                continue
            try:
                block = Block.open(path, self._layouts)
                if block.journal != self._journal.name:
                    raise Lost(f"{path.name} is of another journal")
            except Lost:
                path.unlink(missing_ok=True)
                continue
            while found and block.first == found[-1].first:
                found.pop().path.unlink(missing_ok=True)
            if found and block.first <= found[-1].last:
                path.unlink(missing_ok=True)
            else:
                found.append(block)
        return found

    def _is_of_the_journal(self, block: Block) -> bool:
        try:
            row = self._commit_of(block.last)
        except NotFound:
            return False
        return row.last == block.last and row.hash == block.hash

    def _commits(self, first: int, last: int) -> Iterator[tuple[CommitRow, list[bytes]]]:
        """Those that hold first..last, read in pieces that no other thread has to wait long for."""
        each = self._bytes_each(first) if first <= last else 1
        while first <= last:
            step = max(1, _PIECE_BYTES // each)
            found = list(self._journal.raw(first, min(last, first + step - 1)))
            if not found:
                raise NotFound("entry", ref(self._journal.name, first))
            yield from found
            first = found[-1][0].last + 1
            each = max(1, sum(row.length for row, _ in found) // sum(row.records for row, _ in found))

    def _commit_of(self, position: int) -> CommitRow:
        for row in self._journal.rows(from_position=position, page=1):
            if row.records:
                return row
        raise NotFound("entry", ref(self._journal.name, position))

    def _tail_records(self, position: int) -> int:
        """About how many records the tail has when it becomes a block."""
        return max(1, min(BLOCK_RECORDS, self._tail_bytes // self._bytes_each(position)))

    def _bytes_each(self, position: int) -> int:
        row = self._commit_of(position)
        return max(1, row.length // row.records)

    def _remove(self, block: Block, keep: Path | None = None) -> None:
        self._shelf.take(block)
        if block.path != keep:
            block.path.unlink(missing_ok=True)

    def _forget(self) -> None:
        """What is in memory; the files are held against the journal when they are read again."""
        for block in self._blocks:
            self._shelf.take(block)
        self._blocks, self._tail = (), None
        self._generation += 1
        self._decode = SnapshotDecoder()


def remove_draft(path: Path) -> None:
    """What was being written when a process died."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _OLD_DRAFT_S:
            path.unlink()
