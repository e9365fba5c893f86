"""Anchors in a file: one line each, only ever added, on the disk when `append` returns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from observer_core.shared.errors import ConfigError, StorageUnavailable


class FileAnchors:
    """Opens for appending only, so a file that the system lets only grow (`chattr +a`) will do.

    A line that a crash has torn is ended, not cut; whoever reads knows it by the whole one behind it.
    """

    def __init__(self, path: Path, store: Path | None = None) -> None:
        """`ConfigError` when `path` lies in the folder of the store: an anchor there would prove nothing."""
        self._path = path.absolute()
        if store is not None and self._path.resolve().is_relative_to(store.resolve()):
            raise ConfigError(
                f"the anchors' file {path} lies in the data folder {store}, where whoever rewrites the "
                "journals can rewrite it too; give a path on another disk or machine"
            )

    def __repr__(self) -> str:
        return f"file {self._path}"

    def append(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            made = not self._path.exists()
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                data = (b"" if made or self._ends_a_line() else b"\n") + line + b"\n"
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if made:
                _sync_folder(self._path.parent)
        except OSError as error:
            raise StorageUnavailable(
                f"cannot append an anchor to {self._path}: {error.strerror or error}; make it writable, "
                "or free space"
            ) from None

    def read(self) -> Iterator[bytes]:
        try:
            with self._path.open("rb") as file:
                yield from file
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageUnavailable(f"cannot read anchors from {self._path}: {error.strerror}") from None

    def close(self) -> None:
        pass

    def _ends_a_line(self) -> bool:
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
