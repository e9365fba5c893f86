"""AuthZEN on the port: what is asked, what is answered, and what is no question."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.records import Evaluation
from observer_core.web import evaluation as door
from tests.unit.web.test_app import JSON, NOW, Site, assert_problem

ALPHA = {"type": "strategy", "id": "alpha"}
ORDER = {"name": "order"}


def instrument(name: str, **properties: Any) -> dict[str, Any]:
    return {"type": "instrument", "id": name, **({"properties": properties} if properties else {})}


QUESTION = {"subject": ALPHA, "action": ORDER, "resource": instrument("BTC/USDT")}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.collect("BTC/USDT", "ETH/USDT")
    yield made
    made.observer.close()


def ask(site: Site, body: Any, path: str = "/v1/evaluation", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return site.client.post(path, content=content, headers={**JSON, **headers})


def recorded(site: Site) -> list[Evaluation]:
    entries = site.observer.journals.open("gate.live").scan()
    return [entry.record for entry in entries if isinstance(entry.record, Evaluation)]


@pytest.mark.parametrize("path", ["/v1/evaluation", "/access/v1/evaluation"])
def test_an_allow_says_what_it_rests_on_and_how_long_it_holds(site: Site, path: str) -> None:
    response = ask(site, QUESTION, path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "decision": True,
        "context": {
            "id": "gate.live@2", "reasons": [], "domain": "live", "risk": "calm",
            "evaluated_at": format_time(NOW), "as_of": format_time(NOW),
            "valid_until": format_time(NOW + 5 * SECOND),
        },
    }  # fmt: skip


def test_a_context_too_deep_to_be_recorded_is_a_problem_and_harms_no_other(site: Site) -> None:
    deep = json.loads('{"a":' * 300 + "1" + "}" * 300)
    assert_problem(ask(site, {**QUESTION, "context": deep}), 400, "the context cannot be recorded")
    items = [{"context": deep}, {"context": {"quantity": 1}}]
    first, second = ask(site, {**QUESTION, "evaluations": items}, "/v1/evaluations").json()["evaluations"]
    assert (first["decision"], first["context"]["error"]["status"]) == (False, 400)
    assert second["decision"] is True
    assert len(recorded(site)) == 1


def test_a_denial_is_an_answer_with_reasons(site: Site) -> None:
    response = ask(site, {**QUESTION, "resource": instrument("DOGE/USDT")})
    assert response.status_code == 200
    body = response.json()
    assert (body["decision"], body["context"]["id"]) == (False, "gate.live@2")
    assert [reason["code"] for reason in body["context"]["reasons"]] == ["unknown_subject"]
    (record,) = recorded(site)
    assert (record.verdict, record.caller, record.resource) == ("non_execution", "alpha", "DOGE/USDT")


def test_the_identifier_of_a_request_is_given_back_and_recorded(site: Site) -> None:
    response = ask(site, QUESTION, **{"X-Request-ID": "bfe9-1"})
    assert response.headers["x-request-id"] == "bfe9-1"
    assert recorded(site)[0].request_id == "bfe9-1"
    refused = ask(site, b"{", **{"X-Request-ID": "bfe9-2"})
    assert_problem(refused, 400)
    assert refused.headers["x-request-id"] == "bfe9-2"
    assert "x-request-id" not in ask(site, QUESTION).headers


def test_what_cannot_be_recorded_is_denied(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(site.observer.journals.open("gate.live"), "commit", away)
    for body in (ask(site, QUESTION).json(), site.client.get("/v1/gate/BTC/USDT").json()):
        reasons = body["context"]["reasons"] if "context" in body else body["reasons"]
        assert body["decision"] in (False, "deny")
        assert [reason["code"] for reason in reasons] == ["not_recorded"]


def test_asking_by_get_is_recorded_too_and_asking_what_was_said_then_is_not(site: Site) -> None:
    body = site.client.get("/v1/gate/BTC/USDT").json()
    assert (body["decision"], body["id"]) == ("allow", "gate.live@2")
    site.client.get("/v1/gate/BTC/USDT", params={"at": format_time(NOW)})
    (record,) = recorded(site)
    assert (record.caller, record.action, record.resource) == ("anonymous", "check", "BTC/USDT")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "the body is an array; an object was expected"),
        (b"\xff", "the body is not JSON"),
        ({}, "subject is missing; an object with type and id was expected"),
        ({**QUESTION, "subject": "alpha"}, "subject is a text"),
        ({**QUESTION, "subject": {"id": "alpha"}}, "subject.type is NoneType, expected text"),
        ({**QUESTION, "subject": {"type": "strategy", "id": ""}}, "subject.id is empty"),
        ({**QUESTION, "subject": {**ALPHA, "properties": 1}}, "subject.properties is a number"),
        ({**QUESTION, "action": {}}, "action.name is NoneType"),
        ({**QUESTION, "action": {"name": 7}}, "action.name is int, expected text"),
        ({**QUESTION, "resource": None}, "resource is missing"),
        ({**QUESTION, "resource": instrument("x" * 300)}, "resource.id has 300 characters"),
        ({**QUESTION, "resource": instrument("a\x00b")}, "resource.id holds the character '\\x00'"),
        ({**QUESTION, "resource": instrument("*")}, "resource.id is *, which stands for all of them"),
        ({**QUESTION, "resource": instrument("a", domain=1)}, "resource.properties.domain is a number"),
        ({**QUESTION, "resource": instrument("a", domain="mars")}, "there is no domain 'mars'"),
        ({**QUESTION, "context": [1]}, "context is an array"),
    ],
)
def test_what_is_no_question_is_400_and_not_recorded(site: Site, body: Any, detail: str) -> None:
    assert_problem(ask(site, body), 400, detail)
    assert recorded(site) == []


def test_another_content_type_is_415_so_that_no_page_can_ask(site: Site) -> None:
    response = ask(site, QUESTION, **{"content-type": "text/plain"})
    assert_problem(response, 415, "'text/plain' is not taken; expected application/json")
    assert_problem(site.client.get("/v1/evaluation"), 405)


def test_a_body_over_the_limit_is_413(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MAX_BODY", 100)
    assert_problem(ask(site, {**QUESTION, "context": {"x": "y" * 100}}), 413, "more than 100 bytes")
    monkeypatch.undo()
    large = {**QUESTION, "context": {"x": "y" * door.MAX_BODY}}
    response = ask(site, large, **{"X-Request-ID": "r-1"})
    assert_problem(response, 413, f"more than {door.MAX_BODY:,} bytes")
    assert response.headers["x-request-id"] == "r-1"


def test_a_deeply_nested_body_is_400(site: Site) -> None:
    assert_problem(ask(site, b'{"context":' * 5000 + b"1" + b"}" * 5000), 400, "not JSON")


# ---------------------------------------------------------------------- several at once


def several(site: Site, items: Any, semantic: str | None = None, **defaults: Any) -> Any:
    options = {} if semantic is None else {"options": {"evaluations_semantic": semantic}}
    return ask(site, {**defaults, **options, "evaluations": items}, "/v1/evaluations")


KNOWN, UNKNOWN = {"resource": instrument("BTC/USDT")}, {"resource": instrument("DOGE/USDT")}
DEFAULTS = {"subject": ALPHA, "action": ORDER}


@pytest.mark.parametrize(
    ("semantic", "items", "decisions"),
    [
        (None, [KNOWN, UNKNOWN, KNOWN], [True, False, True]),
        ("execute_all", [UNKNOWN, KNOWN], [False, True]),
        ("deny_on_first_deny", [KNOWN, UNKNOWN, KNOWN], [True, False]),
        ("deny_on_first_deny", [KNOWN, KNOWN], [True, True]),
        ("deny_on_first_deny", [{}, KNOWN], [False]),
        ("permit_on_first_permit", [UNKNOWN, KNOWN, UNKNOWN], [False, True]),
        ("permit_on_first_permit", [UNKNOWN, UNKNOWN], [False, False]),
    ],
)
def test_several_are_answered_in_their_order_as_far_as_was_asked(
    site: Site, semantic: str | None, items: list[Any], decisions: list[bool]
) -> None:
    body = several(site, items, semantic, **DEFAULTS).json()
    assert list(body) == ["evaluations"]
    assert [found["decision"] for found in body["evaluations"]] == decisions
    assert len(recorded(site)) == len(decisions) - items.count({})


def test_an_item_overrides_the_defaults_whole(site: Site) -> None:
    items = [{}, {"subject": {"type": "desk", "id": "beta"}, "action": {"name": "cancel"}}]
    several(site, items, **DEFAULTS, resource=instrument("ETH/USDT"), context={"x": 1})
    found = [(r.caller_type, r.caller, r.action, r.resource, r.context) for r in recorded(site)]
    assert found == [
        ("strategy", "alpha", "order", "ETH/USDT", {"x": 1}),
        ("desk", "beta", "cancel", "ETH/USDT", {"x": 1}),
    ]  # fmt: skip


def test_an_item_that_is_no_question_is_denied_in_its_place(site: Site) -> None:
    items = [KNOWN, {}, 7, {"resource": instrument("a", domain="mars")}]
    found = several(site, items, **DEFAULTS).json()["evaluations"]
    assert [item["decision"] for item in found] == [True, False, False, False]
    errors = [item["context"]["error"] for item in found[1:]]
    assert [error["status"] for error in errors] == [400, 400, 400]
    assert "evaluations[1].resource is missing" in errors[0]["message"]
    assert "evaluations[2] is a number" in errors[1]["message"]
    assert "no domain 'mars'" in errors[2]["message"]


@pytest.mark.parametrize("items", [None, []])
def test_without_items_it_is_a_single_question(site: Site, items: Any) -> None:
    body = {**QUESTION, **({} if items is None else {"evaluations": items})}
    assert ask(site, body, "/access/v1/evaluations").json()["decision"] is True


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"evaluations": {}}, "evaluations is an object"),
        ({"evaluations": [{}] * 101}, "evaluations has 101 items; at most 100 are possible"),
        ({"evaluations": [{}], "options": 1}, "options is a number"),
        ({"evaluations": [{}], "options": {"evaluations_semantic": "any"}}, "is 'any'; expected execute_all"),
        ({"evaluations": [{}], "options": {"evaluations_semantic": []}}, "expected execute_all"),
    ],
)
def test_what_cannot_be_several_is_400(site: Site, body: Any, detail: str) -> None:
    assert_problem(ask(site, body, "/v1/evaluations"), 400, detail)
