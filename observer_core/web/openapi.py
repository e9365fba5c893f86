"""The API as OpenAPI 3.1, from its own routes: what GET /v1/openapi.json answers, and docs/openapi.json.

`python -m observer_core.web.openapi > docs/openapi.json` writes it anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any, Final, cast

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from observer_core.web.access import OPEN
from observer_core.web.api import models

PROBLEM: Final = "application/problem+json"
_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_REF: Final = "#/components/schemas/"
_DESCRIPTION: Final = """\
An auditable watcher beside a quant trading system: snapshots, patterns, events, decisions, and the gate.

Times called `time` are RFC 3339, those called `…_ns` epoch nanoseconds, those called `…_ms` epoch
milliseconds. A `ref` cites a record: `journal@position`. A list comes in pages; `next` is the cursor of
the one after, and a page may be short or empty while there is more. Whatever answers GET answers HEAD.
Errors are problem details (RFC 9457). A 200 of GET under `/v1` mostly has an `ETag`: ask again with
`If-None-Match`. An unknown, repeated or empty query parameter is refused.
"""
_TAGS: Final = {
    "state": "how everything stands now",
    "records": "what is recorded, newest first",
    "series": "what was observed, for charts",
    "acts": "what an operator asks for; each act is a record with an author and a reason",
    "gate": "may it be done now",
    "push": "observations that somebody sends",
    "health": "for probes and Prometheus",
    "access": "who asks",
    "api": "the API itself",
}
_SECURITY: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "a token of `[[web.token]]`"},
    "function_key": {
        "type": "apiKey", "in": "header", "name": "x-functions-key",
        "description": "the Functions app's own key",
    },
}  # fmt: skip
_UNKEPT: Final = "gate"
"""The tag of operations whose answers a client is not to keep."""
_WHY: Final = {
    400: "What was asked is not understood; nothing was done.",
    401: "Nobody has proved who he is.",
    403: "The caller may not do this.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is of a kind that is not taken.",
    421: "The request names another host than this one.",
    429: "Too many wrong credentials came from there; `Retry-After` says when to try again.",
    500: "Something went wrong here; the log has it under `id`.",
    503: "Not now: the storage cannot answer, or too many ask; `Retry-After` says when to ask again.",
}


def body_of(*kinds: type[BaseModel], lists: bool = False, lines: bool = False) -> dict[str, Any]:
    """What to say of a body that a route reads by itself: one of `kinds`, maybe a list, or one a line."""
    schemas: list[dict[str, Any]] = [{"$ref": _REF + kind.__name__} for kind in kinds]
    one = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    several = {"anyOf": [*schemas, {"type": "array", "minItems": 1, "items": one}]} if lists else one
    content: dict[str, Any] = {_JSON: {"schema": several}}
    if lines:
        content[_LINES] = {"schema": {"type": "string", "description": "one JSON object a line"}}
    return {"requestBody": {"required": True, "content": content}}


def operation_id(route: APIRoute) -> str:
    """`GET /v1/gate/{subject}` is `get_v1_gate_subject`."""
    (method,) = route.methods or ("get",)
    return "_".join([method.lower(), *re.findall(r"\w+", route.path_format)])


def endpoints(app: FastAPI) -> dict[str, str]:
    """Method and path of every route that is described, and what it is for."""
    found = {}
    for route in iter_route_contexts(app.routes):
        if getattr(route, "include_in_schema", False):
            (method,) = route.methods or ("GET",)
            found[f"{method} {route.path_format}"] = _summary(route)
    return found


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application; equal for equal routes."""
    made = get_openapi(
        title=app.title, version="v1", openapi_version="3.1.0", description=_DESCRIPTION,
        routes=app.routes, separate_input_output_schemas=False,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )  # fmt: skip
    summaries = {
        (route.path_format, method): _summary(route)
        for route in iter_route_contexts(app.routes)
        for method in map(str.lower, route.methods or ())
    }
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            operation["summary"] = summaries[path, method]
            _tidy(operation)
            _problems(path, method, operation)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _complete(made, schemas)
    made["components"] = {
        "schemas": {name: _untitled(item) for name, item in sorted(schemas.items())},
        "responses": {f"Problem{status}": _problem(text) for status, text in _WHY.items()},
        "securitySchemes": _SECURITY,
    }
    made["paths"] = dict(sorted(made["paths"].items()))
    # Either, or neither where nobody is asked (on this machine alone).
    made["security"] = [{name: []} for name in _SECURITY] + [{}]
    return made


def schema() -> dict[str, Any]:
    """The document, from an application over nothing."""
    from observer_core.runtime.gate.reader import Gate
    from observer_core.runtime.health import Health
    from observer_core.runtime.metrics import Metrics
    from observer_core.runtime.observer import Observer
    from observer_core.runtime.settings import Settings
    from observer_core.storage.memory import MemoryStorage
    from observer_core.web.app import create_app

    observer = Observer(Settings(), MemoryStorage())
    gate = Gate(observer.journals, observer.settings, observer.clock)
    try:
        app = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
        return document(app)
    finally:
        observer.close()


def as_file(document: dict[str, Any]) -> bytes:
    """As docs/openapi.json has it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _summary(route: Any) -> str:
    """What the first line of the endpoint's docstring says."""
    text = route.summary or (route.description or route.name.replace("_", " ")).partition("\n")[0]
    return cast("str", text).strip().rstrip(".")


def _tidy(operation: dict[str, Any]) -> None:
    """The summary is not said twice, and problems have their own media type."""
    first, _, rest = operation.pop("description", "").partition("\n")
    if rest.strip() or (first and first.strip().rstrip(".") != operation["summary"]):
        text = rest.strip() if first.strip().rstrip(".") == operation["summary"] else f"{first}\n{rest}"
        operation["description"] = " ".join(text.split("\n")).strip()
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _parameter(parameter["schema"])
    for status, response in list(operation["responses"].items()):
        if response.get("description") == "Successful Response":
            response["description"] = "What was asked for."
        content = response.get("content", {})
        for item in content.values():
            item["schema"] = _untitled(item.get("schema", {}))
            if "$ref" in item["schema"]:
                item["schema"] = {"$ref": item["schema"]["$ref"]}
        refs = [item.get("schema", {}).get("$ref", "") for item in content.values()]
        if refs == [_REF + "HTTPValidationError"]:
            del operation["responses"][status]
        elif refs and refs[0].endswith("Problem") | refs[0].endswith("ProblemDetails"):
            response["content"] = {PROBLEM: next(iter(content.values()))}
        elif status == "304":
            response.pop("content", None)


def _parameter(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what the parameter says already; one may be left out, but is never null."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
    others = [item for item in kept.get("anyOf", ()) if item != {"type": "null"}]
    if len(others) == 1:
        del kept["anyOf"]
        return {**others[0], **kept}
    return kept


def _untitled(schema: Any) -> Any:
    """Without the titles that only repeat the names."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: item for key, item in schema.items() if key != "title" or not isinstance(item, str)}
    return {key: _untitled(item) for key, item in kept.items()}


def _problems(path: str, method: str, operation: dict[str, Any]) -> None:
    """What else may come, by what the operation is."""
    responses = operation["responses"]
    statuses = {401, 403, 421, 429, 500, 503}
    if path in OPEN:
        operation["security"] = []
    if path.startswith(("/v1/", "/access/")):
        statuses.add(400)
        asks = {(item["in"], item["name"]) for item in operation.get("parameters", ())}
        if any(place == "path" for place, _ in asks) or asks & {("query", "domain"), ("query", "source")}:
            statuses.add(404)
    if "requestBody" in operation:
        statuses |= {408, 413, 415}
    found = responses.get("200", {})
    if method == "get" and _JSON in found.get("content", {}) and _UNKEPT not in operation.get("tags", ()):
        responses.setdefault("304", {"description": "As the client has it already (`If-None-Match`)."})
    for status in statuses:
        responses.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    operation["responses"] = dict(sorted(responses.items()))


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {PROBLEM: {"schema": {"$ref": _REF + "ProblemDetails"}}}}


def _complete(made: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Models that only a reference names are described too."""
    names = {name.removeprefix(_REF) for name in _references(made)} | {"ProblemDetails"}
    missing = sorted(names - set(schemas))
    kinds = [(getattr(models, name), "validation") for name in missing]
    _, found = models_json_schema(cast("Any", kinds), ref_template=_REF + "{model}")
    for name, described in found.get("$defs", {}).items():
        schemas.setdefault(name, described)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref" and isinstance(item, str) and item.startswith(_REF):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


if __name__ == "__main__":
    sys.stdout.buffer.write(as_file(schema()))
