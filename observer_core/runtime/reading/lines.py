"""Stored records as bytes with the place where they lie, forwards or backwards, not decoded.

Backwards they are read in steps whose size is bounded in records, commits and bytes; a commit is read
once, however many records it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from observer_core.shared.canonical import Fragment
from observer_core.shared.clock import format_time, parse_time
from observer_core.shared.errors import NotFound
from observer_core.shared.ids import ref
from observer_core.shared.records import AnyRecord, Json, decode_record
from observer_core.storage.archive.excerpts import Kept
from observer_core.storage.journal import Journal
from observer_core.storage.rows import CommitRow

Maybe = Callable[[bytes], bool]

_FIRST_STEP, _LONGEST_STEP = 2, 1000
_STEP_BYTES: Final = 256 * 1024
_COMMITS, _LEAST_COMMITS = 4, 16
"""Commits looked at for each record wanted, at most: a stage that finds nothing commits too."""
_TIME_NS: Final = re.compile(rb'"time_ns":(\d+)(?:,"until_ns":(?:\d+|null),"verdict":"[a-z_]+")?\}')
_EVENT_TIME: Final = re.compile(rb'"time":"([^"]+)","type":"[^"\\]+"\}')
_SNAPSHOT_TIME: Final = re.compile(rb'"ingest_ns":(\d+),"kind":"snapshot",')


class Line(NamedTuple):
    """A stored record as bytes, and where they are: `segment` from byte `offset` on."""

    time_ns: int
    journal: str
    position: int
    raw: bytes
    segment: str
    offset: int

    @property
    def is_end(self) -> bool:
        """No record: behind this one's place was not looked."""
        return not self.raw

    @property
    def record(self) -> AnyRecord:
        return decode_record(self.raw)

    @property
    def ref(self) -> str:
        return ref(self.journal, self.position)

    def item(self) -> Json:
        """`models.RecordItem`: the stored bytes as they are."""
        return {
            "ref": self.ref, "journal": self.journal, "position": self.position,
            "time": format_time(self.time_ns), "record": Fragment(self.raw),
        }  # fmt: skip


class Budget:
    """How much may be looked at still."""

    __slots__ = ("bytes", "records")

    def __init__(self, records: int, size: int) -> None:
        self.records, self.bytes = records, size

    def take(self, records: int, size: int) -> None:
        """So many were looked at."""
        self.records -= records
        self.bytes -= size

    @property
    def spent(self) -> bool:
        return self.records <= 0 or self.bytes <= 0


def everything(_: bytes) -> bool:
    return True


def line_at(journal: Journal, position: int) -> Line:
    """The record at `position`; `NotFound` when there is none, `Pruned` when retention has removed it."""
    for line in forwards(journal, position, position):
        return line
    kept = journal.excerpt(position)
    if kept is None:
        raise journal.missing(position)
    return _kept(journal.name, kept)


def _kept(journal: str, kept: Kept) -> Line:
    """A record of a stretch that retention has removed."""
    line = kept.line or b""
    return Line(time_of(line), journal, kept.position, line, kept.file, kept.offset)


def forwards(journal: Journal, first: int, last: int) -> Iterator[Line]:
    """Records first..last, oldest first."""
    for row, lines in journal.raw(first, last):
        offset, same = row.offset, _time_of_all(row)
        for position, raw in enumerate(lines, row.first):
            if first <= position <= last:
                time_ns = time_of(raw) if same is None else same
                yield Line(time_ns, journal.name, position, raw, row.segment, offset)
            offset += len(raw) + 1


def backwards(
    journal: Journal, first: int, last: int, maybe: Maybe = everything, budget: Budget | None = None
) -> Iterator[Line]:
    """Records last..first, newest first, for which `maybe` holds; and in any case the oldest of each step.

    Where retention has removed what is further back, the excerpts of that come last, without such a promise.
    So whoever stops at one that he was given knows that all newer ones were looked at. `budget` is told how
    much that was; once it is spent the last line has no bytes (`is_end`), and no more was looked at.
    """
    step, share = _FIRST_STEP, 1.0
    oldest: Line | None = None
    while last >= first:
        if budget is not None and budget.spent and oldest is not None:
            yield oldest._replace(raw=b"")
            return
        start = max(first, last - step + 1)
        commits = None if start == last else max(_LEAST_COMMITS, int(_COMMITS * step / share))
        found = _step(journal, first, start, last, maybe, commits)
        if not found.commits:
            if last <= journal.base().position:
                yield from _excerpts(journal, first, last, maybe, budget)
                return
            if start == last:
                raise NotFound("entry", ref(journal.name, last))  # cut meanwhile
            step, share = max(1, step // 4), 1.0
            continue
        looked = last - found.oldest + 1
        if budget is not None:
            budget.take(looked, found.size)
        yield from reversed(found.lines)
        oldest, share = found.lines[0], looked / found.commits
        step = max(1, min(_LONGEST_STEP, 4 * step, _STEP_BYTES * looked // max(1, found.size)))
        last = found.oldest - 1


def _excerpts(
    journal: Journal, first: int, last: int, maybe: Maybe, budget: Budget | None
) -> Iterator[Line]:  # fmt: skip
    for kept in journal.excerpts.backwards(first, last):
        if kept.line is not None and maybe(kept.line):
            if budget is not None:
                budget.take(1, len(kept.line))
            yield _kept(journal.name, kept)


class _Step(NamedTuple):
    """What was found, the oldest position that was looked at, and how much that was."""

    lines: list[Line]
    oldest: int
    size: int
    commits: int


def _step(
    journal: Journal, first: int, start: int, last: int, maybe: Maybe, commits: int | None
) -> _Step:  # fmt: skip
    """Records start..last, and those in front, from `first` on, that share a commit with them.

    No commits where there were more of them than so many, most of them without records.
    """
    lines: list[Line] = []
    oldest, size, count, reached = 0, 0, 0, 0
    for row, raws in journal.raw(start, last, commits=commits):
        oldest = oldest or max(first, row.first)
        offset, same = row.offset, _time_of_all(row)
        for position, raw in enumerate(raws, row.first):
            if (maybe(raw) or position == oldest) and first <= position <= last:
                time_ns = time_of(raw) if same is None else same
                lines.append(Line(time_ns, journal.name, position, raw, row.segment, offset))
            offset += len(raw) + 1
        size, count, reached = size + row.length, count + 1, row.last
    return _Step(lines, oldest, size, count if reached >= last else 0)


def _time_of_all(row: CommitRow) -> int | None:
    """The time of all records of a commit, where they have the same."""
    return row.first_ns if row.first_ns == row.last_ns else None


def time_of(raw: bytes) -> int:
    """`time_ns` of a stored record, from its bytes; decoded only where they do not show it.

    Keys are sorted, so it stands at a known place: of a snapshot right before its kind, of any other
    record before plain values that end it.
    """
    if (start := raw.rfind(b'"time_ns":')) >= 0 and (found := _TIME_NS.fullmatch(raw, start)):
        return int(found[1])
    if (start := raw.rfind(b'"time":"')) >= 0 and (found := _EVENT_TIME.fullmatch(raw, start)):
        return parse_time(found[1].decode())
    if raw.endswith(b"]}") and (found := _SNAPSHOT_TIME.match(raw, raw.find(b'"ingest_ns":'))):
        return int(found[1])
    return decode_record(raw).time_ns
