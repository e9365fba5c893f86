"""The prices that one step works on, as rows of numbers.

As in `pattern_record.window`, a step is the same arithmetic over all subjects in place or over
some of them gathered. Moves are *half returns* (p - q) / (p + q): half of what a return is where it
is small, within (-1, 1) for any prices, and of a print and its correction they cancel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.window import Flags, Floats, constant

BASIS_POINTS = 2e4
"""Basis points in a half return of 1."""

PRICE, SINCE, INTERVAL, OBSERVATIONS, MOVES, FAST, SLOW, LIMIT, LASTING, TICK_LIMIT = range(10)
PEAK, FALL, FALL_NEXT, FALL_OVER, REGIME, REGIME_UP, REGIME_DOWN = range(10, 17)
SUMS = 17

ONE = constant(1.0)
ZERO = constant(0.0)


def rows(config: Market) -> int:
    return SUMS + 2 * len(config.price_shock.horizons)


class Horizons:
    """Numbers of the configuration as columns over the horizons, in half returns; `fade` over the limits."""

    __slots__ = ("decay", "fade", "floors", "norms", "sigmas", "spans", "units")

    def __init__(self, config: Market) -> None:
        horizons = config.price_shock.horizons
        self.spans = [horizon.span for horizon in horizons]
        self.sigmas = [horizon.sigmas for horizon in horizons]
        # The variance of a sum that keeps (1 - 1/h) of itself is 1 / (2/h - 1/h²) times that of its terms.
        self.norms = [1.0 / math.sqrt((2.0 - 1.0 / span) / span) for span in self.spans]
        units = [norm * sigma for norm, sigma in zip(self.norms, self.sigmas, strict=True)]
        self.units: Floats = np.array(units)[:, None]
        self.floors: Floats = np.array([horizon.floor / BASIS_POINTS for horizon in horizons])[:, None]
        self.decay: Floats = np.array([1.0 - 1.0 / span for span in self.spans])[:, None]
        shock, tick = config.price_shock, config.bad_tick
        self.fade: Floats = 1.0 - np.array(
            [[1.0 / n] for n in (shock.refractory, shock.sustained, tick.refractory)]
        )


class PriceWindow:
    """Prices of m subjects: the state they carry (rows(config), m), and room to compute in."""

    def __init__(self, values: Floats, horizons: Horizons) -> None:
        count, m = len(horizons.spans), values.shape[1]
        self.values = values
        self.price, self.since, self.interval = values[PRICE], values[SINCE], values[INTERVAL]
        self.observations, self.moves = values[OBSERVATIONS], values[MOVES]
        self.fast, self.slow, self.scales = values[FAST], values[SLOW], values[FAST : SLOW + 1]
        self.limit, self.lasting, self.limits = values[LIMIT], values[LASTING], values[LIMIT : TICK_LIMIT + 1]
        self.peak, self.fall_next, self.fall_over = values[PEAK], values[FALL_NEXT], values[FALL_OVER]
        self.regime_up, self.regime_down = values[REGIME_UP], values[REGIME_DOWN]
        self.kept_sums, self.onsets = values[SUMS : SUMS + count], values[SUMS + count :]
        self.sums, self.bounds, self.ratios = np.empty((3, count, m))
        self.move, self.gap, self.elapsed, self.scale, self.level, self.work, self.fall = np.empty((7, m))
        self.work2 = np.empty((2, m))
        self.excess = np.empty((count, m), np.bool_)
        self.calm: Flags = np.empty((count, m), np.bool_)
        self.wide, self.moved = np.empty((2, m), np.bool_)
        self.fire = np.empty((4, m), np.bool_)
        self.decay, self.fade = horizons.decay.repeat(m, 1), horizons.fade.repeat(m, 1)
        self.units, self.floors = horizons.units.repeat(m, 1), horizons.floors.repeat(m, 1)
        self.mature = False
        self.gain: Any = ONE
        self.gains: Any = ONE


def reset(values: Floats, config: Market) -> None:
    """Makes these columns subjects that were never observed."""
    values[:] = 0.0
    values[PRICE] = values[PEAK] = 1.0
    derive(values, config)


def derive(values: Floats, config: Market) -> None:
    """The rows that follow from others and the configuration."""
    floor = config.drawdown.floor / 1e4
    values[FALL_NEXT] = np.where(values[FALL] > 0.0, np.maximum(2.0 * values[FALL], floor), floor)
    regime, elevated, storm = (
        values[REGIME],
        config.volatility_regime.elevated,
        config.volatility_regime.storm,
    )
    values[REGIME_UP] = np.where(regime == 0.0, elevated.enter, np.where(regime == 1.0, storm.enter, np.inf))
    values[REGIME_DOWN] = np.where(regime == 0.0, 0.0, np.where(regime == 1.0, elevated.leave, storm.leave))
