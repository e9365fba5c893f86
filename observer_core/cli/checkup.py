"""Can an Observer work here? Each check says what it saw, and what would mend it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from observer_core.cli.checkup_account import account_checks, host_file
from observer_core.cli.checkup_needs import needs
from observer_core.cli.configuration import deployment_differences
from observer_core.cli.invocation import Invocation
from observer_core.cli.opened import running
from observer_core.cli.output import size
from observer_core.shared.errors import ObserverError

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings

PYTHON = ((3, 11), (3, 13))
LEAST_SQLITE = (3, 35, 0)
LEAST_FREE_BYTES = 500 * 1024 * 1024
_DAY_NS = 86_400 * 10**9
_PATIENCE_S = 5.0
_YEAR_2025_S, _YEAR_2100_S = 1_735_689_600, 4_102_444_800


@dataclass(frozen=True, slots=True)
class Check:
    """`remedy` is what to do; empty when there is nothing to mend."""

    name: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        return not self.remedy


def checks(given: Invocation) -> Iterator[Check]:
    """Every check in turn; those that need settings only when these can be read."""
    yield python(sys.version_info[:2])
    yield _told("packages", "Install them: `make setup`, or pip install -r requirements.txt.", packages)
    try:
        settings = given.settings()
        count = len(settings.decisions().policies)
    except ObserverError as error:
        yield Check("configuration", str(error), "Correct it; `observer config check` tells more.")
        return
    yield Check("configuration", f"{len(settings.source)} sources, {count} policies")
    data, logs = settings.paths.data, settings.paths.logs
    local = settings.storage.kind == "local"
    process = running(data) if local else None
    yield _told(
        "needs", "Provide it, or take out of the configuration what names it.",
        lambda: needs(settings, secrets=local and process is None),
    )  # fmt: skip
    yield _told(
        "deployment", "Correct the file or the settings, so that they agree.", lambda: deployment(settings)
    )
    yield writable("log folder", logs)
    if local:
        yield writable("data folder", data)
        yield disk(data, settings.safety.least_free)
        yield Check(
            "single instance", f"process {process} runs an Observer here" if process else "none runs here"
        )
        yield sqlite()
        yield index(data / "journal.db")
    else:
        yield from account_checks(settings)
    host = host_file(settings.paths.root / "host.json")
    if host is not None:
        yield host
    yield port(settings.web.host, settings.web.port, process)
    if process is not None:
        yield health(settings.web.host, settings.web.port)
    yield errors(logs)
    yield clock(time.time_ns(), _newest_live_ns(settings))


def _told(name: str, remedy: str, what: Callable[[], tuple[bool, str]]) -> Check:
    try:
        ok, found = what()
    except ObserverError as error:
        ok, found = False, str(error)
    return Check(name, found, "" if ok else remedy)


def python(version: tuple[int, ...]) -> Check:
    text = ".".join(map(str, version))
    low, high = (".".join(map(str, bound)) for bound in PYTHON)
    if PYTHON[0] <= version <= PYTHON[1]:
        return Check("python", text)
    return Check("python", f"{text} is not supported", f"Use Python {low} to {high}.")


def packages() -> tuple[bool, str]:
    """Whether every package is at the version of the lock file."""
    from observer_core.runtime.paths import lock_file

    path = lock_file()
    if path is None:
        return True, "this installation has no lock file to compare with"
    lines = [line.partition(";") for line in path.read_text("utf-8").splitlines() if "==" in line]
    pins = [(pin, marker) for pin, _, marker in lines if _applies(marker.strip(), sys.version_info[:2])]
    wrong = []
    for pin, marker in pins:
        name, _, wanted = pin.strip().partition("==")
        try:
            found = installed(name)
        except PackageNotFoundError:
            found = "missing"
        if found != wanted and not (found == "missing" and marker):
            wrong.append(f"{name} is {found}, locked is {wanted}")
    return not wrong, "; ".join(wrong) or f"{len(pins)} packages as locked"


def _applies(marker: str, version: tuple[int, ...]) -> bool:
    """Whether a pin is for this Python; other conditions are not looked at."""
    found = re.search(r"python(?:_full)?_version (<|>=) '(\d+)\.(\d+)'", marker)
    if found is None:
        return True
    bound = (int(found[2]), int(found[3]))
    return version < bound if found[1] == "<" else version >= bound


def deployment(settings: Settings) -> tuple[bool, str]:
    differences = deployment_differences(settings)
    return not differences, "; ".join(differences) or "deployment_config.json agrees, or there is none"


def writable(name: str, folder: Path) -> Check:
    """Writes a file of its own in a folder that exists; one that does not exist is not created."""
    place = _existing(folder)
    remedy = f"Let this user write in {place}, or choose another folder (--data-dir, --log-dir)."
    try:
        if place != folder:
            ok = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
            return Check(
                name,
                f"{folder} will be created" if ok else f"cannot be created in {place}",
                "" if ok else remedy,
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"observer doctor")
    except OSError as error:
        return Check(name, f"{folder} cannot be written: {error.strerror}", remedy)
    return Check(name, f"{folder} is writable")


def disk(data: Path, least: int = 0) -> Check:
    """`least`: with less the Observer takes nothing in."""
    free, wanted = shutil.disk_usage(_existing(data)).free, max(least, LEAST_FREE_BYTES)
    if free >= wanted:
        return Check("disk space", f"{size(free)} free")
    return Check("disk space", f"{size(free)} free", f"Free some: at least {size(wanted)} are expected.")


def port(host: str, number: int, process: str | None) -> Check:
    where = f"{host}:{number}"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, number))
        except OSError as error:
            if process is not None:
                return Check("port", f"{where} is in use, as it should be while an Observer runs")
            return Check(
                "port", f"{where}: {error.strerror}", "Stop what uses it, or choose another with --port."
            )
    return Check("port", f"{where} is free")


def sqlite() -> Check:
    found = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        least = ".".join(map(str, LEAST_SQLITE))
        return Check("sqlite", f"version {found}", f"Use a Python that brings SQLite {least} or newer.")
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "probe.db")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        connection.close()
    remedy = "" if mode == "wal" else "Use a build of SQLite with write-ahead logging."
    return Check("sqlite", f"version {found}, journal mode {mode}", remedy)


def index(path: Path) -> Check:
    """Opens journal.db for reading only and lets SQLite check it."""
    if not path.is_file():
        records = next(path.parent.glob("*/source=*"), None)
        if records is None:
            return Check("journal.db", "there is none yet")
        found = f"is missing, though there are records in {records.parent.name}/"
        return Check("journal.db", found, f"Restore {path} from a backup before anything is recorded.")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Check("journal.db", f"cannot be read: {error}", f"Restore {path} from a backup.")
    if found != "ok":
        return Check("journal.db", f"is damaged: {found}", f"Restore {path} from a backup.")
    remedy = "" if mode == "wal" else f"Open {path} once with `observer status`, which sets the mode."
    return Check("journal.db", f"intact, journal mode {mode}", remedy)


def clock(now_ns: int, newest_live_ns: int) -> Check:
    """The clock is in this century, and not behind what is recorded already."""
    from observer_core.shared.clock import SECOND, format_time

    remedy = "Set this machine's clock (NTP): live records would be refused or held back."
    shown = format_time(now_ns)
    if not _YEAR_2025_S * SECOND <= now_ns <= _YEAR_2100_S * SECOND:
        return Check("clock", f"{shown} cannot be now", remedy)
    if newest_live_ns > now_ns + SECOND:
        return Check(
            "clock", f"{shown} is behind the newest live record, {format_time(newest_live_ns)}", remedy
        )
    return Check("clock", shown)


def health(host: str, port: int) -> Check:
    """What the Observer that runs here says of itself."""
    import json
    import urllib.error
    import urllib.request

    name = f"[{host}]" if ":" in host else host
    remedy = "GET /health says which checks fail; docs/runbook.md says what to do."
    try:
        with urllib.request.urlopen(f"http://{name}:{port}/health", timeout=_PATIENCE_S) as answer:
            status = json.loads(answer.read(1_000_000))["status"]
    except urllib.error.HTTPError as error:
        status = "fail" if error.code == 503 else f"unknown: it answers with {error.code}"
    except (OSError, ValueError, KeyError) as error:
        return Check("health", f"/health does not answer: {error}", remedy)
    return Check("health", status, "" if status == "pass" else remedy)


def errors(logs: Path) -> Check:
    """How many errors the logs of the last 24 hours hold."""
    from observer_core.runtime.reading.logs import errors as logged

    found = sum(group.count for group in logged(logs, time.time_ns() - _DAY_NS))
    if not found:
        return Check("errors", "none in the last 24 h")
    return Check("errors", f"{found:,} in the last 24 h", "observer logs errors --since 24h lists them.")


def _newest_live_ns(settings: Settings) -> int:
    """The time of the newest live record, 0 when there is none or it cannot be read."""
    from observer_core.runtime.source_kinds import LIVE
    from observer_core.runtime.storages import open_storage
    from observer_core.storage.journals import Journals

    # Opening a folder would make one.
    if settings.storage.kind == "local" and not (settings.paths.data / "journal.db").is_file():
        return 0
    try:
        storage = open_storage(settings)
    except ObserverError:
        return 0
    try:
        journals = Journals(storage, worker="reader")
        return max((journals.open(name).head().time_ns for name in journals.names(domain=LIVE)), default=0)
    except ObserverError:
        return 0
    finally:
        storage.close()


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())
