"""The series that a family watches: a column of numbers each, by name, apart from the recogniser's own.

Guarantee: what is kept of a series does not depend on the others, nor on the order in which
they came; equal states give equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from fnmatch import translate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.observation import LARGEST
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.window import Flags, Floats, constant
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import RecordError
from observer_core.shared.records import ALL

Key = tuple[str, ...]
"""(subject, field) of a series; of a pair, those of both."""
Columns = NDArray[np.intp]

_LARGEST = constant(LARGEST)
_DOUBTED = "outlier_print"


class Watched:
    """`values` (rows, n): a column for each of `keys`; columns beyond them mean nothing.

    `busy`: whether any of them is out of the ordinary, as its family knows; no part of the state.
    """

    def __init__(self, fresh: Floats) -> None:
        """`fresh`: the column of a series that was never observed."""
        self.keys: list[Key] = []
        self.busy = False
        self._fresh = fresh.reshape(-1, 1)
        self._at: dict[Key, int] = {}
        self._sides: dict[Key, list[int]] = {}
        self.values = np.empty((len(fresh), 0))

    @property
    def size(self) -> int:
        return len(self.keys)

    def column(self, key: Key) -> int:
        """The column of `key`, which begins without a past if it is new."""
        at = self._at.get(key)
        if at is None:
            at = len(self.keys)
            self.keys.append(key)
            self._index(at, key)
            if at == self.values.shape[1]:
                grown = np.repeat(self._fresh, max(8, 2 * at), axis=1)
                grown[:, :at] = self.values
                self.values = grown
        return at

    def columns_of(self, subject: str, field: str) -> list[int]:
        """The columns that this series has a side of."""
        return self._sides.get((subject, field), [])

    def _index(self, at: int, key: Key) -> None:
        self._at[key] = at
        for side in (key[:2], key[2:]):
            if side:
                self._sides.setdefault(side, []).append(at)

    def forget(self, subjects: Collection[str]) -> None:
        gone = [at for at, key in enumerate(self.keys) if not set(subjects).isdisjoint(key[::2])]
        self.values[:, gone] = self._fresh

    def dump(self) -> bytes:
        header = {"keys": [list(key) for key in self.keys], "rows": len(self._fresh)}
        return b"".join((encode(header), b"\n", np.ascontiguousarray(self.values[:, : self.size]).tobytes()))

    def load(self, blob: bytes, known: Callable[[Key], bool]) -> None:
        """What `dump` wrote, into one that is empty, without the keys that are not `known` any more."""
        head, _, body = blob.partition(b"\n")
        header = decode(head)
        keys = [tuple(key) for key in header["keys"]]
        rows = len(self._fresh)
        if header["rows"] != rows or len(body) != 8 * rows * len(keys):
            raise RecordError(
                f"expected {rows} numbers for each of {len(keys)} series, found {len(body)} bytes"
            )
        kept = [at for at, key in enumerate(keys) if known(key)]
        self.keys = [keys[at] for at in kept]
        for at, key in enumerate(self.keys):
            self._index(at, key)
        self.values = np.frombuffer(body, "<f8").astype(np.float64).reshape(rows, -1)[:, kept]


class Globs:
    """Which series a rule is of."""

    __slots__ = ("_field", "_subject")

    def __init__(self, subject: str, field: str) -> None:
        self._subject, self._field = re.compile(translate(subject)), re.compile(translate(field))

    def field(self, name: str) -> bool:
        return self._field.match(name) is not None

    def subject(self, name: str) -> bool:
        return self._subject.match(name) is not None


def rule_of(globs: list[Globs], subject: str, field: str) -> int | None:
    """The first rule that is of this series."""
    for number, one in enumerate(globs):
        if one.field(field) and one.subject(subject):
            return number
    return None


def matches(globs: list[Globs], plan: Plan) -> list[tuple[int, str, str, int]]:
    """(cell, subject, field, rule) of each series in `plan` that a rule is of."""
    found = []
    for place, field in enumerate(plan.fields):
        numbers = [number for number, one in enumerate(globs) if one.field(field)]
        if not numbers:
            continue
        for subject, row in plan.row_of.items():
            rule = next((number for number in numbers if globs[number].subject(subject)), None)
            if rule is not None:
                found.append((place * len(plan.row_of) + row, subject, field, rule))
    return found


def together(columns: Columns) -> Any:
    """The same columns as a slice where they lie side by side."""
    first = int(columns[0])
    if (columns == np.arange(first, first + len(columns))).all():
        return slice(first, first + len(columns))
    return columns


def observed(seen: Seen, cells: Columns) -> tuple[Floats, Flags]:
    """What stands in `cells`, and which of it is an observation that is believed."""
    x = seen.x[cells]
    good = np.less(np.abs(x), _LARGEST)
    if seen.fresh is not None:
        good &= seen.fresh[cells]
    if seen.snapshot.quality and (doubted := _doubted(seen)) is not None:
        good &= ~doubted[cells]
    return x, good


def _doubted(seen: Seen) -> Flags | None:
    """Cells of rows whose price may be a misprint."""
    found: Flags | None = None
    for subject, flags in seen.snapshot.quality.items():
        row = seen.plan.row_of.get(subject)
        if _DOUBTED in flags and (row is not None or subject == ALL):
            found = np.zeros(seen.plan.size, np.bool_) if found is None else found
            found[slice(None) if row is None else slice(row, None, len(seen.plan.row_of))] = True
    return found
