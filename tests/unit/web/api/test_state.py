"""How everything stands, as the API says it: status, board, what stands, policies, ledger, storage, logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime import operate
from observer_core.safety.tokens import digest_of, new_token
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.errors import StorageUnavailable
from observer_core.storage.counting import CountingStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.web.api import models
from observer_core.web.api.kept import Kept
from tests.support.web import NOW, SOURCES, START_NS, TELL, Site, assert_problem

KINDS: dict[str, Any] = {
    "/v1/status": models.Status,
    "/v1/sources": models.Page[models.SourceStatus],
    "/v1/board?domain=desk": models.Board,
    "/v1/blocks": models.BlockPage,
    "/v1/blocks?domain=desk&standing=false": models.BlockPage,
    "/v1/overrides": models.Page[models.Override],
    "/v1/requests": models.Page[models.ConfirmationRequest],
    "/v1/silences": models.Page[models.Silence],
    "/v1/subscriptions": models.Page[models.Subscription],
    "/v1/policies": models.Policies,
    "/v1/ledger": models.Ledger,
    "/v1/storage": models.Storage,
    "/v1/logs": models.Log,
}
LISTS = ("/v1/sources", "/v1/overrides", "/v1/requests", "/v1/silences", "/v1/subscriptions")


def items(site: Site, path: str) -> list[dict[str, Any]]:
    response = site.get(path)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["items"]
    return found


@pytest.mark.parametrize("path", KINDS)
def test_answers_are_as_they_are_described_with_data_and_without(
    reading: Site, empty: Site, path: str
) -> None:
    for site in (reading, empty):
        response = site.get(path)
        if site is empty and "desk" in path:
            assert_problem(response, 404, "there is no domain 'desk'; known are live")
            continue
        assert response.status_code == 200, response.text
        KINDS[path].model_validate_json(response.content)


@pytest.mark.parametrize(
    "path", [path for path in KINDS if path not in ("/v1/status", "/v1/ledger", "/v1/storage", "/v1/logs")]
)
def test_a_domain_that_there_is_none_of_is_not_found(reading: Site, path: str) -> None:
    response = reading.get(path.partition("?")[0], params={"domain": "nix"})
    assert_problem(response, 404, "there is no domain 'nix'; known are live, desk")


# ---------------------------------------------------------------------- status


def test_status_says_how_every_domain_stands(reading: Site) -> None:
    value = reading.get("/v1/status").json()
    assert (value["runtime"], value["refresh_ms"], value["now_ns"]) == ("standalone", 1_000, NOW)
    assert value["time"] == format_time(NOW)
    live, desk = value["domains"]
    assert (live["domain"], live["mode"], desk["domain"], desk["mode"]) == (
        "live",
        "live",
        "desk",
        "recorded",
    )
    assert live["gate"] == {"open": 2, "blocked": 1, "unknown": 0}
    assert desk["gate"] == {"open": 2, "blocked": 1, "unknown": 0}
    assert (live["blocks"], live["silences"]) == (1, 1)
    assert [source["source"] for source in live["sources"]] == ["feed", "host"]


def test_status_is_that_of_now_not_of_the_last_answer(site: Site) -> None:
    def live() -> dict[str, Any]:
        found: dict[str, Any] = site.get("/v1/status").json()["domains"][0]
        return found

    assert live()["gate"]["unknown"] == 0
    site.clock.advance(61 * SECOND)
    assert live()["gate"] == {"open": 0, "blocked": 1, "unknown": 2}
    assert {source["status"] for source in live()["sources"]} == {"stale"}
    operate.command(
        site.observer.journals, site.clock, "live", command="kill", scope="*", author="anna", reason="x"
    )
    site.work()
    assert (live()["killed"], live()["gate"]["blocked"]) == (["*"], 3)


def test_health_is_the_reports_and_fails_at_once_with_the_loop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = site.health.report()
    monkeypatch.setattr(site.health, "report", lambda: {**report, "status": "warn"})
    assert site.get("/v1/status").json()["health"] == "warn"
    monkeypatch.setattr(site.health, "live", lambda: False)
    assert site.get("/v1/status").json()["health"] == "fail"


def test_status_says_that_the_storage_cannot_answer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.get("/v1/status")

    def away(*_: Any, **__: Any) -> Any:
        raise StorageUnavailable("gone")

    monkeypatch.setattr(site.observer.journals, "names", away)
    site.clock.advance(SECOND)
    site.collect("feed", "BTC/USDT")  # so that it is read again
    for path in ("/v1/status", "/v1/board", "/v1/sources"):
        assert_problem(site.get(path), 503, "cannot answer now")
    monkeypatch.undo()
    assert site.get("/v1/status").status_code == 200


def functions_app(folder: Path, storage: Storage | None = None) -> Site:
    """As the Functions host calls it, by somebody with a token."""
    token = new_token()
    tokens = [{"name": "kim", "sha256": digest_of(token).hex(), "scopes": ["admin"]}]
    site = Site(folder, storage, runtime="functions", web={"token": tokens})
    site.client.headers["authorization"] = f"Bearer {token}"
    return site


def test_on_an_account_those_who_ask_within_moments_share_an_answer(tmp_path: Path) -> None:
    storage = CountingStorage(MemoryStorage())
    site = functions_app(tmp_path, storage).filled()
    with site.client:
        first = site.get("/v1/status").json()
        assert (first["refresh_ms"], first["runtime"]) == (5_000, "functions")
        before = storage.operations.counts()
        site.clock.advance(SECOND)
        for _ in range(20):
            assert site.get("/v1/status").json() == first
        assert storage.operations.counts() == before
    site.close()


def test_sources_are_those_of_all_domains_or_of_one(reading: Site, empty: Site) -> None:
    assert [item["source"] for item in items(reading, "/v1/sources")] == ["feed", "host", "desk"]
    (desk,) = items(reading, "/v1/sources?domain=desk")
    assert (desk["status"], desk["stale_subjects"], desk["subjects"]) == ("ok", 1, 3)
    assert {item["status"] for item in items(empty, "/v1/sources")} == {"unknown"}
    assert [item["source"] for item in items(empty, "/v1/sources")] == [item["name"] for item in SOURCES]


# ---------------------------------------------------------------------- board


def test_the_board_has_every_subject_with_its_reasons(reading: Site) -> None:
    board = reading.get("/v1/board").json()
    assert board["domain"] == "live"
    assert [(row["subject"], row["state"]) for row in board["rows"]] == [
        ("ETH/USDT", "blocked"), ("BTC/USDT", "open"), ("cpu", "open"),
    ]  # fmt: skip
    blocked = board["rows"][0]
    (reason,) = (board["reasons"][place] for place in blocked["reasons"])
    assert (reason["code"], reason["policy"]) == ("blocked", "operator")
    assert (blocked["since_ns"], blocked["until_ns"]) == (NOW, NOW + 3600 * SECOND)
    assert board["scopes"] == ["subject:ETH/USDT"]
    for row in board["rows"]:
        gate = reading.get(f"/v1/gate/{row['subject']}").json()
        assert (gate["decision"] == "allow") == (row["state"] == "open")


def test_a_subject_nobody_observes_is_on_the_board_when_something_stands_on_it(site: Site) -> None:
    operate.command(
        site.observer.journals, site.clock, "live", command="block", scope="subject:<b>X</b>",
        author="anna", reason="a typo",
    )  # fmt: skip
    site.work()
    row = next(row for row in site.get("/v1/board").json()["rows"] if row["subject"] == "<b>X</b>")
    assert (row["state"], row["sources"], row["until_ns"]) == ("blocked", [], None)


# ---------------------------------------------------------------------- what stands


def test_blocks_stand_or_stood(reading: Site) -> None:
    (block,) = items(reading, "/v1/blocks")
    assert (block["scope"], block["policy"], block["released_ns"]) == ("subject:ETH/USDT", "operator", None)
    shock, stale = items(reading, "/v1/blocks?domain=desk&standing=false")
    assert (shock["policy"], shock["scope"], stale["policy"]) == (
        "price-shock",
        "subject:A/USD",
        "stale-feed",
    )
    assert shock["released_ns"] == shock["until_ns"] > shock["since_ns"]
    assert shock["released_by"].startswith("decisions.desk@")
    assert (stale["released_ns"], stale["lifted"]) == (None, False)


@pytest.mark.parametrize(
    ("query", "policies"),
    [
        ("subject=A/USD", ["price-shock"]),
        ("scope=subject:B*", ["stale-feed"]),
        ("scope=source:*", []),
        ("limit=1", ["price-shock"]),
        (f"until={format_time(START_NS)}", []),
        ("since=5m", ["stale-feed"]),
        (f"since={format_time(START_NS)}&until=30m", ["price-shock", "stale-feed"]),
    ],
)
def test_blocks_are_filtered(reading: Site, query: str, policies: list[str]) -> None:
    path = f"/v1/blocks?domain=desk&standing=false&{query}"
    assert [item["policy"] for item in items(reading, path)] == policies


def test_a_page_of_blocks_goes_on_at_its_cursor(reading: Site) -> None:
    first = reading.get("/v1/blocks?domain=desk&standing=false&limit=1").json()
    second = reading.get(f"/v1/blocks?domain=desk&standing=false&limit=1&cursor={first['next']}").json()
    assert [page["items"][0]["policy"] for page in (first, second)] == ["price-shock", "stale-feed"]


def test_a_block_of_a_source_covers_its_subjects(site: Site) -> None:
    for scope in ("*", "source:feed", "source:host"):
        operate.command(
            site.observer.journals, site.clock, "live", command="block", scope=scope, author="a", reason="b"
        )
    site.work()
    found = {item["scope"] for item in items(site, "/v1/blocks?subject=BTC/USDT")}
    assert found == {"*", "source:feed"}
    assert found == {item["scope"] for item in items(site, "/v1/blocks?subject=BTC/USDT&standing=false")}


def test_a_lifted_block_says_so(site: Site) -> None:
    operate.command(
        site.observer.journals, site.clock, "desk", command="override", scope="subject:B/USD", author="anna",
        reason="a test", until_ns=2**62,
    )  # fmt: skip
    site.observer.domain("desk").work(refresh=True, flush=True)
    stale = next(
        item
        for item in items(site, "/v1/blocks?domain=desk&standing=false")
        if item["policy"] == "stale-feed"
    )
    assert stale["lifted"]
    assert items(site, "/v1/blocks?domain=desk") == []


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("cursor=MQ", "is no cursor"),
        ("since=yesterday", "is not a time"),
        ("limit=0", "limit"),
        ("standing=maybe", "standing"),
        ("scope=", "scope"),
        ("nix=1", "nix"),
    ],
)
def test_what_cannot_be_meant_is_refused(reading: Site, query: str, part: str) -> None:
    assert_problem(reading.get(f"/v1/blocks?{query}"), 400, part)


def test_overrides_and_requests_come_with_the_reason_that_was_given(tmp_path: Path) -> None:
    site = Site(tmp_path, control={"two_person": ["kill"]}).filled()
    (override,) = items(site, "/v1/overrides")
    assert (override["scope"], override["author"], override["reason"]) == (
        "subject:DOGE/USDT", "anna", "an exercise",
    )  # fmt: skip
    assert override["until_ns"] == NOW + 3600 * SECOND
    assert items(site, "/v1/requests") == []
    place = operate.command(
        site.observer.journals, site.clock, "live", command="kill", scope="*", author="bo", principal="u:bo",
        reason="it smells",
    )  # fmt: skip
    site.work()
    (request,) = items(site, "/v1/requests")
    assert (request["request"], request["command"], request["reason"]) == (place, "kill", "it smells")
    assert (request["principal"], request["until_ns"]) == ("u:bo", None)
    assert site.get("/v1/status").json()["domains"][0]["requests"] == 1
    site.close()


def test_silences_and_subscriptions_are_those_of_all_domains_or_of_one(reading: Site) -> None:
    (silence,) = items(reading, "/v1/silences")
    assert (silence["id"], silence["domain"], silence["match"]) == (
        "commands.live@3",
        "live",
        {"subjects": ["X*"]},
    )
    assert items(reading, "/v1/silences?domain=desk") == []
    found = items(reading, "/v1/subscriptions")
    assert [(item["name"], item["domain"]) for item in found] == [("ops", "live"), ("ops", "desk")]
    assert all(item["configured"] for item in found)
    (one,) = items(reading, "/v1/subscriptions?domain=desk")
    assert (one["stream"], one["state"], one["attempt"]) == ("decisions", "active", 0)


def test_no_sink_shows_a_secret(tmp_path: Path) -> None:
    sinks: list[dict[str, Any]] = [
        {"kind": "webhook", "url": "https://u:p4ss@hooks.example/s3cret?k=t0ken", "secret": "hunter2"},
        {"kind": "slack", "token": {"env": "SLACK_TOKEN"}, "channel": "C0123ABCD"},
        {"kind": "teams", "url": {"env": "TEAMS_URL"}},
        {"kind": "email", "host": "mail.example", "sender": "a@b.c", "to": ["d@e.f"], "user": "us3r",
         "password": {"env": "MAIL_PASSWORD"}},
        {"kind": "file", "path": "/srv/pr1vate/out.ndjson"},
        {"kind": "queue", "queue": "results"},
        {"kind": "log"},
    ]  # fmt: skip
    told = [{**TELL, "name": f"s{number}", "sink": sink} for number, sink in enumerate(sinks)]
    site = Site(tmp_path, subscription=told).filled()
    response = site.get("/v1/subscriptions?domain=live")
    for secret in ("p4ss", "s3cret", "t0ken", "hunter2", "us3r", "pr1vate"):
        assert secret not in response.text
    assert [item["sink"]["kind"] for item in response.json()["items"]] == [sink["kind"] for sink in sinks]
    assert response.json()["items"][5]["sink"]["to"] == "queue results"
    site.close()


# ---------------------------------------------------------------------- policies, ledger, storage, logs


def test_policies_are_told_as_settings_and_as_text(reading: Site) -> None:
    found = reading.get("/v1/policies?domain=desk").json()
    assert (found["domain"], found["epoch"], found["version"]) == ("desk", 1, "1.0")
    assert found["items"][0]["text"].startswith('[[policy]]\nname = "stale-feed"')
    assert found["items"][0]["settings"]["verdict"] == "block"


def test_the_ledger_says_what_was_verified(reading: Site) -> None:
    found = reading.get("/v1/ledger").json()
    assert found["heads"]["decisions.desk"]["position"] == 4
    assert found["chain"]["sound"]


def test_storage_is_looked_at_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with site.client:
        first = site.get("/v1/storage").json()
        assert {item["journal"] for item in first["journals"]} == set(site.observer.journals.names())
        monkeypatch.setattr(site.observer.journals, "names", lambda *_: 1 / 0)
        assert site.get("/v1/storage").json() == first


def test_logs_are_the_files_of_this_process(site: Site) -> None:
    folder = site.observer.settings.paths.logs
    folder.mkdir(parents=True)
    folder.joinpath("decision.log").write_text(
        '{"event":"<script>","level":"info"}\n{"event":"b","level":"error"}\n'
    )
    found = site.get("/v1/logs?file=decision&lines=1").json()
    assert [line["event"] for line in found["lines"]] == ["b"]
    assert len(site.get("/v1/logs?file=decision").json()["lines"]) == 2
    assert [x["event"] for x in site.get("/v1/logs?file=decision&level=error").json()["lines"]] == ["b"]
    for query, part in (
        ("file=../x", "observer"),
        ("lines=0", "lines"),
        ("lines=2001", "lines"),
        ("level=x", "level"),
    ):
        assert_problem(site.get(f"/v1/logs?{query}"), 400, part)
    folder.joinpath("pattern.log").mkdir()
    assert_problem(site.get("/v1/logs?file=pattern"), 503, "the log files cannot be read")


def test_the_functions_app_says_where_its_logs_are(tmp_path: Path) -> None:
    site = functions_app(tmp_path)
    assert_problem(site.get("/v1/logs"), 501, "Application Insights")
    site.close()


# ---------------------------------------------------------------------- what is kept


def run(*works: Callable[[], Any]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*(work() for work in works))

    return asyncio.run(together())


def test_those_who_ask_together_share_one_answer() -> None:
    kept, made = Kept[int](0.0), list[int]()

    async def work() -> int:
        made.append(1)
        await asyncio.sleep(0)
        return len(made)

    assert run(*[lambda: kept.get(work)] * 5) == [1] * 5
    assert run(lambda: kept.get(work)) == [2]


def test_a_failure_is_told_and_not_kept() -> None:
    kept, left = Kept[int](60.0, grace=60.0), [1]

    async def work() -> int:
        if left:
            raise StorageUnavailable(f"away {left.pop()}")
        return 7

    with pytest.raises(StorageUnavailable):
        run(lambda: kept.get(work))
    assert run(lambda: kept.get(work)) == [7]


def test_an_old_answer_is_given_while_a_new_one_is_worked_out_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("observer_core.web.api.kept.time.monotonic", lambda: now[0])
    kept, made = Kept[int](5.0, grace=10.0), list[int]()

    async def work() -> int:
        made.append(1)
        return len(made)

    async def asked() -> list[int]:
        found = [await kept.get(work), await kept.get(work)]
        now[0] += 6
        found.append(await kept.get(work))  # old, and a new one begun
        await asyncio.sleep(0)
        found.append(await kept.get(work))
        now[0] += 16
        return [*found, await kept.get(work)]

    assert asyncio.run(asked()) == [1, 1, 1, 2, 3]
