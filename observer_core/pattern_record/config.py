"""What the recogniser can be told. Every default is meant for observations a minute apart or so."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field, model_validator

from observer_core.pattern_record.detectors.anomaly import Anomaly
from observer_core.pattern_record.market.config import Market
from observer_core.pattern_record.relations.settings import Correlations, Relations
from observer_core.pattern_record.units import Severity as Severity  # noqa: PLC0414
from observer_core.pattern_record.units import Sigmas, Snapshots, Span, within
from observer_core.shared.config import Config, DurationNs, Name

Transform = Literal["value", "return"]
_DAY_NS = 86_400_000_000_000

_BARS = ("open", "high", "low", "close")
PRICE_FIELDS = frozenset(
    [*_BARS, "adjclose", "price", "last", "mid", "bid", "ask"]
    + [f"{side}_{bar}" for side in ("bid", "ask") for bar in _BARS]
)
"""Fields that are judged by their return unless `transforms` says otherwise."""

CHANNELS: Mapping[str, tuple[str, ...]] = {
    "trades": (
        *_BARS, "adjclose", "last", "last_size", "price", "volume", "base_volume", "quote_volume", "vwap",
        "trade*",
    ),
    "quotes": ("bid*", "ask*", "mid", "spread"),
}  # fmt: skip
"""What may die while the rest of a source lives: fields (globs) by the channel that brings them."""


class Baseline(Config):
    """What a series normally is: its level and scale, on which three detectors stand.

    `span` and `slow_span`: length of the exponential windows, in observations. `clip`: one
    observation moves them by at most so many sigmas. `floor`: a scale is never taken to be
    smaller than this share of the level. `warm_up`: observations before anything may alarm.
    """

    span: Span = 50
    slow_span: Span = 500
    clip: Sigmas = 8.0
    floor: Annotated[float, within(1e-15, 0.1, "(a share of the level)")] = 1e-5
    warm_up: Span = 50

    @model_validator(mode="after")
    def _ordered(self) -> Baseline:
        if self.slow_span <= self.span:
            raise ValueError(
                f"slow_span ({self.slow_span}) must be longer than span ({self.span}): "
                "a variance shift is the difference between the two"
            )
        return self


class Limits(Config):
    """How alarms of one series are kept apart, in snapshots of the source (see `limits`)."""

    refractory: Snapshots = 60
    sustained: Snapshots = 1000
    rise: Annotated[float, within(1.0, 10.0, "(a factor)")] = 1.5


class Frequency(Config):
    """How rare a pattern must be in its own series to be as grave as its score says (see `frequency`)."""

    enabled: bool = True
    warning: Annotated[DurationNs, Field(gt=0)] = 7 * _DAY_NS
    critical: Annotated[DurationNs, Field(gt=0)] = 30 * _DAY_NS

    @model_validator(mode="after")
    def _ordered(self) -> Frequency:
        if self.warning > self.critical:
            raise ValueError(
                "warning must not be longer than critical: what is rare enough to be critical is rare "
                "enough to be a warning"
            )
        return self


class Spike(Config):
    threshold: Sigmas = 8.0
    severity: Severity = Severity()


class LevelShift(Config):
    """`drift`: half the shift to be found, in sigmas. `clip`: what one observation can add at most."""

    threshold: Sigmas = 15.0
    drift: Annotated[float, within(0.0, 100.0, "standard deviations")] = 1.0
    clip: Sigmas = 4.0
    severity: Severity = Severity()

    @model_validator(mode="after")
    def _can_alarm(self) -> LevelShift:
        if self.clip <= self.drift:
            raise ValueError(
                f"clip ({self.clip:g}) must be above drift ({self.drift:g}): the sum could never grow"
            )
        if self.threshold <= self.clip - self.drift:
            raise ValueError(
                f"threshold ({self.threshold:g}) must be above clip - drift ({self.clip - self.drift:g}): "
                "one observation alone would be a level shift"
            )
        return self


class VarianceShift(Config):
    """`ratio`: of the scale now to the scale before (or the reverse)."""

    ratio: Annotated[float, within(1.1, 1e6, "(a ratio of scales)")] = 2.0
    severity: Severity = Severity()


class Stale(Config):
    """`multiple`: of the longest learnt silence. `floor`: in cadences of the source.

    `min_arrivals`: how often a series must have been seen before its silence means anything.
    """

    multiple: Annotated[int, within(2, 1000, "(times the longest silence)")] = 3
    floor: Annotated[int, within(2, 100_000, "cadences of the source")] = 5
    min_arrivals: Annotated[int, within(2, 1_000_000, "arrivals")] = 10
    severity: Severity = Severity(warning=0.5, critical=0.9)


class Halt(Config):
    """When subjects of one channel that fall silent together are a halt (see `detectors.halt`).

    `subjects`: so many at least. `share`: of the channel's living subjects, where others go on.
    `multiple`: of the longest silence of the channel as a whole; `each`: of the longest of its own, for
    `subjects` of them. `min_arrivals`: how often the channel must have been seen.
    """

    subjects: Annotated[int, within(3, 1_000_000, "subjects")] = 3
    share: Annotated[float, within(0.1, 1.0, "(a share of the subjects)")] = 0.5
    multiple: Annotated[int, within(2, 1000, "(times the longest joint silence)")] = 4
    each: Annotated[float, within(1.0, 1000.0, "(times a subject's longest silence)")] = 2.0
    min_arrivals: Annotated[int, within(2, 1_000_000, "arrivals of the channel")] = 30
    severity: Severity = Severity(warning=0.5, critical=0.5)


class Flat(Config):
    """`runs`: how many times its usual run of equal values a value must have stood still."""

    runs: Annotated[float, within(2.0, 1e6, "usual runs")] = 30.0
    severity: Severity = Severity(warning=0.5, critical=0.9)


class Availability(Config):
    severity: Severity = Severity()


class AnomalyPattern(Anomaly):
    """The general score (see `detectors.anomaly`); scored only where this is given.

    `threshold` is ten times the detector's own, which is for somebody who looks at one file; one channel
    can add three times as much, and series are judged later. Of normal noise one series in ten has an
    alarm by the 1,000th observation, then one observation in 15,000.
    """

    threshold: Annotated[float, Field(gt=0.0, le=100.0)] = 0.3
    cap: Annotated[float, Field(gt=0.0, le=1e3)] = 0.3
    warm_up: Annotated[int, Field(ge=3, le=1_000_000)] = 300
    severity: Severity = Severity(warning=0.65, critical=0.8)

    def detector(self) -> Anomaly:
        """What the detector itself is told."""
        return Anomaly(**{name: getattr(self, name) for name in Anomaly.model_fields})


class ChangePointPattern(Config):
    """Change points (see `detectors.change_point`) of at most `most` series; only where this is given.

    `subjects` and `fields` are globs; one of each must match. `shape`: also of periodic series whose
    repetitions change, at some 100 KB of state a series.
    """

    subjects: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    fields: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    most: Annotated[int, within(1, 4096, "series")] = 64
    shape: bool = False
    severity: Severity = Severity()


class TagMatch(Config):
    """Globs (`*`, `?`, `[…]`, case matters); all three must match."""

    subject: str = "*"
    field: str = "*"
    pattern: str = "*"


class TagRule(Config):
    match: TagMatch = TagMatch()
    add: tuple[str, ...]

    @model_validator(mode="after")
    def _adds(self) -> TagRule:
        if not self.add or not all(self.add):
            raise ValueError("add must name at least one tag, and no tag may be empty")
        return self


class RecogniserConfig(Config):
    """Everything that can change the recogniser's records."""

    baseline: Baseline = Baseline()
    limits: Limits = Limits()
    frequency: Frequency = Frequency()
    spike: Spike = Spike()
    level_shift: LevelShift = LevelShift()
    variance_shift: VarianceShift = VarianceShift()
    stale: Stale = Stale()
    halt: Halt = Halt()
    flat: Flat = Flat()
    availability: Availability = Availability()
    anomaly: AnomalyPattern | None = None
    market: Market = Market()
    change_points: ChangePointPattern | None = None
    relations: Relations = Relations()
    correlations: Correlations = Correlations()
    transforms: dict[str, Transform] = Field(default_factory=dict)
    channels: dict[Name, tuple[str, ...]] = Field(default_factory=lambda: dict(CHANNELS))
    ignore_fields: tuple[str, ...] = ()
    tags: tuple[TagRule, ...] = ()
    group_over: Annotated[int, within(1, 1_000_000, "series")] = 32

    def transform(self, field: str) -> Transform:
        """How `field` is judged: by its value, or by its return on the value before."""
        return self.transforms.get(field) or ("return" if field in PRICE_FIELDS else "value")

    def channel(self, field: str) -> str:
        """The channel that `field` arrives by: of all globs that match, the longest says; "" for the rest."""
        found = [
            (-len(glob), name)
            for name, globs in self.channels.items()
            for glob in globs
            if fnmatchcase(field, glob)
        ]
        return min(found)[1] if found else ""

    def covered(self, field: str) -> bool:
        """Whether a family of detectors judges `field`, instead of spikes, level and variance shifts."""
        return bool(self.market.prices) and (field in PRICE_FIELDS or self.market.judges(field))
