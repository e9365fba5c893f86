"""Blocks: those that stand, and the spans that were blocked, folded from the decisions journal.

A span begins with a block's record and ends with its release, or with the record of the block that took
its place. The newest come first, by (begin, position, id); a cursor names the last one that was given.

The journal is walked backwards from its end in chunks, of which only blocks and releases stay in memory:
what ended a block is what was met last on its scope and policy. A block that began before the moment that
is asked about is found too. One that stands is in the views; a release says when its block began; and the
walk goes on for a chunk beyond that moment, for blocks that others took the place of. Bounded: one look
reads `FRESH` chunks that are not in memory yet, then it gives a cursor to go on from; and it ends after
`MOST` of them: `reaches_ns` says from when on nothing is missing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from observer_core.runtime.reading.lines import Line, backwards
from observer_core.runtime.reading.listing import opened, sealed
from observer_core.shared.canonical import decode
from observer_core.shared.errors import InputError
from observer_core.shared.ids import ref
from observer_core.shared.records import Json
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

CHUNK: Final = 2048
FRESH: Final = 8
MOST: Final = 40
_KEPT: Final = MOST + 8
_NEARBY: Final = 512
"""A block's own record is looked for among so many around the moment that its release names."""
_LOOKUPS: Final = 100
_LIFTED: Final = "override"
_WANTED: Final = (b'"verdict":"block"', b'"verdict":"release"')


class Place(NamedTuple):
    """Where an item stands in the order. `position` 0: its record is further back than was walked."""

    since_ns: int
    position: int
    decision: str

    def text(self) -> str:
        return sealed(f"{self.since_ns} {self.position} {self.decision}")

    @staticmethod
    def of(cursor: str) -> Place:
        """`InputError` for what is no cursor. One that was made up only names another place."""
        since, _, rest = opened(cursor).partition(" ")
        position, space, decision = rest.partition(" ")
        if not space or not all(text.isdecimal() and len(text) < 20 for text in (since, position)):
            raise InputError(f"{cursor[:50]!r} is no cursor; `next` of an earlier answer was expected")
        return Place(int(since), int(position), decision)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Blocks that stood at some time from `since_ns` to `until_ns` on a scope that `takes` it."""

    takes: Callable[[str], bool]
    since_ns: int = 0
    until_ns: int = 2**63
    limit: int = 100
    after: Place | None = None

    def has(self, scope: str, begin_ns: int, end_ns: int | None) -> bool:
        meets = begin_ns <= self.until_ns and (end_ns is None or end_ns >= self.since_ns)
        return meets and self.takes(scope)


class _Mark(NamedTuple):
    """A block or a release as it is kept. `text`: why it is blocked; the code of a release.

    `since_ns` and `block` (its decision's id): what a release ends.
    """

    position: int
    time_ns: int
    begins: bool
    scope: str
    policy: str
    severity: str
    text: str
    until_ns: int | None
    id: str
    since_ns: int
    block: str


class _Chunk(NamedTuple):
    last: int
    first_ns: int
    marks: tuple[_Mark, ...]


def standing(blocks: Iterable[Json], wanted: Wanted) -> Json:
    """`models.BlockPage` of those that stand, from the views: entries with their scope."""
    found = [
        (Place(entry["since_ns"], 0, entry["decision"]), _standing(entry))
        for entry in blocks
        if wanted.has(entry["scope"], entry["since_ns"], None)
    ]
    return _page(found, wanted, None)


class History:
    """Reads spans. Safe from any thread."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._chunks: OrderedDict[tuple[str, int], _Chunk] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, domain: str, blocks: Iterable[Json], wanted: Wanted) -> Json:
        """`models.BlockPage`. `blocks`: those that stand, as the views have them, with their scope."""
        journal = self._journals.open(f"decisions.{domain}")
        walk = _Walk(self, journal, wanted)
        found = walk.spans()
        if walk.stopped is None and len(found) <= wanted.limit:  # what is known without having walked there
            found += walk.older(blocks)
        return _page(found, wanted, walk.stopped, walk.reaches_ns)

    def chunk(self, journal: Journal, number: int, last: int) -> tuple[_Chunk, bool]:
        """The chunk up to position `last`, and whether more than a little had to be read for it."""
        key, first = (journal.name, number), number * CHUNK + 1
        last = min(last, first + CHUNK - 1)
        with self._lock:
            kept = self._chunks.get(key)
            if kept is not None:
                self._chunks.move_to_end(key)
        if kept is not None and kept.last == last:
            return kept, False
        if kept is None or kept.last > last:  # the journal was cut
            kept = _Chunk(first - 1, 0, ())
        lines = list(backwards(journal, kept.last + 1, last))[::-1]
        marks = (mark for line in lines for mark in _mark(line))
        chunk = _Chunk(last, kept.first_ns or lines[0].time_ns, (*kept.marks, *marks))
        with self._lock:
            self._chunks[key] = chunk
            self._chunks.move_to_end(key)
            while len(self._chunks) > _KEPT:
                self._chunks.popitem(last=False)
        return chunk, kept.last < first


class _Walk:
    """One look. `stopped`: where to go on, when it had read enough; `reaches_ns`: when it may not go on."""

    def __init__(self, history: History, journal: Journal, wanted: Wanted) -> None:
        self._history, self._journal, self._wanted = history, journal, wanted
        self._ends: dict[tuple[str, str], _Mark] = {}
        """The earliest known of each scope and policy."""
        self.stopped: Place | None = None
        self.reaches_ns: int | None = None

    def spans(self) -> list[tuple[Place, Json]]:
        """Of the blocks whose own record was walked over: one more than is wanted at most."""
        after, marks = self._wanted.after, (m for chunk in self._walked() for m in reversed(chunk.marks))
        spans = (span for mark in marks for span in self._met(mark))
        wanted = spans if after is None else (span for span in spans if span[0] < after)
        return list(islice(wanted, self._wanted.limit + 1))

    def older(self, blocks: Iterable[Json]) -> list[tuple[Place, Json]]:
        """Those of which only the end was met, or nothing because they stand."""
        found = [
            (Place(entry["since_ns"], 0, entry["decision"]), _standing(entry))
            for entry in blocks
            if (entry["scope"], entry["policy"]) not in self._ends
            and self._wanted.has(entry["scope"], entry["since_ns"], None)
        ]
        lookups = _LOOKUPS
        for end in self._ends.values():
            if end.begins or not end.block or not self._wanted.has(end.scope, end.since_ns, end.time_ns):
                continue
            lookups -= 1
            begin = self._begin_of(end) if lookups >= 0 else None
            mark = begin or end._replace(time_ns=end.since_ns, text="", id=end.block, until_ns=None)
            found.append((Place(end.since_ns, 0, end.block), self._span(mark, end)))
        return found

    def _walked(self) -> Iterator[_Chunk]:
        """From the newest back as far as it is worth it."""
        journal, wanted, fresh, beyond = self._journal, self._wanted, 0, False
        last = journal.head().position
        numbers = range((last - 1) // CHUNK, -1, -1) if last else range(0)
        before: _Chunk | None = None
        for walked, number in enumerate(numbers):
            if walked >= MOST and before is not None:
                self.reaches_ns = before.first_ns
                return
            if fresh >= FRESH and before is not None:
                self.stopped = Place(before.first_ns, (number + 1) * CHUNK + 1, "")
                return
            before, is_fresh = self._history.chunk(journal, number, last)
            fresh += is_fresh
            yield before
            if beyond:
                return
            beyond = before.first_ns < wanted.since_ns

    def _met(self, mark: _Mark) -> Iterator[tuple[Place, Json]]:
        key = mark.scope, mark.policy
        end = self._ends.get(key)
        self._ends[key] = mark
        if mark.begins and self._wanted.has(mark.scope, mark.time_ns, None if end is None else end.time_ns):
            yield Place(mark.time_ns, mark.position, mark.id), self._span(mark, end)

    def _span(self, begin: _Mark, end: _Mark | None) -> Json:
        return {
            "scope": begin.scope, "policy": begin.policy, "reason": begin.text, "severity": begin.severity,
            "since_ns": begin.time_ns, "until_ns": begin.until_ns,
            "released_ns": None if end is None else end.time_ns,
            "released_by": None if end is None else ref(self._journal.name, end.position),
            "decision": begin.id, "lifted": end is not None and not end.begins and end.text == _LIFTED,
        }  # fmt: skip

    def _begin_of(self, end: _Mark) -> _Mark | None:
        last = self._journal.position_at(end.since_ns)
        for line in backwards(self._journal, max(1, last - _NEARBY + 1), last):
            if line.time_ns < end.since_ns:
                return None
            if end.block.encode() in line.raw:
                return next((mark for mark in _mark(line) if mark.id == end.block), None)
        return None


def _mark(line: Line) -> Iterator[_Mark]:
    """What is kept of a decision, if it is a block or ends one."""
    if not any(text in line.raw for text in _WANTED):
        return
    value = decode(line.raw)
    verdict, policy = value.get("verdict"), value.get("policy")
    if value.get("kind") != "decision" or verdict not in ("block", "release") or policy == _LIFTED:
        return
    reason = value["reasons"][0] if value["reasons"] else {}
    begins = verdict == "block"
    yield _Mark(
        position=line.position, time_ns=value["time_ns"], begins=begins, scope=value["scope"], policy=policy,
        severity=value["severity"], text=str(reason.get("text" if begins else "code", "")),
        until_ns=value["until_ns"], id=value["id"] if begins else "",
        since_ns=0 if begins else int(value["evidence"].get("since_ns") or 0),
        block="" if begins else str(value["evidence"].get("block") or ""),
    )  # fmt: skip


def _standing(entry: Json) -> Json:
    names = ("scope", "policy", "reason", "severity", "since_ns", "until_ns", "decision")
    ended: Json = {"released_ns": None, "released_by": None, "lifted": False}
    return {**{name: entry[name] for name in names}, **ended}


def _page(
    found: Sequence[tuple[Place, Json]], wanted: Wanted, stopped: Place | None, reaches_ns: int | None = None
) -> Json:
    after = wanted.after
    left = sorted(
        (item for item in found if after is None or item[0] < after),
        key=lambda item: item[0], reverse=True,
    )  # fmt: skip
    shown = left[: wanted.limit]
    more: Any = shown[-1][0] if len(left) > len(shown) and shown else stopped
    return {
        "items": [item for _, item in shown], "next": None if more is None else more.text(),
        "reaches_ns": reaches_ns,
    }  # fmt: skip
