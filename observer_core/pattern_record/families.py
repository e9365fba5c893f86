"""Families of detectors: each with a state of its own beside that of the recogniser, a file or folder each.

What they share is the reading of a snapshot (`Seen`): which cell belongs to which series, what was
observed at all, and the names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from observer_core.pattern_record.findings import Finding
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.units import Severity
from observer_core.pattern_record.window import Flags, Floats
from observer_core.shared.records import Series, Snapshot


@dataclass(slots=True)
class Seen:
    """One snapshot as the recogniser reads it.

    `x` holds the plan's cells, field by field (`plan.fields`), a subject each (`plan.row_of`);
    NaN where there is no number. Only `fresh` cells (None: all of them) are observations: the others
    are duplicates, stale, out of order or of a closed market, and must not be learnt from.
    `state.clock` is the source's observed time, `state.cadence` its interval (ns, 0 until known),
    `state.tick` counts its snapshots. `x` is overwritten by the next snapshot.
    """

    source: str
    snapshot: Snapshot
    plan: Plan
    state: RecogniserState
    x: Floats
    fresh: Flags | None

    def values(self) -> Floats:
        """The cells that are observations; NaN elsewhere."""
        return self.x if self.fresh is None else np.where(self.fresh, self.x, np.nan)

    def series(self, cell: int) -> Series:
        return (self.source, *self.state.name(int(self.plan.columns[cell])))


class Family(Protocol):
    """Detectors that share one state. Their state is owned by the caller, and changed in place.

    `detectors` maps each pattern to its detector and version, in the order of the records; what is
    said of a series depends on its own observations, in their order, or on what is documented
    otherwise; equal snapshots in any batches, dumped and loaded at any point, give equal findings.
    """

    @property
    def name(self) -> str: ...

    @property
    def detectors(self) -> Mapping[str, str]: ...

    @property
    def severities(self) -> Mapping[str, Severity]:
        """Of each pattern: from which score on it is grave."""

    def initial(self) -> Any: ...

    def observe(self, own: Any, seen: Seen) -> list[Finding]: ...

    def forget(self, own: Any, subjects: Collection[str]) -> None:
        """No alarm of these subjects stands any longer: they belong to another shard now."""

    def dump(self, own: Any) -> bytes:
        """Equal states, equal bytes."""

    def load(self, blob: bytes) -> Any: ...
