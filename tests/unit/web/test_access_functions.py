"""Who calls the Functions app: who has a key, who is signed in, who shows a token; nobody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from observer_core.runtime import handlers as runtime
from observer_core.runtime.handlers import Handlers
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import load
from observer_core.safety.tokens import digest_of, new_token
from observer_core.shared.errors import ConfigError
from observer_core.storage.memory import MemoryStorage
from observer_core.web import functions
from observer_core.web.easy_auth import MAX_BYTES, MAX_CLAIMS, signed_in
from tests.support.web import Site, assert_problem

OID = "http://schemas.microsoft.com/identity/claims/objectidentifier"
ROLE = "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"
ISSUER = "https://login.microsoftonline.com/tenant/v2.0"
TOKEN = new_token()
TOKENS = [{"name": "kim", "sha256": digest_of(TOKEN).hex(), "scopes": ["operate"]}]


def claims(*roles: str, **more: str) -> list[dict[str, str]]:
    found = {"iss": ISSUER, OID: "0000-1111", "preferred_username": "kim@desk.example", **more}
    return [{"typ": kind, "val": value} for kind, value in found.items() if value] + [
        {"typ": "roles", "val": role} for role in roles
    ]


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def principal(*roles: str, **more: str) -> dict[str, str]:
    value = {"auth_typ": "aad", "claims": claims(*roles, **more), "name_typ": "name", "role_typ": ROLE}
    return {"x-ms-client-principal": encoded(value), "x-ms-client-principal-name": "kim@desk.example"}


Configured = Any


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configured]:
    """A client of the app with these settings of `[web]`; `at`: which function it calls."""
    made: list[Observer] = []
    monkeypatch.setattr(functions, "_made", None)

    def configure(at: Any = functions.asgi, **web: Any) -> TestClient:
        source = [{"name": "desk", "kind": "push"}]
        handlers = Handlers(Observer(load(root=tmp_path, source=source, web=web), MemoryStorage()))
        made.append(handlers.observer)
        monkeypatch.setattr(runtime, "_process", None)
        monkeypatch.setattr(runtime, "_make", lambda: handlers)
        return TestClient(at, base_url="https://observer.example.net")

    yield configure
    for observer in made:
        observer.close()


@pytest.fixture
def signs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")


def who(client: TestClient, **headers: str) -> dict[str, Any]:
    response = client.get("/v1/whoami", headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


# ---------------------------------------------------------------------- the key


def test_whoever_has_a_key_is_one_person_for_all_who_have_it(configured: Configured) -> None:
    client = configured()
    for headers in ({"x_functions_key": "first"}, {"x_functions_key": "second"}, {}):
        found = who(client, **headers)
        assert (found["principal"], found["proof"]) == ("function_key", "function_key")
        assert found["scopes"] == ["read", "push", "operate"]


def test_what_a_key_opens_is_configurable(configured: Configured) -> None:
    client = configured(function_key_scopes=["push"])
    assert who(client)["scopes"] == ["push"]
    assert_problem(client.get("/v1/gate/a"), 403, "needs the scope read")


@pytest.mark.parametrize("web", [{"easy_auth": True}, {"token": TOKENS}])
def test_where_somebody_can_be_known_better_a_key_alone_operates_nothing(
    configured: Configured, web: dict[str, Any]
) -> None:
    """He would be a second person with it."""
    assert who(configured(**web))["scopes"] == ["read", "push"]
    assert who(configured(**web, function_key_scopes=["admin"]))["scopes"] == ["read", "operate", "admin"]


def test_a_key_in_the_query_is_the_hosts_and_no_parameter(configured: Configured) -> None:
    client = configured()
    assert client.get("/v1/whoami?code=s3cret").status_code == 200
    assert_problem(client.get("/v1/whoami?CODE=s3cret&x=1"), 400, "'x' is unknown")


def test_the_application_never_sees_the_key() -> None:
    scope = {
        "type": "http", "query_string": b"domain=live&code=s3cret&at=1",
        "headers": [(b"X-Functions-Key", b"s3cret"), (b"accept", b"*/*")], "observer.key_shown": True,
    }  # fmt: skip
    seen = functions._without_key(scope)
    assert "s3cret" not in repr(seen)
    assert seen["query_string"] == b"domain=live&at=1"
    assert seen["observer.key_shown"] is False


# ---------------------------------------------------------------------- the page, for anybody


def test_the_page_is_for_anybody_and_nothing_else_is(configured: Configured) -> None:
    client = configured(at=functions.page)
    assert client.get("/").json()["name"] == "QTS Observer"
    assert client.get("/assets/nothing.js").status_code == 404
    for path in ("/v1/whoami", "/v1/gate/a", "/metrics", "/v1/health"):
        assert_problem(client.get(path, headers={"x-functions-key": "k"}), 401, "x-functions-key")
    assert_problem(client.post("/v1/snapshots/desk", json={"subject": "A", "price": 1}), 401)


@pytest.mark.usefixtures("signs_in")
def test_who_is_signed_in_shows_a_key_all_the_same(configured: Configured) -> None:
    client = configured(at=functions.page, easy_auth=True)
    assert_problem(client.get("/v1/whoami", headers=principal("Observer.Admin")), 401)


# ---------------------------------------------------------------------- tokens


def test_a_token_says_who_has_the_key(configured: Configured) -> None:
    client = configured(token=TOKENS)
    found = who(client, authorization=f"Bearer {TOKEN}")
    assert (found["principal"], found["scopes"]) == ("token:kim", ["read", "operate"])
    assert_problem(client.get("/v1/whoami", headers={"authorization": f"Bearer {TOKEN}x"}), 401)
    assert_problem(configured().get("/v1/whoami", headers={"authorization": f"Bearer {TOKEN}"}), 401)


def test_what_else_the_platform_takes_there_is_not_ours(configured: Configured) -> None:
    found = who(configured(token=TOKENS), authorization="Bearer eyJhbGciOiJSUzI1NiJ9.qts_.x")
    assert found["proof"] == "function_key"


# ---------------------------------------------------------------------- who is signed in


@pytest.mark.usefixtures("signs_in")
@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        (["Observer.Read"], ["read"]),
        (["Observer.Push"], ["push"]),
        (["Observer.Operate"], ["read", "operate"]),
        (["Observer.Admin"], ["read", "operate", "admin"]),
        (["Observer.Read", "Observer.Push", "Other.Admin", "observer.admin"], ["read", "push"]),
    ],
)
def test_roles_give_scopes(configured: Configured, roles: list[str], scopes: list[str]) -> None:
    found = who(configured(easy_auth=True), **principal(*roles))
    assert found["principal"] == f"easy_auth:{ISSUER}/0000-1111"
    assert (found["name"], found["proof"], found["scopes"]) == ("kim@desk.example", "easy_auth", scopes)


@pytest.mark.usefixtures("signs_in")
def test_who_has_no_role_may_do_nothing_though_he_has_a_key(configured: Configured) -> None:
    client = configured(easy_auth=True, function_key_scopes=["admin"])
    assert who(client, **principal())["scopes"] == []
    response = client.get("/v1/gate/a", headers=principal())
    assert_problem(response, 403, "the scopes of this caller are: none")


def test_a_forged_principal_is_not_believed_unless_that_is_configured(
    configured: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    found = who(configured(), **principal("Observer.Admin"))
    assert (found["principal"], found["scopes"]) == ("function_key", ["read", "push", "operate"])


@pytest.mark.parametrize("value", [None, "", "False", "0"])
def test_nor_where_the_platform_says_that_nobody_signs_in(
    configured: Configured, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is None:
        monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    else:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", value)
    with capture_logs() as lines:
        found = who(configured(easy_auth=True), **principal("Observer.Admin"))
    assert (found["principal"], found["scopes"]) == ("function_key", ["read", "push"])
    assert [line["log_level"] for line in lines if "WEBSITE_AUTH_ENABLED" in line["event"]] == ["error"]


def test_nor_standalone_where_it_cannot_even_be_configured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="web.easy_auth is for the Functions app"):
        Site(tmp_path, web={"easy_auth": True})
    site = Site(tmp_path, web={"token": TOKENS})
    assert_problem(site.get("/v1/whoami", headers=principal("Observer.Admin")), 401)
    site.close()


BROKEN = {
    "": "no JSON object|not base64 of JSON",
    "%%%": "not base64 of JSON",
    "é": "not base64 of JSON",
    base64.b64encode(b"{").decode(): "not base64 of JSON",
    base64.b64encode(b"\xff").decode(): "not base64 of JSON",
    encoded([]): "no JSON object",
    encoded({}): "its claims are no list",
    encoded({"claims": {}}): "its claims are no list",
    encoded({"claims": [1]}): "a claim of it has no typ and val",
    encoded({"claims": [{"typ": "iss"}]}): "a claim of it has no typ and val",
    encoded({"claims": [{"typ": "iss", "val": 1}]}): "a claim of it has no typ and val",
    encoded({"claims": claims(iss="")}): "it names no issuer",
    encoded({"claims": claims(**{OID: ""})}): "or nobody",
    encoded({"claims": [*claims(), {"typ": OID, "val": "another"}]}): "it has several claims oid",
    encoded({"claims": [*claims(), {"typ": "oid", "val": "another"}]}): "it has several claims oid",
    encoded({"claims": claims(iss="x" * 257)}): "over 256 characters",
    encoded({"claims": claims(iss="a\nb")}): "not printable",
    encoded({"claims": [{"typ": "a", "val": "b"}] * (MAX_CLAIMS + 1)}): "no list of at most 1,000",
    "A" * (MAX_BYTES + 1): "more than 65,536 bytes",
}


@pytest.mark.parametrize("header", BROKEN, ids=lambda header: header[:20])
def test_a_principal_that_cannot_be_read_is_nobody(header: str) -> None:
    with pytest.raises(ValueError, match=BROKEN[header]):
        signed_in(header)


@pytest.mark.usefixtures("signs_in")
@pytest.mark.parametrize("header", ["%%%", encoded({"claims": []}), encoded(None)])
def test_and_a_key_does_not_make_up_for_it(configured: Configured, header: str) -> None:
    client = configured(easy_auth=True)
    response = client.get("/v1/whoami", headers={"x-ms-client-principal": header, "x-functions-key": "k"})
    assert_problem(response, 401, "who is signed in cannot be read")
    both = [("x-ms-client-principal", principal("Observer.Read")["x-ms-client-principal"])] * 2
    assert_problem(client.get("/v1/whoami", headers=both), 401)


def test_ids_may_be_spelled_as_the_token_has_them_and_padding_may_lack() -> None:
    value = {"claims": [{"typ": "iss", "val": "i"}, {"typ": "sub", "val": "s"}, {"typ": ROLE, "val": "r"}]}
    found = signed_in(encoded(value).rstrip("="))
    assert (found.issuer, found.id, found.name, found.roles) == ("i", "s", "s", ("r",))
