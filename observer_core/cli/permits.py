"""`permit`: receipts that the gate signs, verified by anybody, and the keys that sign them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from observer_core.cli.invocation import FINDING, Invocation
from observer_core.cli.moments import when
from observer_core.cli.opened import reading
from observer_core.cli.output import json_line, say
from observer_core.shared.errors import InputError

if TYPE_CHECKING:
    from observer_core.runtime.audit.permits import Verdict

app = typer.Typer(help="Receipts for allows, and the keys that sign them.", no_args_is_help=True)
key = typer.Typer(help="The keys that sign receipts.", no_args_is_help=True)
app.add_typer(key, name="key")
Keys = Annotated[
    list[Path] | None,
    typer.Option(
        "--key", metavar="PUB", help="A public key to trust, instead of those of the configuration."
    ),
]


@app.command()
def verify(
    ctx: typer.Context,
    receipt: Annotated[
        str, typer.Argument(metavar="RECEIPT", help="The receipt, a file that holds it, or - for stdin.")
    ],
    keys: Keys = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Did it hold then? Default: does it hold now?")
    ] = None,
    data: Annotated[
        bool, typer.Option("--data", help="Compare what it rests on with the journals here, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As one line of JSON.")] = False,
) -> None:
    """Say whether a receipt is ours and holds.

    Its signature, its time and, with --data, whether the journals are the ones it rests on.
    Exit code 1 when any of them fails.
    """
    from observer_core.runtime.audit.permits import trusted_keys
    from observer_core.runtime.audit.permits import verify as check
    from observer_core.shared.clock import SystemClock, parse_time

    trusted = trusted_keys(Invocation.of(ctx).settings(), keys or ())
    if not trusted:
        raise InputError("no key is trusted: give --key PUB, or configure [permits] with a key or trusted")
    at_ns = SystemClock().now_ns() if at is None else parse_time(at, "UTC")
    text = _text(receipt)
    if data:
        with reading(ctx) as reader:
            found = check(text, trusted, at_ns, reader.journals)
    else:
        found = check(text, trusted, at_ns)
    json_line(_plain(found)) if as_json else _tell(found)
    if not found.holds:
        raise typer.Exit(FINDING)


@key.command()
def new(
    ctx: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; the public one beside it.")
    ],
) -> None:
    """Make a key.

    FILE can be read by its owner alone; FILE.pub is for whoever verifies. Neither is written over.
    """
    from observer_core.safety.signing import SigningKey, write_key_file

    made = SigningKey.new()
    public = write_key_file(file, made)
    say(f"{made.id}  private key in {file}, public key in {public}")
    say(f'[permits] key_file = "{file}"')


@key.command()
def show(
    ctx: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="A private key file. Default: the configured key."),
    ] = None,
    form: Annotated[
        Literal["pem", "jwks"], typer.Option("--as", help="How to write it; jwks holds all that are trusted.")
    ] = "pem",
) -> None:
    """Print the public key, for whoever verifies."""
    from observer_core.runtime.audit.permits import signing_key, trusted_keys
    from observer_core.safety.signing import read_key_file

    settings = Invocation.of(ctx).settings()
    own = signing_key(settings) if file is None else read_key_file(file)
    if form == "jwks":
        found = trusted_keys(settings) if file is None else {}
        found = {**({} if own is None else {own.id: own.public}), **found}
        json_line({"keys": [item.jwk() for item in found.values()]})
        return
    if own is None:
        raise InputError("no key is configured: name one under [permits], or give FILE")
    say(own.public.pem().rstrip())


def _text(given: str) -> str:
    if given == "-":
        return sys.stdin.read()
    if given.startswith("eyJ") and given.count(".") == 2:  # as every JWS in compact form begins
        return given
    try:
        return Path(given).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"{given[:100]} is no receipt, and no file that could hold one: {reason}") from None


def _plain(found: Verdict) -> dict[str, Any]:
    return {
        "holds": found.holds, "key": found.key, "signature": found.signature or "good", "time": found.time,
        "data": None if found.data is None else list(found.data),
        "permit": None if found.permit is None else found.permit.claims(),
    }  # fmt: skip


def _tell(found: Verdict) -> None:
    permit = found.permit
    if permit is None:
        say(f"✗ signature: {found.signature}", "bold red")
        return
    say(
        f"{permit.caller} may {permit.action} {permit.resource} (domain {permit.domain}), {permit.answer}, "
        f"from {when(permit.issued_ns)} until {when(permit.expires_ns)}"
    )
    say(f"✓ signature: of key {found.key}", "green")
    say(
        "✓ time" if found.time is None else f"✗ time: {found.time}",
        None if found.time is None else "bold red",
    )
    for name, rest in permit.rests.items():
        say(f"  rests on {name}@{rest.position}  {rest.hash[:16]}")
    if found.data is not None:
        for fault in found.data:
            say(f"✗ data: {fault}", "bold red")
        if not found.data:
            say("✓ data: what it rests on is in these journals", "green")
