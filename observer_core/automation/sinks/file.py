"""Delivery into a file of newline-delimited JSON."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import orjson

from observer_core.shared.errors import DeliveryError

TAIL_BYTES = 256 * 1024
_BLOCK = 64 * 1024


class FileSink:
    """Appends each record as one line; after a crash no line is written twice and none is torn.

    A record is recognised by its top-level `id` in the last 256 KiB of the file, which
    holds whatever was written and not yet committed as delivered. With `fsync` a line is on
    the disk when `send` returns; without, when the operating system writes it. The file
    and its folders are made when first needed. One writer at a time; a file that is
    truncated from outside (log rotation by copy) is taken as it is then.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False, name: str = "file") -> None:
        self.name = name
        self._path = Path(path)
        self._fsync = fsync
        self._fd = -1
        self._recent: OrderedDict[str, int] = OrderedDict()  # id → length of its line, oldest first
        self._recent_bytes = 0

    def send(self, record_id: str, body: bytes, *, content_type: str, replay: bool) -> None:
        if b"\n" in body:
            raise DeliveryError(
                f"{self._path}: a record is one line of JSON; found one that holds a newline", retry=False
            )
        line = body + b"\n"
        try:
            self._open()
            start = os.fstat(self._fd).st_size
            try:
                _write_all(self._fd, line)
                if self._fsync:
                    os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, start)
                raise
        except OSError as error:
            # Opened anew, the file is looked at again: what could not be cut off now is cut then.
            self.close()
            raise self._failure("append to", error) from None
        self._remember(record_id, len(line))

    def already_has(self, record_id: str) -> bool:
        try:
            self._open()
        except OSError as error:
            self.close()
            raise self._failure("read", error) from None
        return record_id in self._recent

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd >= 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._mend_last_line()
        self._recent.clear()
        self._recent_bytes = 0
        size = os.fstat(self._fd).st_size
        tail = os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))
        for line in tail.split(b"\n"):
            if (found := _id_of(line)) is not None:
                self._remember(found, len(line) + 1)

    def _mend_last_line(self) -> None:
        """Ends a last line that was written whole; cuts one that was not.

        A last line that cannot be the start of a record is not ours to cut: it is ended.
        """
        size = os.fstat(self._fd).st_size
        start = _last_line_start(self._fd, size)
        if start == size:
            return
        torn = os.pread(self._fd, size - start, start)
        if torn.startswith(b"{") and _id_of(torn) is None:
            os.ftruncate(self._fd, start)
        else:
            _write_all(self._fd, b"\n")

    def _remember(self, record_id: str, length: int) -> None:
        self._recent_bytes += length - self._recent.pop(record_id, 0)
        self._recent[record_id] = length
        while self._recent_bytes > TAIL_BYTES and len(self._recent) > 1:
            self._recent_bytes -= self._recent.popitem(last=False)[1]

    def _failure(self, what: str, error: OSError) -> DeliveryError:
        return DeliveryError(
            f"cannot {what} {self._path}: {error.strerror or error}; make it writable or free space"
        )


def _last_line_start(fd: int, size: int) -> int:
    """Where the last line starts; `size` when the file ends in a newline or is empty."""
    end = size
    while end > 0:
        start = max(0, end - _BLOCK)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _id_of(line: bytes) -> str | None:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    found = value.get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
