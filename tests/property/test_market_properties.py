"""The market patterns against slow, obvious ones, and what must hold for any input."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.market import prices as rows
from observer_core.pattern_record.market.config import (
    BadTick,
    CrossedBook,
    Drawdown,
    Horizon,
    Market,
    PriceShock,
    Regime,
    SpreadBlowout,
    Volatility,
    VolatilityRegime,
    VolumeSurge,
)
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from tests.support.market_feed import MINUTE, PATTERNS, START

NAMES = ("A", "B", "C")
_SHOCK = {
    "horizons": (Horizon(span=1, sigmas=4.0, floor=5.0), Horizon(span=4, sigmas=3.0, floor=8.0)),
    "refractory": 3, "sustained": 9, "others": 2, "share": 1.0,
}  # fmt: skip
SMALL = Market(
    volatility=Volatility(span=3, slow_span=8, warm_up=4, longest_gap=9.0),
    price_shock=PriceShock(**_SHOCK), bad_tick=BadTick(refractory=4),
    drawdown=Drawdown(window=6, sigmas=1.0, floor=30.0),
    volume_surge=VolumeSurge(span=6, warm_up=3, sigmas=2.0, refractory=4),
    spread_blowout=SpreadBlowout(span=6, warm_up=3, ratio=2.0, floor=4.0),
    crossed_book=CrossedBook(persist=2),
    volatility_regime=VolatilityRegime(
        elevated=Regime(enter=1.2, leave=1.1), storm=Regime(enter=1.5, leave=1.3)
    ),
)  # fmt: skip
NO_WAITING = SMALL.model_copy(update={"price_shock": PriceShock(**_SHOCK, confirm_within=0)})

moves = st.one_of(
    st.just(0.0),
    st.floats(-8.0, 8.0),
    st.sampled_from([-3000.0, -60.0, 40.0, 90.0, 9e4]),
    st.none(),
    st.just("tick"),
)
"""Of a price in basis points; none: it is missing; a tick: a print that has nothing to do with it."""
spreads = st.sampled_from([1.0, 1.0, 2.0, 0.0, -1.0, 40.0, None])
sizes = st.sampled_from([5.0, 6.0, 7.0, 0.0, 500.0, 1e-9, None])
rows_of_a_subject = st.tuples(moves, spreads, sizes)
steps = st.tuples(st.sampled_from([1, 1, 1, 1, 0, 2, 40]), st.tuples(*[rows_of_a_subject] * 3))
streams = st.lists(steps, min_size=8, max_size=40)


def snapshots(stream: Any, names: tuple[str, ...] = NAMES) -> list[Snapshot]:
    """Bars of a made-up market; a subject without a price, a quote and a volume is not in its snapshot."""
    made, now = [], START
    price = dict.fromkeys(NAMES, 100.0)
    for gap, row in stream:
        now += gap * MINUTE
        cells: dict[str, dict[str, float]] = {name: {} for name in ("close", "bid", "ask", "volume")}
        for name, (move, spread, size) in zip(NAMES, row, strict=True):
            if move == "tick":
                cells["close"][name] = price[name] * 1.3
            elif move is not None:
                price[name] *= 1.0 + move * 1e-4
                cells["close"][name] = price[name]
            if spread is not None:
                cells["bid"][name] = price[name] * (1.0 - spread * 1e-4)
                cells["ask"][name] = price[name] * (1.0 + spread * 1e-4)
            if size is not None:
                cells["volume"][name] = size
        there = tuple(n for n in names if any(n in values for values in cells.values()))
        made.append(Snapshot(
            source="v", event_ns=now, ingest_ns=now, subjects=there,
            fields={f: np.array([values.get(n, math.nan) for n in there]) for f, values in cells.items()},
        ))  # fmt: skip
    return made


def recognised(
    taken: list[Snapshot], market: Market, *, reload_at: int = -1
) -> tuple[list[PatternRecord], Any]:
    recogniser = Recogniser("v", RecogniserConfig(market=market))
    state = recogniser.initial()
    found: list[PatternRecord] = []
    for place, snapshot in enumerate(taken):
        if place == reload_at:
            state = recogniser.load(recogniser.dump(state))
        told = recogniser.transition(state, Entry("j", place + 1, snapshot))
        found += [record for record in told if record.pattern in PATTERNS]
    return found, (recogniser, state)


def said(records: list[PatternRecord], *without: str) -> list[tuple[Any, ...]]:
    left_out = {"recurrences", "return_period_ns", *without}
    return sorted(
        (r.time_ns, r.pattern, r.direction, r.series, r.score,
         tuple(sorted((k, v) for k, v in r.evidence.items() if k not in left_out)))
        for r in records
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(streams, st.integers(0, 39))
def test_a_state_that_was_dumped_and_loaded_goes_on_as_if_it_had_not_been(stream: Any, at: int) -> None:
    taken = snapshots(stream)
    found, (recogniser, state) = recognised(taken, SMALL)
    again, (other, reloaded) = recognised(taken, SMALL, reload_at=at % len(taken))
    assert [record.encode(0) for record in again] == [record.encode(0) for record in found]
    assert other.dump(reloaded) == recogniser.dump(state)


@settings(max_examples=60, deadline=None)
@given(streams)
def test_the_order_of_the_subjects_does_not_matter(stream: Any) -> None:
    one, _ = recognised(snapshots(stream), SMALL)
    other, _ = recognised(snapshots(stream, NAMES[::-1]), SMALL)
    assert said(other) == said(one)


@settings(max_examples=60, deadline=None)
@given(streams)
def test_others_say_nothing_of_a_subject_where_nothing_waits(stream: Any) -> None:
    together, _ = recognised(snapshots(stream), NO_WAITING)
    for name in NAMES:
        alone, _ = recognised([s for s in snapshots(stream, (name,)) if s.subjects], NO_WAITING)
        assert said(alone, "others") == said([r for r in together if r.series[0][1] == name], "others")


@settings(max_examples=60, deadline=None)
@given(streams)
def test_scores_and_evidence_are_finite_and_conditions_take_turns(stream: Any) -> None:
    found, _ = recognised(snapshots(stream), SMALL)
    held: set[tuple[str, Any]] = set()
    ends = {"spread_normal": "spread_blowout", "book_uncrossed": "crossed_book", "drawdown_over": "drawdown"}
    for record in found:
        assert 0.0 <= record.score < 1.0
        assert all(math.isfinite(value) for value in record.evidence.values() if value is not None)
        begun = ends.get(record.pattern)
        if begun is not None:
            held.remove((begun, record.series))
        elif record.pattern in ends.values():
            assert record.pattern == "drawdown" or (record.pattern, record.series) not in held
            held.add((record.pattern, record.series))


@dataclass
class Price:
    """One price, one number at a time, as the docstrings of the detectors say; nothing ever waits."""

    price: float = 0.0
    since: float = 0.0
    interval: float = 0.0
    observations: int = 0
    moves: int = 0
    fast: float = 0.0
    slow: float = 0.0
    muted: float = 0.0
    lasting: float = 0.0
    peak: float = 0.0
    told_fall: float = 0.0
    first_fall: float = 0.0
    regime: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def observe(self, p: float, now: float) -> list[str]:
        config, own, found = NO_WAITING, NO_WAITING.volatility, []
        if not self.observations:
            self.price = self.peak = p
            self.since = now
        u, moved, elapsed = (p - self.price) / (p + self.price), p != self.price, now - self.since
        if self.interval > 0 and elapsed / self.interval > 3:
            u /= math.sqrt(min(elapsed / self.interval, own.longest_gap))
            elapsed = self.interval * 3
        scale = max(self.fast * 0.5, self.slow, own.floor / 2e4)

        young = 1.0 + own.warm_up / max(self.moves, 1)
        limit, ratios = max(self.muted, self.lasting, 1.0), []
        for place, horizon in enumerate(config.price_shock.horizons):
            self.sums[place] = self.sums[place] * (1.0 - 1.0 / horizon.span) + u
            usual = 1.0 / math.sqrt((2.0 - 1.0 / horizon.span) / horizon.span) * horizon.sigmas * scale
            ratios.append(abs(self.sums[place]) / max(usual, horizon.floor / 2e4))
        most = max(ratios)
        onwards = u * self.sums[ratios.index(most)] > 0
        if self.observations >= own.warm_up and most > limit * young and onwards:
            found.append("price_shock")
            self.muted = max(self.muted, config.price_shock.rise * most)
            self.lasting = max(self.lasting, 1.0) * config.price_shock.settle
        self.muted *= 1.0 - 1.0 / config.price_shock.refractory
        self.lasting *= 1.0 - 1.0 / config.price_shock.sustained

        clip = scale * own.clip
        self.observations = min(self.observations + 1, own.slow_span)
        self.moves = min(self.moves + moved, own.slow_span)
        if self.observations <= own.warm_up:
            clip = max(clip, 25.0 / 2e4)
        learnt = min(abs(u), clip) * 1.2533141373155001
        self.fast += (learnt - self.fast) * max(1.0 / self.observations, 1.0 / own.span)
        if moved:
            self.slow += (learnt - self.slow) * max(1.0 / self.moves, 1.0 / own.slow_span)
            self.interval += (elapsed - self.interval) * max(1.0 / self.moves, 1.0 / own.span)
            self.since = now
        self.price = p
        return found + self.fall() + self.change()

    def fall(self) -> list[str]:
        own, warm_up = NO_WAITING.drawdown, NO_WAITING.volatility.warm_up
        below = max((self.peak - self.price) * (1.0 - 1.0 / own.window), 0.0)
        self.peak = self.price + below
        fall = below / self.peak
        need = max(own.floor / 1e4, 2.0 * self.told_fall)
        usual = self.slow * (own.sigmas * 2.0 * math.sqrt(own.window))
        found = []
        over = fall < self.first_fall
        if fall > max(usual * (1.0 + warm_up / max(self.moves, 1)), need) and self.observations > warm_up - 1:
            found.append("drawdown")
            self.first_fall = self.first_fall or fall / 2.0
            self.told_fall = fall
        if over:
            found.append("drawdown_over")
            self.first_fall = self.told_fall = 0.0
        return found

    def change(self) -> list[str]:
        own, vol = NO_WAITING.volatility_regime, NO_WAITING.volatility
        ratio = self.fast / max(self.slow, vol.floor / 2e4)
        young = 1.0 + vol.warm_up / max(self.moves, 1)
        enter = (own.elevated.enter, own.storm.enter, math.inf)[self.regime]
        leave = (0.0, own.elevated.leave, own.storm.leave)[self.regime]
        if ratio > enter * young and self.moves >= vol.warm_up:
            self.regime += 1
            return ["volatility_regime"]
        if ratio < leave:
            self.regime -= 1
            return ["volatility_regime"]
        return []


_KEPT = {
    "price": rows.PRICE, "since": rows.SINCE, "interval": rows.INTERVAL, "observations": rows.OBSERVATIONS,
    "moves": rows.MOVES, "fast": rows.FAST, "slow": rows.SLOW, "muted": rows.LIMIT, "lasting": rows.LASTING,
    "peak": rows.PEAK, "told_fall": rows.FALL, "first_fall": rows.FALL_OVER, "regime": rows.REGIME,
}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(streams)
def test_every_price_is_judged_as_by_the_slow_obvious_one(stream: Any) -> None:
    bare = [(gap, tuple((move, None, None) for move, _, _ in row)) for gap, row in stream]
    taken = [snapshot for snapshot in snapshots(bare) if snapshot.subjects]
    found, (_, state) = recognised(taken, NO_WAITING)
    slow = {name: Price() for name in NAMES}
    expected = []
    for snapshot in taken:
        now = float(snapshot.ingest_ns - taken[0].ingest_ns)
        for name, p in zip(snapshot.subjects, snapshot.fields["close"].tolist(), strict=True):
            expected += [(snapshot.ingest_ns, pattern, name) for pattern in slow[name].observe(p, now)]
    assert sorted((r.time_ns, r.pattern, r.series[0][1]) for r in found) == sorted(expected)
    own = state.families["market"]
    for name, column in own.subjects.items():
        kept = {field: own.prices[row, column] for field, row in _KEPT.items()}
        assert kept == {field: getattr(slow[name], field) for field in _KEPT}
        assert own.prices[rows.SUMS : rows.SUMS + 2, column].tolist() == slow[name].sums
