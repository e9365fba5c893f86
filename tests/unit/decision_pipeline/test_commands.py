"""Operators: block, release, override, rearm, kill, unkill; each with author and reason, or refused."""

from typing import Any

import pytest

from observer_core.shared.records import Note
from tests.unit.decision_pipeline.desk import DAY, MINUTE, T0, Desk, event, policy, said

BTC = "subject:BTC/USDT"
ENDS = [
    ("judgment", "override", "*", "override_ends_soon"),
    ("judgment", "override", "*", "override_ended"),
]
STALE = {"name": "stale", "match": {"types": ["feed.stale"]}, "until": "resumed"}


def test_a_block_of_the_domain_closes_everything_until_it_is_released_by_hand() -> None:
    desk = Desk(policy())
    (block,) = desk.command("block", "*")
    assert said([block]) == [("block", "operator", "*", "command")]
    assert block.reasons[0]["text"] == "blocked by kim: drill"
    assert block.until_ns is None
    assert desk.tick(T0 + 100 * DAY) == []
    (release,) = desk.command("release", "*", T0 + 101 * DAY, author="lee", reason="over")
    assert release.reasons[0]["text"] == "released by lee: over"
    assert release.causation == ("commands.live@3",)
    assert desk.blocked() == {}


def test_an_operators_block_may_have_an_end_and_be_lengthened_only() -> None:
    desk = Desk()
    desk.command("block", BTC, until_ns=T0 + 10 * MINUTE)
    assert said(desk.command("block", BTC, until_ns=T0 + 5 * MINUTE)) == [
        ("non_execution", "operator", BTC, "duplicate")
    ]
    assert desk.command("block", BTC, until_ns=T0 + 20 * MINUTE)[0].verdict == "block"
    assert desk.tick(T0 + 20 * MINUTE - 1) == []
    assert said(desk.tick(T0 + 20 * MINUTE)) == [("release", "operator", BTC, "expired")]


def test_a_block_without_end_replaces_one_with_an_end() -> None:
    desk = Desk()
    desk.command("block", BTC, until_ns=T0 + 10 * MINUTE)
    desk.command("block", BTC)
    assert desk.tick(T0 + DAY) == []
    assert desk.command("block", BTC, T0 + DAY, until_ns=T0 + 2 * DAY)[0].reasons[0]["code"] == "duplicate"


def test_a_release_ends_all_blocks_of_its_scope_or_the_named_policys() -> None:
    desk = Desk(policy(), policy(name="other"))
    desk.take(event())
    assert said(desk.command("release", BTC, policy="other")) == [("release", "other", BTC, "command")]
    desk.take(event(at=T0 + 1))
    assert [d.policy for d in desk.command("release", BTC)] == ["halt", "other"]


@pytest.mark.parametrize(
    ("command", "code"), [("release", "nothing_to_release"), ("rearm", "nothing_to_rearm")]
)
def test_a_command_that_changes_nothing_is_recorded(command: str, code: str) -> None:
    desk = Desk(policy())
    desk.take(event())
    assert said(desk.command(command, "*")) == [("non_execution", "operator", "*", code)]
    assert desk.blocked() == {BTC: ["halt"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"author": ""}, "author: expected who or why in words, found ''"),
        ({"author": None}, "author"),
        ({"reason": "  "}, "reason"),
        (
            {"command": "explode"},
            "command: expected one of block, release, override, rearm, kill, unkill, confirm, found",
        ),
        ({"scope": "pair:BTC"}, "scope: expected subject:NAME, source:NAME or *, found 'pair:BTC'"),
        ({"scope": "subject:"}, "scope"),
        ({"scope": 7}, "scope"),
        ({"until_ns": T0}, "until_ns: expected nanoseconds after"),
        ({"until_ns": "tomorrow"}, "until_ns"),
        ({"until_ns": True}, "until_ns"),
        ({"policy": 7}, "policy"),
        ({"command": "override"}, "until_ns: an override needs an end"),
        ({"command": "kill", "until_ns": T0 + 1}, "until_ns: a kill switch has no end"),
        ({"command": "confirm"}, "request: expected the record that asked, commands.DOMAIN@N, found None"),
        ({"command": "confirm", "request": "events.live@1"}, "request"),
        ({"principal": ""}, "principal: expected who or why in words, found ''"),
        ({"principal": 1000}, "principal"),
        ({"author": "k" * 257}, "author: expected at most 256 characters, found 257"),
        ({"reason": "k" * 2001}, "reason: expected at most 2000 characters, found 2001"),
    ],
)
def test_a_command_without_what_it_needs_is_refused_and_recorded(given: dict[str, Any], message: str) -> None:
    desk = Desk()
    body = {"command": "block", "scope": "*", "author": "kim", "reason": "drill", "until_ns": None, **given}
    (refused,) = desk.take(Note(kind="command", time_ns=T0, body=body), "commands.live")
    assert (refused.verdict, refused.reasons[0]["code"]) == ("non_execution", "invalid_command")
    assert message in refused.reasons[0]["text"]
    assert desk.blocked() == {}


def test_an_override_lifts_blocks_withholds_new_ones_and_sets_them_again_at_its_end() -> None:
    desk = Desk(policy(**STALE), policy())
    desk.take(event("feed.stale"))
    end = T0 + 30 * MINUTE
    made = desk.command("override", BTC, until_ns=end)
    assert said(made) == [("release", "override", BTC, "override"), ("release", "stale", BTC, "override")]
    assert made[0].until_ns == end
    assert "kim" in made[1].reasons[0]["text"]
    assert desk.blocked() == {}
    assert said(desk.take(event(at=T0 + 20 * MINUTE))) == [("non_execution", "halt", BTC, "overridden")]
    (warned,) = desk.tick(end - 1)
    assert said([warned]) == [("judgment", "override", BTC, "override_ends_soon")]
    again = desk.tick(end)
    assert said(again) == [
        ("judgment", "override", BTC, "override_ended"),
        ("block", "halt", BTC, "matched"),
        ("block", "stale", BTC, "matched"),
    ]
    assert [d.until_ns for d in again] == [None, T0 + 35 * MINUTE, None]
    assert {d.time_ns for d in again} == {end}
    assert again[2].causation == ("events.live@1", "commands.live@2")
    desk.take(event("feed.resumed", end + 1, severity="info"))
    assert desk.blocked() == {BTC: ["halt"]}


def test_what_ended_during_an_override_is_not_set_again() -> None:
    desk = Desk(policy(**STALE), policy())
    desk.take(event("feed.stale"))
    desk.take(event())
    desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    assert desk.take(event("feed.resumed", T0 + MINUTE, severity="info")) == []
    assert said(desk.tick(T0 + DAY)) == ENDS
    assert desk.blocked() == {}


def test_a_lifted_block_that_is_released_does_not_come_back() -> None:
    desk = Desk(policy(**STALE))
    desk.take(event("feed.stale"))
    desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    assert said(desk.command("release", BTC)) == [("release", "stale", BTC, "command")]
    assert said(desk.tick(T0 + DAY)) == ENDS


def test_rearming_ends_an_override_at_once() -> None:
    desk = Desk(policy(**STALE))
    desk.take(event("feed.stale"))
    desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    assert said(desk.command("rearm", "*", T0 + 1)) == [
        ("judgment", "override", "*", "override_ended"),
        ("block", "stale", BTC, "matched"),
    ]
    assert desk.tick(T0 + DAY) == []


def test_overlapping_overrides_hold_until_the_last_one_ends() -> None:
    desk = Desk(policy(**STALE))
    desk.take(event("feed.stale"))
    desk.command("override", "*", until_ns=T0 + 10 * MINUTE)
    desk.command("override", BTC, until_ns=T0 + 20 * MINUTE)
    desk.tick(T0 + 10 * MINUTE)
    assert desk.blocked() == {}
    desk.tick(T0 + 20 * MINUTE)
    assert desk.blocked() == {BTC: ["stale"]}


def test_an_override_never_lifts_an_operators_block() -> None:
    desk = Desk()
    desk.command("block", BTC)
    assert len(desk.command("override", "*", until_ns=T0 + DAY)) == 1
    assert desk.blocked() == {BTC: ["operator"]}
    assert desk.command("block", "source:binance")[0].verdict == "block"


def test_an_override_of_a_source_leaves_what_another_source_asks_for() -> None:
    desk = Desk(policy(**STALE))
    desk.command("override", "source:binance", until_ns=T0 + 10 * MINUTE)
    assert said(desk.take(event("feed.stale"))) == [("non_execution", "stale", BTC, "overridden")]
    assert said(desk.take(event("feed.stale", source="kraken"))) == [("block", "stale", BTC, "matched")]
    desk.take(event("feed.resumed", source="kraken", severity="info"))
    assert desk.blocked() == {BTC: ["stale"]}
    desk.take(event("feed.resumed", severity="info"))
    assert desk.blocked() == {}


def test_a_quarantine_note_of_the_events_journal_closes_what_it_names_or_everything() -> None:
    desk = Desk()
    body = {"input": "patterns.binance", "position": 4, "error": "x", "attempts": 3}
    desk.take(Note(kind="quarantine", time_ns=T0, body={**body, "scopes": ["source:binance"]}))
    assert desk.blocked() == {"source:binance": ["quarantine"]}
    desk.take(Note(kind="redrive", time_ns=T0, body=body))
    assert desk.blocked() == {}
    desk.take(Note(kind="quarantine", time_ns=T0, body=body))
    assert desk.blocked() == {"*": ["quarantine"]}


def test_a_released_block_does_not_end_a_second_time() -> None:
    desk = Desk(policy())
    desk.take(event())
    desk.command("release", BTC)
    assert desk.tick(T0 + DAY) == []


def test_an_override_of_one_source_leaves_a_block_that_two_asked_for() -> None:
    desk = Desk(policy(**STALE))
    desk.take(event("feed.stale"))
    desk.take(event("feed.stale", source="kraken"))
    assert len(desk.command("override", "source:binance", until_ns=T0 + DAY)) == 1
    assert desk.blocked() == {BTC: ["stale"]}


# ---------------------------------------------------------------------- the kill switch


def test_a_kill_switch_is_ended_by_unkill_and_by_nothing_else() -> None:
    desk = Desk(policy(), policy(**STALE))
    desk.take(event())
    (killed,) = desk.command("kill", BTC, principal="1000:kim")
    assert said([killed]) == [("block", "kill", BTC, "kill")]
    assert killed.until_ns is None
    assert killed.reasons[0]["text"] == "kill switch set by kim: drill"
    assert (killed.reasons[0]["author"], killed.reasons[0]["principal"]) == ("kim", "1000:kim")
    assert said(desk.command("release", BTC)) == [
        ("release", "halt", BTC, "command"),
        ("non_execution", "operator", BTC, "kill_switch"),
    ]
    assert said(desk.command("release", BTC)) == [("non_execution", "operator", BTC, "kill_switch")]
    assert said(desk.command("release", BTC, policy="kill")) == [
        ("non_execution", "operator", BTC, "kill_switch")
    ]
    (begun,) = desk.command("override", "*", until_ns=T0 + DAY)
    assert begun.reasons[0]["stays"] == {"count": 1, "blocks": [f"kill {BTC}"]}
    assert said(desk.tick(T0 + 900 * DAY)) == ENDS
    assert desk.blocked() == {BTC: ["kill"]}
    (release,) = desk.command("unkill", BTC, T0 + 901 * DAY, author="lee", reason="all clear")
    assert said([release]) == [("release", "kill", BTC, "unkill")]
    assert release.reasons[0]["text"] == "kill switch re-armed by lee: all clear"
    assert release.evidence["block"] == killed.id
    assert desk.blocked() == {}


def test_a_kill_switch_is_of_exactly_its_scope() -> None:
    desk = Desk()
    desk.command("kill", "*")
    assert said(desk.command("unkill", BTC)) == [("non_execution", "operator", BTC, "nothing_to_unkill")]
    assert said(desk.command("kill", "*")) == [("non_execution", "operator", "*", "duplicate")]
    desk.command("kill", BTC)
    desk.command("unkill", "*")
    assert desk.blocked() == {BTC: ["kill"]}


def test_an_operators_block_beside_the_kill_switch_is_ended_by_name() -> None:
    desk = Desk()
    desk.command("block", "*")
    desk.command("kill", "*")
    assert said(desk.command("release", "*", policy="operator")) == [("release", "operator", "*", "command")]
    assert desk.blocked() == {"*": ["kill"]}


# ---------------------------------------------------------------------- the life of an override


def test_an_override_says_what_it_lifts_warns_before_its_end_and_says_what_stands_again() -> None:
    desk = Desk(policy(**STALE), control={"warn_before": "10m"})
    desk.take(event("feed.stale"))
    begun, _ = desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    assert begun.reasons[0]["lifts"] == {"count": 1, "blocks": [f"stale {BTC}"]}
    assert desk.tick(T0 + 20 * MINUTE - 1) == []
    (warned,) = desk.tick(T0 + 20 * MINUTE)
    assert (warned.severity, warned.time_ns) == ("warning", T0 + 20 * MINUTE)
    assert warned.causation == ("commands.live@2",)
    assert warned.reasons[0]["again"] == {"count": 1, "blocks": [f"stale {BTC}"]}
    assert warned.reasons[0]["text"] == (
        "the override by kim ends at 2023-11-14T22:43:20Z; 1 block stands again then"
    )
    ended, again = desk.tick(T0 + 30 * MINUTE)
    assert ended.reasons[0]["text"] == "the override by kim has ended; 1 block stands again"
    assert ended.reasons[0]["again"] == warned.reasons[0]["again"]
    assert again.verdict == "block"


@pytest.mark.parametrize(("before", "lasts"), [("0s", 30), ("30m", 30), ("1h", 30)])
def test_an_override_no_longer_than_the_warning_has_said_its_end_when_it_began(
    before: str, lasts: int
) -> None:
    desk = Desk(control={"warn_before": before})
    desk.command("override", "*", until_ns=T0 + lasts * MINUTE)
    assert said(desk.tick(T0 + DAY)) == [("judgment", "override", "*", "override_ended")]


def test_an_override_that_is_rearmed_says_who_did_and_warns_no_more() -> None:
    desk = Desk()
    desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    (ended,) = desk.command("rearm", "*", T0 + MINUTE, author="lee", principal="1001:lee", reason="enough")
    assert ended.reasons[0]["text"] == "the override by kim was ended by lee: enough"
    assert (ended.reasons[0]["author"], ended.reasons[0]["principal"]) == ("lee", "1001:lee")
    assert desk.tick(T0 + DAY) == []


def test_an_override_is_lengthened_and_never_shortened_but_by_rearming_it() -> None:
    desk = Desk()
    desk.command("override", "*", until_ns=T0 + 30 * MINUTE)
    for until_ns in (T0 + 20 * MINUTE, T0 + 30 * MINUTE):
        (refused,) = desk.command("override", "*", until_ns=until_ns)
        assert said([refused]) == [("non_execution", "operator", "*", "duplicate")]
    (longer,) = desk.command("override", "*", author="lee", until_ns=T0 + 40 * MINUTE)
    assert longer.reasons[0]["longer_than_ns"] == T0 + 30 * MINUTE
    assert [d.time_ns for d in desk.tick(T0 + DAY)] == [T0 + 35 * MINUTE, T0 + 40 * MINUTE]


def test_overrides_and_requests_are_in_the_control_view_while_they_last() -> None:
    desk = Desk(control={"two_person": ["unkill"]})
    desk.command("kill", "*")
    (begun,) = desk.command("override", BTC, until_ns=T0 + MINUTE, principal="1000:kim")
    (asked,) = desk.command("unkill", "*")
    assert desk.stage.views(desk.state)["control"] == {
        "overrides": [
            {"scope": BTC, "author": "kim", "principal": "1000:kim", "since_ns": T0, "until_ns": T0 + MINUTE,
             "decision": begun.id}
        ],
        "requests": [
            {"request": "commands.live@3", "command": "unkill", "scope": "*", "author": "kim",
             "principal": None, "since_ns": T0, "expires_ns": T0 + 15 * MINUTE, "decision": asked.id}
        ],
    }  # fmt: skip
    desk.tick(T0 + DAY)
    assert "control" not in desk.stage.views(desk.state)


def test_more_overrides_than_one_row_holds_are_refused() -> None:
    desk = Desk()
    for n in range(256):
        desk.command("override", f"subject:S{n}", until_ns=T0 + DAY)
    assert said(desk.command("override", "*", until_ns=T0 + DAY)) == [
        ("non_execution", "operator", "*", "too_many_overrides")
    ]
    assert desk.command("override", "subject:S1", until_ns=T0 + 2 * DAY)[0].verdict == "release"
