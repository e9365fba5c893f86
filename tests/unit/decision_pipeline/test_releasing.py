"""What ends a block early: a match, `leave`, a release policy; never missing data. What makes it graver."""

from typing import Any

import pytest

from observer_core.decision_pipeline.signals import ABSENCES
from tests.unit.decision_pipeline.desk import DAY, MINUTE, T0, Desk, event, policy, said

BTC = "subject:BTC/USDT"
CALM = {"types": ["pattern.volatility_regime"], "evidence": {"regime": {"max": 0}}}


def until_calm(**given: Any) -> Any:
    until = {"match": CALM, **given.pop("until", {})}
    return policy(match={"types": ["pattern.spike"]}, until=until, **given)


def regime(now: int, at: int = T0, **given: Any) -> Any:
    return event("pattern.volatility_regime", at, **given, data={"evidence": {"regime": now, "before": 1}})


def test_a_block_is_released_when_what_it_waits_for_comes() -> None:
    desk = Desk(until_calm())
    (block,) = desk.take(event())
    assert block.until_ns is None
    assert desk.tick(T0 + 900 * DAY) == []
    assert desk.take(regime(1, T0 + 900 * DAY)) == []
    (release,) = desk.take(regime(0, T0 + 901 * DAY))
    assert said([release]) == [("release", "halt", BTC, "until")]
    assert release.causation == ("events.live@4",)
    assert desk.blocked() == {}


def test_at_most_ends_it_by_time() -> None:
    desk = Desk(until_calm(until={"at_most": "2h"}))
    (block,) = desk.take(event())
    assert block.until_ns == T0 + 120 * MINUTE
    assert said(desk.tick(T0 + DAY)) == [("release", "halt", BTC, "expired")]


def test_it_must_come_from_every_series_that_asked_for_the_block() -> None:
    desk = Desk(until_calm(scope="domain"))
    desk.take(event(subject="A"))
    desk.take(event(subject="B"))
    desk.take(event(subject="A", source="kraken"))
    for given in ({"subject": "A"}, {"subject": "B"}, {"subject": "C", "source": "kraken"}):
        assert desk.take(regime(0, **given)) == []
    assert said(desk.take(regime(0, subject="A", source="kraken"))) == [("release", "halt", "*", "until")]


@pytest.mark.parametrize(
    ("per", "given", "released"),
    [
        ("series", {"source": "kraken"}, False),
        ("subject", {"source": "kraken"}, True),
        ("subject", {"subject": "ETH/USDT"}, False),
        ("source", {"subject": "ETH/USDT"}, True),
        ("source", {"source": "kraken"}, False),
        ("domain", {"source": "kraken", "subject": "VIX"}, True),
    ],
)
def test_per_says_whose_signal_it_takes(per: str, given: dict[str, str], released: bool) -> None:
    desk = Desk(until_calm(until={"per": per}))
    desk.take(event())
    assert bool(desk.take(regime(0, **given))) is released


def test_a_signal_of_the_whole_source_speaks_for_each_series_there() -> None:
    desk = Desk(policy(match={"types": ["pattern.spike"]}, until={"match": {"types": ["feed.available"]}}))
    desk.take(event())
    assert desk.take(event("feed.available", source="kraken")) == []
    assert said(desk.take(event("feed.available"))) == [("release", "halt", BTC, "until")]


@pytest.mark.parametrize("kind", sorted(ABSENCES))
def test_missing_data_releases_nothing_whatever_the_glob(kind: str) -> None:
    anything = {"types": ["feed.*", "quar*", "dead*"]}
    desk = Desk(
        policy(match={"types": ["pattern.spike"]}, until={"match": anything, "per": "domain"}),
        policy(name="open", verdict="release", release=["halt"], match=anything),
    )
    desk.take(event())
    desk.records.clear()
    desk.take(event(kind))
    assert BTC in desk.blocked()
    assert "release" not in {item.verdict for item in desk.records}


def test_a_missing_number_releases_nothing() -> None:
    desk = Desk(until_calm(), policy(name="band", enter={"ratio": 5}, leave={"ratio": 2}))
    desk.take(event(data={"evidence": {"ratio": 6}}))
    desk.take(event("pattern.volatility_regime", data={"evidence": {}}))
    assert desk.blocked() == {BTC: ["band", "halt"]}


def test_a_condition_joined_by_a_duplicate_is_waited_for_too() -> None:
    desk = Desk(until_calm(scope="source"))
    desk.take(event(subject="A"))
    assert said(desk.take(event(subject="B"))) == [("non_execution", "halt", "source:binance", "duplicate")]
    assert desk.take(regime(0, subject="A")) == []
    assert desk.take(regime(0, subject="B"))[0].verdict == "release"


# ---------------------------------------------------------------------- hysteresis


def ratio(value: float | None, at: int = T0, **given: Any) -> Any:
    return event(at=at, data={"evidence": {} if value is None else {"ratio": value}}, **given)


def test_it_acts_from_enter_and_goes_on_until_leave() -> None:
    desk = Desk(policy(enter={"ratio": 5}, leave={"ratio": 2}))
    said_of = [said(desk.take(ratio(value))) for value in (4.9, 5, 4, 2.1, 2, 1, 4)]
    assert said_of == [
        [("non_execution", "halt", BTC, "not_entered")],
        [("block", "halt", BTC, "matched")],
        [("non_execution", "halt", BTC, "duplicate")],
        [("non_execution", "halt", BTC, "duplicate")],
        [("release", "halt", BTC, "until")],
        [],
        [("non_execution", "halt", BTC, "not_entered")],
    ]


def test_less_may_be_worse() -> None:
    desk = Desk(policy(enter={"ratio": 2}, leave={"ratio": 5}))
    found = []
    for value in (2.5, 2, 4, 5):
        desk.take(ratio(value))
        found.append(bool(desk.blocked()))
    assert found == [False, True, True, False]


def test_the_score_has_thresholds_too_and_until_bounds_the_block() -> None:
    desk = Desk(policy(enter={"score": 0.9}, leave={"score": 0.6}, until="30m"))
    (block,) = desk.take(event(data={"score": 0.95}))
    assert block.until_ns == T0 + 30 * MINUTE
    assert desk.take(event(data={"score": 0.6}))[0].verdict == "release"
    desk.take(event(data={"score": 0.95}))
    assert said(desk.tick(T0 + DAY)) == [("release", "halt", BTC, "expired")]


def test_of_several_series_the_worst_enters_and_each_leaves_on_its_own() -> None:
    series = [["binance", "A", "price"], ["binance", "B", "price"]]
    desk = Desk(policy(enter={"ratio": 5}, leave={"ratio": 2}, scope="source"))

    def group(a: float, b: float) -> Any:
        return event(subject="binance", data={"series": series, "evidence": {"ratio": [a, b]}})

    assert desk.take(group(1, 6))[0].verdict == "block"
    assert desk.take(group(1, 3))[0].verdict == "non_execution"
    assert desk.take(group(1, 1))[0].verdict == "release"


# ---------------------------------------------------------------------- release


def opener(**given: Any) -> Any:
    return policy(name="open", verdict="release", match=CALM, **{"release": ["halt"], **given})


def halting() -> Any:
    return policy(match={"types": ["pattern.spike"]})


def test_a_release_policy_ends_the_named_blocks_in_its_scope() -> None:
    desk = Desk(halting(), policy(name="other", match={"types": ["pattern.spike"]}), opener())
    desk.take(event())
    desk.take(event(subject="ETH/USDT"))
    (release,) = desk.take(regime(0))
    assert said([release]) == [("release", "halt", BTC, "released")]
    assert (release.reasons[0]["by"], release.reasons[0]["version"]) == ("open", 3)
    assert desk.blocked() == {BTC: ["other"], "subject:ETH/USDT": ["halt", "other"]}


def test_where_nothing_stands_it_says_so() -> None:
    assert said(Desk(halting(), opener()).take(regime(0))) == [
        ("non_execution", "open", BTC, "nothing_to_release")
    ]


def test_an_operators_block_is_never_released_by_a_policy() -> None:
    desk = Desk(halting(), opener(), until_calm(name="calm"))
    desk.command("block", BTC)
    desk.take(event())
    desk.take(regime(0))
    assert desk.blocked() == {BTC: ["operator"]}


def test_a_release_may_be_watched_only_or_rest() -> None:
    desk = Desk(halting(), opener(shadow=True))
    desk.take(event())
    assert said(desk.take(regime(0))) == [("non_execution", "open", BTC, "shadow")]
    desk = Desk(halting(), opener(cooldown="10m"))
    desk.take(event())
    desk.take(regime(0))
    desk.take(event(at=T0 + MINUTE))
    assert said(desk.take(regime(0, T0 + 2 * MINUTE))) == [("non_execution", "open", BTC, "cooldown")]
    assert desk.take(regime(0, T0 + 11 * MINUTE))[0].verdict == "release"


def test_a_block_that_an_override_lifted_does_not_come_back_once_released() -> None:
    desk = Desk(halting(), opener())
    desk.take(event())
    desk.command("override", "*", until_ns=T0 + 5 * MINUTE)
    desk.take(regime(0))
    desk.tick(T0 + 6 * MINUTE)
    assert desk.blocked() == {}


def test_what_only_watches_never_blocks_after_an_override_either() -> None:
    desk = Desk(policy(shadow=True))
    desk.command("override", "*", until_ns=T0 + 5 * MINUTE)
    desk.take(event())
    desk.tick(T0 + 6 * MINUTE)
    assert desk.blocked() == {}


# ---------------------------------------------------------------------- escalation


def test_a_block_that_has_stood_so_long_is_raised_to_a_wider_scope() -> None:
    desk = Desk(policy(match={"types": ["feed.stale"]}, until="resumed",
                       escalate={"after": "30m", "scope": "source", "severity": "critical"}))  # fmt: skip
    desk.take(event("feed.stale", severity="warning"))
    assert desk.tick(T0 + 30 * MINUTE - 1) == []
    (raised,) = desk.tick(T0 + DAY)
    assert said([raised]) == [("block", "halt", "source:binance", "escalated")]
    assert (raised.time_ns, raised.severity, raised.causation) == (
        T0 + 30 * MINUTE, "critical", ("events.live@1",),
    )  # fmt: skip
    assert desk.blocked() == {BTC: ["halt"], "source:binance": ["halt"]}
    assert said(desk.take(event("feed.resumed", at=T0 + DAY))) == [
        ("release", "halt", "source:binance", "recovered"),
        ("release", "halt", BTC, "recovered"),
    ]


def test_a_raised_block_waits_for_what_joined_the_first_one() -> None:
    desk = Desk(
        policy(match={"types": ["feed.*"]}, until="resumed", escalate={"after": "30m", "scope": "source"})
    )
    desk.take(event("feed.stale"))
    desk.tick(T0 + 40 * MINUTE)
    later = {"series": [["binance", "BTC/USDT", "volume"]]}
    desk.take(event("feed.stale", at=T0 + 41 * MINUTE, data=later))
    desk.take(event("feed.resumed", at=T0 + 42 * MINUTE))
    assert desk.blocked() == {BTC: ["halt"], "source:binance": ["halt"]}
    desk.take(event("feed.resumed", at=T0 + 43 * MINUTE, data=later))
    assert desk.blocked() == {}


def test_a_second_block_raised_to_the_same_scope_joins_the_first() -> None:
    desk = Desk(policy(match={"types": ["feed.stale"]}, until="resumed",
                       escalate={"after": "30m", "scope": "source"}))  # fmt: skip
    desk.take(event("feed.stale", subject="A"))
    desk.take(event("feed.stale", subject="B", at=T0 + MINUTE))
    assert said(desk.tick(T0 + DAY)) == [
        ("block", "halt", "source:binance", "escalated"),
        ("non_execution", "halt", "source:binance", "duplicate"),
    ]  # fmt: skip
    desk.take(event("feed.resumed", subject="A", at=T0 + DAY))
    assert desk.blocked() == {"source:binance": ["halt"], "subject:B": ["halt"]}


def test_a_block_that_ended_or_is_lifted_is_not_raised() -> None:
    escalate = {"after": "30m"}
    desk = Desk(policy(match={"types": ["feed.stale"]}, until="resumed", escalate=escalate))
    desk.take(event("feed.stale"))
    desk.take(event("feed.resumed", at=T0 + 29 * MINUTE))
    assert desk.tick(T0 + DAY) == []
    desk.take(event("feed.stale", at=T0 + DAY))
    desk.command("override", "*", at=T0 + DAY + 20 * MINUTE, until_ns=T0 + DAY + 40 * MINUTE)
    made = desk.tick(T0 + 2 * DAY)
    assert [(d.reasons[0]["code"], d.time_ns - T0 - DAY) for d in made if d.policy == "halt"] == [
        ("matched", 40 * MINUTE), ("escalated", 70 * MINUTE)
    ]  # fmt: skip


def test_without_a_scope_the_record_is_a_judgment() -> None:
    desk = Desk(policy(until="2h", escalate={"after": "1h"}, severity="warning"))
    desk.take(event())
    (raised, _) = desk.tick(T0 + DAY)
    assert (raised.verdict, raised.scope, raised.severity) == ("judgment", BTC, "critical")
    assert desk.records[0].severity == "warning"


def test_acting_often_makes_the_block_longer() -> None:
    desk = Desk(policy(until="5m", escalate={"times": 3, "within": "1h", "until": "30m"}))
    for at in (0, 10):
        assert len(desk.take(event(at=T0 + at * MINUTE))) == 1 + bool(at)
        assert said(desk.take(event(at=T0 + (at + 1) * MINUTE))) == [
            ("non_execution", "halt", BTC, "duplicate")
        ]
    made = desk.take(event(at=T0 + 20 * MINUTE))[1:]
    assert [(d.verdict, d.reasons[0]["code"], d.until_ns) for d in made] == [
        ("block", "matched", T0 + 25 * MINUTE), ("block", "escalated", T0 + 50 * MINUTE)
    ]  # fmt: skip
    assert made[0].id != made[1].id
    assert made[1].causation == ("events.live@1", "events.live@3", "events.live@5")
    assert [d.time_ns for d in desk.tick(T0 + DAY)] == [T0 + 50 * MINUTE]


def test_a_judgment_given_often_is_raised() -> None:
    desk = Desk(policy(verdict="judgment", escalate={"times": 2, "within": "1h", "scope": "domain"}))
    desk.take(event())
    assert said(desk.take(event(at=T0 + MINUTE))) == [
        ("judgment", "halt", BTC, "matched"), ("judgment", "halt", "*", "escalated")
    ]  # fmt: skip


def test_an_override_of_the_wider_scope_withholds_what_is_raised_to_it() -> None:
    desk = Desk(policy(until="2h", escalate={"after": "30m", "scope": "domain"}))
    desk.take(event())
    desk.command("override", "source:kraken", at=T0, until_ns=T0 + 40 * MINUTE)
    desk.command("override", "*", at=T0 + 10 * MINUTE, until_ns=T0 + 20 * MINUTE)
    desk.tick(T0 + 60 * MINUTE)
    assert desk.blocked() == {BTC: ["halt"], "*": ["halt"]}
