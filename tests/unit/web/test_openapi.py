"""The API's description: the one that is checked in, complete, and true to the routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from observer_core.web import openapi
from tests.support.web import Site

FILE = Path(__file__).resolve().parents[3] / "docs/openapi.json"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return openapi.schema()


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_one_in_docs_is_this_one(described: dict[str, Any]) -> None:
    assert FILE.read_bytes() == openapi.as_file(described), (
        "docs/openapi.json is not what the routes say; write it anew: "
        "python -m observer_core.web.openapi > docs/openapi.json"
    )


def test_it_is_the_same_whatever_is_configured_and_is_answered(
    described: dict[str, Any], reading: Site
) -> None:
    response = reading.get("/v1/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert orjson.loads(response.content) == described


def test_every_operation_says_what_it_is_for_and_has_a_name_of_its_own(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names))
    known = {tag["name"] for tag in described["tags"]}
    for path, method, operation in operations(described):
        assert operation["summary"], (method, path)
        assert set(operation["tags"]) <= known, (method, path)


def test_every_problem_is_one_and_no_other_error_is_described(described: dict[str, Any]) -> None:
    for path, _, operation in operations(described):
        for status, response in operation["responses"].items():
            if "$ref" in response or path in ("/health", "/v1/health", "/livez", "/readyz"):
                continue
            kinds = set(response.get("content", {}))
            if status >= "400":
                assert kinds == {"application/problem+json"}, (path, status)
            elif status.startswith("2") and status != "207":
                assert kinds, (path, status)
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    text = orjson.dumps(described).decode()
    for section, items in described["components"].items():
        for name in items:
            text = text.replace(f'"#/components/{section}/{name}"', '""')
    assert "#/components/" not in text


def test_an_answer_under_v1_has_a_model(described: dict[str, Any]) -> None:
    for path, _, operation in operations(described):
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if kind == "application/json" and path.startswith("/v1/") and status.startswith("2"):
                    assert content["schema"], (path, status)


def test_no_parameter_may_be_null(described: dict[str, Any]) -> None:
    for path, _, operation in operations(described):
        for parameter in operation.get("parameters", ()):
            assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), (path, parameter["name"])
