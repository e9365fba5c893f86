"""What operators ask through the port: records, refused beforehand where they cannot be meant."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from observer_core.runtime.audit.replay import computed, replay
from observer_core.safety.tokens import digest_of
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import StorageUnavailable
from observer_core.shared.records import Note
from observer_core.web.api import models
from observer_core.web.app import create_app
from tests.support.web import NOW, Site, assert_problem

BY = {"author": "anna", "reason": "an exercise"}
BLOCK = {"command": "block", "scope": "subject:BTC/USDT", "for": "1h", **BY}
SILENCE = {"domain": "live", "types": ["feed.*"], "for": "1h", **BY}
WILD = "<script>alert('x')</script> \" & \u202e 안녕"
TOKENS = {name: f"qts_{name}" for name in ("anna", "ben", "eye")}


def post(site: Site, path: str, body: Any, **headers: str) -> Any:
    return site.client.post(path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def asked(response: Any) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    found: dict[str, Any] = response.json()
    models.Asked.model_validate(found)
    assert response.headers["location"] == found["outcome"] or found["outcome"] is None
    return found


def outcome(site: Site, found: dict[str, Any], **query: Any) -> dict[str, Any]:
    response = site.get(found["outcome"], params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    models.Outcome.model_validate(body)
    return body


def note(site: Site, ref: str) -> Note:
    journal, _, position = ref.rpartition("@")
    record = site.observer.journals.open(journal).entry(int(position)).record
    assert isinstance(record, Note)
    return record


def heads(site: Site) -> dict[str, int]:
    journals = site.observer.journals
    return {name: journals.open(name).head().position for name in journals.names()}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Site]:
    """Whoever calls has a token: anna and ben operate, the eye only reads. A block takes two of them."""
    tokens = [
        {"name": name, "sha256": digest_of(token).hex(), "scopes": ["read" if name == "eye" else "operate"]}
        for name, token in TOKENS.items()
    ]
    site = Site(tmp_path, web={"token": tokens}, control={"two_person": ["block"]})
    site.collect("feed", "BTC/USDT")
    site.work()
    yield site
    site.close()


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {TOKENS[name]}"}


# ---------------------------------------------------------------------- commands


def test_a_command_is_recorded_obeyed_and_answered_for(site: Site) -> None:
    found = asked(post(site, "/v1/commands", BLOCK))
    assert found["ref"] == "commands.live@4"
    assert found["outcome"] == "/v1/commands/commands.live@4"
    assert found["text"] == "block subject:BTC/USDT in domain live until 2023-11-14T23:13:20Z"
    assert note(site, found["ref"]).body == {
        "command": "block", "scope": "subject:BTC/USDT", **BY, "until_ns": NOW + 3600 * SECOND,
        "policy": None,
    }  # fmt: skip
    assert site.asked == ["decisions.live"]
    assert outcome(site, found)["state"] == "waiting"

    site.work()
    done = outcome(site, found)
    assert (done["state"], done["ref"]) == ("done", found["ref"])
    (decision,) = done["decisions"]
    assert decision["journal"] == "decisions.live"
    assert decision["record"]["verdict"] == "block"
    assert decision["record"]["causation"] == [found["ref"]]
    assert done["text"] == "blocked by anna: an exercise"
    assert site.gate.check("BTC/USDT", domain="live").decision == "deny"


def test_what_changes_nothing_is_refused_by_its_stage_which_says_why(site: Site) -> None:
    found = asked(post(site, "/v1/commands", {"command": "rearm", "scope": "source:feed", **BY}))
    site.work()
    done = outcome(site, found)
    assert (done["state"], done["text"]) == ("refused", "no override stands on source:feed")


def test_a_release_that_a_kill_switch_outlives_is_done_as_far_as_it_goes(site: Site) -> None:
    for body in (BLOCK, {"command": "kill", "scope": "subject:BTC/USDT", **BY}):
        post(site, "/v1/commands", body)
    found = asked(post(site, "/v1/commands", {"command": "release", "scope": "subject:BTC/USDT", **BY}))
    site.work()
    done = outcome(site, found)
    assert done["state"] == "done"
    assert [item["record"]["verdict"] for item in done["decisions"]] == ["release", "non_execution"]
    assert "only unkill ends it" in done["text"]


def test_an_outcome_is_found_however_much_came_after_it(site: Site) -> None:
    first = asked(post(site, "/v1/commands", BLOCK))
    site.work()
    for number in range(30):
        post(site, "/v1/commands", {**BLOCK, "scope": f"subject:X{number}", "domain": "live"})
        site.clock.advance(SECOND)
        site.work()
    assert [item["record"]["scope"] for item in outcome(site, first)["decisions"]] == ["subject:BTC/USDT"]


def test_a_recorded_domain_keeps_its_own_time_and_waits_for_its_recording(site: Site) -> None:
    found = asked(post(site, "/v1/commands", {**BLOCK, "scope": "source:desk", "for": "30m"}))
    body, newest = note(site, found["ref"]), site.gate.now_ns("desk")
    assert (body.time_ns, body.body["until_ns"]) == (newest, newest + 1800 * SECOND)
    site.work()
    assert outcome(site, found)["state"] == "waiting"
    site.record(range(270))
    assert outcome(site, found)["state"] == "done"
    journals = site.observer.journals
    for name in computed(journals):
        assert replay(journals, name, "1.0").equal, name


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"scope": "BTC/USDT", "domain": "live"}, ("expected subject:NAME, source:NAME or *",)),
        ({"scope": "source:nix"}, ("there is no source 'nix'; known are desk, feed, host",)),
        ({"scope": "source:desk", "domain": "live"}, ("source 'desk' is of domain desk, not of live",)),
        ({"scope": "subject:nix"}, ("no domain observes 'nix'; say domain, one of live, desk",)),
        ({"scope": "subject:*", "domain": "live"}, ("'subject:*' closes nothing",)),
        ({"scope": "subject:BTC/USDT ", "domain": "live"}, ("has a blank",)),
        ({"scope": "*"}, ("* may be in any domain; say domain, one of live, desk",)),
        ({"scope": "*", "domain": "nix"}, ("there is no domain 'nix'; known are live, desk",)),
        ({"for": "soon"}, ("'soon' is not a duration",)),
        ({"for": "0s"}, ("until_ns: expected nanoseconds after",)),
        ({"for": "99999999999999999999d"}, ("after the year 2261",)),
        ({"command": "override", "for": None}, ("an override needs an end",)),
        ({"command": "kill"}, ("a kill switch has no end",)),
        ({"command": "confirm", "for": None}, ("request: expected the record that asked",)),
        ({"command": "confirm", "for": None, "request": "commands.nix@1"}, ("no domain 'nix'",)),
        ({"command": "confirm", "for": None, "request": "commands.live@99"}, ("no command was asked",)),
        ({"command": "confirm", "for": None, "request": "commands.live@3"}, ("no command was asked",)),
        ({"author": None}, ("author is missing; say who you are",)),
        ({"author": "  "}, ("author: expected who or why in words",)),
        ({"reason": " "}, ("reason: expected who or why in words",)),
        ({"reason": ""}, ("reason",)),
        ({"command": "open"}, ("command",)),
        ({"until": 7}, ("until is unknown",)),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_nothing_is_recorded(
    site: Site, change: dict[str, Any], parts: tuple[str, ...]
) -> None:
    before = heads(site)
    body = {key: value for key, value in {**BLOCK, **change}.items() if value is not None}
    assert_problem(post(site, "/v1/commands", body), 400, *parts)
    assert heads(site) == before
    assert site.asked == []


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        ("subject:BTC/USDTT", "; nobody observes BTC/USDTT there now"),
        ("source:fed", "; nobody observes fed there now"),
        ("subject:BTC/USDT", ""),
        ("source:feed", ""),
        ("*", ""),
    ],
)
def test_a_scope_that_may_be_a_slip_is_recorded_and_told(site: Site, scope: str, told: str) -> None:
    found = asked(post(site, "/v1/commands", {"command": "kill", "scope": scope, "domain": "live", **BY}))
    assert found["text"] == f"kill {scope} in domain live{told}"
    again = {"command": "unkill", "scope": scope, "domain": "live", **BY}
    assert asked(post(site, "/v1/commands", again))["text"] == f"unkill {scope} in domain live"


def test_words_are_kept_as_they_came(site: Site) -> None:
    found = asked(post(site, "/v1/commands", {**BLOCK, "author": WILD, "reason": WILD}))
    site.work()
    done = outcome(site, found)
    assert note(site, found["ref"]).body["reason"] == WILD
    assert done["text"] == f"blocked by {WILD}: {WILD}"
    assert done["decisions"][0]["record"]["reasons"][0]["author"] == WILD


def test_half_of_a_character_is_refused(site: Site) -> None:
    body = b'{"command":"kill","domain":"live","author":"a","reason":"\\ud800"}'
    response = site.client.post("/v1/commands", content=body, headers={"content-type": "application/json"})
    assert_problem(response, 400, "reason")


def test_a_form_that_a_strange_page_could_send_is_no_command(site: Site) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        response = site.client.post("/v1/commands", content=b"{}", headers={"content-type": kind})
        assert response.status_code in (400, 415), kind
    assert site.asked == []


def test_a_command_is_recorded_though_nobody_could_be_told(site: Site) -> None:
    def broken(_: str) -> None:
        raise StorageUnavailable("the queue does not answer")

    app = create_app(
        site.observer, health=site.health, metrics=site.metrics, gate=site.gate, asked=broken
    )  # fmt: skip
    client = TestClient(app, base_url="http://localhost:8000")
    assert client.post("/v1/commands", json=BLOCK).status_code == 202
    assert heads(site)["commands.live"] == 4


# ---------------------------------------------------------------------- outcomes


@pytest.mark.parametrize(
    ("ref", "detail"),
    [
        ("nonsense", "expected JOURNAL@POSITION"),
        ("decisions.live@1", "is no request: commands.DOMAIN@N was expected"),
        ("commands.nix@1", "is no request"),
        ("commands.live@99", "there is no commands.live@99: commands.live has records 1 to 3"),
        ("commands.live@0", "there is no commands.live@0"),
    ],
)
def test_what_was_never_asked_has_no_outcome(reading: Site, ref: str, detail: str) -> None:
    assert_problem(reading.get(f"/v1/commands/{ref}"), 404, detail)


@pytest.mark.parametrize("wait", ["-1", "21", "soon", "nan"])
def test_nobody_waits_for_ever(reading: Site, wait: str) -> None:
    assert_problem(reading.get(f"/v1/commands/commands.live@1?wait={wait}"), 400, "wait")


def test_who_waits_for_an_outcome_hears_of_it_when_it_is_there(site: Site) -> None:
    found = asked(post(site, "/v1/commands", BLOCK))
    with site.client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(outcome, site, found, wait=20)
        site.work()
        assert waiting.result()["state"] == "done"
        later = asked(post(site, "/v1/commands", {"command": "kill", "domain": "live", **BY}))
        assert outcome(site, later, wait=0.01)["state"] == "waiting"


# ---------------------------------------------------------------------- once


def test_the_same_request_under_the_same_key_is_recorded_once(site: Site) -> None:
    first = post(site, "/v1/commands", BLOCK, idempotency_key="k1")
    site.clock.advance(5 * SECOND)  # another end would follow from another now
    again = post(site, "/v1/commands", BLOCK, idempotency_key="k1")
    assert again.json() == first.json()
    assert heads(site)["commands.live"] == 4
    other = post(site, "/v1/commands", {**BLOCK, "reason": "another"}, idempotency_key="k1")
    assert_problem(other, 422, "used with another body")
    assert heads(site)["commands.live"] == 4
    assert asked(post(site, "/v1/commands", BLOCK, idempotency_key="k2"))["ref"] == "commands.live@5"


def test_a_key_lasts_a_day(site: Site) -> None:
    asked(post(site, "/v1/commands", BLOCK, idempotency_key="k1"))
    site.clock.advance(86_400 * SECOND)
    later = asked(post(site, "/v1/commands", {**BLOCK, "reason": "tomorrow"}, idempotency_key="k1"))
    assert later["ref"] == "commands.live@5"
    again = post(site, "/v1/commands", {**BLOCK, "reason": "tomorrow"}, idempotency_key="k1")
    assert again.json() == later


def test_many_who_send_the_same_at_once_leave_one_record(site: Site) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(site, "/v1/commands", BLOCK, idempotency_key="k"), range(16)))
    assert {answer.json()["ref"] for answer in answers} == {"commands.live@4"}
    assert heads(site)["commands.live"] == 4


def test_the_end_of_a_silence_sent_again_gives_the_same_answer_when_it_has_ended(site: Site) -> None:
    site.work()
    path = "/v1/silences/commands.live@3/end"
    first = post(site, path, BY, idempotency_key="k")
    site.work()
    assert post(site, path, BY, idempotency_key="k").json() == asked(first)
    assert_problem(post(site, path, BY), 404, "there is no silence 'commands.live@3'")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
def test_a_key_that_is_none_is_refused(site: Site, key: str) -> None:
    assert_problem(post(site, "/v1/commands", BLOCK, idempotency_key=key), 400, "Idempotency-Key")


# ---------------------------------------------------------------------- silences, subscriptions


def test_a_silence_stands_once_it_is_routed_and_ends_when_that_is_asked(site: Site) -> None:
    found = asked(post(site, "/v1/silences", SILENCE))
    assert (
        (found["text"])
        == "silence in domain live from 2023-11-14T22:13:20Z to 2023-11-14T23:13:20Z: types feed.*"
    )
    assert site.asked == ["routes.live"]
    assert outcome(site, found)["state"] == "waiting"
    site.work()
    done = outcome(site, found)
    assert (done["state"], [item["record"]["body"]["state"] for item in done["decisions"]]) == (
        "done",
        ["begun"],
    )
    ended = asked(post(site, f"/v1/silences/{found['ref']}/end", BY))
    site.work()
    done = outcome(site, ended)
    assert (done["state"], done["text"]) == ("done", "the silence has ended")
    assert [item["record"]["body"]["id"] for item in done["decisions"]] == [found["ref"]]


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"types": []}, "say what to silence: types, sources, subjects, tags, or everything; not both"),
        ({"everything": True}, "not both"),
        ({"domain": "nix"}, "there is no domain 'nix'"),
        ({"for": "0s"}, "the silence would end at"),
        ({"for": "later"}, "is not a duration"),
        ({"types": ["x" * 257]}, "types"),
        ({"author": None}, "author is missing"),
    ],
)
def test_a_silence_that_cannot_be_meant_is_refused(site: Site, change: dict[str, Any], detail: str) -> None:
    before = heads(site)
    body = {key: value for key, value in {**SILENCE, **change}.items() if value is not None}
    assert_problem(post(site, "/v1/silences", body), 400, detail)
    assert heads(site) == before


@pytest.mark.parametrize("silence", ["commands.live@99", "commands.nix@1", "nonsense", "routes.live@1"])
def test_a_silence_that_does_not_stand_cannot_be_ended(site: Site, silence: str) -> None:
    assert_problem(post(site, f"/v1/silences/{silence}/end", BY), 404, "there is no silence")


def test_a_subscription_is_paused_and_goes_on(site: Site) -> None:
    def state() -> bool:
        view = site.observer.journals.open("routes.live").views()["subscriptions"]
        return bool(view["ops"]["paused"])

    for action, paused in (("pause", True), ("resume", False)):
        body = {"action": action, "domain": "live", **BY}
        found = asked(post(site, "/v1/subscriptions/ops", body))
        site.work()
        done = outcome(site, found)
        assert (done["state"], state()) == ("done", paused)
        assert done["decisions"][0]["record"]["body"]["action"] == action


def test_what_is_asked_of_a_subscription_that_is_gone_by_then_is_refused(site: Site) -> None:
    body = {"action": "remove", "domain": "live", **BY}
    post(site, "/v1/subscriptions/ops", body)
    late = asked(post(site, "/v1/subscriptions/ops", {**body, "action": "pause"}))
    site.work()
    done = outcome(site, late)
    assert (done["state"], done["text"]) == ("refused", "there is no subscription 'ops'")


def test_a_subscription_that_there_is_not_is_told(site: Site) -> None:
    body = {"action": "pause", "domain": "live", **BY}
    assert_problem(post(site, "/v1/subscriptions/nix", body), 404, "domain live has no subscription 'nix'")
    assert_problem(post(site, "/v1/subscriptions/ops", {**body, "domain": "nix"}), 404, "there is no domain")


# ---------------------------------------------------------------------- incidents


def open_incidents(site: Site, domain: str = "desk") -> list[str]:
    view = site.observer.journals.open(f"events.{domain}").views()["incidents"]
    return [item["id"] for item in view["open"]]


def test_an_incident_that_no_recovery_will_end_is_ended(site: Site) -> None:
    incident, *others = open_incidents(site)
    found = asked(
        post(site, f"/v1/incidents/{incident[:10]}/end", {**BY, "reason": WILD}, idempotency_key="k")
    )
    assert found["text"] == f"end of incident {incident} in domain desk"
    assert site.asked == ["events.desk"]
    assert outcome(site, found)["state"] == "waiting"
    site.observer.domain("desk").obey()
    done = outcome(site, found)
    assert (done["state"], done["text"]) == ("done", "the incident has ended")
    (event,) = done["decisions"]
    assert (event["journal"], event["record"]["causationid"]) == ("events.desk", found["ref"])
    assert event["record"]["data"]["ended"]["reason"] == WILD
    assert open_incidents(site) == others
    again = post(site, f"/v1/incidents/{incident[:10]}/end", {**BY, "reason": WILD}, idempotency_key="k")
    assert again.json() == found
    assert_problem(post(site, f"/v1/incidents/{incident}/end", BY), 404, "no incident is open")
    site.record(range(280))
    journals = site.observer.journals
    for name in computed(journals):
        assert replay(journals, name, "1.0").equal, name


def test_an_incident_that_ended_by_itself_meanwhile_is_not_ended_again(site: Site) -> None:
    incident = open_incidents(site)[0]
    for _ in range(2):
        found = asked(post(site, f"/v1/incidents/{incident}/end", BY))
    site.observer.domain("desk").obey()
    done = outcome(site, found)
    assert (done["state"], done["text"]) == ("refused", f"no incident {incident} is open")


# ---------------------------------------------------------------------- feedback


def test_feedback_is_recorded_of_the_patterns_behind_a_record(site: Site) -> None:
    decisions = site.observer.journals.open("decisions.desk")
    ref = next(e.ref for e in decisions.scan() if getattr(e.record, "verdict", "") == "block")
    found = asked(post(site, "/v1/feedback", {"ref": ref, "right": True, "author": "anna", "note": WILD}))
    assert (found["ref"], found["outcome"]) == ("feedback.desk@1", None)
    body = note(site, found["ref"]).body
    assert (body["ref"], body["right"], body["author"], body["note"]) == (ref, True, "anna", WILD)
    assert body["patterns"][0].startswith("patterns.desk@")


@pytest.mark.parametrize(
    ("ref", "detail"),
    [
        ("patterns.desk@999999", "patterns.desk has records 1 to"),
        ("patterns.nix@1", "there is no journal 'patterns.nix'"),
        ("snapshots.desk@3", "follows from no pattern"),
        ("nonsense", "expected JOURNAL@POSITION"),
    ],
)
def test_feedback_on_nothing_is_refused(site: Site, ref: str, detail: str) -> None:
    before = heads(site)
    assert_problem(post(site, "/v1/feedback", {"ref": ref, "right": False, "author": "a"}), 400, detail)
    assert heads(site) == before


# ---------------------------------------------------------------------- who


def test_who_asked_is_recorded_as_it_was_proved(guarded: Site) -> None:
    body = {**BLOCK, "author": None}
    found = asked(guarded.client.post("/v1/commands", json=body, headers=bearer("anna")))
    said = note(guarded, found["ref"]).body
    assert (said["author"], said["principal"]) == ("anna", "token:anna")
    silence = asked(guarded.client.post("/v1/silences", json=SILENCE, headers=bearer("ben")))
    said = note(guarded, silence["ref"]).body
    assert (said["author"], said["principal"]) == ("anna", "token:ben"), "what is typed proves nothing"
    guarded.work()
    done = guarded.get(silence["outcome"], headers=bearer("eye")).json()
    assert done["state"] == "done"


def test_two_persons_are_two_principals(guarded: Site) -> None:
    def say(name: str, body: dict[str, Any]) -> dict[str, Any]:
        return asked(guarded.client.post("/v1/commands", json=body, headers=bearer(name)))

    def became(found: dict[str, Any]) -> tuple[str, str]:
        body = guarded.get(found["outcome"], headers=bearer("eye")).json()
        return body["state"], body["text"]

    first = say("anna", {**BLOCK, "author": None})
    assert first["needs_confirmation"]
    guarded.work()
    assert became(first)[0] == "needs_confirmation"
    confirm = {"command": "confirm", "request": first["ref"], "reason": "checked"}

    alone = say("anna", {**confirm, "author": "somebody else"})
    guarded.work()
    assert became(alone)[0] == "refused"
    assert "may be the same" in became(alone)[1]
    assert became(first)[0] == "needs_confirmation"

    second = say("ben", confirm)
    guarded.work()
    state, text = became(second)
    assert (state, text) == ("done", "blocked by anna, confirmed by ben: an exercise")
    assert became(first) == (state, text)
    assert guarded.gate.check("BTC/USDT", domain="live").decision == "deny"


def test_a_request_that_nobody_confirms_in_time_is_refused(guarded: Site) -> None:
    found = asked(guarded.client.post("/v1/commands", json=BLOCK, headers=bearer("anna")))
    guarded.work()
    guarded.clock.advance(901 * SECOND)
    guarded.work()
    done = guarded.get(found["outcome"], headers=bearer("eye")).json()
    assert done["state"] == "refused"
    assert "was not confirmed until" in done["text"]


@pytest.mark.parametrize(
    ("path", "body", "needed"),
    [
        ("/v1/commands", BLOCK, "operate"),
        ("/v1/silences", SILENCE, "operate"),
        ("/v1/silences/commands.live@3/end", BY, "operate"),
        ("/v1/incidents/abcdef/end", BY, "operate"),
        ("/v1/feedback", {"ref": "patterns.feed@1", "right": True}, "operate"),
        ("/v1/subscriptions/ops", {"action": "pause", "domain": "live", **BY}, "admin"),
        ("/v1/dead-letters/ab/redrive", BY, "operate"),
        ("/v1/dead-letters/ab/drop", BY, "operate"),
        ("/v1/quarantine/redrive", {"journal": "patterns.feed", "ref": "snapshots.feed@1", **BY}, "operate"),
    ],
)
def test_who_may_only_look_may_not_act(guarded: Site, path: str, body: dict[str, Any], needed: str) -> None:
    before = heads(guarded)
    name = "eye" if needed == "operate" else "anna"
    response = guarded.client.post(path, json=body, headers=bearer(name))
    assert_problem(response, 403, f"this needs the scope {needed}")
    assert guarded.client.post(path, json=body).status_code == 401
    assert heads(guarded) == before


def test_somebody_elses_key_is_another_key(guarded: Site) -> None:
    for name, ref in (("anna", "commands.live@1"), ("ben", "commands.live@2")):
        headers = {**bearer(name), "idempotency-key": "1"}
        body = {**BLOCK, "reason": name}
        found = asked(guarded.client.post("/v1/commands", json=body, headers=headers))
        assert found["ref"] == ref
