"""The market patterns of a source: one finding a subject, whatever fields it came in.

| pattern | what it says | its end |
|---|---|---|
| price_shock | a move far beyond what the price usually moves | |
| bad_tick | a print that was undone at once and moved nobody else | |
| drawdown | a fall from the recent peak; told again when it has doubled | drawdown_over |
| volatility_regime | calm (0), elevated (1) or storm (2), up and down | |
| volume_surge | a volume far beyond what is usual | |
| spread_blowout | quotes far wider than usual | spread_normal |
| crossed_book | bids above asks, for a while | book_uncrossed |

The detectors stand in a file each. What is said of a subject follows from its own observations, in
their order and at their times, with two exceptions: other subjects of a snapshot may confirm an
excess at once, and the source's observed time tells when an excess has waited long enough (see
`price_shock`). Not an observation: a price, bid or ask that is not a positive number; a volume of
zero. A finding names the field of its role; that of a recovery is the one its condition was told of.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding
from observer_core.pattern_record.market.book import Book
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.market.price_judge import PriceJudge
from observer_core.pattern_record.market.roles import Quoted, Roles
from observer_core.pattern_record.market.state import MarketState
from observer_core.pattern_record.market.volume_surge import Surges
from observer_core.pattern_record.units import Severity


class MarketPatterns:
    """A `families.Family`. A source without prices, quotes or volumes costs nothing."""

    name = "market"
    detectors: Mapping[str, str] = {
        "price_shock": "price_shock/1", "bad_tick": "price_shock/1", "drawdown": "drawdown/1",
        "drawdown_over": "drawdown/1", "volatility_regime": "volatility/1", "volume_surge": "volume_surge/1",
        "spread_blowout": "book/1", "spread_normal": "book/1", "crossed_book": "book/1",
        "book_uncrossed": "book/1",
    }  # fmt: skip

    def __init__(self, config: Market) -> None:
        self._config = config
        self._prices, self._book, self._surges = PriceJudge(config), Book(config), Surges(config.volume_surge)
        self.severities: Mapping[str, Severity] = {
            "price_shock": config.price_shock.severity, "bad_tick": config.bad_tick.severity,
            "drawdown": config.drawdown.severity, "drawdown_over": config.drawdown.severity,
            "volatility_regime": config.volatility_regime.severity,
            "volume_surge": config.volume_surge.severity,
            "spread_blowout": config.spread_blowout.severity, "spread_normal": config.spread_blowout.severity,
            "crossed_book": config.crossed_book.severity, "book_uncrossed": config.crossed_book.severity,
        }  # fmt: skip

    def initial(self) -> MarketState:
        return MarketState(self._config)

    def observe(self, own: MarketState, seen: Seen) -> list[Finding]:
        roles = self._roles(own, seen)
        found: list[Finding] = []
        if roles is not None:
            own.now = max(own.now, float(seen.snapshot.ingest_ns - (seen.state.origin_ns or 0)))
            x, m = seen.values(), roles.size
            quoted = None
            if roles.book is not None:
                _, bid, ask = roles.book
                quoted = Quoted(x[bid : bid + m], x[ask : ask + m])
            if roles.prints or quoted is not None:
                self._prices.observe(own, seen, roles, x, quoted, found)
            if quoted is not None and quoted.count:
                self._book.observe(own, seen, roles, quoted, found)
            if roles.volume is not None:
                field, at = roles.volume
                self._surges.observe(own, seen, roles, field, x[at : at + m], found)
        if own.doubts:
            self._prices.expire(own, seen, found)
        return found

    def forget(self, own: MarketState, subjects: Collection[str]) -> None:
        own.forget(subjects)

    def dump(self, own: MarketState) -> bytes:
        return own.dump()

    def load(self, blob: bytes) -> MarketState:
        return MarketState.load(blob, self._config)

    def _roles(self, own: MarketState, seen: Seen) -> Roles | None:
        caches = seen.plan.caches
        roles: Roles | None = caches.get(self.name, _UNKNOWN)
        if roles is _UNKNOWN:
            roles = Roles(self._config, seen.plan)
            if roles:
                roles.stand_at(np.array(own.columns(seen.plan.row_of), np.intp))
            else:
                roles = None
            caches[self.name] = roles
        return roles


_UNKNOWN: Any = object()
