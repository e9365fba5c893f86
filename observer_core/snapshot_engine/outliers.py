"""Outlier prints: prices that have left the ones before them further than prices do."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observer_core.snapshot_engine.newest import Index, State, as_array, cells


def outlier_prints(
    state: State, event_ns: int, prices: NDArray[np.float64], rows: Index, columns: Index, jump: float
) -> NDArray[np.bool_] | None:
    """The subjects with a price over `jump` times, or under 1/`jump` of, the one before; None: there is none.

    A price that comes after an outlier is none if it is back where prices were, or stays at the
    new place. What was there before an unconfirmed outlier is kept in `state.doubted`. Before the
    newest rows are replaced; `rows` and `columns` are where `prices` stand in the state.
    """
    before = state.values[cells(rows, columns)]
    far = (prices > before * jump) | (prices * jump < before)
    if not state.doubted and not np.count_nonzero(far):
        return None
    current = state.newest_ns[columns] <= event_ns
    far &= (prices > 0) & (before > 0) & current
    rows_at = as_array(rows)
    cells_far = set(zip(*(part.tolist() for part in np.nonzero(far)), strict=True))
    found = np.zeros(prices.shape[1], np.bool_)
    for row, at in sorted(cells_far | _doubted(state, rows_at, columns)):
        price = float(prices[row, at])
        if not (price > 0 and current[at]):
            continue
        cell = int(rows_at[row]), _column(columns, at)
        believed = state.doubted.pop(cell, None)
        if (row, at) not in cells_far:
            continue  # it stays there: it was no outlier
        if believed is not None and believed <= price * jump and price <= believed * jump:
            continue  # back where it was
        state.doubted[cell] = float(before[row, at]) if believed is None else believed
        found[at] = True
    return found


def _doubted(state: State, rows: NDArray[np.intp], columns: Index) -> set[tuple[int, int]]:
    """Where the cells that are in doubt stand in a snapshot; without those that are not in it."""
    found: set[tuple[int, int]] = set()
    for row, column in state.doubted:
        at = _place(columns, column)
        if at is not None:
            found.update((number, at) for number in np.flatnonzero(rows == row).tolist())
    return found


def _place(columns: Index, column: int) -> int | None:
    if isinstance(columns, slice):
        return column - columns.start if columns.start <= column < columns.stop else None
    found = np.flatnonzero(columns == column)
    return int(found[0]) if len(found) else None


def _column(columns: Index, at: int) -> int:
    return columns.start + at if isinstance(columns, slice) else int(columns[at])
