"""Which relations and correlations are watched, and when they are broken."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, model_validator

from observer_core.pattern_record.units import Severity, Span, within
from observer_core.shared.config import Config, DurationNs

_SHARE = re.compile(r"(\d+(?:\.\d+)?)(bp|%)")
_UNITS = {"bp": 1e-4, "%": 1e-2}
_SIGMAS = 8.0


def _tolerance(value: Any) -> float | str:
    if isinstance(value, str):
        if _SHARE.fullmatch(value) is None:
            raise ValueError('a share of the target is written as "50bp" or "0.5%"')
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1e300:
        raise ValueError('must be a number, in the unit of the series, or a share of the target, as "50bp"')
    return float(value)


def _literal(series: Of) -> Of:
    if "*" in series.subject or "*" in series.field:
        raise ValueError("names one series, without globs: all that match `of` are held against it")
    return series


def _two(value: object) -> object:
    if isinstance(value, list | tuple) and len(value) == 2:
        return tuple(value)
    raise ValueError('expected [subject, field], as ["BTC/USDT", "last"]')


class Of(NamedTuple):
    """One field of one subject of the source itself."""

    subject: Annotated[str, Field(min_length=1)]
    field: Annotated[str, Field(min_length=1)]


Hold = Annotated[int, within(1, 10_000, "observations")]
Leave = Annotated[float, within(0.01, 1.0, "(a share of what is allowed)")]
Sigmas = Annotated[float, within(0.0, 1e6, "standard deviations")]
Duration = Annotated[DurationNs, Field(ge=0, le=2**62)]


class Relation(Config):
    """A value that keeps near a target (see `relation`). `subject` and `field` are globs.

    `target`: what the value should be; learnt if it is not given. `tolerance`: how far from it is
    allowed at least: in the unit of the series, or a share of the target ("50bp", "0.5%").
    `sigmas`: so many learnt scales are allowed too; default 8, but 0 where both target and
    tolerance are stated. `hold`: observations in a row that break or restore it; a break must also
    have lasted for `lasting`. `leave`: the share of what is allowed within which it is restored.
    `span`, `warm_up` and `accept` are of what is learnt, in observations: the memory, what must be
    seen before anything is said, and when a level that stays is accepted as the new target.
    """

    subject: str = "*"
    field: Annotated[str, Field(min_length=1)]
    target: Annotated[float, within(-1e300, 1e300, "(a finite number)")] | None = None
    tolerance: Annotated[float | str, PlainValidator(_tolerance)] = 0.0
    sigmas: Sigmas | None = None
    hold: Hold = 3
    lasting: Duration = 0
    leave: Leave = 0.5
    span: Span = 500
    warm_up: Span = 100
    accept: Span = 1000

    @model_validator(mode="after")
    def _has_a_limit(self) -> Relation:
        if self.target == 0.0 and self.share:
            raise ValueError(
                f'tolerance "{self.tolerance}" of a target of 0 is nothing; give it in the unit of the series'
            )
        if not self.scales and not self.share and not self.absolute:
            raise ValueError("give tolerance or sigmas: without either every value would break the relation")
        return self

    @property
    def share(self) -> float:
        """The tolerance as a share of the target; 0 if it is absolute."""
        if not isinstance(self.tolerance, str):
            return 0.0
        found = _SHARE.fullmatch(self.tolerance)
        return 0.0 if found is None else float(found[1]) * _UNITS[found[2]]

    @property
    def absolute(self) -> float:
        return 0.0 if isinstance(self.tolerance, str) else self.tolerance

    @property
    def scales(self) -> float:
        """How many learnt scales are allowed."""
        if self.sigmas is not None:
            return self.sigmas
        return 0.0 if self.target is not None and self.tolerance else _SIGMAS


LEARNT = (
    Relation(field="premium", tolerance=5e-4),
    Relation(field="implied_rate", tolerance="5bp"),
    Relation(field="ratio", tolerance="5bp"),
    Relation(field="difference"),
)
"""What is watched without being asked for: the fields that derived series have by their kind.

A premium is a share, so its floor is 5 bp too. The scale is that of the distance to a slow level, so
a ratio of two things that only drift is measured by its drift, and hardly ever breaks.
"""


class Relations(Config):
    """`watch`: the first that matches a series is its own. `learn`: then those of `LEARNT`."""

    watch: tuple[Relation, ...] = ()
    learn: bool = True
    severity: Severity = Severity(warning=0.5, critical=0.8)

    @property
    def rules(self) -> tuple[Relation, ...]:
        return (*self.watch, *(LEARNT if self.learn else ()))


class Correlation(Config):
    """Series whose changes go with those of another (see `correlation`).

    `of` holds globs, `against` names one series of the same source. `every`: changes over at least so
    long; without it from one observation of both to the next. `span` and `slow_span`: the memory of
    the correlation of now and of the usual one, in changes. Broken when the former is below the
    latter by `drop` and by `sigmas` standard errors, where the latter is `at_least`; or, where
    `floor` is given, when it is below that. `hold`, `leave` and `accept` as of a relation.
    """

    of: Annotated[Of, BeforeValidator(_two)]
    against: Annotated[Of, BeforeValidator(_two), AfterValidator(_literal)]
    every: Duration = 0
    span: Span = 120
    slow_span: Span = 1000
    at_least: Annotated[float, within(0.0, 1.0, "(a correlation)")] = 0.5
    drop: Annotated[float, within(0.01, 2.0, "(a difference of correlations)")] = 0.3
    sigmas: Sigmas = 6.0
    floor: Annotated[float, within(-0.99, 0.99, "(a correlation)")] | None = None
    hold: Hold = 3
    leave: Leave = 0.5
    accept: Span = 1000

    @model_validator(mode="after")
    def _can_break(self) -> Correlation:
        if self.slow_span <= self.span:
            raise ValueError(
                f"slow_span ({self.slow_span}) must be longer than span ({self.span}): "
                "the correlation of now is held against the usual one"
            )
        if self.of == self.against:
            raise ValueError("of and against are the same series")
        return self


class Correlations(Config):
    """`watch`: the first that matches a series is its own: a series is held against one other."""

    watch: tuple[Correlation, ...] = ()
    severity: Severity = Severity(warning=0.5, critical=0.8)
