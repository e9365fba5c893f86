"""Volumes far above what a subject's volume usually is.

Volumes are spread over orders of magnitude, so their eighth root y = √√√v is judged, which is
nearly symmetric for the volumes of trades. Observations without a volume (a bar without a trade)
are no observations. With k = √(π/2):

    d       = y - level,   spread = max(deviation, spread·level)
    volume_surge  when d / spread > max(sigmas, limit)
    level     += clip(d, ±clip·spread) / span
    deviation += (k·|clip(d)| - deviation) / span

With the defaults a surge is at least 1.22⁸ = 4.9 times the usual volume, and much more where it
varies much. After a surge the limit is `rise` times it, and fades over `refractory` observations.

False alarms: the time of day is unknown here; an opening auction is a surge every day where it is
many times what came before. Source: Box & Cox, JRSS B 26, 1964, for the root.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from observer_core.pattern_record.families import Seen
from observer_core.pattern_record.findings import Finding, number
from observer_core.pattern_record.market.config import VolumeSurge
from observer_core.pattern_record.market.roles import Cells, Part, Roles, positive
from observer_core.pattern_record.market.state import DEVIATION, LEVEL, LIMIT, VOLUMES, MarketState
from observer_core.pattern_record.window import Floats, constant

_SIGMA_OF_MEAN = constant(1.2533141373155001)


class Volumes:
    """Volumes of m subjects: their state (4, m), and room to compute in."""

    __slots__ = (
        "_clip", "_config", "_fade", "_gain", "_least", "_sigmas", "_spread", "fire", "growth", "learnt",
        "limit", "mature", "sigmas", "spread", "steps", "values", "work", "y",
    )  # fmt: skip

    def __init__(self, values: Floats, config: VolumeSurge) -> None:
        self._config, self.values = config, values
        self.y, self.spread, self.sigmas, self.limit = np.empty((4, values.shape[1]))
        self.learnt = values[LEVEL : DEVIATION + 1]
        self.steps = np.empty((2, values.shape[1]))
        self.work, self.growth = self.steps
        self.fire = np.empty(values.shape[1], np.bool_)
        self.mature = False
        self._clip, self._least = constant(config.clip), constant(-config.clip)
        self._sigmas = constant(config.sigmas)
        self._spread, self._gain = constant(config.spread), constant(1.0 / config.span)
        self._fade = constant(1.0 - 1.0 / config.refractory)

    def observe(self, v: NDArray[np.float64]) -> int:
        """How many may surge; only such columns of `fire` mean anything. All of `v` must be positive."""
        values, y, work, spread = self.values, self.y, self.work, self.spread
        level, deviation, limit = values[LEVEL], values[DEVIATION], values[LIMIT]
        gain = self._gain
        np.sqrt(v, out=y)
        np.sqrt(y, out=y)
        np.sqrt(y, out=y)
        self.mature = self.mature or bool(values[VOLUMES].min() >= self._config.span)
        if not self.mature:
            np.copyto(level, y, where=values[VOLUMES] == 0.0)
            values[VOLUMES] = np.minimum(values[VOLUMES] + 1.0, self._config.span)
            gain = np.maximum(1.0 / values[VOLUMES], gain)
        np.multiply(level, self._spread, out=spread)
        np.maximum(spread, deviation, out=spread)
        np.subtract(y, level, out=work)
        np.divide(work, spread, out=self.sigmas)
        np.multiply(limit, self._fade, out=limit)
        np.maximum(limit, self._sigmas, out=self.limit)
        np.greater(self.sigmas, self.limit, out=self.fire)
        clip = self._clip if self.mature else self._young_clip()
        np.minimum(self.sigmas, clip, out=work)
        np.maximum(work, self._least if self.mature else -clip, out=work)
        np.multiply(work, spread, out=work)
        np.abs(work, out=self.growth)
        np.multiply(self.growth, _SIGMA_OF_MEAN, out=self.growth)
        np.subtract(self.growth, deviation, out=self.growth)
        np.multiply(self.steps, gain, out=self.steps)
        np.add(self.learnt, self.steps, out=self.learnt)
        return int(np.count_nonzero(self.fire))

    def _young_clip(self) -> Floats:
        return np.where(self.values[VOLUMES] > self._config.warm_up, self._clip, np.inf)

    def surge(self, v: float, at: int) -> tuple[float, dict[str, float | int]] | None:
        """Score and evidence of what `fire` shows at `at`; None: too little is known of it."""
        if self.values[VOLUMES, at] < self._config.warm_up:
            return None
        sigmas, limit = number(self.sigmas[at]), number(self.limit[at])
        self.values[LIMIT, at] = min(sigmas * self._config.rise, 1e9)
        spread = float(self.spread[at])
        usual = float(self.y[at]) - sigmas * spread
        evidence: dict[str, float | int] = {
            "value": number(v), "expected": _eighth_power(usual),
            "high": _eighth_power(usual + limit * spread), "sigmas": sigmas, "limit": limit,
        }  # fmt: skip
        return sigmas / (sigmas + limit), evidence


class Surges:
    """`volume_surge` of every subject with a volume."""

    __slots__ = ("_config",)

    def __init__(self, config: VolumeSurge) -> None:
        self._config = config

    def observe(
        self, own: MarketState, seen: Seen, roles: Roles, field: str, volume: Cells, found: list[Finding]
    ) -> None:
        there = positive(volume)
        count = int(np.count_nonzero(there))
        if not count:
            return
        part = Part(roles, there, count)
        v = part.take(volume, 1.0)
        if part.rows is not None:
            volumes = Volumes(own.volumes[:, part.columns], self._config)
            if volumes.observe(v):
                self._tell(own, seen, part, volumes, field, v, found)
            own.volumes[:, part.columns] = volumes.values
            return
        volumes = self._in_place(own, roles)
        kept = None if part.missing is None else volumes.values[:, part.missing]
        if volumes.observe(v):
            self._tell(own, seen, part, volumes, field, v, found)
        if kept is not None:
            volumes.values[:, part.missing] = kept

    def _in_place(self, own: MarketState, roles: Roles) -> Volumes:
        known = roles.windows.get("volumes")
        if known is None or known[0] is not own.volumes:
            known = own.volumes, Volumes(own.volumes[:, roles.span], self._config)
            roles.windows["volumes"] = known
        volumes: Volumes = known[1]
        return volumes

    def _tell(
        self, own: MarketState, seen: Seen, part: Part, volumes: Volumes, field: str, v: Cells,
        found: list[Finding],
    ) -> None:  # fmt: skip
        if part.missing is not None:
            volumes.fire[part.missing] = False
        for at in np.flatnonzero(volumes.fire).tolist():
            surge = volumes.surge(float(v[at]), at)
            if surge is not None:
                series = (seen.source, own.name(int(part.columns[at])), field)
                found.append(Finding("volume_surge", "up", series, *surge))


def _eighth_power(root: float) -> float:
    fourth = root * root * (root * root)
    return number(fourth * fourth)
