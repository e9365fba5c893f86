"""docs/api.md: endpoints, scopes, errors, limits and records are those that there are; its examples run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from fastapi.routing import iter_route_contexts

from observer_core.automation.dead_letters import DeadLetters
from observer_core.backup.place import FolderPlace
from observer_core.maintenance.compaction import CompactionConfig
from observer_core.maintenance.config import MaintenanceConfig
from observer_core.retention import holds
from observer_core.runtime import safe_mode
from observer_core.runtime.audit.ledger import Ledger
from observer_core.runtime.backups import Backups
from observer_core.runtime.heartbeat import Lifecycle
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.observer import Observer
from observer_core.runtime.reading import listing
from observer_core.safety.clock_jump import Jump
from observer_core.shared.clock import ManualClock, parse_time
from observer_core.shared.records import (
    NOTE_KINDS,
    Decision,
    DeliveryResult,
    Evaluation,
    Event,
    Note,
    Notification,
    PatternRecord,
    Record,
    Route,
    Snapshot,
)
from observer_core.storage.once import DAY_NS
from observer_core.web import bodies, crowd, etags, push, waiting
from observer_core.web.access import Needs
from observer_core.web.api import acts, filters, models, status, stream
from observer_core.web.openapi import endpoints
from observer_core.web.server import WebServer
from tests.browser import desk
from tests.browser.recorder import BUILD, settings_of
from tests.support.web import Site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
DESCRIBED = json.loads((ROOT / "docs" / "openapi.json").read_text())
SOURCES = [{"name": "desk", "kind": "push", "max_age": "60s"}]
NOW = parse_time("2026-03-02T00:00:00Z")
MIB = 1024 * 1024
EAGER = MaintenanceConfig(compaction=CompactionConfig(hour_bytes=1))


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    level = heading.partition(" ")[0]
    return re.split(rf"^#{{1,{len(level)}}} ", PAGE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def rows(text: str, heading: str) -> Iterator[list[str]]:
    """The cells of every table in `text` whose first heading it is."""
    for table in re.findall(rf"^\| {heading} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", text, re.MULTILINE):
        for row in table.splitlines():
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, source=SOURCES, subscription=[])
    made.clock.set(NOW)
    made.work()
    yield made
    made.close()


# ---------------------------------------------------------------------- endpoints


def told_endpoints() -> dict[str, str]:
    return {code(row[0])[0]: "".join(code(row[1])) or row[1] for row in rows(PAGE, "endpoint")}


def test_every_endpoint_is_there_and_no_other() -> None:
    described = {
        f"{method.upper()} {path}" for path, methods in DESCRIBED["paths"].items() for method in methods
    }
    told = [code(row[0])[0] for row in rows(PAGE, "endpoint")]
    assert sorted(told) == sorted(described)


def scope_of(dependant: Any) -> set[str]:
    found = {"any" if one.call.scope is None else one.call.scope
             for one in dependant.dependencies if isinstance(one.call, Needs)}  # fmt: skip
    return found.union(*map(scope_of, dependant.dependencies))


def test_the_scopes_are_those_that_are_asked_for(site: Site) -> None:
    needed = {}
    for route in iter_route_contexts(site.app.routes):
        if getattr(route, "include_in_schema", False):
            (method,) = route.methods or ("GET",)
            needed[f"{method} {route.path_format}"] = "".join(scope_of(route.dependant))
    assert needed.keys() == endpoints(site.app).keys()
    assert told_endpoints() == needed


def test_the_errors_are_those_that_are_described() -> None:
    described = {
        status
        for methods in DESCRIBED["paths"].values()
        for operation in methods.values()
        for status in operation["responses"]
        if status >= "400"
    }
    assert [row[0] for row in rows(PAGE, "status")] == sorted(described)


def test_every_filter_is_a_parameter() -> None:
    known = {
        item["name"]
        for methods in DESCRIBED["paths"].values()
        for operation in methods.values()
        for item in operation.get("parameters", ())
    }
    assert {name for row in rows(PAGE, "filter") for name in code(row[0])} <= known


def test_the_states_of_an_outcome_are_those_of_the_code() -> None:
    states = tuple(code(row[0])[0] for row in rows(PAGE, "state"))
    assert states == get_args(models.Outcome.model_fields["state"].annotation)


def test_every_key_of_an_act_is_told_and_no_other() -> None:
    told = {name for row in rows(section("## Acts and their outcome"), "key") for name in code(row[0])}
    kinds = (
        models.CommandAct, models.SilenceAct, models.FeedbackAct, models.SubscriptionAct,
        models.QuarantineAct,
    )  # fmt: skip
    assert told == {field.alias or name for kind in kinds for name, field in kind.model_fields.items()}


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    text = " ".join(PAGE.split())
    assert f"(1 to 1,000; {filters.LIMIT} unless given)" in text
    assert f"{listing.LOOKED:,} records or {listing.SCANNED // MIB} MiB" in text
    assert f"no more than {listing.ANSWERED // MIB} MiB" in text
    assert f"answers over {etags._MOST // MIB} MiB" in text
    assert f"(0 to {waiting.MAX_WAIT_S:g}; 25 unless given)" in text
    assert f"`wait=` up to {acts.MAX_WAIT_S:g} s" in text
    assert f"comes at least every {stream.HEARTBEAT_S:g} s" in text
    assert f"takes nothing for {stream._PATIENCE_S:g} s" in text
    assert f"within {bodies._SECONDS:g} s (a push: {push._READ_SECONDS:g} s)" in text
    assert f"over {bodies.MOST // 1024} KiB (a push: {push.MAX_BODY_BYTES // MIB} MiB)" in text
    assert DAY_NS == 86_400 * 10**9
    assert status.REFRESH_MS == {"standalone": 1_000, "functions": 5_000}
    most = {int(row[1]) for row in rows(PAGE, "at once")}
    assert most == {crowd.MOST, waiting.MAX_WAITING, acts.MAX_WAITING, stream.MAX_STREAMS}


# ---------------------------------------------------------------------- examples


def test_the_examples_run_in_their_order(site: Site) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl here")
    commands = "".join(blocks("sh")).strip().splitlines()
    assert len(commands) == 11
    server = WebServer(site.app, port=0)
    try:
        at = f"http://127.0.0.1:{server.start()}"
        for command in commands:
            words = shlex.split(command.replace("http://127.0.0.1:8000", at))
            assert words[0] == "curl"
            if "stream" in command:
                assert answered(curl, words, codes=(28,)).startswith("retry: ")  # cut off by --max-time
                continue
            text = answered(curl, words)
            found = json.loads(text)
            if "/v1/snapshots/" in command:
                site.work()
            if "/v1/commands" in command and "wait" not in command:
                (told,) = map(json.loads, blocks("json asked"))
                assert found == told
                site.work()
            if "wait=5" in command:
                assert (found["state"], found["text"]) == ("done", "blocked by kim: listing rumour")
    finally:
        server.stop()


def answered(curl: str, words: list[str], codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [curl, "--fail-with-body", "--max-time", "60", *words[1:]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in codes, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_problem_of_the_page_is_the_one_that_comes(site: Site) -> None:
    (told,) = map(json.loads, blocks("json problem"))
    act = {"command": "blok", "author": "kim", "reason": "listing rumour"}
    assert site.client.post("/v1/commands", json=act).json() == told


def test_an_answer_is_not_sent_twice_to_who_has_it(site: Site) -> None:
    first = site.get("/v1/ledger")
    again = site.get("/v1/ledger", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for path in ("/v1/gate/BTC/USDT", "/v1/changes", "/v1/events?after=now&wait=0"):
        assert "etag" not in site.get(path).headers


# ---------------------------------------------------------------------- records

SERIES = (("desk", "BTC/USDT", "price"),)
WHOLE: dict[str, Record] = {
    "snapshot": Snapshot(
        source="desk", event_ns=1, ingest_ns=1, subjects=("BTC/USDT",), fields={"price": np.array([1.0])},
        quality={"*": ("stale",)}, decimals={"price": {"BTC/USDT": "0.1"}}, status="partial", error="x",
        origin={"row": 1},
    ),
    "pattern": PatternRecord(
        id="1", pattern="spike", series=SERIES, score=0.5, severity="info", direction="up", tags=(),
        detector="spike/1", evidence={}, snapshot="snapshots.desk@1", event_ns=1, time_ns=1,
    ),
    "event": Event(
        id="1", source="desk", type="t", subject="s", time_ns=1, data={}, partitionkey="p", sequence="1",
        causationid="c", correlationid="c", severitytext="info",
    ),
    "decision": Decision(
        id="1", verdict="block", scope="*", policy="p", policy_version=1, reasons=(), time_ns=1, causation=(),
    ),
    "route": Route(ref="events.live@1", to=(), grouped=(), stopped={}, time_ns=1),
    "notification": Notification(
        id="1", subscription="desk", group={}, refs=(), count=1, severity="info", first_ns=1, time_ns=1
    ),
    "delivery": DeliveryResult(
        subscription="desk", record="1", ref="events.live@1", attempt=1, outcome="delivered", time_ns=1,
        latency_ns=1,
    ),
    "evaluation": Evaluation(
        verdict="allow", caller="a", caller_type="t", action="order", resource="BTC/USDT", resource_type="t",
        context={}, reasons=(), rests={}, risk=None, as_of_ns=None, valid_until_ns=1, time_ns=1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WHOLE)
def test_every_key_of_a_record_is_described_and_no_other(kind: str) -> None:
    told = [name for row in rows(section(f"### {kind}"), "key") for name in code(row[0])]
    assert sorted(told) == sorted(json.loads(WHOLE[kind].encode(1)))


def test_every_kind_of_record_has_a_section() -> None:
    assert re.findall(r"^### (\w+)$", section("## Records"), re.MULTILINE) == [*WHOLE, "Notes"]


def told_notes() -> dict[str, list[str]]:
    return {code(row[0])[0]: row[1:] for row in rows(section("### Notes"), "kind")}


def test_every_kind_of_note_is_described_and_no_other() -> None:
    assert told_notes().keys() == set(NOTE_KINDS)


def test_the_notes_that_were_written_stand_where_it_is_told_and_hold_what_is_told(tmp_path: Path) -> None:
    """Of a day on a trading desk, with all that people and machines did."""
    desk.make(tmp_path)
    settings = settings_of(tmp_path)
    observer = Observer.local(settings, clock=ManualClock(desk.END_NS), build=BUILD)
    try:
        life = Lifecycle(observer.journals, observer.clock, settings.heartbeat)
        life.started()
        life.jumped(Jump(desk.END_NS, 3))
        life.had_space()
        life.stopped("memory", resident_bytes=2, most_bytes=1)
        for on in (True, False):
            safe_mode.record(observer.journals, observer.clock, on)
        holds.add(observer.journals, ["*"], author="kim", reason="an exercise", now_ns=desk.END_NS)
        Maintenance(observer.journals, observer.clock, EAGER).round()
        backups = Backups(observer.storage, settings, observer.clock, BUILD)
        backups.create(FolderPlace(tmp_path / "elsewhere", settings.paths.data))
        letters = DeadLetters(observer.journals, observer.storage.queues, observer.clock)
        letters.drop(letters.letters()[0], author="kim", reason="an exercise")
        Ledger(observer.journals, observer.clock, None).anchor()
        told, seen = told_notes(), set()
        for name in observer.journals.names():
            kind = name.partition(".")[0]
            for entry in observer.journals.open(name).scan():
                if isinstance(note := entry.record, Note):
                    where, body = told[note.kind]
                    seen.add(note.kind)
                    assert kind in code(where) or not code(where), (note.kind, name)
                    assert set(note.body) <= set(code(body)), (note.kind, name)
        assert seen >= {
            "epoch", "domain", "tick", "quarantine", "command", "silence", "feedback", "dead_letter",
            "anchor", "lifecycle", "hold", "maintenance", "backup",
        }  # fmt: skip
    finally:
        observer.storage.close()
