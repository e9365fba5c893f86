"""The prices of a snapshot through the detectors that judge them, into the state.

Nothing is kept of an observation before it is clear whether it is believed: what is missing, and
what is in doubt, leaves its subject as it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.market.drawdown import DEEPER, OVER, Drawdown
from observer_core.pattern_record.market.price_shock import PriceShock, Quote
from observer_core.pattern_record.market.prices import PEAK, PRICE, SINCE, Horizons, PriceWindow
from observer_core.pattern_record.market.roles import Cells, Part, Quoted, Roles, positive
from observer_core.pattern_record.market.state import MEAN_SQUARE, Doubt, MarketState
from observer_core.pattern_record.market.volatility import DOWN, UP, Volatility
from observer_core.pattern_record.window import Flags, Floats


class PriceJudge:
    """`price_shock`, `bad_tick`, `drawdown` and `volatility_regime` of every subject with a price."""

    def __init__(self, config: Market) -> None:
        self.horizons = Horizons(config)
        self.shock = PriceShock(config, self.horizons)
        self.volatility, self.drawdown = Volatility(config), Drawdown(config)

    def observe(
        self,
        own: MarketState,
        seen: Seen,
        roles: Roles,
        x: Floats,
        quoted: Quoted | None,
        found: list[Finding],
    ) -> None:
        price, there, prints = _prices(roles, x, quoted)
        count = roles.size if there is None else int(np.count_nonzero(there))
        if not count:
            return
        part = Part(roles, there, count)
        look = _Look(self, own, seen, roles, part, quoted, prints, found)
        if part.rows is not None:
            w = PriceWindow(own.prices[:, part.columns], self.horizons)
            look.through(w, price[part.rows])
            own.prices[:, part.columns] = w.values
            return
        w = self._in_place(own, roles)
        if part.missing is None:
            look.through(w, price)
            return
        kept = w.values[:, part.missing]
        look.through(w, part.take(price, w.price))
        w.values[:, part.missing] = kept

    def expire(self, own: MarketState, seen: Seen, found: list[Finding]) -> None:
        """Excesses that waited for nothing are shocks, and their prices are believed."""
        state, values = seen.state, own.prices
        for column in sorted(own.doubts):
            doubt = own.doubts[column]
            if self.shock.overdue(doubt, state.clock, state.cadence):
                del own.doubts[column]
                values[PRICE, column] = doubt.value
                values[PEAK, column] = max(float(values[PEAK, column]), doubt.value)
                values[SINCE, column] = own.now
                self.shock.told(values, column, doubt.ratio)
                direction, score, evidence = self.shock.shock(doubt, 0, waited=True)
                series = (seen.source, own.name(column), doubt.field)
                found.append(Finding("price_shock", direction, series, score, evidence))

    def _in_place(self, own: MarketState, roles: Roles) -> PriceWindow:
        known: Any = roles.windows.get("prices")
        if known is None or known[0] is not own.prices:
            known = own.prices, PriceWindow(own.prices[:, roles.span], self.horizons)
            roles.windows["prices"] = known
        w: PriceWindow = known[1]
        return w


class _Look:
    """One snapshot's look at the prices of a part of its subjects."""

    __slots__ = ("_found", "_judge", "_own", "_part", "_prints", "_quoted", "_roles", "_seen")

    def __init__(
        self, judge: PriceJudge, own: MarketState, seen: Seen, roles: Roles, part: Part,
        quoted: Quoted | None, prints: Flags | None, found: list[Finding],
    ) -> None:  # fmt: skip
        self._judge, self._own, self._seen, self._roles, self._part = judge, own, seen, roles, part
        self._quoted, self._prints, self._found = quoted, prints, found

    def through(self, w: PriceWindow, p: Cells) -> None:
        judge, now, missing = self._judge, self._own.now, self._part.missing
        told = self._resolve(w, p) if self._own.doubts else set()
        judge.volatility.begin(w, p, now)
        judge.volatility.measure(w, p, now)
        aside: list[int] = []
        if judge.shock.judge(w):
            if missing is not None:
                w.excess[:, missing] = w.moved[missing] = False
            aside = self._decide(w, p, told)
        kept = w.values[:, aside] if aside else None
        judge.shock.keep(w, now)
        judge.volatility.learn(w, p, now)
        judge.drawdown.observe(w, p)
        judge.volatility.regimes(w)
        if kept is not None:
            w.values[:, aside] = kept
        if np.count_nonzero(w.fire):
            if missing is not None:
                w.fire[:, missing] = False
            w.fire[:, aside] = False
            self._conditions(w)

    def _resolve(self, w: PriceWindow, p: Cells) -> set[int]:
        """Doubts that this observation ends; the subjects of which it was a shock."""
        shock, doubts, shocks = self._judge.shock, self._own.doubts, set()
        for column in sorted(doubts):
            at = self._part.find(column)
            if at is None:
                continue
            doubt, price = doubts.pop(column), float(p[at])
            undone = shock.undone(doubt, price)
            if shock.is_bad_tick(undone):
                finding = shock.bad_tick(w.values, at, doubt, price, undone)
                if finding is not None:
                    self._tell("bad_tick", column, doubt.field, finding)
                continue
            shock.told(w.values, at, doubt.ratio)
            self._tell("price_shock", column, doubt.field, shock.shock(doubt, 0, waited=True))
            shocks.add(at)
        return shocks

    def _decide(self, w: PriceWindow, p: Cells, told: set[int]) -> list[int]:
        """Tells what is a shock at once; gives the subjects that are not to learn from this observation."""
        shock, state, aside = self._judge.shock, self._seen.state, []
        open_doubts: list[tuple[int, int, Doubt, Quote]] = []
        for at in np.flatnonzero(w.excess.any(axis=0)).tolist():
            if at in told:  # the same move goes on
                shock.mute(w.values, at, float(w.ratios[:, at].max()))
                continue
            column = int(self._part.columns[at])
            doubt = shock.excess(
                w, at, float(p[at]), state.clock, state.origin_ns or 0, self._seen.snapshot.ingest_ns,
                self._roles.price_field,
            )  # fmt: skip
            if doubt is None:
                continue
            quote = self._quote(at, column)
            if shock.straddled(doubt, quote):
                aside.append(at)
            elif not shock.explained(doubt, quote):
                open_doubts.append((at, column, doubt, quote))
        if not open_doubts:
            return aside
        moved = shock.moved(w)
        total = int(np.count_nonzero(moved))
        for at, column, doubt, quote in open_doubts:
            others = total - int(moved[at])
            alone = not shock.enough(others, self._part.size)
            if alone and not shock.confirmed(doubt, float(w.move[at]), quote, state.cadence):
                self._own.doubts[column] = doubt
                aside.append(at)
                continue
            shock.told(w.values, at, doubt.ratio)
            self._tell("price_shock", column, doubt.field, shock.shock(doubt, others, waited=False))
        return sorted(aside)

    def _quote(self, at: int, column: int) -> Quote:
        row, quoted, known = self._part.row(at), self._quoted, self._own.quotes[:, column]
        usual = math.sqrt(known[MEAN_SQUARE])
        bid = ask = math.nan
        if quoted is not None and quoted.there[row]:
            bid, ask = float(quoted.bid[row]), float(quoted.ask[row])
        return Quote(bid, ask, usual, self._prints is None or bool(self._prints[row]))

    def _conditions(self, w: PriceWindow) -> None:
        judge, falls, field = self._judge, self._own.falls, self._roles.price_field
        for row, at in zip(*(part.tolist() for part in np.nonzero(w.fire)), strict=True):
            column = int(self._part.columns[at])
            if row == DEEPER:
                fall = judge.drawdown.deeper(w, at)
                if fall is not None:
                    self._tell("drawdown", column, falls.setdefault(column, field), ("down", *fall))
            elif row == OVER:
                evidence = judge.drawdown.over(w, at)
                self._tell("drawdown_over", column, falls.pop(column, field), ("up", 0.0, evidence))
            elif row in (UP, DOWN):
                change = judge.volatility.change(w, row, at)
                if change is not None:
                    self._tell("volatility_regime", column, field, change)

    def _tell(self, pattern: str, column: int, field: str, what: Any) -> None:
        direction, score, evidence = what
        series = (self._seen.source, self._own.name(column), field)
        self._found.append(Finding(pattern, direction, series, score, evidence))


def _prices(roles: Roles, x: Floats, quoted: Quoted | None) -> tuple[Cells, Flags | None, Flags | None]:
    """The prices of all subjects, where there is one, and which are prints; None: all."""
    m, prints = roles.size, None
    price = x[:0]
    for _, first in roles.prints:
        cells = x[first : first + m]
        good = positive(cells)
        if prints is None:
            price, prints = cells, good
        else:
            price, prints = np.where(prints, price, cells), prints | good
        if np.count_nonzero(prints) == m:
            return price, None, None
    if quoted is None:
        return price, prints, None
    if prints is None:
        return quoted.middle(), quoted.there, np.zeros(m, np.bool_)
    return np.where(prints, price, quoted.middle()), prints | quoted.there, prints
