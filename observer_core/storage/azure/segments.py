"""Segments on append blobs: the first part of a name is the container, the rest the blob."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient, BlobType

from observer_core.shared.errors import LimitExceeded, NotFound, SegmentFull, StorageCorrupt
from observer_core.storage.azure.containers import Containers
from observer_core.storage.azure.edge import code, edge
from observer_core.storage.ports import APPEND_BYTES

BLOCKS: Final = 49_000
"""Appends to a segment before another one is begun; Azure ends at 50,000, and others may be appending."""
_MISSING: Final = ("BlobNotFound", "ContainerNotFound", "ResourceNotFound")
_FULL: Final = ("BlockCountExceedsLimit", "MaxBlobSizeConditionNotMet")
_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class _Tail:
    """Where a segment ended after this process's last append. `alone` while nobody else was met there."""

    end: int
    blocks: int
    alone: bool


class AzureSegments:
    """Durable when `append` returns. One append is one operation; the blob is made when it is missed."""

    def __init__(self, containers: Containers, blocks: int = BLOCKS) -> None:
        self._containers = containers
        self._blocks = blocks
        self._tails: dict[str, _Tail] = {}

    def append(self, name: str, data: bytes) -> int:
        if len(data) > APPEND_BYTES:
            raise LimitExceeded(f"an append of {len(data)} bytes to {name!r}; {APPEND_BYTES} are possible")
        tail = self._tails.get(name)
        if tail is not None and tail.blocks >= self._blocks:
            raise SegmentFull(f"segment {name!r} has {tail.blocks} blocks; continue in the next one")
        with edge(f"append to segment {name!r}"):
            return self._append(name, data, tail)

    def _append(self, name: str, data: bytes, tail: _Tail | None) -> int:
        blob = self._blob(name)
        alone = tail is None or tail.alone
        # At the position where this process left off: an append whose answer was lost, and which
        # the SDK sends again, is met there instead of standing there twice.
        position = tail.end if tail is not None and tail.alone else None
        answer: Any
        try:
            answer = blob.append_block(data, appendpos_condition=position)
        except HttpResponseError as error:
            why = code(error)
            if why in _FULL:
                raise SegmentFull(f"segment {name!r} takes no more appends") from None
            if why in _MISSING:
                self._create(name, blob)
                alone = True
            elif why == "AppendPositionConditionNotMet":
                assert tail is not None
                if self._stands(blob, data, tail.end):
                    self._remember(name, _Tail(tail.end + len(data), tail.blocks + 1, alone=True))
                    return tail.end
                alone = False
            else:
                raise
            answer = blob.append_block(data)
        offset = int(answer["blob_append_offset"])
        self._remember(name, _Tail(offset + len(data), int(answer["blob_committed_block_count"]), alone))
        return offset

    def _create(self, name: str, blob: BlobClient) -> None:
        for attempt in (1, 2):
            try:
                blob.create_append_blob(match_condition=MatchConditions.IfMissing)
            except HttpResponseError as error:
                if code(error) == "ContainerNotFound" and attempt == 1:
                    self._containers.create(name.partition("/")[0])
                    continue
                if code(error) != "BlobAlreadyExists":
                    raise
            return

    @staticmethod
    def _stands(blob: BlobClient, data: bytes, offset: int) -> bool:
        try:
            return blob.download_blob(offset, len(data)).readall() == data
        except HttpResponseError as error:
            if code(error) == "InvalidRange":
                return False
            raise

    def _remember(self, name: str, tail: _Tail) -> None:
        if len(self._tails) >= _REMEMBERED:
            self._tails.clear()
        self._tails[name] = tail

    def read(self, name: str, offset: int, length: int) -> bytes:
        if length == 0:
            self.size(name)
            return b""
        with edge(f"read segment {name!r}"):
            try:
                data: bytes = self._blob(name).download_blob(offset, length).readall()
            except HttpResponseError as error:
                if code(error) in _MISSING:
                    raise NotFound("segment", name) from None
                if code(error) != "InvalidRange":
                    raise
                offset, length, data = self.size(name), offset + length - self.size(name), b""
        if len(data) < length:
            raise StorageCorrupt(
                f"segment {name!r} ends at byte {offset + len(data)}, {offset + length} were committed"
            )
        return data

    def size(self, name: str) -> int:
        with edge(f"look at segment {name!r}"):
            try:
                return int(self._blob(name).get_blob_properties().size)
            except HttpResponseError as error:
                if error.status_code == 404:
                    raise NotFound("segment", name) from None
                raise

    def list(self, prefix: str = "") -> Iterator[str]:
        kind, inside, rest = prefix.partition("/")
        with edge(f"list segments {prefix!r}"):
            kinds = [kind] if inside else list(self._containers.names(kind))
            return iter(sorted(name for kind in kinds for name in self._in(kind, rest)))

    def _in(self, kind: str, prefix: str) -> Iterator[str]:
        try:
            for found in self._containers.container(kind).list_blobs(name_starts_with=prefix or None):
                # Other things lie in the account too.
                if found.blob_type == BlobType.APPENDBLOB:
                    yield f"{kind}/{found.name}"
        except HttpResponseError as error:
            if code(error) != "ContainerNotFound":
                raise

    def delete(self, name: str) -> None:
        self._tails.pop(name, None)
        with edge(f"delete segment {name!r}"):
            try:
                self._blob(name).delete_blob()
            except HttpResponseError as error:
                if error.status_code != 404:
                    raise

    def sync(self, also: Iterable[str] = ()) -> None:
        pass

    def _blob(self, name: str) -> BlobClient:
        kind, _, rest = name.partition("/")
        return self._containers.blob(kind, rest)
