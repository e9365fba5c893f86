"""All journals of one storage: which there are, in which domain, how far they are durable."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import Conflict, JournalError
from observer_core.storage.archive.excerpts import forget_excerpts
from observer_core.storage.archive.packs import Packs, forget_unpacked
from observer_core.storage.journal import TAIL_BYTES, Commit, Journal
from observer_core.storage.ports import ROWS_PER_TRANSACTION, Op, Storage

_REGISTRY: Final = "registry"
_DURABLE: Final = "durable"


class Journals:
    """All journals of one storage, and which domain each belongs to."""

    def __init__(self, storage: Storage, *, worker: str, tail_bytes: int = TAIL_BYTES) -> None:
        self._tail_bytes = tail_bytes
        self.storage = storage
        self.worker = worker
        self._open: dict[str, Journal] = {}
        self._domains: dict[str, str] = {}
        self._commits = 0
        self.on_commit: Callable[[str, int, Commit, int], None] | None = None
        """Told of records that this process commits: their journal, first position and bytes."""
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._foreign = False

    def open(self, name: str, domain: str | None = None) -> Journal:
        """The journal; registered under `domain` when that is given (writers give it, readers need not)."""
        journal = self._open.get(name)
        if journal is None:
            _check_name(name)
            with self._lock:
                journal = self._open.setdefault(
                    name,
                    Journal(self.storage, name, self._next_commit_id, self._tail_bytes, self._committed),
                )
        # Not under the lock: who waits here for another thread's group must not hold what that one needs.
        if domain is not None and self._domains.get(name) != domain:
            self._register(name, domain)
        return journal

    def names(self, kind: str | None = None, domain: str | None = None) -> list[str]:
        """Registered journals in ascending order, of one kind (`snapshots`, …) and domain if given."""
        prefix = f"{kind}." if kind else ""
        rows = self.storage.tables.query(_REGISTRY, prefix, prefix + "~")
        found = {row.key: decode(row.value)["domain"] for row in rows}
        self._domains.update(found)
        return [name for name, where in found.items() if domain is None or where == domain]

    def domain_of(self, name: str) -> str | None:
        """The domain that a journal was registered in, which never changes; None for one that is not."""
        if name not in self._domains:
            self.names()  # all at once: whoever asks for one is about to ask for others
        return self._domains.get(name)

    def domains(self) -> list[str]:
        self.names()
        return sorted(set(self._domains.values()))

    def sync(self) -> None:
        """Makes all that this process has committed durable, and moves the rows out of the write-ahead log.

        Not for the hot path, nor inside a group; safe from another thread. Bytes first: what the index
        says was durable at position p was synced before the index said so.
        """
        with self._syncing:  # who comes second must not vouch for what the first is still syncing
            self._sync()

    def _sync(self) -> None:
        if self.storage.volatile:
            with self._lock:
                journals = list(self._open.values())
            # As stored: what another thread's group has not committed yet may never be.
            heads = {journal.name: journal.head().position for journal in journals}
            # What these heads build on may be another process's, perhaps one that has died.
            foreign = [journal.name for journal in journals if journal.others_wrote()]
            self._foreign |= bool(foreign)  # also what a sync that failed has met
            self.storage.segments.sync(self._not_durable() if self._foreign else ())
            self._foreign = False
            ops = [
                Op("upsert", name, encode({"position": position}))
                for name, position in heads.items()
                if position
            ]
            for start in range(0, len(ops), ROWS_PER_TRANSACTION):
                self.storage.tables.commit(_DURABLE, ops[start : start + ROWS_PER_TRANSACTION])
        self.storage.checkpoint()

    def _not_durable(self) -> set[str]:
        """Segments of all commits that nobody has said to be durable yet."""
        return {
            row.segment
            for name in self.names()
            for row in self.open(name).rows(from_position=self.durable_position(name) + 1)
            if row.records
        }

    def all_durable(self) -> None:
        """Syncs what was committed without that, and takes the marks away: nothing needs them any more."""
        self.storage.segments.sync(self._not_durable())
        rows = self.storage.tables.query(_DURABLE, "", "~")
        for start in range(0, len(rows), ROWS_PER_TRANSACTION):
            ops = [Op("delete", row.key) for row in rows[start : start + ROWS_PER_TRANSACTION]]
            self.storage.tables.commit(_DURABLE, ops)

    def marked(self) -> bool:
        """Whether this storage was ever used in a way that may leave rows without their bytes."""
        return bool(self.storage.tables.query(_DURABLE, "", "~", 1))

    def durable_position(self, name: str) -> int:
        """How far a journal is known to be durable; what is packed was so before."""
        row = self.storage.tables.get(_DURABLE, name)
        marked = 0 if row is None else int(decode(row.value)["position"])
        packs = Packs(self.storage, name).all(marked + 1)
        return packs[-1].last if packs else marked

    def forget(self) -> None:
        """Drops what this process remembers of the journals; the storage is asked again."""
        with self._lock:
            for journal in self._open.values():
                journal.forget()
            self._domains.clear()

    def trim(self) -> None:
        """Lets go of all records that are kept in memory."""
        with self._lock:
            journals = list(self._open.values())
        for journal in journals:
            journal.trim()
        forget_unpacked()
        forget_excerpts()

    def _register(self, name: str, domain: str) -> None:
        found = self.domain_of(name)
        if found is not None and found != domain:
            raise JournalError(
                f"journal {name!r} belongs to domain {found!r} and cannot be used in {domain!r}; "
                "give the source another name, or use the domain it has"
            )
        if found is None:
            try:
                self.storage.tables.commit(_REGISTRY, [Op("insert", name, encode({"domain": domain}))])
            except Conflict:
                self._register(name, domain)
        self._domains[name] = domain

    def _committed(self, journal: str, first: int, commit: Commit, size: int) -> None:
        if self.on_commit is not None:
            self.on_commit(journal, first, commit, size)

    def _next_commit_id(self) -> str:
        self._commits += 1
        return f"{self.worker}.{self._commits}"


def _check_name(name: str) -> None:
    kind, _, rest = name.partition(".")
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789_-")
    if not kind or not rest or not set(kind) <= allowed or not set(rest) <= allowed or len(name) > 80:
        raise JournalError(f"{name!r} is not a journal name: KIND.NAME of a-z, 0-9, _ and - was expected")
