"""Is a backup whole, and does it hold what its manifest says? From the backup alone, or beside the store.

Everything is read again and hashed; the chain of every journal is computed from its first record
and compared with the head that the manifest gives. Encrypted ones whose identity is not given are checked as
far as that goes: every file is there and is byte for byte what was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from observer_core.backup.manifest import Body, Catalogue, End, Manifest, PageRef, Part
from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.stretches import listed, opened, read_page
from observer_core.backup.vault import Vault
from observer_core.shared.errors import InputError, JournalError, NotFound, StorageCorrupt
from observer_core.storage.archive.excerpts import Excerpt, unpack
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import hash_at
from observer_core.storage.ports import Row
from observer_core.storage.rows import Base


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `backup`: its number (0: with all of them); `journal` where it is of one."""

    backup: int
    journal: str
    detail: str
    name: str = ""
    """The content that is damaged."""


@dataclass(slots=True)
class Checked:
    """What was checked. `depth`: `content`, or only the `files` (encrypted), or only the `outside`."""

    number: int
    time_ns: int
    depth: str = "content"
    journals: int = 0
    records: int = 0
    contents: int = 0
    size: int = 0
    digest: str = ""
    findings: list[Finding] = field(default_factory=list)


class Verifier:
    """Checks one backup after another; what they have in common, once."""

    def __init__(
        self, vault: Vault, live: Journals | None = None, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self._vault, self._live, self._tell = vault, live, tell
        self._sound: set[tuple[str, End, End]] = set()
        self._seen: set[str] = set()

    def check(self, manifest: Manifest) -> Checked:
        checked = Checked(manifest.number, manifest.time_ns)
        try:
            self._objects = self._vault.objects(manifest.seal)
        except InputError:
            checked.depth = "outside"
            return checked
        try:
            body = manifest.body(self._objects.seal)
        except (StorageCorrupt, InputError, KeyError, TypeError, ValueError) as error:
            checked.findings.append(Finding(manifest.number, "", f"its body cannot be read: {error!r}"))
            return checked
        if not self._objects.seal.opens:
            checked.depth = "files"
        if manifest.seal is not None:
            try:
                self._vault.check_key(manifest.seal)
            except Damaged as error:
                checked.findings.append(Finding(manifest.number, "", str(error)))
        for name, part in body.journals.items():
            self._tell(name)
            self._journal(checked, name, part)
        for name, ref in body.waiting:
            self._content(checked, name, ref)
        self._compare(checked, body)
        return checked

    def _compare(self, checked: Checked, body: Body) -> None:
        checked.digest = body.digest
        for name, part in body.journals.items():
            if part.fault is not None:
                detail = f"the store was broken when it was made, and it ends there: {part.fault}"
                self._found(checked, name, detail)
            elif (part.end.position, part.end.hash) != (part.head.position, part.head.hash):
                self._found(checked, name, "its commits do not end where its head stands")
            if self._live is not None:
                self._beside(checked, name, part)

    def _beside(self, checked: Checked, name: str, part: Part) -> None:
        """The store as it is now: it must still have what it had."""
        assert self._live is not None
        journal = self._live.open(name)
        position = journal.head().position
        if position < part.end.position:
            self._found(checked, name, f"the store has {position} records, it had {part.end.position}")
            return
        try:
            same = hash_at(journal, part.end.position) == part.end.hash
        except (JournalError, NotFound) as error:
            self._found(checked, name, f"the store cannot be compared: {error}")
            return
        if not same:
            detail = f"the store's first {part.end.position} records are not those that were backed up"
            self._found(checked, name, detail)

    def _found(self, checked: Checked, journal: str, detail: str, name: str = "") -> None:
        checked.findings.append(Finding(checked.number, journal, detail, name))

    # ------------------------------------------------------------------ one journal

    def _journal(self, checked: Checked, name: str, part: Part) -> None:
        checked.journals += 1
        base = Base() if part.base is None else Base.of(Row("", part.base.encode(), ""))
        end = part.start
        if end != End(base.seq, base.position, base.hash):
            detail = f"it begins behind commit {end.seq}; said to be removed is up to commit {base.seq}"
            self._found(checked, name, detail)
        for page in part.pages:
            if page.before != end:
                self._found(checked, name, f"a page begins at commit {page.before.seq}, not {end.seq}")
            if (page.ref.name, page.before, page.end) not in self._sound:
                self._page(checked, name, page)
            end = page.end
        if end != part.end:
            self._found(checked, name, f"its pages end at commit {end.seq}, not {part.end.seq}")
        checked.records += part.end.position - part.start.position
        for ref in self._refs(checked, name, part):
            self._content(checked, name, ref)

    def _refs(self, checked: Checked, name: str, part: Part) -> Iterator[Ref]:
        yield from part.sides
        for list_ in (part.states, part.excerpts):
            try:
                rows = listed(list_, self._objects) if list_ is not None else []
            except Damaged as error:
                self._found(checked, name, str(error), error.name)
                continue
            yield from (ref for _, ref in rows)
            if list_ is part.excerpts and self._objects.seal.opens:
                for row, ref in rows:
                    self._excerpt(checked, name, Excerpt.of(row), ref)

    def _excerpt(self, checked: Checked, name: str, excerpt: Excerpt, ref: Ref) -> None:
        """What was kept of removed records: each hashes to what it says."""
        try:
            data = self._objects.get(ref)
            kept = list(unpack(data, excerpt.file.name))
        except (Damaged, StorageCorrupt):
            return  # it is told where contents are checked
        same = hashlib.sha256(data).hexdigest() == excerpt.file.sha256
        if not same or not all(item.is_sound for item in kept):
            where = f"what was kept of positions {excerpt.first} to {excerpt.last}"
            self._found(checked, name, f"{where} does not hash to what was written", ref.name)

    def _page(self, checked: Checked, name: str, page: PageRef) -> None:
        before = len(checked.findings)
        try:
            found = read_page(page, self._objects)
        except Damaged as error:
            self._found(checked, name, f"from commit {page.before.seq + 1} on: {error}", error.name)
            return
        self._count(checked, page.ref)
        for stretch in found:
            try:
                if self._objects.seal.opens:
                    opened(stretch, self._objects)
                else:
                    for ref in stretch.contents.values():
                        self._objects.seen(ref)
            except Damaged as error:
                where = f"positions {stretch.before.position + 1} to {stretch.end.position}"
                self._found(checked, name, f"{where}: {error}", error.name)
                continue
            for ref in stretch.contents.values():
                self._count(checked, ref)
        if len(checked.findings) == before:
            self._sound.add((page.ref.name, page.before, page.end))

    def _content(self, checked: Checked, what: str, ref: Ref) -> None:
        if ref.name in self._seen:
            return
        try:
            if self._objects.seal.opens:
                self._objects.get(ref)
            else:
                self._objects.seen(ref)
        except Damaged as error:
            self._found(checked, what, str(error), error.name)
            return
        self._seen.add(ref.name)
        self._count(checked, ref)

    @staticmethod
    def _count(checked: Checked, ref: Ref) -> None:
        checked.contents += 1
        checked.size += ref.size


def check_catalogue(catalogue: Catalogue, at_least: int = 0) -> Iterator[Finding]:
    """Backups that are missing, that are not what was written, or that do not follow one another.

    `at_least`: the highest number that the store remembers to have given.
    """
    for number in catalogue.missing(at_least):
        yield Finding(number, "", f"backup {number} is missing: it was made, and was not pruned")
    for number in catalogue.twice():
        yield Finding(number, "", f"there are two backups {number}: two stores write to this place")
    files: dict[int, str] = {}
    for number in catalogue.names():
        try:
            manifest = catalogue.read(number)
        except Damaged as error:
            yield Finding(number, "", str(error))
            continue
        files[number] = manifest.file
        parent = manifest.parent
        if parent is not None and files.get(parent[0], parent[1]) != parent[1]:
            yield Finding(number, "", f"it follows another backup {parent[0]} than the one that is there")


def settle(catalogue: Catalogue, checked: Iterable[Checked], now_ns: int) -> None:
    """Remembers at the place which backups are whole, and which contents must be put again."""
    results = list(checked)
    damaged = {finding.name for item in results for finding in item.findings if finding.name}
    if damaged:
        catalogue.say_damaged(catalogue.damaged() | damaged)
        # A content that is damaged may be of any of them.
        for number in catalogue.verified():
            catalogue.unmark(number)
    for item in results:
        if item.findings:
            catalogue.unmark(item.number)
        elif item.depth != "outside":
            catalogue.mark_verified(item.number, now_ns)


def refs_of(body: Body, objects: Objects, pages: set[str]) -> Iterator[str]:
    """The names of all contents that a body needs. Pages in `pages` are not read again."""
    for part in body.journals.values():
        yield from (ref.name for ref in part.sides)
        for list_ in (part.states, part.excerpts):
            if list_ is not None:
                yield list_.name
                if list_.name not in pages:
                    pages.add(list_.name)
                    yield from (ref.name for _, ref in listed(list_, objects))
        for page in part.pages:
            yield page.ref.name
            if page.ref.name not in pages:
                pages.add(page.ref.name)
                for value in objects.get_json(page.ref):
                    yield from (Ref.of(ref).name for ref in value["contents"].values())
    yield from (ref.name for _, ref in body.waiting)
