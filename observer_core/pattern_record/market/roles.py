"""Which cells of a snapshot are prices, quotes and volumes, and which of them are there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.window import Flags, constant

Cells = NDArray[np.float64]
Places = NDArray[np.intp]


class Roles:
    """Roles of fields in a plan, worked out once for every shape of snapshot.

    A role's cells are `size` side by side, a subject each, from its number on. `columns[i]` is the
    column of the plan's subject i in the family's state; `span` their range where they lie side by side.
    """

    __slots__ = ("book", "columns", "prints", "size", "span", "volume", "windows")

    def __init__(self, config: Market, plan: Plan) -> None:
        self.size = len(plan.row_of)
        place = {field: number * self.size for number, field in enumerate(plan.fields)}
        self.prints = tuple((name, place[name]) for name in config.prices if name in place)
        pairs = [(bid, ask) for bid, ask in config.quotes if bid in place and ask in place]
        self.book = (pairs[0][0], place[pairs[0][0]], place[pairs[0][1]]) if pairs else None
        volumes = [name for name in config.volumes if name in place]
        self.volume = (volumes[0], place[volumes[0]]) if volumes else None
        self.columns: Places = np.empty(0, np.intp)
        self.span: slice | None = None
        self.windows: dict[str, Any] = {}
        """What the family keeps for these columns; no part of the state."""

    def __bool__(self) -> bool:
        return bool(self.prints or self.book or self.volume)

    @property
    def price_field(self) -> str:
        """The field that findings about the price name."""
        if self.prints:
            return self.prints[0][0]
        assert self.book is not None
        return self.book[0]

    def stand_at(self, columns: Places) -> None:
        self.columns = columns
        first = int(columns[0])
        if (columns == np.arange(first, first + len(columns))).all():
            self.span = slice(first, first + len(columns))


class Part:
    """The subjects of a snapshot that a step is about: in place (`rows` is None), or gathered.

    `missing`: subjects in place that are not there. A step speaks of subjects by their place `at`.
    `there`: None: all of them.
    """

    __slots__ = ("_there", "columns", "missing", "rows", "size")

    def __init__(self, roles: Roles, there: Flags | None, count: int) -> None:
        self.missing: Places | None = None
        self.rows: Places | None = None
        self.columns, self.size, self._there = roles.columns, count, there
        if roles.span is None or 2 * count <= roles.size:
            self.rows = np.arange(roles.size) if there is None else np.flatnonzero(there)
            self.columns = roles.columns[self.rows]
        elif there is not None and count < roles.size:
            self.missing = np.flatnonzero(~there)

    def row(self, at: int) -> int:
        return at if self.rows is None else int(self.rows[at])

    def take(self, cells: Cells, stand_in: Cells | float) -> Cells:
        """The cells of this part; `stand_in` for what is missing."""
        if self.rows is not None:
            return cells[self.rows]
        if self.missing is not None:
            cells = cells.copy()
            cells[self.missing] = stand_in if isinstance(stand_in, float) else stand_in[self.missing]
        return cells

    def find(self, column: int) -> int | None:
        """Where the subject in `column` is; None: it is not there."""
        if self.rows is not None:
            found = np.flatnonzero(self.columns == column)
            return int(found[0]) if len(found) else None
        at = column - int(self.columns[0])
        if not 0 <= at < len(self.columns) or (self._there is not None and not self._there[at]):
            return None
        return at


LARGEST = constant(1e300)
_ZERO, _HALF = constant(0.0), constant(0.5)


def positive(cells: Cells) -> Flags:
    """Which cells hold a price or a volume."""
    found = np.greater(cells, _ZERO)
    return np.logical_and(found, np.less(cells, LARGEST), out=found)


class Quoted:
    """Bids and asks of a snapshot; `there`: where both are prices, and how many those are."""

    __slots__ = ("ask", "bid", "count", "there")

    def __init__(self, bid: Cells, ask: Cells) -> None:
        self.bid, self.ask = bid, ask
        self.there = np.greater(np.minimum(bid, ask), _ZERO)
        np.logical_and(self.there, np.less(np.maximum(bid, ask), LARGEST), out=self.there)
        self.count = int(np.count_nonzero(self.there))

    def middle(self) -> Cells:
        middle: Cells = np.add(self.bid, self.ask)
        return np.multiply(middle, _HALF, out=middle)
