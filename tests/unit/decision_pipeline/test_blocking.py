"""Blocks by policies: set, repeated, ended; the verdict and the record together."""

import pytest

from observer_core.decision_pipeline.views import BlockRows
from observer_core.shared.records import Note
from tests.unit.decision_pipeline.desk import DAY, MINUTE, SECOND, T0, Desk, event, policy, said

BTC = "subject:BTC/USDT"


def stale(**given: object) -> object:
    return policy(name="stale", match={"types": ["feed.stale"]}, until="resumed", **given)


def test_a_matching_event_blocks_and_says_why() -> None:
    desk = Desk(policy())
    (block,) = desk.take(event())
    assert said([block]) == [("block", "halt", BTC, "matched")]
    assert (block.policy_version, block.severity) == (3, "critical")
    assert (block.time_ns, block.until_ns) == (T0, T0 + 15 * MINUTE)
    assert block.causation == ("events.live@1",)
    assert block.reasons[0]["text"] == "halt: pattern.spike on BTC/USDT (critical, score 0.90)"
    assert block.evidence == {
        "type": "pattern.spike", "source": "binance", "subject": "BTC/USDT", "input_age_ns": SECOND,
        "cadence_ns": SECOND, "score": 0.9, "snapshot": "snapshots.binance@7", "incident": "i1",
        "feeds": {
            "sources": 1, "sources_out": 0, "subjects": 1, "subjects_silent": 0, "series_silent": 0,
        },
    }  # fmt: skip
    views = desk.stage.views(desk.state)
    (row,) = [row for key, view in views.items() if key.startswith("block.") for row in view["rows"]]
    assert row == {
        "scope": BTC,
        "blocks": [{"policy": "halt", "version": 3, "severity": "critical", "since_ns": T0,
                    "until_ns": T0 + 15 * MINUTE, "decision": block.id,
                    "reason": "halt: pattern.spike on BTC/USDT (critical, score 0.90)"}],
    }  # fmt: skip


def test_a_block_ends_at_exactly_its_end_by_a_release_record() -> None:
    desk = Desk(policy())
    desk.take(event())
    assert desk.tick(T0 + 15 * MINUTE - 1) == []
    assert desk.blocked() == {BTC: ["halt"]}
    (release,) = desk.tick(T0 + 99 * MINUTE)
    assert said([release]) == [("release", "halt", BTC, "expired")]
    assert release.time_ns == T0 + 15 * MINUTE
    assert release.causation == ("events.live@1",)
    assert desk.blocked() == {}


def test_a_release_that_is_due_comes_before_the_entry_that_shows_it() -> None:
    desk = Desk(policy())
    desk.take(event())
    made = desk.take(event(at=T0 + 20 * MINUTE))
    assert [(d.verdict, d.time_ns) for d in made] == [
        ("release", T0 + 15 * MINUTE),
        ("block", T0 + 20 * MINUTE),
    ]


def test_advance_releases_as_an_entry_would() -> None:
    by_entry, by_time = Desk(policy()), Desk(policy())
    by_entry.take(event())
    by_time.take(event())
    assert list(by_time.stage.advance(by_time.state, T0 + DAY)) == by_entry.tick(T0 + DAY)


def test_a_block_on_slow_data_lasts_three_cadences() -> None:
    desk = Desk(policy())
    (block,) = desk.take(event(data={"cadence_ns": DAY}))
    assert block.until_ns == T0 + 3 * DAY


def test_a_repeat_is_a_duplicate_and_does_not_extend() -> None:
    desk = Desk(policy())
    desk.take(event())
    (repeat,) = desk.take(event(at=T0 + MINUTE))
    assert said([repeat]) == [("non_execution", "halt", BTC, "duplicate")]
    assert repeat.reasons[0]["until_ns"] == T0 + 15 * MINUTE
    assert repeat.causation == ("events.live@2",)
    assert desk.tick(T0 + 15 * MINUTE)[0].verdict == "release"


def test_blocks_of_several_policies_stand_and_end_on_their_own() -> None:
    desk = Desk(policy(), policy(name="longer", until="30m"))
    assert len(desk.take(event())) == 2
    assert desk.blocked() == {BTC: ["halt", "longer"]}
    desk.tick(T0 + 15 * MINUTE)
    assert desk.blocked() == {BTC: ["longer"]}
    desk.tick(T0 + 30 * MINUTE)
    assert desk.blocked() == {}


def test_scopes_are_subject_source_or_domain() -> None:
    desk = Desk(policy(name="one"), policy(name="two", scope="source"), policy(name="three", scope="domain"))
    desk.take(event())
    assert desk.blocked() == {BTC: ["one"], "source:binance": ["two"], "*": ["three"]}


def test_an_event_over_several_subjects_closes_its_source() -> None:
    desk = Desk(policy())
    desk.take(
        event(subject="binance", data={"series": [["binance", "A", "price"], ["binance", "B", "price"]]})
    )
    assert desk.blocked() == {"source:binance": ["halt"]}


def test_a_stale_feed_is_held_until_it_resumes_whatever_the_time() -> None:
    desk = Desk(stale())
    (block,) = desk.take(event("feed.stale"))
    assert block.until_ns is None
    assert desk.tick(T0 + 900 * DAY) == []
    assert desk.take(event("feed.resumed", T0 + 900 * DAY, subject="ETH/USDT", severity="info")) == []
    (release,) = desk.take(event("feed.resumed", T0 + 901 * DAY, severity="info"))
    assert said([release]) == [("release", "stale", BTC, "recovered")]
    assert release.causation == ("events.live@4",)


def test_a_block_waits_for_every_condition_that_joined_it() -> None:
    desk = Desk(stale())
    desk.take(event("feed.stale"))
    volume = {"series": [["binance", "BTC/USDT", "volume"]]}
    assert said(desk.take(event("feed.stale", data=volume))) == [("non_execution", "stale", BTC, "duplicate")]
    assert desk.take(event("feed.resumed", severity="info")) == []
    assert desk.blocked() == {BTC: ["stale"]}
    assert said(desk.take(event("feed.resumed", severity="info", data=volume))) == [
        ("release", "stale", BTC, "recovered")
    ]


@pytest.mark.parametrize(
    ("condition", "recovery"),
    [
        ("pattern.relation_break", "pattern.relation_restored"),
        ("pattern.crossed_book", "pattern.book_uncrossed"),
        ("pattern.spread_blowout", "pattern.spread_normal"),
        ("pattern.correlation_break", "pattern.correlation_restored"),
        ("pattern.drawdown", "pattern.drawdown_over"),
        ("feed.halted", "feed.reopened"),
    ],
)
def test_a_condition_is_ended_by_its_own_recovery_and_no_other(condition: str, recovery: str) -> None:
    desk = Desk(policy(match={"types": ["pattern.*", "feed.*"]}, until="resumed"))
    desk.take(event(condition))
    assert desk.take(event("incident.resolved", T0 + 1, severity="info", data={"id": "i1"})) == []
    desk.take(event("feed.resumed", T0 + 2, severity="info"))
    assert desk.blocked() == {"subject:BTC/USDT": ["halt"]}
    desk.take(event(recovery, T0 + 3, severity="info"))
    assert desk.blocked() == {}


def test_an_unavailable_source_is_held_until_it_is_available() -> None:
    desk = Desk(policy(match={"types": ["feed.unavailable"]}, scope="source", until="resumed"))
    star = {"series": [["binance", "*", "*"]]}
    desk.take(event("feed.unavailable", subject="binance", data=star))
    assert desk.blocked() == {"source:binance": ["halt"]}
    desk.take(event("feed.available", subject="kraken", source="kraken", severity="info"))
    assert desk.blocked() == {"source:binance": ["halt"]}
    desk.take(event("feed.available", subject="binance", severity="info", data=star))
    assert desk.blocked() == {}


def test_what_has_no_recovery_of_its_own_is_held_as_long_as_its_incident() -> None:
    desk = Desk(policy(until="resumed"))
    desk.take(event(correlationid="i1"))
    desk.take(event("incident.resolved", correlationid="i2", data={"id": "i2"}))
    assert desk.blocked() == {BTC: ["halt"]}
    desk.take(event("incident.resolved", correlationid="i1", data={"id": "i1"}))
    assert desk.blocked() == {}


def test_a_block_that_nothing_can_end_waits_for_a_command() -> None:
    desk = Desk(policy(until="resumed"))
    desk.take(event(correlationid=""))
    desk.take(event("feed.stale", T0 + MINUTE))
    desk.take(event("feed.resumed", T0 + MINUTE))
    desk.take(event("incident.resolved", data={"id": ""}, correlationid=""))
    assert desk.blocked() == {BTC: ["halt"]}
    assert said(desk.command("release", BTC, T0 + DAY)) == [("release", "halt", BTC, "command")]


def test_a_quarantined_record_closes_its_scopes_until_all_are_redriven() -> None:
    desk = Desk()
    body = {"input": "snapshots.binance", "position": 9, "error": "ValueError: x", "attempts": 3,
            "scopes": ["source:binance"]}  # fmt: skip
    (block,) = desk.take(event("quarantined", subject="binance", data=body))
    assert said([block]) == [("block", "quarantine", "source:binance", "matched")]
    assert "snapshots.binance@9 is set aside after 3 attempts: ValueError: x" in block.reasons[0]["text"]
    assert desk.stage.views(desk.state)["quarantine"] == {"scopes": ["source:binance"]}
    desk.take(event("quarantined", subject="binance", data={**body, "position": 10}))
    assert desk.take(event("redriven", subject="binance", severity="info", data=body)) == []
    (release,) = desk.take(
        event("redriven", subject="binance", severity="info", data={**body, "position": 10})
    )
    assert release.verdict == "release"
    assert "quarantine" not in desk.stage.views(desk.state)


def test_nothing_is_stamped_before_a_release_that_time_alone_gave() -> None:
    desk = Desk(policy())
    desk.take(event())
    desk.stage.advance(desk.state, T0 + 15 * MINUTE)
    assert desk.take(event(at=T0 + MINUTE))[0].time_ns == T0 + 15 * MINUTE


def test_notes_of_the_journals_own_life_give_nothing_and_move_no_time() -> None:
    desk = Desk(policy())
    desk.take(event())
    for kind in ("epoch", "domain", "recovery", "lifecycle"):
        assert desk.take(Note(kind=kind, time_ns=T0 + DAY, body={})) == []
    assert desk.blocked() == {BTC: ["halt"]}


def test_the_configuration_is_given_in_full() -> None:
    config = Desk(policy()).stage.config()
    assert config["domain"] == "live"
    assert config["policies"][0]["until"] == "15m"
    assert config["judgment"]["weights"] == {"info": 0.0, "warning": 0.0, "critical": 0.0}


def test_views_stay_within_one_transaction_however_many_scopes_are_blocked() -> None:
    rows = BlockRows()
    for n in range(5_000):
        rows.show(f"subject:S{n}", [{"policy": "halt"}])
    views = rows.views({})
    assert len(views) <= 33
    assert sum(len(view["rows"]) for key, view in views.items() if key.startswith("block.")) == 5_000


@pytest.mark.parametrize("until", ["resumed", {"match": {"types": ["incident.resolved"]}}])
def test_who_ends_an_incident_by_hand_opens_nothing(until: object) -> None:
    """That is for a release, which may take a second person."""
    for by_hand in (False, True):
        desk = Desk(policy(until=until))
        desk.take(event())
        ended = {"author": "kim", "reason": "delisted", "conditions": []}
        data = {"id": "i1", **({"ended": ended} if by_hand else {})}
        made = desk.take(event("incident.resolved", T0 + 1, data=data))
        assert [d.verdict for d in made] == ([] if by_hand else ["release"])
    assert desk.blocked() == {BTC: ["halt"]}
    assert [d.verdict for d in desk.command("release", BTC, T0 + 2)] == ["release"]
    assert desk.blocked() == {}
