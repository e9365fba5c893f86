"""The change stream: blocks as they come, from a cursor that misses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime import operate
from observer_core.runtime.gate.changes import Changes
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit
from observer_core.web import changes as door
from observer_core.web import waiting
from tests.unit.web.test_app import Site, assert_problem


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.collect("a", "b")
    yield made
    made.observer.close()


def command(site: Site, name: str, scope: str) -> None:
    operate.command(
        site.observer.journals, site.clock, "live", command=name, scope=scope, author="kim", reason="drill"
    )
    site.work()


def changes(site: Site, **query: Any) -> Any:
    response = site.client.get("/v1/changes", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def test_what_stands_comes_first_and_then_what_changes(site: Site) -> None:
    command(site, "block", "subject:a")
    first = changes(site)
    assert [(block["scope"], block["policy"]) for block in first["blocks"]] == [("subject:a", "operator")]
    command(site, "block", "*")
    command(site, "release", "subject:a")
    found = changes(site, after=first["after"], wait=0)
    assert [(change["verdict"], change["scope"]) for change in found["changes"]] == [
        ("block", "*"), ("release", "subject:a"),
    ]  # fmt: skip
    assert found["changes"][0]["reason"]
    assert not found["reset"]
    again = changes(site, after=found["after"], wait=0)
    assert (again["changes"], again["after"]) == ([], found["after"])


def test_what_is_quarantined_stands_too_and_a_redrive_of_others_ends_nothing(site: Site) -> None:
    operate.command(
        site.observer.journals, site.clock, "live", command="block", scope="subject:b", author="kim",
        reason="drill", until_ns=site.clock.now_ns() + 60 * SECOND,
    )  # fmt: skip
    site.work()
    journal = site.observer.journals.open("decisions.live")
    view = {"quarantined.events.live@1": {"scopes": ["source:host"]}}
    head = journal.commit(journal.head(), Commit(views=view))
    blocks = changes(site)["blocks"]
    assert [(b["scope"], b["policy"], b["until"] is None) for b in blocks] == [
        ("subject:b", "operator", False), ("source:host", "quarantine", True),
    ]  # fmt: skip
    body = {"input": "decisions.live", "position": 1, "scopes": ["source:host"]}
    for count in (1, 0):
        note = Note(kind="redrive", time_ns=head.time_ns, body={**body, "count": count})
        head = journal.commit(head, Commit(records=[note]))
    found = changes(site, after=head.position - 2, wait=0)["changes"]
    assert [(change["position"], change["verdict"]) for change in found] == [(head.position, "release")]


def test_what_is_not_committed_yet_is_not_looked_for_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    class Ahead(Changes):
        """This process knows of more than is committed, as it does within a step of the stages."""

        def __init__(self) -> None:
            self.reads = 0

        def position(self, domain: str) -> int:
            return 9

        def since(self, domain: str, after: int) -> Any:
            self.reads += 1
            return {"after": 1, "changes": [1] if self.reads == 5 else [], "reset": False}

    async def read(work: Any) -> Any:
        return work()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    pauses: list[float] = []
    monkeypatch.setattr(asyncio, "sleep", sleep)
    ahead = Ahead()
    changes = door.ChangeDoor(ahead, lambda: ["live"], read, near=True)
    asyncio.run(changes._wait("live", 1, 55.0))
    assert (ahead.reads, len(pauses)) == (5, 4)


def test_who_waits_hears_of_a_block_when_it_is_committed(site: Site) -> None:
    after = changes(site)["after"]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(changes, site, after=after, wait=55)
        while not waiting.running():
            pass
        command(site, "block", "source:host")
        (change,) = waiting.result(30)["changes"]
    assert (change["scope"], change["until"]) == ("source:host", None)


def test_a_cursor_from_elsewhere_says_so(site: Site) -> None:
    found = changes(site, after=10_000, wait=0)
    assert found["reset"] is True
    assert found["after"] < 10_000


def test_a_crowd_is_sent_away(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 0)
    response = site.client.get("/v1/changes?after=0&wait=0")
    assert_problem(response, 503, "clients wait for changes already")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    ("query", "status", "detail"),
    [
        ("domain=mars", 404, "there is no domain 'mars'; known are live"),
        ("after=x", 400, "after is 'x'; the cursor of an earlier answer was expected"),
        ("after=-1", 400, "after is '-1'"),
        ("after=1&wait=56", 400, "wait is '56'; 0 to 55 seconds were expected"),
        ("after=1&wait=nan", 400, "wait is 'nan'"),
        ("after=1&after=2", 400, "parameter after is given more than once"),
        ("since=1", 400, "parameter 'since' is unknown; there are domain, after and wait"),
    ],
)
def test_a_bad_question_is_a_problem(site: Site, query: str, status: int, detail: str) -> None:
    assert_problem(site.client.get(f"/v1/changes?{query}"), status, detail)
