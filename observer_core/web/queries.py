"""What stands behind the ? of a request is what its route knows, once each and with a value, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_origin

from pydantic import BaseModel
from starlette.requests import Request

from observer_core.web.problems import Problem

_SHOWN: Final = 50
_CHECKED: Final = ("/v1/", "/access/")
"""Probes and browsers may add what they like to the other paths."""


class Queries:
    """A dependency of every route: 400 for a parameter that it does not know."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, bool]] = {}

    async def __call__(self, request: Request) -> None:
        if not request.scope["query_string"]:
            return
        route = request.scope["route"]
        if not route.path.startswith(_CHECKED):
            return
        key = request.method, route.path
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = dict(_parameters(route.dependant))
        query = request.query_params
        for name, value in query.multi_items():
            if name not in known:
                raise Problem(400, f"parameter {name[:_SHOWN]!r} is unknown; {_listed(list(known))}")
            if not known[name] and len(query.getlist(name)) > 1:
                raise Problem(400, f"parameter {name} is given more than once")
            if not value:
                raise Problem(400, f"parameter {name} is empty; give it a value or leave it out")


def _parameters(dependant: Any) -> Iterator[tuple[str, bool]]:
    """The names that a route and what it depends on know, and whether each may be given several times."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, info in kind.model_fields.items():
                yield info.alias or name, get_origin(info.annotation) is list
        else:
            yield field.alias, get_origin(kind) is list
    for inner in dependant.dependencies:
        yield from _parameters(inner)


def _listed(names: list[str]) -> str:
    if not names:
        return "there are none here"
    if len(names) == 1:
        return f"there is only {names[0]}"
    return f"there are {', '.join(names[:-1])} and {names[-1]}"
