"""What is said of a request that does not have its form: where, what was expected, what came, in short."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from fastapi import FastAPI, Header, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.testclient import TestClient

from observer_core.web.problems import HANDLERS
from tests.support.web import assert_problem


class Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(max_length=5)]
    size: Literal["small", "large"] = "small"
    api_key: int = 0
    parts: list[int] = []


def even(value: int) -> int:
    if value % 2:
        raise ValueError("an even number was expected")
    return value


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI(exception_handlers=HANDLERS)

    @app.get("/look")
    async def look(
        limit: Annotated[int, Query(ge=1, le=1000)] = 1,
        half: Annotated[int, AfterValidator(even)] = 0,
        mood: Annotated[str, Header(max_length=3)] = "",
    ) -> None: ...

    @app.post("/act")
    async def act(item: Item) -> None: ...

    return TestClient(app)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit is '0'; greater than or equal to 1 was expected"),
        ("limit=1001", "limit is '1001'; less than or equal to 1000 was expected"),
        ("limit=many", "limit is 'many'; a valid integer was expected"),
        ("half=3", "half is '3'; an even number was expected"),
        ("limit=" + "9" * 400, "limit is '9999"),
    ],
)
def test_a_parameter(client: TestClient, query: str, detail: str) -> None:
    body = assert_problem(client.get(f"/look?{query}"), 400, detail)
    assert len(body["detail"]) < 200


def test_a_header(client: TestClient) -> None:
    assert_problem(
        client.get("/look", headers={"mood": "abcd"}),
        400,
        "header mood is 'abcd'; string should have at most 3",
    )


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ({}, "name is missing; it must be given"),
        ({"name": "a", "nmae": "b"}, "nmae is unknown; remove it or check its spelling"),
        ({"name": "abcdef"}, "name is 'abcdef'; string should have at most 5 characters"),
        ({"name": "a", "size": "vast"}, "size is 'vast'; small or large was expected"),
        ({"name": "a", "parts": [1, "x"]}, "parts[1] is 'x'; a valid integer was expected"),
        ({"name": {"deep": "secret words"}}, "name is an object; a valid string was expected"),
        ({"name": None}, "name is null; a valid string was expected"),
        ({"name": "a", "api_key": "hunter2"}, "api_key is ***; a valid integer was expected"),
        ([1], "the body is an array; a valid dictionary or object to extract fields from was expected"),
    ],
)
def test_a_body(client: TestClient, value: Any, detail: str) -> None:
    body = assert_problem(client.post("/act", json=value), 400, detail)
    assert "secret words" not in str(body)
    assert "hunter2" not in str(body)


def test_all_that_is_wrong_is_said_up_to_a_bound(client: TestClient) -> None:
    body = assert_problem(client.post("/act", json={"size": 1, "parts": ["x"] * 50}), 400, "; and 42 more")
    assert len(body["errors"]) == 10
    assert body["errors"][:2] == [
        "name is missing; it must be given", "size is 1; small or large was expected",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b'{"name": ', "application/json", 400, "the body is not JSON: Expecting value at character 9"),
        (b"\xff{}", "application/json", 400, "JSON in UTF-8, not nested too deeply, was expected"),
        (b"[" * 100_000, "application/json", 400, "not nested too deeply"),
        (b"", "application/json", 400, "the body is missing"),
        (b"{}", "text/plain", 415, "content type 'text/plain' is not taken; expected application/json"),
        (b"{}", "", 415, "content type '' is not taken"),
    ],
)
def test_a_body_that_is_no_json(
    client: TestClient, content: bytes, kind: str, status: int, detail: str
) -> None:
    response = client.post("/act", content=content, headers={"content-type": kind})
    assert_problem(response, status, detail)
