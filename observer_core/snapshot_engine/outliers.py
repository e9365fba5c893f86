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
    if not state.doubted and not np.logical_or.reduce(far, axis=None):
        return None
    places = as_array(columns)
    current = state.newest_ns[places] <= event_ns
    far &= (prices > 0) & (before > 0) & current
    found = np.zeros(len(places), np.bool_)
    at = {int(row): number for number, row in enumerate(as_array(rows))}
    of = {int(column): number for number, column in enumerate(places)}
    cells_far = {(int(row), int(column)) for row, column in zip(*np.nonzero(far), strict=True)}
    cells_known = {(at[row], of[column]) for row, column in state.doubted if row in at and column in of}
    rows_at, columns_of = list(at), list(of)
    for row, column in sorted(cells_far | cells_known):
        price = float(prices[row, column])
        if not (price > 0 and current[column]):
            continue
        cell = rows_at[row], columns_of[column]
        believed = state.doubted.pop(cell, None)
        if (row, column) not in cells_far:
            continue  # it stays there: it was no outlier
        if believed is not None and believed <= price * jump and price <= believed * jump:
            continue  # back where it was
        state.doubted[cell] = float(before[row, column]) if believed is None else believed
        found[column] = True
    return found
