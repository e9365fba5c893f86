"""The stage contract: what a stage may see, and what it may do.

A stage is a pure function over journals. It gets a state and entries in their
recorded order, and gives records. It has no clock, no storage, no randomness and no
environment; its numerics are + − × ÷ √, comparisons, sorting and fixed-order
reductions. That is why every decision can be computed again, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from observer_core.shared.ids import ref
from observer_core.shared.records import AnyRecord, Record

S = TypeVar("S")


class Entry(NamedTuple):
    """A record where it stands: `journal` @ `position` (1 is a journal's first record)."""

    journal: str
    position: int
    record: AnyRecord

    @property
    def time_ns(self) -> int:
        return self.record.time_ns

    @property
    def ref(self) -> str:
        return ref(self.journal, self.position)


class Stage(Protocol[S]):
    """One stage's rules. `runtime.engine` does everything else.

    The state is owned by one caller at a time: `transition` and `advance` may change it
    in place and are never given a state again that failed half way. Equal states and
    equal inputs give equal records and equal states, in any batches.
    """

    @property
    def name(self) -> str:
        """`recognise`, `publish`, `decide`."""

    @property
    def version(self) -> str:
        """Changes whenever the same input may give other records."""

    def config(self) -> Mapping[str, Any]:
        """The configuration that can change this stage's records, in full, as JSON values."""

    def initial(self) -> S: ...

    def transition(self, state: S, entry: Entry) -> Sequence[Record]:
        """What follows from one entry. Timers due at or before the entry's time fire first."""

    def advance(self, state: S, through_ns: int) -> Sequence[Record]:
        """What follows from time alone: every input up to `through_ns` has been seen.

        Changes the state only where it gives a record: how often it is called is not recorded.
        """

    def views(self, state: S) -> Mapping[str, Any]:
        """What readers look up (the gate), a JSON value a key; the whole, each time."""

    def views_version(self, state: S) -> int:
        """Grows whenever `views` would answer otherwise; cheap, asked after every entry."""

    def dump(self, state: S) -> bytes:
        """The state as bytes: equal states, equal bytes."""

    def load(self, blob: bytes) -> S: ...
