"""Which records of the journals that do not last are cited by those that do, however many steps away.

A decision cites the event that it follows from, that one its pattern, that one its snapshot; an answer
of the gate what it rests on. The citing journals (`roots`) are read once, from where the last look ended;
what they cite is followed through journals that are no roots, and kept as positions: a few bytes each.
It is an index and nothing more: whenever it does not fit the journals, it is made anew.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from array import array
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import ChainBroken, Conflict, NotFound
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import hash_at
from observer_core.storage.ports import Op
from observer_core.storage.rows import GENESIS

PARTITION: Final = "retention"
_KEY: Final = "citations"
_REF: Final = re.compile(rb'"([a-z0-9_-]+\.[a-z0-9_-]+)@(\d{1,18})"')
_BY_ID: Final = re.compile(rb'"(?:decision|block)":"([0-9a-f]{32})"')
_NOT_FOLLOWED: Final = ("snapshots", "clock")
"""Kinds that end a chain: what they cite is a part of themselves."""
_AT_ONCE: Final = 100_000
_NEAR: Final = 200
"""Wanted lines so near to one another are read in one go."""
Positions = NDArray[np.int64]
_NONE: Final = np.empty(0, np.int64)


class Citations:
    """What is cited of the journals `tracked`. `lines` have to stay readable, of `points` the hash."""

    def __init__(self, journals: Journals, kinds: Collection[str], tracked: Collection[str]) -> None:
        self._journals = journals
        self._kinds, self._tracked = frozenset(kinds), frozenset(tracked)
        self._names = frozenset(journals.names())
        self._bases = {name: journals.open(name).base().position for name in self._names}
        self._by_id = any(name.startswith("decisions.") for name in self._tracked)
        self._blob = ""
        self._etag = ""
        self._empty()
        self._load()

    def lines(self, journal: str) -> Positions:
        return self._found["lines"].get(journal, _NONE)

    def points(self, journal: str) -> Positions:
        return self._found["points"].get(journal, _NONE)

    @property
    def ids(self) -> frozenset[bytes]:
        """Of decisions that others name by their id."""
        return frozenset(self._ids)

    def bring_forward(self) -> None:
        """Reads what the roots have recorded since, and follows what that cites."""
        for name in sorted(self._names):
            if name.partition(".")[0] not in self._kinds:
                continue
            journal = self._journals.open(name)
            head = journal.head()
            after = self._through.get(name, (0, GENESIS))[0]
            if after < self._bases[name]:
                for kept in journal.excerpts.between(after + 1, self._bases[name]):
                    if kept.line is not None:
                        self._take(name, kept.line)
            for row, lines in journal.raw(after + 1, head.position) if head.position > after else ():
                for position, line in enumerate(lines, row.first):
                    if after < position <= head.position:
                        self._take(name, line)
            self._through[name] = head.position, head.hash
        self._follow()
        self._settle()

    def save(self) -> None:
        """Keeps it for the next run; what is before the bases is not looked for again."""
        storage = self._journals.storage
        self._bases = {name: self._journals.open(name).base().position for name in self._names}
        for found in self._found.values():
            for name, positions in found.items():
                found[name] = positions[positions > self._bases.get(name, 0)]
        data = encode({
            "of": self._identity(), "ids": sorted(one.decode() for one in self._ids),
            "through": {name: [position, digest.hex()] for name, (position, digest) in self._through.items()},
            **{
                kind: {name: _packed(positions) for name, positions in found.items() if len(positions)}
                for kind, found in self._found.items()
            },
        })  # fmt: skip
        blob = f"{PARTITION}/citations-{hashlib.sha256(data).hexdigest()}"
        if blob == self._blob:
            return
        storage.blobs.put(blob, data)
        value = encode({"blob": blob})
        op = Op("replace", _KEY, value, self._etag) if self._etag else Op("insert", _KEY, value)
        try:
            (self._etag,) = storage.tables.commit(PARTITION, [op])
        except Conflict:
            storage.blobs.delete(blob)  # somebody else's is as good
            return
        before, self._blob = self._blob, blob
        if before:
            storage.blobs.delete(before)

    # ------------------------------------------------------------------ reading

    def _take(self, journal: str, line: bytes) -> None:
        for name, position in _REF.findall(line):
            self._cited(name.decode(), int(position))
        if self._by_id:
            self._ids.update(_BY_ID.findall(line))
        if journal.startswith("gate."):
            self._rested(decode(line))

    def _cited(self, name: str, position: int, kind: str = "lines") -> None:
        if name not in self._names:
            return
        if name in self._tracked and position > self._bases[name]:
            self._new[kind][name].append(position)
        follow = name.partition(".")[0] not in self._kinds and not name.startswith(_NOT_FOLLOWED)
        if kind == "lines" and follow:
            self._pending[name].append(position)
            if len(self._pending[name]) >= _AT_ONCE:
                self._follow()
        if len(self._new[kind][name]) >= _AT_ONCE:
            self._settle()

    def _rested(self, answer: Mapping[str, Any]) -> None:
        rests = answer.get("rests", {})
        for name, position in rests.items():
            self._cited(name, position, "points")
        for reason in answer.get("reasons", ()):
            name = f"snapshots.{reason.get('source')}"
            if name in rests:
                self._cited(name, rests[name])

    def _follow(self) -> None:
        """What is cited by what was cited; ends, because causes are older."""
        while self._pending:
            name, positions = self._pending.popitem()
            for line in self._read(self._journals.open(name), np.unique(np.array(positions, np.int64))):
                self._take(name, line)

    def _read(self, journal: Journal, positions: Positions) -> Iterator[bytes]:
        base = self._bases[journal.name]
        for position in positions[positions <= base]:
            kept = journal.excerpts.find(int(position))
            if kept is not None and kept.line is not None:
                yield kept.line
        for wanted in _runs(positions[positions > base]):
            among = set(wanted.tolist())
            for row, lines in journal.raw(int(wanted[0]), int(wanted[-1])):
                yield from (line for position, line in enumerate(lines, row.first) if position in among)

    def _settle(self) -> None:
        for kind, new in self._new.items():
            for name, positions in new.items():
                fresh = np.array(positions, np.int64)
                self._found[kind][name] = np.union1d(self._found[kind].get(name, _NONE), fresh)
            new.clear()

    # ------------------------------------------------------------------ keeping

    def _empty(self) -> None:
        self._through: dict[str, tuple[int, bytes]] = {}
        self._found: dict[str, dict[str, Positions]] = {"lines": {}, "points": {}}
        self._new: dict[str, dict[str, array[int]]] = {
            kind: defaultdict(lambda: array("q")) for kind in self._found
        }
        self._pending: dict[str, array[int]] = defaultdict(lambda: array("q"))
        self._ids: set[bytes] = set()

    def _load(self) -> None:
        storage = self._journals.storage
        row = storage.tables.get(PARTITION, _KEY)
        if row is None:
            return
        self._etag, self._blob = row.etag, decode(row.value)["blob"]
        try:
            value = decode(storage.blobs.get(self._blob))
        except NotFound:
            return
        if value["of"] != self._identity() or not all(map(self._agrees, value["through"].items())):
            return
        self._through = {name: (at, bytes.fromhex(digest)) for name, (at, digest) in value["through"].items()}
        self._ids = {one.encode() for one in value["ids"]}
        for kind, found in self._found.items():
            found.update((name, _unpacked(text)) for name, text in value[kind].items())

    def _agrees(self, item: tuple[str, tuple[int, str]]) -> bool:
        """Whether a journal is still the one that was read: not cut, restored or written anew."""
        name, (position, digest) = item
        try:
            return name in self._names and hash_at(self._journals.open(name), position).hex() == digest
        except (NotFound, ChainBroken):
            return False

    def _identity(self) -> list[list[str]]:
        return [sorted(self._kinds), sorted(self._tracked)]


def _runs(positions: Positions) -> Iterable[Positions]:
    return np.split(positions, np.flatnonzero(np.diff(positions) > _NEAR) + 1) if len(positions) else ()


def _packed(positions: Positions) -> str:
    return b64encode(zlib.compress(np.diff(positions, prepend=0).astype("<i8").tobytes())).decode()


def _unpacked(text: str) -> Positions:
    return np.cumsum(np.frombuffer(zlib.decompress(b64decode(text)), "<i8"), dtype=np.int64)
