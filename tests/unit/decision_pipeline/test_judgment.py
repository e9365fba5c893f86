"""Risk as leaky buckets and their totals: arithmetic in the record, hysteresis, decay by time alone."""

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from observer_core.decision_pipeline.judgment import JudgmentConfig
from observer_core.shared.canonical import decode, encode
from observer_core.shared.records import Decision
from tests.unit.decision_pipeline.desk import DAY, MINUTE, SECOND, T0, Desk, event, said

BTC = "subject:BTC/USDT"
UNIT = {
    "weights": {"info": 0, "warning": 1, "critical": 2}, "leak": "1m", "elevated": 2.0, "elevated_leave": 1.0,
    "critical": 4.0, "critical_leave": 3.0, "capacity": 6.0,
}  # fmt: skip


def desk() -> Desk:
    return Desk(judgment=UNIT)


def hit(severity: str = "critical", score: float = 1.0, at: int = T0, **given: Any) -> Any:
    """An event; what is given beside its place is data of the pattern."""
    where = {key: given.pop(key) for key in ("source", "subject") if key in given}
    return event(at=at, severity=severity, data={"score": score, **given.pop("data", {}), **given}, **where)


def level(made: Desk) -> Any:
    return made.stage.views(made.state)["risk"]


def by_hand(reason: Any, now_ns: int) -> float:
    """The points of a bucket, added up from nothing but what the record says."""
    own = reason["own"]
    start = own.get("carried") or {"points": 0.0, "at_ns": 0, "leak_ns": 1}
    points, at_ns, leak_ns = start["points"], start["at_ns"], start["leak_ns"]
    for item in own["inputs"]:
        points = max(0.0, points - (item["at_ns"] - at_ns) / leak_ns)
        assert points == pytest.approx(item["left"])
        assert item["add"] == item["weight"] * item["score"]
        points = min(points + item["add"], own["capacity"])
        assert points == pytest.approx(item["after"])
        at_ns, leak_ns = item["at_ns"], item["leak_ns"]
    return points - (now_ns - at_ns) / leak_ns


def of(scope: str, decisions: list[Decision]) -> list[Decision]:
    return [decision for decision in decisions if decision.scope == scope]


def test_a_rise_is_a_judgment_with_its_arithmetic() -> None:
    made = desk()
    assert made.take(hit("warning")) == []
    judged, overall = made.take(hit(at=T0 + MINUTE // 2))
    assert said([judged, overall]) == [("judgment", "risk", BTC, "risk"), ("judgment", "risk", "*", "risk")]
    assert judged.reasons[0] == {
        "code": "risk", "text": "risk of subject:BTC/USDT went from calm to elevated at 2.50 points",
        "from": "calm", "level": "elevated",
        "own": {
            "level": "elevated", "points": 2.5, "capacity": 6.0,
            "limits": {"elevated": 2.0, "elevated_leave": 1.0, "critical": 4.0, "critical_leave": 3.0},
            "inputs": [
                {"ref": "events.live@1", "type": "pattern.spike", "severity": "warning", "weight": 1.0,
                 "score": 1.0, "add": 1.0, "at_ns": T0, "left": 0.0, "after": 1.0, "leak_ns": MINUTE},
                {"ref": "events.live@2", "type": "pattern.spike", "severity": "critical", "weight": 2.0,
                 "score": 1.0, "add": 2.0, "at_ns": T0 + MINUTE // 2, "left": 0.5, "after": 2.5,
                 "leak_ns": MINUTE},
            ],
        },
    }  # fmt: skip
    assert by_hand(judged.reasons[0], judged.time_ns) == 2.5
    assert (judged.severity, judged.causation) == ("warning", ("events.live@2",))
    assert judged.evidence["score"] == 1.0
    assert level(made) == {"overall": "elevated", "subjects": {"BTC/USDT": "elevated"}, "sources": {}}


def test_risk_falls_by_time_alone_at_lower_thresholds() -> None:
    made = desk()
    made.take(hit())
    judged, _ = made.take(hit())
    assert judged.reasons[0]["level"] == "critical"
    assert made.tick(T0 + MINUTE - 1) == []
    falls = of(BTC, made.tick(T0 + DAY))
    assert [(d.reasons[0]["level"], d.time_ns) for d in falls] == [
        ("elevated", T0 + MINUTE),
        ("calm", T0 + 3 * MINUTE),
    ]
    assert [d.reasons[0]["own"]["points"] for d in falls] == [3.0, 1.0]
    assert [by_hand(d.reasons[0], d.time_ns) for d in falls] == [3.0, 1.0]
    assert [d.severity for d in falls] == ["warning", "info"]
    assert falls[0].causation == ("events.live@2",)
    assert level(made) == {"overall": "calm", "subjects": {}, "sources": {}}


def test_what_is_remembered_no_longer_is_carried() -> None:
    made = desk()
    for n in range(30):
        made.take(hit("warning", 0.1 + (n % 7) / 10, T0 + n * MINUTE // 3, cadence_ns=n * SECOND))
    judged = [d for d in made.records if "carried" in d.reasons[0].get("own", {})]
    assert judged
    for decision in judged:
        own = decision.reasons[0]["own"]
        assert len(own["inputs"]) == 8
        assert by_hand(decision.reasons[0], decision.time_ns) == pytest.approx(own["points"])


def test_between_leaving_and_entering_the_level_stays() -> None:
    made = desk()
    made.take(hit())
    assert made.take(hit("warning", 0.5, T0 + MINUTE // 2)) == []
    assert level(made)["overall"] == "elevated"
    calm = desk()
    assert calm.take(hit("warning", 1.0)) == []
    assert calm.take(hit("warning", 0.9)) == []
    assert level(calm)["overall"] == "calm"


def test_a_critical_level_stays_until_it_is_left_even_when_something_small_is_added() -> None:
    made = desk()
    made.take(hit())
    made.take(hit())
    assert made.take(hit("warning", 0.1, T0 + MINUTE // 2)) == []
    assert level(made)["overall"] == "critical"


def test_fast_data_does_not_drain_what_slow_data_filled() -> None:
    made = desk()
    made.take(hit(cadence_ns=DAY))
    assert made.take(hit("warning", 0.5, T0 + MINUTE)) == []
    assert made.tick(T0 + 2 * DAY) == []


def test_a_new_event_moves_the_fall() -> None:
    made = desk()
    made.take(hit())
    made.take(hit("warning", 1.0, T0 + MINUTE // 2))
    assert made.tick(T0 + 2 * MINUTE - 1) == []
    assert [d.time_ns for d in of(BTC, made.tick(T0 + DAY))] == [T0 + 2 * MINUTE]


def test_a_bucket_holds_its_capacity_and_no_more() -> None:
    made = desk()
    for _ in range(50):
        made.take(hit())
    falls = of(BTC, made.tick(T0 + DAY))
    assert [d.time_ns for d in falls] == [T0 + 3 * MINUTE, T0 + 5 * MINUTE]


def test_slow_data_leaks_slowly() -> None:
    made = desk()
    made.take(hit(cadence_ns=DAY))
    assert made.tick(T0 + 5 * DAY - 1) == []
    assert made.tick(T0 + 5 * DAY)[0].reasons[0]["level"] == "calm"


def test_subjects_are_judged_apart_and_wide_events_by_their_source() -> None:
    made = desk()
    made.take(hit())
    made.take(
        event(
            subject="binance", data={"score": 1.0, "series": [["binance", "A", "p"], ["binance", "B", "p"]]}
        )
    )
    assert level(made) == {
        "overall": "elevated", "subjects": {"BTC/USDT": "elevated"}, "sources": {"binance": "elevated"},
    }  # fmt: skip


def test_incidents_recoveries_and_weightless_events_add_nothing() -> None:
    made = desk()
    for kind in ("incident.opened", "incident.updated", "feed.resumed", "feed.available", "quarantined"):
        for _ in range(3):
            made.take(event(kind))
    made.take(hit("info"))
    assert level(made)["overall"] == "calm"


def test_an_empty_bucket_is_forgotten() -> None:
    made = desk()
    made.take(hit("warning"))
    fresh = decode(Desk().stage.dump(Desk().state))["judgment"]
    assert decode(made.stage.dump(made.state))["judgment"] != fresh
    made.tick(T0 + MINUTE)
    assert decode(made.stage.dump(made.state))["judgment"] == fresh
    assert made.state.timers.armed() == []


# ---------------------------------------------------------------------- totals


TOTALS = {
    **UNIT,
    "source": {"elevated": 8.0, "elevated_leave": 5.0, "critical": 14.0, "critical_leave": 10.0},
    "domain": {"elevated": 12.0, "elevated_leave": 7.0, "critical": 20.0, "critical_leave": 15.0},
}


def storm(made: Desk, subjects: Iterable[str], at: int = T0, **given: Any) -> list[Decision]:
    """One event of 2 points, or what is given, about each."""
    return [d for subject in subjects for d in made.take(hit(at=at, subject=subject, **given))]


def listed(total: Any) -> float:
    """What the total's members come to, as the record lists them."""
    return sum(item["points"] for item in total["largest"]) + total.get("others", {}).get("points", 0.0)


def test_the_domain_is_never_calmer_than_its_worst_subject_and_says_which_that_is() -> None:
    made = Desk(judgment=TOTALS)
    _, overall = made.take(hit())
    reason = overall.reasons[0]
    assert (overall.scope, reason["from"], reason["level"]) == ("*", "calm", "elevated")
    assert reason["worst"] == {"level": "elevated", "count": 1, "scopes": [BTC]}
    assert (reason["total"]["level"], reason["total"]["points"]) == ("calm", 2.0)
    assert reason["text"] == (
        "risk of * went from calm to elevated in total 2.00 points of 1, worst subject:BTC/USDT (elevated)"
    )
    assert overall.causation == ("events.live@1",)
    (falls,) = of("*", made.tick(T0 + DAY))
    assert (falls.time_ns, falls.reasons[0]["level"]) == (T0 + MINUTE, "calm")
    assert falls.reasons[0]["worst"] == {"level": "calm", "count": 0, "scopes": []}


def test_many_that_are_each_a_little_bad_make_their_source_and_the_domain_worse() -> None:
    made = Desk(judgment=TOTALS)
    made_of = storm(made, "ABCDEFG", severity="warning", data={"score": 1.0, "cadence_ns": 0})
    assert made_of == [], "a point each raises no subject; seven are not eight"
    source, overall = storm(made, "H", severity="warning")
    assert (source.scope, source.reasons[0]["level"]) == ("source:binance", "elevated")
    total = source.reasons[0]["total"]
    assert (total["points"], total["scopes"], total["level"]) == (8.0, 8, "elevated")
    assert "own" not in source.reasons[0]
    assert listed(total) == pytest.approx(8.0)
    assert overall.reasons[0]["worst"] == {"level": "elevated", "count": 1, "scopes": ["source:binance"]}
    assert level(made) == {"overall": "elevated", "subjects": {}, "sources": {"binance": "elevated"}}
    more = storm(made, "IJKL", severity="warning")
    assert of("*", more) == [], "the domain's total is elevated now too, which it was already"


def test_a_total_falls_at_the_very_moment_that_its_members_have_leaked_so_far() -> None:
    """Twelve buckets of 1 point that leak together: 12 − 12·t/min is 5 after 35 s; all are empty after 60."""
    made = Desk(judgment=TOTALS)
    storm(made, "ABCDEFGHIJKL", severity="warning")
    falls = made.tick(T0 + DAY)
    assert [(d.scope, d.time_ns - T0, d.reasons[0]["level"]) for d in falls] == [
        ("source:binance", 35 * SECOND, "calm"),
        ("*", 35 * SECOND, "calm"),
    ]
    assert falls[0].reasons[0]["total"]["points"] == pytest.approx(5.0)
    assert listed(falls[0].reasons[0]["total"]) == pytest.approx(5.0)
    assert made.state.timers.armed() == []


def test_members_that_are_empty_slow_the_fall_down() -> None:
    """8 × 1 point and one of 6: all leak to t = 60 s, when 5 are left; the eight are empty then."""
    made = Desk(judgment=TOTALS)
    for _ in range(3):
        storm(made, "Z")
    storm(made, "ABCDEFGH", severity="warning")
    falls = of("source:binance", made.tick(T0 + DAY))
    assert [d.reasons[0]["level"] for d in falls] == ["elevated", "calm"]
    for decision, due_ns in zip(falls, (4 * MINUTE // 9, MINUTE), strict=True):
        assert 0 <= decision.time_ns - T0 - due_ns <= 1, "to the nanosecond"


def test_a_subject_counts_in_the_total_of_each_source_that_has_reported_of_it() -> None:
    made = Desk(judgment=TOTALS)
    storm(made, "ABC", source="binance")
    assert level(made)["sources"] == {}
    storm(made, "ABC", source="kraken", severity="warning")
    assert level(made)["sources"] == {"binance": "elevated", "kraken": "elevated"}
    storm(made, "D", source="kraken")
    (judged,) = of("source:kraken", storm(made, "EF", source="kraken", severity="critical"))
    assert judged.reasons[0]["level"] == "critical"
    assert level(made)["sources"] == {"binance": "elevated", "kraken": "critical"}


def test_a_source_is_as_bad_as_the_worse_of_its_own_bucket_and_its_total() -> None:
    made = Desk(judgment=TOTALS)
    wide = {"series": [["binance", "A", "p"], ["binance", "B", "p"]], "score": 1.0}
    source, _ = made.take(event(subject="binance", data=wide))
    assert source.reasons[0]["own"]["level"] == "elevated"
    assert source.reasons[0]["total"]["level"] == "calm"
    storm(made, "ABC")
    assert of("source:binance", made.records) == [source], "its total is elevated now too"
    falls = of("source:binance", made.tick(T0 + DAY))
    assert [d.time_ns - T0 for d in falls] == [MINUTE], "own at 60 s; the total, 8 − 4·t/min, at 45 s"


def test_a_large_total_names_its_largest_and_sums_the_others() -> None:
    made = Desk(judgment=TOTALS)
    storm(made, [f"S{n:02d}" for n in range(30)], severity="warning")
    last = of("*", made.records)[-1].reasons[0]
    assert last["level"] == "critical"
    assert (len(last["total"]["largest"]), last["total"]["others"]["scopes"]) == (8, 6)
    assert listed(last["total"]) == pytest.approx(last["total"]["points"]) == 14.0


def test_the_state_of_version_1_is_taken_over() -> None:
    made = desk()
    made.take(hit())
    value = decode(made.stage.dump(made.state))
    old = {"level": "elevated", "points": 2.0, "at_ns": T0, "leak_ns": MINUTE, "cause": "events.live@1"}
    value["judgment"] = {"buckets": {BTC: old}, "version": 1}
    for key in ("feeds", "control"):
        del value[key]
    made.state = made.stage.load(encode(value))
    assert level(made)["overall"] == "elevated"
    judged, overall = made.take(hit("critical", 1.0, T0))
    assert (judged.reasons[0]["own"]["carried"]["points"], judged.reasons[0]["level"]) == (2.0, "critical")
    assert by_hand(judged.reasons[0], T0) == 4.0
    assert (overall.reasons[0]["from"], overall.reasons[0]["level"]) == ("elevated", "critical")


def test_other_levels_take_effect_with_the_state_as_it_is() -> None:
    made, other = desk(), Desk(judgment={**UNIT, "elevated_leave": 0.5})
    made.take(hit())
    other.state = other.stage.load(made.stage.dump(made.state))
    assert [d.time_ns - T0 for d in of(BTC, other.tick(T0 + DAY))] == [90 * SECOND]


@pytest.mark.parametrize(
    "given",
    [
        {"elevated": 5.0, "critical": 5.0},
        {"elevated_leave": 2.0},
        {"critical_leave": 5.0},
        {"critical_leave": 0.5},
        {"capacity": 4.0},
    ],
)
def test_levels_out_of_order_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="expected elevated_leave < elevated < critical <= capacity"):
        JudgmentConfig.model_validate(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": {"elevated": 30.0}}, "expected elevated_leave < elevated < critical and"),
        ({"domain": {"critical_leave": 60.0}}, "expected elevated_leave < elevated < critical and"),
        ({"capacity": float("inf")}, "finite"),
        ({"weights": {"critical": float("nan")}}, "finite"),
    ],
)
def test_levels_of_totals_out_of_order_and_numbers_that_are_none_are_refused(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        JudgmentConfig.model_validate(given)
