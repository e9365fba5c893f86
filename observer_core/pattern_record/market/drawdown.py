"""Falls from a peak that is slowly forgotten.

A fall is told once, again each time it has doubled, and its end once. For every price p:

    peak = p + max(0, peak - p)·(1 - 1/window)
    fall = 1 - p/peak
    drawdown       when fall > max(sigmas·scale·√window, floor), then at twice the last one told
    drawdown_over  when fall < half the first one told: the price came back, or the peak is forgotten

`scale` is the slow one of returns (see `volatility`), raised by the share warm_up / moves while it
is young. With `sigmas` 4 a price without memory falls so far rarely: its fall from such a peak is
about √(window / 2) of its scale.

False alarms: trends, which are what it is to find; a scale that is too small for the days to come.

Source: Magdon-Ismail & Atiya, "Maximum drawdown", Risk 17(10), 2004, for the growth with √T.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.findings import number
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.market.prices import (
    BASIS_POINTS,
    FALL,
    FALL_OVER,
    ZERO,
    PriceWindow,
    derive,
)
from observer_core.pattern_record.window import constant

DEEPER, OVER = 0, 1
"""Rows of `fire`."""


class Drawdown:
    __slots__ = ("_config", "_keep", "_unit", "_warm_up")

    def __init__(self, config: Market) -> None:
        own = config.drawdown
        self._config, self._warm_up = config, config.volatility.warm_up
        self._keep = constant(1.0 - 1.0 / own.window)
        self._unit = constant(own.sigmas * 2.0 * math.sqrt(own.window))

    def observe(self, w: PriceWindow, p: NDArray[np.float64]) -> None:
        """After the scales have learnt."""
        np.subtract(w.peak, p, out=w.fall)
        np.multiply(w.fall, self._keep, out=w.fall)
        np.maximum(w.fall, ZERO, out=w.fall)
        np.add(p, w.fall, out=w.peak)
        np.divide(w.fall, w.peak, out=w.fall)
        np.multiply(w.slow, self._unit, out=w.work)
        np.maximum(w.work, w.fall_next, out=w.work)
        np.greater(w.fall, w.work, out=w.fire[DEEPER])
        np.less(w.fall, w.fall_over, out=w.fire[OVER])

    def deeper(self, w: PriceWindow, at: int) -> tuple[float, dict[str, float | int]] | None:
        """Score and evidence; None: too little is known of the subject."""
        moves, fall = float(w.moves[at]), float(w.fall[at])
        young = 1.0 + self._warm_up / max(moves, 1.0)
        usual = float(w.slow[at] * self._unit)
        limit = max(usual * young, float(w.fall_next[at]))
        if fall <= limit or w.observations[at] < self._warm_up:
            return None
        if w.fall_over[at] == 0.0:
            w.values[FALL_OVER, at] = fall / 2.0
        w.values[FALL, at] = fall
        derive(w.values[:, at : at + 1], self._config)
        evidence = self._evidence(w, at) | {"limit_bp": number(limit * 1e4)}
        first = max(usual, self._config.drawdown.floor / 1e4)
        return fall / (fall + first), evidence

    def over(self, w: PriceWindow, at: int) -> dict[str, float | int]:
        evidence = self._evidence(w, at) | {"limit_bp": number(w.fall_over[at] * 1e4)}
        w.values[FALL_OVER, at] = w.values[FALL, at] = 0.0
        derive(w.values[:, at : at + 1], self._config)
        return evidence

    def _evidence(self, w: PriceWindow, at: int) -> dict[str, float | int]:
        return {
            "value": number(w.price[at]), "peak": number(w.peak[at]), "fall_bp": number(w.fall[at] * 1e4),
            "scale_bp": number(w.slow[at] * BASIS_POINTS),
        }  # fmt: skip
