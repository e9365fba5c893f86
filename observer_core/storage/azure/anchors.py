"""Anchors on append blobs of a container of their own, one blob a month.

The container may keep a time-based immutability policy that allows protected append
writes to append blobs: then nobody, its owner included, can change or delete a line before
it is old enough. Such a policy belongs to whoever sets up the account, and it is a good
idea to keep the container in another account than the journals.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final

from observer_core.shared.canonical import decode
from observer_core.shared.clock import format_time
from observer_core.shared.errors import NotFound, SegmentFull
from observer_core.storage.azure import AzureStorage

_READ_BYTES: Final = 4 * 1024 * 1024


class AzureAnchors:
    """Each line is one append; the container and the month's blob are made when they are missed."""

    def __init__(self, storage: AzureStorage, container: str) -> None:
        self._storage, self._container = storage, container

    def __repr__(self) -> str:
        return f"container {self._container!r} of {self._storage.connection.account!r}"

    def append(self, line: bytes) -> None:
        month = f"{self._container}/{format_time(decode(line)['time_ns'])[:7]}"
        for number in count(1):
            name = f"{month}.ndjson" if number == 1 else f"{month}~{number:03d}.ndjson"
            try:
                self._storage.segments.append(name, line + b"\n")
            except SegmentFull:
                continue
            return

    def read(self) -> Iterator[bytes]:
        segments = self._storage.segments
        for name in sorted(segments.list(f"{self._container}/"), key=_in_order):
            try:
                end, rest, start = segments.size(name), b"", 0
            except NotFound:
                continue
            while start < end:
                part = segments.read(name, start, min(_READ_BYTES, end - start))
                start += len(part)
                *lines, rest = (rest + part).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def close(self) -> None:
        self._storage.close()


def _in_order(name: str) -> tuple[str, int]:
    month, _, number = name.removesuffix(".ndjson").partition("~")
    return month, int(number or 1)
