"""Legal holds: what they cover is not removed by anybody until they are ended.

A hold is a record in the operations journal, and stands as a view beside it from the same transaction
on. Whoever is about to remove something of a journal that a new hold covers fails: the mark that it read
before it looked at the holds is another one now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from observer_core.shared.clock import format_time
from observer_core.shared.errors import Conflict, InputError
from observer_core.shared.ids import derive, ref
from observer_core.shared.records import Json, Note
from observer_core.storage.archive.packs import MARK, marked
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.recovery import OPERATIONS

VIEW: Final = "hold."
_ID: Final = 12


@dataclass(frozen=True, slots=True)
class Hold:
    """Records of journals that fit one of the globs, from `from_ns` to `to_ns` (None: any time).

    `since_ns`, `author`, `principal`, `reason`: who has asked for it, when and why; `ref`: where that stands.
    """

    id: str
    journals: tuple[str, ...]
    from_ns: int | None
    to_ns: int | None
    since_ns: int
    author: str
    reason: str
    principal: str = ""
    ref: str = ""

    def takes(self, journal: str) -> bool:
        return any(fnmatchcase(journal, glob) for glob in self.journals)

    def covers(self, journal: str, first_ns: int, last_ns: int) -> bool:
        """Whether any record between the two moments is held."""
        after = self.from_ns is None or last_ns >= self.from_ns
        before = self.to_ns is None or first_ns <= self.to_ns
        return self.takes(journal) and after and before

    @property
    def text(self) -> str:
        since = "the beginning" if self.from_ns is None else format_time(self.from_ns)
        until = "the end" if self.to_ns is None else format_time(self.to_ns)
        return f"hold {self.id} on {', '.join(self.journals)} from {since} to {until}"

    def to_json(self) -> Json:
        return {
            "id": self.id, "journals": list(self.journals), "from_ns": self.from_ns, "to_ns": self.to_ns,
            "since_ns": self.since_ns, "author": self.author, "reason": self.reason,
            "principal": self.principal, "ref": self.ref,
        }  # fmt: skip

    @staticmethod
    def of(value: Json) -> Hold:
        return Hold(**{**value, "journals": tuple(value["journals"])})


def standing(journals: Journals) -> list[Hold]:
    """The holds that were not ended, oldest first."""
    views: dict[str, Any] = journals.open(OPERATIONS).views(VIEW)
    return sorted(map(Hold.of, views.values()), key=lambda hold: (hold.since_ns, hold.id))


def add(
    journals: Journals, globs: Sequence[str], *, author: str, reason: str, now_ns: int,
    from_ns: int | None = None, to_ns: int | None = None, principal: str = "",
) -> Hold:  # fmt: skip
    """Durable when it returns, and nothing that it covers is removed from then on."""
    if from_ns is not None and to_ns is not None and from_ns > to_ns:
        raise InputError(f"the hold would end at {format_time(to_ns)}, before it begins")
    names = journals.names()
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            raise InputError(f"no journal fits {glob!r}; there are {', '.join(names)}")
    identity = derive("hold", *globs, author, reason, now_ns)[:_ID]
    hold = Hold(identity, tuple(globs), from_ns, to_ns, now_ns, author, reason, principal)
    hold = _record(journals, "add", hold, now_ns, hold.to_json())
    for name in names:
        if hold.takes(name):
            _fence(journals, name)
    return hold


def end(
    journals: Journals, identity: str, *, author: str, reason: str, now_ns: int, principal: str = ""
) -> Hold:  # fmt: skip
    """Ends a hold; what only it has kept may go from then on. `InputError` when it does not stand."""
    for hold in standing(journals):
        if hold.id == identity:
            said = {"id": hold.id, "author": author, "reason": reason, "principal": principal}
            return _record(journals, "end", hold, now_ns, said)
    raise InputError(f"there is no hold {identity!r}; `observer retention hold ls` lists them")


def _record(journals: Journals, action: str, hold: Hold, now_ns: int, said: Json) -> Hold:
    journal = journals.open(OPERATIONS, "operations")
    while True:
        head = journal.head()
        if action == "end" and hold.id not in {one.id for one in standing(journals)}:
            raise InputError(f"hold {hold.id!r} was ended by somebody else just now")
        placed = Hold.of({**hold.to_json(), "ref": ref(OPERATIONS, head.position + 1)})
        body = {"action": action, **said, **({"ref": placed.ref} if action == "add" else {})}
        note = Note(kind="hold", time_ns=max(head.time_ns, now_ns), body=body)
        view = placed.to_json() if action == "add" else None
        try:
            journal.commit(head, Commit(records=[note], views={f"{VIEW}{hold.id}": view}))
        except Conflict:
            continue
        journals.sync()  # before anybody is told
        return placed if action == "add" else hold


def _fence(journals: Journals, name: str) -> None:
    tables = journals.storage.tables
    while True:
        try:
            tables.commit(name, [marked(tables.get(name, MARK))])
            return
        except Conflict:
            continue
