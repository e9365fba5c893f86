"""A series reduced to so many points that look like it: lines by MinMaxLTTB, prices by candles.

A line keeps the first and the last observation, and the lowest and the highest of every run without a
gap; of the rest those that keep the shape: of each bucket the point that makes the largest triangle
with what was kept before it and the mean of the next bucket (LTTB), chosen from the extremes of four times
as many buckets, so that no print stands too close to others to be seen. A gap is never bridged: a null stands
in it. Where there are more gaps than points to show them, a gap narrower than a few pixels is not drawn as
one, and the extremes on both sides of it still are.

Sources: S. Steinarsson, "Downsampling Time Series for Visual Representation" (2013); J. Van Der Donckt et
al., "MinMaxLTTB" (2023).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from observer_core.shared.clock import SECOND

Times = NDArray[np.int64]
Values = NDArray[np.float64]
Places = NDArray[np.intp]
_LEAST: Final = 4
"""Points of a run: its ends and its extremes."""
_PRESELECTED: Final = 4
_SILENT: Final = 3
_USUAL: Final = 0.95
_MINUTE, _DAY = 60 * SECOND, 86_400 * SECOND
_WEEK: Final = 7 * _DAY
LENGTHS: Final = (
    SECOND // 1000, SECOND // 100, SECOND // 10, SECOND, 5 * SECOND, 15 * SECOND,
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, 60 * _MINUTE, 240 * _MINUTE,
    _DAY, _WEEK, 4 * _WEEK, 52 * _WEEK,
)  # fmt: skip
"""Of candles. They begin at multiples since midnight UTC, weeks on Monday."""
_MONDAY: Final = 4 * _DAY


class Line(NamedTuple):
    """Points in the order of time; a null (NaN) stands in a gap."""

    time_ms: Values
    value: Values


class Candles(NamedTuple):
    """One a bucket, from the first to the last with a price; NaN in all where there was none."""

    length_ns: int
    time_ms: Values
    open: Values
    high: Values
    low: Values
    close: Values
    volume: Values


def silence_ns(times: Times) -> int:
    """From which distance on two neighbours have a gap between them, by how far apart they commonly are.

    Three times what all but one in twenty keep: a feed on the clock has a gap where two reports are missing,
    a thin market not with every pause.
    """
    apart = np.diff(times)
    apart = apart[apart > 0]
    if not len(apart):
        return int(np.iinfo(np.int64).max)
    usual = np.partition(apart, place := int((len(apart) - 1) * _USUAL))[place]
    return _SILENT * int(usual)


def milliseconds(times: Times) -> Values:
    """As exact as a float can be: nanoseconds as floats are off by a hundred."""
    return times // 1_000_000 + times % 1_000_000 / 1e6


def line(times: Times, values: Values, silent_ns: int, points: int) -> Line:
    """Of observations in the order of time, NaN where there was none; at most `points`, nulls among them."""
    seen = np.flatnonzero(~np.isnan(values))
    if not len(seen):
        return Line(np.empty(0), np.empty(0))
    time, value = times[seen], values[seen]
    gap = (np.diff(seen) > 1) | (np.diff(time) > silent_ns)
    again = (np.diff(time) == 0) & (value[1:] == value[:-1]) & ~gap
    if again.any():
        kept = np.flatnonzero(np.concatenate([[True], ~again]))
        # A gap is between the kept ones: what is taken out has none before it.
        time, value, gap = time[kept], value[kept], gap[kept[1:] - 1]
    starts = np.concatenate([[0], np.flatnonzero(gap) + 1, [len(time)]])
    places = _places(time, value, starts, points)
    run = np.searchsorted(starts, places, "right")
    return _with_nulls(time[places], value[places], run)


def _places(time: Times, value: Values, starts: Places, points: int) -> Places:
    lengths = np.diff(starts)
    left = points - (len(lengths) - 1)
    if len(time) <= left:
        return np.arange(len(time))
    least = np.minimum(lengths, _LEAST)
    left -= int(least.sum())
    if left < 0:
        return _extremes(time, value, (points - 4) // 4)
    shares = least + left * (lengths - least) // max(1, int((lengths - least).sum()))
    x = (time - time[0]).astype(np.float64)
    return np.concatenate(
        [
            start + min_max_lttb(x[start : start + length], value[start : start + length], int(share))
            for start, length, share in zip(starts, lengths, shares)
        ]
    )


def _extremes(time: Times, value: Values, buckets: int) -> Places:
    """The ends, and the lowest and highest of every bucket of time."""
    buckets = max(1, buckets)
    since = (time - time[0]).astype(np.float64)
    bucket = np.minimum((since / max(1.0, since[-1]) * buckets).astype(np.intp), buckets - 1)
    first = np.flatnonzero(np.concatenate([[True], np.diff(bucket) > 0]))
    found = [np.array([0, len(time) - 1])]
    for extreme in (np.minimum, np.maximum):
        reached = value == np.repeat(extreme.reduceat(value, first), np.diff(np.append(first, len(value))))
        places = np.flatnonzero(reached)
        found.append(places[np.concatenate([[True], np.diff(bucket[places]) > 0])])
    return _once(np.concatenate(found))


def _with_nulls(time: Times, value: Values, run: Places) -> Line:
    breaks = np.flatnonzero(np.diff(run)) + 1
    time_ms = milliseconds(time)
    between = (time_ms[breaks - 1] + time_ms[breaks]) / 2
    return Line(np.insert(time_ms, breaks, between), np.insert(value, breaks, np.nan))


def min_max_lttb(x: Values, y: Values, points: int) -> Places:
    """Which of the points to keep, in order: the ends, the lowest, the highest, and what LTTB chooses."""
    count = len(x)
    if count <= points:
        return np.arange(count)
    ends = np.array([0, count - 1, int(y.argmin()), int(y.argmax())])
    if points <= _LEAST:
        return _once(ends)
    some = _preselected(y, _PRESELECTED * points // 2) if count > 2 * _PRESELECTED * points else None
    places = np.arange(count) if some is None else some
    chosen = places[lttb(x[places], y[places], points - 2)]
    return _once(np.concatenate([ends, chosen]))


def _preselected(y: Values, buckets: int) -> Places:
    """The ends, and the lowest and highest of every bucket of as many points."""
    width = len(y) // buckets
    whole = y[: width * buckets].reshape(buckets, width)
    starts = np.arange(buckets) * width
    rest = width * buckets
    found = [np.array([0, len(y) - 1]), starts + whole.argmin(1), starts + whole.argmax(1)]
    if rest < len(y):
        found.append(rest + np.array([y[rest:].argmin(), y[rest:].argmax()]))
    return _once(np.concatenate(found))


def _once(places: Places) -> Places:
    """In order, each once."""
    places = np.sort(places)
    new = np.concatenate([[True], np.diff(places) > 0])
    return places[np.flatnonzero(new)]


def lttb(x: Values, y: Values, points: int) -> Places:
    """Largest Triangle Three Buckets: `points` of them (at least 3), or all when there are no more."""
    count = len(x)
    if count <= points:
        return np.arange(count)
    if points < 3:
        return np.array([0, count - 1])
    x, y = _scaled(x), _scaled(y)
    edges = 1 + np.arange(points - 1) * (count - 2) // (points - 2)
    sizes = np.diff(edges)
    # The bucket after the last one is the last point itself.
    next_x = np.append(np.add.reduceat(x[: edges[-1]], edges[:-1]) / sizes, x[-1]).tolist()
    next_y = np.append(np.add.reduceat(y[: edges[-1]], edges[:-1]) / sizes, y[-1]).tolist()
    xs, ys, bounds = x.tolist(), y.tolist(), edges.tolist()
    place, chosen = 0, [0]
    for bucket in range(points - 2):
        at_x, at_y = xs[place], ys[place]
        to_x, to_y = next_x[bucket + 1] - at_x, next_y[bucket + 1] - at_y
        place, largest = bounds[bucket], -1.0
        for candidate in range(bounds[bucket], bounds[bucket + 1]):
            area = abs(to_x * (ys[candidate] - at_y) - to_y * (xs[candidate] - at_x))
            if area > largest:
                place, largest = candidate, area
        chosen.append(place)
    return np.array([*chosen, count - 1])


def _scaled(values: Values) -> Values:
    """So that no product overflows."""
    most = float(np.abs(values).max())
    return values / most if most > 0 else values


def candles(
    times: Times, prices: tuple[Values, Values, Values, Values], volume: Values | None, points: int
) -> Candles | None:
    """At most `points`, of open, high, low and close in the order of time; None when there are none.

    Their length is a round one, and none shorter than the prices commonly are apart.
    """
    known = np.flatnonzero(~np.isnan(np.array(prices)).any(0))
    if not len(known):
        return None
    time = times[known]
    open_, high, low, close = (column[known] for column in prices)
    length = candle_length(int(time[0]), int(time[-1]), _median(np.diff(time)), points)
    bucket = _bucket(time, length)
    first = np.flatnonzero(np.concatenate([[True], np.diff(bucket) > 0]))
    last = np.append(first[1:], len(time)) - 1
    filled = bucket[first] - bucket[0]
    count = int(filled[-1]) + 1

    def spread(column: Values) -> Values:
        found = np.full(count, np.nan)
        found[filled] = column
        return found

    traded = np.full(len(first), np.nan)
    if volume is not None:
        some = volume[known]
        sums = np.add.reduceat(np.where(np.isnan(some), 0.0, some), first)
        any_known = np.logical_or.reduceat(~np.isnan(some), first)
        traded = np.where(any_known, sums, np.nan)
    return Candles(
        length, _start_ms(int(bucket[0]) + np.arange(count), length), spread(open_[first]),
        spread(np.maximum.reduceat(high, first)), spread(np.minimum.reduceat(low, first)),
        spread(close[last]), spread(traded),
    )  # fmt: skip


def candle_length(first_ns: int, last_ns: int, apart_ns: int, points: int) -> int:
    """The shortest length of `LENGTHS` (or a multiple of the longest) that makes at most `points` of them."""
    ends = np.array([first_ns, last_ns])
    for length in LENGTHS:
        before, after = _bucket(ends, length)
        if length >= apart_ns and after - before < points:
            return length
    length = LENGTHS[-1]
    while (places := _bucket(ends, length))[1] - places[0] >= points:
        length += LENGTHS[-1]
    return length


def _median(apart: Any) -> int:
    return int(np.partition(apart, (len(apart) - 1) // 2)[(len(apart) - 1) // 2]) if len(apart) else 0


def _bucket(times: Times, length: int) -> Times:
    return (times - _offset(length)) // length


def _start_ms(bucket: Times, length: int) -> Values:
    return milliseconds(bucket * length + _offset(length))


def _offset(length: int) -> int:
    return _MONDAY if length % _WEEK == 0 else 0
