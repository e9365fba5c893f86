"""One log file of JSON lines. Writing never raises: a line that cannot be written is counted."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from observer_core.shared.errors import ConfigError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class LogFile(RotatingFileHandler):
    """At most `files` files of about `max_bytes`: `name`, `name.1` (newer) … `name.<files - 1>` (oldest).

    `lost` counts the lines that could not be written (a full disk, a folder taken away);
    writing goes on by itself when there is space again.
    """

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        self.lost = 0
        self._size = 0
        super().__init__(path, maxBytes=max_bytes, backupCount=files - 1, encoding="utf-8", delay=True)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
        except OSError as error:
            if error.errno not in _NO_SPACE:
                raise unusable(path.parent, error) from None

    def write(self, line: str) -> None:
        """Appends one line."""
        self.handle(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        self._size += _size(record)

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """Counts instead of asking the file system at each line, as the original does."""
        if self.stream is None:
            self.stream = self._open()
        return self._size > 0 and self._size + _size(record) > self.maxBytes

    def doRollover(self) -> None:  # noqa: N802 - its name in the standard library
        if self.backupCount:
            super().doRollover()
        elif self.stream is not None:
            self.stream.truncate(0)
            self._size = 0

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        with Path(self.baseFilename).open("rb") as written:
            self._size = written.seek(0, os.SEEK_END)
            if self._size:
                written.seek(-1, os.SEEK_END)
                # A full disk or a crash may have left half a line: every line stays one JSON value.
                if written.read(1) != b"\n":
                    stream.write("\n")
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name in the standard library
        self.lost += 1
        # Opened again for the next line: what is left in the buffers is not for later.
        stream, self.stream = self.stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().close()


def _size(record: logging.LogRecord) -> int:
    return len(str(record.msg).encode("utf-8", "replace")) + 1


def make_folder(path: Path) -> None:
    """The folder, made if need be; `ConfigError` when that is impossible for another reason than space."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise unusable(path, error) from None


def unusable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"log folder {str(folder)!r} cannot be written: {error.strerror}; name another one "
        "(OBSERVER_LOG_DIR, or log_dir in the configuration), or give this user the right to write there"
    )
