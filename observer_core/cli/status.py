"""`status`: where everything stands, on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.moments import span, when
from observer_core.cli.opened import reading, running
from observer_core.cli.output import json_line, say, size, table

if TYPE_CHECKING:
    from observer_core.runtime.reading.status import DomainState


def status(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False
) -> None:
    """Show where everything stands.

    Each domain's sources, stages, incidents, blocks and risk, and how much is stored.
    """
    with reading(ctx) as reader:
        from observer_core.runtime.gaps import Gaps
        from observer_core.runtime.gate.views import Views
        from observer_core.runtime.reading.status import States
        from observer_core.runtime.reading.storage import sizes
        from observer_core.runtime.safe_mode import is_safe, stands
        from observer_core.runtime.storages import where
        from observer_core.shared.clock import SystemClock

        local = reader.settings.storage.kind == "local"
        data = reader.settings.paths.data
        views = Views(reader.gate, reader.journals, SystemClock(), 0)
        gap = Gaps(reader.journals).newest()
        since_ns = stands(reader.journals)
        states = States(reader.journals, reader.settings, reader.gate, views).read()
        value = {
            "running": running(data) if local else None, "data": where(reader.settings),
            "sizes": sizes(data) if local else {}, "gap": None if gap is None else gap.to_json(),
            "safe_mode": {"on": is_safe(reader.journals, reader.settings), "since_ns": since_ns},
            "domains": [_domain(state, reader.mode(state.view.name)) for state in states],
        }  # fmt: skip
    json_line(value) if as_json else _tell(value)


def _domain(state: DomainState, mode: str) -> dict[str, Any]:
    unknown: dict[str, Any] = {"overall": "unknown", "subjects": {}, "sources": {}}
    return {
        "domain": state.view.name, "mode": mode, "now_ns": state.now_ns,
        "sources": [_source(source, state.now_ns) for source in state.sources],
        "stages": [_stage(stage) for stage in state.stages], "incidents": state.incidents,
        "blocks": state.blocks, "risk": state.view.inputs.risk or unknown, "quarantined": state.quarantined,
    }  # fmt: skip


def _source(source: dict[str, Any], now_ns: int) -> dict[str, Any]:
    known = {name: value for name, value in source.items() if name not in ("kind", "stale")}
    newest_ns = source["newest_ns"] or 0
    return {
        **known, "newest_ns": newest_ns, "age_ns": now_ns - newest_ns, "stale_subjects": source["stale"],
    }  # fmt: skip


def _stage(stage: dict[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in stage.items() if name != "max_lag_ns"}
    return {**known, "through_ns": stage["through_ns"] or 0}


def _tell(value: dict[str, Any]) -> None:
    process = value["running"]
    say(f"data      {value['data']}")
    if value["sizes"]:  # of files: an account does not tell who works on it
        say(f"observer  {'runs as process ' + process if process else 'not running'}")
        say("stored    " + ", ".join(f"{name} {size(count)}" for name, count in value["sizes"].items()))
    safe = value["safe_mode"]
    if safe["on"]:
        since = "" if safe["since_ns"] is None else f" since {when(safe['since_ns'])}"
        say(f"SAFE MODE{since}: nothing is delivered, and the gate denies everything", "bold yellow")
    if value["gap"] is not None:
        from observer_core.runtime.gaps import Gap

        gap = value["gap"]
        say(f"last gap  {Gap(gap['from_ns'], gap['to_ns'], gap['ended'])}")
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
    is_known = risk["overall"] != "unknown"
    count = len(domain["blocks"]) if is_known else "unknown until the decide stage works; the gate denies"
    say(f"blocks     {count}")
    for item in domain["blocks"]:
        until = when(item["until_ns"]) if item["until_ns"] else "released"
        say(f"  {item['scope']}  by {item['policy']} since {when(item['since_ns'])} until {until}")
    if domain["quarantined"]:
        say(f"quarantine {', '.join(domain['quarantined'])}", "yellow")
