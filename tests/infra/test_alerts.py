"""Alerts and dashboard ask for what the program sends, under the names and labels under which it comes."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueServiceClient

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.runtime.telemetry.instruments import INSTRUMENTS
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import StorageUnavailable
from observer_core.storage.azure.queues import AzureQueues
from tests.infra.programs import INFRA, ROOT

MONITORING: Final = INFRA / "modules" / "monitoring"
RULES: Final = {path.stem: path.read_text() for path in sorted((MONITORING / "alerts").glob("*.kql"))}
WORKBOOK: Final = json.loads((MONITORING / "workbook.json").read_text())
CHARTS: Final = {item["name"]: item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3}
QUERIES: Final = {**RULES, **CHARTS}
SENT: Final = {item.name.removesuffix("_total"): item for item in INSTRUMENTS}
HINTS: Final = {"collect-source", "push", "recognise", "publish", "decide", "route", "deliver"}


def named(query: str) -> list[str]:
    return re.findall(r'"(observer_\w+)"', query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_instrument_exists(query: str) -> None:
    assert set(named(query)) <= set(SENT)
    assert bool(named(query)) == ("AppMetrics" in query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_label_is_one_of_the_instrument(query: str) -> None:
    labels = set(re.findall(r"Properties\.(\w+)", query))
    for name in named(query):
        assert labels <= set(SENT[name].labels)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_counters_are_added_up_and_gauges_are_not(query: str) -> None:
    for name in named(query):
        if SENT[name].kind == "counter":
            assert "Sum / ItemCount" not in query
            assert re.search(r"sum(if)?\(Sum", query)
        elif SENT[name].kind == "gauge":
            assert not re.search(r"sum(if)?\(Sum", query)


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_every_query_is_about_production(query: str) -> None:
    if "StorageQueueLogs" in query:
        assert '| where AccountName == "${account}"' in query
    elif "_LogOperation" not in query:
        assert '| where _ResourceId =~ "${component}"' in query


def test_values_of_labels_are_those_that_the_program_says() -> None:
    from typing import get_args

    from observer_core.automation.dead_letters import JOURNAL, KIND
    from observer_core.runtime.telemetry import gauges
    from observer_core.shared.records import Status

    assert "unavailable" in get_args(Status)
    assert f'"{TYPE_PREFIX}{KIND}"' in RULES["dead_letters"]
    assert JOURNAL == "deadletters.live"
    assert "backup" in gauges._UPKEEP
    assert '("outside",)' in Path(gauges.__file__).read_text()


def test_queues_are_those_of_the_functions() -> None:
    tree = ast.parse((ROOT / "function_app.py").read_text())
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    queues = {text[1:] for text in texts if isinstance(text, str) and re.fullmatch(r"-[a-z-]+", text)}
    assert {name for name in queues if not name.endswith("-poison")} == HINTS
    [asked] = re.findall(r'matches regex "-\(([a-z|-]+)\)\$"', RULES["queue_age"])
    assert set(asked.split("|")) == HINTS


def test_what_comes_late_is_not_compared_with_the_clock() -> None:
    # Logs of storage arrive minutes after: a queue would be as old as they are late.
    assert [name for name, query in QUERIES.items() if "now()" in query] == []


def test_a_message_that_was_put_off_waits_from_when_it_is_due() -> None:
    [pattern] = re.findall(r'extract\("(visibilitytimeout=[^"]+)", 1, Uri\)', RULES["queue_age"])
    asked: list[str] = []

    class Kept(RequestsTransport):
        def send(self, request: Any, **options: Any) -> Any:
            asked.append(request.url)
            raise ServiceRequestError("kept")

    service = QueueServiceClient("https://main.example?sv=1&sig=x", transport=Kept(), retry_total=0)
    with pytest.raises(StorageUnavailable):
        AzureQueues(lambda: service, "observer-").send("deliver", b"{}", delay_ns=300 * SECOND)
    assert [re.findall(pattern, url) for url in asked] == [["300"]]


def test_each_rule_has_its_query_and_its_chapter() -> None:
    text = (MONITORING / "alerts.tf").read_text()
    assert set(re.findall(r"^    (\w+) = \{$", text, re.MULTILINE)) == set(RULES)
    chapters = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    }
    linked = re.findall(r'chapter\s+= "([\w-]+)"', text) + re.findall(
        r"runbook_url\}#([\w-]+)", text + (MONITORING / "availability.tf").read_text()
    )
    assert len(linked) >= len(RULES) + 3
    assert set(linked) <= chapters


def test_the_column_that_is_measured_is_made_by_the_query() -> None:
    text = (MONITORING / "alerts.tf").read_text()
    for name, body in re.findall(r"^    (\w+) = \{\n(.*?)^    \}$", text, re.DOTALL | re.MULTILINE):
        [column] = re.findall(r'column\s+= "(\w+)"', body)
        [dimensions] = re.findall(r"by\s+= \[(.*?)\]", body)
        for wanted in [column, *re.findall(r'"(\w+)"', dimensions)]:
            assert re.search(rf"\b{wanted}\b", RULES[name].splitlines()[-1]), (name, wanted)


def test_what_must_be_there_is_missed_without_a_row() -> None:
    for name in ("no_heartbeat", "clock_stands_still", "backup_age", "anchor_age"):
        last = RULES[name].splitlines()[-1]
        assert "summarize" in last
        assert " by " not in last
        assert "countif" in last or "coalesce" in last


def test_the_dashboard_shows_what_is_measured() -> None:
    shown = {name for query in CHARTS.values() for name in named(query)}
    assert {SENT[name].kind for name in shown} == {"counter", "gauge", "histogram"}
    assert len(shown) >= 16
    assert all(
        item["content"]["crossComponentResources"] == ["${workspace}"]
        for item in WORKBOOK["items"]
        if item["type"] == 3
    )
