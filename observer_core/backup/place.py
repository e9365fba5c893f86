"""Where backups lie: whole files under names, in a folder, in one tar file, or in a container of blobs."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from observer_core.shared.errors import ConfigError, InputError, NotFound, StorageError
from observer_core.storage.local.files import LocalBlobs, make_directories, os_errors, sync_directory
from observer_core.storage.ports import Blobs


class Place(Blobs, Protocol):
    """`put` is whole and durable when it returns; `repr` says where, without secrets."""

    def close(self) -> None: ...


class FolderPlace(LocalBlobs):
    """A folder; each file is written beside its name, synced, and renamed."""

    def __init__(self, path: Path, store: Path | None = None) -> None:
        """`ConfigError` when `path` lies in the folder of the store, with which it would be lost."""
        super().__init__(path, "full")
        self._path = path.absolute()
        if store is not None and self._path.resolve().is_relative_to(store.resolve()):
            raise ConfigError(
                f"the backups' folder {path} lies in the data folder {store} and would be lost with it; "
                "give a folder on another disk or machine"
            )

    def __repr__(self) -> str:
        return f"folder {self._path}"

    def close(self) -> None:
        pass


class TarPlace:
    """A tar file to read from."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._places: dict[str, tuple[int, int]] = {}
        with os_errors(f"open {path}"):
            self._file = path.open("rb")
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as tar:
                for member in tar:
                    if member.isfile():
                        self._places[member.name] = (member.offset_data, member.size)
        except tarfile.TarError as error:
            self._file.close()
            raise InputError(f"{path} is not a whole tar file: {error}") from None

    def __repr__(self) -> str:
        return f"tar file {self._path}"

    def get(self, name: str) -> bytes:
        place = self._places.get(name)
        if place is None:
            raise NotFound("file", name)
        with os_errors(f"read {self!r}"):
            return os.pread(self._file.fileno(), place[1], place[0])

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self._places if name.startswith(prefix)))

    def put(self, name: str, data: bytes) -> None:
        raise StorageError(f"{self!r} is whole: nothing can be added to it; {name!r} was to be")

    def delete(self, name: str) -> None:
        raise StorageError(f"{self!r} is whole: nothing can be taken out of it; {name!r} was to be")

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self._file.close()


class NewTar:
    """A tar file that is being written; it has its name once it is `finished`, and is nothing before."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise InputError(f"{path} exists; a backup is never written over: give another name")
        self._path = path.absolute()
        self._draft = self._path.with_name(self._path.name + ".partial")
        self._places: dict[str, tuple[int, int]] = {}
        with os_errors(f"write {path}"):
            make_directories(self._path.parent, durable=True)
            # As readable as the segments that it is a copy of.
            descriptor = os.open(self._draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
            self._file = os.fdopen(descriptor, "w+b")

    def __repr__(self) -> str:
        return f"tar file {self._path}"

    def put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o640
        with os_errors(f"write {self!r}"):
            self._file.seek(0, io.SEEK_END)
            self._file.write(member.tobuf(format=tarfile.PAX_FORMAT))
            self._places[name] = (self._file.tell(), len(data))
            self._file.write(data + bytes(-len(data) % tarfile.BLOCKSIZE))
            self._file.flush()

    def get(self, name: str) -> bytes:
        place = self._places.get(name)
        if place is None:
            raise NotFound("file", name)
        with os_errors(f"read {self!r}"):
            return os.pread(self._file.fileno(), place[1], place[0])

    def list(self, prefix: str = "") -> Iterator[str]:
        return iter(sorted(name for name in self._places if name.startswith(prefix)))

    def delete(self, name: str) -> None:
        self._places.pop(name, None)  # it stays in the file, and nobody asks for it

    def tidy(self) -> None:
        pass

    def finished(self) -> None:
        """All of it is there and on the disk: it gets its name."""
        with os_errors(f"write {self!r}"):
            self._file.seek(0, io.SEEK_END)
            self._file.write(bytes(2 * tarfile.BLOCKSIZE))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._draft.replace(self._path)
            sync_directory(self._path.parent)

    def close(self) -> None:
        """Without `finished` nothing is left."""
        self._file.close()
        self._draft.unlink(missing_ok=True)
