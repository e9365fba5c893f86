"""Two persons: asked, confirmed by another one in time, refused to the same one; a record of each."""

from typing import Any

import pytest
from pydantic import ValidationError

from observer_core.decision_pipeline.control import ControlConfig, Person
from tests.unit.decision_pipeline.desk import DAY, MINUTE, T0, Desk, said

TWO = {"two_person": ["kill", "unkill", "override", "block"], "confirm_within": "10m"}
KIM = {"author": "kim", "principal": "1000:kim"}
LEE = {"author": "lee", "principal": "1001:lee"}


def asked(command: str = "kill", scope: str = "*", **given: Any) -> Desk:
    """A desk where kim has asked for something, in commands.live@1."""
    desk = Desk(control=TWO)
    (request,) = desk.command(command, scope, **{**KIM, **given})
    assert said([request]) == [("non_execution", "operator", scope, "needs_confirmation")]
    return desk


def confirm(desk: Desk, at: int = T0, request: str = "commands.live@1", **by: Any) -> Any:
    return desk.command("confirm", "*", at, request=request, **(by or LEE))


def test_what_needs_two_persons_is_not_done_by_one() -> None:
    desk = asked()
    request = desk.records[0]
    assert desk.blocked() == {}
    assert request.severity == "warning"
    assert dict(request.reasons[0]) == {
        "code": "needs_confirmation", "request": "commands.live@1", "command": "kill", "author": "kim",
        "principal": "1000:kim", "expires_ns": T0 + 10 * MINUTE, "until_ns": None, "policy": None,
        "text": "kill of *, asked by kim, waits for a second person to confirm commands.live@1 "
        "within 10m: drill",
    }  # fmt: skip


def test_another_person_has_it_done_and_the_records_name_both() -> None:
    desk = asked()
    confirmed, killed = confirm(desk, T0 + MINUTE)
    assert said([confirmed, killed]) == [
        ("judgment", "operator", "*", "confirmed"),
        ("block", "kill", "*", "kill"),
    ]
    for decision in (confirmed, killed):
        assert decision.causation == ("commands.live@1", "commands.live@2")
        reason = decision.reasons[0]
        assert (reason["author"], reason["principal"]) == ("kim", "1000:kim")
        assert (reason["confirmed_by"], reason["confirmed_principal"]) == ("lee", "1001:lee")
    assert killed.reasons[0]["text"] == "kill switch set by kim, confirmed by lee: drill"
    assert desk.blocked() == {"*": ["kill"]}
    assert desk.tick(T0 + DAY) == []


@pytest.mark.parametrize(
    "by",
    [
        KIM,
        {"author": "  KIM ", "principal": "1001:lee"},
        {"author": "lee", "principal": "1000:kim"},
        {"author": "kim"},
    ],
    ids=["same", "same author", "same principal", "same author without a principal"],
)
def test_the_same_person_twice_is_refused_and_the_request_still_waits(by: dict[str, str]) -> None:
    desk = asked()
    (refused,) = confirm(desk, **by)
    assert said([refused]) == [("non_execution", "operator", "*", "same_person")]
    assert refused.reasons[0]["request"] == "commands.live@1"
    assert refused.causation == ("commands.live@1", "commands.live@2")
    assert desk.blocked() == {}
    assert confirm(desk)[-1].verdict == "block"


def test_principals_are_compared_only_when_both_have_one() -> None:
    desk = asked(principal=None)
    assert confirm(desk, author="lee", principal="1000:kim")[-1].verdict == "block"


def test_a_request_that_nobody_confirms_in_time_is_not_done() -> None:
    desk = asked()
    assert desk.tick(T0 + 10 * MINUTE - 1) == []
    (expired,) = desk.tick(T0 + DAY)
    assert said([expired]) == [("non_execution", "operator", "*", "not_confirmed")]
    assert expired.time_ns == T0 + 10 * MINUTE
    (late,) = confirm(desk, T0 + DAY)
    assert said([late]) == [("non_execution", "operator", "*", "no_such_request")]
    assert desk.blocked() == {}


def test_a_request_is_done_once() -> None:
    desk = asked()
    confirm(desk)
    assert said(confirm(desk)) == [("non_execution", "operator", "*", "no_such_request")]


def test_asking_again_for_what_waits_is_refused_and_names_it() -> None:
    desk = asked()
    (refused,) = desk.command("kill", "*", **LEE)
    assert said([refused]) == [("non_execution", "operator", "*", "already_asked")]
    assert refused.reasons[0]["request"] == "commands.live@1"
    assert said(desk.command("kill", "source:binance", **LEE))[0][3] == "needs_confirmation"


def test_what_would_do_nothing_is_refused_before_anybody_has_to_confirm_it() -> None:
    desk = Desk(control=TWO)
    assert said(desk.command("unkill", "*")) == [("non_execution", "operator", "*", "nothing_to_unkill")]


def test_what_has_become_impossible_while_it_waited_is_recorded() -> None:
    desk = asked("override", until_ns=T0 + 5 * MINUTE)
    assert said(confirm(desk, T0 + 6 * MINUTE)) == [
        ("judgment", "operator", "*", "confirmed"),
        ("non_execution", "operator", "*", "too_late"),
    ]
    desk = asked("block", until_ns=T0 + DAY)
    desk.command("block", "*", **LEE)
    confirm(desk, request="commands.live@2", **KIM)
    assert said(confirm(desk)) == [
        ("judgment", "operator", "*", "confirmed"),
        ("non_execution", "operator", "*", "duplicate"),
    ]


def test_commands_that_are_not_named_need_one_person() -> None:
    desk = Desk(control=TWO)
    assert desk.command("rearm", "*")[0].reasons[0]["code"] == "nothing_to_rearm"
    assert Desk().command("kill", "*")[0].verdict == "block"


def test_more_requests_than_one_row_holds_are_refused() -> None:
    desk = Desk(control=TWO)
    for n in range(64):
        desk.command("kill", f"subject:S{n}")
    (refused,) = desk.command("kill", "*")
    assert refused.reasons[0]["code"] == "too_many_requests"


def test_requests_and_their_timers_survive_a_restart_and_a_change_of_the_setting() -> None:
    desk = asked()
    for control in (TWO, {}):
        other = Desk(control=control)
        other.state = other.stage.load(desk.stage.dump(desk.state))
        other.position = 1
        assert other.stage.dump(other.state) == desk.stage.dump(desk.state)
        assert other.stage.views(other.state) == desk.stage.views(desk.state)
        assert said(other.tick(T0 + DAY)) == [("non_execution", "operator", "*", "not_confirmed")]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"two_person": ["explode"]}, "two_person"),
        ({"two_person": ["confirm"]}, "two_person"),
        ({"two_person": ["kill", "kill"]}, "'kill' is given twice"),
        ({"confirm_within": "0s"}, "confirm_within"),
        ({"warn_before": "-1s"}, "warn_before"),
        ({"two_persons": ["kill"]}, "two_persons"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ControlConfig.model_validate(given)


def test_who_may_be_the_same_person() -> None:
    kim = Person("kim", "1000:kim")
    assert kim.may_be(Person("Kim"))
    assert kim.may_be(Person("lee", "1000:kim"))
    assert not kim.may_be(Person("lee", "1001:lee"))
    assert not Person("kim").may_be(Person("lee"))
