"""Numbers of the configuration with what must hold of them, and the severity that every detector has."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, model_validator

from observer_core.shared.config import Config


def within(low: float, high: float, unit: str) -> AfterValidator:
    def check(value: float) -> float:
        if not low <= value <= high:
            raise ValueError(f"must be between {low:g} and {high:g} {unit}")
        return value

    return AfterValidator(check)


Score = Annotated[float, within(0.0, 1.0, "(a score)")]
Sigmas = Annotated[float, within(0.5, 1e6, "standard deviations")]
Span = Annotated[int, within(2, 1_000_000, "observations")]
Snapshots = Annotated[int, within(1, 1_000_000, "snapshots")]


class Severity(Config):
    """From which score on a pattern is a `warning`, and from which it is `critical`; below: `info`.

    `calibrated`: what is common in its series is lowered (see `frequency`), where that can be.
    """

    warning: Score = 0.6
    critical: Score = 0.8
    calibrated: bool = True

    @model_validator(mode="after")
    def _ordered(self) -> Severity:
        if self.warning > self.critical:
            raise ValueError(
                f"warning ({self.warning:g}) must not be above critical ({self.critical:g}): "
                "a pattern is never critical without being at least a warning"
            )
        return self
