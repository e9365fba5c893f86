"""A Prometheus text endpoint: node_exporter, or anything else that is scraped.

Each metric is a field of its name. A sample's subject is the source's `instance`, and its
labels behind it where it has some: `web-1`, `web-1/cpu=0,mode=idle`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from observer_core.safety.pace import Pace
from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.names import fault
from observer_core.snapshot_engine.sources.web_address import AddressConfig, WebAddress


class PrometheusConfig(AddressConfig):
    """`metrics` are globs of names; `labels` globs of values, of the labels that must match."""

    instance: Annotated[str, Field(min_length=1, max_length=100)]
    metrics: Annotated[tuple[str, ...], Field(min_length=1)]
    labels: Mapping[str, str] = {}
    max_samples: Annotated[int, Field(ge=1)] = 10_000


class PrometheusSource:
    """One snapshot a scrape. An answer that is not of the format, or holds nothing asked for, is an error."""

    def __init__(
        self, name: str, config: PrometheusConfig, secret: Callable[[str], str], pace: Pace | None = None
    ) -> None:
        self.name = name
        self._config = config
        self._address = WebAddress(name, config, secret, pace)
        self._last: Snapshot | None = None

    @property
    def interval_ns(self) -> int:
        return self._config.interval

    def close(self) -> None:
        pass

    def collect(self, now_ns: int) -> Snapshot:
        answer = self._address.ask("GET", now_ns)
        if answer is not None:
            self._last = self._snapshot(answer.body, now_ns)
            self._address.keep(answer)
            return self._last
        assert self._last is not None
        return replace(self._last, event_ns=now_ns, ingest_ns=now_ns)

    def _snapshot(self, body: bytes, now_ns: int) -> Snapshot:
        values: dict[str, dict[str, float]] = defaultdict(dict)
        skipped = taken = 0
        try:
            for family in text_string_to_metric_families(body.decode()):
                for sample in family.samples:
                    if not self._wanted(sample.name, sample.labels):
                        continue
                    subject = self._subject(sample.labels)
                    if fault(subject) or not math.isfinite(sample.value):
                        skipped += 1
                    elif (taken := taken + 1) <= self._config.max_samples:
                        values[subject][sample.name] = float(sample.value)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"the answer is not in Prometheus' text format: {error}") from None
        if not values:
            raise InputError(f"the answer has no sample of {', '.join(self._config.metrics)}")
        notes = [f"{skipped} samples without a finite value or a name that can be shown"] if skipped else []
        if taken > self._config.max_samples:
            notes.append(f"{taken:,} samples, the first {self._config.max_samples:,} count (max_samples)")
        names = sorted({name for row in values.values() for name in row})
        return Snapshot(
            source=self.name, event_ns=now_ns, ingest_ns=now_ns, subjects=tuple(values),
            fields={
                name: np.array([row.get(name, math.nan) for row in values.values()], np.float64)
                for name in names
            },
            status="partial" if notes else "ok", error="; ".join(notes) or None,
        )  # fmt: skip

    def _wanted(self, name: str, labels: Mapping[str, str]) -> bool:
        return any(fnmatchcase(name, glob) for glob in self._config.metrics) and all(
            fnmatchcase(labels.get(label, ""), glob) for label, glob in self._config.labels.items()
        )

    def _subject(self, labels: Mapping[str, str]) -> str:
        if not labels:
            return self._config.instance
        return f"{self._config.instance}/" + ",".join(f"{name}={labels[name]}" for name in sorted(labels))
