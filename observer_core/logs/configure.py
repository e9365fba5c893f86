"""Where log lines go. Logging never raises into the caller and never waits for space on a disk.

| file | holds |
|---|---|
| `snapshot.log` | loggers `observer.snapshot…` |
| `pattern.log` | loggers `observer.pattern…` |
| `decision.log` | loggers `observer.decision…` |
| `observer.log` | all other loggers, and every warning and error, whoever wrote it |

A line is one JSON object: `timestamp` (RFC 3339, UTC), `level`, `logger`, `event`, then the
fields, and where the work stood that logged it (`context`: stage, source, position, trace). Warnings
and errors of libraries (the standard `logging`) arrive in `observer.log` too. Secrets are masked on the
way (`redaction`). A line is never longer than `LINE_BYTES`, so that all files together are never larger
than their number times (`max_bytes` and a line).

    log = structlog.get_logger("observer.snapshot")
    log.info("collected", source="host", snapshots=60)
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, TextIO

import orjson
import structlog

from observer_core.logs.context import fields
from observer_core.logs.files import LogFile, make_folder
from observer_core.logs.redaction import redact, redact_text

Level = Literal["debug", "info", "warning", "error"]
MAIN: Final = "observer.log"
ROUTES: Final = {
    "observer.snapshot": "snapshot.log",
    "observer.pattern": "pattern.log",
    "observer.decision": "decision.log",
}
_FIRST: Final = ("timestamp", "level", "logger")
_GRAVE: Final = frozenset(("warning", "error", "critical"))
LINE_BYTES: Final = 64 * 1024
_LONG: Final = 8 * 1024
_SHORT: Final = 1_000
"""Of a line that would be longer, each long value is cut to so many characters; fields that still do not
fit go."""
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


def configure(
    log_dir: Path | None,
    *,
    level: Level = "info",
    max_bytes: int = 10_000_000,
    files: int = 5,
    console: bool = False,
    stream: TextIO | None = None,
) -> Logs:
    """Sends the process's log lines to files under `log_dir` (None: to none), from `level` up.

    `console` writes a line for people to `stream` (standard error) as well. `ConfigError`
    when the folder cannot be written. Call it once at start and `close` what it gives.
    """
    if log_dir is not None:
        make_folder(log_dir)
    names = (MAIN, *ROUTES.values()) if log_dir is not None else ()
    opened = {name: LogFile(log_dir / name, max_bytes, files) for name in names if log_dir is not None}
    logs = Logs(opened, (stream or sys.stderr) if console else None)
    structlog.configure(
        processors=[
            _placed,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            logs.take,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Named,
        cache_logger_on_first_use=False,
    )
    logging.getLogger().addHandler(logs.libraries)
    return logs


@contextlib.contextmanager
def for_people(level: Level = "warning") -> Iterator[None]:
    """For a command: lines go to standard error, and never among its results. Not where they go elsewhere."""
    if structlog.is_configured():
        yield
        return
    logs = configure(None, level=level, console=True)
    try:
        yield
    finally:
        logs.close()
        structlog.reset_defaults()


def configure_for_host(level: Level = "info") -> None:
    """Sends the process's log lines, each a JSON object, through the standard `logging`, once.

    For a process whose host collects logs there: nothing is written to files or streams. What libraries
    log there has its secrets masked too, and the Azure SDK does not tell of every request.
    """
    logging.setLogRecordFactory(_Record)
    logging.getLogger("azure").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            _placed,
            structlog.stdlib.add_logger_name,
            structlog.processors.add_log_level,
            _for_host,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _placed(logger: Any, method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """With where the work stands; what the line says itself counts."""
    for name, value in fields().items():
        event.setdefault(name, value)
    return structlog.contextvars.merge_contextvars(logger, method, event)


def _for_host(logger: Any, method: str, event: structlog.types.EventDict) -> str:
    return _line(_masked(event))


class Logs:
    """What `configure` gives: the open files. `lost` counts the lines that could not be written."""

    def __init__(self, files: dict[str, LogFile], console: TextIO | None) -> None:
        self._files = files
        self._console = console
        self._closed = False
        self._unfit = 0
        self._for_people = structlog.dev.ConsoleRenderer(
            colors=console is not None and console.isatty(),
            exception_formatter=structlog.dev.plain_traceback,
        )
        self.libraries = _Libraries(self)

    @property
    def lost(self) -> int:
        return self._unfit + sum(file.lost for file in self._files.values())

    def take(self, logger: Any, method: str, event: structlog.types.EventDict) -> str:
        """Writes one line; whatever goes wrong is counted, not raised."""
        try:
            event.setdefault("logger", getattr(logger, "name", "observer"))
            if not self._closed:
                self._write(event)
        except Exception:
            self._unfit += 1
        return ""

    def close(self) -> None:
        """Ends it: files are closed, later lines go nowhere. Safe to repeat."""
        self._closed = True
        logging.getLogger().removeHandler(self.libraries)
        for file in self._files.values():
            file.close()

    def _write(self, event: structlog.types.EventDict) -> None:
        masked = _masked(event)
        line = _line(masked)
        for name in self._targets(masked["logger"], masked["level"]):
            self._files[name].write(line)
        if self._console is not None:
            with contextlib.suppress(OSError, ValueError):
                self._console.write(str(self._for_people(None, "", masked)) + "\n")
                self._console.flush()

    def _targets(self, logger: str, level: str) -> list[str]:
        if not self._files:
            return []
        own = next((file for prefix, file in ROUTES.items() if f"{logger}.".startswith(f"{prefix}.")), MAIN)
        return [own, MAIN] if own != MAIN and level in _GRAVE else [own]


class _Named:
    """A logger is its name; `Logs.take` has written the line before it is asked to."""

    def __init__(self, name: str = "observer", *_: Any) -> None:
        self.name = name

    def _done(self, *_: Any, **__: Any) -> None:
        return None

    debug = info = warning = error = critical = msg = _done


class _Record(logging.LogRecord):
    """A line of a library without secrets, whichever handler takes it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.name.partition(".")[0] == "observer":
            return  # masked already
        try:
            text = self.getMessage()
        except Exception as error:
            text = f"a malformed log line: {error!r}"
        self.msg, self.args = redact_text(text), None
        if self.exc_info and self.exc_info[0] is not None:
            self.exc_text = redact_text(logging.Formatter().formatException(self.exc_info))


class _Libraries(logging.Handler):
    """Warnings and errors of libraries, as lines of `observer.log`."""

    def __init__(self, logs: Logs) -> None:
        super().__init__(logging.WARNING)
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        try:
            event: structlog.types.EventDict = {
                "logger": record.name, "level": record.levelname.lower(), "event": record.getMessage(),
                "timestamp": structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "", {})["timestamp"],
            }  # fmt: skip
            if record.exc_info:
                event["exc_info"] = record.exc_info
        except Exception as error:
            event = {"logger": record.name, "level": "warning", "event": f"a malformed log line: {error!r}"}
        self._logs.take(None, "", event)


def _masked(event: structlog.types.EventDict) -> dict[str, Any]:
    if event.get("exc_info"):
        event = structlog.processors.format_exc_info(None, "", event)
    masked = {name: event[name] for name in _FIRST if name in event}
    masked["event"] = redact("event", event.get("event", ""))
    masked.update((name, redact(str(name), value)) for name, value in event.items() if name not in masked)
    return masked


def _line(event: dict[str, Any]) -> str:
    line = _json(event)
    return line if len(line) <= LINE_BYTES // 4 or len(line.encode()) <= LINE_BYTES else _json(_cut(event))


def _json(event: dict[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=_shown, option=_OPTIONS).decode()
    except (TypeError, ValueError):  # an integer beyond 64 bits, a lone surrogate
        return json.dumps({str(name): value for name, value in event.items()}, default=_shown)


def _shown(value: Any) -> str:
    return redact_text(repr(value))


def _cut(event: dict[str, Any]) -> dict[str, Any]:
    """As much of it as a line may hold; `cut` says that there was more."""
    kept: dict[str, Any] = {"cut": True}
    left = LINE_BYTES - 1024
    for name, value in event.items():
        text = value if isinstance(value, str) else _json({"": value})
        size = len(json.dumps(text)) + len(name) + 8  # at most what it takes, however it is written
        if size > _LONG:
            value = text[:_SHORT] + f"… ({len(text):,} characters)"
            size = len(json.dumps(value)) + len(name) + 8
        if size <= left and len(name) < _SHORT:
            kept[name] = value
            left -= size
    return {**{name: kept[name] for name in event if name in kept}, "cut": True}
