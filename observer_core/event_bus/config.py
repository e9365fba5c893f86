"""What the publisher can be told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated

from pydantic import Field

from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs
from observer_core.shared.records import PatternRecord, Severity

_MINUTE = 60 * SECOND
_PRICES = (
    "price", "*_price", "last", "mid", "bid", "ask", "open", "high", "low", "close", "adjclose",
    "bid_open", "bid_high", "bid_low", "bid_close", "ask_open", "ask_high", "ask_low", "ask_close",
)  # fmt: skip
_MOVES = {"price_shock": ("*",), "volatility_regime": ("*",), "spike": _PRICES}
Duration = Annotated[DurationNs, Field(gt=0)]


class MarketConfig(Config):
    """What makes moves of several venues one: see `market`.

    `moves`: the patterns that are moves of a market, each with the fields (globs) it must be of.
    `window`: moves within it are one (at least a cadence). `subjects` of `venues` that moved are a
    `market_shock`.
    """

    moves: dict[str, tuple[str, ...]] = Field(default_factory=lambda: dict(_MOVES))
    window: Duration = 5 * _MINUTE
    subjects: Annotated[int, Field(ge=2)] = 3
    venues: Annotated[int, Field(ge=2)] = 2

    def is_move(self, pattern: PatternRecord) -> bool:
        """A calmer market (`volatility_regime` down) has not moved."""
        fields = self.moves.get(pattern.pattern)
        if fields is None or (pattern.pattern == "volatility_regime" and pattern.direction == "down"):
            return False
        return all(_is_one_of(name, fields) for _, _, name in pattern.series)


@lru_cache(maxsize=1024)
def _is_one_of(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


class PublisherConfig(Config):
    """`incident_severity`: the bar, the least severity that opens an incident or keeps one going.

    `quiet`: how long nothing must be added before an incident is over (at least three
    cadences of the source are waited, and up to eight times as long where incidents come back).
    `window`: what comes within it is of one moment (at least three cadences). `chance`: how many
    incidents a day may come of chance alone at a venue, for each class of patterns (see `openings`).
    `venues`: which sources, as they are recorded, are parts of which venue; others are their own.
    """

    incident_severity: Severity = "warning"
    quiet: Duration = 15 * _MINUTE
    window: Duration = 3 * _MINUTE
    chance: Annotated[float, Field(gt=0.0, le=1e6)] = 1.0
    market: MarketConfig = MarketConfig()
    venues: dict[str, str] = Field(default_factory=dict)
