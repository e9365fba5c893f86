"""Every limit of the configuration says what must hold."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.shared.config import explain


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spike.threshold", 0.1, "must be between 0.5 and 1e+06 standard deviations; found 0.1"),
        ("baseline.span", 1, "must be between 2 and 1e+06 observations; found 1"),
        ("baseline.slow_span", 1, "must be between 2 and 1e+06 observations; found 1"),
        ("baseline.warm_up", 0, "must be between 2 and 1e+06 observations; found 0"),
        ("baseline.clip", 0, "must be between 0.5 and 1e+06 standard deviations; found 0"),
        ("baseline.floor", 0.5, "must be between 1e-15 and 0.1 (a share of the level); found 0.5"),
        ("baseline", {"span": 60, "slow_span": 60}, "slow_span (60) must be longer than span (60)"),
        ("limits.refractory", 0, "must be between 1 and 1e+06 snapshots; found 0"),
        ("limits.sustained", 0, "must be between 1 and 1e+06 snapshots; found 0"),
        ("limits.rise", 0.9, "must be between 1 and 10 (a factor); found 0.9"),
        ("level_shift.drift", -1, "must be between 0 and 100 standard deviations; found -1"),
        ("level_shift", {"drift": 4}, "clip (4) must be above drift (4)"),
        ("level_shift", {"threshold": 2}, "threshold (2) must be above clip - drift (3)"),
        ("variance_shift.ratio", 1, "must be between 1.1 and 1e+06 (a ratio of scales); found 1"),
        ("stale.multiple", 1, "must be between 2 and 1000 (times the longest silence); found 1"),
        ("stale.floor", 1, "must be between 2 and 100000 cadences of the source; found 1"),
        ("stale.min_arrivals", 1, "must be between 2 and 1e+06 arrivals; found 1"),
        ("flat.runs", 1, "must be between 2 and 1e+06 usual runs; found 1"),
        ("spike.severity.warning", 1.5, "must be between 0 and 1 (a score); found 1.5"),
        ("spike.severity", {"warning": 0.9}, "warning (0.9) must not be above critical (0.8)"),
        ("transforms.x", "log", "Input should be 'value' or 'return'; found 'log'"),
        ("tags", [{"match": {}, "add": []}], "add must name at least one tag, and no tag may be empty"),
        ("tags", [{"match": {"subjects": "*"}, "add": ["a"]}], "unknown key; remove it"),
        ("group_over", 0, "must be between 1 and 1e+06 series; found 0"),
        ("spikes", {}, "unknown key; remove it or check its spelling"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_what_must_hold(key, value, message):
    given = value
    for part in reversed(key.split(".")):
        given = {part: given}
    with pytest.raises(ValidationError) as caught:
        RecogniserConfig.model_validate(given)
    explained = str(explain(caught.value, "observer.toml"))
    assert explained.startswith(f"observer.toml: {key}")
    assert message in explained


@pytest.mark.parametrize(
    ("field", "transform"),
    [
        *((name, "return") for name in ("open", "adjclose", "mid", "bid_high", "ask_close")),
        *((name, "value") for name in ("volume", "bid_size", "cpu_utilization")),
    ],
)  # fmt: skip
def test_price_like_fields_are_judged_by_their_return(field, transform):
    assert RecogniserConfig().transform(field) == transform


def test_canonical_configuration_reads_back_as_itself():
    config = RecogniserConfig(transforms={"x": "return"}, ignore_fields=("y*",))
    assert RecogniserConfig.model_validate(config.canonical()) == config
