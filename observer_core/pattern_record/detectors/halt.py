"""A venue that falls silent: many subjects of one channel (trades, quotes) at one moment.

Guarantee: fewer than `subjects` (never below 3) living subjects are no halt, whatever they do; nor is
anything within `floor` snapshots after a gap in the source's own observation. While a halt stands, its
series are not stale one by one. Time is observed time, as for the silence of one series (see `stale`),
whose allowance is written `allowed` here. A subject arrives in a channel with any of its fields there;
its longest silence is the shortest of theirs. Only fields count that were seen `stale.min_arrivals` times.

**The whole channel.** A channel is a series that arrives whenever one of its subjects does, learnt by
the same decayed maximum:

    longest = max(longest · 1023/1024, gap)      at every snapshot with an arrival in the channel
    halt      when silence > max(multiple · longest, floor · cadence)
              and `subjects` living subjects are silent for more than `each` times their own longest
    living    not yet stale by its own rule when the last of the channel arrived

The series of all living subjects are in it. The first condition is a busy channel's: no subject need
be near its own patience. The second keeps one busy subject that dies among thin ones from being a halt.

**A part of it.** Where others go on, or where the silence came bit by bit, when a subject becomes stale:

    gone      subjects that are stale by their own rule, and were living when the last of them arrived
    halt      when they are `subjects` and `share` · (gone + others that are not stale) at least

In it are their series, and those of others that are silent for longer than ever, and were last heard
before the first of `gone` was stale.

**The end.** A halt is over when `share` of its subjects have arrived again; or when arrivals (a part:
those of its own subjects) have gone on for as long as the channel may be silent, with no gap as long as
that. The silence of a whole channel then counts as a gap of what was allowed at most: a channel that
dies and returns is soon let be. Subjects that have not come back are silent from the end of the halt
on, unless they were stale before it: each may become stale by itself, and has no part in another halt
until it arrives.

False alarms: a joint silence must be `multiple` (default 4) times longer than any that the channel
remembers, or half of it stale. A lull tenfold deeper than all that is remembered can be that. What
ends for good at one moment (options that expire) is a halt that does not end by itself.

Source: the joint rule is that for the superposition of renewal processes (Cox & Smith, "On the
superposition of renewal processes", Biometrika 41, 1954), whose silences are far shorter than those
of its parts; the learning of intervals as in `stale`.

>>> trades = Channel()
>>> for minute in (0, 1, 2, 4, 5, 6):
...     arrive(trades, float(minute), Halt(min_arrivals=5))
>>> round(allowed(trades, 5.0, Halt()), 2)
7.98
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import Halt, Stale
from observer_core.pattern_record.detectors.stale import ARRIVALS, FADE, LAST, LONGEST, NEVER, STALE
from observer_core.pattern_record.window import Bytes, Flags, Floats, Ints


@dataclass(slots=True)
class Channel:
    """When a channel arrived, and the halt that stands in it.

    `patience`: what the halt was judged by (None: there is none), `quiet`: when it began, `partial`: others
    go on. `heard` and `back`: its last return, and since when it returns without a break. `absent`:
    the `stale.LAST` of series that have not come back from the last halt.
    """

    last: float = 0.0
    longest: float = 0.0
    arrivals: int = 0
    patience: float | None = None
    quiet: float = 0.0
    partial: bool = False
    heard: float | None = None
    back: float | None = None
    absent: float = -1.0

    def dump(self) -> list[Any]:
        return list(astuple(self))

    def begin(self, patience: float, quiet: float, *, partial: bool) -> None:
        self.patience, self.quiet, self.partial = patience, quiet, partial
        self.heard = self.back = None

    def end(self) -> None:
        self.patience, self.quiet, self.partial = None, 0.0, False
        self.heard = self.back = None


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of a channel: their last arrival, longest silence, allowance, and whether they are stale.

    `columns` are their series, `row[c]` the subject of column c of these.
    """

    columns: NDArray[np.intp]
    row: NDArray[np.intp]
    last: Floats
    longest: Floats
    allowed: Floats
    stale: Flags

    @staticmethod
    def of(
        channel: Channel,
        times: Floats,
        flags: Bytes,
        owner: Ints,
        columns: NDArray[np.intp],
        floor_ns: float,
        config: Stale,
    ) -> Subjects:
        known = times[ARRIVALS, columns] >= config.min_arrivals
        columns = columns[known & (times[LAST, columns] != channel.absent)]
        numbers, row = np.unique(owner[columns], return_inverse=True)
        last, longest = np.full(len(numbers), -1.0), np.full(len(numbers), NEVER)
        silent = np.ones(len(numbers), np.bool_)
        np.maximum.at(last, row, times[LAST, columns])
        np.minimum.at(longest, row, times[LONGEST, columns])
        np.logical_and.at(silent, row, (flags[columns] & STALE) != 0)
        patience = np.maximum(longest * config.multiple, floor_ns)
        return Subjects(columns, row, last, longest, patience, silent)

    def columns_of(self, members: Flags) -> NDArray[np.intp]:
        found: NDArray[np.intp] = self.columns[members[self.row]]
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """A halt: its subjects, of how many that lived, when the last of them arrived, and how sure it is."""

    members: Flags
    living: int
    quiet: float
    patience: float
    score: float
    partial: bool


def arrive(channel: Channel, now: float, config: Halt) -> None:
    """Learns the gap that ends now."""
    gap = now - channel.last if channel.arrivals else 0.0
    channel.longest = max(channel.longest * FADE, gap)
    if channel.patience is not None and not channel.partial:
        channel.longest = min(channel.longest, channel.patience)
    channel.last, channel.arrivals = now, min(channel.arrivals + 1, config.min_arrivals)


def allowed(channel: Channel, floor_ns: float, config: Halt) -> float:
    """How long the channel may be silent."""
    return max(channel.longest * config.multiple, floor_ns)


def whole(
    channel: Channel, subjects: Subjects, now: float, floor_ns: float, config: Halt
) -> tuple[Found | None, float]:
    """The halt of the whole channel, and the moment after which there is one if nothing arrives."""
    living = subjects.last + subjects.allowed >= subjects.last.max(initial=-1.0)
    unusual = np.sort((subjects.last + subjects.longest * config.each)[living])
    if len(unusual) < config.subjects:
        return None, NEVER
    patience = allowed(channel, floor_ns, config)
    due = max(channel.last + patience, float(unusual[config.subjects - 1]))
    if due >= now:
        return None, due
    silence = now - channel.last
    score = silence / (silence + patience)
    return Found(living, len(unusual), channel.last, patience, score, partial=False), due


def part(subjects: Subjects, now: float, config: Halt) -> Found | None:
    """The halt of many subjects of a channel."""
    silent = subjects.stale
    if np.count_nonzero(silent) < config.subjects:
        return None
    until = subjects.last + subjects.allowed
    gone = silent & (until >= subjects.last[silent].max())
    count = int(np.count_nonzero(gone))
    living = count + int(np.count_nonzero(~silent))
    needed = max(float(config.subjects), config.share * living)
    if count < needed:
        return None
    unheard = ~silent & (now - subjects.last > subjects.longest) & (subjects.last <= until[gone].min())
    members = gone | unheard
    quiet, patience = float(subjects.last[members].max()), float(subjects.allowed[gone].max())
    return Found(members, living, quiet, patience, count / (count + needed), partial=True)


def returned(channel: Channel, now: float) -> bool:
    """Something of the halt arrived: whether it has returned without a break for long enough."""
    assert channel.patience is not None
    if channel.heard is None or channel.back is None or now - channel.heard > channel.patience:
        channel.back = now
    channel.heard = now
    return now - channel.back >= channel.patience
