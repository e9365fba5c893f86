"""Closed hours of a journal become Parquet, then closed days; nothing of what can be read changes.

A stretch of commits is packed, read back and compared byte for byte; then one transaction puts its
`p` row in the place of what it supersedes, and only then, when that is durable, the segments and rows
go that nobody needs any more. Killed at any step, the next run finishes the job. Of two that
pack one journal at once, one wins; the other's files are no part of anything and are swept.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, takewhile
from typing import Annotated, Final

from pydantic import Field, PositiveInt

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.errors import Conflict
from observer_core.storage.archive.excerpts import Excerpts
from observer_core.storage.archive.pack import EXTENSION, pack
from observer_core.storage.archive.packs import MARK, Pack, PackedFile, Packs, marked
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ports import ROWS_PER_TRANSACTION, Op, Row, Storage
from observer_core.storage.rows import CommitRow, segment_name

_HOUR_NS: Final = 3600 * SECOND
_DAY_NS: Final = 24 * _HOUR_NS
_ROWS_AT_ONCE: Final = 1000
_ROW_BYTES: Final = 400
"""About what a commit takes besides its lines: a journal that only consumes has nothing else."""


class CompactionConfig(Config):
    """`enabled`: left out, it is where pyarrow is installed. `after`: so long a closed hour stays as written.

    An hour that takes less than `hour_bytes`, rows included, waits for its day to close, and days together
    until they take `day_bytes`. A packed file holds at most `most_bytes` of lines, and `most_records` or
    commits: reading a record never unpacks more.
    """

    enabled: bool | None = None
    after: Annotated[DurationNs, Field(ge=0)] = _HOUR_NS
    hour_bytes: PositiveInt = 4 * 1024 * 1024
    day_bytes: PositiveInt = 512 * 1024
    most_bytes: PositiveInt = 16 * 1024 * 1024
    most_records: PositiveInt = 20_000


@dataclass(frozen=True, slots=True)
class Packing:
    """What was packed, or would be: records first..last of `journal`, and their bytes before and after.

    `merged`: so many packed files became this one. `stored` is 0 where nothing was written.
    """

    journal: str
    first: int
    last: int
    first_ns: int
    last_ns: int
    length: int
    stored: int
    merged: int = 0


@dataclass(frozen=True, slots=True)
class Swept:
    """What was removed because nothing needs it any more."""

    journal: str
    segments: int
    rows: int
    archives: int


def pack_closed(
    journals: Journals, name: str, config: CompactionConfig, *, dry_run: bool = False,
    span_ns: int | None = None,
) -> Iterator[Packing]:  # fmt: skip
    """Packs what has closed in a journal, oldest first; each is committed when it is given.

    `span_ns`: days are not put together beyond it, however little they take: files go as a whole.
    """
    compactor = _Compactor(journals, name, config, span_ns)
    yield from compactor.packed(dry_run)
    yield from compactor.merged(dry_run)


def sweep(journals: Journals, name: str) -> Swept:
    """Removes the rows and segments that packed stretches supersede, and files that no `p` row names.

    The rows that say so may be another process's, from this very moment: they are made durable first.
    """
    storage, journal = journals.storage, journals.open(name)
    lost = _lost_archives(storage, name)
    newest = Packs(storage, name).newest()
    segments, rows = 0, 0
    pages = _superseded(storage, journal, newest) if newest is not None else iter(())
    page = next(pages, None)
    if page is not None or lost:
        storage.checkpoint()
    while page is not None:
        stale, keep = page
        for segment in sorted({row.segment for row in stale if row.records} - keep):
            storage.segments.delete(segment)
            segments += 1
        # Oldest first: what is left follows on the stretches without a hole.
        ops = [Op("delete", row.key) for row in stale]
        for start in range(0, len(ops), ROWS_PER_TRANSACTION):
            storage.tables.commit(name, ops[start : start + ROWS_PER_TRANSACTION])
        rows += len(ops)
        page = next(pages, None)
    for file in lost:
        storage.archives.delete(file)
    return Swept(name, segments, rows, len(lost))


def _lost_archives(storage: Storage, name: str) -> list[str]:
    """Files that no stretch names; those of a packing under way, which then cannot commit, too."""
    files = list(storage.archives.list(_folder(name) + "/"))
    if not files or not _unnamed(storage, name, files):
        return []
    mark = storage.tables.get(name, MARK)
    storage.tables.commit(name, [marked(mark)])
    return _unnamed(storage, name, files)


def _unnamed(storage: Storage, name: str, files: Sequence[str]) -> list[str]:
    named = {file.name for pack in Packs(storage, name).all() for file in pack.files.values()}
    named |= {excerpt.file.name for excerpt in Excerpts(storage, name).all()}
    return [file for file in files if file not in named]


class _Compactor:
    def __init__(
        self, journals: Journals, name: str, config: CompactionConfig, span_ns: int | None = None
    ) -> None:
        self._span_ns = span_ns
        self._journals, self._is_durable = journals, not journals.storage.volatile
        self._storage, self._name, self._config = journals.storage, name, config
        self._journal = journals.open(name)
        self._packs = Packs(self._storage, name)
        head = self._journal.head()
        self._head_seq = head.seq
        self._closed_ns = max(head.time_ns, head.through_ns) - config.after

    # ------------------------------------------------------------------ new stretches

    def packed(self, dry_run: bool) -> Iterator[Packing]:
        """The closed hours and days that are not packed yet."""
        before = self._packs.newest()
        seq, position = (before.seq, before.last) if before else (0, 1)
        rows = self._journal.rows(after_seq=seq, from_position=max(1, position))
        for stretch in self._stretches(row for row in rows if row.seq < self._head_seq):
            yield self._pack(stretch, (), dry_run)

    def _stretches(self, rows: Iterator[CommitRow]) -> Iterator[list[CommitRow]]:
        """Days that have closed, together until they are worth it; of the one that has not, such hours."""
        waiting = _Waiting(self._config)
        for day, of_day in groupby(rows, key=_day):
            closed = (day + 1) * _DAY_NS <= self._closed_ns
            for hour, of_hour in groupby(of_day, key=_hour):
                if not closed and (hour + 1) * _HOUR_NS > self._closed_ns:
                    return
                for row in of_hour:
                    if not waiting.takes(row):
                        yield waiting.cut()
                    waiting.add(row)
                if not closed and waiting.bytes >= self._config.hour_bytes:
                    yield waiting.cut()
            if not closed:
                return
            if waiting.bytes >= self._config.day_bytes or self._is_long(waiting.rows):
                yield waiting.cut()

    # ------------------------------------------------------------------ hours into days

    def merged(self, dry_run: bool) -> Iterator[Packing]:
        """Stretches of a day that has closed become one, and those that are small, as far as one may hold."""
        together: list[Pack] = []
        for found in [*self._packs.all(), None]:
            if found is not None and self._joins(together, found):
                together.append(found)
                continue
            if len(together) > 1:
                rows = [row for one in together for row in self._packs.rows_of(one)]
                yield self._pack(rows, together, dry_run)
            together = [] if found is None else [found]

    def _joins(self, packs: Sequence[Pack], more: Pack) -> bool:
        if not packs:
            return True
        every = [*packs, more]
        length, records = _length(every), max(sum(one.records for one in every), _commits(every))
        if (_day(more) + 1) * _DAY_NS > self._closed_ns:
            return False
        if length > self._config.most_bytes or records > self._config.most_records:
            return False
        if _day(packs[0]) == _day(more):
            return True
        return _taken(packs) < self._config.day_bytes and not self._is_long(every)

    def _is_long(self, parts: Sequence[CommitRow | Pack]) -> bool:
        newest_ns = max(parts[-1].last_ns, parts[-1].through_ns)
        return self._span_ns is not None and newest_ns - parts[0].first_ns >= self._span_ns

    # ------------------------------------------------------------------ one stretch

    def _pack(self, rows: list[CommitRow], merged: Sequence[Pack], dry_run: bool) -> Packing:
        first, last = rows[0], rows[-1]
        told = Packing(
            self._name, first.first, last.last, first.first_ns, last.last_ns,
            sum(row.length for row in rows), 0, len(merged),
        )  # fmt: skip
        if dry_run:
            return told
        if not self._is_durable:
            # A power failure must never leave a stretch packed whose commits are to be cut.
            self._journals.sync()
            self._is_durable = True
        mark = self._storage.tables.get(self._name, MARK)
        lines = [line for part in _parts(self._journal, rows) for line in part]
        files = pack(self._name, rows, lines)
        written = {name: self._write(rows, name, data) for name, data in files.items()}
        found = Pack(
            first=first.first, last=last.last, first_seq=first.seq, seq=last.seq, first_ns=first.first_ns,
            last_ns=last.last_ns, through_ns=last.through_ns, epoch=last.epoch, previous=first.previous,
            hash=last.hash, length=told.length, files=written,
        )  # fmt: skip
        self._commit(found, merged, mark)
        stored = sum(file.size for file in written.values())
        return Packing(
            told.journal, told.first, told.last, told.first_ns, told.last_ns, told.length, stored, told.merged
        )

    def _write(self, rows: Sequence[CommitRow], name: str, data: bytes) -> PackedFile:
        digest = hashlib.sha256(data).hexdigest()
        day = datetime.fromtimestamp(rows[-1].last_ns // SECOND, UTC)
        # A name is never used twice: what is swept is not what somebody has just written again.
        stem = f"{rows[0].first:020d}-{rows[-1].seq:012d}-{secrets.token_hex(4)}"
        path = f"{_folder(self._name)}/date={day:%Y-%m-%d}/{stem}.{name}{EXTENSION}"
        self._storage.archives.put(path, data)
        return PackedFile(path, len(data), digest)

    def _commit(self, found: Pack, merged: Sequence[Pack], mark: Row | None) -> None:
        """`Conflict` when somebody else has packed or swept this journal since `mark` was read."""
        ops = [
            marked(mark, found.seq),
            *(Op("delete", one.key) for one in merged if one.key != found.key),
        ]
        standing = self._storage.tables.get(self._name, found.key)
        self._still(merged, found, standing)
        ops.append(
            Op("insert", found.key, found.value())
            if standing is None
            else Op("replace", found.key, found.value(), standing.etag)
        )
        self._storage.tables.commit(self._name, ops)

    def _still(self, merged: Sequence[Pack], found: Pack, standing: Row | None) -> None:
        """The stretches are still those that were read, after the mark was."""
        now = self._packs.all(found.first if merged else max(1, found.first - 1), found.first_seq - 2)
        before = [one for one in now if one.seq < found.first_seq]
        inside = [one for one in now if found.first_seq <= one.seq and one.first_seq <= found.seq]
        follows = not before or before[-1].seq == found.first_seq - 1
        if inside != list(merged) or not follows:
            raise Conflict(
                self._name, found.key, "another packing" if standing is None else "a packed stretch"
            )


class _Waiting:
    """Commits that may become a stretch; never more than one may hold, of whatever there is."""

    def __init__(self, config: CompactionConfig) -> None:
        self._config = config
        self.rows: list[CommitRow] = []
        self._length = self._records = 0

    @property
    def bytes(self) -> int:
        """What they take where they are not packed."""
        return self._length + _ROW_BYTES * len(self.rows)

    def takes(self, row: CommitRow) -> bool:
        return not self.rows or (
            self._length + row.length <= self._config.most_bytes
            and max(self._records + row.records, len(self.rows) + 1) <= self._config.most_records
        )

    def add(self, row: CommitRow) -> None:
        self.rows.append(row)
        self._length, self._records = self._length + row.length, self._records + row.records

    def cut(self) -> list[CommitRow]:
        rows, self.rows = self.rows, []
        self._length = self._records = 0
        return rows


def _superseded(
    storage: Storage, journal: Journal, newest: Pack
) -> Iterator[tuple[list[CommitRow], set[str]]]:
    """Rows that packed stretches speak for, page by page, and the segments that others still point into.

    Not those of the newest record's hour, nor what follows: somebody may be appending there, by a
    descriptor that would outlive the file. Before it nobody can, because times never decrease.
    """
    current = segment_name(journal.name, journal.head().time_ns // _HOUR_NS)
    high = f"r.{newest.last:020d}.{newest.seq + 1:012d}"
    following = next(journal.rows(after_seq=newest.seq, from_position=max(1, newest.last)), None)
    keep = {following.segment} if following is not None else set()
    while True:
        page = [CommitRow.of(row) for row in storage.tables.query(journal.name, "r.", high, _ROWS_AT_ONCE)]
        stale = list(takewhile(lambda row: row.seq <= newest.seq and row.segment < current, page))
        if not stale:
            return
        more = storage.tables.query(journal.name, stale[-1].key + " ", high, 1)
        yield stale, keep | {CommitRow.of(row).segment for row in more}
        if not more or len(stale) < len(page):
            return


def _parts(journal: Journal, rows: Sequence[CommitRow]) -> Iterator[list[bytes]]:
    """The records of the rows, commit by commit."""
    with_records = [row for row in rows if row.records]
    if with_records:
        wanted = {row.seq for row in with_records}
        for row, lines in journal.raw(with_records[0].first, with_records[-1].last):
            if row.seq in wanted:
                yield lines


def _folder(journal: str) -> str:
    kind, _, name = journal.partition(".")
    return f"{kind}/source={name}"


def _length(packs: Iterable[Pack]) -> int:
    """Bytes of lines."""
    return sum(pack.length for pack in packs)


def _commits(packs: Iterable[Pack]) -> int:
    return sum(pack.seq - pack.first_seq + 1 for pack in packs)


def _taken(packs: Sequence[Pack]) -> int:
    """Bytes that they took where they were not packed."""
    return _length(packs) + _ROW_BYTES * _commits(packs)


def _day(row: CommitRow | Pack) -> int:
    return row.last_ns // _DAY_NS


def _hour(row: CommitRow) -> int:
    return row.last_ns // _HOUR_NS
