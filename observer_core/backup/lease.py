"""One at a time makes or removes backups of a store. Who dies loses the turn after two minutes."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from observer_core.shared.canonical import decode, encode
from observer_core.shared.clock import SECOND, Clock, format_time
from observer_core.shared.errors import Conflict, StorageError
from observer_core.storage.ports import Op, Storage

PARTITION: Final = "backup"
_KEY: Final = "lease"
_LASTS_NS: Final = 120 * SECOND


class Busy(StorageError):
    """Somebody else makes or removes backups of this store now."""


class Lease:
    """`with` it; `keep` it up between steps: `Busy` when it was lost."""

    def __init__(self, storage: Storage, clock: Clock, owner: str) -> None:
        self._tables, self._clock, self._owner = storage.tables, clock, owner
        self._etag = ""
        self._until_ns = 0

    def __enter__(self) -> Lease:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception | KeyboardInterrupt):
            return  # the process is going: it does nothing more
        row = self._tables.get(PARTITION, _KEY)
        if row is not None and row.etag == self._etag:
            self._tables.commit(PARTITION, [Op("delete", _KEY)])

    def keep(self) -> None:
        if self._clock.now_ns() >= self._until_ns - _LASTS_NS // 2:
            self._take()

    def _take(self) -> None:
        now_ns = self._clock.now_ns()
        row = self._tables.get(PARTITION, _KEY)
        if self._etag and (row is None or row.etag != self._etag):
            raise Busy("this process was silent for so long that somebody else took its turn; begin again")
        if row is not None and not self._etag:
            held = decode(row.value)
            # One that would last longer than any was taken by a clock that was wrong.
            if 0 < held["until_ns"] - now_ns <= 2 * _LASTS_NS:
                raise Busy(
                    f"{held['owner']} makes or removes backups of this store; if it has died, its turn ends "
                    f"at {format_time(held['until_ns'])}"
                )
        value = encode({"owner": self._owner, "until_ns": now_ns + _LASTS_NS})
        op = Op("insert", _KEY, value) if row is None else Op("replace", _KEY, value, row.etag)
        try:
            self._etag = self._tables.commit(PARTITION, [op])[0]
        except Conflict:
            raise Busy("somebody else has just begun to make or remove backups of this store") from None
        self._until_ns = now_ns + _LASTS_NS
