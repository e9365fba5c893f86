"""`status`: where everything stands, on one screen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.moments import span, when
from observer_core.cli.opened import STAGES, Reader, reading, running
from observer_core.cli.output import json_line, say, size, table

if TYPE_CHECKING:
    from observer_core.storage.journal import Journal


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False
) -> None:
    """Show where everything stands.

    Each domain's sources, stages, incidents, blocks and risk, and how much is stored.
    """
    with reading(ctx) as reader:
        from observer_core.runtime.storages import where

        local = reader.settings.storage.kind == "local"
        data = reader.settings.paths.data
        value = {
            "running": running(data) if local else None, "data": where(reader.settings),
            "sizes": _sizes(data) if local else {},
            "domains": [_domain(reader, name) for name in reader.domains()],
        }  # fmt: skip
    json_line(value) if as_json else _tell(value)


def _domain(reader: Reader, name: str) -> dict[str, Any]:
    from observer_core.decision_pipeline.gate import GateInputs

    now_ns = reader.gate.now_ns(name)
    decisions = reader.journals.open(f"decisions.{name}").views()
    incidents = reader.journals.open(f"events.{name}").views().get("incidents", {"open": []})
    sources = [n.partition(".")[2] for n in reader.journals.names("snapshots", name)]
    return {
        "domain": name, "mode": reader.mode(name), "now_ns": now_ns,
        "sources": [_source(reader, source, now_ns) for source in sources],
        "stages": _stages(reader, name, sources, now_ns),
        "incidents": incidents["open"],
        "blocks": [
            {"scope": scope, **entry}
            for scope, entries in sorted(GateInputs.of(decisions, (), ()).blocks.items())
            for entry in entries
        ],
        "risk": decisions.get("risk", {"overall": "unknown", "subjects": {}, "sources": {}}),
        "quarantined": [
            key.removeprefix("quarantined.")
            for journal in reader.journals.names(domain=name)
            for key in reader.journals.open(journal).views()
            if key.startswith("quarantined.")
        ],
    }  # fmt: skip


def _source(reader: Reader, name: str, now_ns: int) -> dict[str, Any]:
    head = reader.journals.open(f"snapshots.{name}").head()
    views = reader.journals.open(f"patterns.{name}").views()
    feed = views.get("feed", {})
    age_ns, limit_ns = now_ns - head.time_ns, reader.gate.max_age_ns(name)
    state = feed.get("status", "unknown")
    return {
        "source": name, "status": "stale" if state == "ok" and age_ns > limit_ns else state,
        "error": feed.get("error"), "position": head.position, "newest_ns": head.time_ns, "age_ns": age_ns,
        "max_age_ns": limit_ns, "subjects": len(views.get("subjects", {}).get("subjects", ())),
        "stale_subjects": list(feed.get("stale", ())),
    }  # fmt: skip


def _stages(reader: Reader, domain: str, sources: list[str], now_ns: int) -> list[dict[str, Any]]:
    events = f"events.{domain}"
    wired = [(f"recognise {name}", f"patterns.{name}", [f"snapshots.{name}"]) for name in sources]
    for item in reader.settings.source:
        if item.kind == "derived" and item.domain == domain:
            inputs = [f"snapshots.{source}" for source in reader.settings.inputs_of(item.name)]
            wired.append((f"derive {item.name}", f"snapshots.{item.name}", inputs))
    wired.append(("publish", events, [f"patterns.{name}" for name in sources]))
    wired.append(("decide", f"decisions.{domain}", [events, f"commands.{domain}"]))
    if reader.journals.names("routes", domain):
        inputs = [events, f"decisions.{domain}", f"commands.{domain}"]
        wired.append(("route", f"routes.{domain}", inputs))
    return [
        _stage(reader, stage, reader.journals.open(output), inputs, now_ns) for stage, output, inputs in wired
    ]


def _stage(reader: Reader, name: str, output: Journal, inputs: list[str], now_ns: int) -> dict[str, Any]:
    head, checkpoints = output.head(), output.checkpoints()
    behind = sum(
        reader.journals.open(item).head().position - checkpoints.get(item, {"position": 0})["position"]
        for item in inputs
    )
    return {
        "stage": name, "journal": output.name, "position": head.position, "epoch": head.epoch,
        "through_ns": head.through_ns, "behind": behind,
        "lag_ns": max(0, now_ns - head.through_ns) if head.through_ns else None,
    }  # fmt: skip


def _sizes(data: Path) -> dict[str, int]:
    sizes = {name: _bytes(data / name) for name in (*STAGES, "state")}
    sizes["index"] = sum(path.stat().st_size for path in data.glob("journal.db*"))
    sizes["free"] = shutil.disk_usage(data).free
    return sizes


def _bytes(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.stat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue  # a running Observer's draft
    return total


def _tell(value: dict[str, Any]) -> None:
    process = value["running"]
    say(f"data      {value['data']}")
    if value["sizes"]:  # of files: an account does not tell who works on it
        say(f"observer  {'runs as process ' + process if process else 'not running'}")
        say("stored    " + ", ".join(f"{name} {size(count)}" for name, count in value["sizes"].items()))
    for domain in value["domains"]:
        say()
        say(f"domain {domain['domain']} ({domain['mode']} time, {when(domain['now_ns'])})", "bold")
        table(
            ("source", "status", "age", "position", "subjects", "newest"),
            [
                (s["source"], s["status"], span(s["age_ns"]), str(s["position"]), str(s["subjects"]),
                 when(s["newest_ns"]))
                for s in domain["sources"]
            ],
        )  # fmt: skip
        say()
        table(
            ("stage", "lag", "behind", "position", "epoch"),
            [
                (s["stage"], "-" if s["lag_ns"] is None else span(s["lag_ns"]), str(s["behind"]),
                 str(s["position"]), str(s["epoch"]))
                for s in domain["stages"]
            ],
        )  # fmt: skip
        say()
        _tell_state(domain)


def _tell_state(domain: dict[str, Any]) -> None:
    risk = domain["risk"]
    tense = [f"{name} {level}" for group in ("subjects", "sources") for name, level in risk[group].items()]
    say(f"risk       {risk['overall']}{': ' + ', '.join(tense) if tense else ''}")
    say(f"incidents  {len(domain['incidents'])} open")
    for item in domain["incidents"]:
        say(f"  {item['severity']:<8}  {item['source']} since {when(item['since_ns'])}")
    say(f"blocks     {len(domain['blocks'])}")
    for item in domain["blocks"]:
        until = when(item["until_ns"]) if item["until_ns"] else "released"
        say(f"  {item['scope']}  by {item['policy']} since {when(item['since_ns'])} until {until}")
    if domain["quarantined"]:
        say(f"quarantine {', '.join(domain['quarantined'])}", "yellow")
