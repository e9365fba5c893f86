"""The end of a log file, read backwards: bounded, whatever the file has become."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from observer_core.logs.configure import MAIN, ROUTES
from observer_core.logs.redaction import redact, redact_text
from observer_core.shared.records import Json

File = Literal["observer", "snapshot", "pattern", "decision"]
Level = Literal["debug", "info", "warning", "error", "critical"]
FILES: Final[dict[str, str]] = {
    name.removesuffix(".log"): name for name in (MAIN, *ROUTES.values())
}  # fmt: skip
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MOST_BYTES: Final = 4 * 1024 * 1024
"""A look reads so many bytes of a file and of its older ones at most, and shows so many."""
SHOWN_BYTES: Final = 2 * 1024 * 1024
_LINE_BYTES: Final = 16 * 1024
"""Of a longer line the beginning is shown, as text."""
_STEP: Final = 64 * 1024
_OLDER: Final = 4


def tail(folder: Path, file: File, lines: int, level: Level | None = None) -> Json:
    """`models.Log`: the last `lines` of `level` or graver, newest last; what has no level is never left out.

    A line that is no JSON object (torn, or somebody else's) is shown as the text it is. Secrets are masked
    when a line is written, and once more here.
    """
    least, shown, found = LEVELS.index(level or "debug"), 0, list[Json]()
    for raw in _backwards(folder / FILES[file]):
        line = _line(raw)
        if line["level"] in LEVELS and LEVELS.index(line["level"]) < least:
            continue
        found.append(line)
        shown += min(len(raw), _LINE_BYTES)
        if len(found) >= lines or shown >= SHOWN_BYTES:
            break
    return {"file": file, "lines": found[::-1]}


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines, the last one first, of the file and then of those that it was before it was rotated."""
    left = MOST_BYTES
    for place in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, _OLDER + 1))):
        try:
            with place.open("rb") as stream:
                position, rest = stream.seek(0, os.SEEK_END), b""
                while position and left > 0:
                    step = min(_STEP, position, left)
                    position, left = position - step, left - step
                    stream.seek(position)
                    first, *whole = (stream.read(step) + rest).split(b"\n")
                    rest = first
                    yield from (line for line in reversed(whole) if line.strip())
                if rest.strip() and not position:
                    yield rest
        except FileNotFoundError:
            if place != path:
                return
        if left <= 0:
            return


def _line(raw: bytes) -> Json:
    text = raw[:_LINE_BYTES].decode("utf-8", "replace") + ("…" if len(raw) > _LINE_BYTES else "")
    value: Any = None
    if len(raw) <= _LINE_BYTES:
        try:
            value = orjson.loads(raw)
        except orjson.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        return {"time": None, "level": None, "event": redact_text(text), "fields": {}}
    time, level, event = (value.pop(name, None) for name in ("timestamp", "level", "event"))
    return {
        "time": time if isinstance(time, str) else None, "level": level if isinstance(level, str) else None,
        "event": redact_text(event if isinstance(event, str) else "" if event is None else repr(event)),
        "fields": {name: redact(name, item) for name, item in value.items()},
    }  # fmt: skip
