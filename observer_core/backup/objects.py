"""Contents of a backup, each once, named by what it holds.

What `put` says to be there was read back and compared. What `get` gives hashes to what was put.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from observer_core.backup.place import Place
from observer_core.backup.sealing import Seal, digest
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import NotFound, ObserverError, StorageCorrupt

FOLDER: Final = "objects/"
_REMEMBERED: Final = 20_000


class Damaged(ObserverError):
    """A part of a backup is missing, or is not what was written."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name}: {detail}")
        self.name, self.detail = name, detail


class Ref(NamedTuple):
    """One content: its file's name and its size. Where it is encrypted also its sha256, and the file's."""

    name: str
    size: int
    sha256: str = ""
    stored: str = ""

    def to_json(self) -> list[Any]:
        return list(self if self.stored else self[:2])

    @staticmethod
    def of(value: list[Any]) -> Ref:
        return Ref(*value)


class Objects:
    """The contents at one place under one seal. `damaged`: names of files that are not to be relied on."""

    def __init__(self, place: Place, seal: Seal) -> None:
        self.place, self.seal = place, seal
        self.damaged: set[str] = set()
        self.before_put: Callable[[], None] = lambda: None
        self.count = self.written = 0
        """Files put by this process, and their bytes."""
        self._known: OrderedDict[str, Ref] = OrderedDict()

    def know(self, ref: Ref) -> None:
        """It is there: whoever puts it need not do it again."""
        if ref.name not in self.damaged:
            self._known[ref.name] = ref
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def sound(self, ref: Ref) -> bool:
        return ref.name not in self.damaged

    def named(self, sha256: str) -> str:
        """The name of the content with this sha256."""
        return self.seal.name(bytes.fromhex(sha256))

    def put(self, content: bytes, *, index: bool = False) -> Ref:
        sha256 = digest(content)
        name = self.seal.name(sha256)
        known = self._known.get(name)
        if known is not None and known.size == len(content):
            return known
        self.before_put()
        stored = self.seal.close(content, index=index)
        path = path_of(name)
        self.place.put(path, stored)
        if self.place.get(path) != stored:
            raise StorageCorrupt(f"{path} of {self.place!r} reads back as something else than was written")
        sealed = (sha256.hex(), digest(stored).hex()) if self.seal.key else ()
        ref = Ref(name, len(content), *sealed)
        self.count += 1
        self.written += len(stored)
        self.damaged.discard(name)
        self.know(ref)
        return ref

    def get(self, ref: Ref, *, index: bool = False) -> bytes:
        """The content; `Damaged` when it is missing or another one."""
        try:
            content = self.seal.open(self.seen(ref), ref.size, index=index)
        except StorageCorrupt as error:
            raise Damaged(ref.name, str(error)) from None
        if digest(content).hex() != (ref.sha256 or ref.name):
            raise Damaged(ref.name, "its content hashes to something else")
        return content

    def seen(self, ref: Ref) -> bytes:
        """The file as it is stored; `Damaged` as far as that shows without decrypting it."""
        try:
            stored = self.place.get(path_of(ref.name))
        except NotFound:
            raise Damaged(ref.name, "it is missing") from None
        if ref.stored and digest(stored).hex() != ref.stored:
            raise Damaged(ref.name, "the file hashes to something else")
        return stored

    def put_json(self, value: Any) -> Ref:
        """A part of the index, which whoever makes backups can read back."""
        return self.put(encode(value), index=True)

    def get_json(self, ref: Ref) -> Any:
        return decode(self.get(ref, index=True))


def path_of(name: str) -> str:
    return f"{FOLDER}{name[:2]}/{name}"
