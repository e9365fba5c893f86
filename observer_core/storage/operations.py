"""How often a storage was asked, by the kinds that its bill has."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Literal

Kind = Literal[
    "blob.append", "blob.write", "blob.read", "blob.list", "blob.delete", "container.create",
    "table.transaction", "table.read", "table.query", "table.create",
    "queue.send", "queue.receive", "queue.delete", "queue.length", "queue.create",
]  # fmt: skip
"""`table.transaction` is one for all its rows; a read of n pages is n; a retry is one more."""


class Operations:
    """Counts since the start. Safe from any thread; a count costs less than a microsecond."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._lock = threading.Lock()

    def add(self, kind: Kind) -> None:
        with self._lock:
            self._counts[kind] += 1

    def counts(self) -> Counter[Kind]:
        """A copy. Two of them subtract: what happened in between."""
        with self._lock:
            return self._counts.copy()
