"""Azurite, the emulator of Azure Storage, for tests: installed once, one process a pytest worker.

`python -m tests.support.azurite` only installs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import npm

FOLDER = Path(__file__).resolve().parent.parent / "azurite"
_PROGRAM = FOLDER / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
_LISTENING = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")
_START_S = 30


class AzuriteMissing(RuntimeError):
    """The tests need Azurite and cannot have it."""


def install() -> None:
    """Does nothing when what is pinned is there; processes that come at once wait for the first."""
    try:
        npm.install(FOLDER, "tests of the Azure storage need Azurite")
    except npm.NpmMissing as missing:
        raise AzuriteMissing(str(missing)) from None


@contextmanager
def running() -> Iterator[str]:
    """The connection string of a fresh emulator in memory, on ports that the system chose."""
    install()
    with tempfile.TemporaryDirectory(prefix="azurite") as name, (Path(name) / "log").open("w+") as log:
        process = subprocess.Popen(
            ["node", str(_PROGRAM), "--silent", "--disableTelemetry", "--inMemoryPersistence",
             *(f"--{service}{option}" for service in ("blob", "queue", "table")
               for option in ("Port=0", "KeepAliveTimeout=300"))],
            cwd=name, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            yield _connection_string(process, Path(name) / "log")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _connection_string(process: subprocess.Popen[bytes], log: Path) -> str:
    # Here, so that installing needs nothing.
    from observer_core.storage.azure.connection import EMULATOR

    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        urls = dict(_LISTENING.findall(log.read_text()))
        if len(urls) == 3:
            endpoints = "".join(f"{name}Endpoint={url}/devstoreaccount1;" for name, url in urls.items())
            name, key = EMULATOR["accountname"], EMULATOR["accountkey"]
            return f"AccountName={name};AccountKey={key};{endpoints}"
        time.sleep(0.05)
    raise AzuriteMissing(f"Azurite does not listen (exit code {process.poll()}):\n{log.read_text()[-2000:]}")


if __name__ == "__main__":
    try:
        install()
    except AzuriteMissing as missing:
        sys.exit(f"setup: {missing}")
