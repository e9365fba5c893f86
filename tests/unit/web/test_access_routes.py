"""Every route of the application: who it is for has been said, and nobody else is answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.websockets import WebSocketDisconnect

from observer_core.safety.tokens import digest_of, new_token
from observer_core.web.access import Needs, Scope
from tests.support.web import Site, assert_problem

OPEN = {
    "/": "the page without data, and the list of endpoints",
    "/assets/{path:path}": "the page's files",
    "/livez": "for probes",
    "/readyz": "for probes",
    "/health": "statuses alone, for who shows no token",
}
"""Routes that answer anybody, and why. Whatever is not here names its scope."""
ANY_SCOPE = {"/v1/whoami", "/v1/openapi.json"}
"""Routes that want to know who calls, and want no more."""
TOKENS = {scope: new_token() for scope in ("read", "push", "operate", "admin")}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    tokens = [
        {"name": scope, "sha256": digest_of(token).hex(), "scopes": [scope]}
        for scope, token in TOKENS.items()
    ]
    made = Site(tmp_path_factory.mktemp("site"), web={"token": tokens})
    yield made
    made.close()


def routes(app: FastAPI) -> Iterator[tuple[str, str, Any]]:
    """Path, method and dependant of every route; a route that has none cannot say who it is for."""
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or {"GET"}):
            yield str(route.path), method, getattr(route, "dependant", None)


def declared(dependant: Any) -> list[Scope | None]:
    """Each once: a router and one that it is part of may both say it."""
    found = [inner.call.scope for inner in dependant.dependencies if isinstance(inner.call, Needs)]
    found += [scope for inner in dependant.dependencies for scope in declared(inner)]
    return list(dict.fromkeys(found))


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


def test_every_route_says_which_scope_it_needs_or_is_on_the_list_of_open_ones(site: Site) -> None:
    known = list(routes(site.app))
    assert len(known) > 10
    unsaid = []
    for path, method, dependant in known:
        assert dependant is not None, f"{method} {path} is no route of FastAPI's: it can declare no scope"
        scopes = declared(dependant)
        if path in OPEN:
            assert scopes == [], f"{path} is open; take it off the list, or its scope away"
        elif path in ANY_SCOPE:
            assert scopes == [None], path
        elif len(scopes) != 1 or scopes[0] is None:
            unsaid.append(f"{method} {path}: {scopes}")
    assert not unsaid, "say dependencies=[Depends(needs(…))] there"


def test_what_changes_something_needs_more_than_to_read(site: Site) -> None:
    """But for a question to the gate, which changes nothing."""
    for path, method, dependant in routes(site.app):
        if method not in ("GET", "HEAD") and "/evaluation" not in path:
            (scope,) = declared(dependant)
            assert scope in ("push", "operate", "admin"), path


def test_the_open_ones_are_those_that_are_answered_without_a_token(site: Site) -> None:
    for path, method, _ in routes(site.app):
        response = site.client.request(method, concrete(path))
        if path in OPEN:
            assert response.status_code != 401, path
        else:
            assert_problem(response, 401, "who calls must be known here")


def test_a_wrong_token_is_refused_on_each_and_a_right_one_is_known_on_each(site: Site) -> None:
    for path, method, _ in routes(site.app):
        if path in OPEN:
            continue
        wrong = site.client.request(method, concrete(path), headers={"authorization": "Bearer qts_x"})
        assert wrong.status_code in (401, 429), path
        right = {"authorization": f"Bearer {TOKENS['admin']}"}
        # What waits, or streams, is not waited for: it must not be asked with a token that it takes.
        if "stream" not in path and "changes" not in path:
            assert site.client.request(method, concrete(path), headers=right).status_code not in (401, 429)


def test_each_route_refuses_the_scopes_that_it_does_not_need(site: Site) -> None:
    for path, method, dependant in routes(site.app):
        (needed,) = declared(dependant) or [None]
        if needed is None:
            continue
        others = [scope for scope in TOKENS if scope != needed]
        included = {"read": {"operate", "admin"}, "operate": {"admin"}}.get(needed, set())
        for scope in others:
            if scope in included:
                continue
            # Without a body: what is refused is refused before anybody looks at it.
            response = site.client.request(
                method, concrete(path), headers={"authorization": f"Bearer {TOKENS[scope]}"}
            )
            assert_problem(response, 403, f"this needs the scope {needed}")


@pytest.mark.parametrize("path", ["/nothing", "/livez/", "/assets", "/LIVEZ", "/v1", "/v1/", "/docs"])
def test_what_is_no_route_is_not_told_to_strangers(site: Site, path: str) -> None:
    assert_problem(site.client.get(path), 401)


@pytest.mark.parametrize("path", ["/assets/../v1/whoami", "/assets/%2e%2e/v1/whoami", "/assets//v1/whoami"])
def test_no_way_leads_out_of_the_open_folder(site: Site, path: str) -> None:
    scope_path = path.replace("%2e", ".")
    sent: list[Any] = []

    async def ask() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await site.app(
            {
                "type": "http", "method": "GET", "path": scope_path, "raw_path": path.encode(),
                "query_string": b"", "headers": [(b"host", b"localhost")], "scheme": "http",
                "http_version": "1.1", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            }, receive, send,
        )  # fmt: skip

    asyncio.run(ask())
    assert sent[0]["status"] == 404


def test_only_looking_is_open(site: Site) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for path in ("/", "/livez", "/health", "/assets/x"):
            response = site.client.request(method, path)
            assert response.status_code == 401, (method, path)
            assert not [name for name in response.headers if name.startswith("access-control-")]


def test_a_route_that_says_nothing_is_noticed(site: Site) -> None:
    """The tests above see what somebody forgets."""
    forgetful = APIRouter()

    @forgetful.get("/v1/forgotten")
    async def forgotten() -> None: ...

    app = FastAPI()
    app.include_router(forgetful)
    found = {path: declared(dependant) for path, _, dependant in routes(app) if dependant is not None}
    assert found["/v1/forgotten"] == []


def test_there_is_nothing_but_http(site: Site) -> None:
    with pytest.raises(WebSocketDisconnect) as caught, site.client.websocket_connect("/v1/whoami"):
        pass
    assert caught.value.code == 1008
