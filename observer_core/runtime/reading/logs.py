"""Log files, read backwards from their end, or followed as they grow: bounded, whatever they have become."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import orjson

from observer_core.logs.configure import LINE_BYTES, MAIN, ROUTES
from observer_core.logs.redaction import redact, redact_text
from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
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
_SHOWN_OF_LINE: Final = 16 * 1024
"""Of a line that is longer than we write any the beginning is shown, as text."""
_STEP: Final = 64 * 1024
_GROUPS: Final = 1_000
"""So many different events are told apart; the rest is one group."""
OTHERS: Final = "others"


def tail(folder: Path, file: File, lines: int, level: Level | None = None) -> Json:
    """`models.Log`: the last `lines` of `level` or graver, newest last; what has no level is never left out.

    A line that is no JSON object (torn, or somebody else's) is shown as the text it is. Secrets are masked
    when a line is written, and once more here.
    """
    shown, found = 0, list[Json]()
    for raw in _backwards(folder / FILES[file], MOST_BYTES):
        line = _line(raw)
        if not _is_grave(line, level):
            continue
        found.append(line)
        shown += min(len(raw), LINE_BYTES)
        if len(found) >= lines or shown >= SHOWN_BYTES:
            break
    return {"file": file, "lines": found[::-1]}


def follow(folder: Path, file: File, wait: Callable[[], bool], level: Level | None = None) -> Iterator[Json]:
    """The lines that are written from now on, also after the file was rotated; ends when `wait` says so.

    `wait` is called whenever there is nothing new: it waits, and says whether to go on.
    """
    path, rest = folder / FILES[file], b""
    stream = path.open("rb") if path.exists() else None
    if stream is not None:
        stream.seek(0, os.SEEK_END)
    try:
        while True:
            data = b"" if stream is None else stream.read(_STEP)
            if data:
                *whole, rest = (rest + data).split(b"\n")
                rest = rest if len(rest) < MOST_BYTES else b""
                for line in map(_line, filter(bytes.strip, whole)):
                    if _is_grave(line, level):
                        yield line
                continue
            if path.exists() and (stream is None or _was_replaced(path, stream)):
                with contextlib.suppress(FileNotFoundError):
                    again = path.open("rb")
                    if stream is not None:
                        stream.close()
                    stream, rest = again, b""
                continue
            if not wait():
                return
    finally:
        if stream is not None:
            stream.close()


def _was_replaced(path: Path, stream: BinaryIO) -> bool:
    """Whether another file has the name now, or this one was begun anew."""
    mine = os.fstat(stream.fileno())
    try:
        there = path.stat()
    except FileNotFoundError:  # just being rotated
        return False
    return (there.st_dev, there.st_ino) != (mine.st_dev, mine.st_ino) or mine.st_size < stream.tell()


@dataclass(slots=True)
class Group:
    """Lines of one logger and event; `newest` is one of them, as `models.LogLine`."""

    level: str
    logger: str
    event: str
    count: int
    first: str
    last: str
    newest: Json

    def to_json(self) -> Json:
        return {
            "level": self.level, "logger": self.logger, "event": self.event, "count": self.count,
            "first": self.first, "last": self.last, "newest": self.newest,
        }  # fmt: skip


def errors(folder: Path, since_ns: int, level: Level = "error") -> list[Group]:
    """What was logged of `level` or graver since then, by event, the most frequent first.

    Reads all of `observer.log` back to that moment, a piece at a time: warnings and errors of every
    logger are there. Lines without a time or level (somebody else's) do not count.
    """
    groups: dict[tuple[str, str, str], Group] = {}
    for raw in _backwards(folder / FILES["observer"], None):
        line = _line(raw)
        time_ns = _time(line["time"])
        if time_ns is None or line["level"] not in LEVELS:
            continue
        if time_ns < since_ns:
            break
        if _is_grave(line, level):
            _add(groups, line)
    return sorted(groups.values(), key=lambda group: (-group.count, group.last, group.event))


def _add(groups: dict[tuple[str, str, str], Group], line: Json) -> None:
    logger = str(line["fields"].get("logger", ""))
    key = (line["level"], logger, line["event"])
    if key not in groups and len(groups) >= _GROUPS:
        key = (line["level"], "", OTHERS)
    group = groups.get(key)
    if group is None:
        groups[key] = Group(*key, count=1, first=line["time"], last=line["time"], newest=line)
    else:
        group.count += 1
        group.first = line["time"]


def _time(text: str | None) -> int | None:
    try:
        return None if text is None else parse_time(text)
    except InputError:
        return None


def _is_grave(line: Json, level: Level | None) -> bool:
    """Whether a line is of `level` or graver; one that has no level is."""
    found = line["level"]
    return level is None or found not in LEVELS or LEVELS.index(found) >= LEVELS.index(level)


def _backwards(path: Path, most: int | None) -> Iterator[bytes]:
    """Lines, the last one first, of the file and then of those that it was before it was rotated."""
    left = float("inf") if most is None else most
    seen: set[tuple[int, int]] = set()
    for number in count():
        place = path.with_name(f"{path.name}.{number}") if number else path
        try:
            with place.open("rb") as stream:
                status = os.fstat(stream.fileno())
                if (status.st_dev, status.st_ino) in seen:
                    continue  # rotated while it was read
                seen.add((status.st_dev, status.st_ino))
                position, rest = stream.seek(0, os.SEEK_END), b""
                while position and left > 0:
                    step = int(min(_STEP, position, left))
                    position, left = position - step, left - step
                    stream.seek(position)
                    first, *whole = (stream.read(step) + rest).split(b"\n")
                    rest = first
                    yield from (line for line in reversed(whole) if line.strip())
                if rest.strip() and not position:
                    yield rest
        except FileNotFoundError:
            if number:
                return
        if left <= 0:
            return


def _line(raw: bytes) -> Json:
    text = raw[:_SHOWN_OF_LINE].decode("utf-8", "replace") + ("…" if len(raw) > _SHOWN_OF_LINE else "")
    value: Any = None
    if len(raw) <= LINE_BYTES:
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
