"""What was given up on or set aside is listed, and comes back by an act that is a record."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from observer_core.automation.dead_letters import DeadLetters
from observer_core.decision_pipeline.pipeline import DecisionPipeline
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.canonical import encode
from observer_core.shared.records import Note
from observer_core.shared.stage import Entry
from observer_core.web.api import models
from tests.support.web import Site, assert_problem

BY = {"author": "anna", "reason": "the account is back"}
BODY = b'{"domain":"live"}'


def letters_of(site: Site) -> DeadLetters:
    return DeadLetters(site.observer.journals, site.storage.queues, site.clock)


def bury(site: Site, *names: str, body: bytes = BODY, queue: str = "observer-decide") -> list[str]:
    letters = letters_of(site)
    return [letters.bury(queue, "decide", body, message_id=name, dequeue_count=5) for name in names]


def listed(site: Site, path: str = "/v1/dead-letters", **query: Any) -> dict[str, Any]:
    response = site.get(path, params=query)
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    kind = models.DeadLetter if "letters" in path else models.Quarantined
    for item in body["items"]:
        kind.model_validate(item)
    return body


def act(site: Site, path: str, body: dict[str, Any] = BY, **headers: str) -> Any:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.client.post(path, json=body, headers=given)


# ---------------------------------------------------------------------- letters


def test_letters_are_listed_newest_first_in_pages(site: Site) -> None:
    assert listed(site) == {"items": [], "next": None}
    ids = bury(site, "m1", "m2", "m3")
    first = listed(site, limit=2)
    second = listed(site, limit=2, cursor=first["next"])
    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert first["items"][0] == {
        "id": ids[2], "buried_ns": site.clock.now_ns(), "queue": "observer-decide", "state": "buried",
        "dequeue_count": 5, "text": BODY.decode(),
    }  # fmt: skip


def test_a_page_goes_on_though_letters_were_answered_meanwhile(site: Site) -> None:
    ids = bury(site, "m1", "m2", "m3")
    first = listed(site, limit=2, state="buried")
    assert act(site, f"/v1/dead-letters/{ids[1]}/drop").status_code == 202
    second = listed(site, limit=2, state="buried", cursor=first["next"])
    assert [item["id"] for item in second["items"]] == [ids[0]]
    assert [item["id"] for item in listed(site, state="dropped")["items"]] == [ids[1]]


def test_of_a_long_message_the_beginning_is_shown_and_nothing_of_it_runs(site: Site) -> None:
    bury(site, "m1", body=b"<script>alert(1)</script>\xff" + b"x" * 9_000)
    (item,) = listed(site)["items"]
    assert item["text"].startswith("<script>alert(1)</script>\\xffxxx")
    assert len(item["text"]) == 500
    assert site.get("/v1/dead-letters").headers["content-type"] == "application/json"


@pytest.mark.parametrize("query", [{"cursor": "nonsense!"}, {"limit": 0}, {"limit": 1001}, {"state": "lost"}])
def test_what_cannot_be_asked_of_the_list_is_refused(reading: Site, query: dict[str, Any]) -> None:
    assert_problem(reading.get("/v1/dead-letters", params=query), 400)


@pytest.mark.parametrize(("what", "state", "sent"), [("redrive", "redriven", 1), ("drop", "dropped", 0)])
def test_a_letter_is_answered_once_under_a_key(site: Site, what: str, state: str, sent: int) -> None:
    (identity,) = bury(site, "m1")
    path = f"/v1/dead-letters/{identity[:12]}/{what}"
    first = act(site, path, idempotency_key="k")
    assert (first.status_code, first.json()["outcome"]) == (202, None)
    assert first.headers["location"] == "/v1/records/deadletters.live@2"
    assert act(site, path, idempotency_key="k").json() == first.json()
    assert_problem(act(site, path, {**BY, "reason": "x"}, idempotency_key="k"), 422)
    assert site.storage.queues.length("observer-decide") == sent
    (letter,) = letters_of(site).letters()
    assert (letter.state, letter.ended_by, letter.reason) == (state, BY["author"], BY["reason"])
    assert site.observer.journals.open("deadletters.live").head().position == 2


@pytest.mark.parametrize("identity", ["abc", "zz"])
def test_a_letter_that_there_is_not_is_told(site: Site, identity: str) -> None:
    before = site.observer.journals.open("deadletters.live").head()
    assert_problem(act(site, f"/v1/dead-letters/{identity}/redrive"), 404, "no dead letter begins with")
    assert site.observer.journals.open("deadletters.live").head() == before


def test_a_letter_to_a_subscriber_who_refuses_again_stays(site: Site) -> None:
    """The webhook of `ops` is a name that does not resolve here."""
    ref = "decisions.live@2"
    body = encode({"domain": "live", "subscription": "ops", "ref": ref, "detail": "no answer"})
    (identity,) = bury(site, "m1", body=body, queue="subscription ops")
    refused = act(site, f"/v1/dead-letters/{identity}/redrive")
    problem = assert_problem(refused, 400, f"ops did not take {ref}")
    assert "hunter2" not in str(problem)
    assert letters_of(site).letter(identity).state == "buried"


def test_a_slow_subscriber_holds_up_no_kill_switch(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, gone_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> None:
        under_way.set()
        assert gone_on.wait(20)

    monkeypatch.setattr("observer_core.runtime.acts.letters.resend", slow)
    (identity,) = bury(site, "m1", queue="subscription ops")
    with site.client, ThreadPoolExecutor(1) as pool:
        slowly = pool.submit(act, site, f"/v1/dead-letters/{identity}/redrive")
        assert under_way.wait(20)
        kill = {"command": "kill", "domain": "live", **BY}
        assert act(site, "/v1/commands", kill).status_code == 202
        assert not slowly.done()
        gone_on.set()
        assert slowly.result().status_code == 202


# ---------------------------------------------------------------------- quarantine


def poisoned(site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    """A snapshot of `feed` that its stage cannot work on."""
    snapshots = site.observer.journals.open("snapshots.feed")
    position = snapshots.head().position + 1
    work = Recogniser.transition

    def transition(self: Any, state: Any, entry: Entry) -> Any:
        if (entry.journal, entry.position) == (snapshots.name, position):
            raise ValueError("<b>poison</b>")
        return work(self, state, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Recogniser, "transition", transition)
        site.collect("feed", "BTC/USDT")
        site.work()
    return f"snapshots.feed@{position}"


def test_what_is_set_aside_is_listed_and_comes_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = poisoned(site, monkeypatch)
    (item,) = listed(site, "/v1/quarantine")["items"]
    assert item == {
        "journal": "patterns.feed", "ref": ref, "scopes": ["source:feed"],
        "error": "ValueError: <b>poison</b>", "time_ns": site.clock.now_ns(),
    }  # fmt: skip
    body = {"journal": "patterns.feed", "ref": ref, **BY}
    found = act(site, "/v1/quarantine/redrive", body, idempotency_key="k")
    assert (found.status_code, found.json()["text"].split()[:4]) == (202, [ref, "comes", "again", "as"])
    again = found.json()["ref"]
    assert again.startswith("snapshots.feed@")
    assert site.asked == ["patterns.feed"]
    site.work()
    assert listed(site, "/v1/quarantine") == {"items": [], "next": None}
    before = site.observer.journals.open("snapshots.feed").head()
    assert act(site, "/v1/quarantine/redrive", body, idempotency_key="k").json()["ref"] == again
    assert site.observer.journals.open("snapshots.feed").head() == before
    notes = [e.record for e in site.observer.journals.open("patterns.feed").scan()]
    (note,) = [r for r in notes if isinstance(r, Note) and r.kind == "redrive" and not r.body["count"]]
    assert (note.body["author"], note.body["reason"]) == (BY["author"], BY["reason"])


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"journal": "patterns.nix"}, "there is no journal 'patterns.nix'"),
        ({"ref": "snapshots.nix@1"}, "there is no journal 'snapshots.nix'"),
        ({"ref": "snapshots.feed@1"}, "is not quarantined in patterns.feed"),
        ({"ref": "nonsense"}, "expected JOURNAL@POSITION"),
        ({"reason": "  "}, "reason: expected"),
    ],
)
def test_what_is_not_set_aside_does_not_come_again(site: Site, change: dict[str, str], detail: str) -> None:
    journals = site.observer.journals
    before = {name: journals.open(name).head() for name in journals.names()}
    body = {"journal": "patterns.feed", "ref": "snapshots.feed@1", **BY, **change}
    assert_problem(act(site, "/v1/quarantine/redrive", body), 400, detail)
    assert {name: journals.open(name).head() for name in journals.names()} == before


def test_a_command_that_was_set_aside_was_not_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    found = act(site, "/v1/commands", {"command": "kill", "domain": "live", **BY}).json()
    work = DecisionPipeline.transition

    def transition(self: Any, state: Any, entry: Entry) -> Any:
        if entry.ref == found["ref"]:
            raise ValueError("poison")
        return work(self, state, entry)

    with monkeypatch.context() as patch:
        patch.setattr(DecisionPipeline, "transition", transition)
        site.work()
    outcome = site.get(found["outcome"]).json()
    assert (outcome["state"], outcome["decisions"]) == ("refused", [])
    assert "set it aside" in outcome["text"]
