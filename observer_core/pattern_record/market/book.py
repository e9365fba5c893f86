"""Quotes that are wide, and bids above asks.

With the spread q = (ask - bid) / (ask + bid) of every observation (half of the relative spread):

    limit = max(ratio·√m, floor)
    m    += (min(q², limit²) - m) / span
    spread_blowout   when q > limit in `persist` observations in a row, `spread_normal` at q < leave·limit
    crossed_book     when bid > ask in `persist` observations in a row, `book_uncrossed` at bid <= ask

So the usual spread is the root of the mean square, to which the spreads of thin books, narrow
mostly and wide now and then, are not far. While a spread stays wide it slowly becomes usual. A
single wide or crossed observation is noise (the two sides of a bar's close need not be of one
moment); a locked book (bid = ask) is not crossed.

False alarms: a market whose spread is wide at the same hours each day, beyond `floor`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.market.config import Market, SpreadBlowout
from observer_core.pattern_record.market.prices import BASIS_POINTS
from observer_core.pattern_record.market.roles import Part, Quoted, Roles
from observer_core.pattern_record.market.state import COUNT, MEAN_SQUARE, MarketState, Run
from observer_core.pattern_record.window import Flags, Floats, constant
from observer_core.shared.records import Direction

WIDE, CROSSED = 0, 1
"""Rows of `fire`, and of the conditions."""
_DIRECTIONS: dict[str, Direction] = {"spread_blowout": "up", "spread_normal": "down"}
PATTERNS = (("spread_blowout", "spread_normal"), ("crossed_book", "book_uncrossed"))
_ZERO = constant(0.0)


class Quotes:
    """Bids and asks of m subjects: their state (2, m), and room to compute in."""

    __slots__ = (
        "_config", "_floor", "_gain", "_ratio", "fire", "limit", "mature", "spread", "total", "values",
        "work",
    )  # fmt: skip

    def __init__(self, values: Floats, config: SpreadBlowout) -> None:
        self._config, self.values = config, values
        self.total, self.spread, self.limit, self.work = np.empty((4, values.shape[1]))
        self.fire: Flags = np.empty((2, values.shape[1]), np.bool_)
        self.mature = False
        floor = config.floor / BASIS_POINTS
        self._ratio, self._floor = constant(config.ratio * config.ratio), constant(floor * floor)
        self._gain = constant(1.0 / config.span)

    def observe(self, bid: NDArray[np.float64], ask: NDArray[np.float64]) -> int:
        """How many are wide or crossed (`fire`). All of `bid` and `ask` must be positive."""
        mean, gain = self.values[MEAN_SQUARE], self._gain
        np.add(bid, ask, out=self.total)
        np.subtract(ask, bid, out=self.spread)
        np.less(self.spread, _ZERO, out=self.fire[CROSSED])
        np.divide(self.spread, self.total, out=self.spread)
        np.multiply(self.spread, self.spread, out=self.work)
        np.multiply(mean, self._ratio, out=self.limit)
        np.maximum(self.limit, self._floor, out=self.limit)
        np.greater(self.work, self.limit, out=self.fire[WIDE])
        self.mature = self.mature or bool(self.values[COUNT].min() >= self._config.span)
        if self.mature:
            np.minimum(self.work, self.limit, out=self.work)
        else:
            gain = self._count()
        np.subtract(self.work, mean, out=self.work)
        np.multiply(self.work, gain, out=self.work)
        np.add(mean, self.work, out=mean)
        return int(np.count_nonzero(self.fire))

    def _count(self) -> NDArray[np.float64]:
        count = self.values[COUNT]
        np.minimum(self.work, self.limit, out=self.work, where=count >= self._config.warm_up)
        np.minimum(count + 1.0, self._config.span, out=count)
        gains: NDArray[np.float64] = np.maximum(1.0 / count, self._gain)
        return gains


class Book:
    """`spread_blowout` and `crossed_book` of every subject with quotes, and what ends them."""

    __slots__ = ("_config", "_leave", "_persist", "_warm_up")

    def __init__(self, config: Market) -> None:
        own = self._config = config.spread_blowout
        self._persist = (own.persist, config.crossed_book.persist)
        self._leave, self._warm_up = own.leave * own.leave, own.warm_up

    def observe(
        self, own: MarketState, seen: Seen, roles: Roles, quoted: Quoted, found: list[Finding]
    ) -> None:
        part = Part(roles, quoted.there, quoted.count)
        bid, ask = part.take(quoted.bid, 1.0), part.take(quoted.ask, 1.0)
        if part.rows is not None:
            quotes = Quotes(own.quotes[:, part.columns], self._config)
            fired = quotes.observe(bid, ask)
            own.quotes[:, part.columns] = quotes.values
        else:
            quotes = self._in_place(own, roles)
            kept = None if part.missing is None else quotes.values[:, part.missing]
            fired = quotes.observe(bid, ask)
            if kept is not None:
                quotes.values[:, part.missing] = kept
        if fired or own.runs[WIDE] or own.runs[CROSSED]:
            self._follow_all(own, seen, roles, part, quotes, found)

    def _in_place(self, own: MarketState, roles: Roles) -> Quotes:
        known = roles.windows.get("quotes")
        if known is None or known[0] is not own.quotes:
            known = own.quotes, Quotes(own.quotes[:, roles.span], self._config)
            roles.windows["quotes"] = known
        quotes: Quotes = known[1]
        return quotes

    def _follow_all(
        self, own: MarketState, seen: Seen, roles: Roles, part: Part, quotes: Quotes, found: list[Finding]
    ) -> None:
        assert roles.book is not None
        field, now_ns = roles.book[0], seen.snapshot.ingest_ns
        for kind in (WIDE, CROSSED):
            runs = own.runs[kind]
            concerned = set(np.flatnonzero(quotes.fire[kind]).tolist())
            concerned.update(at for at in map(part.find, runs) if at is not None)
            for at in sorted(concerned):
                column = int(part.columns[at])
                told = self.follow(kind, runs, column, quotes, at, now_ns, field)
                if told is not None:
                    pattern, name, score, evidence = told
                    direction = _DIRECTIONS.get(pattern, "none")
                    series = (seen.source, own.name(column), name)
                    found.append(Finding(pattern, direction, series, score, evidence))

    def follow(
        self, kind: int, runs: dict[int, Run], column: int, quotes: Quotes, at: int, now_ns: int, field: str
    ) -> tuple[str, str, float, dict[str, float | int]] | None:
        """Pattern, field, score and evidence, if this observation of the subject in `column` makes one."""
        run = runs.get(column)
        crossed = bool(quotes.spread[at] < 0.0)
        known = kind == CROSSED or quotes.values[COUNT, at] >= self._warm_up
        if known and quotes.fire[kind, at] and crossed == (kind == CROSSED):
            if run is None:
                run = runs[column] = Run(0, now_ns)
            run.length += 1
            if run.field or run.length < self._persist[kind]:
                return None
            run.field = field
            return PATTERNS[kind][0], field, self._score(kind, quotes, at, run), _evidence(quotes, at, run)
        if run is None:
            return None
        run.length += 1
        if run.field:
            narrow = quotes.spread[at] * quotes.spread[at] < self._leave * quotes.limit[at]
            if crossed or (kind == WIDE and not narrow):
                return None
        del runs[column]
        return (PATTERNS[kind][1], run.field, 0.0, _evidence(quotes, at, run)) if run.field else None

    def _score(self, kind: int, quotes: Quotes, at: int, run: Run) -> float:
        if kind == CROSSED:
            return run.length / (run.length + self._persist[kind])
        spread, limit = number(quotes.spread[at]), math.sqrt(quotes.limit[at])
        return spread / (spread + limit)


def _evidence(quotes: Quotes, at: int, run: Run) -> dict[str, float | int]:
    return {
        "spread_bp": number(quotes.spread[at] * BASIS_POINTS),
        "limit_bp": number(math.sqrt(quotes.limit[at]) * BASIS_POINTS),
        "usual_bp": number(math.sqrt(quotes.values[MEAN_SQUARE, at]) * BASIS_POINTS),
        "observations": run.length, "since_ns": run.since_ns,
    }  # fmt: skip
