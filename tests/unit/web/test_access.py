"""Who calls: everybody on this machine, or whoever shows a token; what he may do; and what nobody learns."""

from __future__ import annotations

import hmac
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from observer_core.logs.configure import configure
from observer_core.safety.tokens import PREFIX, digest_of, new_token
from observer_core.shared.clock import SECOND, format_time
from tests.support.web import NOW, Site, assert_problem

NAMES = ("reader", "pusher", "operator", "admin", "alpha", "ended")
TOKENS = {name: f"{PREFIX}{name:x<43}" for name in NAMES}
SCOPES = {"pusher": "push", "operator": "operate", "admin": "admin"}
MORE: dict[str, dict[str, Any]] = {
    "alpha": {"caller": "alpha"}, "ended": {"until": format_time(NOW + 60 * SECOND)},
}  # fmt: skip
ROW = {"subject": "BTC/USDT", "price": 1.5}
QUESTION = {
    "subject": {"type": "strategy", "id": "alpha"}, "action": {"name": "order"},
    "resource": {"type": "instrument", "id": "BTC/USDT"},
}  # fmt: skip


def configured(*names: str) -> dict[str, Any]:
    return {
        "token": [
            {
                "name": name, "sha256": digest_of(TOKENS[name]).hex(), "scopes": [SCOPES.get(name, "read")],
                **MORE.get(name, {}),
            }
            for name in names
        ]
    }  # fmt: skip


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {TOKENS[name]}"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, web=configured(*TOKENS))
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    """Without tokens."""
    made = Site(tmp_path)
    yield made
    made.close()


# ---------------------------------------------------------------------- who it is


def test_without_tokens_everybody_on_this_machine_may_do_everything(here: Site) -> None:
    for headers in ({}, {"authorization": "Bearer whatever"}):
        who = here.get("/v1/whoami", headers=headers).json()
        assert who == {
            "principal": None, "name": None, "scopes": ["read", "push", "operate", "admin"],
            "proof": "loopback", "two_person": [], "confirm_within_ns": 900 * SECOND,
        }  # fmt: skip
    assert here.client.post("/v1/snapshots/feed", json=ROW).status_code == 202


@pytest.mark.parametrize(
    ("name", "scopes"),
    [
        ("reader", ["read"]),
        ("pusher", ["push"]),
        ("operator", ["read", "operate"]),
        ("admin", ["read", "operate", "admin"]),
    ],
)
def test_a_token_says_who_it_is_and_gives_its_scopes_and_those_they_include(
    site: Site, name: str, scopes: list[str]
) -> None:
    who = site.get("/v1/whoami", headers=bearer(name)).json()
    assert (who["principal"], who["name"], who["proof"]) == (f"token:{name}", name, "token")
    assert who["scopes"] == scopes


def test_what_needs_two_persons_is_told(tmp_path: Path) -> None:
    site = Site(tmp_path, control={"two_person": ["kill"], "confirm_within": "5m"})
    who = site.get("/v1/whoami").json()
    assert (who["two_person"], who["confirm_within_ns"]) == (["kill"], 300 * SECOND)
    site.close()


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_may_be_written_in_any_way(site: Site, scheme: str) -> None:
    headers = {"authorization": scheme + TOKENS["reader"]}
    assert site.get("/v1/whoami", headers=headers).status_code == 200


def test_who_says_nothing_is_told_what_to_send(site: Site) -> None:
    response = site.get("/v1/whoami")
    assert_problem(response, 401, "Authorization: Bearer qts_…", "observer token new", "x-functions-key")
    assert response.headers["www-authenticate"] == 'Bearer realm="QTS Observer"'


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Basic a2ltOnB3", TOKENS["reader"], f"Token {TOKENS['reader']}",
        f"Bearer {TOKENS['reader']}x", f"Bearer {TOKENS['reader'][:-1]}",
        f"Bearer {TOKENS['reader'].upper()}",
        f"Bearer {digest_of(TOKENS['reader']).hex()}", "Bearer " + PREFIX + "x" * 5_000, "Bearer qts_é",
        f"Bearer {TOKENS['reader']}, Bearer {TOKENS['reader']}",
    ],
)  # fmt: skip
def test_what_is_no_token_that_is_known_is_refused(site: Site, header: str) -> None:
    response = site.get("/v1/whoami", headers={"authorization": header.encode("latin-1")})
    body = assert_problem(response, 401)
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert TOKENS["reader"] not in json.dumps(body)


def test_two_headers_are_refused_though_one_is_right(site: Site) -> None:
    headers = [("authorization", f"Bearer {TOKENS['reader']}")] * 2
    assert_problem(site.get("/v1/whoami", headers=headers), 401, "one header")


def test_a_token_ends_when_it_was_to(site: Site) -> None:
    assert site.get("/v1/whoami", headers=bearer("ended")).status_code == 200
    site.clock.set(NOW + 60 * SECOND)
    response = site.get("/v1/whoami", headers=bearer("ended"))
    assert_problem(response, 401, "the token of ended has ended at 2023-11-14T22:14:20Z", "make another one")


def test_every_token_is_compared_in_constant_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    plainly = hmac.compare_digest

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return plainly(left, right)

    monkeypatch.setattr("observer_core.web.access.hmac.compare_digest", compare)
    known = [digest_of(token) for token in TOKENS.values()]
    for token in (TOKENS["reader"], TOKENS["ended"], "qts_nobody"):
        compared.clear()
        site.get("/v1/whoami", headers={"authorization": f"Bearer {token}"})
        assert compared == [(digest, digest_of(token)) for digest in known]


# ---------------------------------------------------------------------- what he may do


def test_a_scope_that_is_missing_is_403_and_named(site: Site) -> None:
    response = site.client.post("/v1/snapshots/feed", json=ROW, headers=bearer("admin"))
    assert_problem(
        response, 403, "needs the scope push", "the scopes of this caller are: read, operate, admin"
    )
    assert response.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="push"'
    assert_problem(site.get("/v1/gate/a", headers=bearer("pusher")), 403, "needs the scope read")
    assert site.client.post("/v1/snapshots/feed", json=ROW, headers=bearer("pusher")).status_code == 202
    assert site.observer.journals.open("snapshots.feed").head().position == 2  # an epoch, and that one


@pytest.mark.parametrize("path", ["/v1/evaluation", "/access/v1/evaluation"])
def test_a_token_of_one_caller_asks_as_nobody_else(site: Site, path: str) -> None:
    assert site.client.post(path, json=QUESTION, headers=bearer("alpha")).status_code == 200
    other = {**QUESTION, "subject": {"type": "strategy", "id": "beta"}}
    response = site.client.post(path, json=other, headers=bearer("alpha"))
    assert_problem(response, 403, "subject.id is 'beta'; this token may ask as 'alpha' only")
    assert site.client.post(path, json=other, headers=bearer("reader")).status_code == 200
    assert site.observer.journals.open("gate.live").head().position == 3  # an epoch, and two answers


def test_so_it_is_for_each_of_several_questions(site: Site) -> None:
    body = {**QUESTION, "evaluations": [{}, {"subject": {"type": "strategy", "id": "beta"}}]}
    first, second = site.client.post("/v1/evaluations", json=body, headers=bearer("alpha")).json()[
        "evaluations"
    ]
    assert first["context"]["id"] == "gate.live@2"
    assert second["decision"] is False
    assert second["context"]["error"]["status"] == 403


def test_anybody_sees_that_it_lives_and_the_statuses_and_nothing_more(site: Site) -> None:
    site.health.beat()
    for path in ("/livez", "/readyz"):
        assert site.get(path).status_code == 200
    report = site.get("/health").json()
    assert set(report) == {"status", "checks"}
    findings = [finding for found in report["checks"].values() for finding in found]
    assert findings
    assert all(set(finding) == {"status"} for finding in findings)
    full = site.get("/health", headers=bearer("reader")).json()
    assert full.keys() > report.keys()
    assert site.get("/health", headers=bearer("pusher")).json().keys() == report.keys()
    assert_problem(site.get("/v1/health"), 401)
    assert_problem(site.get("/health", headers={"authorization": "Bearer qts_x"}), 401)


# ---------------------------------------------------------------------- who is wrong too often


def test_ten_wrong_ones_a_minute_are_looked_into_and_right_ones_always(site: Site) -> None:
    wrong = {"authorization": "Bearer qts_wrong"}
    with capture_logs() as lines:
        statuses = [site.get("/v1/whoami", headers=wrong).status_code for _ in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    assert len(lines) == 10
    assert (lines[0]["path"], lines[0]["reason"]) == ("/v1/whoami", "unknown token")
    assert lines[-1]["more"]
    response = site.get("/v1/whoami", headers=wrong)
    assert_problem(response, 429, "too many wrong credentials", "right ones are taken")
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert site.get("/v1/whoami", headers=bearer("reader")).status_code == 200
    assert site.get("/v1/whoami").status_code == 401


def test_who_shows_nothing_is_not_counted_as_wrong(site: Site) -> None:
    assert {site.get("/v1/whoami").status_code for _ in range(15)} == {401}
    assert site.get("/v1/whoami", headers={"authorization": "Bearer x"}).status_code == 401


def test_refusals_are_counted(site: Site) -> None:
    site.get("/v1/whoami")
    for _ in range(11):
        site.get("/v1/whoami", headers={"authorization": "Bearer x"})
    text = site.get("/metrics", headers=bearer("reader")).text
    for reason, count in (("no_credentials", 1), ("wrong_credentials", 10), ("too_many", 1)):
        assert f'observer_refusals_total{{reason="{reason}"}} {count}.0' in text


# ---------------------------------------------------------------------- what nobody learns


def test_no_token_is_ever_in_a_log_an_answer_a_record_or_a_text(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = [*TOKENS.values(), new_token()]
    before = structlog.get_config()
    writing = configure(tmp_path / "logs", level="debug", console=False)
    try:
        site = Site(tmp_path, web=configured(*TOKENS))
        site.clock.set(NOW + 60 * SECOND)
        answers = []
        with caplog.at_level(logging.DEBUG):
            for token in secrets:
                headers = {"authorization": f"Bearer {token}"}
                for path in ("/v1/whoami", "/health", "/metrics", "/", f"/nothing/{secrets[-1]}"):
                    answers.append(site.get(path, headers=headers))
                answers.append(site.client.post("/v1/evaluation", json=QUESTION, headers=headers))
            answers.append(site.get("/v1/whoami", headers={"authorization": f"Basic {secrets[-1]}"}))
        texts = [f"{answer.headers} {answer.text}" for answer in answers if "/nothing" not in answer.url.path]
        texts += [repr(site.observer.settings), site.observer.settings.model_dump_json()]
        texts += [repr(site.app.user_middleware)]
        texts += [
            repr(entry.record)
            for name in site.observer.journals.names()
            for entry in site.observer.journals.open(name).read(0, 1_000)
        ]
        site.close()
    finally:
        writing.close()
        structlog.configure(**before)
    logged = "".join(path.read_text() for path in (tmp_path / "logs").rglob("*") if path.is_file())
    assert "credentials refused" in logged
    assert "/nothing/***" in logged
    # The test's own client logs what it asks for.
    logged += "".join(record.getMessage() for record in caplog.records if record.name.startswith("observer"))
    for secret in secrets:
        for text in (*texts, logged):
            assert secret not in text
            assert digest_of(secret).hex() not in text
