"""Records by their ref or id. An id says nothing of where its record lies, so the newest are looked at.

What has been found, or listed, is remembered. A decision that stands (a block, an override) is found
however old it is: the views say when it was made.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final

from observer_core.runtime.acts.ground import Unknown
from observer_core.runtime.audit.stored import Stored, id_of
from observer_core.runtime.reading.lines import Budget, Line, forwards, line_at
from observer_core.runtime.reading.listing import Range, newest_lines
from observer_core.shared.errors import InputError
from observer_core.shared.ids import parse_ref
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals

LOOKED: Final = 200_000
SCANNED: Final = 256 * 1024 * 1024
REMEMBERED: Final = 4096
LEAST: Final = 8
"""Of an id so much has to be given at least."""
WHOLE: Final = 32
Named = Callable[[Line, str], str | None]
"""The id that a record is known by, if it begins so."""
_ID: Final = re.compile(rf"[0-9a-f]{{{LEAST},{WHOLE}}}")


class Finder:
    """For any thread."""

    def __init__(self, journals: Journals) -> None:
        self._journals = journals
        self._known: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()
        self._lock = threading.Lock()

    def let_go(self) -> None:
        """Of what is remembered."""
        with self._lock:
            self._known.clear()

    def of_ref(self, text: str, kinds: tuple[str, ...] = ()) -> Line:
        """The record at `journal@position`, of one of these kinds if some are given; `Unknown` else."""
        try:
            name, position = parse_ref(text)
        except ValueError:
            raise InputError(f"{text[:80]!r} is not JOURNAL@POSITION") from None
        if kinds and name.partition(".")[0] not in kinds:
            expected = " or ".join(f"{kind}.DOMAIN@N" for kind in kinds)
            raise InputError(f"{text[:80]!r} is in another journal; expected {expected}, or an id")
        if self._journals.domain_of(name) is None:
            raise Unknown(f"there is no journal {name[:80]!r}")
        journal = self._journals.open(name)
        last = journal.head().position
        if not 1 <= position <= last:
            raise Unknown(f"{name} has records 1 to {last}, {position} is none of them")
        return line_at(journal, position)

    def find(self, kind: str, text: str) -> Line:
        """The record of a kind by its ref, its id, or the beginning of its id."""
        if "@" in text:
            return self.of_ref(text, (kind,))
        identity = checked(text, f"{kind}.DOMAIN@N, or ")
        found = self.remembered(kind, identity) or self._standing(kind, identity)
        if found is None:
            found = self.search(kind, identity, kind, id_of)
            self.remember(kind, str(id_of(found, identity)), found)
        return found

    def of_decision(self, identity: str, journal: str, since_ns: Any) -> Stored:
        """The decision of an id in its journal, made at `since_ns` if that is known."""
        if isinstance(since_ns, int):
            for line in _at_time(self._journals.open(journal), since_ns):
                if id_of(line, identity) == identity:
                    return Stored.of(line)
        line = self.find("decisions", identity)
        if line.journal != journal:
            raise InputError(f"decision {identity} is in {line.journal}, it was expected in {journal}")
        return Stored.of(line)

    def remember(self, kind: str, identity: str, line: Line) -> None:
        """It is found at once from now on, until many others were."""
        with self._lock:
            self._known[kind, identity] = line.journal, line.position
            self._known.move_to_end((kind, identity))
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def remembered(self, kind: str, identity: str, named: Named = id_of) -> Line | None:
        """What `remember` was told of a whole id."""
        with self._lock:
            place = self._known.get((kind, identity))
            if place is None:
                return None
            self._known.move_to_end((kind, identity))
        journal = self._journals.open(place[0])
        if place[1] > journal.head().position:
            return None  # cut since
        line = line_at(journal, place[1])
        return line if named(line, identity) == identity else None

    def _standing(self, kind: str, identity: str) -> Line | None:
        if kind != "decisions" or len(identity) < WHOLE:
            return None
        for journal in map(self._journals.open, self._journals.names(kind)):
            for since_ns in _since(journal.views(), identity):
                for line in _at_time(journal, since_ns):
                    if id_of(line, identity) == identity:
                        return line
        return None

    def search(self, what: str, identity: str, kind: str, named: Named) -> Line:
        """The newest record of a kind that `named` knows by this id; `Unknown` where there is none."""
        journals = [self._journals.open(name) for name in self._journals.names(kind)]
        budget = Budget(LOOKED, SCANNED)
        found: dict[str, Line] = {}
        ranges = [Range(journal, 1, journal.head().position) for journal in journals]
        begins = identity.encode()
        for line in newest_lines(ranges, lambda raw: begins in raw, budget):
            whole = named(line, identity)
            if whole is not None:
                found.setdefault(whole, line)
            if whole == identity or line.is_end:
                break
        if len(found) > 1:
            some = ", ".join(list(found)[:5])
            raise InputError(f"{len(found)} {what} begin with {identity!r} ({some}, …); give more of the id")
        for line in found.values():
            return line
        where = f" in the newest {LOOKED - budget.records:,} {kind}" if budget.spent else ""
        raise Unknown(f"there is no {what.removesuffix('s')} whose id begins with {identity!r}{where}")


def checked(text: str, also: str = "") -> str:
    """An id, or the beginning of one; `InputError` otherwise."""
    identity = text.lower()
    if not _ID.fullmatch(identity):
        raise InputError(f"{text[:80]!r} is no id; expected {also}{LEAST} to {WHOLE} hex digits of an id")
    return identity


def _at_time(journal: Journal, time_ns: int) -> Iterator[Line]:
    """The records of a moment."""
    first, last = journal.position_at(time_ns - 1) + 1, journal.position_at(time_ns)
    return forwards(journal, first, last) if first <= last else iter(())


def _since(value: Any, identity: str) -> Iterator[int]:
    """When a decision was made, as far as these views tell of it."""
    if isinstance(value, dict):
        since_ns = value.get("since_ns")
        if value.get("decision") == identity and isinstance(since_ns, int):
            yield since_ns
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _since(item, identity)
