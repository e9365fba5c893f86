"""Which rule counts for a journal, and what a configuration may not say."""

from __future__ import annotations

from typing import Any

import pytest

from observer_core.retention.config import DAY_NS, RetentionConfig, term_of
from observer_core.runtime.settings import Settings
from observer_core.shared.config import explain


def config(*rules: dict[str, Any], **more: Any) -> RetentionConfig:
    return RetentionConfig.model_validate({"rule": list(rules), **more})


def days(found: RetentionConfig, journal: str, domain: str = "live") -> int | None:
    keep_ns = term_of(found, journal, domain).keep_ns
    return None if keep_ns is None else keep_ns // DAY_NS


def test_without_a_rule_everything_is_kept_forever() -> None:
    term = term_of(RetentionConfig(), "snapshots.x", "live")
    assert (term.keep_ns, term.rule) == (None, "no rule: forever")


def test_the_first_rule_that_fits_counts() -> None:
    found = config(
        {"journals": "snapshots.*", "source": "gold*", "keep": "forever"},
        {"domain": "rec-*", "keep": "30d"},
        {"journals": "snapshots.*", "keep": "90d"},
        {"journals": "*.x", "source": "x", "keep": "2d"},
    )
    assert days(found, "snapshots.goldilocks") is None
    assert days(found, "snapshots.goldilocks", "rec-1") is None
    assert days(found, "snapshots.x", "rec-1") == 30
    assert days(found, "snapshots.x") == 90
    assert days(found, "patterns.x") == 2
    assert days(found, "results.x") is None  # it is of no source
    assert term_of(found, "snapshots.x", "rec-1").rule == "all journals, domain rec-*: 30d"


@pytest.mark.parametrize("kind", ["decisions", "gate", "events", "commands", "clock", "operations", "ledger"])
def test_what_decisions_follow_from_is_kept_for_five_years_whatever_a_rule_says(kind: str) -> None:
    term = term_of(config({"keep": "90d"}), f"{kind}.live", "live")
    assert term.floor
    assert term.keep_ns == 1826 * DAY_NS
    assert term.rule == "all journals: 90d, at least 1826d"
    assert days(config({"keep": "90d"}, decisions_floor="30d"), f"{kind}.live") == 90
    assert days(config({"keep": "3000d"}), f"{kind}.live") == 3000


def test_a_lower_floor_is_warned_of() -> None:
    assert config().warning is None
    assert "decisions_floor is 365d" in str(config(decisions_floor="365d").warning)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": [{"keep": "1h"}]}, "a day is the least"),
        ({"rule": [{}]}, "rule.0.keep: missing"),
        ({"rule": [{"keep": "90d", "journal": "x"}]}, "rule.0.journal: unknown key"),
        ({"rule": [{"keep": "always"}]}, "rule.0.keep"),
        ({"cited_by": ["patterns"]}, "cited_by"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place(values: dict[str, Any], message: str) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        Settings(retention=values)
    assert message in str(explain(caught.value, "observer.toml"))
