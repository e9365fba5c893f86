"""The API does what its own description says, whatever is asked: valid, invalid and at the bounds.

Each operation is a test. What is asked is drawn from docs/openapi.json, the same on every machine.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.support.web import Site

FILE = Path(__file__).resolve().parents[3] / "docs/openapi.json"
URL = "http://localhost:8000"
EXAMPLES = 12
CONFIG = SchemathesisConfig.from_dict(
    {
        "base-url": URL,
        "generation": {"deterministic": True, "database": "none", "max-examples": EXAMPLES},
        "checks": {
            # A name of a source, a cursor, a moment: what fits the schema may still not be there, or
            # contradict something else, and is then a problem that says so.
            "positive_data_acceptance": {
                "expected-statuses": ["2xx", "3xx", "400", "403", "404", "409", "422"]
            },
        },
    }
)


_folder = tempfile.TemporaryDirectory()


@functools.cache
def site() -> Site:
    made = Site(Path(_folder.name)).filled()
    made.app.state.stopping = True  # a stream of events ends behind its first part
    return made


async def app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"  # a shutdown after each test would end the threads
    await site().app(scope, receive, send)


@schemathesis.serializer("application/x-ndjson")
def lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    return str(value).encode()


schema = schemathesis.openapi.from_path(FILE, config=CONFIG)
schema.app = app


@schema.parametrize()
@hypothesis.settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None)
def test_what_is_described_is_so(case: schemathesis.Case) -> None:
    query = case.query or {}
    if isinstance(query.get("wait"), int | float):
        query["wait"] = min(query["wait"], 0)  # nothing will come
    case.call_and_validate()
