"""Writes types/types.d.ts, what the page's code is checked against, from observer_core/web/api/models.py.

`make lint-page` runs it; tests/unit/web/test_page_files.py checks that it is up to date.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from observer_core.web.api import models

HERE = Path(__file__).resolve().parent
TARGET = HERE / "types" / "types.d.ts"
HEAD = """\
// Made by scripts/page/api_types.py from observer_core/web/api/models.py: do not edit.
export interface Page<T> {
  items: T[];
  next: string | null;
}
export type Level = BoardRow["risk"];
export type GateState = BoardRow["state"];
export type Severity = IncidentItem["severity"];
export type Series = [string, string, string];
"""
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def written() -> str:
    """The declarations of everything that is asked and answered."""
    found = [
        model
        for model in vars(models).values()
        if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == models.__name__
        if not getattr(model, "__parameters__", ()) and model is not models.Page
    ]
    _, document = models_json_schema([(model, "serialization") for model in found], by_alias=True)
    schemas = document["$defs"]
    return HEAD + "".join(_declaration(name, schemas[name]) for name in sorted(schemas))


def _declaration(name: str, schema: dict[str, Any]) -> str:
    if "properties" not in schema:
        return f"export type {_name(name)} = {_type(schema)};\n"
    return f"export interface {_name(name)} {_object(schema, 1)}\n"


def _object(schema: dict[str, Any], depth: int) -> str:
    indent = "  " * depth
    needed = schema.get("required", ())
    lines = [
        f"{indent}{_key(key)}{'' if key in needed else '?'}: {_type(found, depth + 1)};\n"
        for key, found in schema["properties"].items()
    ]
    if schema.get("additionalProperties") is True:
        lines.append(f"{indent}[name: string]: any;\n")
    return "{\n" + "".join(lines) + "  " * (depth - 1) + "}"


def _type(schema: dict[str, Any], depth: int = 1) -> str:
    if "$ref" in schema:
        return _name(schema["$ref"].rpartition("/")[2])
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " | ".join(dict.fromkeys(_type(part, depth) for part in schema[union]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " | ".join(map(json.dumps, schema["enum"]))
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_type(part, depth) for part in schema['prefixItems'])}]"
        items = _type(schema.get("items", {}), depth)
        return f"({items})[]" if "|" in items else f"{items}[]"
    if kind == "object":
        if "properties" in schema:
            return _object(schema, depth)
        values = schema.get("additionalProperties", True)
        key = "string"
        if "enum" in schema.get("propertyNames", {}):
            key = _type(schema["propertyNames"])
        return f"Record<{key}, {_type(values, depth) if isinstance(values, dict) else 'any'}>"
    return _SIMPLE.get(str(kind), "any")


def _name(name: str) -> str:
    return re.sub(r"\W", "_", name)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_]\w*", key) else json.dumps(key)


if __name__ == "__main__":
    TARGET.write_text(written(), "utf-8")
    print(f"api_types: {TARGET.relative_to(HERE.parent.parent)}")
