"""The journal: an ordered, append-only log of records with one writer at a time.

Bytes lie in hourly segments, truth lies in one table partition (its name is the
journal's). A commit appends the bytes and then changes the rows in one transaction
under the condition that `head` is as the writer knew it: that transaction is the commit
point. Bytes that no row points to are garbage and harmless.

    head                    where the journal stands (`Head`)
    r.<last position>.<seq> one committed range of records, and the inputs it was made from
    c.<input>               how far an input has been consumed
    s.<seq>                 a state blob and the commit it stands at
    v.<key>                 views: what readers look up
    i.<sha256>              idempotency keys of pushed batches
    e.<epoch>               which configuration and version an epoch runs
    a.<input>               attempts at an entry that has not been passed yet
    b                       where what is kept begins, once retention has removed something (`Base`)
    x.<last position>       what is kept of a removed stretch (`Excerpt`)
    lease                   which worker is at it

`r` rows are keyed by their last position, so the first row at or after `r.<p>` holds
position p. A commit without records still has an `r` row when it consumed something: the
order in which several inputs were consumed is part of the truth.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import (
    ChainBroken,
    Conflict,
    JournalError,
    NotFound,
    Pruned,
    SegmentFull,
    StorageCorrupt,
    StorageUnavailable,
)
from observer_core.shared.records import AnyRecord, Record, SnapshotDecoder, decode_record
from observer_core.shared.stage import Entry
from observer_core.storage.archive.excerpts import Excerpts, Kept
from observer_core.storage.archive.packs import Pack, Packs, is_packed
from observer_core.storage.ports import APPEND_BYTES, ROWS_PER_TRANSACTION, Op, Row, Storage
from observer_core.storage.rows import Base, CommitRow, Head, InputRange, StateRow, chain, segment_name

HOURS_PER_COMMIT: Final = 40
"""Writers keep below it; what one indivisible commit has beyond it stays in its last segment."""
_HOUR_NS: Final = 3600 * SECOND
TAIL_BYTES: Final = 8 * 1024 * 1024
"""What a process keeps in memory of the records that it wrote, a journal, unless told otherwise."""
_READ_BYTES: Final = 8 * 1024 * 1024


class Commit(NamedTuple):
    """What one transaction changes besides `head`."""

    records: Sequence[Record] = ()
    inputs: Sequence[InputRange] = ()
    through_ns: int = 0
    epoch: int | None = None
    checkpoints: Mapping[str, Any] = MappingProxyType({})
    views: Mapping[str, Any] = MappingProxyType({})
    """Changed views; None removes one."""
    state: Callable[[int], StateRow] | None = None
    extra: Sequence[Op] = ()


class Journal:
    """One journal of a storage. Safe to use from several threads; commits are conditional anyway."""

    def __init__(
        self, storage: Storage, name: str, commit_ids: Callable[[], str], tail_bytes: int = TAIL_BYTES,
        told: Callable[[str, int, Commit, int], None] | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._told = told
        self._storage = storage
        self._commit_ids = commit_ids
        self._head: Head | None = None
        self._tail: deque[tuple[Entry, int]] = deque()
        self._tail_bytes, self._tail_limit = 0, tail_bytes
        self._segments: dict[int, str] = {}
        self._epochs: dict[int, Any] = {}
        self._packs = Packs(storage, name)
        self.excerpts = Excerpts(storage, name)
        self._foreign = True
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ reading

    def head(self, *, refresh: bool = True) -> Head:
        """The head as stored; with `refresh=False` as this process last saw it."""
        known = self._head
        if known is not None and not refresh:
            return known
        with self._lock:
            return self._learn(self._storage.tables.get(self.name, "head"))

    def cold_start(self) -> tuple[Head, dict[str, Any]]:
        """The head as stored and the attempts by input, with the epochs learnt: one read of them all."""
        head, attempts = None, {}
        with self._lock:
            for row in self._storage.tables.query(self.name, "a.", "i."):
                kind, _, name = row.key.partition(".")
                if kind == "head":
                    head = row
                elif kind == "a":
                    attempts[name] = decode(row.value)
                elif kind == "e":
                    self._epochs[int(name)] = decode(row.value)
            return self._learn(head), attempts

    def _learn(self, row: Row | None) -> Head:
        found, known = Head() if row is None else Head.of(row), self._head
        # An older one is what this thread may see while another one's group is not committed yet.
        if known is None or (found.etag != known.etag and found.seq >= known.seq):
            if self._tail and found.position < self._tail[-1][0].position:
                self._forget_tail()
            self._head = found
            self._foreign = True
        return found

    def base(self) -> Base:
        """Where what is kept begins; position 0 where nothing was removed."""
        return Base.of(self._storage.tables.get(self.name, Base.KEY))

    def missing(self, position: int) -> NotFound:
        """The error that says why there is nothing at a position: `Pruned` where retention removed it."""
        base = self.base()
        if 1 <= position <= base.position:
            return self._pruned(position, base)
        return NotFound("entry", f"{self.name}@{position}")

    def _pruned(self, position: int, base: Base) -> Pruned:
        when = format_time(base.pruned_ns)[:10]
        return Pruned(self.name, position, base.position + 1, when, base.policy)

    def excerpt(self, position: int) -> Kept | None:
        """The record at a position whose stretch was removed, where something kept cites it."""
        found = self.excerpts.find(position)
        return None if found is None or found.line is None else found

    def check_archives(self, position: int) -> None:
        """`ChainBroken` unless the files that hold the record are stored as they were written.

        Reads them again: what a process has in memory of a file says nothing of what became of it.
        """
        pack = self._packs.holding(position)
        if pack is None:
            self.excerpts.check(position)
            return
        try:
            self._packs.check(pack)
        except ChainBroken:
            again = self._packs.holding(position)
            if again is None or again.files == pack.files:
                raise
            self._packs.check(again)  # it was packed anew meanwhile

    def standing(self) -> Iterator[Entry]:
        """Removed records that whoever folds what is kept of the journal must know first, in order."""
        for position in self.base().standing:
            yield self.entry(position)

    def rows(self, after_seq: int = 0, from_position: int = 1, page: int = 1000) -> Iterator[CommitRow]:
        """Commits in order, from the one that holds `from_position`; those with seq > `after_seq`.

        From the first that is kept, where retention has removed some; `Pruned` when it does so meanwhile.
        `page`: so many are asked for at a time.
        """
        return (row for row in self._rows(from_position, after_seq, page) if row.seq > after_seq)

    def _rows(self, position: int, after_seq: int, page: int) -> Iterator[CommitRow]:
        last = None
        for row in self._rows_found(position, after_seq, page):
            if last is not None and row.seq > last.seq + 1 and (base := self.base()).seq > last.seq:
                raise self._pruned(last.last + 1, base)
            yield row
            last = row

    def _rows_found(self, position: int, after_seq: int, page: int) -> Iterator[CommitRow]:
        # Commits that only consumed, before there was a record, stand at position 0.
        low = f"r.{position:020d}.{after_seq + 1:012d}" if position > 1 else "r."
        seq = after_seq
        while True:
            found = self._storage.tables.query(self.name, low, "r.~", page)
            rows = list(map(CommitRow.of, found))
            # What is missing was packed, perhaps since the page before; the newest commit never is.
            if rows and rows[0].seq > seq + 1 and (position <= 1 or rows[0].first > position):
                for row in self._packs.rows(position, seq):
                    if row.seq >= rows[0].seq:
                        break
                    yield row
            yield from rows
            if len(found) < page:
                return
            low, seq, position = found[-1].key + " ", rows[-1].seq, rows[-1].last

    def read(self, after: int, limit: int | None = None) -> list[Entry]:
        """Entries after position `after`, at most `limit`; from memory when this process wrote them."""
        with self._lock:
            if self._head is not None and self._head.position <= after:
                return []
            if self._tail and self._tail[0][0].position <= after + 1 <= self._tail[-1][0].position:
                start = after + 1 - self._tail[0][0].position
                stop = len(self._tail) if limit is None else min(len(self._tail), start + limit)
                return [self._tail[index][0] for index in range(start, stop)]
        return list(self.scan(after + 1, None if limit is None else after + limit))

    def scan(self, first: int = 1, last: int | None = None) -> Iterator[Entry]:
        """Stored entries first..last in order, decoded: those that are kept (see `base`).

        Reads ahead by whole byte ranges.
        """
        decode_line: Callable[[bytes], AnyRecord] = (
            SnapshotDecoder() if self.name.startswith("snapshots.") else decode_record
        )
        for row, lines in self._payloads(first, last):
            for position, line in enumerate(lines, row.first):
                if position < first:
                    continue
                if last is not None and position > last:
                    return
                yield Entry(self.name, position, decode_line(line))

    def raw(
        self, first: int = 1, last: int | None = None, *, commits: int | None = None
    ) -> Iterator[tuple[CommitRow, list[bytes]]]:
        """Each commit that holds any of first..last, with the stored bytes of its records.

        `commits`: look at no more than so many, those without records among them.
        """
        return self._payloads(first, last, commits)

    def entry(self, position: int) -> Entry:
        """The entry at `position`; `NotFound` when there is none, `Pruned` when it was removed."""
        for entry in self.scan(position, position):
            return entry
        kept = self.excerpt(position)
        if kept is None or kept.line is None:
            raise self.missing(position)
        return Entry(self.name, position, decode_record(kept.line))

    def position_at(self, time_ns: int) -> int:
        """The last position known at `time_ns` or before (0: none); never one before the last removed."""
        low, high = 0, self.head().position
        while low < high:
            held = self._holder((low + high + 1) // 2)
            if isinstance(held, Base):
                if time_ns < held.began_ns:
                    return 0
                low = held.position
            elif held.last_ns <= time_ns:
                low = min(held.last, high)
            elif held.first_ns > time_ns:
                high = held.first - 1
            elif isinstance(held, Pack):
                rows = [row for row in self._packs.rows_of(held) if row.records]
                return self._within(rows[bisect_right(rows, time_ns, key=_ends)], time_ns)
            else:
                return self._within(held, time_ns)
        return low

    def _within(self, row: CommitRow, time_ns: int) -> int:
        """The last position known at `time_ns`, which is before the last record of this commit."""
        if row.first_ns > time_ns:
            return row.first - 1
        _, lines = next(self._read_batch([row]))
        return row.first - 1 + bisect_right(lines, time_ns, key=_time_of)

    def _holder(self, position: int) -> CommitRow | Pack | Base:
        """The commit, or the packed stretch, that holds `position`; the base where it was removed."""
        for found in self._storage.tables.query(self.name, f"r.{position:020d}", "r.~", 1):
            row = CommitRow.of(found)
            if row.first <= position:
                return row
        pack = self._packs.holding(position)
        if pack is not None:
            return pack
        base = self.base()
        if position > base.position:
            raise ChainBroken(self.name, position, "gap", "no commit holds this position")
        return base

    def _payloads(
        self, first: int, last: int | None, commits: int | None = None
    ) -> Iterator[tuple[CommitRow, list[bytes]]]:
        batch: list[CommitRow] = []
        size = 0
        page = 1000 if last is None else max(1, min(1000, last - first + 1, commits or 1000))
        for row in islice(self._rows(max(1, first), 0, page), commits):
            if row.records == 0:
                continue
            if last is not None and row.first > last:
                break
            end = batch[-1].offset + batch[-1].length if batch else 0
            if batch and (batch[-1].segment != row.segment or row.offset < end or size > _READ_BYTES):
                yield from self._read_batch(batch)
                batch, size = [], 0
            batch.append(row)
            size = row.offset + row.length - batch[0].offset
            if last is not None and row.last >= last:
                break
        if batch:
            yield from self._read_batch(batch)

    def _read_batch(self, batch: list[CommitRow]) -> Iterator[tuple[CommitRow, list[bytes]]]:
        start, end = batch[0].offset, batch[-1].offset + batch[-1].length
        try:
            data = self._bytes(batch[0], start, end - start)
        except (StorageCorrupt, NotFound, ChainBroken) as error:
            if len(batch) > 1:
                for row in batch:
                    yield from self._read_batch([row])
                return
            again = self._packs.row(batch[0])  # packed since its row was read
            if again is None or again.segment == batch[0].segment:
                gone = self.missing(batch[0].first)
                if isinstance(gone, Pruned):
                    raise gone from error
                if isinstance(error, ChainBroken):
                    raise
                raise ChainBroken(self.name, batch[0].first, "gap", str(error)) from error
            yield from self._read_batch([again])
            return
        for row in batch:
            payload = data[row.offset - start : row.offset - start + row.length]
            lines = payload.split(b"\n")
            if lines.pop() != b"" or len(lines) != row.records:
                raise ChainBroken(
                    self.name, row.first, "hash",
                    f"{row.records} records were committed at {row.segment}:{row.offset}, "
                    f"found {len(lines)} lines",
                )  # fmt: skip
            yield row, lines

    def _bytes(self, row: CommitRow, offset: int, length: int) -> bytes:
        """What stands in the row's segment, or stood there before it was packed."""
        if not is_packed(row.segment):
            return self._storage.segments.read(row.segment, offset, length)
        pack = self._packs.holding(row.first)
        if pack is None or pack.segment != row.segment:
            raise NotFound("archive", row.segment)
        return self._packs.unpacked(pack).text[offset : offset + length]

    # ------------------------------------------------------------------ writing

    def commit(self, base: Head, commit: Commit) -> Head:
        """Appends and commits as one step on top of `base`, or raises and has committed nothing.

        `Conflict` when somebody committed since `base`. Records must not go back in time.
        """
        epoch = base.epoch if commit.epoch is None else commit.epoch
        encoded = [record.encode(epoch) for record in commit.records]
        identity = self._commit_ids()
        rows = self._append(base, commit, encoded, epoch, identity)
        newest = rows[-1] if rows else None
        seq = base.seq + len(rows)
        head = Head(
            position=base.position + len(encoded),
            hash=newest.hash if newest else base.hash,
            time_ns=newest.last_ns if newest and encoded else base.time_ns,
            through_ns=max(base.through_ns, commit.through_ns),
            epoch=epoch,
            seq=seq,
            state=base.state if commit.state is None else seq,
            commit=identity,
        )
        ops = [Op("insert", row.key, row.value()) for row in rows]
        for name, value in sorted(commit.checkpoints.items()):
            ops.append(Op("upsert", f"c.{name}", encode(value)))
        for key, view in sorted(commit.views.items()):
            ops.append(Op("delete", f"v.{key}") if view is None else Op("upsert", f"v.{key}", encode(view)))
        if commit.state is not None:
            state = commit.state(seq)
            ops.append(Op("upsert", state.key, state.value()))
        ops += commit.extra
        action: Op = (
            Op("replace", "head", head.value(), base.etag)
            if base.etag
            else Op("insert", "head", head.value())
        )
        head = self._transact(base, head, rows, [action, *ops])
        self._remember(head, base.position, commit.records, encoded)
        if self._told is not None and encoded:
            self._told(self.name, base.position + 1, commit, sum(map(len, encoded)))
        return head

    def _transact(self, base: Head, head: Head, rows: list[CommitRow], ops: list[Op]) -> Head:
        # Not under the lock: who waits here for another thread's group must not hold what that one needs.
        try:
            etags = self._storage.tables.commit(self.name, ops)
        except Conflict:
            self.forget()
            raise
        except StorageUnavailable:
            # It may have happened all the same: what stands there tells, also when somebody
            # has committed since (then under an etag that the next commit cannot match).
            self.forget()
            row = self._storage.tables.get(self.name, "head")
            if row is not None and Head.of(row).at("") == head:
                return Head.of(row)
            ours = self._storage.tables.get(self.name, rows[-1].key) if rows else None
            if ours is None or CommitRow.of(ours) != rows[-1]:
                raise
            return head.at(base.etag)
        return head.at(etags[0])

    def _append(
        self, base: Head, commit: Commit, encoded: list[bytes], epoch: int, identity: str
    ) -> list[CommitRow]:
        rows: list[CommitRow] = []
        if not encoded and not commit.inputs:
            return rows
        position, previous, seq, last_ns = base.position, base.hash, base.seq, base.time_ns
        records, start = commit.records, 0
        while start < len(encoded) or not rows:
            stop, first_ns = start, last_ns
            if encoded:
                first_ns = records[start].time_ns
                hour = first_ns // _HOUR_NS
                size = 0
                while stop < len(encoded) and (
                    stop == start or size + len(encoded[stop]) <= APPEND_BYTES // 2
                ):
                    time_ns = records[stop].time_ns
                    if time_ns < last_ns:
                        raise JournalError(
                            f"a record for {self.name!r} is at {time_ns} ns, before the {last_ns} ns "
                            "that the journal has reached; times never decrease within a journal"
                        )
                    if time_ns // _HOUR_NS != hour and len(rows) < HOURS_PER_COMMIT:
                        break
                    last_ns = time_ns
                    size += len(encoded[stop])
                    stop += 1
                part = encoded[start:stop]
                name, offset, length = self._append_bytes(hour, b"\n".join(part) + b"\n")
            else:
                part, name, offset, length = [], "", 0, 0
            seq += 1
            # The last row speaks for the whole commit.
            whole = stop == len(encoded)
            digest = chain(previous, part)
            rows.append(
                CommitRow(
                    first=position + 1, last=position + len(part), seq=seq, segment=name, offset=offset,
                    length=length, first_ns=first_ns, last_ns=last_ns, previous=previous, hash=digest,
                    epoch=epoch, commit=identity,
                    through_ns=max(base.through_ns, commit.through_ns) if whole else base.through_ns,
                    inputs=tuple(commit.inputs) if whole else (),
                )
            )  # fmt: skip
            position, previous, start = position + len(part), digest, stop
        if len(rows) > ROWS_PER_TRANSACTION // 2:
            raise JournalError(f"a commit to {self.name!r} needs {len(rows)} rows; commit in smaller steps")
        return rows

    def _append_bytes(self, hour: int, data: bytes) -> tuple[str, int, int]:
        name = self._segments.get(hour)
        if name is None:
            self._segments = {hour: (name := segment_name(self.name, hour))}
        while True:
            try:
                return name, self._storage.segments.append(name, data), len(data)
            except SegmentFull:
                stem, _, number = name.removesuffix(".ndjson").rpartition("~")
                name = f"{stem}~{int(number) + 1}.ndjson" if stem else f"{number}~1.ndjson"
                self._segments = {hour: name}

    def _remember(self, head: Head, base: int, records: Sequence[Record], encoded: list[bytes]) -> None:
        with self._lock:
            if self._head is not None and self._head.seq > head.seq:
                return  # another thread was here in between
            if self._tail and self._tail[-1][0].position != base:
                self._forget_tail()
            for index, record in enumerate(records):
                size = len(encoded[index])
                entry = Entry(self.name, base + index + 1, _as_read(record, head.epoch))
                self._tail.append((entry, size))
                self._tail_bytes += size
            while self._tail_bytes > self._tail_limit:
                self._tail_bytes -= self._tail.popleft()[1]
            self._head = head

    def _forget_tail(self) -> None:
        self._tail.clear()
        self._tail_bytes = 0

    def forget(self) -> None:
        """Drops what this process remembers of the journal."""
        with self._lock:
            self._head = None
            self._epochs.clear()
            self._forget_tail()

    def trim(self) -> None:
        """Lets go of the records that are kept in memory; they are read again when they are asked for."""
        with self._lock:
            self._forget_tail()

    def others_wrote(self) -> bool:
        """Whether this process has met commits of another one since it last asked."""
        with self._lock:
            found, self._foreign = self._foreign, False
            return found

    # ------------------------------------------------------------------ rows beside the records

    def checkpoint(self, input_name: str) -> Any:
        """The checkpoint of an input as JSON, or None."""
        row = self._storage.tables.get(self.name, f"c.{input_name}")
        return None if row is None else decode(row.value)

    def checkpoints(self) -> dict[str, Any]:
        return self._prefixed("c.")

    def views(self, prefix: str = "") -> dict[str, Any]:
        """By key; with `prefix`, those whose keys begin so."""
        return self._prefixed("v.", prefix)

    def consistent_views(self) -> tuple[Head, dict[str, Any]]:
        """Head and views of one and the same commit: read head, views, head again."""
        for _ in range(64):
            head = self.head()
            views = self.views()
            if self.head().etag == head.etag:
                return head, views
        raise StorageUnavailable(f"journal {self.name!r} moves too fast for a consistent read of its views")

    def idempotency(self, key: str) -> Any:
        """What was committed under a pushed batch's key, or None."""
        row = self._storage.tables.get(self.name, _idempotency_key(key))
        return None if row is None else decode(row.value)

    @staticmethod
    def idempotency_op(key: str, value: Mapping[str, Any]) -> Op:
        return Op("insert", _idempotency_key(key), encode(dict(value)))

    def attempt(self, input_name: str) -> Any:
        row = self._storage.tables.get(self.name, f"a.{input_name}")
        return None if row is None else decode(row.value)

    def record_attempt(self, input_name: str, value: Mapping[str, Any]) -> None:
        """Durable before the attempt is made: a crash counts too."""
        self._storage.tables.commit(self.name, [Op("upsert", f"a.{input_name}", encode(dict(value)))])
        self._storage.settle()

    @staticmethod
    def view_op(key: str, value: Mapping[str, Any] | None) -> Op:
        return Op("delete", f"v.{key}") if value is None else Op("upsert", f"v.{key}", encode(dict(value)))

    def take_lease(self, owner: str, now_ns: int, until_ns: int) -> bool:
        """True when `owner` may work on this journal until then. Only saves work: commits decide."""
        row = self._storage.tables.get(self.name, "lease")
        if row is not None:
            held = decode(row.value)
            if held["owner"] != owner and held["until_ns"] > now_ns:
                return False
        value = encode({"owner": owner, "until_ns": until_ns})
        op = Op("replace", "lease", value, row.etag) if row else Op("insert", "lease", value)
        try:
            self._storage.tables.commit(self.name, [op])
        except Conflict:
            return False
        return True

    def epoch_row(self, epoch: int) -> Any:
        """`{"identity", "version", "position"}` of an epoch, or None."""
        known = self._epochs.get(epoch)
        if known is None:
            row = self._storage.tables.get(self.name, f"e.{epoch:06d}")
            known = None if row is None else decode(row.value)
            if known is not None:
                self._epochs[epoch] = known
        return known

    def newest_state(self, head: Head) -> StateRow | None:
        if not head.state:
            return None
        row = self._storage.tables.get(self.name, f"s.{head.state:012d}")
        if row is None:
            raise JournalError(
                f"journal {self.name!r}: the head names state {head.state}, which does not exist"
            )
        return StateRow.of(row)

    def states(self) -> list[StateRow]:
        return [StateRow.of(row) for row in self._storage.tables.query(self.name, "s.", "s.~")]

    def _prefixed(self, prefix: str, more: str = "") -> dict[str, Any]:
        rows = self._storage.tables.query(self.name, prefix + more, prefix + more + "~")
        return {row.key[len(prefix) :]: decode(row.value) for row in rows}


def _time_of(line: bytes) -> int:
    return decode_record(line).time_ns


def _ends(row: CommitRow) -> int:
    return row.last_ns


def _as_read(record: Any, epoch: int) -> AnyRecord:
    """What reading the stored bytes gives: a record names the epoch it was committed in.

    A committed record belongs to the journal, so it is marked in place: copying it costs
    more than committing it.
    """
    object.__setattr__(record, "epoch", epoch)
    found: AnyRecord = record
    return found


def _idempotency_key(key: str) -> str:
    return "i." + hashlib.sha256(key.encode()).hexdigest()
