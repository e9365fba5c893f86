"""Risk as a leaky bucket: arithmetic in the record, hysteresis, decay by time alone."""

from typing import Any

import pytest
from desk import DAY, MINUTE, T0, Desk, event, said
from pydantic import ValidationError

from observer_core.decision_pipeline.judgment import JudgmentConfig

BTC = "subject:BTC/USDT"
UNIT = {
    "weights": {"info": 0, "warning": 1, "critical": 2}, "leak": "1m", "elevated": 2.0, "elevated_leave": 1.0,
    "critical": 4.0, "critical_leave": 3.0, "capacity": 6.0,
}  # fmt: skip


def desk() -> Desk:
    return Desk(judgment=UNIT)


def hit(severity: str = "critical", score: float = 1.0, at: int = T0, **given: Any) -> Any:
    return event(at=at, severity=severity, data={"score": score, **given})


def level(made: Desk) -> Any:
    return made.stage.views(made.state)["risk"]


def test_a_rise_is_a_judgment_with_its_arithmetic() -> None:
    made = desk()
    assert made.take(hit("warning")) == []
    (judged,) = made.take(hit(at=T0 + MINUTE // 2))
    assert said([judged]) == [("judgment", "risk", BTC, "risk")]
    reason = dict(judged.reasons[0])
    assert reason.pop("text") == "risk of subject:BTC/USDT went from calm to elevated at 2.50 points"
    assert reason == {
        "code": "risk", "from": "calm", "level": "elevated", "before": 1.0, "leak": 0.5, "add": 2.0,
        "after": 2.5, "leak_ns": MINUTE, "capacity": 6.0,
    }  # fmt: skip
    assert (judged.severity, judged.causation) == ("warning", ("events.live@2",))
    assert judged.evidence["score"] == 1.0
    assert level(made) == {"overall": "elevated", "subjects": {"BTC/USDT": "elevated"}, "sources": {}}


def test_risk_falls_by_time_alone_at_lower_thresholds() -> None:
    made = desk()
    made.take(hit())
    (judged,) = made.take(hit())
    assert judged.reasons[0]["level"] == "critical"
    assert made.tick(T0 + MINUTE - 1) == []
    falls = made.tick(T0 + DAY)
    assert [(d.reasons[0]["level"], d.time_ns) for d in falls] == [
        ("elevated", T0 + MINUTE),
        ("calm", T0 + 3 * MINUTE),
    ]
    assert [d.reasons[0]["after"] for d in falls] == [3.0, 1.0]
    assert [d.severity for d in falls] == ["warning", "info"]
    assert falls[0].causation == ("events.live@2",)
    assert level(made) == {"overall": "calm", "subjects": {}, "sources": {}}


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
    assert [d.time_ns for d in made.tick(T0 + DAY)] == [T0 + 2 * MINUTE]


def test_a_bucket_holds_its_capacity_and_no_more() -> None:
    made = desk()
    for _ in range(50):
        made.take(hit())
    assert [d.time_ns for d in made.tick(T0 + DAY)] == [T0 + 3 * MINUTE, T0 + 5 * MINUTE]


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
    made.tick(T0 + MINUTE)
    fresh = desk()
    fresh.tick(T0 + MINUTE)
    assert made.stage.dump(made.state) == fresh.stage.dump(fresh.state)


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
