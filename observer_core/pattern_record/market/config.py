"""What the market patterns can be told. Every default is meant for observations a minute apart or so."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field, model_validator

from observer_core.pattern_record.units import Severity, Sigmas, Span, within
from observer_core.shared.config import Config, DurationNs

BasisPoints = Annotated[float, within(0.0, 10_000.0, "basis points")]
Share = Annotated[float, within(0.0, 1.0, "(a share)")]
Count = Annotated[int, within(1, 1_000_000, "observations")]
Factor = Annotated[float, within(1.0, 1000.0, "(a factor)")]
_MINUTE_NS = 60_000_000_000
_Warm = TypeVar("_Warm", "VolumeSurge", "SpreadBlowout")


class Volatility(Config):
    """How much a price usually moves from one observation to the next (see `volatility`).

    `span` and `slow_span`: lengths of the two exponential windows, in observations. `clip`: one
    observation moves a scale by at most so many sigmas. `floor`: a scale is never taken to be
    smaller. `warm_up`: observations before anything may alarm. `longest_gap`: a silence counts for
    at most so many usual intervals.
    """

    span: Span = 60
    slow_span: Span = 1440
    clip: Sigmas = 6.0
    floor: BasisPoints = 0.5
    warm_up: Span = 50
    longest_gap: Annotated[float, within(1.0, 1e6, "intervals")] = 1024.0

    @model_validator(mode="after")
    def _can_work(self) -> Volatility:
        if self.slow_span <= self.span:
            raise ValueError(
                f"slow_span ({self.slow_span}) must be longer than span ({self.span}): "
                "the regime is the ratio of the two scales"
            )
        if self.warm_up >= self.slow_span:
            raise ValueError(f"warm_up ({self.warm_up}) must be shorter than slow_span ({self.slow_span})")
        if self.floor == 0.0:
            raise ValueError(
                "floor must be above 0 basis points: a price that stood still would have no scale"
            )
        return self


class Horizon(Config):
    """`span`: mean length of the window in observations. A move in it is a shock beyond both
    `sigmas` of its usual size and `floor`."""

    span: Annotated[int, within(1, 100_000, "observations")]
    sigmas: Sigmas
    floor: BasisPoints


class PriceShock(Config):
    """`rise`: after a shock only one that is so many times larger is another one; that fades over
    `refractory` observations. `settle`: each shock also raises the limit by this factor, which fades
    over `sustained` observations.

    An excess that nothing confirms waits for its subject's next observation, at most
    `confirm_within`; with a longer cadence of the source nothing waits. It is confirmed at once where
    as many other subjects of the snapshot moved in excess as `share` of them, and at least one;
    `others` are always enough.
    """

    horizons: tuple[Horizon, ...] = (
        Horizon(span=1, sigmas=14.0, floor=15.0),
        Horizon(span=5, sigmas=11.0, floor=20.0),
        Horizon(span=15, sigmas=9.0, floor=30.0),
        Horizon(span=60, sigmas=7.0, floor=50.0),
    )
    rise: Factor = 1.5
    refractory: Span = 60
    settle: Factor = 1.25
    sustained: Span = 2000
    confirm_within: Annotated[DurationNs, Field(ge=0)] = 5 * _MINUTE_NS
    others: Annotated[int, within(1, 100_000, "subjects")] = 5
    share: Share = 0.1
    severity: Severity = Severity()

    @model_validator(mode="after")
    def _ordered(self) -> PriceShock:
        spans = [horizon.span for horizon in self.horizons]
        if not spans or len(spans) > 16 or spans != sorted(set(spans)):
            raise ValueError(
                f"horizons must be 1 to 16, each longer than the one before; found spans {spans}"
            )
        return self


class BadTick(Config):
    """`undone`: a print is bad when at least this share of its move is gone one observation later.

    After a bad tick only one that is `rise` times larger is told; that fades over `refractory`
    observations. Those that are not told are not believed either.
    """

    undone: Share = 0.65
    rise: Factor = 1.5
    refractory: Span = 500
    severity: Severity = Severity(warning=0.5, critical=1.0)


class Regime(Config):
    """`enter` and `leave`: ratios of the fast to the slow scale."""

    enter: Annotated[float, within(1.0, 1e6, "(a ratio of scales)")]
    leave: Annotated[float, within(0.0, 1e6, "(a ratio of scales)")]

    @model_validator(mode="after")
    def _has_hysteresis(self) -> Regime:
        if self.leave >= self.enter:
            raise ValueError(
                f"leave ({self.leave:g}) must be below enter ({self.enter:g}): the regime would flicker"
            )
        return self


class VolatilityRegime(Config):
    """Regimes 1 (`elevated`) and 2 (`storm`); all else is 0, calm."""

    elevated: Regime = Regime(enter=2.5, leave=1.5)
    storm: Regime = Regime(enter=5.0, leave=3.0)
    severity: Severity = Severity(warning=0.6, critical=0.9)

    @model_validator(mode="after")
    def _ordered(self) -> VolatilityRegime:
        if self.storm.enter <= self.elevated.enter or self.storm.leave < self.elevated.leave:
            raise ValueError(
                f"storm (enter {self.storm.enter:g}, leave {self.storm.leave:g}) must be above elevated "
                f"(enter {self.elevated.enter:g}, leave {self.elevated.leave:g})"
            )
        return self


class Drawdown(Config):
    """`window`: mean memory of the peak in observations. A fall is one beyond both `sigmas` of what a
    price usually moves in a window and `floor`."""

    window: Span = 240
    sigmas: Sigmas = 4.0
    floor: BasisPoints = 200.0
    severity: Severity = Severity()


def _warmed_up(config: _Warm) -> _Warm:
    if config.warm_up >= config.span:  # observations are counted up to `span`
        raise ValueError(f"warm_up ({config.warm_up}) must be shorter than span ({config.span})")
    return config


class VolumeSurge(Config):
    """`span`: length of the exponential window in observations with a volume. `sigmas`: of the eighth
    root of the volume. `spread`: its scale is never taken to be smaller than this share of its level.
    `clip`, `warm_up`, `rise`, `refractory`: as for prices."""

    span: Span = 240
    sigmas: Sigmas = 5.5
    spread: Annotated[float, within(0.001, 1.0, "(a share of the level)")] = 0.04
    clip: Sigmas = 4.0
    warm_up: Span = 50
    rise: Factor = 1.25
    refractory: Span = 240
    severity: Severity = Severity()

    @model_validator(mode="after")
    def _warms_up(self) -> VolumeSurge:
        return _warmed_up(self)


class SpreadBlowout(Config):
    """`ratio`: of the relative spread to its usual size. `floor`: no smaller one is wide. `persist`:
    observations in a row. `leave`: it is normal again below this share of the limit."""

    span: Span = 240
    ratio: Annotated[float, within(1.1, 1e6, "(a ratio of spreads)")] = 5.0
    floor: BasisPoints = 15.0
    persist: Count = 2
    leave: Annotated[float, within(0.01, 1.0, "(a share)")] = 0.5
    warm_up: Span = 50
    severity: Severity = Severity()

    @model_validator(mode="after")
    def _warms_up(self) -> SpreadBlowout:
        return _warmed_up(self)


class CrossedBook(Config):
    """`persist`: observations in a row in which the bid is above the ask; fewer are noise."""

    persist: Count = 5
    severity: Severity = Severity(warning=0.5, critical=0.8)


class Market(Config):
    """The market patterns (see `market.family`), by the role of fields.

    `prices`: the price of a subject is the first of these fields that it has, else the mid of the
    first pair of `quotes`; none: no market patterns at all. `volumes`: the first is the volume.
    `muted`: fields of books that nothing judges, as sizes change from nearly nothing to much with
    every order. Fields with a role, all other fields of prices and these have no spikes, level and
    variance shifts.
    """

    prices: tuple[str, ...] = ("close", "last", "price", "mid", "adjclose")
    quotes: tuple[tuple[str, str], ...] = (("bid", "ask"), ("bid_close", "ask_close"))
    volumes: tuple[str, ...] = ("volume",)
    muted: tuple[str, ...] = ("bid_size", "ask_size")
    volatility: Volatility = Volatility()
    price_shock: PriceShock = PriceShock()
    bad_tick: BadTick = BadTick()
    volatility_regime: VolatilityRegime = VolatilityRegime()
    drawdown: Drawdown = Drawdown()
    volume_surge: VolumeSurge = VolumeSurge()
    spread_blowout: SpreadBlowout = SpreadBlowout()
    crossed_book: CrossedBook = CrossedBook()

    @model_validator(mode="after")
    def _one_role_each(self) -> Market:
        names = [*self.prices, *(name for pair in self.quotes for name in pair), *self.volumes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not all(names):
            raise ValueError(f"a field has one role, and a name; found {twice or names}")
        return self

    def judges(self, field: str) -> bool:
        """Whether `field` has a role here, or is muted."""
        named = (self.prices, self.volumes, self.muted, *self.quotes)
        return any(field in names for names in named)
