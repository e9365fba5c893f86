"""Which series of a source went silent, alone or as a venue, and which came back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.detectors import halt, stale
from observer_core.pattern_record.detectors.halt import Channel, Found, Subjects
from observer_core.pattern_record.detectors.stale import ARRIVALS, BACK, HALTED, LAST, LONGEST, STALE
from observer_core.pattern_record.findings import Evidence, Finding
from observer_core.pattern_record.observation import CLOSED
from observer_core.pattern_record.plan import Plan
from observer_core.pattern_record.state import RecogniserState
from observer_core.pattern_record.window import Bytes, Flags, Floats
from observer_core.shared.records import Snapshot

Columns = NDArray[np.intp]


@dataclass(slots=True)
class Lanes:
    """The channel of every series, as an index into `names`; follows from the fields, no part of the state.

    `few`: the channels that have too few open subjects for a halt while these are `closed`.
    """

    names: list[str] = field(default_factory=list)
    of: Columns = field(default_factory=lambda: np.empty(0, np.intp))
    blocks: int = 0
    closed: tuple[str, ...] = ()
    few: tuple[str, ...] = ()

    def columns(self, name: str) -> Flags:
        found: Flags = self.of == (self.names.index(name) if name in self.names else -1)
        return found

    def extend(self, state: RecogniserState, config: RecogniserConfig) -> None:
        parts = [self.of]
        for fields, subjects in state.blocks[self.blocks :]:
            channels = [config.channel(name) for name in fields]
            self.names += sorted(set(channels) - set(self.names))
            parts.append(np.repeat([self.names.index(name) for name in channels], len(subjects)))
        self.of, self.blocks, self.closed = np.concatenate(parts), len(state.blocks), ()


def arrive(
    state: RecogniserState, source: str, config: RecogniserConfig, plan: Plan, fresh: Flags | None
) -> list[Finding]:
    """Learns from the arrivals of a snapshot; a stale series that arrives has resumed.

    `fresh`: which cells of the plan arrived; None: all of them, and they lie side by side.
    """
    columns = plan.columns if fresh is None else plan.columns[fresh]
    if not len(columns):
        return []
    state.next_silence = min(state.next_silence, state.clock + state.floor_ns)
    heard = _heard(config, plan, fresh)
    for name in heard:
        channel = state.channels.get(name)
        if channel is None:
            channel = state.channels[name] = Channel()
        halt.arrive(channel, state.clock, config.halt)
    if not state.silent_series:
        _learn(state, config, plan, columns, fresh)
        return []
    flags = state.stale[0]
    back = columns[flags[columns] & (STALE | HALTED) != 0]
    patience = stale.allowed(state.times, back, state.floor_ns, config.stale)
    silence = state.clock - state.times[LAST, back]
    _learn(state, config, plan, columns, fresh)
    state.times[LONGEST, back] = np.minimum(state.times[LONGEST, back], patience)
    told = flags[back] & STALE != 0
    flags[back] = np.where(flags[back] & HALTED, BACK, 0)
    found = _told(
        state, source, config, "feed_resumed", back[told], silence[told], patience[told]
    ) + _ended(state, source, config, heard, columns)  # fmt: skip
    if len(back) or found:
        _tell(state, config)
    return found


def excuse(state: RecogniserState, config: RecogniserConfig, plan: Plan, snapshot: Snapshot) -> None:
    """Rows of a market that is closed: their series are not silent, though nothing of them arrives.

    Nor is a channel in which too few are open for a halt.
    """
    closed = {subject for subject, flags in snapshot.quality.items() if CLOSED in flags}
    for subject in closed & plan.row_of.keys():
        columns = plan.columns[plan.row_of[subject] :: len(plan.row_of)]
        state.times[LAST, columns] = np.where(
            state.times[ARRIVALS, columns] > 0, state.clock, state.times[LAST, columns]
        )
    closed |= {subject for subject in state.closed_subjects if subject not in plan.row_of}
    if closed != set(state.closed_subjects):
        state.closed_subjects = tuple(sorted(closed))
        state.views_version += 1
    if closed:
        for name in _few(state, config):
            if name in state.channels:
                state.channels[name].last = state.clock


def notice(state: RecogniserState, source: str, config: RecogniserConfig) -> list[Finding]:
    """The series whose silence exceeds what they are allowed, each once, and the halts they are part of."""
    if state.clock <= state.next_silence and state.next_silence > 0.0:
        return []
    times, flags = state.times[:, : state.size], state.stale[0, : state.size]
    late, state.next_silence = stale.silent(times, flags, state.clock, state.floor_ns, config.stale)
    found = _begun(state, source, config, late)
    late = late[flags[late] == 0]
    if len(late):
        flags[late] = STALE
        silence = state.clock - times[LAST, late]
        patience = stale.allowed(times, late, state.floor_ns, config.stale)
        found += _told(state, source, config, "feed_stale", late, silence, patience)
    if found:
        _tell(state, config)
    return found


def settle(state: RecogniserState, config: RecogniserConfig) -> None:
    """After a state was read or shortened: every halt has series, every series of a halt its channel's."""
    lanes, flags = _lanes(state, config), state.stale[0, : state.size]
    state.channels = {name: channel for name, channel in state.channels.items() if name in lanes.names}
    halted = set(lanes.of[flags & (HALTED | BACK) != 0].tolist())
    for at, name in enumerate(lanes.names):
        channel = state.channels.get(name)
        if at not in halted and channel is not None:
            channel.end()
        elif at in halted:
            channel = state.channels.setdefault(name, Channel())
            if channel.patience is None:
                patience = halt.allowed(channel, state.floor_ns, config.halt)
                channel.begin(patience, channel.last, partial=False)
    _tell(state, config)


def _learn(
    state: RecogniserState, config: RecogniserConfig, plan: Plan, columns: Columns, fresh: Flags | None
) -> None:
    """In place where the cells lie side by side, with the few that did not arrive put back."""
    times = state.times
    if plan.span is None or 2 * len(columns) < plan.size:
        stale.arrive(times, columns, state.clock, config.stale)
        return
    if not plan.familiar:
        plan.familiar = bool(times[ARRIVALS, plan.span].min() >= config.stale.min_arrivals)
    if fresh is None:
        stale.arrive(times, plan.span, state.clock, config.stale, familiar=plan.familiar)
        return
    absent = plan.columns[~fresh]
    kept = times[:, absent]
    stale.arrive(times, plan.span, state.clock, config.stale, familiar=plan.familiar)
    times[:, absent] = kept


def _heard(config: RecogniserConfig, plan: Plan, fresh: Flags | None) -> Sequence[str]:
    """The channels in which anything arrived, where anything did."""
    known: tuple[tuple[str, ...], list[str]] | None = plan.caches.get("silence")
    if known is None:
        channel_of = [config.channel(field) for field in plan.fields]
        known = plan.caches["silence"] = tuple(sorted(set(channel_of))), channel_of
    names, channel_of = known
    if fresh is None or len(names) == 1:
        return names
    observed: Flags = np.logical_or.reduce(fresh.reshape(len(channel_of), -1), axis=1)
    return sorted(set(itertools.compress(channel_of, observed.tolist())))


def _lanes(state: RecogniserState, config: RecogniserConfig) -> Lanes:
    if state.lanes is None:
        state.lanes = Lanes()
    lanes: Lanes = state.lanes
    if len(lanes.of) != state.size:
        lanes.extend(state, config)
    return lanes


def _few(state: RecogniserState, config: RecogniserConfig) -> tuple[str, ...]:
    lanes = _lanes(state, config)
    if lanes.closed is not state.closed_subjects:
        opened, owner = _open(state), state.owner[0, : state.size]
        counts = {name: len(np.unique(owner[lanes.columns(name) & opened])) for name in lanes.names}
        lanes.few = tuple(name for name, count in counts.items() if count < config.halt.subjects)
        lanes.closed = state.closed_subjects
    return lanes.few


def _open(state: RecogniserState) -> Flags:
    """Which series are of a market that is not closed."""
    closed = [state.subjects[name] for name in state.closed_subjects if name in state.subjects]
    return np.isin(state.owner[0, : state.size], closed, invert=True)


def _begun(state: RecogniserState, source: str, config: RecogniserConfig, late: Columns) -> list[Finding]:
    """The halts that begin now; `late` are the series that are stale from now on."""
    lanes, found = _lanes(state, config), list[Finding]()
    touched = set(lanes.of[late].tolist())
    steady = state.tick - state.gap_tick >= config.stale.floor
    for at, name in enumerate(lanes.names):
        channel = state.channels.get(name)
        if channel is None or channel.patience is not None or channel.arrivals < config.halt.min_arrivals:
            continue
        due = channel.last + halt.allowed(channel, state.floor_ns, config.halt)
        new: Found | None = None
        if due < state.clock or at in touched:
            if not steady:
                due = 0.0  # at the next snapshot, whatever the time
            else:
                subjects = _subjects(state, config, channel, lanes.of == at, late)
                if due < state.clock:
                    new, due = halt.whole(channel, subjects, state.clock, state.floor_ns, config.halt)
                new = new or (halt.part(subjects, state.clock, config.halt) if at in touched else None)
        if new is None:
            state.next_silence = min(state.next_silence, due)
        else:
            channel.begin(new.patience, new.quiet, partial=new.partial)
            columns = subjects.columns_of(new.members)
            state.stale[0, columns] |= HALTED
            found += _halted(state, source, name, new, columns)
    return found


def _subjects(
    state: RecogniserState, config: RecogniserConfig, channel: Channel, lane: Flags, late: Columns
) -> Subjects:
    """Those of a channel whose market is open."""
    flags: Bytes = state.stale[0, : state.size].copy()
    flags[late] = STALE
    columns = np.flatnonzero(lane & _open(state) if state.closed_subjects else lane)
    return Subjects.of(channel, state.times, flags, state.owner[0], columns, state.floor_ns, config.stale)


def _ended(
    state: RecogniserState, source: str, config: RecogniserConfig, heard: Collection[str], columns: Columns
) -> list[Finding]:
    """The halts that are over with the arrivals in `columns`."""
    found, flags, owner = list[Finding](), state.stale[0, : state.size], state.owner[0, : state.size]
    for name, channel in sorted(state.channels.items()):
        if channel.patience is None or name not in heard:
            continue
        lane = _lanes(state, config).columns(name)
        if channel.partial and not (lane[columns] & (flags[columns] == BACK)).any():
            continue
        all_of = np.flatnonzero(lane & (flags & (HALTED | BACK) != 0))
        members = len(np.unique(owner[all_of]))
        back = len(np.unique(owner[all_of[flags[all_of] == BACK]]))
        if not halt.returned(channel, state.clock) and back < config.halt.share * members:
            continue
        evidence: Evidence = {
            "channel": name, "silence_ns": round(state.clock - channel.quiet),
            "allowed_ns": round(channel.patience), "subjects": members, "back": back,
        }  # fmt: skip
        found += [
            Finding("venue_resumed", "up", (source, *state.name(column)), 0.0, evidence, name)
            for column in all_of.tolist()
        ]
        channel.absent = math.nextafter(state.clock, math.inf)
        state.times[LAST, all_of[flags[all_of] == HALTED]] = channel.absent
        flags[all_of] &= STALE
        channel.end()
    return found


def _halted(state: RecogniserState, source: str, name: str, new: Found, columns: Columns) -> list[Finding]:
    members = int(np.count_nonzero(new.members))
    joint = {
        "joint_silence_ns": round(state.clock - new.quiet), "allowed_ns": round(new.patience),
        "subjects": members, "living": new.living,
    }  # fmt: skip
    silence, longest = state.clock - state.times[LAST, columns], state.times[LONGEST, columns]
    return [
        Finding(
            "venue_halt", "none", (source, *state.name(column)), new.score,
            {"channel": name, "silence_ns": round(quiet), "longest_ns": round(known), **joint}, name,
        )
        for column, quiet, known in zip(columns.tolist(), silence.tolist(), longest.tolist(), strict=True)
    ]  # fmt: skip


def _told(
    state: RecogniserState,
    source: str,
    config: RecogniserConfig,
    pattern: str,
    columns: Columns,
    silence: Floats,
    patience: Floats,
) -> list[Finding]:
    """`feed_stale` or `feed_resumed` of these series; those of one subject and channel belong together."""
    lanes, found = _lanes(state, config), list[Finding]()
    longest = state.times[LONGEST, columns]
    for column, quiet, limit, known in zip(
        columns.tolist(), silence.tolist(), patience.tolist(), longest.tolist(), strict=True
    ):
        subject, field = state.name(column)
        channel = lanes.names[int(lanes.of[column])]
        evidence: Evidence = {
            "channel": channel, "silence_ns": round(quiet), "allowed_ns": round(limit),
            "longest_ns": round(known),
        }  # fmt: skip
        stopped = pattern == "feed_stale"
        score = round(quiet) / (round(quiet) + round(limit)) if stopped else 0.0
        found.append(
            Finding(
                pattern, "none" if stopped else "up", (source, subject, field), score, evidence,
                f"{channel} {subject}",
            )
        )  # fmt: skip
    return found


def _tell(state: RecogniserState, config: RecogniserConfig) -> None:
    """Brings up to date who is silent: subjects all of whose observed series are stale, and by channel."""
    lanes, names = _lanes(state, config), list(state.subjects)
    owner, flags = state.owner[0, : state.size], state.stale[0, : state.size] != 0
    seen = state.times[ARRIVALS, : state.size] > 0
    state.silent_series = int(np.count_nonzero(flags))

    def silent(among: Flags) -> tuple[str, ...]:
        there = np.bincount(owner[seen & among], minlength=len(names))
        quiet = np.bincount(owner[flags & among], minlength=len(names))
        return tuple(sorted(names[at] for at in np.flatnonzero((there == quiet) & (there > 0))))

    subjects = silent(np.ones(state.size, np.bool_))
    channels = {name: silent(lanes.columns(name)) for name in sorted(lanes.names)}
    channels = {name: silent_subjects for name, silent_subjects in channels.items() if silent_subjects}
    if (subjects, channels) != (state.stale_subjects, state.stale_channels):
        state.stale_subjects, state.stale_channels = subjects, channels
        state.views_version += 1
