"""The evidence sheet: gaps, coverage and disagreement, as far as events tell of them."""

from typing import Any

from tests.unit.decision_pipeline.desk import DAY, MINUTE, T0, Desk, event, policy

BTC, NOTHING = "subject:BTC/USDT", {"sources": 0, "sources_out": 0, "subjects": 0, "subjects_silent": 0,
                                    "series_silent": 0}  # fmt: skip


def sheet(desk: Desk, scope: str) -> dict[str, Any]:
    """What the next decision about the scope says."""
    (decision,) = desk.command("rearm", scope, desk.state.time_ns)
    feeds: dict[str, Any] = decision.evidence["feeds"]
    return feeds


def counts(desk: Desk, scope: str) -> tuple[int, ...]:
    return tuple(sheet(desk, scope)[name] for name in NOTHING)


def series(subject: str, *fields: str, source: str = "binance") -> dict[str, Any]:
    return {"series": [[source, subject, name] for name in fields]}


def test_before_any_event_nothing_is_known() -> None:
    for scope in ("*", BTC, "source:binance"):
        assert sheet(Desk(), scope) == NOTHING


def test_silent_series_are_gaps_of_their_subject_their_source_and_the_domain() -> None:
    desk = Desk()
    desk.take(event("pattern.spike", subject="ETH/USDT", data=series("ETH/USDT", "price")))
    desk.take(event("feed.stale", T0 + MINUTE, data=series("BTC/USDT", "price", "volume")))
    desk.take(event("feed.stale", T0 + 2 * MINUTE, source="kraken", data=series("X", "p", source="kraken")))
    assert counts(desk, BTC) == (1, 0, 1, 1, 2)
    assert sheet(desk, BTC)["gap_since_ns"] == T0 + MINUTE
    assert counts(desk, "subject:ETH/USDT") == (1, 0, 1, 0, 0)
    assert "gap_since_ns" not in sheet(desk, "subject:ETH/USDT")
    assert counts(desk, "source:binance") == (1, 0, 2, 1, 2)
    assert counts(desk, "*") == (2, 0, 3, 2, 3)
    assert sheet(desk, "*")["gap_since_ns"] == T0 + MINUTE
    desk.take(event("feed.resumed", T0 + 3 * MINUTE, severity="info", data=series("BTC/USDT", "price")))
    assert counts(desk, BTC) == (1, 0, 1, 1, 1)
    desk.take(event("feed.resumed", T0 + 3 * MINUTE, severity="info", data=series("BTC/USDT", "volume")))
    assert counts(desk, BTC) == (1, 0, 1, 0, 0)
    assert sheet(desk, "*")["gap_since_ns"] == T0 + 2 * MINUTE


def test_what_stays_silent_is_counted_once_from_its_beginning() -> None:
    desk = Desk()
    for minute in range(3):
        desk.take(event("feed.stale", T0 + minute * MINUTE))
    assert counts(desk, BTC) == (1, 0, 1, 1, 1)
    assert sheet(desk, BTC)["gap_since_ns"] == T0


def test_a_source_that_does_not_answer_or_is_halted_is_out_until_it_is_heard() -> None:
    desk = Desk()
    star = {"series": [["binance", "*", "*"]]}
    desk.take(event(subject="BTC/USDT"))
    desk.take(event("feed.unavailable", subject="binance", data=star))
    desk.take(event("feed.halted", T0 + MINUTE, subject="binance", data=star))
    assert counts(desk, BTC) == (1, 1, 1, 0, 0)
    assert counts(desk, "*") == (1, 1, 1, 0, 0)
    assert sheet(desk, BTC)["gap_since_ns"] == T0
    desk.take(event("feed.available", T0 + MINUTE, subject="binance", severity="info", data=star))
    assert counts(desk, "source:binance") == (1, 1, 1, 0, 0)
    desk.take(event("feed.reopened", T0 + MINUTE, subject="binance", severity="info", data=star))
    assert counts(desk, "source:binance") == (1, 0, 1, 0, 0)


def test_a_subject_of_several_sources_says_how_many_have_it() -> None:
    desk = Desk()
    desk.take(event())
    desk.take(event("feed.stale", source="kraken"))
    assert counts(desk, BTC) == (2, 0, 2, 1, 1)


def test_a_relation_that_does_not_hold_is_a_disagreement_with_its_numbers() -> None:
    desk = Desk()
    measured = {"value": [0.08, 0.02], "expected": [0.01, 0.01], "allowed": [0.02, "x"]}
    pair = [["kimchi", "BTC", "premium"], ["kimchi", "ETH", "premium"]]
    premium = {"series": pair, "evidence": measured}
    desk.take(event("pattern.relation_break", subject="kimchi", source="kimchi", data=premium))
    found = sheet(desk, "subject:BTC")
    assert found["disagreements"] == 1
    assert found["disagreement"] == [
        {"series": ["kimchi", "BTC", "premium"], "since_ns": T0, "value": 0.08, "expected": 0.01,
         "allowed": 0.02}
    ]  # fmt: skip
    assert sheet(desk, "*")["disagreements"] == sheet(desk, "source:kimchi")["disagreements"] == 2
    assert "allowed" not in sheet(desk, "subject:ETH")["disagreement"][0]
    restored = event("pattern.relation_restored", T0 + MINUTE, subject="kimchi", source="kimchi",
                     severity="info", data={"series": pair})  # fmt: skip
    desk.take(restored)
    assert "disagreements" not in sheet(desk, "*")


def test_every_decision_has_the_sheet_as_it_was_then() -> None:
    desk = Desk(policy(), judgment={"elevated": 1.0, "elevated_leave": 0.5})
    desk.take(event("feed.stale", subject="ETH/USDT"))
    desk.take(event())
    desk.command("override", "*", T0 + MINUTE, until_ns=T0 + 10 * MINUTE)
    desk.tick(T0 + DAY)
    assert {decision.verdict for decision in desk.records} >= {"block", "release", "judgment"}
    for decision in desk.records:
        assert decision.evidence["feeds"]["series_silent"] == int(decision.scope != BTC), decision


def test_the_sheet_survives_a_restart() -> None:
    desk = Desk()
    for at, subject in enumerate("CAB"):
        desk.take(event("feed.stale", T0 + at, subject=subject))
    desk.take(event("feed.resumed", T0 + 3, subject="C", severity="info"))
    desk.take(event("feed.unavailable", T0 + 4, subject="kraken", source="kraken"))
    before = desk.stage.dump(desk.state)
    told = sheet(desk, "*")
    desk.state = desk.stage.load(before)
    assert desk.stage.dump(desk.state) == before
    assert sheet(desk, "*") == told
    assert told["gap_since_ns"] == T0 + 1
