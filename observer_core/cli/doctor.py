"""`doctor`: can an Observer work here?"""

from __future__ import annotations

from typing import Annotated

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.output import json_line, say


def doctor(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="One check a line.")] = False
) -> None:
    """Check what an Observer needs on this machine.

    Exit code 1 at a finding; each comes with its remedy.
    """
    from observer_core.cli.checkup import checks

    findings = 0
    for check in checks(Invocation.of(ctx)):
        findings += not check.ok
        if as_json:
            json_line({"check": check.name, "ok": check.ok, "found": check.found, "remedy": check.remedy})
        elif check.ok:
            say(f"✓ {check.name:<18} {check.found}")
        else:
            say(f"✗ {check.name:<18} {check.found}", "bold red")
            say(f"  {'':<18} → {check.remedy}")
    if findings:
        raise typer.Exit(FINDING)
