"""How much a price usually moves, and in which regime: calm, elevated or storm.

No single move, however large, changes a scale by more than `clip` sigmas do, and no stretch
without moves makes it small. For the move u of every observation (half returns, see `prices`;
after a silence of g > 3 usual intervals u / √g), with k = √(π/2):

    scale  = max(fast/2, slow, floor)
    fast  += (k·min(|u|, clip·scale) - fast) / span
    slow  += (k·min(|u|, clip·scale) - slow) / slow_span       only where the price moved

Young series learn with gains 1/n. A silence runs from the last *move*: a closed market whose last
price is repeated is silent, and its reopening is judged by √g. `volatility_regime`:

    ratio = fast / max(slow, floor)
    up      when ratio > enter of the next regime, down when ratio < leave of the present one

Until `slow` rests on many moves, `enter` is raised by the share warm_up / moves.

False alarms: a market whose volatility has a daily course of more than `enter` : 1 over two
hours changes its regime daily.

Source: the mean absolute move instead of the squared one, clipped, is the jump-robust scale of
Huber's proposal 2; RiskMetrics, 1996, for the exponential windows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.findings import number
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.market.prices import BASIS_POINTS, REGIME, PriceWindow, derive
from observer_core.pattern_record.window import constant
from observer_core.shared.records import Direction

_SIGMA_OF_MEAN = 1.2533141373155001
_YOUNG_CLIP = 25.0
"""Basis points that one move may count for while nothing is known of a price."""
_FAST_SHARE = constant(0.5)
"""A move that goes on must not hide itself by what it adds to the fast scale."""
LONG_GAP = 3.0
"""Usual intervals from which on a silence is one."""
UP, DOWN = 2, 3
"""Rows of `fire`."""


class Volatility:
    """The arithmetic; its numbers in half returns."""

    __slots__ = (
        "_clip",
        "_config",
        "_floor",
        "_gains",
        "_longest",
        "_sigma",
        "_slow_span",
        "_warm_up",
    )

    def __init__(self, config: Market) -> None:
        own = config.volatility
        self._config = config
        self._floor = constant(own.floor / BASIS_POINTS)
        self._clip, self._sigma = constant(own.clip), constant(_SIGMA_OF_MEAN)
        self._longest, self._warm_up = own.longest_gap, own.warm_up
        self._gains = np.array([[1.0 / own.span], [1.0 / own.slow_span]])
        self._slow_span = own.slow_span

    def begin(self, w: PriceWindow, p: NDArray[np.float64], now: float) -> None:
        """Counts this observation where the counts still matter, and starts what was never observed."""
        if w.mature:
            return
        if w.moves.min() >= self._slow_span:
            w.mature = True
            w.gain, w.gains = self._gains[0], self._gains
            return
        new = w.observations == 0.0
        if np.count_nonzero(new):
            np.copyto(w.price, p, where=new)
            np.copyto(w.peak, p, where=new)
            np.copyto(w.since, now, where=new)

    def measure(self, w: PriceWindow, p: NDArray[np.float64], now: float) -> None:
        """The move to `p`, what silence came before it, and the scale it is judged by."""
        np.subtract(p, w.price, out=w.move)
        np.not_equal(w.move, 0.0, out=w.moved)
        np.add(p, w.price, out=w.work)
        np.divide(w.move, w.work, out=w.move)
        np.subtract(now, w.since, out=w.elapsed)
        np.divide(w.elapsed, w.interval, out=w.gap)
        np.greater(w.gap, LONG_GAP, out=w.wide)
        if np.count_nonzero(w.wide):
            self._shrink(w)
        np.multiply(w.fast, _FAST_SHARE, out=w.scale)
        np.maximum(w.scale, w.slow, out=w.scale)
        np.maximum(w.scale, self._floor, out=w.scale)

    def _shrink(self, w: PriceWindow) -> None:
        """A move after a silence counts for what it would be in one interval; so does the silence."""
        w.wide &= w.interval > 0.0
        at = np.flatnonzero(w.wide)
        gap = np.minimum(w.gap[at], self._longest)
        w.move[at] /= np.sqrt(gap)
        w.elapsed[at] = w.interval[at] * LONG_GAP

    def learn(self, w: PriceWindow, p: NDArray[np.float64], now: float) -> None:
        np.abs(w.move, out=w.work)
        np.multiply(w.scale, self._clip, out=w.level)
        if not w.mature:
            self._count(w)
        np.minimum(w.work, w.level, out=w.work)
        np.multiply(w.work, self._sigma, out=w.work)
        np.subtract(w.work, w.scales, out=w.work2)
        np.multiply(w.work2, w.gains, out=w.work2)
        np.multiply(w.work2[1], w.moved, out=w.work2[1])
        np.add(w.scales, w.work2, out=w.scales)
        np.subtract(w.elapsed, w.interval, out=w.elapsed)
        np.multiply(w.elapsed, w.gain, out=w.elapsed)
        np.multiply(w.elapsed, w.moved, out=w.elapsed)
        np.add(w.interval, w.elapsed, out=w.interval)
        np.copyto(w.since, now, where=w.moved)
        np.copyto(w.price, p)

    def _count(self, w: PriceWindow) -> None:
        counts = w.values[3:5]
        counts[0] += 1.0
        counts[1] += w.moved
        np.minimum(counts, self._slow_span, out=counts)
        np.maximum(w.level, _YOUNG_CLIP / BASIS_POINTS, out=w.level, where=counts[0] <= self._warm_up)
        gains = np.maximum(1.0 / np.maximum(counts, 1.0), self._gains)
        w.gains = gains
        w.gain = np.maximum(1.0 / np.maximum(counts[1], 1.0), self._gains[0])

    def regimes(self, w: PriceWindow) -> None:
        np.maximum(w.slow, self._floor, out=w.work)
        np.divide(w.fast, w.work, out=w.level)
        np.greater(w.level, w.regime_up, out=w.fire[UP])
        np.less(w.level, w.regime_down, out=w.fire[DOWN])

    def change(
        self, w: PriceWindow, row: int, at: int
    ) -> tuple[Direction, float, dict[str, float | int]] | None:
        """Direction, score and evidence of the new regime of subject `at`; None: too little is known."""
        moves, before = float(w.moves[at]), int(w.values[REGIME, at])
        limit = float((w.regime_up if row == UP else w.regime_down)[at])
        ratio = float(w.level[at])
        if row == UP:
            limit *= 1.0 + self._warm_up / max(moves, 1.0)
            if ratio <= limit or moves < self._warm_up:
                return None
        elevated = self._config.volatility_regime.elevated.enter
        regime = before + 1 if row == UP else before - 1
        w.values[REGIME, at] = float(regime)
        derive(w.values[:, at : at + 1], self._config)
        evidence: dict[str, float | int] = {
            "regime": regime, "before": before, "ratio": number(ratio), "limit": number(limit),
            "fast_bp": number(w.fast[at] * BASIS_POINTS), "slow_bp": number(w.slow[at] * BASIS_POINTS),
        }  # fmt: skip
        if row == UP:
            return "up", ratio / (ratio + elevated), evidence
        return "down", 0.0, evidence
