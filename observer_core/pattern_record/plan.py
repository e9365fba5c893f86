"""Where the cells of a snapshot belong: worked out once for every shape of snapshot."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import Floats, Window
from observer_core.shared.records import Snapshot

_MAX_PLANS, _MAX_CELLS = 128, 1_000_000
"""What is remembered of shapes at once: some 100 bytes a cell."""


class Plan:
    """The cells of snapshots with these subjects and fields, and their columns in the state.

    Cells run field by field: `fields` (judged by return first, then by value), each with the
    rows `rows` (None: all of them; a subject that is named twice counts once). `columns[c]` is
    the series of cell c, `span` their range where they lie side by side, and `window` then
    shows them in place. The first `returns` cells are judged by their return. `covered` (None: none):
    cells that a family of detectors judges instead of spikes, level and variance shifts.
    """

    __slots__ = (
        "_allocations", "caches", "columns", "covered", "familiar", "field_names", "fields", "returns",
        "row_of", "rows", "size", "span", "subjects", "window",
    )  # fmt: skip

    def __init__(self, state: RecogniserState, config: RecogniserConfig, snapshot: Snapshot) -> None:
        self.subjects, self.field_names = snapshot.subjects, tuple(snapshot.fields)
        self.fields = _judged(config, self.field_names)
        unique = dict.fromkeys(self.subjects)
        self.row_of = {subject: row for row, subject in enumerate(unique)}
        self.rows: NDArray[np.intp] | None = None
        if len(unique) != len(self.subjects):
            first = {subject: row for row, subject in reversed(list(enumerate(self.subjects)))}
            self.rows = np.array([first[subject] for subject in unique], np.intp)
        _register(state, self.fields, tuple(unique))
        self.columns = np.array(
            [state.positions[field][subject] for field in self.fields for subject in unique], np.intp
        )
        self.size = len(self.columns)
        self.returns = len(unique) * sum(config.transform(field) == "return" for field in self.fields)
        self.span: slice | None = None
        if self.size and (self.columns == np.arange(self.columns[0], self.columns[0] + self.size)).all():
            self.span = slice(int(self.columns[0]), int(self.columns[0]) + self.size)
        self.familiar = False
        self.caches: dict[str, Any] = {}
        """What a family of detectors keeps for snapshots of this shape, by its name; no part of the state."""
        covered = np.repeat([config.covered(field) for field in self.fields], len(unique))
        self.covered: NDArray[np.bool_] | None = covered if covered.any() else None
        self._allocations = -1
        self.window = Window.fresh(0)
        self.see(state)

    def see(self, state: RecogniserState) -> None:
        """Keeps `window` on the state's arrays, which move when they grow."""
        if self._allocations != state.allocations:
            self._allocations = state.allocations
            if self.span is not None:
                self.window = Window(state.values[:, self.span])

    def fill(self, snapshot: Snapshot, out: Floats) -> None:
        """Writes the snapshot's cells to `out`, in this plan's order."""
        columns = [snapshot.fields[field] for field in self.fields]
        if self.rows is not None:
            columns = [column[self.rows] for column in columns]
        np.concatenate(columns, out=out)


def plan_of(state: RecogniserState, config: RecogniserConfig, snapshot: Snapshot) -> Plan:
    """The plan for snapshots of this shape; new series get their columns in the state."""
    names = tuple(snapshot.fields)
    plan: Plan | None = state.plans.get("last")
    if plan is None or plan.subjects is not snapshot.subjects or plan.field_names != names:
        key = (snapshot.subjects, names)
        plan = state.plans.get(key)
        if plan is None:
            if len(state.plans) >= _MAX_PLANS or sum(one.size for one in state.plans.values()) > _MAX_CELLS:
                state.plans.clear()
            plan = state.plans[key] = Plan(state, config, snapshot)
        plan.subjects = snapshot.subjects
        state.plans["last"] = plan
    plan.see(state)
    return plan


def _judged(config: RecogniserConfig, names: tuple[str, ...]) -> tuple[str, ...]:
    kept = [name for name in names if not any(fnmatchcase(name, glob) for glob in config.ignore_fields)]
    return tuple(sorted(kept, key=lambda name: (config.transform(name) != "return", name)))


def _register(state: RecogniserState, fields: tuple[str, ...], subjects: tuple[str, ...]) -> None:
    """Appends the series that are new; neighbouring fields with the same new subjects as one block."""
    block: list[str] = []
    unknown: tuple[str, ...] = ()
    before = len(state.subjects)
    for field in fields:
        known = state.positions.get(field, {})
        new = tuple(subject for subject in subjects if subject not in known)
        if new != unknown and block:
            state.append(tuple(block), unknown)
            block = []
        unknown = new
        if new:
            block.append(field)
    if block:
        state.append(tuple(block), unknown)
    if len(state.subjects) != before:
        state.views_version += 1
