"""Moves of a price far beyond what it usually moves: shocks, and bad ticks, which are none.

A bad print never is a shock and never changes what is usual, a storm is a few records, and a
price that comes out of a silence unmoved is nothing. For the move u of an observation, its scale
(see `volatility`) and every horizon of h observations:

    sum_h   = (1 - 1/h)·sum_h + u,      usual_h = scale / √((2 - 1/h)/h)
    ratio_h = |sum_h| / max(sigmas_h·usual_h, floor_h)
    excess    when some ratio_h > limit = max(1, refractory limit, lasting limit)

The limit is raised by the share warm_up / moves for a young price. A move within 1.5 usual spreads
is no excess, and quotes whose middle moved but which still hold the price before between them are
no observation of the price. An excess is a `price_shock`, at once, if something confirms it:

- the print lies at the subject's own quotes (within a third of its move),
- enough other subjects of the snapshot moved too: beyond half of their limit of the first horizon,
- most of the move came before this observation, or the source's cadence is beyond `confirm_within`.

Otherwise it waits (and is not learnt) for the subject's next observation. If `undone` of it is
gone by then, it was a `bad_tick`; else it is a `price_shock`. If no such observation comes within
three of its usual intervals (at most `confirm_within` of observed time, see `detectors.stale`), it
is a `price_shock` too: who does not know must not stay quiet. `onset_ns` is the last observation
before the move; the record's own time is that of its alarm.

What is said of a subject thus depends on others in one way: whether an excess is confirmed at once.

After a shock of ratio r the limit is rise·r, which fades over `refractory` observations, and lasting
settle·limit, which fades over `sustained`.

False alarms: an announcement is a shock whether it was to be expected or not. Missed: a single
print that is real and undone one observation later is a bad tick.

Source: Lee & Mykland, "Jumps in financial markets", RFS 21(6), 2008 (a return against its own
jump-robust volatility); Roberts, Technometrics 1(3), 1959, for the geometric sums; Brownlees & Gallo,
"Financial econometric analysis at ultra-high frequency", CSDA 51(4), 2006, for outlier prints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from observer_core.pattern_record.findings import number
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.market.prices import (
    BASIS_POINTS,
    LASTING,
    LIMIT,
    ONE,
    TICK_LIMIT,
    Horizons,
    PriceWindow,
)
from observer_core.pattern_record.market.state import Doubt
from observer_core.pattern_record.window import Flags, Floats, constant
from observer_core.shared.records import Direction

_CALM = constant(0.1)
"""Share of its limit below which a move has not begun."""
_ALONG = 3.0
_QUOTE_NOISE = 1.5
_PATIENCE = 3.0
_HIGHEST = 1e6


@dataclass(frozen=True, slots=True)
class Quote:
    """What a subject's own quotes say: NaN where they say nothing. `usual`: half of the relative spread.

    `is_print`: the price is not itself the middle of the quotes.
    """

    bid: float
    ask: float
    usual: float
    is_print: bool


class PriceShock:
    __slots__ = ("_config", "_horizons", "_tick", "_warm_up")

    def __init__(self, config: Market, horizons: Horizons) -> None:
        self._config, self._tick = config.price_shock, config.bad_tick
        self._horizons = horizons
        self._warm_up = config.volatility.warm_up

    def judge(self, w: PriceWindow) -> int:
        """How many excesses there may be (`excess`). Changes nothing that is kept."""
        np.multiply(w.kept_sums, w.decay, out=w.sums)
        np.add(w.sums, w.move, out=w.sums)
        np.multiply(w.scale, w.units, out=w.bounds)
        np.maximum(w.bounds, w.floors, out=w.bounds)
        np.abs(w.sums, out=w.ratios)
        np.divide(w.ratios, w.bounds, out=w.ratios)
        np.maximum(w.limit, w.lasting, out=w.level)
        np.maximum(w.level, ONE, out=w.level)
        np.greater(w.ratios, w.level, out=w.excess)
        return int(np.count_nonzero(w.excess))

    def keep(self, w: PriceWindow, now: float) -> None:
        """What the next observation is judged by."""
        np.copyto(w.kept_sums, w.sums)
        np.less(w.ratios, _CALM, out=w.calm)
        np.copyto(w.onsets, now, where=w.calm)
        np.multiply(w.limits, w.fade, out=w.limits)

    def excess(
        self, w: PriceWindow, at: int, price: float, clock: float, origin_ns: int, now_ns: int, field: str
    ) -> Doubt | None:
        """The excess of subject `at`; None: too little is known for one."""
        if w.observations[at] < self._warm_up:
            return None
        young = 1.0 + self._warm_up / max(float(w.moves[at]), 1.0)
        limit = float(w.level[at]) * young
        horizon = int(np.argmax(w.ratios[:, at]))
        ratio = float(w.ratios[horizon, at])
        if ratio <= limit or float(w.move[at]) * float(w.sums[horizon, at]) <= 0.0:
            return None
        onset = float(w.onsets[horizon, at])
        return Doubt(
            value=price, before=float(w.price[at]), ratio=ratio, limit=limit, horizon=horizon,
            sum=float(w.sums[horizon, at]), scale=float(w.scale[at]), onset_ns=origin_ns + round(onset),
            time_ns=now_ns, clock=clock, interval=float(w.interval[at]), field=field,
        )  # fmt: skip

    def explained(self, doubt: Doubt, quote: Quote) -> bool:
        """Whether it is within what quotes do."""
        return abs(_half_return(doubt.value, doubt.before)) <= _QUOTE_NOISE * quote.usual

    def straddled(self, doubt: Doubt, quote: Quote) -> bool:
        """Whether quotes that opened wide moved the middle between them: it says nothing of the price."""
        return not quote.is_print and quote.bid <= doubt.before <= quote.ask

    def confirmed(self, doubt: Doubt, move: float, quote: Quote, cadence: float) -> bool:
        """Whether something beyond other subjects confirms it at once."""
        if cadence > self._config.confirm_within or abs(move) < 0.5 * abs(doubt.sum):
            return True
        middle = (quote.bid + quote.ask) / 2.0
        return quote.is_print and abs(doubt.value - middle) * _ALONG <= abs(doubt.value - doubt.before)

    def moved(self, w: PriceWindow) -> Flags:
        """Which subjects moved in excess, for the others."""
        moved: Flags = (w.ratios[0] > 0.5) & w.moved & (w.observations >= self._warm_up)
        return moved

    def enough(self, others: int, subjects: int) -> bool:
        """Whether so many other subjects, of so many, confirm an excess."""
        share = math.ceil(self._config.share * (subjects - 1))
        return others >= min(self._config.others, max(1, share))

    def undone(self, doubt: Doubt, price: float) -> float:
        """The share of the move that is gone."""
        return 1.0 - _half_return(price, doubt.before) / _half_return(doubt.value, doubt.before)

    def is_bad_tick(self, undone: float) -> bool:
        return undone >= self._tick.undone

    def overdue(self, doubt: Doubt, clock: float, cadence: float) -> bool:
        """Whether it has waited long enough for an observation."""
        patience = min(_PATIENCE * max(doubt.interval, cadence), self._config.confirm_within)
        return clock - doubt.clock > patience

    def mute(self, values: Floats, at: int, ratio: float) -> None:
        """For a while only a larger one is a shock."""
        values[LIMIT, at] = min(max(float(values[LIMIT, at]), self._config.rise * ratio), _HIGHEST)

    def told(self, values: Floats, at: int, ratio: float) -> None:
        """After a shock: `mute`, and for long a higher limit."""
        self.mute(values, at, ratio)
        values[LASTING, at] = min(max(float(values[LASTING, at]), 1.0) * self._config.settle, _HIGHEST)

    def shock(
        self, doubt: Doubt, others: int, waited: bool
    ) -> tuple[Direction, float, dict[str, float | int]]:
        """Direction, score and evidence. `waited`: for another observation."""
        score = doubt.ratio / (doubt.ratio + doubt.limit)
        evidence = self._evidence(doubt) | {"others": others, "waited": int(waited)}
        return _direction(doubt), score, evidence

    def bad_tick(
        self, values: Floats, at: int, doubt: Doubt, price: float, undone: float
    ) -> tuple[Direction, float, dict[str, float | int]] | None:
        """Direction, score and evidence; None: not larger than the last ones."""
        if doubt.ratio <= values[TICK_LIMIT, at]:
            return None
        values[TICK_LIMIT, at] = min(doubt.ratio * self._tick.rise, _HIGHEST)
        score = doubt.ratio / (doubt.ratio + doubt.limit)
        after: dict[str, float | int] = {
            "after": number(price), "undone": number(undone), "print_ns": doubt.time_ns,
        }  # fmt: skip
        return _direction(doubt), score, self._evidence(doubt) | after

    def _evidence(self, doubt: Doubt) -> dict[str, float | int]:
        horizons, at = self._horizons, doubt.horizon
        usual = doubt.scale * horizons.norms[at]
        sigmas = abs(doubt.sum) / usual
        return {
            "value": number(doubt.value), "expected": number(doubt.before),
            "move_bp": number(doubt.sum * BASIS_POINTS), "horizon": horizons.spans[at],
            "sigmas": number(sigmas), "limit": number(sigmas / doubt.ratio * doubt.limit),
            "scale_bp": number(doubt.scale * BASIS_POINTS), "onset_ns": doubt.onset_ns,
        }  # fmt: skip


def _direction(doubt: Doubt) -> Direction:
    return "up" if doubt.sum > 0.0 else "down"


def _half_return(price: float, before: float) -> float:
    return (price - before) / (price + before)
