"""Which of many segments may have shifted at all: a look at all of them at once, before one at each.

A look of `shifts` at one segment is some 45 NumPy calls; nearly always it ends with nothing. This one takes
segments side by side, their newest means in one row, in single precision, and asks for a bound instead of a
statistic: of four means running (a *block*), a split inside of them leaves at least what constants
(or lines) leave of all means before the block and of all after it. Where even that is too much, for every
block, no split in the segment reaches the limit, and the segment is done with. The others are looked at
one by one, in double precision. So what is declared is what the look at each would have declared.

Why no rounding matters: sums have an error of some 1e-6 of Σny²; what remains of it after a mean (or a line)
must be 1/50 of it, or the segment is looked at; so is one whose squares overflow or nearly vanish (a NaN
says "may"), or with a mean so near to the bound of outliers that single precision cannot tell. A bound is
taken to be reached 0.02 % before it is. Every operation is elementwise, a maximum or a sort, and sums are
trees of additions.

In white noise 1 of 100 looks is left, and of what wanders nearly all are: a limit is reached there at
once, by residuals that are worth few points.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.window import Flags, Floats

_BLOCK = 4
_AT_ONCE = 64
_SIZES = np.array([float(1 << size) for size in reversed(range(8))])
_ROUNDED = 2e-6
_TINY = 1e-20
_FOLD = 12
_ASIDE, _KEPT = 80, 4
_MOST = 512
"""Means of a segment."""
_NARROW = 8
_MARGIN, _CLEAR = 1.0002, 0.02

Limit = float | Floats
Singles = NDArray[np.float32]


class _Grid:
    """What does not depend on the values, for means of these sizes, in blocks from the newest on.

    `sides` are 1/n, the mean time and 1/Σ(t − t̄)², left and right of every boundary between blocks. Splits
    for levels are in blocks from `near` to `near_end`, those for trends from `far` to `far_end`.
    """

    def __init__(self, lengths: tuple[int, ...], left: int, right: int, far: int) -> None:
        sizes = np.repeat(_SIZES[-len(lengths) :], lengths[::-1])
        self.m = m = len(sizes)
        self.blocks = blocks = -(-m // _BLOCK)
        pad = blocks * _BLOCK - m
        own = np.zeros((3, pad + m))
        n, first, second = own[:, pad:]
        n[:] = sizes
        ends = np.add.accumulate(n)
        t = (ends - n / 2.0) / ends[-1] - 0.5
        np.multiply(n, t, first)
        np.multiply(first, t, second)
        both = np.zeros((3, 2, blocks + 1))
        halves = own[:, ::2] + own[:, 1::2]
        np.add.accumulate(halves[:, ::2] + halves[:, 1::2], axis=1, out=both[:, 0, 1:])
        np.subtract(both[:, 0, -1:], both[:, 0], both[:, 1])
        points, firsts, seconds = both
        share = np.divide(1.0, np.maximum(points, 1.0), points)
        middle = np.multiply(firsts, share)
        np.divide(1.0, np.maximum(seconds - firsts * middle, 1e-15), seconds)
        both[1] = middle
        self.sides = both.astype(np.float32)[:, :, :, np.newaxis]
        self.n, self.t = np.array((n, t), np.float32)[:, :, np.newaxis]
        self.near, self.near_end = (pad + left) // _BLOCK, (pad + m - right) // _BLOCK + 1
        self.far, self.far_end = (pad + far) // _BLOCK, (pad + m - far) // _BLOCK + 1


@lru_cache(maxsize=64)
def grid_of(lengths: tuple[int, ...], left: int, right: int, far: int) -> _Grid:
    """For so many means of each size, smallest first. Sides of a split have so many, for a trend `far`."""
    return _Grid(lengths, left, right, far)


class Segments(NamedTuple):
    """Segments of equally many means, a column each: arrays one below the other, oldest first."""

    means: Sequence[Floats]
    grid: _Grid

    @staticmethod
    def of(means: Sequence[Floats], grid: _Grid) -> Segments:
        """In one array where they are few: every call costs more then than what it does."""
        return Segments([np.concatenate(means)] if means[0].shape[1] < _NARROW else means, grid)

    @property
    def width(self) -> int:
        return int(self.means[0].shape[1])

    def part(self, begin: int, end: int) -> Segments:
        return Segments([some[:, begin:end] for some in self.means], self.grid)


class _Room:
    """Arrays to work in, whatever is in them, for at most so many means of so many segments.

    Few, so that they stay in the cache, and kept: what is fresh from the system costs more than all the
    arithmetic. `z` has the means with two more rows on both sides; `three` are as large.
    """

    def __init__(self, width: int) -> None:
        rows, blocks = _MOST + _BLOCK, _MOST // _BLOCK + 1
        # Each begins at another place within its page and line.
        shapes = (
            (rows, width), (rows, width), (3, rows, width), (2, rows, width), (2, 2, blocks, width),
            (3, 2, blocks, width), (2, blocks, width), (blocks, width), (blocks, width),
        )  # fmt: skip
        lengths = [math.prod(shape) for shape in shapes]
        begins = [0, *itertools.accumulate(-(-length // 1024) * 1024 + _ASIDE for length in lengths)]
        floats = np.empty(begins[-1], np.float32)
        arrays = [
            floats[begin : begin + length].reshape(shape)
            for begin, length, shape in zip(begins, lengths, shapes, strict=False)
        ]
        self.z, self.middle, self.three, self.rows, self.sums = arrays[:5]
        self.sides, self.of_line, self.squares, self.rest = arrays[5:]
        self.usual = np.empty(width, np.float32)


class _Rooms(threading.local):
    """A thread's, by width."""

    def __init__(self) -> None:
        self._known: dict[int, _Room] = {}

    def of(self, width: int) -> _Room:
        found = self._known.get(width)
        if found is None:
            if len(self._known) == _KEPT:
                self._known.clear()
            found = self._known[width] = _Room(width)
        return found


_ROOMS = _Rooms()


class _Beside:
    """Grids side by side, a column a segment; older rows of those with fewer means count for nothing."""

    def __init__(self, parts: Sequence[tuple[slice, Segments]], width: int, room: _Room) -> None:
        grids = [(columns, part.grid) for columns, part in parts]
        largest = max((grid for _, grid in grids), key=lambda grid: grid.m)
        self.m, self.blocks = m, blocks = largest.m, largest.blocks
        self.means: Limit = float(m)
        if len(grids) == 1:
            self.n, self.t, self.sides = largest.n, largest.t, largest.sides
            return
        self.means = np.empty(width)
        self.n, self.t = rows = room.rows[:, :m]
        self.sides = sides = room.sides[:, :, : blocks + 1]
        for columns, grid in grids:
            self.means[columns] = grid.m
            rows[:, : m - grid.m, columns] = 0.0
            rows[0, m - grid.m :, columns], rows[1, m - grid.m :, columns] = grid.n, grid.t
            sides[:, :, : blocks - grid.blocks, columns] = 0.0
            sides[:, :, blocks - grid.blocks :, columns] = grid.sides


def may_shift(segments: Sequence[Segments], level: Limit, trend: Limit | None) -> Flags:
    """Which columns, one after the other, may have a level, or a trend, of that limit.

    Limits are numbers or a number a column; `trend` is None where none is looked for.
    """
    width = sum(some.width for some in segments)
    found = np.empty(width, np.bool_)
    begin, parts, taken = 0, [], 0
    for some in segments:
        first = 0
        while first < some.width:
            own = min(some.width - first, _AT_ONCE - taken)
            whole = own == some.width
            parts.append((slice(taken, taken + own), some if whole else some.part(first, first + own)))
            first, taken = first + own, taken + own
            if taken == _AT_ONCE or begin + taken == width:
                part = slice(begin, begin + taken)
                limit = None if trend is None else _part(trend, part)
                found[part] = _may_shift(parts, taken, _part(level, part), limit)
                begin, parts, taken = begin + taken, [], 0
    return found


def _part(limit: Limit, part: slice) -> Limit:
    return limit[part] if isinstance(limit, np.ndarray) else limit


def _may_shift(
    parts: Sequence[tuple[slice, Segments]], width: int, level: Limit, trend: Limit | None
) -> Flags:
    room = _ROOMS.of(width)
    beside = _Beside(parts, width, room)
    m, blocks = beside.m, beside.blocks
    share, middle_time, lever = beside.sides
    z, middle, three = room.z[: m + 4], room.middle[:m], room.three
    x = z[2 : m + 2]
    for columns, some in parts:
        below = m - some.grid.m
        at, middle_level = below, some.means[0][len(some.means[0]) // 2]
        for means in some.means:
            np.subtract(means, middle_level, out=x[at : at + len(means), columns], casting="same_kind")
            at += len(means)
        if below:
            x[:below, columns] = x[below, columns]
    z[:2] = x[0]
    z[m + 2 :] = x[m - 1]
    lower, upper, high = three[:, : m + 3]
    np.minimum(z[:-1], z[1:], out=lower)
    np.maximum(z[:-1], z[1:], out=upper)
    np.maximum(lower[:m], lower[3:], out=middle)
    high = np.minimum(upper[:m], upper[3:], out=high[:m])
    distance = np.minimum(middle, high, out=lower[:m])
    np.maximum(middle, high, out=middle)
    np.minimum(middle, x, out=middle)
    np.maximum(distance, middle, out=middle)
    np.subtract(x, middle, out=distance)
    np.abs(distance, out=distance)
    ordered = upper.reshape(-1)[: m * width].reshape(width, m)
    ordered[:] = distance.T
    ordered.sort(axis=1)
    usual = room.usual
    for columns, some in parts:  # the distances of rows that count for nothing are 0, and stand first
        np.multiply(ordered[columns, m - some.grid.m + some.grid.m // 2], 8.0, out=usual[columns])
    rounded = _ROUNDED * _reduced(np.maximum, np.abs(x, out=high))
    np.subtract(distance, usual, out=distance)
    near = _reduced(np.minimum, np.abs(distance, out=high))
    unclear: Flags = ~((near > rounded) & (usual > rounded))
    beyond = distance > 0.0
    if np.count_nonzero(beyond):
        outliers = np.flatnonzero(beyond)
        x.reshape(-1)[outliers] = middle.reshape(-1)[outliers]

    pad = blocks * _BLOCK - m
    own = three[:, pad : pad + m]
    three[:, :pad] = 0.0
    np.multiply(x, beside.n, out=own[0])
    np.multiply(own[0], beside.t, out=own[1])
    np.multiply(own[0], x, out=own[2])
    terms = three[:, : pad + m].reshape(3, blocks, _BLOCK, width)
    np.add(terms[:, :, :2], terms[:, :, 2:], out=terms[:, :, :2])
    sums, of_line = room.sums[:, :, : blocks + 1], room.of_line[:, : blocks + 1]
    before, squares, rest = sums[0, :, 1:], room.squares[:blocks], room.rest[:blocks]
    np.add(terms[:2, :, 0], terms[:2, :, 1], out=before)
    np.add(terms[2, :, 0], terms[2, :, 1], out=squares)
    sums[0, :, 0] = 0.0
    step = 1
    while step < blocks:
        np.add(before[:, step:], before[:, :-step], out=before[:, step:])  # NumPy reads before it writes
        step *= 2
    np.subtract(before[:, -1:], sums[0], out=sums[1])
    s, timed = sums[:, 0], sums[:, 1]
    np.multiply(s, middle_time, out=of_line)
    np.subtract(timed, of_line, out=of_line)
    np.multiply(of_line, of_line, out=of_line)
    np.multiply(of_line, lever, out=of_line)
    of_mean = np.multiply(s, s, out=s)
    np.multiply(of_mean, share, out=of_mean)

    everything = _reduced(np.add, squares)
    whole = everything - of_mean[0, -1]
    straight = whole - of_line[0, -1]
    unclear |= ~((straight > _CLEAR * everything) & (everything > _TINY))
    np.subtract(everything, squares, out=rest)
    np.subtract(rest, of_mean[0, :-1], out=rest)
    np.subtract(rest, of_mean[1, 1:], out=rest)
    least = _least(rest, parts, far=False)
    found = (least <= whole * _fall(level, beside.means)) & (
        least <= straight * _fall(level / 3.0, beside.means)
    )
    if trend is not None:
        np.subtract(rest, of_line[0, :-1], out=rest)
        np.subtract(rest, of_line[1, 1:], out=rest)
        found |= _least(rest, parts, far=True) <= straight * _fall(trend, beside.means)
    unclear |= found
    return unclear


def _least(rest: Singles, parts: Sequence[tuple[slice, Segments]], *, far: bool) -> Singles:
    """What the best block leaves, in every column: of the blocks in which its segment may be split."""
    blocks = len(rest)
    least = np.full(rest.shape[1], np.inf, np.float32)
    for columns, some in parts:
        grid = some.grid
        begin, end = (grid.far, grid.far_end) if far else (grid.near, grid.near_end)
        if begin < end:
            older = blocks - grid.blocks
            np.minimum.reduce(rest[older + begin : older + end, columns], axis=0, out=least[columns])
    return least


def _reduced(extreme: np.ufunc, values: Singles) -> Singles:
    """The greatest or least of every column: long rows first, for each costs NumPy a loop of its own."""
    m, width = values.shape
    rows = m // _FOLD
    folded = extreme.reduce(values[: rows * _FOLD].reshape(_FOLD, rows * width), axis=0)
    found: Singles = extreme.reduce(folded.reshape(rows, width), axis=0)
    rest = values[rows * _FOLD :]
    if len(rest):
        extreme(found, extreme.reduce(rest, axis=0), out=found)
    return found


def _fall(limit: Limit, m: Limit) -> Limit:
    """No less than exp(−limit/m), by which squares must fall for a statistic of m·ln to reach the limit."""
    x = limit / m
    return _MARGIN / (1.0 + x + x * x / 2.0)
