"""`config`: is the configuration usable, and what is in force?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.masking import shown
from observer_core.cli.output import json_line, say, table

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings

app = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
DEPLOYMENT = "deployment_config.json"


@app.command()
def check(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="The configuration. Default: config/observer.toml under the root."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as one line of JSON.")] = False,
) -> None:
    """Load everything, and show what is in force.

    Settings with where each comes from, policies, deployment_config.json.
    Exit code 2 when something cannot be used, 1 when deployment_config.json disagrees
    with what is.
    """
    from observer_core.runtime.settings import load
    from observer_core.runtime.sources import check_sources
    from observer_core.web.server import check_host

    given = Invocation.of(ctx)
    path = file or given.config
    settings = load(path, **given.overrides())
    check_sources(settings)
    check_host(settings.web.host, bool(settings.web.token))
    policies = settings.decisions().policies
    differences = deployment_differences(settings)
    found = origins(settings, path, given.overrides())
    if as_json:
        values = {key: {"value": value, "from": origin} for key, value, origin in found}
        json_line({"settings": values, "policies": [p.name for p in policies], "differences": differences})
    else:
        table(("setting", "value", "from"), [(key, _text(value), origin) for key, value, origin in found])
        say(f"{len(policies)} policies: {', '.join(policy.name for policy in policies)}")
        for line in differences:
            say(f"✗ {line}", "bold red")
        say("the configuration can be used" if not differences else f"{DEPLOYMENT} does not agree with it")
    if differences:
        raise typer.Exit(FINDING)


@app.command()
def show(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Show the settings in force, secrets masked."""
    values = shown(Invocation.of(ctx).settings())
    if as_json:
        json_line(values)
    else:
        for key, value in flat(values):
            say(f"{key} = {_text(value)}")


def deployment_differences(settings: Settings) -> list[str]:
    """What deployment_config.json declares and is not so; nothing where there is no such file."""
    from observer_core.runtime.paths import check_deployment

    declared = settings.paths.root / settings.deployment
    return check_deployment(declared, settings.paths, settings.web.port) if declared.is_file() else []


def origins(
    settings: Settings, path: Path | None, overrides: Mapping[str, Any]
) -> list[tuple[str, Any, str]]:
    """(key, masked value, where it comes from) of every setting."""
    from pydantic_settings import EnvSettingsSource

    from observer_core.runtime.settings import Settings as Known
    from observer_core.runtime.settings import read_toml

    file = path or settings.paths.config / "observer.toml"
    layers = [
        ("command line", {key: value for key, value in overrides.items() if value is not None}),
        ("environment", EnvSettingsSource(Known)()),
        (str(file), read_toml(file) if file.is_file() else {}),
    ]
    return [
        (key, value, next((name for name, layer in layers if _has(layer, key.split("."))), "default"))
        for key, value in flat(shown(settings))
    ]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """`{"web": {"port": 1}}` as `("web.port", 1)`."""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += flat(value, f"{prefix}{key}.")
        else:
            found.append((prefix + key, value))
    return found


def _has(layer: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(layer, Mapping) or key not in layer:
            return False
        layer = layer[key]
    return True


def _text(value: Any) -> str:
    from observer_core.shared.canonical import encode

    return value if isinstance(value, str) else encode(value).decode()
