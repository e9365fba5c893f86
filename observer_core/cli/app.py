"""The commands put together. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import observer_core
from observer_core.cli import (
    backup,
    configuration,
    dead_letters,
    gate,
    ledger,
    logs,
    permits,
    policies,
    quarantine,
    records,
    report,
    retention,
    silences,
    sources,
    subscriptions,
    tokens,
)
from observer_core.cli.converting import convert
from observer_core.cli.detecting import detect
from observer_core.cli.doctor import doctor
from observer_core.cli.evaluating import evaluate
from observer_core.cli.explaining import explain
from observer_core.cli.feedback import feedback
from observer_core.cli.ingesting import ingest
from observer_core.cli.integrity import digest, replay, verify
from observer_core.cli.invocation import FAILURE, Commands, Invocation
from observer_core.cli.maintaining import fsck, maintain
from observer_core.cli.querying import export, sql
from observer_core.cli.reconcile import reconcile
from observer_core.cli.running import push, run
from observer_core.cli.status import status
from observer_core.cli.tuning import tune

app = typer.Typer(
    name="observer", cls=Commands, rich_markup_mode=None, no_args_is_help=True, add_completion=False,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


class Storage(StrEnum):
    """What `--storage` may say."""

    LOCAL = "local"
    AZURE = "azure"


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"observer {observer_core.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The configuration. Default: config/observer.toml under the root."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where relative paths of the configuration start.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where journals are kept. Default: data/observer.")
    ] = None,
    log_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where logs go. Default: logs.")] = None,
    storage: Annotated[
        Storage | None,
        typer.Option(
            help="Where journals lie: files, or the storage account of the setting AzureWebJobsStorage."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """An independent, auditable watcher beside a quant trading system. It never places an order."""
    ctx.obj = Invocation(config, root, data_dir, log_dir, storage.value if storage else None)


app.command()(run)
app.command()(detect)
app.command()(ingest)
app.command()(convert)
app.command()(push)
app.command()(status)
app.add_typer(sources.app, name="sources")
records.add_groups(app)
app.add_typer(gate.app, name="gate")
app.command()(explain)
app.command()(feedback)
app.command()(evaluate)
app.command()(tune)
app.add_typer(policies.app, name="policy")
app.command()(policies.whatif)
app.command()(verify)
app.command()(digest)
app.command()(replay)
app.add_typer(ledger.app, name="ledger")
app.add_typer(permits.app, name="permit")
app.command()(reconcile)
app.command()(quarantine.redrive)
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(dead_letters.app, name="dlq")
app.add_typer(subscriptions.app, name="subscriptions")
app.add_typer(silences.app, name="silences")
app.add_typer(report.app, name="report")
app.add_typer(configuration.app, name="config")
app.add_typer(tokens.app, name="token")
app.command()(sql)
app.command()(export)
app.add_typer(logs.app, name="logs")
app.command()(maintain)
app.command()(fsck)
app.add_typer(retention.app, name="retention")
app.add_typer(backup.app, name="backup")
app.command()(doctor)


def main() -> None:
    """The `observer` command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A terminal that cannot show a sign gets another one, not an error.
            stream.reconfigure(errors="replace")
    try:
        app()
    except Exception:
        import traceback

        # A defect. Its trace is what a report needs; 1 would say that something was found.
        traceback.print_exc()
        sys.exit(FAILURE)
