"""The bytes of a recording as they stood when it was opened: unpacked, bounded, hashed."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from observer_core.shared.errors import InputError

MAX_LINE_BYTES = 16 * 1024 * 1024
_CHUNK = 1024 * 1024
_HEAD = 64 * 1024
_BOM = b"\xef\xbb\xbf"


class RecordingError(InputError):
    """A recording cannot be read as it is: which file, where in it, what was expected."""

    def __init__(
        self, path: str, problem: str, *, line: int | None = None, column: str | None = None
    ) -> None:
        where = path
        if line is not None:
            where += f", line {line}"
        if column is not None:
            where += f", column {column!r}"
        super().__init__(f"{where}: {problem}")
        self.path, self.line, self.column = path, line, column


@dataclass(frozen=True, slots=True)
class KnownFile:
    """Content that is ingested already: the hash of its first `bytes` bytes, and the rows in them."""

    sha256: str
    bytes: int
    rows: int


class Content:
    """One file. Reads nothing beyond the size it had when opened, and no line beyond the limit.

    After `blocks` is exhausted, `sha256` and `bytes` are those of the unpacked content
    that was given out. Where no newline ends the last line, `last_line` is that line and
    `sha256_before_last_line` the hash of what stands before it. Use as a context manager.
    """

    def __init__(self, path: str, upto: int | None = None) -> None:
        self.path, self._upto = path, upto
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by __exit__
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise RecordingError(path, f"cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            self._file.close()
            raise RecordingError(path, "is not a regular file; give a CSV, NDJSON or Parquet file")
        self.stored_bytes = status.st_size
        self.magic = os.pread(self._file.fileno(), 8, 0)
        self.packed = self.magic.startswith(b"\x1f\x8b")
        self.notes: list[str] = []
        self.sha256 = ""
        self.bytes = 0
        self.last_line = b""
        self.sha256_before_last_line = ""

    def __enter__(self) -> Content:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def head(self) -> bytes:
        """The first lines, some 64 KiB of them and at least one; without a byte order mark."""
        head = b""
        for chunk in self._chunks():
            head += chunk
            end = head.rfind(b"\n", 0, _HEAD) + 1 or head.find(b"\n") + 1
            if end and len(head) >= _HEAD:
                head = head[:end]
                break
            if not end:
                self._check_line(len(head), 1)
        return head.removeprefix(_BOM)

    def longest_known(self, known: Sequence[KnownFile]) -> KnownFile | None:
        """The longest content among `known` that this file begins with."""
        best: KnownFile | None = None
        candidates = sorted({k.bytes for k in known if k.bytes})
        by_hash = {(k.sha256, k.bytes): k for k in known}
        if not candidates:
            return None
        digest, position, last = hashlib.sha256(), 0, b""
        for chunk in self._chunks():
            taken = 0
            while candidates and candidates[0] < position + len(chunk):
                digest.update(chunk[taken : candidates[0] - position])
                taken = candidates[0] - position
                found = by_hash.get((digest.hexdigest(), candidates.pop(0)))
                if found and _a_line_ends(chunk, taken, last):
                    best = found
            digest.update(chunk[taken:])
            position += len(chunk)
            last = chunk[-1:]
            if not candidates:
                return best
        return by_hash.get((digest.hexdigest(), position), best)

    def blocks(self, skip: int = 0) -> Iterator[tuple[int, bytes]]:
        """(number of the first line, complete lines) from byte `skip` on; what is skipped is hashed too.

        A last line without a newline is given out, unless the file grew meanwhile: then
        somebody is writing that very line, and it is left for the next time.
        """
        digest, position, line = hashlib.sha256(), 0, 1
        rest: list[bytes] = []
        rest_bytes = 0
        for chunk in self._chunks():
            if position < skip:
                passed = chunk[: skip - position]
                digest.update(passed)
                position += len(passed)
                line += passed.count(b"\n")
                chunk = chunk[len(passed) :]
            if not position and not rest and chunk.startswith(_BOM):
                digest.update(_BOM)
                position, chunk = len(_BOM), chunk[len(_BOM) :]
            end = chunk.rfind(b"\n") + 1
            if not end:
                rest.append(chunk)
                rest_bytes += len(chunk)
                self._check_line(rest_bytes, line)
                continue
            self._check_line(rest_bytes + chunk.index(b"\n"), line)
            block = b"".join((*rest, chunk[:end]))
            rest, rest_bytes = [chunk[end:]], len(chunk) - end
            digest.update(block)
            position += len(block)
            yield line, block
            line += block.count(b"\n")
        last = b"".join(rest)
        if last and self._upto is None and os.fstat(self._file.fileno()).st_size > self.stored_bytes:
            self.notes.append(
                f"{self.path}, line {line}: the file grew while it was read; its unfinished last line is "
                "left for the next time"
            )
        elif last:
            self.sha256_before_last_line = digest.hexdigest()
            digest.update(last)
            position += len(last)
            self.last_line = last
            yield line, last
        self.sha256, self.bytes = digest.hexdigest(), position

    def whole(self) -> tuple[str, int]:
        """Hash and size of the stored bytes, for formats that are not made of lines."""
        digest, size = hashlib.sha256(), 0
        for chunk in self._chunks():
            digest.update(chunk)
            size += len(chunk)
        return digest.hexdigest(), size

    def _check_line(self, length: int, line: int) -> None:
        if length > MAX_LINE_BYTES:
            raise RecordingError(
                self.path,
                f"is longer than {MAX_LINE_BYTES:,} bytes; expected lines of text: is this the right file?",
                line=line,
            )

    def _chunks(self) -> Iterator[bytes]:
        """The unpacked content, some at a time, up to `upto` bytes of it."""
        left = self._upto
        stream: IO[bytes] = _Bounded(self._file.fileno(), self.stored_bytes)  # type: ignore[assignment]
        if self.packed:
            stream = gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[assignment]
        while left is None or left > 0:
            try:
                chunk = stream.read(_CHUNK if left is None else min(left, _CHUNK))
            except EOFError:
                raise RecordingError(
                    self.path, "the gzip data end too early; the file is truncated or still being written"
                ) from None
            except (OSError, zlib.error) as error:
                raise RecordingError(self.path, f"cannot be read: {error}") from None
            if not chunk:
                return
            if left is not None:
                left -= len(chunk)
            yield chunk


class _Bounded:
    """The first `size` bytes of an open file, whatever is appended to it meanwhile."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size, self._position = descriptor, size, 0

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._position
        data = os.pread(self._descriptor, left if size < 0 else min(size, left), self._position)
        self._position += len(data)
        return data


def _a_line_ends(chunk: bytes, at: int, before: bytes) -> bool:
    """Whether a line ends at `at`: else what was a last line then has been continued since."""
    return chunk[at : at + 1] in (b"\n", b"\r") or (chunk[at - 1 : at] if at else before) == b"\n"
