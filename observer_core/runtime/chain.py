"""The chain of what was committed lately, verified as it grows."""

from __future__ import annotations

from collections.abc import Iterable

from observer_core.storage.journal import Journal
from observer_core.storage.rows import CommitRow
from observer_core.storage.verify import Verified, verify


class RecentChain:
    """Verifies each journal from where it was verified last; at first its newest `records` records.

    One that grew by more than `records` since is verified over its newest ones only, so
    the cost of a look is bounded. A fault that a full verification found stays until
    another one finds none.
    """

    def __init__(self, records: int) -> None:
        self._records = records
        self._verified: dict[str, CommitRow] = {}
        self._full: dict[str, Verified] = {}

    def full(self, results: Iterable[Verified]) -> None:
        """What a verification of whole journals has found."""
        self._full.update((result.journal, result) for result in results)

    def verify(self, journal: Journal) -> Verified:
        known = self._full.get(journal.name)
        if known is not None and known.fault is not None:
            return known
        after = self._start(journal)
        newest = after
        for row in journal.rows(after.seq if after else 0, after.last if after else 1):
            newest = row
        result = verify(journal, after)
        if result.fault is None and newest is not None:
            self._verified[journal.name] = newest
        return result

    def _start(self, journal: Journal) -> CommitRow | None:
        head = journal.head()
        row = self._verified.get(journal.name)
        if row is not None and row.seq <= head.seq and head.position - row.last <= self._records:
            return row
        first = head.position - self._records
        return next(journal.rows(from_position=first), None) if first > 0 else None
