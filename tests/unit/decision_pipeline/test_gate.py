"""The gate: each reason code, fail closed, freshness and its end."""

from typing import Any

import pytest

from observer_core.decision_pipeline.gate import (
    GateAnswer,
    GateInputs,
    GateRequest,
    SourceState,
    StageState,
    denied,
    evaluate,
)
from observer_core.decision_pipeline.views import keys_for
from tests.unit.decision_pipeline.desk import MINUTE, SECOND, T0, Desk, event, policy

BTC = "BTC/USDT"


def source(**changes: Any) -> SourceState:
    values: dict[str, Any] = {
        "name": "binance", "status": "ok", "through_ns": T0 - SECOND, "snapshot_ns": T0 - 2 * SECOND,
        "max_age_ns": 10 * SECOND, "subjects": frozenset({BTC}),
    }  # fmt: skip
    return SourceState(**{**values, **changes})


def stage(**changes: Any) -> StageState:
    return StageState(**{"name": "decide", "through_ns": T0 - 3 * SECOND, "max_lag_ns": MINUTE, **changes})


def ask(
    *sources: SourceState, stages: Any = None, views: Any = None, on_unknown: Any = "deny", subject: str = BTC
) -> GateAnswer:
    inputs = GateInputs.of(views or {}, sources, (stage(),) if stages is None else stages)
    return evaluate(GateRequest(subject, T0, "live", on_unknown), inputs)


def codes(answer: GateAnswer) -> list[str]:
    for reason in answer.reasons:
        assert reason["text"]
    return [reason["code"] for reason in answer.reasons]


def test_all_well_allows_and_says_how_long_that_holds() -> None:
    answer = ask(source())
    assert (answer.decision, answer.reasons, answer.risk) == ("allow", (), "calm")
    assert answer.as_of_ns == T0 - 3 * SECOND
    assert answer.valid_until_ns == T0 + 8 * SECOND


def test_valid_until_is_the_earliest_of_all_inputs() -> None:
    assert ask(source(), stages=[stage(max_lag_ns=4 * SECOND)]).valid_until_ns == T0 + SECOND
    late = source(through_ns=T0 - 9 * SECOND)
    assert ask(source(), late).valid_until_ns == T0 + SECOND


def test_an_input_from_the_future_is_fresh_no_longer_than_one_from_now() -> None:
    ahead = source(snapshot_ns=T0 + 100 * MINUTE, through_ns=T0 + 100 * MINUTE)
    assert ask(ahead).valid_until_ns == T0 + 10 * SECOND


@pytest.mark.parametrize(
    ("changes", "code", "numbers"),
    [
        (
            {"status": "unavailable", "error": "503"},
            "source_unavailable",
            {"source": "binance", "error": "503"},
        ),
        (
            {"snapshot_ns": T0 - 11 * SECOND},
            "source_stale",
            {"age_ns": 11 * SECOND, "limit_ns": 10 * SECOND, "source": "binance"},
        ),
        (
            {"snapshot_ns": T0 + 11 * SECOND},
            "source_stale",
            {"age_ns": -11 * SECOND, "limit_ns": 10 * SECOND, "source": "binance"},
        ),
        ({"stale_subjects": {BTC}}, "subject_stale", {"subject": BTC, "age_ns": 2 * SECOND}),
        ({"through_ns": T0 - 11 * SECOND}, "stage_lag", {"lag_ns": 11 * SECOND, "limit_ns": 10 * SECOND}),
        ({"through_ns": None}, "stage_lag", {"stage": "recognise binance", "lag_ns": None}),
        ({"snapshot_ns": None}, "no_data", {"source": "binance"}),
    ],
)
def test_what_is_wrong_with_a_source_denies(
    changes: dict[str, Any], code: str, numbers: dict[str, Any]
) -> None:
    answer = ask(source(**changes))
    assert (answer.decision, codes(answer)) == ("deny", [code])
    assert numbers.items() <= answer.reasons[0].items()


def test_exactly_at_the_limit_is_still_fresh() -> None:
    answer = ask(source(snapshot_ns=T0 - 10 * SECOND))
    assert (answer.decision, answer.valid_until_ns) == ("allow", T0)


def test_a_lagging_stage_denies_and_so_does_not_knowing_the_stages() -> None:
    answer = ask(source(), stages=[stage(name="publish", through_ns=T0 - 2 * MINUTE), stage()])
    assert (answer.decision, codes(answer)) == ("deny", ["stage_lag"])
    assert answer.reasons[0]["stage"] == "publish"
    assert answer.reasons[0]["text"] == "stage publish is 2m behind; the limit is 1m"
    assert codes(ask(source(), stages=[])) == ["stage_lag"]


def test_an_unknown_subject_is_denied_unless_the_caller_allows_the_unknown() -> None:
    answer = ask(source(), subject="DOGE/USDT")
    assert (answer.decision, codes(answer)) == ("deny", ["unknown_subject"])
    excused = ask(source(), subject="DOGE/USDT", on_unknown="allow")
    assert (excused.decision, codes(excused)) == ("allow", ["unknown_subject"])
    assert (ask().decision, codes(ask())) == ("deny", ["no_data"])
    assert ask(on_unknown="allow").decision == "allow"


def test_allowing_the_unknown_excuses_nothing_else() -> None:
    desk = Desk(policy())
    desk.command("block", "*")
    views = desk.stage.views(desk.state)
    answer = ask(subject="DOGE/USDT", views=views, on_unknown="allow")
    assert (answer.decision, codes(answer)) == ("deny", ["blocked", "no_data"])
    assert ask(source(snapshot_ns=T0 - MINUTE), on_unknown="allow").decision == "deny"
    assert ask(source(), stages=[], on_unknown="allow").decision == "deny"


@pytest.mark.parametrize("scope", ["*", f"subject:{BTC}", "source:binance"])
def test_a_block_of_any_scope_around_the_subject_denies(scope: str) -> None:
    desk = Desk()
    (block,) = desk.command("block", scope, until_ns=T0 + MINUTE)
    answer = ask(source(), views=desk.stage.views(desk.state))
    assert (answer.decision, codes(answer)) == ("deny", ["blocked"])
    expected = {"scope": scope, "policy": "operator", "version": 1, "since_ns": T0, "until_ns": T0 + MINUTE,
                "decision": block.id}  # fmt: skip
    assert expected.items() <= answer.reasons[0].items()
    assert answer.reasons[0]["text"] == (
        f"{scope} is blocked by operator since 2023-11-14T22:13:20Z until 2023-11-14T22:14:20Z: "
        "blocked by kim: drill"
    )


@pytest.mark.parametrize("scope", ["subject:ETH/USDT", "source:kraken"])
def test_a_block_of_something_else_does_not_deny(scope: str) -> None:
    desk = Desk()
    desk.command("block", scope)
    assert ask(source(), views=desk.stage.views(desk.state)).decision == "allow"


def test_a_block_whose_end_has_passed_still_denies_until_its_release_is_recorded() -> None:
    desk = Desk(policy())
    desk.take(event(at=T0 - 16 * MINUTE))
    assert codes(ask(source(), views=desk.stage.views(desk.state))) == ["blocked"]
    desk.tick(T0)
    assert ask(source(), views=desk.stage.views(desk.state)).decision == "allow"


def test_one_bad_source_of_several_denies() -> None:
    answer = ask(source(), source(name="kraken", snapshot_ns=T0 - MINUTE))
    assert (answer.decision, codes(answer)) == ("deny", ["source_stale"])
    assert answer.reasons[0]["source"] == "kraken"
    other = source(name="kraken", snapshot_ns=T0 - MINUTE, subjects=frozenset({"ETH/USDT"}))
    assert ask(source(), other).decision == "allow"


def test_quarantine_denies() -> None:
    desk = Desk()
    body = {"input": "snapshots.binance", "position": 9, "scopes": ["source:binance"]}
    desk.take(event("quarantined", data=body))
    answer = ask(source(), views=desk.stage.views(desk.state))
    assert (answer.decision, codes(answer)) == ("deny", ["blocked", "quarantined"])
    assert codes(ask(source(), views={"quarantined.events.live@3": {"scopes": ["*"]}})) == ["quarantined"]
    assert codes(ask(source(), views={"quarantined.events.live@3": {}})) == ["quarantined"]


def test_risk_is_told_but_does_not_deny() -> None:
    desk = Desk(judgment={"elevated": 2.0})
    desk.take(event())
    answer = ask(source(), views=desk.stage.views(desk.state))
    assert (answer.decision, answer.risk) == ("allow", "elevated")
    views = {"risk": {"overall": "critical", "subjects": {}, "sources": {"binance": "critical"}}}
    assert ask(source(), views=views).risk == "critical"
    assert ask(source(name="kraken"), views=views).risk == "calm"


def test_the_rows_named_for_a_subject_are_enough() -> None:
    desk = Desk(policy(), policy(name="wide", scope="domain"))
    desk.take(event())
    desk.take(event(subject="ETH/USDT", data={"series": [["binance", "ETH/USDT", "price"]]}))
    views = desk.stage.views(desk.state)
    wanted = keys_for(BTC, ["binance"])
    some = {key: row for key, row in views.items() if key in wanted}
    assert len(some) < len(views)
    assert ask(source(), views=some) == ask(source(), views=views)


def test_the_answer_as_json() -> None:
    desk = Desk()
    desk.command("block", "*")
    answer = ask(source(), views=desk.stage.views(desk.state))
    said = answer.to_json()
    assert (said["decision"], said["subject"], said["domain"]) == ("deny", BTC, "live")
    assert said["valid_until"] == "2023-11-14T22:13:28Z"
    assert said["reasons"][0]["code"] == "blocked"


def test_further_reasons_deny_whatever_is_excused() -> None:
    excused = ask(source(), subject="nobody", on_unknown="allow")
    assert excused.decision == "allow"
    assert denied(excused, []) is excused
    more = denied(excused, [{"code": "max_quantity", "text": "too much"}])
    assert (more.decision, codes(more)) == ("deny", ["unknown_subject", "max_quantity"])
