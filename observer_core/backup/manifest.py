"""What a backup is: one file that says what the store was made of, and in which contents that lies.

Backups of a store are numbered; each names the one before it by the sha256 of its file, and numbers that
were pruned are listed. So a backup that somebody took away is missed. Encrypted ones show their
outside to everybody: number, time, store, sizes, what came before.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from observer_core.backup.objects import Damaged, Objects, Ref
from observer_core.backup.place import Place
from observer_core.backup.sealing import Seal, digest
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import InputError, NotFound, RecordError, StorageCorrupt
from observer_core.storage.epochs import Build
from observer_core.storage.rows import GENESIS, Head

FORMAT: Final = 1
_FOLDER: Final = "manifests/"
_VERIFIED: Final = "verified/"
_PRUNED: Final = "pruned.json"
_DAMAGED: Final = "damaged.json"
UNFINISHED: Final = "unfinished.json"
_NAME = re.compile(r"manifests/(\d{8,})-([0-9a-f]{32})\.json")


class End(NamedTuple):
    """Where a part of a journal ends, or the part before it: the last commit, position and chain hash."""

    seq: int = 0
    position: int = 0
    hash: bytes = GENESIS

    def to_json(self) -> list[Any]:
        return [self.seq, self.position, self.hash.hex()]

    @staticmethod
    def of(value: list[Any]) -> End:
        return End(value[0], value[1], bytes.fromhex(value[2]))


BEGINNING: Final = End()


@dataclass(frozen=True, slots=True)
class PageRef:
    """A page of stretches that follow one another. `of`: hash of what it was made of, where that shows more
    quickly than the page itself that it need not be made again.
    """

    key: str
    before: End
    end: End
    of: str
    ref: Ref

    def to_json(self) -> list[Any]:
        return [self.key, self.before.to_json(), self.end.to_json(), self.of, self.ref.to_json()]

    @staticmethod
    def read(value: list[Any]) -> PageRef:
        key, before, end, of, ref = value
        return PageRef(key, End.of(before), End.of(end), of, Ref.of(ref))


@dataclass(frozen=True, slots=True)
class Part:
    """One journal: `pages` give its commits from `start` to `end`, `sides` what is no commit and no state.

    `end` is where `head` stands, or before that what was wrong with the store (`fault`).
    """

    head: Head
    start: End = BEGINNING
    end: End = BEGINNING
    pages: tuple[PageRef, ...] = ()
    states: Ref | None = None
    sides: tuple[Ref, ...] = ()
    consumed: Mapping[str, int] = field(default_factory=dict)
    """How far its checkpoints say that other journals have been consumed."""
    base: str | None = None
    """The row that says what retention has removed before `start`, and below: what was kept of that."""
    excerpts: Ref | None = None
    fault: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "head": decode(self.head.value()), "start": self.start.to_json(), "end": self.end.to_json(),
            "pages": [page.to_json() for page in self.pages],
            "states": None if self.states is None else self.states.to_json(),
            "sides": [ref.to_json() for ref in self.sides],
            "consumed": dict(self.consumed), "base": self.base,
            "excerpts": None if self.excerpts is None else self.excerpts.to_json(), "fault": self.fault,
        }  # fmt: skip

    @staticmethod
    def read(value: Mapping[str, Any]) -> Part:
        head = {**value["head"], "hash": bytes.fromhex(value["head"]["hash"])}
        return Part(
            Head(**head), End.of(value["start"]), End.of(value["end"]),
            tuple(PageRef.read(page) for page in value["pages"]),
            None if value["states"] is None else Ref.of(value["states"]),
            tuple(Ref.of(ref) for ref in value["sides"]), value["consumed"], value["base"],
            None if value["excerpts"] is None else Ref.of(value["excerpts"]), value["fault"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Body:
    """What the store was made of: its journals, which domain each is of, blobs that wait to be taken up."""

    journals: Mapping[str, Part] = field(default_factory=dict)
    registry: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[tuple[str, Ref], ...] = ()

    @property
    def digest(self) -> str:
        """As `observer digest` prints it, of the store as it was."""
        heads = {name: (part.head.position, part.head.hash) for name, part in self.journals.items()}
        return digest_of({name: heads.get(name, (0, GENESIS)) for name in self.registry})

    def to_json(self) -> dict[str, Any]:
        return {
            "journals": {name: part.to_json() for name, part in self.journals.items()},
            "registry": dict(self.registry), "digest": self.digest,
            "waiting": [[name, ref.to_json()] for name, ref in self.waiting],
        }  # fmt: skip

    @staticmethod
    def read(value: Mapping[str, Any]) -> Body:
        return Body(
            {name: Part.read(part) for name, part in value["journals"].items()}, value["registry"],
            tuple((name, Ref.of(ref)) for name, ref in value["waiting"]),
        )  # fmt: skip


def digest_of(heads: Mapping[str, tuple[int, bytes]]) -> str:
    lines = (f"{name} {position} {hash_.hex()}\n" for name, (position, hash_) in sorted(heads.items()))
    return digest("".join(lines).encode()).hex()


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup, from outside. `inside` is its body, as it is stored."""

    number: int
    store: str
    time_ns: int
    build: Build
    parent: tuple[int, str] | None
    seal: str | None
    records: int
    written: int
    objects: int
    inside: Any = field(repr=False)
    file: str = ""
    """sha256 of its file, which its name and its successor give."""

    def encoded(self) -> bytes:
        return encode({
            "format": FORMAT, "number": self.number, "store": self.store, "time_ns": self.time_ns,
            "build": {"version": self.build.version, "lock": self.build.lock},
            "parent": None if self.parent is None else list(self.parent), "seal": self.seal,
            "records": self.records, "written": self.written, "objects": self.objects,
            "body": self.inside,
        })  # fmt: skip

    @staticmethod
    def decoded(data: bytes) -> Manifest:
        try:
            value = decode(data)
            if value["format"] != FORMAT:
                raise InputError(
                    f"a backup of format {value['format']}, known is {FORMAT}: use the version that made it"
                )
            return Manifest(
                value["number"], value["store"], value["time_ns"], Build(**value["build"]),
                None if value["parent"] is None else (value["parent"][0], value["parent"][1]),
                value["seal"], value["records"], value["written"], value["objects"], value["body"],
                digest(data).hex(),
            )  # fmt: skip
        except (RecordError, KeyError, TypeError, ValueError) as error:
            raise StorageCorrupt(f"it is no manifest of a backup: {error!r}") from None

    def body(self, seal: Seal) -> Body:
        """`InputError` when the seal cannot open it."""
        if self.seal is None:
            return Body.read(self.inside)
        if seal.key != self.seal:
            raise InputError(f"backup {self.number} is encrypted with another index key than this")
        size, stored = self.inside
        return Body.read(decode(seal.open(base64.b64decode(stored), size, index=True)))


def sealed_body(body: Body, seal: Seal) -> Any:
    if seal.key is None:
        return body.to_json()
    content = encode(body.to_json())
    return [len(content), base64.b64encode(seal.close(content, index=True)).decode()]


class Catalogue:
    """The backups at a place, and what is known of them there."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def names(self) -> dict[int, str]:
        """The files of all backups by number, oldest first. Of two with one number the last one counts."""
        found = {}
        for name in self._place.list(_FOLDER):
            match = _NAME.fullmatch(name)
            if match:
                found[int(match[1])] = name
        return dict(sorted(found.items()))

    def twice(self) -> list[int]:
        """Numbers that more than one backup has: two stores have written here."""
        numbers = [int(match[1]) for name in self._place.list(_FOLDER) if (match := _NAME.fullmatch(name))]
        return sorted({number for number in numbers if numbers.count(number) > 1})

    def read(self, number: int) -> Manifest:
        """`InputError` when there is no such backup, `Damaged` when it is not what was written."""
        name = self.names().get(number)
        if name is None:
            raise InputError(f"there is no backup {number} in {self._place!r}; see `observer backup ls`")
        return self._read(name)

    def newest(self) -> Manifest | None:
        names = self.names()
        return self._read(names[max(names)]) if names else None

    def newest_sound(self) -> Manifest | None:
        """The newest that can be read at all."""
        for number in sorted(self.names(), reverse=True):
            try:
                return self.read(number)
            except Damaged:
                continue
        return None

    def _read(self, name: str) -> Manifest:
        try:
            data = self._place.get(name)
        except NotFound:
            raise Damaged(name, "it is missing") from None
        match = _NAME.fullmatch(name)
        assert match is not None
        if digest(data).hex()[:32] != match[2]:
            raise Damaged(name, "it hashes to something else than its name says")
        try:
            return Manifest.decoded(data)
        except StorageCorrupt as error:
            raise Damaged(name, str(error)) from None

    def add(self, manifest: Manifest) -> Manifest:
        """From here on there is this backup."""
        data = manifest.encoded()
        file = digest(data).hex()
        name = f"{_FOLDER}{manifest.number:08d}-{file[:32]}.json"
        self._place.put(name, data)
        if self._place.get(name) != data:
            raise StorageCorrupt(f"{name} of {self._place!r} reads back as something else than was written")
        return replace(manifest, file=file)

    def remove(self, number: int) -> None:
        name = self.names().get(number)
        self._place.delete(_mark(number))
        if name is not None:
            self._place.delete(name)

    # ------------------------------------------------------------------ what is known of them

    def verified(self) -> dict[int, int]:
        """When each was found whole the last time; those that never were, or are no longer, are left out.

        Also of the number that is given next, where that backup was broken off at its end.
        """
        found = {}
        for name in self._place.list(_VERIFIED):
            try:
                found[int(name[len(_VERIFIED) :].partition(".")[0])] = int(
                    decode(self._place.get(name))["time_ns"]
                )
            except (NotFound, RecordError, KeyError, ValueError):
                continue
        return found

    def mark_verified(self, number: int, time_ns: int) -> None:
        self._place.put(_mark(number), encode({"time_ns": time_ns}))

    def unmark(self, number: int) -> None:
        self._place.delete(_mark(number))

    def pruned(self) -> list[tuple[int, int]]:
        """Numbers that were removed on purpose, as ranges."""
        return [(first, last) for first, last in self._json(_PRUNED, [])]

    def say_pruned(self, numbers: Iterable[int]) -> None:
        known = {n for first, last in self.pruned() for n in range(first, last + 1)}
        ranges: list[list[int]] = []
        for number in sorted(known.union(numbers)):
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        self._place.put(_PRUNED, encode(ranges))

    def missing(self, at_least: int = 0) -> list[int]:
        """Numbers, up to the newest one or `at_least`, that are neither here nor were pruned."""
        names, ranges = self.names(), self.pruned()
        gone = {n for first, last in ranges for n in range(first, last + 1)}
        return [n for n in range(1, max([at_least, *names]) + 1) if n not in names and n not in gone]

    def damaged(self) -> set[str]:
        """Names of contents that were found to be missing or wrong, and are not mended yet."""
        return set(self._json(_DAMAGED, []))

    def say_damaged(self, names: Iterable[str]) -> None:
        found = sorted(names)
        if found:
            self._place.put(_DAMAGED, encode(found))
        elif self._json(_DAMAGED, []):
            self._place.delete(_DAMAGED)

    def _json(self, name: str, default: Any) -> Any:
        try:
            return decode(self._place.get(name))
        except NotFound:
            return default


class Unfinished:
    """What a backup that was broken off has written already, so that the next one need not."""

    def __init__(self, objects: Objects) -> None:
        self._place, self._seal = objects.place, objects.seal

    def read(self) -> dict[str, Part]:
        try:
            value = decode(self._place.get(UNFINISHED))
            if value["seal"] != self._seal.key:
                return {}
            if value["seal"] is not None:
                size, stored = value["journals"]
                value["journals"] = decode(self._seal.open(base64.b64decode(stored), size, index=True))
            return {name: Part.read(part) for name, part in value["journals"].items()}
        except (NotFound, StorageCorrupt, RecordError, KeyError, TypeError, ValueError):
            return {}

    def write(self, parts: Mapping[str, Part]) -> None:
        journals: Any = {name: part.to_json() for name, part in parts.items()}
        if self._seal.key is not None:
            content = encode(journals)
            journals = [len(content), base64.b64encode(self._seal.close(content, index=True)).decode()]
        self._place.put(UNFINISHED, encode({"seal": self._seal.key, "journals": journals}))

    def remove(self) -> None:
        self._place.delete(UNFINISHED)


def _mark(number: int) -> str:
    return f"{_VERIFIED}{number:08d}.json"
