"""Segments and blobs as files, and what it takes that they survive a power failure."""

from __future__ import annotations

import errno
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from observer_core.shared.errors import (
    LimitExceeded,
    NotFound,
    StorageCorrupt,
    StorageFull,
    StorageUnavailable,
)
from observer_core.storage.ports import APPEND_BYTES

Durability = Literal["full", "normal"]
_OPEN_FILES = 64
_SYNC_EACH = 200
_DRAFT: Final = re.compile(r"\..+\.(\d+)\.\d+")
"""A file that is being written, by which process and thread."""
_DRAFT_SECONDS: Final = 86_400


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _translate(error, what) from error


def _translate(error: OSError, what: str) -> StorageUnavailable:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull(f"{what}: no space left on the device")
    return StorageUnavailable(f"{what}: {error.strerror or error}")


class LocalSegments:
    def __init__(self, root: Path, durability: Durability) -> None:
        self._root = root
        self._full = durability == "full"
        self._open: OrderedDict[str, int] = OrderedDict()
        self._dirty: set[str] = set()
        self._lock = threading.Lock()
        self._group = threading.local()

    def append(self, name: str, data: bytes) -> int:
        if len(data) > APPEND_BYTES:
            raise LimitExceeded(f"an append of {len(data)} bytes to {name!r}; {APPEND_BYTES} are possible")
        try:
            with self._lock:
                return self._append(name, data)
        except OSError as error:
            raise _translate(error, f"append to segment {name!r}") from error

    def _append(self, name: str, data: bytes) -> int:
        descriptor = self._open.get(name)
        if descriptor is None:
            descriptor = self._open_for_append(name)
        try:
            # Never the rest alone: another process may have appended behind the first part.
            while os.write(descriptor, data) < len(data):
                pass
            # O_APPEND leaves the position behind what was written, whoever else appends.
            offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(data)
            waiting: set[str] | None = getattr(self._group, "names", None)
            if waiting is not None:
                waiting.add(name)
            elif self._full:
                os.fdatasync(descriptor)
        except OSError:
            # Half a line may stand there now; opening the segment again ends it.
            os.close(self._open.pop(name))
            raise
        if not self._full:
            self._dirty.add(name)
        return offset

    @property
    def in_group(self) -> bool:
        return getattr(self._group, "names", None) is not None

    def begin(self) -> None:
        """In this thread, what is appended from now on is synced once, by `settle`; until `end`."""
        self._group.names = set()

    def end(self) -> None:
        self._group.names = None

    def settle(self) -> None:
        """Syncs what the group has appended so far; what fails is still owed when it ends."""
        if self._full:
            with os_errors("sync segments"), self._lock:
                for name in self._group.names:
                    descriptor = self._open.get(name)
                    if descriptor is None:
                        descriptor = self._open_for_append(name)
                    os.fdatasync(descriptor)
        self._group.names = set()

    def _open_for_append(self, name: str) -> int:
        path = _inside(self._root, name)
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            make_directories(path.parent, durable=self._full)
            descriptor = os.open(path, flags | os.O_CREAT, 0o640)
            if self._full:
                sync_directory(path.parent)
        else:
            try:
                _end_torn_line(descriptor)
            except OSError:
                os.close(descriptor)
                raise
        self._open[name] = descriptor
        if len(self._open) > _OPEN_FILES:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def read(self, name: str, offset: int, length: int) -> bytes:
        with os_errors(f"read segment {name!r}"):
            if name in self._open:
                with self._lock:
                    descriptor = self._open.get(name)
                    if descriptor is not None:
                        return self._read(descriptor, name, offset, length)
            try:
                descriptor = os.open(_inside(self._root, name), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFound("segment", name) from None
            try:
                return self._read(descriptor, name, offset, length)
            finally:
                os.close(descriptor)

    def _read(self, descriptor: int, name: str, offset: int, length: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise StorageCorrupt(
                    f"segment {name!r} ends at byte {offset + len(data)}, {offset + length} were committed"
                )
            data += more
        return data

    def size(self, name: str) -> int:
        try:
            return (self._root / name).stat().st_size
        except FileNotFoundError:
            raise NotFound("segment", name) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        base = self._root / prefix.rpartition("/")[0]
        names = []
        for folder, _, files in os.walk(base):
            inside = Path(folder).relative_to(self._root)
            names += [str(inside / file) for file in files if file.endswith(".ndjson")]
        return iter(sorted(name for name in names if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        with os_errors(f"delete segment {name!r}"), self._lock:
            descriptor = self._open.pop(name, None)
            if descriptor is not None:
                os.close(descriptor)
            self._dirty.discard(name)
            _inside(self._root, name).unlink(missing_ok=True)

    def sync(self, also: Iterable[str] = ()) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty.union(also), set()
        try:
            with os_errors("sync segments"):
                self._sync(dirty)
        except BaseException:
            with self._lock:
                self._dirty |= dirty
            raise

    def _sync(self, names: set[str]) -> None:
        if len(names) > _SYNC_EACH:
            os.sync()
            return
        folders: set[Path] = set()
        for name in sorted(names):
            path = self._root / name
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            folders.update(parent for parent in path.parents if parent.is_relative_to(self._root))
        for folder in sorted(folders, reverse=True):
            sync_directory(folder)

    def close(self) -> None:
        self.sync()
        with self._lock:
            while self._open:
                os.close(self._open.popitem()[1])


def _inside(root: Path, name: str) -> Path:
    """Names come from rows, and rows may come from a backup that somebody else has made."""
    if name.startswith("/") or ".." in name.split("/"):
        raise StorageCorrupt(f"{name!r} is no file of the store: it leads out of {str(root)!r}")
    return root / name


def make_directories(path: Path, *, durable: bool) -> None:
    if path.is_dir():
        return
    make_directories(path.parent, durable=durable)
    path.mkdir(exist_ok=True, mode=0o750)
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _end_torn_line(descriptor: int) -> None:
    """A crash may have left half a line: end it, so that the file stays one JSON value a line."""
    size = os.fstat(descriptor).st_size
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        os.write(descriptor, b"\n")


class LocalBlobs:
    """Files under `root`; with `suffix`, of those that end so, beside whatever else is there."""

    def __init__(self, root: Path, durability: Durability, *, suffix: str = "") -> None:
        self._root, self._suffix = root, suffix
        self._full = durability == "full"

    def put(self, name: str, data: bytes) -> None:
        path = _inside(self._root, name)
        with os_errors(f"write blob {name!r}"):
            make_directories(path.parent, durable=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
            try:
                with draft.open("wb") as file:
                    file.write(data)
                    file.flush()
                    # Synced in both modes: a row that names a blob must never outlive it.
                    os.fdatasync(file.fileno())
                draft.replace(path)
                sync_directory(path.parent)
            finally:
                draft.unlink(missing_ok=True)

    def get(self, name: str) -> bytes:
        with os_errors(f"read blob {name!r}"):
            try:
                return _inside(self._root, name).read_bytes()
            except FileNotFoundError:
                raise NotFound("blob", name) from None

    def list(self, prefix: str = "") -> Iterator[str]:
        base = self._root / prefix.rpartition("/")[0]
        found = (path for path in base.rglob(f"*{self._suffix}") if path.is_file())
        names = (str(path.relative_to(self._root)) for path in found)
        return iter(sorted(name for name in names if name.startswith(prefix) and "/." not in f"/{name}"))

    def delete(self, name: str) -> None:
        with os_errors(f"delete blob {name!r}"):
            _inside(self._root, name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Removes drafts whose process was killed: after a day, if none of that number is running.

        Of whoever writes below this folder in the same way. Nothing needs such a file: if its process only
        sleeps, its `put` fails and is made again.
        """
        with os_errors(f"tidy {str(self._root)!r}"):
            for folder, _, files in os.walk(self._root):
                for file in files:
                    match = _DRAFT.fullmatch(file)
                    if match is not None and not _is_running(int(match[1])):
                        _remove_old(Path(folder, file))


def _remove_old(draft: Path) -> None:
    with suppress(FileNotFoundError):  # it has just become what it was to be
        if time.time() - draft.lstat().st_mtime > _DRAFT_SECONDS:
            draft.unlink()


def _is_running(process: int) -> bool:
    """Not this one: in a container each has the same number, and no draft of its own is a day old."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
