"""`token`: what a caller shows to the web server."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from observer_core.cli.output import hint, json_line, say

app = typer.Typer(help="Tokens for callers of the web server.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Tokens for callers of the web server."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: one person, or one program.")],
    scopes: Annotated[
        str,
        typer.Option(metavar="A,B", help="What may be done with it: read, push, operate, admin."),
    ],
    caller: Annotated[
        str | None, typer.Option(metavar="ID", help="The only caller that it may ask the gate for.")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="How long it is taken (30d). Default: always."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Both as one line of JSON.")] = False,
) -> None:
    """Make a token.

    Printed once, on standard output, and kept nowhere; what is to be added to the
    configuration goes to standard error. It holds the token's sha256, and no secret.
    """
    from pydantic import ValidationError

    from observer_core.runtime.web_config import TokenConfig
    from observer_core.safety.tokens import digest_of, new_token
    from observer_core.shared.clock import SECOND, SystemClock, format_time, parse_duration
    from observer_core.shared.config import explain

    token = new_token()
    values: dict[str, object] = {
        "name": name, "sha256": digest_of(token).hex(), "scopes": [item.strip() for item in scopes.split(",")]
    }  # fmt: skip
    if caller is not None:
        values["caller"] = caller
    if duration is not None:
        now = SystemClock().now_ns() // SECOND * SECOND
        values["until"] = format_time(now + parse_duration(duration))
    try:
        TokenConfig.model_validate(values)
    except ValidationError as error:
        raise explain(error, "token new") from None
    # TOML's texts, and lists of them, are written as JSON's.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    toml = "\n".join(["[[web.token]]", *lines])
    if as_json:
        json_line({"token": token, "toml": toml, **values})
        return
    say(token)
    # All of it is TOML, so that it can be sent to the end of the file: `2>> config/observer.toml`.
    hint("\n# The token is not shown again. This belongs into the configuration (config/observer.toml):")
    hint(toml)
