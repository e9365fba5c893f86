"""What each GET really answers is what its model says, to the last key."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from pydantic import TypeAdapter

from tests.support.web import Site

SERIES = "source=desk&subject=A/USD&field=close"
ASKED: dict[str, list[str]] = {
    "/v1/blocks": ["", "?standing=false", "?domain=desk&standing=false&limit=1"],
    "/v1/board": ["", "?domain=desk"],
    "/v1/changes": ["", "?after=0&wait=0", "?domain=desk&after=0&wait=0"],
    "/v1/commands/{ref}": ["commands.live@1", "commands.live@3"],
    "/v1/dead-letters": [""],
    "/v1/decisions": ["", "?domain=desk&verdict=block&limit=1"],
    "/v1/decisions/{id}": ["decisions.desk@2", "decisions.live@2"],
    "/v1/decisions/{id}/lineage": ["decisions.desk@3/lineage", "decisions.live@2/lineage"],
    "/v1/events": ["", "?domain=desk&limit=2", "?after=now&wait=0"],
    "/v1/events/{id}": ["events.desk@2"],
    "/v1/gate/{subject}": ["A/USD", "ETH/USDT", "nobody?on_unknown=allow", "ETH/USDT?at=1700000000"],
    "/v1/health": [""],
    "/v1/incidents": ["", "?open=true", "?domain=desk&limit=1"],
    "/v1/incidents/{id}": [],
    "/v1/ledger": [""],
    "/v1/logs": [""],
    "/v1/openapi.json": [""],
    "/v1/overrides": ["", "?domain=live"],
    "/v1/patterns": ["", "?kind=price_shock&severity=warning"],
    "/v1/policies": ["", "?domain=desk"],
    "/v1/quarantine": [""],
    "/v1/records/{ref}": ["snapshots.desk@2", "patterns.desk@2", "events.desk@3", "routes.live@2"],
    "/v1/requests": [""],
    "/v1/series": ["", "?domain=desk"],
    "/v1/series/markers": [f"?{SERIES}"],
    "/v1/series/points": [f"?{SERIES}", f"?{SERIES}&form=candles&points=10", f"?{SERIES}&since=1h"],
    "/v1/silences": ["", "?domain=live"],
    "/v1/snapshots": ["?limit=2", "?source=desk&limit=1"],
    "/v1/sources": ["", "?domain=desk"],
    "/v1/status": [""],
    "/v1/storage": [""],
    "/v1/subscriptions": ["", "?domain=live"],
    "/v1/whoami": [""],
}


STREAMS = {"/v1/events/stream"}


def gets(site: Site) -> dict[str, Any]:
    """The model of each GET under /v1 that answers JSON."""
    return {
        route.path_format: route.response_model or (route.responses.get(200) or {}).get("model")
        for route in iter_route_contexts(site.app.routes)
        if "GET" in (route.methods or ())
        and route.path_format.startswith("/v1/")
        and route.path_format not in STREAMS
    }


def test_every_get_is_asked(reading: Site) -> None:
    assert set(gets(reading)) == set(ASKED)


@pytest.mark.parametrize("path", sorted(ASKED))
def test_an_answer_is_what_its_model_says(reading: Site, path: str) -> None:
    model = gets(reading)[path]
    reading.health.beat()
    incidents = [item["id"] for item in reading.get("/v1/incidents").json()["items"]]
    assert incidents
    for asked in incidents if path == "/v1/incidents/{id}" else ASKED[path]:
        url = f"{path.partition('{')[0]}{asked}"
        response = reading.get(url)
        assert response.status_code in (200, 501), (url, response.text)
        if response.status_code == 200 and model is not None:
            TypeAdapter(model).validate_json(response.content, strict=False)
