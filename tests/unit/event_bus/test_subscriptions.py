"""Which records reach a subscriber, and who stopped the others."""

from typing import Any

import pytest
from pydantic import ValidationError

from observer_core.event_bus.matching import Refusal
from observer_core.event_bus.subscriptions import Subscription, SubscriptionConfig
from observer_core.shared.config import explain
from observer_core.shared.records import Decision, Event


def event(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "id": "e", "source": "/qts/observer/live/binance", "type": "io.qts.observer.pattern.spike",
        "subject": "BTC/USDT", "time_ns": 1, "partitionkey": "binance/BTC/USDT", "sequence": "1",
        "causationid": "patterns.binance@1", "correlationid": "", "severitytext": "warning",
        "data": {"series": [["binance", "BTC/USDT", "price"]]},
    }  # fmt: skip
    return Event(**{**values, **changes})


def decision(**changes: Any) -> Decision:
    values: dict[str, Any] = {
        "id": "d", "verdict": "block", "scope": "subject:BTC/USDT", "policy": "p", "policy_version": 1,
        "reasons": (), "time_ns": 1, "causation": (), "severity": "critical",
        "evidence": {"source": "binance"},
    }  # fmt: skip
    return Decision(**{**values, **changes})


def config(**given: Any) -> SubscriptionConfig:
    return SubscriptionConfig.model_validate({"name": "desk", "sink": {"kind": "log"}, **given})


def match(record: Event | Decision, **given: Any) -> bool:
    return refusal(record, **given) is None


def refusal(record: Event | Decision, **given: Any) -> Refusal | None:
    return Subscription(config(**given)).refusal(record)


def test_without_filters_every_event_passes() -> None:
    assert match(event())


@pytest.mark.parametrize(
    ("given", "stopped_by", "found"),
    [
        ({"types": ["feed.*"]}, "types", "io.qts.observer.pattern.spike"),
        ({"sources": ["kraken", "coin*"]}, "sources", "binance"),
        ({"subjects": ["ETH/*"]}, "subjects", "BTC/USDT"),
        ({"subjects": ["btc/*"]}, "subjects", "BTC/USDT"),
        ({"fields": ["volume"]}, "fields", "price"),
        ({"min_severity": "critical"}, "min_severity", "warning"),
        ({"severities": ["info", "critical"]}, "severities", "warning"),
        ({"tags": ["desk-*"]}, "tags", "none"),
        ({"stream": "decisions"}, "stream", "events"),
    ],
)
def test_what_does_not_pass_says_who_stopped_it(given: dict[str, Any], stopped_by: str, found: str) -> None:
    assert refusal(event(), **given) == (stopped_by, found)


@pytest.mark.parametrize(
    "given",
    [
        {"types": ["pattern.*"]},
        {"types": ["feed.*", "io.qts.observer.pattern.sp?ke"]},
        {"sources": ["bin*"]},
        {"subjects": ["ETH/*", "BTC/[U]SDT"]},
        {"fields": ["pri*"]},
        {"min_severity": "warning"},
    ],
)
def test_globs_and_levels_let_through_what_they_name(given: dict[str, Any]) -> None:
    assert match(event(), **given)


def test_one_matching_series_of_several_is_enough() -> None:
    several = event(
        subject="binance", data={"series": [["binance", "ETH/USDT", "price"], ["binance", "X", "volume"]]}
    )
    assert match(several, subjects=["ETH/*"], fields=["volume"])
    assert not match(several, subjects=["BTC/*"])


@pytest.mark.parametrize(
    "whole",
    [
        event(type="io.qts.observer.feed.unavailable", subject="binance"),
        event(type="io.qts.observer.quarantined", subject="binance", data={}),
    ],
)
def test_what_concerns_a_whole_source_passes_narrower_filters(whole: Event) -> None:
    assert match(whole, subjects=["ETH/*"], fields=["volume"])
    assert not match(whole, sources=["kraken"])


@pytest.mark.parametrize(
    ("given", "stopped_by"),
    [
        ({"stream": "events"}, "stream"),
        ({"verdicts": ["judgment", "release"]}, "verdicts"),
        ({"types": ["decision.release"]}, "types"),
        ({"subjects": ["ETH/*"]}, "subjects"),
        ({"sources": ["kraken"]}, "sources"),
    ],
)
def test_decisions_are_filtered_too(given: dict[str, Any], stopped_by: str) -> None:
    stopped = refusal(decision(), **{"stream": "decisions", **given})
    assert stopped is not None
    assert stopped.by == stopped_by


def test_decisions_below_the_severity_are_stopped() -> None:
    stopped = refusal(decision(severity="info"), stream="decisions", min_severity="warning")
    assert stopped == ("min_severity", "info")


@pytest.mark.parametrize(
    ("scope", "given", "passes"),
    [
        ("*", {"subjects": ["ETH/*"], "sources": ["kraken"]}, True),
        ("source:binance", {"subjects": ["ETH/*"]}, True),
        ("source:binance", {"sources": ["kraken"]}, False),
        ("subject:ETH/USDT", {"subjects": ["ETH/*"], "verdicts": ["block"]}, True),
    ],
)
def test_a_wide_decision_passes_narrower_filters(scope: str, given: dict[str, Any], passes: bool) -> None:
    assert match(decision(scope=scope), stream="decisions", **given) is passes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"verdicts": ["block"]}, "verdicts filters decisions"),
        ({"stream": "decisions", "fields": ["x"]}, "fields filters events"),
        ({"sink": {"kind": "pigeon"}}, "pigeon"),
        ({"sink": {"kind": "file"}}, "sink.file.path: missing"),
        ({"sink": {"kind": "webhook", "url": "ftp://x"}}, "ftp://x"),
        ({"sink": {"kind": "webhook", "url": "https://x", "timeout": "0s"}}, "timeout"),
        ({"sink": {"kind": "queue", "queue": "No_Queue"}}, "No_Queue"),
        ({"subject": ["x"]}, "subject: unknown key"),
        ({"types": []}, "types"),
        ({"start": {"time": "2020-01-01"}}, "has no zone"),
        ({"start": {"position": 0}}, "position"),
        ({"name": "No Name"}, "name"),
    ],
)
def test_a_wrong_subscription_is_refused_with_its_key(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        config(**given)
    assert message in str(explain(raised.value, "subscriptions.toml"))


def test_start_is_a_word_a_position_or_a_time() -> None:
    assert config().start == "now"
    assert config(start={"position": 7}).start.position == 7  # type: ignore[union-attr]
    at = config(start={"time": "2018-04-05T00:00:00Z"})
    assert at.start.time == 1_522_886_400_000_000_000  # type: ignore[union-attr]
    assert SubscriptionConfig.model_validate(at.canonical()) == at


def test_a_secret_is_never_printed() -> None:
    made = config(sink={"kind": "webhook", "url": "https://desk.example/hook", "secret": "hush"})
    assert "hush" not in f"{made!r} {made.canonical()}"
