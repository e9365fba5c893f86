"""What a person sees in the terminal: what happens, line by line, and where everything stands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from rich.console import Console as Terminal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from observer_core.runtime.following import Follower
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.safety.guards import SAFE_MODE
from observer_core.shared.clock import SECOND, format_duration, format_time
from observer_core.shared.records import Decision, Event
from observer_core.shared.stage import Entry

_log = structlog.get_logger("observer.run")
_REFRESH_SECONDS = 0.5
_LINES_A_REFRESH = 12
_STYLES = {"info": "dim", "warning": "yellow", "critical": "bold red"}


class Console:
    """Follows incidents and decisions of all domains; on a terminal a table stands below them."""

    def __init__(
        self, observer: Observer, gate: Gate, *, enabled: bool = True, table: bool = True,
        terminal: Terminal | None = None,
    ) -> None:  # fmt: skip
        self._observer = observer
        self._gate = gate
        self._terminal = terminal or Terminal(quiet=not enabled, soft_wrap=True, highlight=False)
        self._live: Live | None = None
        self._with_table = table
        self._follower: Follower | None = None
        self._next = 0.0
        self._fresh_subjects = 0.0
        self._subjects: dict[str, list[str]] = {}

    def start(self, port: int) -> None:
        """Says where to look, then follows."""
        with self._may_be_gone():
            self._start(port)

    def _start(self, port: int) -> None:
        paths = self._observer.settings.paths
        say = self._terminal.print
        say("[bold]QTS Observer[/] is running. It watches and records; it never places an order.")
        say(f"  health   http://127.0.0.1:{port}/health   (also /livez /readyz /metrics)")
        say(f"  gate     http://127.0.0.1:{port}/v1/gate/SUBJECT   or: observer gate check SUBJECT")
        data, logs = _short(paths.data, paths.root), _short(paths.logs, paths.root)
        say(f"  records  {data}   or: observer status, observer decisions ls, observer explain ID")
        say(f"  logs     {logs}   stop with Ctrl-C; it goes on where it was")
        if self._observer.guards.safe_mode:
            say("  [bold yellow]SAFE MODE[/]  nothing is delivered, and the gate denies everything")
        self._follower = Follower(self._observer.journals, ("events", "decisions"))
        if self._with_table and self._terminal.is_terminal and not self._terminal.quiet:
            self._live = Live(self._table(), console=self._terminal, auto_refresh=False, transient=True)
            self._live.start()

    def beat(self) -> None:
        """Called by the loop as often as it likes; looks twice a second."""
        if self._terminal.quiet or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _REFRESH_SECONDS
        with self._may_be_gone():
            if self._follower is not None:
                self._follow(self._follower)
            if self._live is not None:
                self._live.update(self._table(), refresh=True)

    def stop(self) -> None:
        with self._may_be_gone():
            if self._live is not None:
                self._live.stop()
            self._terminal.print("QTS Observer has stopped.")

    @contextmanager
    def _may_be_gone(self) -> Iterator[None]:
        """Where nobody can be shown anything, work goes on: a full disk behind it, a pipe that was closed."""
        try:
            yield
        except (OSError, SystemExit) as error:  # the latter is how Rich takes a closed pipe
            self._terminal.quiet = True
            _log.warning("nothing is shown any more", error=str(error.__context__ or error))

    def _follow(self, follower: Follower) -> None:
        lines = [line for entry in follower.new() if (line := _line(entry))]
        for line in lines[:_LINES_A_REFRESH]:
            self._terminal.print(line)
        if len(lines) > _LINES_A_REFRESH:
            self._terminal.print(f"  … and {len(lines) - _LINES_A_REFRESH} more", style="dim")

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("domain", "source", "snapshots", "patterns", "newest data", "gate"):
            table.add_column(name)
        guards = self._observer.guards
        if full := guards.short_of_space():
            table.caption = Text(f"THE DISK IS FULL: {full}", style="bold red")
        elif guards.safe_mode:
            table.caption = Text(f"SAFE MODE: {SAFE_MODE}", style="bold yellow")
        for domain in self._gate.domains():
            now = self._gate.now_ns(domain)
            for name in self._observer.journals.names("snapshots", domain):
                source = name.partition(".")[2]
                head = self._observer.journals.open(name).head(refresh=False)
                patterns = self._observer.journals.open(f"patterns.{source}").head(refresh=False)
                age = max(0, now - head.time_ns) // (SECOND // 10) * (SECOND // 10)
                newest = format_time(head.time_ns // SECOND * SECOND) + (
                    f" ({format_duration(age)} ago)" if age else ""
                )
                table.add_row(
                    domain,
                    source,
                    f"{head.position:,}",
                    f"{patterns.position:,}",
                    newest,
                    self._gates(domain),
                )
        return table

    def _gates(self, domain: str) -> Text:
        if time.monotonic() > self._fresh_subjects:
            self._subjects = {name: self._gate.subjects(name) for name in self._gate.domains()}
            self._fresh_subjects = time.monotonic() + 5.0
        subjects = self._subjects.get(domain, [])[:20]
        shut = [s for s in subjects if self._gate.check(s, domain=domain).decision == "deny"]
        if not shut:
            return Text(f"open for {len(subjects)}", style="green") if subjects else Text("no subject yet")
        return Text(f"closed for {', '.join(shut[:3])}{' …' if len(shut) > 3 else ''}", style="bold red")


def _short(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _line(entry: Entry) -> Text | None:
    domain, record = entry.journal.partition(".")[2], entry.record
    if isinstance(record, Event):
        kind = record.type.removeprefix("io.qts.observer.")
        if kind.startswith("pattern.") and record.severitytext == "info":
            return None
        what, who, style = kind, record.subject, _STYLES[record.severitytext]
    elif isinstance(record, Decision):
        what, who = record.verdict, record.scope
        style = (
            "bold red" if record.verdict == "block" else "green" if record.verdict == "release" else "cyan"
        )
        who += f"  {record.reasons[0].get('text') or record.reasons[0].get('code', '')}"
    else:
        return None
    return Text(f"{format_time(record.time_ns // SECOND * SECOND)}  {domain:8} {what:24} {who}", style=style)
