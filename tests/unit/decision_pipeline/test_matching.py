"""What a match takes: evidence, tags, incidents, regimes; one series must pass everything."""

from typing import Any

import pytest

from tests.unit.decision_pipeline.desk import T0, Desk, event, policy, said


def takes(match: dict[str, Any], **given: Any) -> bool:
    return bool(Desk(policy(match=match)).take(event(**given)))


def evidence(**given: Any) -> dict[str, Any]:
    return {"data": {"evidence": given}}


@pytest.mark.parametrize(
    ("bounds", "value", "taken"),
    [
        ({"min": 2}, 2, True),
        ({"min": 2}, 1.999, False),
        ({"max": 2}, 2.0, True),
        ({"max": 2}, 2.001, False),
        ({"min": 1, "max": 2}, 1.5, True),
        ({"equals": 2}, 2.0, True),
        ({"equals": 2}, 3, False),
        ({"equals": "quotes"}, "quotes", True),
        ({"equals": "quotes"}, "trades", False),
        ({"min": 0}, "2", False),
        ({"min": 0}, True, False),
        ({"equals": 1}, True, False),
        ({"min": 0}, None, False),
        ({"max": 10}, [1, 2, 3], False),
    ],
)
def test_a_number_of_the_evidence_is_within_bounds(bounds: dict[str, Any], value: Any, taken: bool) -> None:
    assert takes({"evidence": {"x": bounds}}, **evidence(x=value)) is taken


def test_a_number_that_is_not_there_never_matches() -> None:
    assert not takes({"evidence": {"x": {"max": 1e9}}}, **evidence(y=1))
    assert not takes({"evidence": {"x": {"max": 1e9}}})
    assert not takes({"evidence": {"x": {"min": 0}, "y": {"min": 0}}}, **evidence(x=1))


def test_one_series_of_several_suffices_but_it_must_pass_everything() -> None:
    series = [["binance", "A", "price"], ["binance", "B", "volume"]]
    given = {"data": {"series": series, "evidence": {"sigmas": [5, 20]}}}
    assert takes({"evidence": {"sigmas": {"min": 10}}}, **given)
    assert takes({"subjects": ["B"], "fields": ["volume"], "evidence": {"sigmas": {"min": 10}}}, **given)
    assert not takes({"subjects": ["A"], "evidence": {"sigmas": {"min": 10}}}, **given)
    assert not takes({"subjects": ["A"], "fields": ["volume"]}, **given)


def test_tags_are_globs_over_the_events_own() -> None:
    assert takes({"tags": ["major", "x"]}, data={"tags": ["major"]})
    assert takes({"tags": ["ma*"]}, data={"tags": ["minor", "major"]})
    assert not takes({"tags": ["ma*"]}, data={"tags": ["minor"]})
    assert not takes({"tags": ["*"]})
    assert takes({"tags": ["*"]}, data={"tags": ["x"]})


def test_what_is_about_a_whole_source_passes_subject_and_field() -> None:
    match = {"types": ["feed.*"], "subjects": ["BTC/*"], "fields": ["price"]}
    assert takes(match, kind="feed.unavailable", subject="binance")
    halt = event("feed.halted", subject="binance", data={"series": [["binance", "*", "quotes"]]})
    desk = Desk(policy(match={"types": ["feed.*"], "subjects": ["BTC/*"]}))
    assert said(desk.take(halt)) == [("block", "halt", "source:binance", "matched")]


def incident(kind: str = "incident.opened", at: int = T0, **data: Any) -> Any:
    series = [["binance", "BTC/USDT", "price"]]
    given = {"id": "i7", "series": series, "standing": 2, "flaps": 0, "series_count": 4, **data}
    return event(kind, at=at, subject="binance", data=given)


def test_an_incident_is_matched_by_its_own_numbers_and_held_until_it_is_resolved() -> None:
    match = {"types": ["incident.*"], "evidence": {"series_count": {"min": 4}}}
    desk = Desk(policy(match=match, scope="source", until="resumed"))
    assert desk.take(incident(series_count=3)) == []
    assert said(desk.take(incident())) == [("block", "halt", "source:binance", "matched")]
    assert said(desk.take(incident("incident.resolved"))) == [
        ("release", "halt", "source:binance", "recovered")
    ]


def test_an_incident_of_one_subject_is_about_that_subject() -> None:
    desk = Desk(policy(match={"types": ["incident.opened"]}))
    assert said(desk.take(incident())) == [("block", "halt", "subject:BTC/USDT", "matched")]


def regime(now: int, before: int, **given: Any) -> Any:
    return event("pattern.volatility_regime", data={"evidence": {"regime": now, "before": before}}, **given)


@pytest.mark.parametrize(
    ("least", "blocked"), [(1, [True, True, True, False]), (2, [False, True, False, False])]
)
def test_a_regime_stands_until_a_lower_one_is_told(least: int, blocked: list[bool]) -> None:
    match = {"types": ["pattern.volatility_regime"], "evidence": {"regime": {"min": least}}}
    desk = Desk(policy(match=match, until="resumed"))
    found = []
    for now, before in ((1, 0), (2, 1), (1, 2), (0, 1)):
        desk.take(regime(now, before))
        found.append(bool(desk.blocked()))
    assert found == blocked


def test_a_regime_of_another_series_does_not_end_it() -> None:
    desk = Desk(policy(match={"evidence": {"regime": {"min": 1}}}, until="resumed"))
    desk.take(regime(1, 0))
    desk.take(regime(0, 1, source="kraken"))
    assert desk.blocked() == {"subject:BTC/USDT": ["halt"]}
    desk.take(regime(0, 1))
    assert desk.blocked() == {}
