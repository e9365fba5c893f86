"""`count`, `all` and `while`: what is remembered, for how long, and what it leads to."""

from typing import Any

import pytest

from tests.unit.decision_pipeline.desk import DAY, MINUTE, SECOND, T0, Desk, event, policy, said

BTC = "subject:BTC/USDT"


def thrice(**given: Any) -> Any:
    return policy(count=3, within="10m", **given)


def test_only_the_nth_signal_within_the_time_acts_and_names_them_all() -> None:
    desk = Desk(thrice())
    assert desk.take(event()) == []
    assert desk.take(event(at=T0 + MINUTE)) == []
    (block,) = desk.take(event(at=T0 + 9 * MINUTE))
    assert said([block]) == [("block", "halt", BTC, "matched")]
    assert block.causation == ("events.live@1", "events.live@2", "events.live@3")
    reason = block.reasons[0]
    assert (reason["count"], reason["within_ns"], reason["first_ns"]) == (3, 10 * MINUTE, T0)
    assert reason["text"].endswith("; 3 within 10m")


@pytest.mark.parametrize(("at", "blocked"), [(10 * MINUTE - 1, True), (10 * MINUTE, False)])
def test_a_signal_counts_until_exactly_its_end(at: int, blocked: bool) -> None:
    desk = Desk(thrice())
    desk.take(event())
    desk.take(event(at=T0 + MINUTE))
    assert bool(desk.take(event(at=T0 + at))) is blocked


def test_each_scope_counts_on_its_own() -> None:
    desk = Desk(thrice())
    for subject in ("A", "B", "A", "B"):
        assert desk.take(event(subject=subject)) == []
    assert said(desk.take(event(subject="B"))) == [("block", "halt", "subject:B", "matched")]


def test_a_record_of_several_subjects_counts_for_each_of_them() -> None:
    desk = Desk(thrice())
    desk.take(event(subject="A"))
    desk.take(event(subject="A"))
    both = {"series": [["binance", "A", "price"], ["binance", "B", "price"]]}
    assert said(desk.take(event(subject="binance", data=both))) == [("block", "halt", "subject:A", "matched")]


@pytest.mark.parametrize(
    ("distinct", "change"),
    [
        ("subject", {"subject": "C"}),
        ("field", {"data": {"series": [["binance", "BTC/USDT", "volume"]]}}),
        ("type", {"kind": "pattern.level_shift"}),
    ],
)
def test_only_what_differs_is_counted(distinct: str, change: dict[str, Any]) -> None:
    desk = Desk(policy(count=2, within="10m", scope="source", distinct=distinct))
    for _ in range(5):
        assert desk.take(event()) == []
    assert said(desk.take(event(**change))) == [("block", "halt", "source:binance", "matched")]


def test_distinct_sources_over_the_domain() -> None:
    desk = Desk(policy(count=2, within="10m", scope="domain", distinct="source"))
    desk.take(event())
    assert desk.take(event()) == []
    assert said(desk.take(event(source="kraken"))) == [("block", "halt", "*", "matched")]


def test_what_differs_counts_from_its_newest_signal() -> None:
    desk = Desk(policy(count=2, within="10m", scope="source", distinct="subject"))
    desk.take(event(subject="A"))
    desk.take(event(subject="A", at=T0 + 9 * MINUTE))
    assert desk.take(event(subject="B", at=T0 + 15 * MINUTE))[0].verdict == "block"


def test_on_slow_data_within_is_three_cadences() -> None:
    desk = Desk(thrice())
    slow = {"data": {"cadence_ns": DAY}}
    desk.take(event(**slow))
    desk.take(event(at=T0 + DAY, **slow))
    assert desk.take(event(at=T0 + 2 * DAY, **slow))[0].verdict == "block"


def test_while_the_block_stands_every_match_is_a_duplicate_counted_or_not() -> None:
    desk = Desk(thrice(until="1h"))
    for _ in range(3):
        desk.take(event())
    (repeat,) = desk.take(event(at=T0 + 30 * MINUTE))
    assert said([repeat]) == [("non_execution", "halt", BTC, "duplicate")]
    assert repeat.causation == ("events.live@4",)


def test_a_weak_signal_is_recorded_and_not_counted() -> None:
    desk = Desk(thrice(min_score=0.5))
    weak = {"data": {"score": 0.4}}
    for _ in range(3):
        assert said(desk.take(event(**weak))) == [("non_execution", "halt", BTC, "low_confidence")]
    assert desk.take(event()) == []


def test_until_resumed_a_count_waits_for_all_that_it_counted_and_still_stands() -> None:
    desk = Desk(
        policy(match={"types": ["feed.stale"]}, count=2, within="1h", scope="source", until="resumed")
    )
    desk.take(event("feed.stale", subject="A"))
    desk.take(event("feed.stale", subject="B"))
    assert desk.blocked() == {"source:binance": ["halt"]}
    assert desk.take(event("feed.resumed", subject="A")) == []
    assert said(desk.take(event("feed.resumed", subject="B"))) == [
        ("release", "halt", "source:binance", "recovered")
    ]
    desk.take(event("feed.stale", subject="A", at=T0 + DAY))
    desk.take(event("feed.resumed", subject="A", at=T0 + DAY))
    assert desk.take(event("feed.stale", subject="B", at=T0 + DAY))[0].verdict == "block"
    assert desk.take(event("feed.resumed", subject="B", at=T0 + DAY))[0].verdict == "release"


def test_what_is_remembered_is_bounded_and_forgotten() -> None:
    desk = Desk(policy(count=1000, within="10m"), thrice(name="other"))
    before = len(desk.stage.dump(desk.state))
    for at in range(1500):
        desk.take(event(subject=f"S{at % 3}", at=T0 + at * SECOND // 10))
    full = desk.stage.dump(desk.state)
    for at in range(1500, 3000):
        desk.take(event(subject=f"S{at % 3}", at=T0 + at * SECOND // 10))
    assert len(desk.stage.dump(desk.state)) < 3 * len(full)
    desk.tick(T0 + DAY)
    assert len(desk.stage.dump(desk.state)) < before + 100


# ---------------------------------------------------------------------- all


STALE_AND_SHOCK = [
    {"types": ["feed.stale"], "sources": ["binance"]},
    {"types": ["pattern.price_shock"], "sources": ["upbit"]},
]


def both(per: str, **given: Any) -> Any:
    return policy(all=STALE_AND_SHOCK, within="10m", per=per, **given)


def stale(at: int = T0, **given: Any) -> Any:
    return event("feed.stale", at=at, **given)


def shock(at: int = T0, **given: Any) -> Any:
    return event("pattern.price_shock", at=at, **{"source": "upbit", **given})


@pytest.mark.parametrize("order", [1, -1])
def test_all_parts_must_hold_in_whatever_order(order: int) -> None:
    desk = Desk(both("subject"))
    first, second = [stale(), shock()][::order]
    assert desk.take(first) == []
    (block,) = desk.take(second)
    assert said([block]) == [("block", "halt", BTC, "matched")]
    assert block.causation == ("events.live@1", "events.live@2")
    assert {part["ref"] for part in block.reasons[0]["parts"]} == {"events.live@1", "events.live@2"}


def test_per_subject_they_must_agree_in_it_and_per_domain_in_nothing() -> None:
    apart, anywhere = Desk(both("subject")), Desk(both("domain"))
    for desk in (apart, anywhere):
        desk.take(stale())
        desk.take(shock(subject="BTC/KRW"))
    assert apart.blocked() == {}
    assert anywhere.blocked() == {"subject:BTC/KRW": ["halt"], BTC: ["halt"]}


def test_what_is_acted_on_are_the_scopes_of_all_parts() -> None:
    desk = Desk(both("subject", scope="source"))
    desk.take(stale())
    desk.take(shock())
    assert desk.blocked() == {"source:binance": ["halt"], "source:upbit": ["halt"]}


def test_a_part_holds_within_and_as_long_as_its_condition_stands() -> None:
    desk = Desk(both("subject"))
    desk.take(stale())
    assert desk.take(shock(T0 + DAY))[0].verdict == "block"
    desk = Desk(both("subject"))
    desk.take(shock())
    assert desk.take(stale(T0 + 10 * MINUTE)) == [], "a shock is over when its time is"
    desk = Desk(both("subject"))
    desk.take(stale())
    desk.take(event("feed.resumed", at=T0 + 20 * MINUTE))
    assert desk.take(shock(T0 + 21 * MINUTE)) == []
    desk.take(stale(T0 + 22 * MINUTE))
    assert desk.blocked() == {BTC: ["halt"]}


def test_one_part_twice_is_not_both() -> None:
    desk = Desk(both("domain"))
    assert [desk.take(shock(subject=name)) for name in "ABC"] == [[], [], []]


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_about_a_whole_source_holds_for_each_subject_there(order: int) -> None:
    parts = [{"types": ["feed.unavailable"]}, {"types": ["pattern.price_shock"]}]
    desk = Desk(policy(all=parts, within="10m", per="subject"))
    given = [event("feed.unavailable", source="upbit"), shock(), shock(source="kraken", subject="X")][::order]
    for item in given:
        desk.take(item)
    assert desk.blocked() == {BTC: ["halt"]}


def test_until_resumed_it_waits_for_every_part() -> None:
    desk = Desk(policy(all=[{"types": ["feed.stale"]}, {"types": ["pattern.crossed_book"]}], within="10m",
                       per="subject", until="resumed"))  # fmt: skip
    desk.take(stale())
    desk.take(event("pattern.crossed_book"))
    assert desk.take(event("feed.resumed")) == []
    assert said(desk.take(event("pattern.book_uncrossed"))) == [("release", "halt", BTC, "recovered")]


# ---------------------------------------------------------------------- while


def meanwhile(per: str, **given: Any) -> Any:
    return policy(match={"types": ["pattern.spike"]}, per=per, **{"while": {"types": ["feed.*"]}}, **given)


def test_while_acts_only_as_long_as_such_a_condition_stands() -> None:
    desk = Desk(meanwhile("subject"))
    assert desk.take(event()) == []
    desk.take(stale(T0 + MINUTE))
    assert desk.take(event(at=T0 + DAY))[0].verdict == "block"
    desk.tick(T0 + 2 * DAY)
    desk.take(event("feed.resumed", at=T0 + 2 * DAY))
    assert desk.take(event(at=T0 + 2 * DAY)) == []


def test_while_agrees_in_subject_source_or_nothing() -> None:
    for per, found in (("subject", []), ("source", ["B"]), ("domain", ["B", "C"])):
        desk = Desk(meanwhile(per))
        desk.take(stale(subject="A"))
        desk.take(event(subject="B"))
        desk.take(event(subject="C", source="kraken"))
        assert desk.blocked() == {f"subject:{name}": ["halt"] for name in found}


def test_a_source_that_does_not_answer_is_a_condition_of_each_subject_there() -> None:
    desk = Desk(meanwhile("subject"))
    desk.take(event("feed.unavailable"))
    assert desk.take(event(source="kraken")) == []
    assert desk.take(event())[0].verdict == "block"


def test_what_is_no_condition_never_stands() -> None:
    desk = Desk(policy(per="domain", **{"while": {"types": ["pattern.price_shock"]}}))
    desk.take(shock())
    assert desk.take(event()) == []


def test_a_count_counts_only_while_the_condition_stands() -> None:
    desk = Desk(meanwhile("subject", count=2, within="1h"))
    desk.take(event())
    desk.take(stale())
    assert desk.take(event()) == []
    assert desk.take(event())[0].verdict == "block"
