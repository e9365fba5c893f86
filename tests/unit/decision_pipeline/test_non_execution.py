"""What was withheld: each reason code, with the verdict and the state that it leaves."""

from tests.unit.decision_pipeline.desk import MINUTE, T0, Desk, event, policy, said

BTC = "subject:BTC/USDT"


def test_shadow_records_what_would_have_been_and_blocks_nothing() -> None:
    desk = Desk(policy(shadow=True))
    (withheld,) = desk.take(event())
    assert said([withheld]) == [("non_execution", "halt", BTC, "shadow")]
    assert withheld.reasons[0]["text"] == "halt only watches: it would have given a block"
    assert desk.blocked() == {}


def test_low_confidence_gives_both_numbers() -> None:
    desk = Desk(policy(min_score=0.95))
    (withheld,) = desk.take(event())
    assert said([withheld]) == [("non_execution", "halt", BTC, "low_confidence")]
    assert (withheld.reasons[0]["score"], withheld.reasons[0]["min_score"]) == (0.9, 0.95)
    assert desk.blocked() == {}
    assert desk.take(event(data={"score": 0.95}))[0].verdict == "block"


def test_cooldown_runs_from_the_end_of_the_block() -> None:
    desk = Desk(policy(cooldown="10m"))
    desk.take(event())
    desk.tick(T0 + 15 * MINUTE)
    (withheld,) = desk.take(event(at=T0 + 25 * MINUTE - 1))
    assert said([withheld]) == [("non_execution", "halt", BTC, "cooldown")]
    assert withheld.reasons[0]["until_ns"] == T0 + 25 * MINUTE
    assert desk.take(event(at=T0 + 20 * MINUTE, subject="ETH/USDT"))[0].verdict == "block"
    assert desk.take(event(at=T0 + 25 * MINUTE))[0].verdict == "block"


def test_cooldown_of_a_judgment_runs_from_the_judgment() -> None:
    desk = Desk(policy(verdict="judgment", cooldown="10m"))
    assert said(desk.take(event())) == [("judgment", "halt", BTC, "matched")]
    assert said(desk.take(event(at=T0 + 10 * MINUTE - 1))) == [("non_execution", "halt", BTC, "cooldown")]
    assert said(desk.take(event(at=T0 + 10 * MINUTE))) == [("judgment", "halt", BTC, "matched")]
    assert desk.blocked() == {}


def test_a_policy_may_say_not_to_act() -> None:
    desk = Desk(policy(verdict="non_execution"))
    (withheld,) = desk.take(event())
    assert said([withheld]) == [("non_execution", "halt", BTC, "policy")]
    assert "for the test" in withheld.reasons[0]["text"]


def test_a_policy_that_does_not_match_leaves_no_record() -> None:
    for match in (
        {"types": ["feed.*"]},
        {"sources": ["kraken"]},
        {"subjects": ["ETH/*"]},
        {"fields": ["volume"]},
        {"min_score": 0.91},
    ):
        assert Desk(policy(match=match)).take(event()) == []
    assert Desk(policy(match={"min_severity": "critical"})).take(event(severity="warning")) == []


def test_types_match_in_full_or_without_the_prefix() -> None:
    for types in (["pattern.sp*"], ["io.qts.observer.pattern.spike"], ["x", "*"]):
        assert len(Desk(policy(match={"types": types})).take(event())) == 1


def test_a_policy_may_give_the_severity_of_its_decision() -> None:
    assert Desk(policy(severity="warning")).take(event())[0].severity == "warning"
    assert Desk(policy()).take(event(severity="info"))[0].severity == "info"
