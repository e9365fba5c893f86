"""Who still needs records of a journal: stages that go on from a state, subscribers that were not told yet.

A stage starts, and is computed again, from a state and what it has consumed since. So of an input nothing
goes that its newest state does not have behind it; and where a state stands at or before the wanted cut,
the cut moves back to it, so that what is kept of the stage's records can be computed from there on. It
moves back so far at most that nothing is kept twice as long as it has to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from observer_core.shared.clock import SECOND
from observer_core.shared.ids import ref
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER
from observer_core.storage.rows import StateRow

_TOLD_WITHIN_NS: Final = 86_400 * SECOND
"""So far back what is routed, or told together, may name records of its stream."""


@dataclass(frozen=True, slots=True)
class Bound:
    """No record after `position`, and no commit after `seq` if that is given, may go, and why."""

    position: int
    why: str
    seq: int | None = None


class Consumers:
    """All that the journals say about who has read how far.

    `is_told`: whether a subscription, by the name of its journal, is still one.
    """

    def __init__(self, journals: Journals, is_told: Callable[[str], bool]) -> None:
        self._journals, self._is_told = journals, is_told
        self._read: dict[str, dict[str, int]] = {}
        self._states: dict[str, list[StateRow]] = {}
        self._quarantined: dict[str, set[int]] = {}
        self._sent: list[int] = []
        known = set(journals.names())
        self._bases = {name: journals.open(name).base().position for name in known}
        for name in sorted(known):
            journal = journals.open(name)
            found: dict[str, Any] = journal.checkpoints()
            inputs = {on: value for on, value in found.items() if on in known and "position" in value}
            self._read[name] = {on: int(value["position"]) for on, value in inputs.items()}
            self._states[name] = journal.states()
            for key in journal.views("quarantined."):
                on, _, position = key.removeprefix("quarantined.").rpartition("@")
                self._quarantined.setdefault(on, set()).add(int(position))
            if name == LEDGER:
                self._sent = [
                    int(value["position"]) for key, value in found.items() if key.startswith("sent.")
                ]

    def moved(self, name: str, base: int) -> None:
        """The records of a journal up to `base` are gone, or are taken to be."""
        self._bases[name] = base

    def quarantined(self, name: str) -> set[int]:
        """Entries that were set aside and may be worked again."""
        return self._quarantined.get(name, set())

    def bounds(self, name: str, overdue: int, wanted: int) -> Iterator[Bound]:
        """What keeps records of a journal that may go up to `wanted` otherwise.

        Those up to `overdue` must go wherever nobody is left without what he needs to go on.
        """
        own = self._states[name]
        if own:
            behind = [row for row in self._usable(name) if overdue <= row.position <= wanted]
            row = behind[-1] if behind else own[-1]
            yield Bound(row.position, f"it goes on from its own state at {ref(name, row.position)}", row.seq)
        if name == LEDGER and self._sent:
            yield Bound(max(self._sent), "anchors after it were not sent yet")
        for reader, read in self._read.items():
            if name not in read:
                continue
            if reader.startswith("results."):
                yield from self._told(name, reader, read)
            else:
                yield self._worked(name, reader, overdue, wanted)

    def _worked(self, name: str, reader: str, overdue: int, wanted: int) -> Bound:
        states = self._states[reader]
        if not states:
            return Bound(0, f"{reader} has no state to go on from")
        consumed = [row.consumed.get(name, 0) for row in self._usable(reader)]
        newest = states[-1].consumed.get(name, 0)
        behind = max((position for position in consumed if overdue <= position <= wanted), default=None)
        if behind is not None:
            return Bound(behind, f"{reader} is computed again from its state at {ref(name, behind)}")
        return Bound(newest, f"{reader} goes on from its state at {ref(name, newest)}")

    def _usable(self, reader: str) -> list[StateRow]:
        bases = {name: self._bases[name] for name in self._read[reader]}
        return [row for row in self._states[reader] if usable(row, bases)]

    def _told(self, name: str, reader: str, read: dict[str, int]) -> Iterator[Bound]:
        if not self._is_told(reader):
            return
        domain = self._journals.domain_of(reader)
        routes, who = f"routes.{domain}", f"subscription {reader.removeprefix(f'results.{domain}-')}"
        if name == routes or routes not in read:
            yield Bound(read[name], f"{who} has been told up to {ref(name, read[name])}")
            return
        routed = self._journals.open(routes)
        if read[routes] < routed.head().position:
            waits = routed.entry(read[routes] + 1).time_ns
            last = self._journals.open(name).position_at(waits - _TOLD_WITHIN_NS)
            yield Bound(last, f"{who} has not been told of all that is routed")


def usable(state: StateRow, bases: Mapping[str, int]) -> bool:
    """Whether what a stage has consumed since its state is still there; `bases`: of all its inputs."""
    return all(state.consumed.get(name, 0) >= base for name, base in bases.items())


def useless_states(journals: Journals, journal: Journal) -> set[int]:
    """Commits whose states nothing can be computed from any more: inputs behind them were removed."""
    known = set(journals.names())
    bases = {name: journals.open(name).base().position for name in journal.checkpoints() if name in known}
    return {row.seq for row in journal.states() if not usable(row, bases)}
