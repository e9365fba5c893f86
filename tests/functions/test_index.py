"""What the host learns of the app: every function, its trigger, its queue or route, and who may call it."""

from __future__ import annotations

from typing import Any

from tests.support.functions_host import HOST
from tests.support.functions_process import Worker

PREFIX = "%OBSERVER_QUEUE_PREFIX%"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def timer(schedule: str) -> dict[str, Any]:
    return {
        "type": "timerTrigger", "direction": "IN", "name": "timer", "schedule": schedule, "useMonitor": False,
    }  # fmt: skip


def queued(queue: str) -> dict[str, Any]:
    return {
        "type": "queueTrigger", "direction": "IN", "name": "message", "queueName": f"{PREFIX}-{queue}",
        "connection": "AzureWebJobsStorage",
    }  # fmt: skip


def http(route: str, auth: str, methods: list[str]) -> dict[str, Any]:
    return {
        "type": "httpTrigger", "direction": "IN", "name": "request", "route": route, "authLevel": auth,
        "methods": methods,
    }  # fmt: skip


TABLE = {
    "collect": timer("%OBSERVER_COLLECT_SCHEDULE%"),
    "clock": timer("%OBSERVER_CLOCK_SCHEDULE%"),
    "sweep": timer("%OBSERVER_SWEEP_SCHEDULE%"),
    "maintain": timer("%OBSERVER_MAINTAIN_SCHEDULE%"),
    "backup": timer("%OBSERVER_BACKUP_SCHEDULE%"),
    "collect_source": queued("collect-source"),
    "push": queued("push"),
    "recognise": queued("recognise"),
    "publish": queued("publish"),
    "decide": queued("decide"),
    "route": queued("route"),
    "deliver": queued("deliver"),
    "collect_source_poison": queued("collect-source-poison"),
    "push_poison": queued("push-poison"),
    "recognise_poison": queued("recognise-poison"),
    "publish_poison": queued("publish-poison"),
    "decide_poison": queued("decide-poison"),
    "route_poison": queued("route-poison"),
    "deliver_poison": queued("deliver-poison"),
    "health": http("health", "ANONYMOUS", ["GET"]),
    "ready": http("readyz", "ANONYMOUS", ["GET"]),
    "page": http("{nothing:maxlength(0)?}", "ANONYMOUS", ["GET", "HEAD"]),
    "assets": http("assets/{*path}", "ANONYMOUS", ["GET", "HEAD"]),
    "api": http("{*path}", "FUNCTION", METHODS),
}


def test_the_table_of_functions_is_exactly_this(worker: Worker) -> None:
    found = {}
    for name, function in worker.functions.items():
        trigger = dict(function.trigger)
        if "dataType" in trigger:
            assert trigger.pop("dataType") == "UNDEFINED"
        found[name] = trigger
    assert found == TABLE


def test_nothing_is_bound_but_triggers_and_http_answers(worker: Worker) -> None:
    """Hints go through the queue port: the host would indent JSON and split arrays of an output binding."""
    for function in worker.functions.values():
        others = [item for item in function.bindings if item is not None and item != function.trigger]
        wanted = [("http", "OUT", "$return")] if function.trigger["type"] == "httpTrigger" else []
        assert [(item["type"], item["direction"], item["name"]) for item in others] == wanted


def test_it_runs_on_the_runtime_that_is_pinned(worker: Worker) -> None:
    assert (worker.runtime.runtime_name, worker.runtime.runtime_version) == ("python", "3.13")
    assert worker.runtime.worker_version == "1.3.0"


def test_the_host_finds_no_prefix_before_routes() -> None:
    assert HOST["extensions"]["http"]["routePrefix"] == ""
