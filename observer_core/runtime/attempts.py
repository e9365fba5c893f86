"""How often a stage has tried an entry, counted durably: a try that ends the process counts too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from observer_core.shared.stage import Entry
from observer_core.storage.journal import Journal
from observer_core.storage.rows import InputRange

Fences = Mapping[str, tuple[int, int]]
"""Positions first..last of an input that are tried one by one: any of them may be the one that kills."""


class Failed(Exception):
    """Entries could not be worked on, and the state is lost; what `fences` holds is tried one by one."""

    def __init__(self, fences: Fences) -> None:
        self.fences = fences


class Attempts:
    """The attempts of one stage, in rows of the journal it writes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._fences: dict[str, tuple[int, int]] = {}

    def begin(
        self, consumed: Mapping[str, int], tops: Mapping[str, int], batch: int, noted: Mapping[str, Any]
    ) -> None:
        """A worker without a past may follow one that a record killed: count before the first try.

        `noted` are the attempts as the journal has them.
        """
        for name, top in tops.items():
            after = consumed.get(name, 0)
            if top <= after:
                continue
            known = noted.get(name)
            if known is not None and known["first"] <= after + 1 <= known["last"]:
                self._fences.setdefault(name, (after + 1, known["last"]))
            else:
                last = min(top, after + batch)
                self._journal.record_attempt(name, {"first": after + 1, "last": last, "attempts": 1})

    def fence(self, fences: Fences) -> None:
        self._fences.update(fences)

    def suspects(self, entry: Entry) -> bool:
        """May this entry have brought a worker down?"""
        fence = self._fences.get(entry.journal) if self._fences else None
        if fence is None or entry.position < fence[0]:
            return False
        if entry.position > fence[1]:
            del self._fences[entry.journal]
            return False
        return True

    def of(self, entry: Entry) -> tuple[int, str | None]:
        """How often this entry has been tried alone, and what the last of these gave."""
        return self._of(entry.journal, entry.position)

    def count(self, journal: str, position: int, attempts: int, error: str | None) -> None:
        """Durable when it returns."""
        value = {"first": position, "last": position, "attempts": attempts}
        self._journal.record_attempt(journal, value if error is None else {**value, "error": error})

    def failed(self, journal: str, position: int, error: Exception) -> Failed:
        """What to raise for an entry that `transition` has refused."""
        tried, _ = self._of(journal, position)
        text = f"{type(error).__name__}: {error}"[:500].encode(errors="replace").decode()
        self.count(journal, position, max(1, tried), text)
        return Failed({journal: (position, position)})

    def unwritable(self, ranges: Sequence[InputRange], error: Exception) -> Exception:
        """What an entry gave cannot be committed: the same as failing. Which entry, a fence finds out."""
        if not ranges:
            return error
        first = ranges[0]
        if len(ranges) == 1 and first.first == first.last:
            return self.failed(first.journal, first.first, error)
        fences: dict[str, tuple[int, int]] = {}
        for item in ranges:
            fences[item.journal] = (fences.get(item.journal, (item.first, 0))[0], item.last)
        return Failed(fences)

    def _of(self, journal: str, position: int) -> tuple[int, str | None]:
        known = self._journal.attempt(journal)
        if known is None or not known["first"] == known["last"] == position:
            return 0, None
        return known["attempts"], known.get("error")
