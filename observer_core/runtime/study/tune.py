"""Thresholds for a wanted rate of alarms: measured on stored history, proposed, never set.

Nothing is written. The recogniser runs over the stored snapshots once for each rung of a ladder of
thresholds, all patterns together, so that what one alarm does to the next (see `limits`) is measured
and not modelled; then between the two rungs where each pattern passes what it may have; then
with all that is proposed, which is what the rates of a proposal are; a pattern that is then beyond
what it may have is raised once or twice more.

The wanted rate is that of the whole source, in records (as `observer evaluate` counts them). It is
shared evenly by the patterns that alarm on the ladder at all. Each is proposed the lowest threshold
from which on it stays within its share. Thresholds of feeds are only raised: a silence is
not made an alarm because there is room for one.

What counts is after a lead-in (1,000 snapshots before `since`; where there are none, up
to a tenth of the history), in which series are learnt. A rate that rests on few alarms is uncertain:
that of 10 by a third, so below 10 expected ones a warning is given.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

from pydantic import ValidationError

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.storage.journals import Journals

_DAY_NS: Final = 86_400 * SECOND
_RUNGS: Final = range(-1, 4)
_STEP: Final = 2.0
_FINER: Final = (3, 1)
_TRIES: Final = 3
_LEAD_IN: Final = 1000
ENOUGH: Final = 10.0
"""Alarms that a history must be expected to hold for a rate to mean something."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Tunable:
    """A threshold by its place in the configuration, where `*` stands for every item of a list: the first
    is the threshold, the others keep their ratio to it.

    `origin`: distances from this are scaled.
    """

    pattern: str
    path: str
    origin: float = 0.0
    only_raised: bool = False

    def of(self, config: RecogniserConfig) -> float | None:
        """The threshold; None where the configuration does not ask for the pattern."""
        found: Any = config
        for name in self.path.split("."):
            found = (found[0] if found else None) if name == "*" else getattr(found, name, None)
        return found if isinstance(found, int | float) else None

    def set_in(self, config: RecogniserConfig) -> float:
        """The threshold, where there is one."""
        found = self.of(config)
        assert found is not None
        return found

    def scaled(self, config: RecogniserConfig, factor: float) -> float:
        """The threshold times `factor`, as near to it as it can be set."""
        now = self.set_in(config)
        if abs(factor - 1.0) < 0.01 or (self.only_raised and factor < 1.0):
            return now
        value = self.origin + (now - self.origin) * factor
        value = math.ceil(value) if isinstance(now, int) else float(f"{value:.3g}")
        return value if _may(config, {self.path: value}) else self.scaled(config, math.sqrt(factor))


TUNABLES: Final = (
    Tunable("spike", "spike.threshold"),
    Tunable("level_shift", "level_shift.threshold"),
    Tunable("variance_shift", "variance_shift.ratio", origin=1.0),
    Tunable("feed_flat", "flat.runs", only_raised=True),
    Tunable("feed_stale", "stale.multiple", only_raised=True),
    Tunable("venue_halt", "halt.multiple", only_raised=True),
    Tunable("anomaly", "anomaly.threshold"),
    Tunable("price_shock", "market.price_shock.horizons.*.sigmas"),
    Tunable("volatility_regime", "market.volatility_regime.elevated.enter", origin=1.0),
    Tunable("drawdown", "market.drawdown.sigmas"),
    Tunable("volume_surge", "market.volume_surge.sigmas"),
    Tunable("spread_blowout", "market.spread_blowout.ratio", origin=1.0),
    Tunable("crossed_book", "market.crossed_book.persist", only_raised=True),
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """What becomes of one threshold. `share`: alarms a day that the pattern may have, 0 if it has none.

    `nearest`: with no threshold that was tried is it within its share; the least a day, and where.
    """

    tunable: Tunable
    now: float
    then: float
    a_day_now: float
    a_day_then: float
    share: float
    nearest: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """`days` and `snapshots` that were counted; `runs` of the recogniser over them."""

    source: str
    wanted: float
    days: float
    snapshots: int
    runs: int
    proposals: tuple[Proposal, ...]
    config: RecogniserConfig
    proposed: RecogniserConfig

    @property
    def expected(self) -> float:
        """Alarms of a pattern that its share allows in this history."""
        return max((one.share for one in self.proposals), default=0.0) * self.days


@dataclass(frozen=True, slots=True)
class _Part:
    """The stored snapshots of a source, or of one of its shards, that are read: first..last."""

    name: str
    shard: tuple[int, int] | None
    first: int
    counted: int
    last: int


def tune(
    journals: Journals, settings: Settings, source: str, a_day: float,
    *, patterns: Sequence[str] = (), since_ns: int | None = None, progress: Progress | None = None,
) -> Tuned:  # fmt: skip
    """`InputError` for a source, a pattern or a rate that there is no answer for."""
    config = settings.recogniser(source)
    chosen = _chosen(config, patterns)
    history = _History(journals, source, _parts(journals, settings, source, since_ns), progress)
    ladders = {one: [one.scaled(config, _STEP**rung) for rung in _RUNGS] for one in chosen}
    rates = history.rates(config, ladders)
    share = a_day / max(1, sum(any(rates[one]) for one in chosen))
    tried = {one: list(zip(ladders[one], rates[one], strict=True)) for one in chosen}
    for count in _FINER:
        between = {one: _between(config, one, tried[one], share, count) for one in chosen}
        if any(between.values()):
            for one, found in history.rates(_with(config, _picked(tried, share)), between).items():
                tried[one] += zip(between[one], found, strict=True)
    for _ in range(_TRIES):
        picked = _picked(tried, share)
        proposed = _with(config, picked)
        final = history.rates(proposed, {one: [one.set_in(proposed)] for one in chosen})
        over = [one for one in chosen if one.path in picked and final[one][0] > share]
        for one in over:
            tried[one].append((one.set_in(proposed), final[one][0]))
        if not over:
            break
    proposals = tuple(
        Proposal(
            one, one.set_in(config), one.set_in(proposed), rates[one][-_RUNGS.start], final[one][0],
            share if any(rates[one]) else 0.0,
            _nearest(tried[one]) if any(rates[one]) and one.path not in picked else None,
        )
        for one in chosen
    )  # fmt: skip
    missed = [one for one in proposals if one.nearest is not None]
    if missed and len(missed) == sum(one.share > 0 for one in proposals):
        nearest = ", ".join(
            f"{one.tunable.pattern} {one.nearest[0]:.2f} with {one.tunable.path} = {one.nearest[1]:g}"
            for one in missed if one.nearest is not None
        )  # fmt: skip
        raise InputError(
            f"{a_day:g} alarms a day cannot be reached on source {source!r}; nearest, a day: {nearest}"
        )
    return Tuned(
        source, a_day, history.days, history.snapshots, history.runs, proposals, config, proposed
    )  # fmt: skip


def _chosen(config: RecogniserConfig, patterns: Sequence[str]) -> list[Tunable]:
    known = {one.pattern: one for one in TUNABLES if one.of(config) is not None}
    if unknown := [pattern for pattern in patterns if pattern not in known]:
        raise InputError(f"no threshold of {unknown[0]!r} can be tuned here; there are: {', '.join(known)}")
    return [one for name, one in known.items() if not patterns or name in patterns]


def _parts(journals: Journals, settings: Settings, source: str, since_ns: int | None) -> list[_Part]:
    stored = [name.partition(".")[2] for name in journals.names("snapshots")]
    names = [name for name in settings.parts_of(source) if name in stored]
    if not names:
        configured = [item.name for item in settings.source]
        if source in configured:
            raise InputError(f"source {source!r} has no history: no snapshot of it is stored yet")
        known = ", ".join(sorted({*stored, *configured})) or "none yet"
        raise InputError(f"there is no source {source!r}; known are {known}")
    parts = []
    for name in names:
        journal = journals.open(f"snapshots.{name}")
        last = journal.head().position
        wanted = 1 if since_ns is None else journal.position_at(since_ns - 1) + 1
        first = max(1, wanted - _LEAD_IN)
        counted = max(wanted, first + min(_LEAD_IN, (last - first + 1) // 10))
        parts.append(_Part(name, settings.shard(name), first, counted, last))
    return parts


class _History:
    """Stored snapshots, through several recognisers at once."""

    def __init__(
        self, journals: Journals, source: str, parts: Sequence[_Part], progress: Progress | None
    ) -> None:
        self._journals, self._source, self._parts, self._progress = journals, source, parts, progress
        self._done, self._total = 0, 3 * sum(part.last - part.first + 1 for part in parts)
        self.days, self.snapshots, self.runs = 0.0, 0, 0

    def rates(
        self, config: RecogniserConfig, ladders: Mapping[Tunable, Sequence[float]]
    ) -> dict[Tunable, list[float]]:
        """Alarms a day of each pattern with each of its thresholds, those of one place set together."""
        places = range(max((len(ladder) for ladder in ladders.values()), default=0))
        configs = [
            _with(config, {one.path: ladder[place] for one, ladder in ladders.items() if ladder[place:]})
            for place in places
        ]
        counts = self._count(configs)
        return {
            one: [counts[place][one.pattern] / self.days for place in range(len(ladder))]
            for one, ladder in ladders.items()
        }

    def _count(self, configs: Sequence[RecogniserConfig]) -> list[Counter[str]]:
        counts: list[Counter[str]] = [Counter() for _ in configs]
        self.runs, self.snapshots = self.runs + len(configs), 0
        spans = [self._read(part, configs, counts) for part in self._parts]
        moments = [moment for span in spans for moment in span]
        self.days = (max(moments) - min(moments)) / _DAY_NS if moments else 0.0
        if not self.days:
            raise InputError(
                f"source {self._source!r} has no history to measure: {self.snapshots} snapshots, "
                "expected several at different times; ingest more, or give an earlier --since"
            )
        return counts

    def _read(
        self, part: _Part, configs: Sequence[RecogniserConfig], counts: Sequence[Counter[str]]
    ) -> tuple[int, ...]:
        """First and last moment of what was counted."""
        stages = [Recogniser(part.name, config, part.shard) for config in configs]
        states = [stage.initial() for stage in stages]
        moments: list[int] = []
        for entry in self._journals.open(f"snapshots.{part.name}").scan(part.first, part.last):
            if not isinstance(entry.record, Snapshot):
                continue
            counted = entry.position >= part.counted
            for stage, state, count in zip(stages, states, counts, strict=True):
                found = stage.transition(state, entry)
                if counted:
                    count.update(record.pattern for record in found)
            if counted:
                moments = [moments[0] if moments else entry.time_ns, entry.time_ns]
                self.snapshots += 1
            self._done += 1
            if self._progress is not None and not self._done % 1000:
                self._progress(min(self._done, self._total), self._total)
        return tuple(moments)


def _between(
    config: RecogniserConfig, one: Tunable, tried: Sequence[tuple[float, float]], share: float, count: int
) -> list[float]:
    """So many thresholds between the last that alarms more often than it may and the next, if there are."""
    low, high = _pick(tried, share)
    if low is None or high is None:
        return []
    now = one.set_in(config) - one.origin
    first, ratio = (low - one.origin) / now, (high - one.origin) / (low - one.origin)
    return [one.scaled(config, first * ratio ** (place / (count + 1))) for place in range(1, count + 1)]


def _pick(tried: Sequence[tuple[float, float]], share: float) -> tuple[float | None, float | None]:
    """The last threshold that alarms more often than it may, and the lowest from which on none does."""
    best = None
    for threshold, rate in sorted(tried, reverse=True):
        if rate > share:
            return threshold, best
        best = threshold
    return None, best


def _picked(tried: Mapping[Tunable, Sequence[tuple[float, float]]], share: float) -> dict[str, float]:
    """What is proposed for that which alarms at all, by its path."""
    best = {one.path: _pick(found, share)[1] for one, found in tried.items() if any(r for _, r in found)}
    return {path: value for path, value in best.items() if value is not None}


def _nearest(tried: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return min((rate, threshold) for threshold, rate in tried)


# ---------------------------------------------------------------------- the configuration


def _with(config: RecogniserConfig, values: Mapping[str, float]) -> RecogniserConfig:
    dumped = config.model_dump()
    for path, value in values.items():
        before, _, within = path.partition(".*.")
        *tables, key = before.split(".")
        table = reduce(lambda table, name: table[name], tables, dumped)
        if not within:
            table[key] = value
        elif value != (first := table[key][0][within]):
            for item in table[key]:
                item[within] = float(f"{item[within] * value / first:.3g}")
    return RecogniserConfig.model_validate(dumped)


def _may(config: RecogniserConfig, values: Mapping[str, float]) -> bool:
    try:
        _with(config, values)
    except ValidationError:
        return False
    return True


def diff(tuned: Tuned, settings: Settings) -> list[str]:
    """The table that holds what is proposed, against what is in force; nothing where nothing changes.

    Complete: a source's own table takes the place of that for all sources, it adds nothing to it.
    """
    item = settings.source_of(tuned.source)
    table = "[recognise]" if item is None else "[source.recognise]"
    where = "of every source without its own" if item is None else f'under the [[source]] "{item.name}"'
    configs = (tuned.config, tuned.proposed)
    if configs[0] == configs[1]:
        return []
    told = {key for one in configs for key, _ in _flat(one.model_dump(mode="json", exclude_defaults=True))}
    before, after = ([f"{table}  # {where}", *_lines(one, told)] for one in configs)
    names = (f"{tuned.source} (in force)", f"{tuned.source} (proposed)")
    return list(difflib.unified_diff(before, after, *names, n=len(before), lineterm=""))


def _lines(config: RecogniserConfig, keys: Set[str]) -> list[str]:
    """These keys as lines of TOML; a table that has only defaults as an empty one."""
    values = dict(_flat(config.model_dump(mode="json")))
    empty = {key: "{}" for key in keys - values.keys() if not any(it.startswith(f"{key}.") for it in keys)}
    return [f"{key} = {value}" for key, value in sorted({**values, **empty}.items()) if key in keys]


def _flat(table: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in table.items():
        name = before + _key(key)
        if isinstance(value, dict) and value:
            found += _flat(value, f"{name}.")
        elif value is not None:
            found.append((name, _value(value)))
    return found


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items() if one is not None)
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)
